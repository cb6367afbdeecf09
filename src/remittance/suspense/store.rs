//! SQL about money in suspense, and about what decisions need to know of a remittance.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use sqlx::{Arguments as _, PgConnection, error::BoxDynError, postgres::PgArguments};
use time::OffsetDateTime;

use super::{Movement, SuspendedPayment, room::Standing};
use crate::{
    db::decoding,
    ids::{CenterNo, RemittanceId, Seq},
    ledger::{Center, RowSet},
    money::Amount,
    proto::SuspenseFacts,
};

/// The payments of some remittances that were put into suspense, each remittance's oldest first.
pub(in crate::remittance) async fn payments(
    conn: &mut PgConnection,
    center: &Center,
    remittances: &[String],
) -> sqlx::Result<HashMap<String, Vec<SuspendedPayment>>> {
    let rows = sqlx::query!(
        "select p.seq, p.remittance_id, p.gateway_transaction, p.paid_at, p.amount, p.reason, p.recorded_at
         from unnest($2::text[]) k (remittance_id),
              lateral (select * from suspended_payment where center_id = $1 and remittance_id = k.remittance_id offset 0) p
         order by p.seq",
        center.no.0,
        remittances,
    )
    .fetch_all(&mut *conn)
    .await?;
    if rows.is_empty() {
        return Ok(HashMap::new());
    }
    let seqs: Vec<i64> = rows.iter().map(|row| row.seq).collect();
    let moved = sqlx::query!(
        "select m.payment_seq, m.kind, m.amount
         from unnest($2::bigint[]) k (seq),
              lateral (select * from suspense_movement where center_id = $1 and payment_seq = k.seq offset 0) m",
        center.no.0,
        &seqs,
    )
    .fetch_all(conn)
    .await?;
    let zero = Amount::zero(center.currency);
    let mut found: HashMap<String, Vec<SuspendedPayment>> = HashMap::new();
    for row in rows {
        let mut payment = SuspendedPayment {
            seq: Seq(row.seq),
            remittance: RemittanceId::parse(&row.remittance_id).map_err(decoding)?,
            gateway_transaction: row.gateway_transaction,
            paid_at: row.paid_at,
            amount: center.amount(row.amount)?,
            reason: row.reason,
            recorded_at: row.recorded_at,
            taken: zero,
            put_back: zero,
            paid_back: zero,
            credited: zero,
        };
        for movement in moved.iter().filter(|movement| movement.payment_seq == row.seq) {
            let kind = Movement::from_name(&movement.kind)
                .ok_or_else(|| sqlx::Error::Decode(format!("unknown movement {}", movement.kind).into()))?;
            payment.add(kind, center.amount(movement.amount)?).map_err(decoding)?;
        }
        found.entry(row.remittance_id).or_default().push(payment);
    }
    Ok(found)
}

