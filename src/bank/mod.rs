//! Banks: payment files out, status and statements in. Pure: no file is read or written here, and nothing is posted.
//!
//! # Layout
//! - `iso20022`: pain.001 out; `pain002` and `camt053` in. `csv`: a table for banks that take no ISO 20022.
//! - `xml`: a tree of elements with limits, for both ways. `simulator`: a bank that pays some and rejects the rest.
//!
//! Banks' direct channels are each their own; whatever one is like, it is a [`BankChannel`].

mod camt053;
mod csv;
mod error;
mod iso20022;
mod pain002;
pub mod simulator;
mod xml;

use std::{collections::BTreeMap, fmt, sync::Arc};

use time::{Date, OffsetDateTime};

pub use self::{
    csv::{CsvChannel, CsvLayout, Encoding, Field, escape_cell},
    error::BankError,
    iso20022::{Iso20022Channel, Pain001},
};
use crate::{
    ids::CenterId,
    money::{Amount, Currency},
};

/// The most characters of an end-to-end id or a message's id (ISO 20022, Max35Text).
pub const ID_CHARS_MAX: usize = 35;
/// The most payments in one file.
pub const PAYMENTS_MAX: usize = 10_000;

/// Somebody with an account at a bank. Its `Debug` leaves the number out.
#[derive(Clone, PartialEq, Eq)]
pub struct Party {
    /// Whose it is.
    pub holder: String,
    /// Its number.
    pub number: String,
    /// The bank's code in the clearing system.
    pub bank_code: String,
    /// The bank's name; may be empty.
    pub bank_name: String,
}

impl fmt::Debug for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Party")
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}

/// One payment of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// By what the bank's answers name it.
    pub end_to_end_id: String,
    /// How much, above zero.
    pub amount: Amount,
    /// Who is paid.
    pub creditor: Party,
    /// What for, for the creditor.
    pub purpose: String,
}

/// What is written into a payment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentOrder {
    /// By what the bank's answers name the file.
    pub message_id: String,
    /// When it is made.
    pub created_at: OffsetDateTime,
    /// On which day the bank is to pay.
    pub execution_date: Date,
    /// Who pays.
    pub debtor: Party,
    /// The payments, at least one.
    pub payments: Vec<Payment>,
}

/// What a bank says of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentStatus {
    /// It has left the account.
    Paid,
    /// It is under way.
    Pending,
    /// It will not be paid.
    Rejected,
}

/// What a bank says of one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentReport {
    /// Which.
    pub end_to_end_id: String,
    /// What.
    pub status: PaymentStatus,
    /// Its amount, if the bank repeats it.
    pub amount: Option<Amount>,
    /// The bank's own number; may be empty.
    pub reference: String,
    /// Why; may be empty.
    pub reason: String,
}

/// What a bank says of a payment file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReport {
    /// The file's message id, if the format tells it.
    pub message_id: Option<String>,
    /// On which day the bank says it, if the format tells it.
    pub told_on: Option<Date>,
    /// What holds for each payment that is not told apart.
    pub group: Option<(PaymentStatus, String)>,
    /// What holds for single ones.
    pub payments: Vec<PaymentReport>,
}

/// One booking of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementEntry {
    /// How much, above zero.
    pub amount: Amount,
    /// Whether it came in.
    pub is_credit: bool,
    /// The payment that it books, if one is named.
    pub end_to_end_id: Option<String>,
    /// On which day it was booked, if that is told.
    pub booked_on: Option<Date>,
    /// The bank's own number; may be empty.
    pub reference: String,
    /// What else is told; may be empty.
    pub details: String,
}

/// A statement of an account, which adds up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The account's number.
    pub account: String,
    /// What it had before the first entry; below zero when it was overdrawn.
    pub opening: Amount,
    /// What it has after the last.
    pub closing: Amount,
    /// The bookings, in the order of the statement.
    pub entries: Vec<StatementEntry>,
}

/// A bank's way of exchanging files.
pub trait BankChannel: Send + Sync + fmt::Debug {
    /// The format's name, as it is recorded.
    fn format(&self) -> &'static str;

    /// What the ending of a payment file's name is.
    fn extension(&self) -> &'static str;

    /// Writes a payment file: the same order, the same bytes.
    ///
    /// # Errors
    /// What cannot be written in the format.
    fn payment_file(&self, order: &PaymentOrder) -> Result<Vec<u8>, BankError>;

    /// Reads a payment file back: each payment's end-to-end id and amount, in order. What the file itself says of count and sum
    /// must agree.
    ///
    /// # Errors
    /// What in it cannot be read or does not add up.
    fn read_back(&self, file: &[u8], currency: Currency) -> Result<Vec<(String, Amount)>, BankError>;

    /// Reads what the bank says of a payment file.
    ///
    /// # Errors
    /// What in it cannot be read.
    fn status(&self, file: &[u8], currency: Currency) -> Result<StatusReport, BankError>;

    /// Reads a statement, whose balances must add up.
    ///
    /// # Errors
    /// What in it cannot be read or does not add up.
    fn statement(&self, file: &[u8], currency: Currency) -> Result<Statement, BankError> {
        camt053::read(file, currency)
    }
}

/// A center's account and how its bank exchanges files.
#[derive(Debug, Clone)]
pub struct CenterBank {
    /// The center's account.
    pub debtor: Party,
    /// The bank's way.
    pub channel: Arc<dyn BankChannel>,
}

/// The banks of all centers.
#[derive(Debug, Clone, Default)]
pub struct Banks(Arc<BTreeMap<String, CenterBank>>);

impl Banks {
    /// Banks by the ids of their centers.
    pub fn new(banks: impl IntoIterator<Item = (String, CenterBank)>) -> Banks {
        Banks(Arc::new(banks.into_iter().collect()))
    }

    /// A center's bank, if it has one.
    pub fn of(&self, center: &CenterId) -> Option<&CenterBank> {
        self.0.get(center.as_str())
    }
}
