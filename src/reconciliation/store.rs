//! All SQL of this domain.

use std::collections::HashMap;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, types::Json};
use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    BillOf, Reconciliation, Totals,
    entity::{BillEntry, Break, BreakKind, Key, LedgerEntry, Source, Told},
};
use crate::{
    db::decoding,
    gateway::{
        BillKind, BillRow,
        bill::{BillRecord, read_record},
    },
    ids::{CenterNo, RemittanceId, Seq},
    ledger::Center,
    money::Amount,
};

fn kind_name(kind: BillKind) -> &'static str {
    match kind {
        BillKind::Payment => "PAYMENT",
        BillKind::Refund => "REFUND",
    }
}

/// What bills told of some of the ledger's entries.
pub(super) async fn told(
    conn: &mut PgConnection,
    center: &Center,
    channel: &str,
    entries: &[LedgerEntry],
) -> sqlx::Result<HashMap<Key, Told>> {
    let kinds: Vec<&str> = entries.iter().map(|entry| kind_name(entry.kind)).collect();
    let ids: Vec<&str> = entries.iter().map(|entry| entry.gateway_id.as_str()).collect();
    let rows = sqlx::query!(
        "select b.kind, b.gateway_id, b.bill_date, b.fee
         from bill_entry b join unnest($3::text[], $4::text[]) e (kind, gateway_id)
             on b.kind = e.kind and b.gateway_id = e.gateway_id
         where b.center_id = $1 and b.channel = $2",
        center.no.0,
        channel,
        &kinds as &[&str],
        &ids as &[&str],
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let kind = if row.kind == kind_name(BillKind::Payment) {
                BillKind::Payment
            } else {
                BillKind::Refund
            };
            let told = Told {
                bill_date: row.bill_date,
                fee: center.amount(row.fee)?,
            };
            Ok(((kind, row.gateway_id), told))
        })
        .collect()
}

