//! All SQL of this domain, and the rows it adds to the lanes' statement.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use sha2::{Digest as _, Sha256};
use sqlx::{Arguments as _, PgConnection, error::BoxDynError, postgres::PgArguments, types::Json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    entity::{Leg, LegState, Order, PaymentFacts, Remittance},
    suspense,
};
use crate::{
    db::decoding,
    gateway::{ChannelSet, PaymentMethod},
    ids::{AccountNo, CenterNo, DetaineeId, PayerId, RemittanceId, RequestId, Seq},
    ledger::{Center, Request, RowSet, record},
    money::Amount,
};

/// Writes a remittance down with its first leg and its first poll. `preview` is as `record::canonical` wrote it. The caller
/// holds the journal's head, so that numbers have no holes.
pub(super) async fn insert_remittance(
    conn: &mut PgConnection,
    center: CenterNo,
    remittance: &Remittance,
    request: &Request,
    preview: &[u8],
    first_poll: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into remittance (center_id, remittance_id, number, request_id, actor, request, payer_id, detainee_id,
                                 amount, channel, clearing_no, preview, created_at, expires_at, in_app_payer)
         select $1, $2, (select coalesce(max(number), 0) + 1 from remittance where center_id = $1),
                $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14",
        center.0,
        remittance.id.as_str(),
        request.id.0,
        request.actor,
        request.body,
        remittance.payer.as_str(),
        remittance.detainee.as_str(),
        remittance.amount.value(),
        remittance.channel,
        remittance.clearing.0,
        preview,
        remittance.created_at,
        remittance.expires_at,
        remittance.method.in_app_payer(),
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into remittance_poll (center_id, remittance_id, attempts, next_at) values ($1, $2, 0, $3)",
        center.0,
        remittance.id.as_str(),
        first_poll,
    )
    .execute(&mut *conn)
    .await?;
    for leg in &remittance.legs {
        insert_leg(conn, center, &remittance.id, leg).await?;
    }
    Ok(())
}

