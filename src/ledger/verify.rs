//! Replaying a center's whole journal and comparing it with everything that is stored beside it.
//!
//! The records are the truth; rows exist for queries. Verification reads the records in order, recomputes each leaf hash,
//! numbers, times and running balances from nothing, and compares them with the transaction and posting rows, then with the
//! balances as they stand, and at last computes the proof. It stops at the first difference and names it.

use std::collections::HashMap;

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::{
    db::Database,
    ledger::{
        Center, Code, Side,
        balance::AsOf,
        posting::may_move_nothing,
        proof::{self, Proof},
        record,
    },
    money::Amount,
    proto::{JournalRecord, PostingRecord},
};

/// Transactions read at once.
const PAGE: i64 = 1000;

/// Why a journal cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The first difference found.
    #[error("center {center}, transaction {seq}: {what}")]
    Differs {
        /// The center's id.
        center: String,
        /// The transaction, or the journal's end for a balance.
        seq: i64,
        /// What differs from what.
        what: String,
    },
    /// The database could not be read.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// What was verified of one center.
#[derive(Debug)]
pub struct Verified {
    /// How many transactions were replayed.
    pub transactions: i64,
    /// How many postings.
    pub postings: i64,
    /// The proof at the end.
    pub proof: Proof,
}

struct Replay<'a> {
    center: &'a Center,
    sides: HashMap<i32, Side>,
    balances: HashMap<i32, Decimal>,
    seq: i64,
    recorded_at: Option<OffsetDateTime>,
    postings: i64,
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

/// Verifies one center as it stood at one moment, while the service may go on.
pub async fn verify_snapshot(database: &Database, center: &Center) -> Result<Verified, VerifyError> {
    let mut tx = database.read.begin().await?;
    sqlx::query!("set transaction isolation level repeatable read, read only")
        .execute(&mut *tx)
        .await?;
    verify(&mut tx, center).await
}

/// Verifies one center. The caller sees to it that nothing is written meanwhile, or holds a snapshot.
pub async fn verify(conn: &mut PgConnection, center: &Center) -> Result<Verified, VerifyError> {
    let mut replay = Replay {
        center,
        sides: sides(conn, center).await?,
        balances: HashMap::new(),
        seq: 0,
        recorded_at: None,
        postings: 0,
    };
    while replay.page(conn).await? {}
    replay.head_and_balances(conn).await?;
    let proof = proof::prove(conn, center, AsOf::Now).await?;
    if !proof.holds() {
        return Err(replay.differs(format!(
            "the proof does not hold: {} against {}",
            proof.debits, proof.credits
        )));
    }
    Ok(Verified {
        transactions: replay.seq,
        postings: replay.postings,
        proof,
    })
}

async fn sides(conn: &mut PgConnection, center: &Center) -> sqlx::Result<HashMap<i32, Side>> {
    let rows = sqlx::query!("select account_no, code from account where center_id = $1", center.no.0)
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            let code = Code::from_number(row.code)
                .ok_or_else(|| sqlx::Error::Decode(format!("unknown account code {}", row.code).into()))?;
            Ok((row.account_no, code.side()))
        })
        .collect()
}