/// Remembers what a bill told, except what is remembered already; how many were not. `seq` recorded their fees.
pub(super) async fn insert_entries(
    conn: &mut PgConnection,
    center: CenterNo,
    of: &BillOf,
    entries: &[&BillEntry],
    seq: Option<Seq>,
) -> sqlx::Result<u64> {
    let kinds: Vec<&str> = entries.iter().map(|entry| kind_name(entry.kind)).collect();
    let ids: Vec<&str> = entries.iter().map(|entry| entry.gateway_id.as_str()).collect();
    let fees: Vec<Decimal> = entries.iter().map(|entry| entry.fee.value()).collect();
    let done = sqlx::query!(
        "insert into bill_entry (center_id, channel, bill_date, fee_seq, kind, gateway_id, fee)
         select $1, $2, $3, $4, e.kind, e.gateway_id, e.fee
         from unnest($5::text[], $6::text[], $7::numeric[]) e (kind, gateway_id, fee)
         on conflict on constraint bill_entry_pkey do nothing",
        center.0,
        of.channel,
        of.date,
        seq.map(|seq| seq.0),
        &kinds as &[&str],
        &ids as &[&str],
        &fees,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Keeps a bill, once.
pub(super) async fn insert_bill(
    conn: &mut PgConnection,
    center: CenterNo,
    sha256: &[u8],
    content: &[u8],
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into bill (center_id, sha256, content) values ($1, $2, $3) on conflict do nothing",
        center.0,
        sha256,
        content,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes a run down unless its number is taken; whether it was written.
pub(super) async fn insert_run(
    conn: &mut PgConnection,
    center: CenterNo,
    new: &Reconciliation,
    actor: &str,
) -> sqlx::Result<bool> {
    let totals = &new.totals;
    let done = sqlx::query!(
        "insert into reconciliation (center_id, channel, bill_date, run, sha256, line_count, matched_count, break_count,
             bill_paid, bill_refunded, bill_fees, ledger_paid, ledger_refunded, created_at, created_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
         on conflict on constraint reconciliation_pkey do nothing",
        center.0,
        new.of.channel,
        new.of.date,
        new.run,
        new.sha256,
        totals.lines,
        totals.matched,
        totals.breaks,
        totals.bill_paid.value(),
        totals.bill_refunded.value(),
        totals.bill_fees.value(),
        totals.ledger_paid.value(),
        totals.ledger_refunded.value(),
        new.created_at,
        actor,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Writes the breaks of a run down.
pub(super) async fn insert_breaks(
    conn: &mut PgConnection,
    center: CenterNo,
    run: &Reconciliation,
    breaks: &[Break],
) -> sqlx::Result<()> {
    let numbers: Vec<i32> = breaks.iter().map(|found| found.number).collect();
    let kinds: Vec<&str> = breaks.iter().map(|found| found.kind.name()).collect();
    let bill_row = |found: &Break| found.bill.as_ref().and_then(|row| i32::try_from(row.row).ok());
    let rows: Vec<Option<i32>> = breaks.iter().map(bill_row).collect();
    let bill_side = |found: &Break| found.bill.as_ref().map(|row| Json(row.to_record()));
    let bills: Vec<Option<Json<BillRecord>>> = breaks.iter().map(bill_side).collect();
    let ledger_side = |found: &Break| found.ledger.as_ref().map(|entry| Json(LedgerRecord::of(entry)));
    let ledgers: Vec<Option<Json<LedgerRecord>>> = breaks.iter().map(ledger_side).collect();
    sqlx::query!(
        "insert into reconciliation_break (center_id, channel, bill_date, run, number, kind, bill_row, bill, ledger)
         select $1, $2, $3, $4, b.*
         from unnest($5::integer[], $6::text[], $7::integer[], $8::jsonb[], $9::jsonb[]) b",
        center.0,
        run.of.channel,
        run.of.date,
        run.run,
        &numbers,
        &kinds as &[&str],
        &rows as &[Option<i32>],
        &bills as &[Option<Json<BillRecord>>],
        &ledgers as &[Option<Json<LedgerRecord>>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` breaks of a run after a number.
pub(super) async fn breaks(
    conn: &mut PgConnection,
    center: &Center,
    of: &BillOf,
    run: i32,
    after: i32,
    limit: i64,
) -> sqlx::Result<Vec<Break>> {
    let rows = sqlx::query!(
        r#"select number, kind, bill_row, bill as "bill: Json<BillRecord>", ledger as "ledger: Json<LedgerRecord>"
           from reconciliation_break
           where center_id = $1 and channel = $2 and bill_date = $3 and run = $4 and number > $5
           order by number limit $6"#,
        center.no.0,
        of.channel,
        of.date,
        run,
        after,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let kind = BreakKind::from_name(&row.kind);
            let bill_row = row.bill_row.and_then(|number| usize::try_from(number).ok());
            let bill = bill_row.zip(row.bill);
            Ok(Break {
                number: row.number,
                kind: kind.ok_or_else(|| sqlx::Error::Decode(format!("unknown kind {}", row.kind).into()))?,
                bill: bill.map(|(number, bill)| bill_row_of(number, &bill)).transpose()?,
                ledger: row.ledger.map(|ledger| ledger.read(center)).transpose()?,
            })
        })
        .collect()
}

fn bill_row_of(number: usize, record: &BillRecord) -> sqlx::Result<BillRow> {
    read_record(number, record).map_err(decoding)
}

/// Where a list goes on: after the bill of this date and channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The bill's date.
    pub date: Date,
    /// Its channel.
    pub channel: String,
}

struct Row {
    channel: String,
    bill_date: Date,
    run: i32,
    sha256: Vec<u8>,
    line_count: i32,
    matched_count: i32,
    break_count: i32,
    bill_paid: Decimal,
    bill_refunded: Decimal,
    bill_fees: Decimal,
    ledger_paid: Decimal,
    ledger_refunded: Decimal,
    created_at: OffsetDateTime,
    fee_seq: Option<i64>,
}

impl Row {
    fn read(self, center: &Center) -> sqlx::Result<Reconciliation> {
        Ok(Reconciliation {
            of: BillOf {
                channel: self.channel,
                date: self.bill_date,
            },
            run: self.run,
            sha256: self.sha256,
            totals: Totals {
                lines: self.line_count,
                matched: self.matched_count,
                breaks: self.break_count,
                bill_paid: center.amount(self.bill_paid)?,
                bill_refunded: center.amount(self.bill_refunded)?,
                bill_fees: center.amount(self.bill_fees)?,
                ledger_paid: center.amount(self.ledger_paid)?,
                ledger_refunded: center.amount(self.ledger_refunded)?,
            },
            fee_seq: self.fee_seq.map(Seq),
            created_at: self.created_at,
        })
    }
}

/// The last run of a bill, if it was imported.
pub(super) async fn latest(
    conn: &mut PgConnection,
    center: &Center,
    of: &BillOf,
) -> sqlx::Result<Option<Reconciliation>> {
    let row = sqlx::query_as!(
        Row,
        r#"select channel, bill_date, run, sha256, line_count, matched_count, break_count, bill_paid, bill_refunded,
                  bill_fees, ledger_paid, ledger_refunded, created_at,
                  (select max(fee_seq) from bill_entry b
                   where b.center_id = r.center_id and b.channel = r.channel and b.bill_date = r.bill_date) as fee_seq
           from reconciliation r where center_id = $1 and channel = $2 and bill_date = $3
           order by run desc limit 1"#,
        center.no.0,
        of.channel,
        of.date,
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| row.read(center)).transpose()
}

/// Up to `limit` bills after a position, newest first, each with its last run.
pub(super) async fn list(
    conn: &mut PgConnection,
    center: &Center,
    after: Option<&Cursor>,
    limit: i64,
) -> sqlx::Result<Vec<Reconciliation>> {
    let rows = sqlx::query_as!(
        Row,
        r#"select distinct on (bill_date, channel)
                  channel, bill_date, run, sha256, line_count, matched_count, break_count, bill_paid, bill_refunded,
                  bill_fees, ledger_paid, ledger_refunded, created_at,
                  (select max(fee_seq) from bill_entry b
                   where b.center_id = r.center_id and b.channel = r.channel and b.bill_date = r.bill_date) as fee_seq
           from reconciliation r
           where center_id = $1 and ($2::date is null or (bill_date, channel) < ($2, $3))
           order by bill_date desc, channel desc, run desc limit $4"#,
        center.no.0,
        after.map(|cursor| cursor.date),
        after.map_or("", |cursor| cursor.channel.as_str()),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| row.read(center)).collect()
}

/// A [`LedgerEntry`] as text.
#[derive(Debug, Serialize, Deserialize)]
struct LedgerRecord {
    kind: BillKind,
    remittance: Option<String>,
    refund: Option<i64>,
    number: String,
    gateway_id: String,
    amount: String,
    fee: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expected_fee: Option<String>,
    seq: i64,
    time: String,
}

impl LedgerRecord {
    fn of(entry: &LedgerEntry) -> LedgerRecord {
        let (remittance, refund) = match &entry.source {
            Source::Remittance(id) => (Some(id.to_string()), None),
            Source::Refund(seq) => (None, Some(seq.0)),
        };
        LedgerRecord {
            kind: entry.kind,
            remittance,
            refund,
            number: entry.number.clone(),
            gateway_id: entry.gateway_id.clone(),
            amount: entry.amount.to_string(),
            fee: entry.fee.map(|fee| fee.to_string()),
            expected_fee: entry.expected_fee.map(|fee| fee.to_string()),
            seq: entry.seq.0,
            time: entry.at.format(&Rfc3339).unwrap_or_else(|_| entry.at.to_string()),
        }
    }

    fn read(&self, center: &Center) -> sqlx::Result<LedgerEntry> {
        let amount = |text: &String| Amount::parse(text, center.currency).map_err(decoding);
        let source = match (&self.remittance, self.refund) {
            (Some(id), None) => Source::Remittance(RemittanceId::parse(id).map_err(decoding)?),
            (None, Some(seq)) => Source::Refund(Seq(seq)),
            _ => return Err(sqlx::Error::Decode("evidence without a source".into())),
        };
        Ok(LedgerEntry {
            kind: self.kind,
            source,
            number: self.number.clone(),
            gateway_id: self.gateway_id.clone(),
            amount: amount(&self.amount)?,
            fee: self.fee.as_ref().map(amount).transpose()?,
            expected_fee: self.expected_fee.as_ref().map(amount).transpose()?,
            seq: Seq(self.seq),
            at: OffsetDateTime::parse(&self.time, &Rfc3339).map_err(decoding)?,
        })
    }
}