pub(super) async fn insert_movement(
    conn: &mut PgConnection,
    center: CenterNo,
    payment: Seq,
    seq: Seq,
    movement: Movement,
    amount: Amount,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into suspense_movement (center_id, seq, payment_seq, kind, amount) values ($1, $2, $3, $4, $5)",
        center.0,
        seq.0,
        payment.0,
        movement.name(),
        amount.value(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn delete_return(conn: &mut PgConnection, center: CenterNo, payment: Seq) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from payment_return where center_id = $1 and payment_seq = $2",
        center.0,
        payment.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn delete_late(conn: &mut PgConnection, center: CenterNo, payment: Seq) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from late_money where center_id = $1 and payment_seq = $2",
        center.0,
        payment.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_return(
    conn: &mut PgConnection,
    center: CenterNo,
    payment: Seq,
    remittance: &RemittanceId,
    due_at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into payment_return (center_id, payment_seq, remittance_id, attempts, due_at) values ($1, $2, $3, 0, $4)",
        center.0,
        payment.0,
        remittance.as_str(),
        due_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes up to `limit` payments that are to follow somebody who moved. Others leave them alone until `lease`.
pub(in crate::remittance) async fn claim_late(
    conn: &mut PgConnection,
    center: CenterNo,
    now: OffsetDateTime,
    lease: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<Vec<DueReturn>> {
    sqlx::query!(
        "with due as (
             select center_id, payment_seq from late_money
             where center_id = $1 and next_at <= $2 order by next_at limit $4 for update skip locked)
         update late_money q set attempts = q.attempts + 1, next_at = $3
         from due where q.center_id = due.center_id and q.payment_seq = due.payment_seq
         returning q.payment_seq, q.remittance_id, q.attempts",
        center.0,
        now,
        lease,
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| {
        Ok(DueReturn {
            payment: Seq(row.payment_seq),
            remittance: RemittanceId::parse(&row.remittance_id).map_err(decoding)?,
            attempts: row.attempts,
        })
    })
    .collect()
}

/// When money that could not follow is sent after the detainee next, if it is still to.
pub(in crate::remittance) async fn late_again(
    conn: &mut PgConnection,
    center: CenterNo,
    payment: Seq,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update late_money set next_at = $3 where center_id = $1 and payment_seq = $2",
        center.0,
        payment.0,
        at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A payment that is due to go back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueReturn {
    /// The transaction that put it into suspense.
    pub payment: Seq,
    /// The remittance it paid.
    pub remittance: RemittanceId,
    /// How often that was tried before, this time included.
    pub attempts: i32,
}

/// Takes up to `limit` payments that are due to go back. Others leave them alone until `lease`.
pub(in crate::remittance) async fn claim_returns(
    conn: &mut PgConnection,
    center: CenterNo,
    now: OffsetDateTime,
    lease: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<Vec<DueReturn>> {
    sqlx::query!(
        "with due as (
             select center_id, payment_seq from payment_return
             where center_id = $1 and due_at <= $2 order by due_at limit $4 for update skip locked)
         update payment_return q set attempts = q.attempts + 1, due_at = $3
         from due where q.center_id = due.center_id and q.payment_seq = due.payment_seq
         returning q.payment_seq, q.remittance_id, q.attempts",
        center.0,
        now,
        lease,
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| {
        Ok(DueReturn {
            payment: Seq(row.payment_seq),
            remittance: RemittanceId::parse(&row.remittance_id).map_err(decoding)?,
            attempts: row.attempts,
        })
    })
    .collect()
}

/// When a return is tried next, if it is still due.
pub(in crate::remittance) async fn return_again(
    conn: &mut PgConnection,
    center: CenterNo,
    payment: Seq,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update payment_return set due_at = $3 where center_id = $1 and payment_seq = $2",
        center.0,
        payment.0,
        at
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What of a payment is in suspense, and what its record says of it.
pub(super) async fn left_of(
    conn: &mut PgConnection,
    center: &Center,
    payment: Seq,
) -> sqlx::Result<Option<(Amount, SuspenseFacts)>> {
    let row = sqlx::query!(
        r#"select s.amount - coalesce((
                      select sum(case m.kind when 'TAKEN' then m.amount when 'CREDITED' then m.amount
                                             when 'PUT_BACK' then -m.amount else 0 end)
                      from suspense_movement m where m.center_id = s.center_id and m.payment_seq = s.seq), 0) as "left!",
                  s.remittance_id, s.gateway_transaction, s.amount, s.reason, r.detainee_id, r.payer_id, r.channel
           from suspended_payment s
           join remittance r on r.center_id = s.center_id and r.remittance_id = s.remittance_id
           where s.center_id = $1 and s.seq = $2"#,
        center.no.0,
        payment.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        let facts = SuspenseFacts {
            remittance: row.remittance_id,
            detainee: row.detainee_id,
            payer: row.payer_id,
            channel: row.channel,
            gateway_transaction: row.gateway_transaction,
            paid_at: None,
            amount: center.amount(row.amount)?.to_string(),
            reason: row.reason,
            review_deadline: None,
        };
        Ok((center.amount(row.left)?, facts))
    })
    .transpose()
}

/// What is left of each payment of which something is in suspense.
pub(super) async fn all_left(conn: &mut PgConnection, center: &Center) -> sqlx::Result<BTreeMap<Seq, Amount>> {
    sqlx::query!(
        r#"select s.seq, s.amount - coalesce(sum(case m.kind when 'TAKEN' then m.amount when 'CREDITED' then m.amount
                                                              when 'PUT_BACK' then -m.amount else 0 end), 0) as "left!"
           from suspended_payment s
           left join suspense_movement m on m.center_id = s.center_id and m.payment_seq = s.seq
           where s.center_id = $1 group by s.center_id, s.seq, s.amount"#,
        center.no.0,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| Ok((Seq(row.seq), center.amount(row.left)?)))
    .filter(|row| !matches!(row, Ok((_, left)) if left.is_zero()))
    .collect()
}

