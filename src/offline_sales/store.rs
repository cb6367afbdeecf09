//! The SQL of settings, allowances and what else is no sale.

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};

use super::{
    chain::Hash,
    entity::{Allowance, AllowanceEnd, Bytes, EndReason, Settings, SettingsVersion},
};
use crate::{
    db::decoding,
    ids::{CenterNo, DetaineeId, Seq, TerminalId},
    ledger::Center,
};

pub(super) async fn settings(conn: &mut PgConnection, center: &Center) -> sqlx::Result<SettingsVersion> {
    let row = sqlx::query!(
        "select version, allowance_max, hours_max, report_hours, set_at, set_by from offline_setting
         where center_id = $1 order by version desc limit 1",
        center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(SettingsVersion {
            settings: Settings::off(center.currency),
            version: 0,
            set: None,
        });
    };
    Ok(SettingsVersion {
        settings: Settings {
            allowance_max: center.amount(row.allowance_max)?,
            hours_max: row.hours_max,
            report_hours: row.report_hours,
        },
        version: row.version,
        set: Some((row.set_at, row.set_by)),
    })
}

pub(super) async fn insert_settings(
    conn: &mut PgConnection,
    center: CenterNo,
    version: i64,
    settings: &Settings,
    reason: &str,
    (at, by): (OffsetDateTime, &str),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into offline_setting
             (center_id, version, allowance_max, hours_max, report_hours, reason, set_at, set_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        center.0,
        version,
        settings.allowance_max.value(),
        settings.hours_max,
        settings.report_hours,
        reason,
        at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_allowance(
    conn: &mut PgConnection,
    center: CenterNo,
    allowance: &Allowance,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into allowance (center_id, seq, terminal_id, detainee_id, amount, counted_on, reserved_at, expires_at, releases_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        center.0,
        allowance.seq.0,
        allowance.terminal.as_str(),
        allowance.detainee.as_str(),
        allowance.amount.value(),
        allowance.counted_on,
        allowance.reserved_at,
        allowance.expires_at,
        allowance.releases_at,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into allowance_open (center_id, seq, remaining, releases_at) values ($1, $2, $3, $4)",
        center.0,
        allowance.seq.0,
        allowance.remaining.value(),
        allowance.releases_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A row of `allowance` with what is left and how it ended.
struct Row {
    seq: i64,
    terminal_id: String,
    detainee_id: String,
    amount: Decimal,
    counted_on: Date,
    reserved_at: OffsetDateTime,
    expires_at: OffsetDateTime,
    releases_at: OffsetDateTime,
    remaining: Option<Decimal>,
    end_seq: Option<i64>,
    released: Option<Decimal>,
    reason: Option<String>,
}

fn allowance_of(center: &Center, row: Row) -> sqlx::Result<Allowance> {
    let end = match (row.end_seq, row.released, row.reason) {
        (Some(seq), Some(released), Some(reason)) => Some(AllowanceEnd {
            seq: Seq(seq),
            released: center.amount(released)?,
            reason: EndReason::from_name(&reason)
                .ok_or_else(|| sqlx::Error::Decode(format!("unknown end {reason}").into()))?,
        }),
        _ => None,
    };
    Ok(Allowance {
        seq: Seq(row.seq),
        terminal: TerminalId::parse(&row.terminal_id).map_err(decoding)?,
        detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
        amount: center.amount(row.amount)?,
        remaining: center.amount(row.remaining.unwrap_or_default())?,
        counted_on: row.counted_on,
        reserved_at: row.reserved_at,
        expires_at: row.expires_at,
        releases_at: row.releases_at,
        end,
    })
}

pub(super) async fn allowance(conn: &mut PgConnection, center: &Center, seq: Seq) -> sqlx::Result<Option<Allowance>> {
    sqlx::query_as!(
        Row,
        r#"select a.seq, a.terminal_id, a.detainee_id, a.amount, a.counted_on, a.reserved_at, a.expires_at, a.releases_at,
                  o.remaining as "remaining?", e.end_seq as "end_seq?", e.released as "released?", e.reason as "reason?"
           from allowance a
           left join allowance_open o on o.center_id = a.center_id and o.seq = a.seq
           left join allowance_end e on e.center_id = a.center_id and e.seq = a.seq
           where a.center_id = $1 and a.seq = $2"#,
        center.no.0,
        seq.0,
    )
    .fetch_optional(conn)
    .await?
    .map(|row| allowance_of(center, row))
    .transpose()
}

/// Which allowances a list shows.
#[derive(Debug, Clone, Default)]
pub struct AllowanceFilter {
    /// Only of this terminal.
    pub terminal: Option<TerminalId>,
    /// Only of this detainee.
    pub detainee: Option<DetaineeId>,
    /// Only those that have not ended.
    pub open: bool,
    /// Only those before this number.
    pub before: Option<Seq>,
}

pub(super) async fn allowances(
    conn: &mut PgConnection,
    center: &Center,
    filter: &AllowanceFilter,
    limit: i64,
) -> sqlx::Result<Vec<Allowance>> {
    sqlx::query_as!(
        Row,
        r#"select a.seq, a.terminal_id, a.detainee_id, a.amount, a.counted_on, a.reserved_at, a.expires_at, a.releases_at,
                  o.remaining as "remaining?", e.end_seq as "end_seq?", e.released as "released?", e.reason as "reason?"
           from allowance a
           left join allowance_open o on o.center_id = a.center_id and o.seq = a.seq
           left join allowance_end e on e.center_id = a.center_id and e.seq = a.seq
           where a.center_id = $1 and ($2::text is null or a.terminal_id = $2) and ($3::text is null or a.detainee_id = $3)
             and (not $4 or o.seq is not null) and a.seq < $5
           order by a.seq desc limit $6"#,
        center.no.0,
        filter.terminal.as_ref().map(TerminalId::as_str),
        filter.detainee.as_ref().map(DetaineeId::as_str),
        filter.open,
        filter.before.map_or(i64::MAX, |seq| seq.0),
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| allowance_of(center, row))
    .collect()
}

/// What is set aside of a detainee's money.
pub(super) async fn set_aside(
    conn: &mut PgConnection,
    center: &Center,
    detainee: &DetaineeId,
) -> sqlx::Result<crate::money::Amount> {
    let sum = sqlx::query_scalar!(
        r#"select coalesce(sum(o.remaining), 0) as "sum!" from allowance a
           join allowance_open o on o.center_id = a.center_id and o.seq = a.seq
           where a.center_id = $1 and a.detainee_id = $2"#,
        center.no.0,
        detainee.as_str(),
    )
    .fetch_one(conn)
    .await?;
    center.amount(sum)
}

pub(super) async fn set_remaining(
    conn: &mut PgConnection,
    center: CenterNo,
    seq: Seq,
    remaining: crate::money::Amount,
) -> sqlx::Result<()> {
    sqlx::query!(
        "update allowance_open set remaining = $3 where center_id = $1 and seq = $2",
        center.0,
        seq.0,
        remaining.value(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn end_allowance(
    conn: &mut PgConnection,
    center: CenterNo,
    seq: Seq,
    end: &AllowanceEnd,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from allowance_open where center_id = $1 and seq = $2",
        center.0,
        seq.0
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into allowance_end (center_id, seq, end_seq, released, reason) values ($1, $2, $3, $4, $5)",
        center.0,
        seq.0,
        end.seq.0,
        end.released.value(),
        end.reason.name(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` open allowances whose time to report is over, the oldest first.
pub(super) async fn due(
    conn: &mut PgConnection,
    center: CenterNo,
    now: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<Vec<Seq>> {
    let seqs = sqlx::query_scalar!(
        "select seq from allowance_open where center_id = $1 and releases_at <= $2 order by releases_at, seq limit $3",
        center.0,
        now,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(seqs.into_iter().map(Seq).collect())
}

/// A sale that waits for the numbers before it.
pub(super) struct Waiting {
    pub bytes: Bytes,
    pub received_at: OffsetDateTime,
    pub received_by: String,
}

/// Keeps a sale until the numbers before it are there; whether it was not kept before under this number.
pub(super) async fn insert_waiting(
    conn: &mut PgConnection,
    center: CenterNo,
    terminal: &TerminalId,
    number: i64,
    waiting: &Waiting,
) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "insert into offline_waiting
             (center_id, terminal_id, number, hash, statement, signature, received_at, received_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict on constraint offline_waiting_pkey do nothing",
        center.0,
        terminal.as_str(),
        number,
        waiting.bytes.hash.as_slice(),
        waiting.bytes.statement,
        waiting.bytes.signature,
        waiting.received_at,
        waiting.received_by,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

pub(super) fn hash_of(bytes: &[u8]) -> sqlx::Result<Hash> {
    Hash::try_from(bytes).map_err(|_| sqlx::Error::Decode("a hash has 32 bytes".into()))
}

pub(super) async fn waiting(
    conn: &mut PgConnection,
    center: CenterNo,
    terminal: &TerminalId,
    number: i64,
) -> sqlx::Result<Option<Waiting>> {
    sqlx::query!(
        "select hash, statement, signature, received_at, received_by from offline_waiting
         where center_id = $1 and terminal_id = $2 and number = $3",
        center.0,
        terminal.as_str(),
        number,
    )
    .fetch_optional(conn)
    .await?
    .map(|row| {
        Ok(Waiting {
            bytes: Bytes {
                hash: hash_of(&row.hash)?,
                statement: row.statement,
                signature: row.signature,
            },
            received_at: row.received_at,
            received_by: row.received_by,
        })
    })
    .transpose()
}

/// The numbers of a terminal that wait, in order; at most `limit`.
pub(super) async fn waiting_numbers(
    conn: &mut PgConnection,
    center: CenterNo,
    terminal: &TerminalId,
    limit: i64,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar!(
        "select number from offline_waiting where center_id = $1 and terminal_id = $2 order by number limit $3",
        center.0,
        terminal.as_str(),
        limit,
    )
    .fetch_all(conn)
    .await
}

pub(super) async fn delete_waiting(
    conn: &mut PgConnection,
    center: CenterNo,
    terminal: &TerminalId,
    number: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from offline_waiting where center_id = $1 and terminal_id = $2 and number = $3",
        center.0,
        terminal.as_str(),
        number,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The terminals of which sales wait.
pub(super) async fn waiting_terminals(conn: &mut PgConnection, center: CenterNo) -> sqlx::Result<Vec<TerminalId>> {
    sqlx::query_scalar!(
        "select distinct terminal_id from offline_waiting where center_id = $1 order by terminal_id",
        center.0,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|terminal| TerminalId::parse(&terminal).map_err(decoding))
    .collect()
}

/// What is none of a terminal's sales.
pub(super) struct Evidence<'a> {
    pub digest: Hash,
    pub number: i64,
    pub reason: &'static str,
    pub message: &'a str,
    pub statement: &'a [u8],
    pub signature: &'a [u8],
    pub received_at: OffsetDateTime,
    pub received_by: &'a str,
}

/// Keeps evidence; whether it was not kept before.
pub(super) async fn insert_evidence(
    conn: &mut PgConnection,
    center: CenterNo,
    terminal: &TerminalId,
    evidence: &Evidence<'_>,
) -> sqlx::Result<bool> {
    let inserted = sqlx::query!(
        "insert into offline_evidence
             (center_id, terminal_id, digest, number, reason, message, statement, signature, received_at, received_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict on constraint offline_evidence_pkey do nothing",
        center.0,
        terminal.as_str(),
        evidence.digest.as_slice(),
        evidence.number,
        evidence.reason,
        evidence.message,
        evidence.statement,
        evidence.signature,
        evidence.received_at,
        evidence.received_by,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// How much evidence there is of a terminal.
pub(super) async fn count_evidence(
    conn: &mut PgConnection,
    center: CenterNo,
    terminal: &TerminalId,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from offline_evidence where center_id = $1 and terminal_id = $2"#,
        center.0,
        terminal.as_str(),
    )
    .fetch_one(conn)
    .await
}
