//! All SQL of this domain.

use std::collections::HashMap;

use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

use super::{
    Allowed,
    entity::{RefundRow, RefundState, ReleaseEnd, ReleaseRow, brought, layered, meaning},
    journey::Back,
    unspent::Movement,
};
use crate::{
    db::decoding,
    gateway::ChannelSet,
    ids::{AccountNo, CenterNo, DetaineeId, PayerId, RemittanceId, Seq},
    ledger::{Center, Declined, record},
    money::Amount,
    proto::{JournalRecord, LayerFacts, TransactionKind, journal_record::Facts},
};

/// What happened to an available account.
pub(super) struct Movements {
    /// In the journal's order.
    pub movements: Vec<Movement>,
    /// The records of the credits.
    pub credits: Vec<JournalRecord>,
    /// What came from elsewhere, as it was told when it came.
    pub brought: Vec<LayerFacts>,
}

/// The postings of an available account up to a transaction.
pub(super) async fn movements(
    conn: &mut PgConnection,
    center: &Center,
    available: AccountNo,
    through: Seq,
) -> Result<Movements, Declined> {
    // Purchases are most of a statement, and say all by their kind.
    let rows = sqlx::query!(
        r#"select p.seq, p.leg, p.amount, p.debit = $2 as "is_debit!", t.kind,
                  case when t.kind <> $4 then t.record end as "record?"
           from posting p join journal_transaction t on t.center_id = p.center_id and t.seq = p.seq
           where p.center_id = $1 and (p.debit = $2 or p.credit = $2) and p.seq <= $3
           order by p.seq, p.leg"#,
        center.no.0,
        available.0,
        through.0,
        record::kind_name(TransactionKind::Purchase),
    )
    .fetch_all(conn)
    .await?;
    let mut read = Movements {
        movements: Vec::with_capacity(rows.len()),
        credits: Vec::new(),
        brought: Vec::new(),
    };
    for row in rows {
        let (seq, amount) = (Seq(row.seq), center.amount(row.amount)?);
        let kind = record::kind_of(&row.kind);
        let record = row.record.as_deref().map(record::decode).transpose()?;
        if let Some(layers) = brought(row.is_debit, record.as_ref()) {
            read.movements.extend(layered(seq, amount, layers)?);
            read.brought
                .extend(layers.iter().filter(|layer| !layer.remittance.is_empty()).cloned());
            continue;
        }
        let meaning = meaning(kind, (row.leg, row.is_debit), record.as_ref())?;
        read.movements.push(Movement { seq, amount, meaning });
        if kind == TransactionKind::Credit {
            read.credits.extend(record);
        }
    }
    Ok(read)
}

/// Writes a refund down with its first leg, and when the gateway is asked if nobody does before.
pub(super) async fn insert_refund(
    conn: &mut PgConnection,
    center: CenterNo,
    row: &RefundRow,
    allowed: &Allowed,
    at: OffsetDateTime,
    ask_at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into refund (center_id, seq, remittance_id, detainee_id, credit_seq, amount, from_suspense, channel, approval_no,
                             by_itself)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        center.0,
        row.seq.0,
        row.remittance.as_str(),
        row.detainee.as_str(),
        row.credit.0,
        row.amount.value(),
        row.from_suspense,
        row.channel,
        allowed.approval().map(|approval| approval.approval),
        matches!(allowed, Allowed::ByItself),
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into refund_open (center_id, seq, attempts, next_at) values ($1, $2, 0, $3)",
        center.0,
        row.seq.0,
        ask_at,
    )
    .execute(&mut *conn)
    .await?;
    insert_leg(conn, center, row.seq, row.state, at, "", None).await
}

