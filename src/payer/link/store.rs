//! The SQL of links and their ways.

use std::collections::HashMap;

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::{
    db::decoding,
    ids::{CenterNo, DetaineeId, PayerId},
    payer::{
        entity::{LinkLeg, LinkState, PayerLink, Relationship},
        store::unreadable,
    },
};

/// Which links a list shows.
#[derive(Debug, Clone, Default)]
pub struct LinkFilter {
    /// Only those of this payer.
    pub payer: Option<PayerId>,
    /// Only those to this detainee.
    pub detainee: Option<DetaineeId>,
    /// Only those that stand in one of these states; empty for all.
    pub states: Vec<LinkState>,
    /// Only those after this payer and detainee.
    pub after: Option<(String, String)>,
}

/// Up to `limit` links in the order of payer and detainee, with their legs.
pub(in crate::payer) async fn links(
    conn: &mut PgConnection,
    center: CenterNo,
    filter: &LinkFilter,
    limit: i64,
) -> sqlx::Result<Vec<PayerLink>> {
    let (payer, detainee) = filter.after.clone().unwrap_or_default();
    let states: Vec<String> = filter.states.iter().map(|state| state.name().to_owned()).collect();
    let rows = sqlx::query!(
        "select k.payer_id, k.detainee_id, k.created_at from payer_link k
         where k.center_id = $1 and ($2::text is null or k.payer_id = $2) and ($3::text is null or k.detainee_id = $3)
           and (k.payer_id, k.detainee_id) > ($4, $5)
           and (cardinality($6::text[]) = 0 or (
               select l.state from payer_link_leg l
               where l.center_id = k.center_id and l.payer_id = k.payer_id and l.detainee_id = k.detainee_id
               order by l.position desc limit 1) = any($6))
         order by k.payer_id, k.detainee_id limit $7",
        center.0,
        filter.payer.as_ref().map(PayerId::as_str),
        filter.detainee.as_ref().map(DetaineeId::as_str),
        payer,
        detainee,
        &states,
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    let (payers, detainees) = rows
        .iter()
        .map(|row| (row.payer_id.clone(), row.detainee_id.clone()))
        .unzip::<_, _, Vec<String>, Vec<String>>();
    let mut legs = legs(conn, center, &payers, &detainees).await?;
    rows.into_iter()
        .map(|row| {
            let key = (row.payer_id, row.detainee_id);
            Ok(PayerLink {
                payer: PayerId::parse(&key.0).map_err(decoding)?,
                detainee: DetaineeId::parse(&key.1).map_err(decoding)?,
                created_at: row.created_at,
                legs: legs.remove(&key).unwrap_or_default(),
            })
        })
        .collect()
}

/// The legs of some links, oldest first.
async fn legs(
    conn: &mut PgConnection,
    center: CenterNo,
    payers: &[String],
    detainees: &[String],
) -> sqlx::Result<HashMap<(String, String), Vec<LinkLeg>>> {
    let rows = sqlx::query!(
        "select payer_id, detainee_id, state, at, actor, reason, relationship from payer_link_leg
         where center_id = $1 and (payer_id, detainee_id) in (select * from unnest($2::text[], $3::text[]))
         order by payer_id, detainee_id, position",
        center.0,
        payers,
        detainees,
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<(String, String), Vec<LinkLeg>> = HashMap::new();
    for row in rows {
        let relationship = row.relationship.map(|told| Relationship::from_name(&told));
        let leg = LinkLeg {
            state: LinkState::from_name(&row.state).ok_or_else(|| unreadable("payer_link_leg"))?,
            at: row.at,
            actor: row.actor,
            reason: row.reason,
            relationship: relationship
                .map(|told| told.ok_or_else(|| unreadable("payer_link_leg")))
                .transpose()?,
        };
        found.entry((row.payer_id, row.detainee_id)).or_default().push(leg);
    }
    Ok(found)
}

/// One link, if it was ever asked for.
pub(in crate::payer) async fn link(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
    detainee: &DetaineeId,
) -> sqlx::Result<Option<PayerLink>> {
    let filter = LinkFilter {
        payer: Some(payer.clone()),
        detainee: Some(detainee.clone()),
        ..LinkFilter::default()
    };
    Ok(links(conn, center, &filter, 1).await?.pop())
}

/// How many links a payer ever asked for.
pub(in crate::payer) async fn count_links(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from payer_link where center_id = $1 and payer_id = $2"#,
        center.0,
        payer.as_str(),
    )
    .fetch_one(conn)
    .await
}

/// Writes a leg down behind those that the link has, and the link itself before its first.
pub(in crate::payer) async fn insert_link_leg(
    conn: &mut PgConnection,
    center: CenterNo,
    link: &PayerLink,
    leg: &LinkLeg,
) -> sqlx::Result<()> {
    if link.legs.is_empty() {
        sqlx::query!(
            "insert into payer_link (center_id, payer_id, detainee_id, created_at) values ($1, $2, $3, $4)",
            center.0,
            link.payer.as_str(),
            link.detainee.as_str(),
            link.created_at,
        )
        .execute(&mut *conn)
        .await?;
    }
    let before = i32::try_from(link.legs.len()).map_err(decoding)?;
    let previous = link.legs.last();
    sqlx::query!(
        "insert into payer_link_leg (center_id, payer_id, detainee_id, position, state, actor, at, reason, relationship,
                                     previous_position, previous_state, previous_actor)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        center.0,
        link.payer.as_str(),
        link.detainee.as_str(),
        before + 1,
        leg.state.name(),
        leg.actor,
        leg.at,
        leg.reason,
        leg.relationship.map(Relationship::name),
        previous.map(|_| before),
        previous.map(|leg| leg.state.name()),
        previous.map(|leg| leg.actor.as_str()),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Why a link follows from one booking of a person to another.
const FOLLOWS: &str = "the person was booked twice";

/// Links every payer with an approved link to one booking to the other, too, unless something was said of that link before; how
/// many. The caller holds the journal's head and commits.
pub async fn follow_in_tx(
    conn: &mut PgConnection,
    center: CenterNo,
    (from, into): (&DetaineeId, &DetaineeId),
    actor: &str,
    at: OffsetDateTime,
) -> sqlx::Result<u64> {
    let linked = sqlx::query!(
        "with last as (
             select distinct on (payer_id) payer_id, state from payer_link_leg
             where center_id = $1 and detainee_id = $2 order by payer_id, position desc
         ), told as (
             select distinct on (payer_id) payer_id, relationship from payer_link_leg
             where center_id = $1 and detainee_id = $2 and relationship is not null order by payer_id, position desc
         ), linked as (
             insert into payer_link (center_id, payer_id, detainee_id, created_at)
             select $1, last.payer_id, $3, $5 from last
             where last.state in ('APPROVED', 'GRANTED')
               and not exists (select from payer_link o
                               where o.center_id = $1 and o.payer_id = last.payer_id and o.detainee_id = $3)
             returning payer_id
         )
         insert into payer_link_leg (center_id, payer_id, detainee_id, position, state, actor, at, reason, relationship)
         select $1, linked.payer_id, $3, 1, 'GRANTED', $4, $5, $6, told.relationship
         from linked join told on told.payer_id = linked.payer_id",
        center.0,
        from.as_str(),
        into.as_str(),
        actor,
        at,
        FOLLOWS,
    )
    .execute(conn)
    .await?;
    Ok(linked.rows_affected())
}
