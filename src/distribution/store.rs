//! All SQL of this domain, and the rows it adds to the lanes' statement.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use sqlx::{Arguments as _, PgConnection, error::BoxDynError, postgres::PgArguments};
use time::OffsetDateTime;

use super::{
    NewWriteOff,
    entity::{CourtOrder, CourtOrderEvent, CourtOrderState, Debt, DebtKind, Policies, Policy, Rule},
};
use crate::{
    db::decoding,
    ids::{CenterNo, CourtOrderId, DetaineeId, Seq},
    ledger::{Center, RowSet},
    money::Amount,
};

fn unknown(what: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("unknown {what}").into())
}

/// The versions of a center's policy before a number, newest first, at most `limit`.
pub(super) async fn versions(
    conn: &mut PgConnection,
    center: &Center,
    before: i64,
    limit: i64,
) -> sqlx::Result<Vec<Policy>> {
    let rows = sqlx::query!(
        "select version, savings_percent, savings_cap, debt_percent, debt_threshold, rule_order, effective_from,
                changed_at, changed_by
         from distribution_policy where center_id = $1 and version < $2 order by version desc limit $3",
        center.no.0,
        before,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Policy {
                savings_percent: row.savings_percent,
                savings_cap: row.savings_cap.map(|cap| center.amount(cap)).transpose()?,
                debt_percent: row.debt_percent,
                debt_threshold: center.amount(row.debt_threshold)?,
                order: Rule::parse_order(&row.rule_order).ok_or_else(|| unknown("order of rules"))?,
                version: row.version,
                effective_from: Some(row.effective_from),
                changed: Some((row.changed_at, row.changed_by)),
            })
        })
        .collect()
}

/// Every version of a center's policy: it changes a few times a year.
pub(super) async fn policies(conn: &mut PgConnection, center: &Center) -> sqlx::Result<Policies> {
    let made = versions(conn, center, i64::MAX, i64::MAX).await?;
    Policies::new(made, center.currency).map_err(decoding)
}

pub(super) async fn insert_policy(
    conn: &mut PgConnection,
    center: &Center,
    policy: &Policy,
    at: OffsetDateTime,
    by: &str,
) -> sqlx::Result<()> {
    let order: Vec<String> = policy.order.iter().map(|rule| rule.name().to_owned()).collect();
    sqlx::query!(
        "insert into distribution_policy (center_id, version, savings_percent, savings_cap, debt_percent, debt_threshold,
                                          rule_order, effective_from, changed_at, changed_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        center.no.0,
        policy.version,
        policy.savings_percent,
        policy.savings_cap.map(Amount::value),
        policy.debt_percent,
        policy.debt_threshold.value(),
        &order,
        policy.effective_from,
        at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The court orders of some detainees, each detainee's as they were recorded.
pub(super) async fn court_orders(
    conn: &mut PgConnection,
    center: &Center,
    ids: &[DetaineeId],
) -> sqlx::Result<HashMap<String, Vec<CourtOrder>>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        r#"select o.detainee_id, o.court_order_id, o.rank, o.position, o.document, o.total, o.created_at,
                  coalesce(c.collected, 0) as "collected!",
                  coalesce((select e.kind from court_order_event e
                            where e.center_id = o.center_id and e.detainee_id = o.detainee_id
                              and e.court_order_id = o.court_order_id
                            order by e.number desc limit 1), 'RESUMED') as "event!"
           from unnest($2::text[]) k (detainee_id),
                lateral (select * from court_order where center_id = $1 and detainee_id = k.detainee_id offset 0) o
           left join court_order_collected c
             on c.center_id = o.center_id and c.detainee_id = o.detainee_id and c.court_order_id = o.court_order_id
           order by o.detainee_id, o.position"#,
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
            rank: row.rank,
            position: row.position,
            state: CourtOrderState::after(&row.event).ok_or_else(|| unknown("event of a court order"))?,
            created_at: row.created_at,
        });
    }
    Ok(found)
}