/// Writes a leg down unless its state was reached before.
pub(super) async fn insert_leg(
    conn: &mut PgConnection,
    center: CenterNo,
    refund: Seq,
    state: RefundState,
    at: OffsetDateTime,
    detail: &str,
    end: Option<Seq>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into refund_leg (center_id, seq, state, at, detail, end_seq) values ($1, $2, $3, $4, $5, $6)
         on conflict on constraint refund_leg_pkey do nothing",
        center.0,
        refund.0,
        state.name(),
        at,
        detail,
        end.map(|seq| seq.0),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A refund that the gateway has paid.
#[derive(Debug, Clone, PartialEq)]
pub struct SucceededRefund {
    /// The refund.
    pub refund: Seq,
    /// The gateway's own number.
    pub gateway_refund: String,
    /// How much.
    pub amount: Amount,
    /// The transaction that recorded it.
    pub end: Seq,
    /// When.
    pub recorded_at: OffsetDateTime,
}

/// The refunds of a channel that succeeded: those with some numbers, and those that were recorded from an instant up to
/// before another. What a bill is compared with.
pub async fn succeeded_in_tx(
    conn: &mut PgConnection,
    center: &Center,
    channel: &str,
    refunds: &[Seq],
    (from, before): (OffsetDateTime, OffsetDateTime),
) -> sqlx::Result<Vec<SucceededRefund>> {
    let seqs: Vec<i64> = refunds.iter().map(|seq| seq.0).collect();
    sqlx::query!(
        r#"select f.seq, f.amount, l.at as "at!", t.seq as end_seq, t.record
         from (select seq, at, end_seq from refund_leg g
               where center_id = $1 and state = 'SUCCEEDED'
                 and not exists (select from refund_redirect_paid d where d.center_id = $1 and d.seq = g.seq)
               union all
               -- To the center, which is what the gateway's bill tells.
               select seq, paid_at, paid_seq from refund_redirect_paid where center_id = $1) l
         join refund f on f.center_id = $1 and f.seq = l.seq
         join journal_transaction t on t.center_id = $1 and t.seq = l.end_seq
         where f.channel = $2 and (l.seq = any($3) or l.at >= $4 and l.at < $5)"#,
        center.no.0,
        channel,
        &seqs,
        from,
        before,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| {
        let gateway_refund = match record::decode(&row.record)?.facts {
            Some(Facts::Outcome(outcome)) => outcome.reference,
            _ => return Err(sqlx::Error::Decode("a refund's outcome without its facts".into())),
        };
        Ok(SucceededRefund {
            refund: Seq(row.seq),
            gateway_refund,
            amount: center.amount(row.amount)?,
            end: Seq(row.end_seq),
            recorded_at: row.at,
        })
    })
    .collect()
}

/// The states that a refund has reached, in the order of time.
pub(super) async fn steps(
    db: impl PgExecutor<'_>,
    center: CenterNo,
    refund: Seq,
) -> sqlx::Result<Vec<(RefundState, OffsetDateTime, String)>> {
    let rows = sqlx::query!(
        "select state, at, detail from refund_leg where center_id = $1 and seq = $2",
        center.0,
        refund.0,
    )
    .fetch_all(db)
    .await?;
    let step = |row: (String, OffsetDateTime, String)| Some((RefundState::from_name(&row.0)?, row.1, row.2));
    let mut steps: Vec<_> = rows
        .into_iter()
        .filter_map(|row| step((row.state, row.at, row.detail)))
        .collect();
    steps.sort_by_key(|(state, at, _)| (*at, *state));
    Ok(steps)
}

/// The bank account that a refund goes to, masked.
pub(super) async fn paid_to(conn: &mut PgConnection, center: CenterNo, refund: Seq) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "select a.masked from refund_payout p
         join bank_account b on b.center_id = p.center_id and b.owner = p.owner and b.version = p.account_version
         join bank_account_asked a on a.center_id = b.center_id and a.request_id = b.request_id
         where p.center_id = $1 and p.seq = $2",
        center.0,
        refund.0,
    )
    .fetch_optional(conn)
    .await
}

/// Where a refund goes that the gateway cannot pay.
pub(super) struct RedirectRow {
    pub approval: i64,
}

pub(super) async fn redirect(
    conn: &mut PgConnection,
    center: CenterNo,
    refund: Seq,
) -> sqlx::Result<Option<RedirectRow>> {
    sqlx::query_as!(
        RedirectRow,
        "select approval_no as approval from refund_redirect where center_id = $1 and seq = $2",
        center.0,
        refund.0,
    )
    .fetch_optional(conn)
    .await
}

