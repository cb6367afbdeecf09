//! Refusals of this domain, each with its facts.

use time::{Date, OffsetDateTime};

use crate::{
    ids::{Seq, VendorId},
    ledger::{Declined, LedgerError, Reason, Refusal},
    money::Amount,
};

/// The fact that names the settlement of a date that is settled.
pub(super) const SETTLED_BY: &str = "settlement";

/// Why a settlement is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettlementRefusal {
    /// No such vendor.
    #[error("vendor {vendor} does not exist")]
    VendorNotFound {
        /// The id asked for.
        vendor: VendorId,
    },
    /// No such settlement.
    #[error("settlement {settlement} does not exist")]
    NotFound {
        /// The number asked for.
        settlement: Seq,
    },
    /// More would be bought on that business date.
    #[error("{date} is not over yet")]
    DateNotOver {
        /// The date asked for.
        date: Date,
    },
    /// The vendor is owed nothing, or owes.
    #[error("{total} is owed to the vendor up to then")]
    NothingToPay {
        /// What was sold less what came back and commission; zero or below.
        total: Amount,
        /// How many postings that is.
        lines: i32,
        /// What the vendor owes, which later settlements take off.
        carried_forward: Amount,
    },
    /// The date is settled: closing it again is answered with its settlement.
    #[error("the date is settled by settlement {settlement}")]
    AlreadyClosed {
        /// Its number.
        settlement: Seq,
    },
    /// The vendor's settlement cycle is longer.
    #[error("{date} is settled from {due} on")]
    NotDue {
        /// The date asked for.
        date: Date,
        /// From when on.
        due: OffsetDateTime,
    },
    /// More commission would be given back than was ever earned.
    #[error("{commission} of commission is to be given back, and the center has earned {income}")]
    CommissionNotCovered {
        /// What is to be given back.
        commission: Amount,
        /// The center's income.
        income: Amount,
    },
    /// A workbook has fewer rows.
    #[error("{lines} lines are more than a workbook has rows; ask for CSV")]
    TooManyRows {
        /// How many lines it has.
        lines: i32,
    },
    /// Nobody has allowed that it is paid.
    #[error("two people have not allowed it to be paid")]
    NotApproved,
    /// It was allowed before.
    #[error("approval {approval} has allowed it")]
    Approved {
        /// By which approval.
        approval: i64,
    },
    /// It stands in a file for the bank.
    #[error("it stands in payment file {file}: the bank says what becomes of it")]
    InPaymentFile {
        /// The file's number.
        file: i64,
    },
    /// Whoever closed or proposed a settlement does not say that it was paid, too.
    #[error("somebody else than who closed and proposed settlement {settlement} has to confirm it")]
    OwnSettlement {
        /// Which one.
        settlement: Seq,
    },
    /// Goods came back after the date, and the vendor is owed less by now.
    #[error("{total} was owed up to then, and only {payable} is owed now: settle up to a later date")]
    ExceedsPayable {
        /// What was sold less what came back, up to the date.
        total: Amount,
        /// What the vendor is owed now.
        payable: Amount,
    },
    /// It is paid or has failed already.
    #[error("the settlement is {state} already")]
    NotInTransit {
        /// Where it stands.
        state: &'static str,
    },
}

impl From<SettlementRefusal> for Refusal {
    fn from(refusal: SettlementRefusal) -> Refusal {
        use SettlementRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::VendorNotFound { vendor } => because(Reason::NotFound).with_fact("vendor", vendor).about("vendor"),
            R::NotFound { settlement } => because(Reason::NotFound)
                .with_fact("settlement", settlement)
                .about("name"),
            R::DateNotOver { date } => because(Reason::DateNotOver)
                .with_fact("through_date", date)
                .about("through_date"),
            R::NothingToPay {
                total,
                lines,
                carried_forward,
            } => because(Reason::NothingToPay)
                .with_fact("total", total)
                .with_fact("line_count", lines)
                .with_fact("carried_forward", carried_forward),
            R::AlreadyClosed { settlement } => because(Reason::AlreadyExists).with_fact(SETTLED_BY, settlement),
            R::NotDue { date, due } => because(Reason::DateNotOver)
                .with_fact("through_date", date)
                .with_fact("due_time", due)
                .about("through_date"),
            R::CommissionNotCovered { commission, income } => because(Reason::CommissionNotCovered)
                .with_fact("commission", commission)
                .with_fact("income", income),
            R::TooManyRows { lines } => because(Reason::InvalidField)
                .with_fact("line_count", lines)
                .about("format"),
            R::NotApproved => because(Reason::SettlementNotApproved),
            R::Approved { approval } => because(Reason::SettlementApproved).with_fact("approval", approval),
            R::InPaymentFile { file } => because(Reason::InPaymentFile).with_fact("payment_file", file),
            R::OwnSettlement { settlement } => because(Reason::MakerIsChecker).with_fact("settlement", settlement),
            R::ExceedsPayable { total, payable } => because(Reason::SettlementExceedsPayable)
                .with_fact("total", total)
                .with_fact("payable", payable),
            R::NotInTransit { state } => because(Reason::NotInTransit).with_fact("state", state),
        }
    }
}

impl From<SettlementRefusal> for Declined {
    fn from(refusal: SettlementRefusal) -> Declined {
        Declined::Refused(refusal.into())
    }
}

impl From<SettlementRefusal> for LedgerError {
    fn from(refusal: SettlementRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}
