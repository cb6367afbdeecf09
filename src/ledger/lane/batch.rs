//! What one batch would write: columns, ready to be sent, of everything its commands decided.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use sqlx::{Arguments as _, error::BoxDynError, postgres::PgArguments};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::{Moment, rows::Rows};
use crate::{
    ids::{CenterNo, Seq},
    ledger::{Entry, Refusal, Request, center::Head, record},
};

/// Everything that the commands of one center, folded one after the other, would write.
pub(super) struct Batch {
    pub center: CenterNo,
    /// Where the journal was when the fold began. The batch may only be written there.
    pub old: Head,
    /// Where it is afterwards.
    pub new: Head,
    transactions: Vec<TransactionRow>,
    postings: Vec<PostingRow>,
    /// The last balance of each account.
    balances: BTreeMap<i32, Decimal>,
    refusals: Vec<RefusalRow>,
    /// The domains' rows.
    pub rows: Rows,
}

struct TransactionRow {
    seq: i64,
    kind: &'static str,
    recorded_at: OffsetDateTime,
    effective_date: Date,
    request: Uuid,
    record: Vec<u8>,
    leaf_hash: [u8; 32],
}

struct PostingRow {
    seq: i64,
    leg: i16,
    debit: i32,
    credit: i32,
    amount: Decimal,
    debit_balance: Decimal,
    credit_balance: Decimal,
}

struct RefusalRow {
    request: Uuid,
    method: &'static str,
    actor: String,
    body: Vec<u8>,
    refusal: Vec<u8>,
    recorded_at: OffsetDateTime,
    after_seq: i64,
}

impl Batch {
    /// A batch without anything in it.
    pub fn new(center: CenterNo, old: Head) -> Batch {
        Batch {
            center,
            old,
            new: old,
            transactions: Vec::new(),
            postings: Vec::new(),
            balances: BTreeMap::new(),
            refusals: Vec::new(),
            rows: Rows::default(),
        }
    }

    /// Adds a transaction, which is the next of the journal.
    pub fn enter(&mut self, request: &Request, entry: Entry, moment: &Moment) {
        for (leg, posted) in (1..).zip(&entry.legs) {
            let posting = &posted.posting;
            self.postings.push(PostingRow {
                seq: entry.seq.0,
                leg,
                debit: posting.debit.0,
                credit: posting.credit.0,
                amount: posting.amount.value(),
                debit_balance: posted.debit_balance.value(),
                credit_balance: posted.credit_balance.value(),
            });
            self.balances.insert(posting.debit.0, posted.debit_balance.value());
            self.balances.insert(posting.credit.0, posted.credit_balance.value());
        }
        self.transactions.push(TransactionRow {
            seq: entry.seq.0,
            kind: record::kind_name(entry.record.kind()),
            recorded_at: moment.recorded_at,
            effective_date: moment.effective_date,
            request: request.id.0,
            record: entry.record_bytes,
            leaf_hash: entry.leaf_hash,
        });
        self.new.seq = entry.seq;
        self.new.recorded_at = moment.recorded_at;
    }

    /// Adds a refusal. It leaves the journal's number as it is and moves the rules' version instead, once a batch, so that
    /// two processes cannot give one request two outcomes.
    pub fn refuse(&mut self, request: &Request, refusal: &Refusal, moment: &Moment) {
        self.refusals.push(RefusalRow {
            request: request.id.0,
            method: request.method,
            actor: request.actor.clone(),
            body: request.body.clone(),
            refusal: record::encode_refusal(refusal),
            recorded_at: moment.recorded_at,
            after_seq: moment.seq.0 - 1,
        });
        self.new.rules_version = self.old.rules_version + 1;
    }

    /// How many commands it has.
    pub fn len(&self) -> usize {
        self.transactions.len() + self.refusals.len()
    }

    /// Whether it has a transaction.
    pub fn has_transactions(&self) -> bool {
        !self.transactions.is_empty()
    }

    /// Whether it has a refusal.
    pub fn has_refusals(&self) -> bool {
        !self.refusals.is_empty()
    }

    /// The last transaction's number, if there is one.
    pub fn last(&self) -> Option<Seq> {
        self.has_transactions().then_some(self.new.seq)
    }
}

/// How many parameters [`bind`] adds.
pub(super) const PARAMS: usize = 33;