pub(super) async fn insert_payment(
    conn: &mut PgConnection,
    center: CenterNo,
    payment: &SuspendedPayment,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into suspended_payment
             (center_id, seq, remittance_id, gateway_transaction, paid_at, amount, reason, recorded_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        center.0,
        payment.seq.0,
        payment.remittance.as_str(),
        payment.gateway_transaction,
        payment.paid_at,
        payment.amount.value(),
        payment.reason,
        payment.recorded_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What decisions need to know of some remittances.
pub(super) async fn standings(
    conn: &mut PgConnection,
    center: &Center,
    remittances: &[RemittanceId],
) -> sqlx::Result<HashMap<String, Standing>> {
    let ids: Vec<String> = remittances.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        r#"select l.remittance_id, bool_or(state = 'PAID') as "is_paid!", bool_or(state = 'SUSPENDED') as "is_suspended!",
                  bool_or(state = 'CREDITED') as "is_credited!", bool_or(state = 'HELD') as "is_held!",
                  bool_or(state in ('RELEASED', 'REJECTED')) as "is_decided!"
           from unnest($2::text[]) k (remittance_id),
                lateral (select * from remittance_leg where center_id = $1 and remittance_id = k.remittance_id offset 0) l
           group by l.remittance_id"#,
        center.no.0,
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut payments = payments(conn, center, &ids).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let standing = Standing {
                is_paid: row.is_paid,
                is_suspended: row.is_suspended,
                is_credited: row.is_credited,
                is_held: row.is_held,
                is_decided: row.is_decided,
                payments: payments.remove(&row.remittance_id).unwrap_or_default(),
            };
            (row.remittance_id, standing)
        })
        .collect())
}

/// Rows of `suspended_payment`.
#[derive(Default)]
pub(in crate::remittance) struct PaymentRows(Vec<SuspendedPayment>);

impl PaymentRows {
    pub fn push(&mut self, payment: SuspendedPayment) {
        self.0.push(payment);
    }
}

impl RowSet for PaymentRows {
    const NAME: &'static str = "suspended_payment";
    const SQL: &'static str = "\
        insert into suspended_payment
            (center_id, seq, remittance_id, gateway_transaction, paid_at, amount, reason, recorded_at)
        select * from unnest($1::integer[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::numeric[], $7::text[],
            $8::timestamptz[]) p (center_id)
        where p.center_id in (select center_id from guard)";
    const PARAMS: usize = 7;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&PaymentRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        args.add(rows().map(|row| row.seq.0).collect::<Vec<i64>>())?;
        args.add(rows().map(|row| row.remittance.as_str()).collect::<Vec<&str>>())?;
        let transactions = rows().map(|row| row.gateway_transaction.as_str());
        args.add(transactions.collect::<Vec<&str>>())?;
        args.add(rows().map(|row| row.paid_at).collect::<Vec<OffsetDateTime>>())?;
        args.add(rows().map(|row| row.amount.value()).collect::<Vec<Decimal>>())?;
        args.add(rows().map(|row| row.reason.as_str()).collect::<Vec<&str>>())?;
        args.add(rows().map(|row| row.recorded_at).collect::<Vec<OffsetDateTime>>())
    }
}

/// Rows of `suspense_movement` that the lane writes: what is credited after all.
#[derive(Default)]
pub(in crate::remittance) struct MovementRows(Vec<(Seq, Seq, Amount)>);

