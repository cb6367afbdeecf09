//! Refusals of this domain.

use time::Date;

use crate::{
    ids::{CourtOrderId, Seq},
    ledger::{Declined, LedgerError, Reason, Refusal},
    money::Amount,
};

/// Why something about a policy, a court order or a debt is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DistributionRefusal {
    /// The policy has changed since it was read.
    #[error("the policy is at version {version}; read it again")]
    Stale {
        /// Its version now.
        version: i64,
    },
    /// A version is to hold from a date that is over.
    #[error("a version holds from {today} on at the earliest")]
    EffectiveInPast {
        /// The business date now.
        today: Date,
    },
    /// The court order's id, or the document of an order or debt, is taken by something that is not the same.
    #[error("it exists already and is not the same")]
    AlreadyExists,
    /// No such court order.
    #[error("court order {order} does not exist")]
    CourtOrderNotFound {
        /// The id asked for.
        order: CourtOrderId,
    },
    /// The court order has ended for good.
    #[error("court order {order} has ended")]
    CourtOrderEnded {
        /// The id asked for.
        order: CourtOrderId,
    },
    /// An advance that nobody else has allowed.
    #[error("others have to allow an advance")]
    AdvanceNotAllowed,
    /// A write-off that nobody else has allowed.
    #[error("others have to allow a write-off")]
    WriteOffNotAllowed,
    /// More would be written off than is owed.
    #[error("{owed} is owed")]
    MoreThanOwed {
        /// What is.
        owed: Amount,
    },
    /// No such debt.
    #[error("debt {debt} does not exist")]
    DebtNotFound {
        /// The number asked for.
        debt: Seq,
    },
}

impl From<DistributionRefusal> for Refusal {
    fn from(refusal: DistributionRefusal) -> Refusal {
        use DistributionRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::Stale { version } => because(Reason::StaleEtag).with_fact("version", version).about("etag"),
            R::EffectiveInPast { today } => because(Reason::InvalidField)
                .with_fact("today", today)
                .about("distribution_policy.effective_date"),
            R::AlreadyExists => because(Reason::AlreadyExists),
            R::MoreThanOwed { owed } => because(Reason::WriteOffExceedsDebt).with_fact("owed", owed),
            R::AdvanceNotAllowed | R::WriteOffNotAllowed => because(Reason::ApprovalRequired),
            R::CourtOrderNotFound { order } => because(Reason::NotFound).with_fact("court_order", order).about("name"),
            R::CourtOrderEnded { order } => because(Reason::CourtOrderEnded).with_fact("court_order", order),
            R::DebtNotFound { debt } => because(Reason::NotFound).with_fact("debt", debt).about("name"),
        }
    }
}

impl From<DistributionRefusal> for LedgerError {
    fn from(refusal: DistributionRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}

impl From<DistributionRefusal> for Declined {
    fn from(refusal: DistributionRefusal) -> Declined {
        Declined::Refused(refusal.into())
    }
}