impl Replay<'_> {
    fn differs(&self, what: impl Into<String>) -> VerifyError {
        VerifyError::Differs {
            center: self.center.id.to_string(),
            seq: self.seq,
            what: what.into(),
        }
    }

    /// Replays the next page; `false` at the journal's end.
    async fn page(&mut self, conn: &mut PgConnection) -> Result<bool, VerifyError> {
        let transactions = sqlx::query!(
            "select seq, kind, recorded_at, effective_date, request_id, record, leaf_hash
             from journal_transaction where center_id = $1 and seq > $2 order by seq limit $3",
            self.center.no.0,
            self.seq,
            PAGE,
        )
        .fetch_all(&mut *conn)
        .await?;
        let Some(last) = transactions.last() else {
            return Ok(false);
        };
        let mut rows = sqlx::query_as!(
            PostingRow,
            "select seq, leg, debit, credit, amount, debit_balance, credit_balance
             from posting where center_id = $1 and seq > $2 and seq <= $3 order by seq, leg",
            self.center.no.0,
            self.seq,
            last.seq,
        )
        .fetch_all(conn)
        .await?
        .into_iter()
        .peekable();
        for row in transactions {
            self.seq += 1;
            if row.seq != self.seq {
                return Err(self.differs(format!("the next transaction is numbered {}", row.seq)));
            }
            if record::leaf_hash(&row.record).as_slice() != row.leaf_hash {
                return Err(self.differs("the leaf hash is not that of the record"));
            }
            let record = record::decode(&row.record)?;
            let same = [
                ("seq", record.seq == row.seq),
                ("center", record.center == self.center.id.as_str()),
                ("kind", record::kind_name(record.kind()) == row.kind),
                (
                    "recorded_at",
                    record.recorded_at == Some(record::timestamp(row.recorded_at)),
                ),
                (
                    "effective_date",
                    record.effective_date == row.effective_date.to_string(),
                ),
                ("request_id", record.request_id == row.request_id.to_string()),
                ("currency_code", record.currency_code == self.center.currency.code()),
            ];
            if let Some((field, _)) = same.iter().find(|(_, same)| !same) {
                return Err(self.differs(format!("{field} of the row is not that of the record")));
            }
            if self.recorded_at.is_some_and(|before| before >= row.recorded_at) {
                return Err(self.differs("recorded_at does not increase"));
            }
            self.recorded_at = Some(row.recorded_at);
            let mut legs = Vec::with_capacity(record.postings.len());
            while let Some(leg) = rows.next_if(|leg| leg.seq == row.seq) {
                legs.push(leg);
            }
            self.transaction(&record, &legs)?;
        }
        if let Some(stray) = rows.next() {
            return Err(self.differs(format!("a posting of transaction {} has no transaction", stray.seq)));
        }
        Ok(true)
    }

    fn transaction(&mut self, record: &JournalRecord, rows: &[PostingRow]) -> Result<(), VerifyError> {
        let is_empty = record.postings.is_empty() && !may_move_nothing(record.kind());
        if is_empty || record.postings.len() != rows.len() {
            return Err(self.differs(format!(
                "{} postings recorded, {} stored",
                record.postings.len(),
                rows.len()
            )));
        }
        for ((leg, posting), row) in (1i16..).zip(&record.postings).zip(rows) {
            self.posting(leg, posting, row)?;
            self.postings += 1;
        }
        Ok(())
    }

    fn posting(&mut self, leg: i16, posting: &PostingRecord, row: &PostingRow) -> Result<(), VerifyError> {
        let amount = Amount::parse_positive(&posting.amount, self.center.currency)
            .map_err(|error| self.differs(format!("posting {leg}: {error}")))?
            .value();
        let debit_balance = self.moved(posting.debit, Side::Debit, amount)?;
        let credit_balance = self.moved(posting.credit, Side::Credit, amount)?;
        let stored = (
            row.leg,
            row.debit,
            row.credit,
            row.amount,
            row.debit_balance,
            row.credit_balance,
        );
        let replayed = (
            leg,
            posting.debit,
            posting.credit,
            amount,
            debit_balance,
            credit_balance,
        );
        if stored != replayed {
            return Err(self.differs(format!(
                "posting {leg} is stored as {stored:?}, replay says {replayed:?}"
            )));
        }
        let recorded = [
            (&posting.debit_balance, debit_balance),
            (&posting.credit_balance, credit_balance),
        ];
        for (text, balance) in recorded {
            if text.parse::<Decimal>().ok() != Some(balance) {
                return Err(self.differs(format!(
                    "posting {leg} records a balance of {text}, replay says {balance}"
                )));
            }
        }
        Ok(())
    }

    fn moved(&mut self, account: i32, side: Side, amount: Decimal) -> Result<Decimal, VerifyError> {
        let Some(normal) = self.sides.get(&account).copied() else {
            return Err(self.differs(format!("account {account} does not exist")));
        };
        let balance = self.balances.entry(account).or_default();
        let signed = if side == normal { amount } else { -amount };
        match balance.checked_add(signed) {
            Some(moved) => {
                *balance = moved;
                Ok(moved)
            }
            None => Err(self.differs(format!("the balance of account {account} overflows"))),
        }
    }

    async fn head_and_balances(&self, conn: &mut PgConnection) -> Result<(), VerifyError> {
        let head = sqlx::query_scalar!("select seq from journal_head where center_id = $1", self.center.no.0)
            .fetch_one(&mut *conn)
            .await?;
        if head != self.seq {
            return Err(self.differs(format!("the journal's head says {head}")));
        }
        let rows = sqlx::query!(
            "select account_no, balance from account_balance where center_id = $1 order by account_no",
            self.center.no.0,
        )
        .fetch_all(conn)
        .await?;
        if rows.len() != self.sides.len() {
            return Err(self.differs(format!("{} accounts have {} balances", self.sides.len(), rows.len())));
        }
        for row in rows {
            let replayed = self.balances.get(&row.account_no).copied().unwrap_or_default();
            if row.balance != replayed {
                let what = format!(
                    "account {} stands at {}, replay says {replayed}",
                    row.account_no, row.balance
                );
                return Err(self.differs(what));
            }
        }
        Ok(())
    }
}