/// Writes a leg down unless its state was reached before.
pub(super) async fn insert_leg(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &RemittanceId,
    leg: &Leg,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into remittance_leg (center_id, remittance_id, state, at, detail, payment_url, gateway_transaction, paid_at,
                                     prepay, seq)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict do nothing",
        center.0,
        id.as_str(),
        leg.state.name(),
        leg.at,
        leg.detail,
        leg.payment_url,
        leg.payment.as_ref().map(|payment| payment.gateway_transaction.as_str()),
        leg.payment.as_ref().map(|payment| payment.paid_at),
        (!leg.prepay.is_empty()).then(|| serde_json::json!(leg.prepay)),
        leg.seq.map(|seq| seq.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// That a remittance was given up, by whom, unless it was before.
pub(super) async fn insert_cancelled(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &RemittanceId,
    (at, detail, actor): (OffsetDateTime, &str, &str),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into remittance_leg (center_id, remittance_id, state, at, detail, actor)
         values ($1, $2, 'CANCELLED', $3, $4, $5) on conflict do nothing",
        center.0,
        id.as_str(),
        at,
        detail,
        actor,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How many of a payer's orders since an instant have come to nothing, because they were cancelled or the gateway refused them.
pub(super) async fn vain_orders(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
    since: OffsetDateTime,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from remittance r
           where r.center_id = $1 and r.payer_id = $2 and r.created_at > $3
             and exists (select from remittance_leg l where l.center_id = r.center_id
                         and l.remittance_id = r.remittance_id and l.state in ('FAILED', 'CANCELLED'))"#,
        center.0,
        payer.as_str(),
        since,
    )
    .fetch_one(conn)
    .await
}

/// Takes the right to have the gateway asked about a remittance once; others have it again from `free_at`. False if somebody had
/// it a moment ago.
pub(super) async fn may_ask(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &RemittanceId,
    (now, free_at): (OffsetDateTime, OffsetDateTime),
) -> sqlx::Result<bool> {
    let taken = sqlx::query!(
        "insert into remittance_question as q (center_id, remittance_id, free_at, closings) values ($1, $2, $4, 0)
         on conflict on constraint remittance_question_pkey do update set free_at = excluded.free_at
         where q.free_at <= $3",
        center.0,
        id.as_str(),
        now,
        free_at,
    )
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// The gateway may be asked about a remittance again from an instant on.
pub(super) async fn free_question(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &RemittanceId,
    free_at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update remittance_question set free_at = $3 where center_id = $1 and remittance_id = $2",
        center.0,
        id.as_str(),
        free_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Counts that a caller has the gateway close a remittance. False if that was done `most` times before.
pub(super) async fn may_close(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &RemittanceId,
    (now, most): (OffsetDateTime, i32),
) -> sqlx::Result<bool> {
    let taken = sqlx::query!(
        "insert into remittance_question as q (center_id, remittance_id, free_at, closings) values ($1, $2, $3, 1)
         on conflict on constraint remittance_question_pkey do update set closings = q.closings + 1
         where q.closings < $4",
        center.0,
        id.as_str(),
        now,
        most,
    )
    .execute(conn)
    .await?;
    Ok(taken.rows_affected() == 1)
}

/// Which remittances a list shows.
#[derive(Debug, Clone, Default)]
pub struct RemittanceFilter {
    /// Only those of this payer.
    pub payer: Option<PayerId>,
    /// Only those for this detainee.
    pub detainee: Option<DetaineeId>,
    /// Only those before this number.
    pub before: Option<i64>,
}

/// Up to `limit` remittances with their legs, newest first.
pub(super) async fn remittances(
    conn: &mut PgConnection,
    center: &Center,
    filter: &RemittanceFilter,
    limit: i64,
) -> sqlx::Result<Vec<Remittance>> {
    let rows = sqlx::query_as!(
        RemittanceRow,
        "select remittance_id, number, request_id, payer_id, detainee_id, amount, channel, clearing_no, preview,
                created_at, expires_at, in_app_payer
         from remittance
         where center_id = $1 and ($2::text is null or payer_id = $2) and ($3::text is null or detainee_id = $3)
           and number < $4
         order by number desc limit $5",
        center.no.0,
        filter.payer.as_ref().map(PayerId::as_str),
        filter.detainee.as_ref().map(DetaineeId::as_str),
        filter.before.unwrap_or(i64::MAX),
        limit,
    )
    .fetch_all(&mut *conn)
    .await?;
    with_legs(conn, center, rows).await
}

struct RemittanceRow {
    remittance_id: String,
    number: i64,
    request_id: Uuid,
    payer_id: String,
    detainee_id: String,
    amount: Decimal,
    channel: String,
    clearing_no: i32,
    preview: Vec<u8>,
    created_at: OffsetDateTime,
    expires_at: OffsetDateTime,
    in_app_payer: Option<String>,
}

async fn with_legs(
    conn: &mut PgConnection,
    center: &Center,
    rows: Vec<RemittanceRow>,
) -> sqlx::Result<Vec<Remittance>> {
    let ids: Vec<String> = rows.iter().map(|row| row.remittance_id.clone()).collect();
    let mut legs = legs(conn, center.no, &ids).await?;
    let mut suspended = suspense::payments(conn, center, &ids).await?;
    rows.into_iter()
        .map(|row| {
            Ok(Remittance {
                suspended: suspended.remove(&row.remittance_id).unwrap_or_default(),
                legs: legs.remove(&row.remittance_id).unwrap_or_default(),
                id: RemittanceId::parse(&row.remittance_id).map_err(decoding)?,
                number: row.number,
                request_id: RequestId(row.request_id),
                payer: PayerId::parse(&row.payer_id).map_err(decoding)?,
                detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
                amount: center.amount(row.amount)?,
                channel: row.channel,
                method: PaymentMethod::of(row.in_app_payer),
                clearing: AccountNo(row.clearing_no),
                preview: record::decode_credit(&row.preview)?.parts,
                created_at: row.created_at,
                expires_at: row.expires_at,
            })
        })
        .collect()
}

/// One remittance by its key.
pub(super) async fn remittance(
    conn: &mut PgConnection,
    center: &Center,
    id: &RemittanceId,
) -> sqlx::Result<Option<Remittance>> {
    let row = sqlx::query_as!(
        RemittanceRow,
        "select remittance_id, number, request_id, payer_id, detainee_id, amount, channel, clearing_no, preview,
                created_at, expires_at, in_app_payer
         from remittance where center_id = $1 and remittance_id = $2",
        center.no.0,
        id.as_str(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    Ok(with_legs(conn, center, row.into_iter().collect()).await?.pop())
}

/// What a payment of a remittance is booked by: one query, for it is asked once for every notification.
pub(super) async fn order(conn: &mut PgConnection, center: &Center, id: RemittanceId) -> sqlx::Result<Option<Order>> {
    let row = sqlx::query!(
        r#"select r.payer_id, r.detainee_id, r.amount, r.channel, r.clearing_no, r.created_at,
                  legs.gateway_transaction as "gateway_transaction?", legs.seq as "seq?"
           from remittance r,
                lateral (select max(gateway_transaction) as gateway_transaction, max(seq) as seq from remittance_leg l
                         where l.center_id = r.center_id and l.remittance_id = r.remittance_id) legs
           where r.center_id = $1 and r.remittance_id = $2"#,
        center.no.0,
        id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Order {
            id,
            payer: PayerId::parse(&row.payer_id).map_err(decoding)?,
            detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
            amount: center.amount(row.amount)?,
            channel: row.channel,
            clearing: AccountNo(row.clearing_no),
            created_at: row.created_at,
            posted: row.gateway_transaction.zip(row.seq.map(Seq)),
        })
    })
    .transpose()
}

async fn legs(conn: &mut PgConnection, center: CenterNo, ids: &[String]) -> sqlx::Result<HashMap<String, Vec<Leg>>> {
    let rows = sqlx::query!(
        r#"select l.remittance_id, l.state, l.at, l.detail, l.payment_url, l.gateway_transaction, l.paid_at, l.seq, l.deadline,
                  l.prepay as "prepay: Json<BTreeMap<String, String>>"
           from unnest($2::text[]) k (remittance_id),
                lateral (select * from remittance_leg where center_id = $1 and remittance_id = k.remittance_id offset 0) l"#,
        center.0,
        ids,
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<String, Vec<Leg>> = HashMap::new();
    for row in rows {
        let state = LegState::from_name(&row.state)
            .ok_or_else(|| sqlx::Error::Decode(format!("unknown state {}", row.state).into()))?;
        let payment = row.gateway_transaction.zip(row.paid_at);
        found.entry(row.remittance_id).or_default().push(Leg {
            state,
            at: row.at,
            detail: row.detail,
            payment_url: row.payment_url,
            prepay: row.prepay.unwrap_or_default().0,
            payment: payment.map(|(gateway_transaction, paid_at)| PaymentFacts {
                gateway_transaction,
                paid_at,
            }),
            seq: row.seq.map(Seq),
            deadline: row.deadline,
        });
    }
    for legs in found.values_mut() {
        legs.sort_by_key(|leg| (leg.at, leg.state));
    }
    Ok(found)
}

/// A payment that is in the ledger.
#[derive(Debug, Clone, PartialEq)]
pub struct PostedPayment {
    /// The remittance it paid.
    pub remittance: RemittanceId,
    /// The gateway's own number.
    pub gateway_transaction: String,
    /// How much.
    pub amount: Amount,
    /// The transaction that credited it or put it into suspense.
    pub seq: Seq,
    /// When that was recorded.
    pub recorded_at: OffsetDateTime,
}

/// The payments of a channel that are in the ledger, each once: those of some remittances, and those that were paid, by the
/// gateway's word, from an instant up to before another. What a bill is compared with.
///
/// What came through suspense is told by the transaction that put it there, further payments of one order among it.
pub async fn posted_in_tx(
    conn: &mut PgConnection,
    center: &Center,
    channel: &str,
    remittances: &[RemittanceId],
    (from, before): (OffsetDateTime, OffsetDateTime),
) -> sqlx::Result<Vec<PostedPayment>> {
    let ids: Vec<&str> = remittances.iter().map(RemittanceId::as_str).collect();
    sqlx::query!(
        r#"select r.remittance_id as "remittance_id!", r.amount as "amount!",
                  paid.gateway_transaction as "gateway_transaction!", credited.seq as "seq!", credited.at as "at!"
           from remittance_leg paid
           join remittance r on r.center_id = paid.center_id and r.remittance_id = paid.remittance_id
           join remittance_leg credited on credited.center_id = paid.center_id
               and credited.remittance_id = paid.remittance_id and credited.state = 'CREDITED'
           where paid.center_id = $1 and paid.state = 'PAID' and r.channel = $2
             and (paid.remittance_id = any($3) or paid.paid_at >= $4 and paid.paid_at < $5)
             and not exists (select from remittance_leg s where s.center_id = paid.center_id
                             and s.remittance_id = paid.remittance_id and s.state = 'SUSPENDED')
           union all
           select s.remittance_id, s.amount, s.gateway_transaction, s.seq, s.recorded_at
           from suspended_payment s
           join remittance r on r.center_id = s.center_id and r.remittance_id = s.remittance_id
           where s.center_id = $1 and r.channel = $2
             -- What was over the cap is told by its credit.
             and not exists (select from remittance_leg c where c.center_id = s.center_id
                             and c.remittance_id = s.remittance_id and c.state = 'CREDITED' and c.seq = s.seq)
             and (s.remittance_id = any($3) or s.paid_at >= $4 and s.paid_at < $5)"#,
        center.no.0,
        channel,
        &ids as &[&str],
        from,
        before,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| {
        Ok(PostedPayment {
            remittance: RemittanceId::parse(&row.remittance_id).map_err(decoding)?,
            gateway_transaction: row.gateway_transaction,
            amount: center.amount(row.amount)?,
            seq: Seq(row.seq),
            recorded_at: row.at,
        })
    })
    .collect()
}

/// Takes up to `limit` remittances of some channels that are due to be asked about, those that have waited longest, with the number of questions this one included. Others
/// leave them alone until `lease`.
pub(super) async fn claim_polls(
    conn: &mut PgConnection,
    center: CenterNo,
    channels: &ChannelSet,
    (now, lease): (OffsetDateTime, OffsetDateTime),
    limit: i64,
) -> sqlx::Result<Vec<(RemittanceId, i32)>> {
    sqlx::query!(
        "with due as (
             select center_id, remittance_id from remittance_poll d
             where center_id = $1 and next_at <= $2 and $6 = exists (
                 select from remittance r
                 where r.center_id = d.center_id and r.remittance_id = d.remittance_id and r.channel = any ($5))
             order by next_at limit $4 for update skip locked)
         update remittance_poll p set attempts = p.attempts + 1, next_at = $3
         from due where p.center_id = due.center_id and p.remittance_id = due.remittance_id
         returning p.remittance_id, p.attempts",
        center.0,
        now,
        lease,
        limit,
        &channels.ids,
        channels.is_among,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| Ok((RemittanceId::parse(&row.remittance_id).map_err(decoding)?, row.attempts)))
    .collect()
}

/// Sets when a remittance is asked about next, or never again.
pub(super) async fn set_poll(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &RemittanceId,
    next: Option<OffsetDateTime>,
) -> sqlx::Result<()> {
    let (center, id) = (center.0, id.as_str());
    match next {
        Some(next) => {
            sqlx::query!(
                "update remittance_poll set next_at = $3 where center_id = $1 and remittance_id = $2",
                center,
                id,
                next,
            )
            .execute(conn)
            .await?
        }
        None => {
            sqlx::query!(
                "delete from remittance_poll where center_id = $1 and remittance_id = $2",
                center,
                id,
            )
            .execute(conn)
            .await?
        }
    };
    Ok(())
}

/// Keeps a notification that changed nothing, once.
pub(super) async fn insert_rejected(
    conn: &mut PgConnection,
    center: CenterNo,
    channel: &str,
    reason: &str,
    at: OffsetDateTime,
    body: &[u8],
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into rejected_notification (center_id, channel, digest, reason, received_at, body)
         values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
        center.0,
        channel,
        &Sha256::digest(body)[..],
        reason,
        at,
        body,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Rows of `remittance_leg` that a credit adds.
#[derive(Default)]
pub(super) struct LegRows(Vec<LegRow>);

struct LegRow {
    remittance: RemittanceId,
    state: LegState,
    at: OffsetDateTime,
    detail: String,
    seq: Option<Seq>,
    payment: Option<PaymentFacts>,
    deadline: Option<OffsetDateTime>,
}

impl LegRows {
    /// That it is paid, by which payment.
    pub fn push_paid(&mut self, remittance: &RemittanceId, at: OffsetDateTime, detail: &str, payment: &PaymentFacts) {
        self.0.push(LegRow {
            remittance: remittance.clone(),
            state: LegState::Paid,
            at,
            detail: detail.to_owned(),
            seq: None,
            payment: Some(payment.clone()),
            deadline: None,
        });
    }

    /// That a transaction credited it or put it into suspense, for review until a deadline.
    pub fn push(
        &mut self,
        remittance: &RemittanceId,
        (state, deadline): (LegState, Option<OffsetDateTime>),
        at: OffsetDateTime,
        detail: &str,
        seq: Seq,
    ) {
        self.0.push(LegRow {
            remittance: remittance.clone(),
            state,
            at,
            detail: detail.to_owned(),
            seq: Some(seq),
            payment: None,
            deadline,
        });
    }
}

impl RowSet for LegRows {
    const NAME: &'static str = "remittance_leg";
    const SQL: &'static str = "\
        insert into remittance_leg (center_id, remittance_id, state, at, detail, seq, gateway_transaction, paid_at, deadline)
        select * from unnest($1::integer[], $2::text[], $3::text[], $4::timestamptz[], $5::text[], $6::bigint[], $7::text[],
            $8::timestamptz[], $9::timestamptz[]) l (center_id)
        where l.center_id in (select center_id from guard)";
    const PARAMS: usize = 8;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&LegRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        let payments = || rows().map(|row| row.payment.as_ref());
        args.add(rows().map(|row| row.remittance.as_str()).collect::<Vec<&str>>())?;
        args.add(rows().map(|row| row.state.name()).collect::<Vec<&str>>())?;
        args.add(rows().map(|row| row.at).collect::<Vec<OffsetDateTime>>())?;
        args.add(rows().map(|row| row.detail.as_str()).collect::<Vec<&str>>())?;
        args.add(rows().map(|row| row.seq.map(|seq| seq.0)).collect::<Vec<Option<i64>>>())?;
        let transactions = payments().map(|payment| Some(payment?.gateway_transaction.as_str()));
        args.add(transactions.collect::<Vec<Option<&str>>>())?;
        let times = payments().map(|payment| Some(payment?.paid_at));
        args.add(times.collect::<Vec<Option<OffsetDateTime>>>())?;
        args.add(rows().map(|row| row.deadline).collect::<Vec<Option<OffsetDateTime>>>())
    }
}
