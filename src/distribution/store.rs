//! All SQL of this domain, and the rows it adds to the lanes' statement.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use sqlx::{Arguments as _, PgConnection, error::BoxDynError, postgres::PgArguments};
use time::OffsetDateTime;

use super::{
    NewCourtOrder,
    entity::{CourtOrder, Policy},
};
use crate::{
    db::decoding,
    ids::{CourtOrderId, DetaineeId},
    ledger::{Center, RowSet},
    money::Amount,
};

/// The policy that holds; the default when there never was another.
pub(super) async fn policy(conn: &mut PgConnection, center: &Center) -> sqlx::Result<Policy> {
    let row = sqlx::query!(
        "select version, savings_percent, savings_cap, changed_at from distribution_policy
         where center_id = $1 order by version desc limit 1",
        center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(Policy::default());
    };
    Ok(Policy {
        savings_percent: row.savings_percent,
        savings_cap: row.savings_cap.map(|cap| center.amount(cap)).transpose()?,
        version: row.version,
        changed_at: Some(row.changed_at),
    })
}

pub(super) async fn insert_policy(
    conn: &mut PgConnection,
    center: &Center,
    policy: &Policy,
    at: OffsetDateTime,
    by: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into distribution_policy (center_id, version, savings_percent, savings_cap, changed_at, changed_by)
         values ($1, $2, $3, $4, $5, $6)",
        center.no.0,
        policy.version,
        policy.savings_percent,
        policy.savings_cap.map(Amount::value),
        at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The court orders of some detainees, each detainee's in the order of collection.
pub(super) async fn court_orders(
    conn: &mut PgConnection,
    center: &Center,
    ids: &[DetaineeId],
) -> sqlx::Result<HashMap<String, Vec<CourtOrder>>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        r#"select o.detainee_id, o.court_order_id, o.position, o.document, o.total, o.created_at,
                  coalesce(c.collected, 0) as "collected!"
           from court_order o
           left join court_order_collected c
             on c.center_id = o.center_id and c.detainee_id = o.detainee_id and c.court_order_id = o.court_order_id
           where o.center_id = $1 and o.detainee_id = any($2) order by o.detainee_id, o.position"#,
        center.no.0,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<String, Vec<CourtOrder>> = HashMap::new();
    for row in rows {
        found.entry(row.detainee_id).or_default().push(CourtOrder {
            id: CourtOrderId::parse(&row.court_order_id).map_err(decoding)?,
            document: row.document,
            total: center.amount(row.total)?,
            collected: center.amount(row.collected)?,
            position: row.position,
            created_at: row.created_at,
        });
    }
    Ok(found)
}

pub(super) async fn insert_court_order(
    conn: &mut PgConnection,
    center: &Center,
    new: &NewCourtOrder,
    position: i32,
    at: OffsetDateTime,
    by: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into court_order (center_id, detainee_id, court_order_id, position, document, total, created_at, created_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        center.no.0,
        new.detainee.as_str(),
        new.id.as_str(),
        position,
        new.document,
        new.total.value(),
        at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Rows of `court_order_collected`, one for each court order.
#[derive(Default)]
pub(super) struct CollectedRows(BTreeMap<(DetaineeId, CourtOrderId), Decimal>);

impl CollectedRows {
    pub fn put(&mut self, detainee: &DetaineeId, order: &CourtOrderId, collected: Amount) {
        self.0.insert((detainee.clone(), order.clone()), collected.value());
    }
}

impl RowSet for CollectedRows {
    const NAME: &'static str = "court_order_collected";
    const SQL: &'static str = "\
        insert into court_order_collected (center_id, detainee_id, court_order_id, collected)
        select * from unnest($1::integer[], $2::text[], $3::text[], $4::numeric[]) c (center_id)
        where c.center_id in (select center_id from guard)
        on conflict (center_id, detainee_id, court_order_id) do update set collected = excluded.collected";
    const PARAMS: usize = 3;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&CollectedRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        args.add(rows().map(|((id, _), _)| id.as_str()).collect::<Vec<&str>>())?;
        args.add(rows().map(|((_, order), _)| order.as_str()).collect::<Vec<&str>>())?;
        args.add(rows().map(|(_, collected)| *collected).collect::<Vec<Decimal>>())
    }
}
