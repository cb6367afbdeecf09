//! Paying by the bank: files out, and what the bank says of them.
//!
//! # Layout
//! - `command`: making a file. `entity`: what an answer of the bank changes, pure. `answer`: reading answers. `failure`: what
//!   others have to allow before what was rejected is owed again.
//!
//! # Invariants
//! 1. A file's total is what its lines come to and what the ledger has in transit: compared before the file exists, and once
//!    more with the file read back.
//! 2. Files are numbered 1, 2, 3 …; number, hash and bytes are written by the transaction that records the file, or not at all.
//! 3. A settlement or refund stands in one file, once, and only if two people have allowed it.
//! 4. What the bank rejects is owed again, to the last cent, when another than who brought the bank's file has allowed it; what it
//!    paid is paid. Told again, nothing changes; told otherwise,
//!    nothing changes either, and somebody has to look at it.

mod answer;
mod command;
mod entity;
mod error;
mod failure;
mod store;
mod verify;

use std::sync::Arc;

use time::{Date, OffsetDateTime};

pub use answer::{StatementRead, StatusRead};
use command::MakeFile;
pub use entity::Paying;
pub use error::PaymentRefusal;
pub use failure::FAILURE;
use failure::FailureRunner;
pub use verify::PaymentsCheck;

use crate::{
    approval::{Approvals, Runner},
    bank::{Banks, CenterBank},
    beneficiary::Beneficiaries,
    ids::Seq,
    ledger::{Center, Lanes, LedgerError, Posted, Request},
    money::Amount,
    refund::Refunds,
    settlement::{End, Settlements},
};

/// The verbs of this domain.
#[derive(Clone)]
pub struct Payments {
    lanes: Lanes,
    settlements: Settlements,
    refunds: Refunds,
    beneficiaries: Beneficiaries,
    approvals: Approvals,
    banks: Banks,
}

/// A file for the bank, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentFile {
    /// Its number: 1, 2, 3 …
    pub number: i64,
    /// The transaction that records it.
    pub seq: Seq,
    /// Its format.
    pub format: String,
    /// What the bank calls it.
    pub name: String,
    /// SHA-256 of its bytes.
    pub sha256: Vec<u8>,
    /// How many payments.
    pub count: i32,
    /// Their sum.
    pub total: Amount,
    /// When it was made.
    pub made_at: OffsetDateTime,
}

/// One payment of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentPayment {
    /// What it pays.
    pub paying: Paying,
    /// The number of the file.
    pub file: i64,
    /// Whom, relative to the center: `vendors/V1` or `payers/P1`.
    pub payee: String,
    /// How much.
    pub amount: Amount,
    /// By what the bank's answers name it.
    pub end_to_end_id: String,
    /// Which version of their account.
    pub account_version: i64,
    /// How it ended, if it did.
    pub end: Option<End>,
}

impl Payments {
    /// The domain over its journals, what is paid and to whom, and banks.
    pub fn new(
        lanes: Lanes,
        (settlements, refunds, beneficiaries): (Settlements, Refunds, Beneficiaries),
        banks: Banks,
    ) -> Payments {
        Payments {
            approvals: Approvals::new(lanes.clone()),
            lanes,
            settlements,
            refunds,
            beneficiaries,
            banks,
        }
    }

    /// What runs here when others have allowed it.
    pub fn runner(&self) -> Arc<dyn Runner> {
        Arc::new(FailureRunner(self.clone()))
    }

    /// Puts what was allowed and is in no file into one, to be paid today or on a later date.
    ///
    /// Errors: BANK_NOT_CONFIGURED, NOTHING_TO_PAY, NO_VENDOR_ACCOUNT, INVALID_FIELD for a date that is over or too far ahead.
    pub async fn make_file(
        &self,
        center: &Center,
        request: Request,
        execution_date: Option<Date>,
    ) -> Result<Posted, LedgerError> {
        let command = MakeFile {
            request,
            bank: self.banks.of(&center.id).cloned(),
            beneficiaries: self.beneficiaries.clone(),
            execution_date,
        };
        self.lanes.submit_rare(center, command).await
    }

    /// A file and its payments.
    ///
    /// Errors: NOT_FOUND.
    pub async fn file(&self, center: &Center, number: i64) -> Result<(PaymentFile, Vec<SentPayment>), LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::files(&mut conn, center, number.saturating_add(1), 1).await?;
        let file = found.into_iter().find(|file| file.number == number);
        let file = file.ok_or(PaymentRefusal::NotFound { number })?;
        let payments = store::payments(&mut conn, center, number).await?;
        Ok((file, payments))
    }

    /// The file that a transaction records.
    pub async fn file_of(&self, center: &Center, seq: Seq) -> Result<(PaymentFile, Vec<SentPayment>), LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let number = store::number_of(&mut conn, center.no, seq).await?;
        drop(conn);
        self.file(center, number.ok_or(LedgerError::Internal)?).await
    }

    /// A file's bytes, as they were made.
    ///
    /// Errors: NOT_FOUND.
    pub async fn content(&self, center: &Center, number: i64) -> Result<Vec<u8>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let content = store::content(&mut conn, center.no, number).await?;
        content.ok_or_else(|| PaymentRefusal::NotFound { number }.into())
    }

    /// Up to `limit` files before a number, newest first.
    pub async fn list(
        &self,
        center: &Center,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<PaymentFile>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::files(&mut conn, center, before.unwrap_or(i64::MAX), limit).await?)
    }

    fn bank(&self, center: &Center) -> Result<&CenterBank, LedgerError> {
        let bank = self.banks.of(&center.id);
        bank.ok_or_else(|| PaymentRefusal::NotConfigured.into())
    }
}
