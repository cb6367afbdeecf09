//! The one statement that commits a batch.
//!
//! Data-modifying expressions fed by `unnest` arrays, the guard first: one round trip, one commit. Balances are updated by
//! primary key, each finding its value in a sorted array (`width_bucket` is a binary search), never by a join, which goes wrong
//! when the statistics do.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use sqlx::{Arguments as _, AssertSqlSafe, PgConnection, Row as _, postgres::PgArguments};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::fold::Batch;
use crate::{
    ids::CenterNo,
    ledger::{center::Head, record},
};

/// The ledger's own part. `guard` has a row only when the journal and the rules are still what the fold read and no other
/// process has answered one of the requests; a batch with refusals moves `rules_version`, because a refusal leaves `seq` as
/// it is and two processes must not give one request two outcomes.
const CORE: &str = "\
with guard as (
    update journal_head h
    set seq = $3, recorded_at = $5, rules_version = h.rules_version + $6
    where h.center_id = $1 and h.seq = $2 and h.rules_version = $4
      and not exists (select from refused_request r where r.center_id = $1 and r.request_id = any($11))";
/// That none of the refused requests was posted; of batches with refusals. What is posted twice, the unique index refuses. Asked
/// one by one, each by the whole of that index's key: for an array of them, a plan made while the journal is short reads the
/// whole journal (measured, three times the work of a batch).
const NOT_POSTED: &str = "
      and not exists (
          select from unnest($23::uuid[]) asked (id), lateral (
              select from journal_transaction t where t.center_id = $1 and t.request_id = asked.id offset 0
          ) posted)";
const GUARD_END: &str = "
    returning h.center_id
)";
const CORE_PARAMS: usize = 29;

/// The transactions of a batch; left out when it has none.
const TRANSACTIONS: &str = ", \
transaction_rows as (
    insert into journal_transaction
        (center_id, seq, kind, recorded_at, effective_date, request_id, record, leaf_hash)
    select guard.center_id, t.* from guard,
        unnest($7::bigint[], $8::text[], $9::timestamptz[], $10::date[], $11::uuid[], $12::bytea[], $13::bytea[]) t
), posting_rows as (
    insert into posting (center_id, seq, leg, debit, credit, amount, debit_balance, credit_balance)
    select guard.center_id, p.* from guard,
        unnest($14::bigint[], $15::smallint[], $16::integer[], $17::integer[], $18::numeric[], $19::numeric[], $20::numeric[]) p
), balance_rows as (
    update account_balance b set balance = ($22::numeric[])[width_bucket(b.account_no, $21::integer[])]
    where b.center_id = $1 and b.account_no = any($21) and exists (select from guard)
)";

/// The refusals of a batch; left out when it has none, which is nearly always.
const REFUSALS: &str = ", \
refused_rows as (
    insert into refused_request (center_id, request_id, method, actor, request, refusal, recorded_at, after_seq)
    select guard.center_id, r.* from guard,
        unnest($23::uuid[], $24::text[], $25::text[], $26::bytea[], $27::bytea[], $28::timestamptz[], $29::bigint[]) r
)";

/// Commits a batch that was folded from `old` to `new`, or does nothing at all. `false` says that the guard held it back.
/// Within a transaction of the caller's (a rare command) the caller commits.
pub(super) async fn commit(
    conn: &mut PgConnection,
    center: CenterNo,
    old: &Head,
    new: &mut Head,
    batch: Batch<'_>,
) -> sqlx::Result<bool> {
    let moved_rules = i64::from(!batch.refusals.is_empty());
    new.rules_version = old.rules_version + moved_rules;
    let mut sql = String::with_capacity(4096);
    sql.push_str(CORE);
    if !batch.refusals.is_empty() {
        sql.push_str(NOT_POSTED);
    }
    sql.push_str(GUARD_END);
    if !batch.entries.is_empty() {
        sql.push_str(TRANSACTIONS);
    }
    if !batch.refusals.is_empty() {
        sql.push_str(REFUSALS);
    }
    batch.rows.compose(CORE_PARAMS, &mut sql);
    sql.push_str(" select count(*) from guard");

    let mut args = PgArguments::default();
    bind_core(&mut args, center, old, new, moved_rules, &batch)
        .and_then(|()| batch.rows.bind(&mut args))
        .map_err(sqlx::Error::Encode)?;
    // The text is made of constants of this program only; every value is a parameter.
    let row = sqlx::query_with(AssertSqlSafe(sql), args).fetch_one(conn).await?;
    Ok(row.try_get::<i64, _>(0)? == 1)
}

