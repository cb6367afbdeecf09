//! Refusals of this domain, each with its facts.

use time::OffsetDateTime;

use crate::{
    ids::{DetaineeId, Seq},
    ledger::{Declined, LedgerError, Reason, Refusal},
    money::Amount,
};

/// Why something about the end of a stay is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndingRefusal {
    /// The detainee is not where this begins.
    #[error("detainee {detainee} is {state}")]
    CustodyState {
        /// The detainee.
        detainee: DetaineeId,
        /// Where they stand.
        state: &'static str,
    },
    /// Refunds have no outcome yet.
    #[error("{refunds} refunds of the detainee have no outcome yet")]
    InFlight {
        /// How many.
        refunds: i64,
    },
    /// Money is set aside for an order: it ends when it is delivered, cancelled, or its hold is over.
    #[error("money is set aside for order {order}, which has not ended")]
    OrdersOpen {
        /// The oldest such order.
        order: Seq,
    },
    /// An authority withholds some of the money.
    #[error("{withheld} is withheld by an authority")]
    Withheld {
        /// How much.
        withheld: Amount,
    },
    /// The parts are not all there is.
    #[error("the parts add up to {parts}, there is {balance}")]
    PartsDiffer {
        /// Their sum.
        parts: Amount,
        /// What there is.
        balance: Amount,
    },
    /// There is nothing to pay.
    #[error("there is nothing to pay")]
    NoBalance,
    /// Who is to be paid is no recorded heir.
    #[error("{heir} is not recorded as an heir")]
    HeirNotProven {
        /// The id told.
        heir: String,
    },
    /// The heir is recorded otherwise.
    #[error("it exists already and is not the same")]
    AlreadyExists,
    /// No such sum.
    #[error("unclaimed sum {sum} does not exist")]
    SumNotFound {
        /// The number asked for.
        sum: Seq,
    },
    /// It does not wait any more.
    #[error("unclaimed sum {sum} is {state}")]
    NotUnclaimed {
        /// The sum.
        sum: Seq,
        /// Where it stands.
        state: &'static str,
    },
    /// A year has not passed.
    #[error("it goes to the treasury after a year")]
    YearNotOver {
        /// When it has.
        due: OffsetDateTime,
    },
    /// No such payout, or no such part of it.
    #[error("part {part} of payout {payout} does not exist")]
    PartNotFound {
        /// The payout.
        payout: Seq,
        /// The part.
        part: i32,
    },
    /// No such payout.
    #[error("payout {payout} does not exist")]
    PayoutNotFound {
        /// The number asked for.
        payout: Seq,
    },
    /// The part has ended.
    #[error("the part is {state}")]
    NotInTransit {
        /// How.
        state: &'static str,
    },
    /// Whoever created the payout says that it was paid.
    #[error("whoever created payout {payout} does not say that it was paid")]
    CreatedBySame {
        /// The payout.
        payout: Seq,
    },
    /// Nobody else has allowed it.
    #[error("others have to allow it")]
    NotAllowedAlone,
    /// The booking owes the center.
    #[error("debt {debt} is still owed")]
    StillOwing {
        /// The debt.
        debt: Seq,
    },
    /// A court still collects from the booking.
    #[error("court order {order} is still collected")]
    StillCollected {
        /// The court order.
        order: String,
    },
    /// Both are one booking.
    #[error("both are the same booking")]
    SameBooking,
}

impl From<EndingRefusal> for Refusal {
    fn from(refusal: EndingRefusal) -> Refusal {
        use EndingRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::CustodyState { detainee, state } => because(Reason::CustodyState)
                .with_fact("detainee", detainee)
                .with_fact("state", state),
            R::InFlight { refunds } => because(Reason::MoneyInFlight).with_fact("refunds", refunds),
            R::OrdersOpen { order } => because(Reason::OrdersOpen).with_fact("order", order),
            R::Withheld { withheld } => because(Reason::MoneyInFlight).with_fact("withheld", withheld),
            R::PartsDiffer { parts, balance } => because(Reason::PartsDiffer)
                .with_fact("parts", parts)
                .with_fact("balance", balance),
            R::NoBalance => because(Reason::NoBalance),
            R::HeirNotProven { heir } => because(Reason::HeirNotProven).with_fact("heir", heir),
            R::AlreadyExists => because(Reason::AlreadyExists),
            R::SumNotFound { sum } => because(Reason::NotFound)
                .with_fact("unclaimed_sum", sum)
                .about("unclaimed_sum"),
            R::NotUnclaimed { state, .. } => because(Reason::NotUnclaimed).with_fact("state", state),
            R::YearNotOver { due } => because(Reason::YearNotOver).with_fact("due", due.date()),
            R::PartNotFound { payout, part } => because(Reason::NotFound)
                .with_fact("payout", payout)
                .with_fact("part", part)
                .about("part"),
            R::PayoutNotFound { payout } => because(Reason::NotFound).with_fact("payout", payout).about("name"),
            R::NotInTransit { state } => because(Reason::NotInTransit).with_fact("state", state),
            R::CreatedBySame { payout } => because(Reason::MakerIsChecker).with_fact("payout", payout),
            R::NotAllowedAlone => because(Reason::ApprovalRequired),
            R::StillOwing { debt } => because(Reason::StillOwing).with_fact("debt", debt),
            R::StillCollected { order } => because(Reason::StillOwing).with_fact("court_order", order),
            R::SameBooking => because(Reason::InvalidField).about("into"),
        }
    }
}

impl From<EndingRefusal> for LedgerError {
    fn from(refusal: EndingRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}

impl From<EndingRefusal> for Declined {
    fn from(refusal: EndingRefusal) -> Declined {
        Declined::Refused(refusal.into())
    }
}
