//! The signed statement of a whole stay: every movement of all accounts of a person with the balance after it, opening and
//! closing, totals by kind, and the leaf hash of the journal's last transaction that it includes.
//!
//! Its last line is the signature of all bytes before that line (Ed25519, by a key of the service), so that it can be verified
//! without the service: see [`signature`].

mod csv;
mod html;
mod key;
pub mod signature;
mod words;

use std::collections::BTreeMap;

pub use key::StatementKey;
use time::{Date, OffsetDateTime};

use super::Endings;
use crate::{
    custody::Detainee,
    db::Conn,
    ids::{AccountNo, DetaineeId, Seq},
    ledger::{
        Center, Code, LedgerError, Side, center,
        statement::{Line, Position, lines_after},
        transaction,
    },
    money::Amount,
};

/// How many lines are read at once.
const PAGE: i64 = 1000;

/// How a statement is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// HTML that prints well.
    Html,
    /// CSV in UTF-8.
    Csv,
}

/// One movement of a person's money.
#[derive(Debug, Clone)]
pub(super) struct Movement {
    pub seq: Seq,
    pub kind: String,
    pub recorded_at: OffsetDateTime,
    pub effective_date: Date,
    pub account: Code,
    /// What came in, or zero.
    pub credited: Amount,
    /// What went out, or zero.
    pub debited: Amount,
    /// All accounts together right after it.
    pub balance: Amount,
}

/// What all movements of one kind come to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Total {
    pub count: usize,
    pub credited: Amount,
    pub debited: Amount,
}

/// A whole stay.
pub(super) struct Statement {
    pub center: Center,
    pub detainee: Detainee,
    pub opening: Amount,
    pub closing: Amount,
    pub movements: Vec<Movement>,
    pub totals: BTreeMap<String, Total>,
    /// The last transaction of the journal that it includes, and its leaf hash in hexadecimal; empty before the first.
    pub as_of: (Seq, String),
    pub written_at: OffsetDateTime,
}

impl Endings {
    /// The signed statement of a whole stay, as bytes.
    ///
    /// Errors: NOT_FOUND.
    pub async fn statement(
        &self,
        center: &Center,
        id: &DetaineeId,
        format: Format,
        key: &StatementKey,
    ) -> Result<Vec<u8>, LedgerError> {
        let statement = self.read_statement(center, id).await?;
        let (text, comment) = match format {
            Format::Html => (html::write(&statement, key), signature::HTML),
            Format::Csv => (csv::write(&statement, key)?, signature::CSV),
        };
        Ok(signature::sign(text, comment, key))
    }

    async fn read_statement(&self, center: &Center, id: &DetaineeId) -> Result<Statement, LedgerError> {
        let detainee = self.custody.detainee(center, id).await?;
        let mut conn = self.lanes.database().read.acquire().await?;
        // What is recorded meanwhile is not in it.
        let last = center::head(&mut conn, center.no, false).await?.seq;
        let leaf = transaction::get(&mut *conn, center.no, last).await?;
        let leaf = leaf.map(|last| hex::encode(last.leaf_hash)).unwrap_or_default();
        let codes = [Code::Available, Code::Held, Code::Savings, Code::Withheld];
        let mut lines: Vec<(Line, Code)> = Vec::new();
        for (account, code) in detainee.accounts().into_iter().zip(codes) {
            let found = lines_until(&mut conn, center, account, last).await?;
            lines.extend(found.into_iter().map(|line| (line, code)));
        }
        lines.sort_by_key(|(line, code)| (line.position, *code));
        let zero = Amount::zero(center.currency);
        let mut statement = Statement {
            center: center.clone(),
            detainee,
            opening: zero,
            closing: zero,
            movements: Vec::with_capacity(lines.len()),
            totals: BTreeMap::new(),
            as_of: (last, leaf),
            written_at: self.lanes.clock().now(),
        };
        for (line, account) in lines {
            statement.add(line, account).map_err(|error| {
                tracing::error!(%error, "a statement cannot be added up");
                LedgerError::Internal
            })?;
        }
        Ok(statement)
    }
}

impl Statement {
    fn add(&mut self, line: Line, account: Code) -> Result<(), crate::money::MoneyError> {
        let zero = Amount::zero(self.center.currency);
        let (credited, debited) = match line.side {
            Side::Credit => (line.amount, zero),
            Side::Debit => (zero, line.amount),
        };
        self.closing = self.closing.checked_add(credited)?.checked_sub(debited)?;
        let total = self.totals.entry(line.kind.clone()).or_insert(Total {
            count: 0,
            credited: zero,
            debited: zero,
        });
        total.count += 1;
        total.credited = total.credited.checked_add(credited)?;
        total.debited = total.debited.checked_add(debited)?;
        self.movements.push(Movement {
            seq: line.position.seq,
            kind: line.kind,
            recorded_at: line.recorded_at,
            effective_date: line.effective_date,
            account,
            credited,
            debited,
            balance: self.closing,
        });
        Ok(())
    }
}

/// All lines of an account up to a transaction.
async fn lines_until(
    conn: &mut Conn,
    center: &Center,
    account: AccountNo,
    last: Seq,
) -> Result<Vec<Line>, LedgerError> {
    let mut all: Vec<Line> = Vec::new();
    let mut after: Option<Position> = None;
    loop {
        let page = lines_after(&mut *conn, center, account, after, PAGE).await?;
        let is_last = i64::try_from(page.len()).unwrap_or(i64::MAX) < PAGE;
        after = page.last().map(|line| line.position);
        let is_over = after.is_none_or(|position| position.seq > last);
        all.extend(page.into_iter().filter(|line| line.position.seq <= last));
        if is_last || is_over {
            return Ok(all);
        }
    }
}