impl MovementRows {
    /// A transaction credits what is left of a payment.
    pub fn push_credited(&mut self, seq: Seq, payment: Seq, amount: Amount) {
        self.0.push((seq, payment, amount));
    }
}

impl RowSet for MovementRows {
    const NAME: &'static str = "suspense_movement";
    const SQL: &'static str = "\
        insert into suspense_movement (center_id, seq, payment_seq, amount, kind)
        select m.*, 'CREDITED' from unnest($1::integer[], $2::bigint[], $3::bigint[], $4::numeric[]) m (center_id)
        where m.center_id in (select center_id from guard)";
    const PARAMS: usize = 3;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&MovementRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        args.add(rows().map(|(seq, _, _)| seq.0).collect::<Vec<i64>>())?;
        args.add(rows().map(|(_, payment, _)| payment.0).collect::<Vec<i64>>())?;
        args.add(rows().map(|(_, _, amount)| amount.value()).collect::<Vec<Decimal>>())
    }
}

/// Rows of `payment_return`: what goes back by itself, and when.
#[derive(Default)]
pub(in crate::remittance) struct ReturnRows(Vec<(Seq, RemittanceId, OffsetDateTime)>);

impl ReturnRows {
    pub fn push(&mut self, payment: Seq, remittance: &RemittanceId, due_at: OffsetDateTime) {
        self.0.push((payment, remittance.clone(), due_at));
    }
}

impl RowSet for ReturnRows {
    const NAME: &'static str = "payment_return";
    const SQL: &'static str = "\
        insert into payment_return (center_id, payment_seq, remittance_id, due_at, attempts)
        select r.*, 0 from unnest($1::integer[], $2::bigint[], $3::text[], $4::timestamptz[]) r (center_id)
        where r.center_id in (select center_id from guard)
        on conflict on constraint payment_return_pkey do update set due_at = excluded.due_at";
    const PARAMS: usize = 3;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&ReturnRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        args.add(rows().map(|(payment, _, _)| payment.0).collect::<Vec<i64>>())?;
        args.add(rows().map(|(_, id, _)| id.as_str()).collect::<Vec<&str>>())?;
        args.add(rows().map(|(_, _, at)| *at).collect::<Vec<OffsetDateTime>>())
    }
}

/// Rows of `late_money`: what follows somebody who moved, and when.
#[derive(Default)]
pub(in crate::remittance) struct LateRows(Vec<(Seq, RemittanceId, OffsetDateTime)>);

impl LateRows {
    pub fn push(&mut self, payment: Seq, remittance: &RemittanceId, next_at: OffsetDateTime) {
        self.0.push((payment, remittance.clone(), next_at));
    }
}

impl RowSet for LateRows {
    const NAME: &'static str = "late_money";
    const SQL: &'static str = "\
        insert into late_money (center_id, payment_seq, remittance_id, next_at, attempts)
        select r.*, 0 from unnest($1::integer[], $2::bigint[], $3::text[], $4::timestamptz[]) r (center_id)
        where r.center_id in (select center_id from guard)";
    const PARAMS: usize = 3;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&LateRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        args.add(rows().map(|(payment, _, _)| payment.0).collect::<Vec<i64>>())?;
        args.add(rows().map(|(_, id, _)| id.as_str()).collect::<Vec<&str>>())?;
        args.add(rows().map(|(_, _, at)| *at).collect::<Vec<OffsetDateTime>>())
    }
}

/// Rows of `payment_return` that go, because all of the payment is credited.
#[derive(Default)]
pub(in crate::remittance) struct DecidedRows(Vec<Seq>);

impl DecidedRows {
    pub fn push(&mut self, payment: Seq) {
        self.0.push(payment);
    }
}

impl RowSet for DecidedRows {
    const NAME: &'static str = "payment_decided";
    const SQL: &'static str = "\
        delete from payment_return q using unnest($1::integer[], $2::bigint[]) d (center_id, payment_seq)
        where q.center_id = d.center_id and q.payment_seq = d.payment_seq
          and d.center_id in (select center_id from guard)";
    const PARAMS: usize = 1;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&DecidedRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        args.add(rows().map(|payment| payment.0).collect::<Vec<i64>>())
    }
}
