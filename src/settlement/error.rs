//! Refusals of this domain, each with its facts.

use time::Date;

use crate::{
    ids::{Seq, VendorId},
    ledger::{Declined, LedgerError, Reason, Refusal},
    money::Amount,
};

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
        /// What was sold less what came back; zero or below.
        total: Amount,
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
            R::NothingToPay { total } => because(Reason::NothingToPay).with_fact("total", total),
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