/// Adds the columns of several centers' batches, one after the other.
pub(super) fn bind(batches: &[&Batch], args: &mut PgArguments) -> Result<(), BoxDynError> {
    bind_heads(batches, args)?;
    bind_transactions(batches, args)?;
    bind_postings(batches, args)?;
    bind_balances(batches, args)?;
    bind_refusals(batches, args)
}

fn bind_heads(batches: &[&Batch], args: &mut PgArguments) -> Result<(), BoxDynError> {
    let column = |of: fn(&Batch) -> i64| batches.iter().map(|batch| of(batch)).collect::<Vec<i64>>();
    args.add(batches.iter().map(|batch| batch.center.0).collect::<Vec<i32>>())?;
    args.add(column(|batch| batch.old.seq.0))?;
    args.add(column(|batch| batch.new.seq.0))?;
    args.add(column(|batch| batch.old.rules_version))?;
    args.add(column(|batch| batch.new.rules_version))?;
    args.add(
        batches
            .iter()
            .map(|batch| batch.new.recorded_at)
            .collect::<Vec<OffsetDateTime>>(),
    )
}

/// One column of the rows that `of` finds in each batch.
fn column<'a, R: 'a, V>(batches: &'a [&Batch], of: fn(&Batch) -> &[R], value: impl Fn(&'a R) -> V) -> Vec<V> {
    batches.iter().flat_map(|batch| of(batch)).map(value).collect()
}

/// The center of each of those rows.
fn centers<R>(batches: &[&Batch], of: fn(&Batch) -> &[R]) -> Vec<i32> {
    let of_batch = |batch: &&Batch| std::iter::repeat_n(batch.center.0, of(batch).len());
    batches.iter().flat_map(of_batch).collect()
}

fn bind_transactions(batches: &[&Batch], args: &mut PgArguments) -> Result<(), BoxDynError> {
    fn of(batch: &Batch) -> &[TransactionRow] {
        &batch.transactions
    }
    args.add(centers(batches, of))?;
    args.add(column(batches, of, |row| row.seq))?;
    args.add(column(batches, of, |row| row.kind))?;
    args.add(column(batches, of, |row| row.recorded_at))?;
    args.add(column(batches, of, |row| row.effective_date))?;
    args.add(column(batches, of, |row| row.request))?;
    args.add(column(batches, of, |row| row.record.as_slice()))?;
    args.add(column(batches, of, |row| row.leaf_hash.as_slice()))
}

fn bind_postings(batches: &[&Batch], args: &mut PgArguments) -> Result<(), BoxDynError> {
    fn of(batch: &Batch) -> &[PostingRow] {
        &batch.postings
    }
    args.add(centers(batches, of))?;
    args.add(column(batches, of, |row| row.seq))?;
    args.add(column(batches, of, |row| row.leg))?;
    args.add(column(batches, of, |row| row.debit))?;
    args.add(column(batches, of, |row| row.credit))?;
    args.add(column(batches, of, |row| row.amount))?;
    args.add(column(batches, of, |row| row.debit_balance))?;
    args.add(column(batches, of, |row| row.credit_balance))
}

fn bind_balances(batches: &[&Batch], args: &mut PgArguments) -> Result<(), BoxDynError> {
    let rows = || {
        batches
            .iter()
            .flat_map(|batch| batch.balances.iter().map(|row| (batch.center.0, row)))
    };
    args.add(rows().map(|(center, _)| center).collect::<Vec<i32>>())?;
    args.add(rows().map(|(_, (account, _))| *account).collect::<Vec<i32>>())?;
    args.add(rows().map(|(_, (_, balance))| *balance).collect::<Vec<Decimal>>())
}

fn bind_refusals(batches: &[&Batch], args: &mut PgArguments) -> Result<(), BoxDynError> {
    fn of(batch: &Batch) -> &[RefusalRow] {
        &batch.refusals
    }
    args.add(centers(batches, of))?;
    args.add(column(batches, of, |row| row.request))?;
    args.add(column(batches, of, |row| row.method))?;
    args.add(column(batches, of, |row| row.actor.as_str()))?;
    args.add(column(batches, of, |row| row.body.as_slice()))?;
    args.add(column(batches, of, |row| row.refusal.as_slice()))?;
    args.add(column(batches, of, |row| row.recorded_at))?;
    args.add(column(batches, of, |row| row.after_seq))
}