pub(super) async fn insert_court_order(
    conn: &mut PgConnection,
    center: &Center,
    detainee: &DetaineeId,
    order: &CourtOrder,
    by: &str,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into court_order (center_id, detainee_id, court_order_id, rank, position, document, total, created_at,
                                  created_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        center.no.0,
        detainee.as_str(),
        order.id.as_str(),
        order.rank,
        order.position,
        order.document,
        order.total.value(),
        order.created_at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What became of a detainee's court orders, each order's changes oldest first.
pub(super) async fn court_order_events(
    conn: &mut PgConnection,
    center: CenterNo,
    detainee: &DetaineeId,
) -> sqlx::Result<HashMap<String, Vec<CourtOrderEvent>>> {
    let rows = sqlx::query!(
        "select court_order_id, kind, document, at, changed_by from court_order_event
         where center_id = $1 and detainee_id = $2 order by court_order_id, number",
        center.0,
        detainee.as_str(),
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<String, Vec<CourtOrderEvent>> = HashMap::new();
    for row in rows {
        found.entry(row.court_order_id).or_default().push(CourtOrderEvent {
            state: CourtOrderState::after(&row.kind).ok_or_else(|| unknown("event of a court order"))?,
            document: row.document,
            at: row.at,
            by: row.changed_by,
        });
    }
    Ok(found)
}

pub(super) async fn insert_court_order_event(
    conn: &mut PgConnection,
    center: CenterNo,
    detainee: &DetaineeId,
    order: &CourtOrderId,
    event: &CourtOrderEvent,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into court_order_event (center_id, detainee_id, court_order_id, number, kind, document, at, changed_by)
         select $1, $2, $3, coalesce(max(number), 0) + 1, $4, $5, $6, $7 from court_order_event
         where center_id = $1 and detainee_id = $2 and court_order_id = $3",
        center.0,
        detainee.as_str(),
        order.as_str(),
        event.state.event(),
        event.document,
        event.at,
        event.by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The debts of some detainees, each detainee's oldest first.
pub(super) async fn debts(
    conn: &mut PgConnection,
    center: &Center,
    ids: &[DetaineeId],
) -> sqlx::Result<HashMap<String, Vec<Debt>>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        DebtRow,
        r#"select d.seq, d.detainee_id, d.kind, d.document, d.amount, d.is_consented, d.recorded_at, d.approval_no,
                  coalesce(r.repaid, 0) as "repaid!",
                  coalesce((select sum(w.amount) from write_off w
                            where w.center_id = d.center_id and w.debt_seq = d.seq), 0) as "written_off!"
           from unnest($2::text[]) k (detainee_id),
                lateral (select * from debt where center_id = $1 and detainee_id = k.detainee_id offset 0) d
           left join debt_repaid r on r.center_id = d.center_id and r.seq = d.seq
           order by d.detainee_id, d.seq"#,
        center.no.0,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<String, Vec<Debt>> = HashMap::new();
    for row in rows {
        let debt = row.read(center)?;
        found.entry(debt.detainee.to_string()).or_default().push(debt);
    }
    Ok(found)
}

/// One debt.
pub(super) async fn debt(conn: &mut PgConnection, center: &Center, seq: Seq) -> sqlx::Result<Option<Debt>> {
    let row = sqlx::query_as!(
        DebtRow,
        r#"select d.seq, d.detainee_id, d.kind, d.document, d.amount, d.is_consented, d.recorded_at, d.approval_no,
                  coalesce(r.repaid, 0) as "repaid!",
                  coalesce((select sum(w.amount) from write_off w
                            where w.center_id = d.center_id and w.debt_seq = d.seq), 0) as "written_off!"
           from debt d left join debt_repaid r on r.center_id = d.center_id and r.seq = d.seq
           where d.center_id = $1 and d.seq = $2"#,
        center.no.0,
        seq.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| row.read(center)).transpose()
}

struct DebtRow {
    seq: i64,
    detainee_id: String,
    kind: String,
    document: String,
    amount: Decimal,
    is_consented: bool,
    recorded_at: OffsetDateTime,
    approval_no: Option<i64>,
    repaid: Decimal,
    written_off: Decimal,
}

impl DebtRow {
    fn read(self, center: &Center) -> sqlx::Result<Debt> {
        Ok(Debt {
            seq: Seq(self.seq),
            detainee: DetaineeId::parse(&self.detainee_id).map_err(decoding)?,
            kind: DebtKind::from_name(&self.kind).ok_or_else(|| unknown("kind of debt"))?,
            document: self.document,
            amount: center.amount(self.amount)?,
            repaid: center.amount(self.repaid)?,
            written_off: center.amount(self.written_off)?,
            is_consented: self.is_consented,
            recorded_at: self.recorded_at,
            approval: self.approval_no,
        })
    }
}

/// Writes a debt down; `transfer` is the transaction by which its debtor came from another center with it.
pub(super) async fn insert_debt(
    conn: &mut PgConnection,
    center: &Center,
    debt: &Debt,
    transfer: Option<Seq>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into debt (center_id, seq, detainee_id, kind, document, amount, is_consented, recorded_at, approval_no,
                           transfer_seq)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        center.no.0,
        debt.seq.0,
        debt.detainee.as_str(),
        debt.kind.name(),
        debt.document,
        debt.amount.value(),
        debt.is_consented,
        debt.recorded_at,
        debt.approval,
        transfer.map(|seq| seq.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_write_off(
    conn: &mut PgConnection,
    center: CenterNo,
    seq: Seq,
    new: &NewWriteOff,
    approval: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into write_off (center_id, seq, debt_seq, amount, document, approval_no) values ($1, $2, $3, $4, $5, $6)",
        center.0,
        seq.0,
        new.debt.0,
        new.amount.value(),
        new.document,
        approval,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The first debt that a detainee still owes something of.
pub(super) async fn first_owed(conn: &mut PgConnection, center: &Center, id: &DetaineeId) -> sqlx::Result<Option<Seq>> {
    let found = debts(conn, center, std::slice::from_ref(id)).await?;
    for debt in found.values().flatten() {
        if debt.owed().map_err(decoding)?.is_positive() {
            return Ok(Some(debt.seq));
        }
    }
    Ok(None)
}

/// Writes down what was collected for a court order after a credit was taken back.
pub(super) async fn set_collected(
    conn: &mut PgConnection,
    center: CenterNo,
    detainee: &DetaineeId,
    order: &CourtOrderId,
    collected: Amount,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update court_order_collected set collected = $4
         where center_id = $1 and detainee_id = $2 and court_order_id = $3",
        center.0,
        detainee.as_str(),
        order.as_str(),
        collected.value(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down what another center has collected for a court order.
pub(super) async fn insert_collected(
    conn: &mut PgConnection,
    center: CenterNo,
    detainee: &DetaineeId,
    order: &CourtOrderId,
    collected: Amount,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into court_order_collected (center_id, detainee_id, court_order_id, collected) values ($1, $2, $3, $4)",
        center.0,
        detainee.as_str(),
        order.as_str(),
        collected.value(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down that so much of a debt is not owed here any more, whether anything was repaid of it before or not.
pub(super) async fn put_repaid(
    conn: &mut PgConnection,
    center: CenterNo,
    debt: Seq,
    repaid: Amount,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into debt_repaid (center_id, seq, repaid) values ($1, $2, $3)
         on conflict (center_id, seq) do update set repaid = excluded.repaid",
        center.0,
        debt.0,
        repaid.value(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down what was repaid of a debt after a credit was taken back.
pub(super) async fn set_repaid(
    conn: &mut PgConnection,
    center: CenterNo,
    debt: Seq,
    repaid: Amount,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update debt_repaid set repaid = $3 where center_id = $1 and seq = $2",
        center.0,
        debt.0,
        repaid.value(),
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

/// Rows of `debt_repaid`, one for each debt.
#[derive(Default)]
pub(super) struct RepaidRows(BTreeMap<Seq, Decimal>);

impl RepaidRows {
    pub fn put(&mut self, debt: Seq, repaid: Amount) {
        self.0.insert(debt, repaid.value());
    }
}

impl RowSet for RepaidRows {
    const NAME: &'static str = "debt_repaid";
    const SQL: &'static str = "\
        insert into debt_repaid (center_id, seq, repaid)
        select * from unnest($1::integer[], $2::bigint[], $3::numeric[]) r (center_id)
        where r.center_id in (select center_id from guard)
        on conflict (center_id, seq) do update set repaid = excluded.repaid";
    const PARAMS: usize = 2;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&RepaidRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        args.add(rows().map(|(key, _)| key).map(|seq| seq.0).collect::<Vec<i64>>())?;
        args.add(rows().map(|(_, value)| value).copied().collect::<Vec<Decimal>>())
    }
}