pub(super) async fn insert_redirect(
    conn: &mut PgConnection,
    center: CenterNo,
    refund: Seq,
    (destination, approval): (&str, i64),
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into refund_redirect (center_id, seq, destination, approval_no, redirected_at) values ($1, $2, $3, $4, $5)",
        center.0,
        refund.0,
        destination,
        approval,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// There is nothing more to ask.
pub(super) async fn delete_open(conn: &mut PgConnection, center: CenterNo, refund: Seq) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from refund_open where center_id = $1 and seq = $2",
        center.0,
        refund.0
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes up to `limit` refunds through some channels that are to be asked about, those that have waited longest, and keeps other processes from them until `lease`. Each with how
/// often it was asked about before.
pub(super) async fn claim_due(
    db: impl PgExecutor<'_>,
    center: CenterNo,
    channels: &ChannelSet,
    (now, lease): (OffsetDateTime, OffsetDateTime),
    limit: i64,
) -> sqlx::Result<Vec<(Seq, i32)>> {
    let rows = sqlx::query!(
        "update refund_open set attempts = attempts + 1, next_at = $3
         where center_id = $1 and seq in (
             select seq from refund_open o where center_id = $1 and next_at <= $2 and $6 = exists (
                 select from refund f join remittance r on r.center_id = f.center_id and r.remittance_id = f.remittance_id
                 where f.center_id = o.center_id and f.seq = o.seq and r.channel = any ($5))
             order by next_at limit $4 for update skip locked)
         returning seq, attempts",
        center.0,
        now,
        lease,
        limit,
        &channels.ids,
        channels.is_among,
    )
    .fetch_all(db)
    .await?;
    Ok(rows.into_iter().map(|row| (Seq(row.seq), row.attempts)).collect())
}

/// When a refund is asked about next, if it is still open.
pub(super) async fn ask_again(
    db: impl PgExecutor<'_>,
    center: CenterNo,
    refund: Seq,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update refund_open set next_at = $3 where center_id = $1 and seq = $2",
        center.0,
        refund.0,
        at,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// How many refunds of a detainee's money have no outcome. One of money in suspense does not concern the detainee.
pub(super) async fn count_open(conn: &mut PgConnection, center: CenterNo, detainee: &DetaineeId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from refund r join refund_open o on o.center_id = r.center_id and o.seq = r.seq
           where r.center_id = $1 and r.detainee_id = $2 and not r.from_suspense"#,
        center.0,
        detainee.as_str(),
    )
    .fetch_one(conn)
    .await
}

/// How many refunds of a credit have no outcome yet.
pub(super) async fn count_open_of_credit(conn: &mut PgConnection, center: CenterNo, credit: Seq) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from refund_open o join refund r on r.center_id = o.center_id and r.seq = o.seq
           where o.center_id = $1 and r.credit_seq = $2"#,
        center.0,
        credit.0,
    )
    .fetch_one(conn)
    .await
}

/// What went back, or is on its way, of some remittances, oldest first.
pub(super) async fn back(
    conn: &mut PgConnection,
    center: &Center,
    remittances: &[&RemittanceId],
) -> sqlx::Result<HashMap<String, Vec<Back>>> {
    let ids: Vec<&str> = remittances.iter().map(|id| id.as_str()).collect();
    let rows = sqlx::query!(
        r#"select r.remittance_id, r.credit_seq, r.from_suspense, r.amount, l.at as requested_at,
                  e.state as "state?", e.at as "ended_at?", e.detail as "detail?"
           from refund r
           join refund_leg l on l.center_id = r.center_id and l.seq = r.seq and l.state = 'REQUESTED'
           left join refund_leg e on e.center_id = r.center_id and e.seq = r.seq and e.end_seq is not null
           where r.center_id = $1 and r.remittance_id = any($2) order by r.seq"#,
        center.no.0,
        &ids as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<String, Vec<Back>> = HashMap::new();
    for row in rows {
        let end = row.state.as_deref().and_then(RefundState::from_name).zip(row.ended_at);
        found.entry(row.remittance_id).or_default().push(Back {
            source: Seq(row.credit_seq),
            from_suspense: row.from_suspense,
            amount: center.amount(row.amount)?,
            requested_at: row.requested_at,
            end: end.map(|(state, at)| (state, at, row.detail.unwrap_or_default())),
        });
    }
    Ok(found)
}

/// Up to `limit` refunds from a number down, newest first. With a payer, only those of their remittances.
pub(super) async fn refunds(
    db: impl PgExecutor<'_>,
    center: &Center,
    detainee: Option<&DetaineeId>,
    remittance: Option<&RemittanceId>,
    payer: Option<&PayerId>,
    from: Seq,
    limit: i64,
) -> sqlx::Result<Vec<RefundRow>> {
    let rows = sqlx::query!(
        r#"select r.seq, r.remittance_id, r.detainee_id, r.credit_seq, r.amount, r.from_suspense, r.channel,
                  l.states as "states!", l.end_seq as "end_seq?"
           from refund r cross join lateral (
               select array_agg(g.state) as states, max(g.end_seq) as end_seq from refund_leg g
               where g.center_id = r.center_id and g.seq = r.seq) l
           where r.center_id = $1 and ($2::text is null or r.detainee_id = $2)
             and ($3::text is null or r.remittance_id = $3) and r.seq <= $4
             and ($5::text is null or exists (
                 select from remittance m
                 where m.center_id = r.center_id and m.remittance_id = r.remittance_id and m.payer_id = $5))
           order by r.seq desc limit $6"#,
        center.no.0,
        detainee.map(DetaineeId::as_str),
        remittance.map(RemittanceId::as_str),
        from.0,
        payer.map(PayerId::as_str),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let states = row.states.iter().filter_map(|name| RefundState::from_name(name));
            Ok(RefundRow {
                seq: Seq(row.seq),
                remittance: RemittanceId::parse(&row.remittance_id).map_err(decoding)?,
                detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
                channel: row.channel,
                credit: Seq(row.credit_seq),
                from_suspense: row.from_suspense,
                amount: center.amount(row.amount)?,
                state: states.max().unwrap_or(RefundState::Requested),
                end: row.end_seq.map(Seq),
            })
        })
        .collect()
}