fn bind_core(
    args: &mut PgArguments,
    center: CenterNo,
    old: &Head,
    new: &Head,
    moved_rules: i64,
    batch: &Batch<'_>,
) -> Result<(), sqlx::error::BoxDynError> {
    args.add(center.0)?;
    args.add(old.seq.0)?;
    args.add(new.seq.0)?;
    args.add(old.rules_version)?;
    args.add(new.recorded_at)?;
    args.add(moved_rules)?;
    bind_transactions(args, batch)?;
    bind_postings(args, batch)?;
    bind_refusals(args, batch)
}

fn bind_transactions(args: &mut PgArguments, batch: &Batch<'_>) -> Result<(), sqlx::error::BoxDynError> {
    let entries = &batch.entries;
    args.add(entries.iter().map(|(_, entry, _)| entry.seq.0).collect::<Vec<i64>>())?;
    args.add(
        entries
            .iter()
            .map(|(_, entry, _)| record::kind_name(entry.record.kind()))
            .collect::<Vec<&str>>(),
    )?;
    args.add(
        entries
            .iter()
            .map(|(_, _, moment)| moment.recorded_at)
            .collect::<Vec<OffsetDateTime>>(),
    )?;
    args.add(
        entries
            .iter()
            .map(|(_, _, moment)| moment.effective_date)
            .collect::<Vec<Date>>(),
    )?;
    args.add(
        entries
            .iter()
            .map(|(request, _, _)| request.id.0)
            .collect::<Vec<Uuid>>(),
    )?;
    args.add(
        entries
            .iter()
            .map(|(_, entry, _)| entry.record_bytes.as_slice())
            .collect::<Vec<&[u8]>>(),
    )?;
    args.add(
        entries
            .iter()
            .map(|(_, entry, _)| entry.leaf_hash.as_slice())
            .collect::<Vec<&[u8]>>(),
    )
}

fn bind_postings(args: &mut PgArguments, batch: &Batch<'_>) -> Result<(), sqlx::error::BoxDynError> {
    let count = batch.entries.iter().map(|(_, entry, _)| entry.legs.len()).sum();
    let (mut seqs, mut numbers) = (Vec::with_capacity(count), Vec::<i16>::with_capacity(count));
    let (mut debits, mut credits) = (Vec::with_capacity(count), Vec::with_capacity(count));
    let mut amounts: [Vec<Decimal>; 3] = Default::default();
    // The last balance of each account is the one that is kept.
    let mut balances: BTreeMap<i32, Decimal> = BTreeMap::new();
    for (_, entry, _) in &batch.entries {
        for (number, leg) in (1..).zip(&entry.legs) {
            seqs.push(entry.seq.0);
            numbers.push(number);
            debits.push(leg.posting.debit.0);
            credits.push(leg.posting.credit.0);
            amounts[0].push(leg.posting.amount.value());
            amounts[1].push(leg.debit_balance.value());
            amounts[2].push(leg.credit_balance.value());
            balances.insert(leg.posting.debit.0, leg.debit_balance.value());
            balances.insert(leg.posting.credit.0, leg.credit_balance.value());
        }
    }
    args.add(seqs)?;
    args.add(numbers)?;
    args.add(debits)?;
    args.add(credits)?;
    for column in amounts {
        args.add(column)?;
    }
    args.add(balances.keys().copied().collect::<Vec<i32>>())?;
    args.add(balances.into_values().collect::<Vec<Decimal>>())
}

fn bind_refusals(args: &mut PgArguments, batch: &Batch<'_>) -> Result<(), sqlx::error::BoxDynError> {
    let refusals = &batch.refusals;
    args.add(
        refusals
            .iter()
            .map(|(request, _, _)| request.id.0)
            .collect::<Vec<Uuid>>(),
    )?;
    args.add(
        refusals
            .iter()
            .map(|(request, _, _)| request.method)
            .collect::<Vec<&str>>(),
    )?;
    args.add(
        refusals
            .iter()
            .map(|(request, _, _)| request.actor.as_str())
            .collect::<Vec<&str>>(),
    )?;
    args.add(
        refusals
            .iter()
            .map(|(request, _, _)| request.body.as_slice())
            .collect::<Vec<&[u8]>>(),
    )?;
    args.add(
        refusals
            .iter()
            .map(|(_, refusal, _)| record::encode_refusal(refusal))
            .collect::<Vec<Vec<u8>>>(),
    )?;
    args.add(
        refusals
            .iter()
            .map(|(_, _, moment)| moment.recorded_at)
            .collect::<Vec<OffsetDateTime>>(),
    )?;
    args.add(
        refusals
            .iter()
            .map(|(_, _, moment)| moment.seq.0 - 1)
            .collect::<Vec<i64>>(),
    )
}
