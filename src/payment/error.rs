//! Refusals of this domain, each with its facts.

use time::Date;

use crate::{
    bank::BankError,
    ids::{Seq, VendorId},
    ledger::{Declined, LedgerError, Reason, Refusal},
};

/// Why no file is made, or an answer of the bank is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PaymentRefusal {
    /// The service knows no bank of the center.
    #[error("the center's bank account is not configured")]
    NotConfigured,
    /// Nothing that was allowed is without a file.
    #[error("no settlement that was allowed is in no file")]
    NothingToPay,
    /// What was allowed cannot be paid anywhere yet.
    #[error("settlement {settlement}: vendor {vendor} has no bank account that can be paid to")]
    NoVendorAccount {
        /// The vendor.
        vendor: VendorId,
        /// The settlement.
        settlement: Seq,
    },
    /// The order cannot be written in the bank's format.
    #[error("the file cannot be written: {0}")]
    Unwritable(BankError),
    /// The bank would have had to pay before.
    #[error("{date} is over")]
    DateOver {
        /// The date asked for.
        date: Date,
    },
    /// The bank would pay in a far future.
    #[error("{date} is more than 30 days ahead")]
    DateTooFar {
        /// The date asked for.
        date: Date,
    },
    /// The bank's answer is of a day that has not come, or of one before the payment was sent.
    #[error("the bank's file tells {date}, which is not between when the payment was sent and tomorrow")]
    OtherDate {
        /// The date told.
        date: Date,
    },
    /// No such file.
    #[error("payment file {number} does not exist")]
    NotFound {
        /// The number asked for.
        number: i64,
    },
    /// The bank's answer is not understood.
    #[error("the bank's file cannot be read: {0}")]
    Unreadable(BankError),
    /// The bank's answer is not about us.
    #[error("the bank's file is about {what}, which is not ours")]
    Foreign {
        /// What it is about. Never an account's number.
        what: String,
    },
    /// The bank's answer tells another amount.
    #[error("payment {end_to_end_id} is told with another amount")]
    OtherAmount {
        /// Which.
        end_to_end_id: String,
    },
}

impl From<PaymentRefusal> for Refusal {
    fn from(refusal: PaymentRefusal) -> Refusal {
        use PaymentRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::NotConfigured => because(Reason::BankNotConfigured),
            R::NothingToPay => because(Reason::NothingToPay),
            R::NoVendorAccount { vendor, settlement } => because(Reason::NoVendorAccount)
                .with_fact("vendor", vendor)
                .with_fact("settlement", settlement),
            R::Unwritable(_) => because(Reason::BankFileUnreadable),
            R::OtherDate { date } => because(Reason::BankFileForeign)
                .with_fact("date", date)
                .about("content"),
            R::DateOver { .. } | R::DateTooFar { .. } => because(Reason::InvalidField).about("execution_date"),
            R::NotFound { number } => because(Reason::NotFound)
                .with_fact("payment_file", number)
                .about("name"),
            R::Unreadable(_) => because(Reason::BankFileUnreadable).about("content"),
            R::Foreign { what } => because(Reason::BankFileForeign)
                .with_fact("what", what)
                .about("content"),
            R::OtherAmount { end_to_end_id } => because(Reason::BankFileForeign)
                .with_fact("what", end_to_end_id)
                .about("content"),
        }
    }
}

impl From<PaymentRefusal> for Declined {
    fn from(refusal: PaymentRefusal) -> Declined {
        Declined::Refused(refusal.into())
    }
}

impl From<PaymentRefusal> for LedgerError {
    fn from(refusal: PaymentRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}