/// One refund.
pub(super) async fn refund(db: impl PgExecutor<'_>, center: &Center, seq: Seq) -> sqlx::Result<Option<RefundRow>> {
    let found = refunds(db, center, None, None, None, seq, 1).await?;
    Ok(found.into_iter().find(|row| row.seq == seq))
}

/// What one person alone has refunded of a detainee's money since an instant, but for what came back.
pub(super) async fn refunded_by_one(
    conn: &mut PgConnection,
    center: &Center,
    detainee: &DetaineeId,
    since: OffsetDateTime,
) -> sqlx::Result<Amount> {
    let sum = sqlx::query_scalar!(
        r#"select coalesce(sum(r.amount), 0) as "sum!"
           from refund r
           join refund_leg q on q.center_id = r.center_id and q.seq = r.seq and q.state = 'REQUESTED'
           where r.center_id = $1 and r.detainee_id = $2 and r.approval_no is null and not r.by_itself and q.at >= $3
             and not exists (select from refund_leg f where f.center_id = r.center_id and f.seq = r.seq and f.state = 'FAILED')"#,
        center.no.0,
        detainee.as_str(),
        since,
    )
    .fetch_one(conn)
    .await?;
    center.amount(sum)
}

pub(super) async fn insert_release(
    conn: &mut PgConnection,
    center: CenterNo,
    seq: Seq,
    detainee: &DetaineeId,
    amount: Amount,
    (opened_by, approval): (&str, Option<i64>),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into release (center_id, seq, detainee_id, amount, opened_by, approval_no) values ($1, $2, $3, $4, $5, $6)",
        center.0,
        seq.0,
        detainee.as_str(),
        amount.value(),
        opened_by,
        approval,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_release_end(
    conn: &mut PgConnection,
    center: CenterNo,
    release: Seq,
    end_seq: Seq,
    end: ReleaseEnd,
    (opened_by, ended_by): (&str, &str),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into release_end (center_id, seq, end_seq, state, opened_by, ended_by) values ($1, $2, $3, $4, $5, $6)",
        center.0,
        release.0,
        end_seq.0,
        end.name(),
        opened_by,
        ended_by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` release payouts from a number down, newest first.
pub(super) async fn releases(
    db: impl PgExecutor<'_>,
    center: CenterNo,
    detainee: Option<&DetaineeId>,
    from: Seq,
    limit: i64,
) -> sqlx::Result<Vec<ReleaseRow>> {
    let rows = sqlx::query!(
        r#"select r.seq, r.detainee_id, r.opened_by, e.end_seq as "end_seq?", e.state as "state?"
           from release r left join release_end e on e.center_id = r.center_id and e.seq = r.seq
           where r.center_id = $1 and ($2::text is null or r.detainee_id = $2) and r.seq <= $3
           order by r.seq desc limit $4"#,
        center.0,
        detainee.map(DetaineeId::as_str),
        from.0,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let end = row.end_seq.zip(row.state.as_deref().and_then(ReleaseEnd::from_name));
            Ok(ReleaseRow {
                seq: Seq(row.seq),
                detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
                opened_by: row.opened_by,
                end: end.map(|(seq, end)| (Seq(seq), end)),
            })
        })
        .collect()
}

/// One release payout.
pub(super) async fn release(db: impl PgExecutor<'_>, center: CenterNo, seq: Seq) -> sqlx::Result<Option<ReleaseRow>> {
    let found = releases(db, center, None, seq, 1).await?;
    Ok(found.into_iter().find(|row| row.seq == seq))
}

/// The transactions that reversed some credits, by credit.
pub(super) async fn reversals(
    db: impl PgExecutor<'_>,
    center: CenterNo,
    credits: &[Seq],
) -> sqlx::Result<HashMap<Seq, Seq>> {
    let credits: Vec<i64> = credits.iter().map(|seq| seq.0).collect();
    let rows = sqlx::query!(
        "select credit_seq, seq from credit_reversal where center_id = $1 and credit_seq = any($2)",
        center.0,
        &credits,
    )
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (Seq(row.credit_seq), Seq(row.seq)))
        .collect())
}

/// Writes down that a transaction reverses a credit.
pub(super) async fn insert_reversal(
    conn: &mut PgConnection,
    center: CenterNo,
    credit: Seq,
    reversal: Seq,
    approval: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into credit_reversal (center_id, credit_seq, seq, approval_no) values ($1, $2, $3, $4)",
        center.0,
        credit.0,
        reversal.0,
        approval,
    )
    .execute(conn)
    .await?;
    Ok(())
}
