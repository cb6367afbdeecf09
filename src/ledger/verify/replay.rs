//! Records against transactions, postings, the head and the balances.

use std::collections::HashMap;

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::{Accounts, Check, Page, Place, VerifyError};
use crate::{
    ids::{AccountNo, Seq},
    ledger::{Center, Side, posting::may_move_nothing, record},
    money::Amount,
    proto::{JournalRecord, PostingRecord},
};

/// Transactions read at once.
const PAGE: i64 = 1000;

pub(super) struct Replay<'a> {
    pub center: &'a Center,
    accounts: &'a Accounts,
    balances: HashMap<i32, Decimal>,
    /// The last transaction seen.
    pub seq: i64,
    recorded_at: Option<OffsetDateTime>,
    pub postings: i64,
}

struct TransactionRow {
    seq: i64,
    kind: String,
    recorded_at: OffsetDateTime,
    effective_date: Date,
    request_id: Uuid,
    record: Vec<u8>,
    leaf_hash: Vec<u8>,
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

impl<'a> Replay<'a> {
    pub fn new(center: &'a Center, accounts: &'a Accounts) -> Replay<'a> {
        Replay {
            center,
            accounts,
            balances: HashMap::new(),
            seq: 0,
            recorded_at: None,
            postings: 0,
        }
    }

    pub fn differs(&self, what: impl Into<String>) -> VerifyError {
        VerifyError::Differs {
            center: self.center.id.to_string(),
            place: Place::Transaction(self.seq),
            what: what.into(),
        }
    }

    /// Replays the next page and has the domains compare theirs; `false` after the last.
    pub async fn page(&mut self, conn: &mut PgConnection, checks: &mut [Box<dyn Check>]) -> Result<bool, VerifyError> {
        let after = self.seq;
        let transactions = sqlx::query_as!(
            TransactionRow,
            "select seq, kind, recorded_at, effective_date, request_id, record, leaf_hash
             from journal_transaction where center_id = $1 and seq > $2 order by seq limit $3",
            self.center.no.0,
            after,
            PAGE,
        )
        .fetch_all(&mut *conn)
        .await?;
        let last = transactions.last().map(|last| last.seq);
        // Beyond the last transaction there must be nothing.
        let through = last.unwrap_or(i64::MAX);
        let mut rows = sqlx::query_as!(
            PostingRow,
            "select seq, leg, debit, credit, amount, debit_balance, credit_balance
             from posting where center_id = $1 and seq > $2 and seq <= $3 order by seq, leg limit $4",
            self.center.no.0,
            after,
            through,
            last.is_none().then_some(1_i64),
        )
        .fetch_all(&mut *conn)
        .await?
        .into_iter()
        .peekable();
        let mut records = Vec::with_capacity(transactions.len());
        for row in &transactions {
            self.seq += 1;
            let record = self.record(row)?;
            let mut legs = Vec::with_capacity(record.postings.len());
            while let Some(leg) = rows.next_if(|leg| leg.seq == row.seq) {
                legs.push(leg);
            }
            self.transaction(&record, &legs)?;
            records.push(record);
        }
        if let Some(stray) = rows.next() {
            return Err(self.differs(format!("a posting of transaction {} has no transaction", stray.seq)));
        }
        let page = Page {
            center: self.center,
            accounts: self.accounts,
            records: &records,
            after: Seq(after),
            through: Seq(through),
        };
        for check in checks.iter_mut() {
            check.page(conn, &page).await?;
        }
        if last.is_none() {
            for check in checks {
                check.end(conn, &page).await?;
            }
        }
        Ok(last.is_some())
    }

    /// A transaction's record, once it is known to be what its row says.
    fn record(&mut self, row: &TransactionRow) -> Result<JournalRecord, VerifyError> {
        if row.seq != self.seq {
            return Err(self.differs(format!("the next transaction is numbered {}", row.seq)));
        }
        if record::leaf_hash(&row.record).as_slice() != row.leaf_hash {
            return Err(self.differs("the leaf hash is not that of the record"));
        }
        let record =
            record::decode(&row.record).map_err(|error| self.differs(format!("the record cannot be read: {error}")))?;
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
        Ok(record)
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
        let Some(normal) = self.accounts.get(AccountNo(account)).map(|account| account.code.side()) else {
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

    pub async fn head_and_balances(&self, conn: &mut PgConnection) -> Result<(), VerifyError> {
        let head = sqlx::query!(
            "select seq, recorded_at from journal_head where center_id = $1",
            self.center.no.0
        )
        .fetch_one(&mut *conn)
        .await?;
        if head.seq != self.seq {
            return Err(self.differs(format!("the journal's head says {}", head.seq)));
        }
        if self.recorded_at.is_some_and(|last| last != head.recorded_at) {
            return Err(self.differs(format!("the journal's head says {}", head.recorded_at)));
        }
        let rows = sqlx::query!(
            "select account_no, balance from account_balance where center_id = $1 order by account_no",
            self.center.no.0,
        )
        .fetch_all(conn)
        .await?;
        if rows.len() != self.accounts.count() {
            let accounts = self.accounts.count();
            return Err(self.differs(format!("{accounts} accounts have {} balances", rows.len())));
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
