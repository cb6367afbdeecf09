//! Reading transactions back.

use sqlx::PgExecutor;

use crate::{
    ids::{AccountNo, CenterNo, Seq},
    ledger::record,
    proto::{JournalRecord, TransactionKind},
};

/// A transaction as it was committed.
#[derive(Debug, Clone)]
pub struct Transaction {
    /// Its record.
    pub record: JournalRecord,
    /// The record's canonical bytes.
    pub record_bytes: Vec<u8>,
    /// SHA-256 of 0x00 and the record's bytes.
    pub leaf_hash: Vec<u8>,
}

impl Transaction {
    fn decode(record_bytes: Vec<u8>, leaf_hash: Vec<u8>) -> sqlx::Result<Transaction> {
        Ok(Transaction {
            record: record::decode(&record_bytes)?,
            record_bytes,
            leaf_hash,
        })
    }

    /// Its number.
    pub fn seq(&self) -> Seq {
        Seq(self.record.seq)
    }
}

/// One transaction.
pub async fn get(db: impl PgExecutor<'_>, center: CenterNo, seq: Seq) -> sqlx::Result<Option<Transaction>> {
    sqlx::query!(
        "select record, leaf_hash from journal_transaction where center_id = $1 and seq = $2",
        center.0,
        seq.0,
    )
    .fetch_optional(db)
    .await?
    .map(|row| Transaction::decode(row.record, row.leaf_hash))
    .transpose()
}

/// Up to `limit` transactions after a number, in order.
pub async fn after(db: impl PgExecutor<'_>, center: CenterNo, seq: Seq, limit: i64) -> sqlx::Result<Vec<Transaction>> {
    sqlx::query!(
        "select record, leaf_hash from journal_transaction where center_id = $1 and seq > $2 order by seq limit $3",
        center.0,
        seq.0,
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(|row| Transaction::decode(row.record, row.leaf_hash))
    .collect()
}

/// Up to `limit` transactions of one kind before a number, latest first.
pub async fn of_kind_before(
    db: impl PgExecutor<'_>,
    center: CenterNo,
    kind: TransactionKind,
    before: Option<Seq>,
    limit: i64,
) -> sqlx::Result<Vec<Transaction>> {
    sqlx::query!(
        "select record, leaf_hash from journal_transaction
         where center_id = $1 and kind = $2 and seq < $3 order by seq desc limit $4",
        center.0,
        record::kind_name(kind),
        before.map_or(i64::MAX, |seq| seq.0),
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(|row| Transaction::decode(row.record, row.leaf_hash))
    .collect()
}

/// Up to `limit` transactions of one kind that touched an account, before a number, latest first.
pub async fn of_account_before(
    db: impl PgExecutor<'_>,
    center: CenterNo,
    account: AccountNo,
    kind: TransactionKind,
    before: Option<Seq>,
    limit: i64,
) -> sqlx::Result<Vec<Transaction>> {
    sqlx::query!(
        r#"select t.record, t.leaf_hash
           from (select p.seq from posting p where p.center_id = $1 and p.debit = $2 and p.seq < $4
                 union select p.seq from posting p where p.center_id = $1 and p.credit = $2 and p.seq < $4) s
           join journal_transaction t on t.center_id = $1 and t.seq = s.seq
           where t.kind = $3 order by t.seq desc limit $5"#,
        center.0,
        account.0,
        record::kind_name(kind),
        before.map_or(i64::MAX, |seq| seq.0),
        limit,
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(|row| Transaction::decode(row.record, row.leaf_hash))
    .collect()
}
