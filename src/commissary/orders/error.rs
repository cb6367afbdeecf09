//! Refusals about orders, each with its facts.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    ids::{ProductId, Seq},
    ledger::{Declined, LedgerError, Reason, Refusal},
};

/// Why an order, or what should become of it, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefusal {
    /// No such order.
    #[error("order {order} does not exist")]
    NotFound {
        /// The number asked for.
        order: Seq,
    },
    /// The order has no such line.
    #[error("the order has no line {line}")]
    LineNotFound {
        /// The line asked for.
        line: i32,
    },
    /// No orders are taken now.
    #[error("no orders are taken now")]
    Closed {
        /// When they are next.
        opens_at: OffsetDateTime,
    },
    /// Nothing is to come any more.
    #[error("nothing of the order is to come any more: it is {state}")]
    NotOpen {
        /// Where it stands.
        state: &'static str,
    },
    /// It can be cancelled no more.
    #[error("the order could be cancelled until its cut-off")]
    CutOffOver {
        /// When that was.
        cut_off_at: OffsetDateTime,
    },
    /// It can be cancelled no more.
    #[error("something of the order has come; what has not can be told not to come")]
    DeliveryBegun,
    /// More than is to come.
    #[error("{asked} of line {line} would come or be given up, {left} are to come")]
    DeliveryExceeds {
        /// The line.
        line: i32,
        /// How many were told.
        asked: i32,
        /// How many are to come.
        left: i32,
    },
    /// Something else came.
    #[error("line {line} is {ordered}; {told} instead is not accepted")]
    Substitution {
        /// The line.
        line: i32,
        /// What was ordered.
        ordered: ProductId,
        /// What came.
        told: ProductId,
    },
    /// The line is in dispute.
    #[error("line {line} is in dispute")]
    LineDisputed {
        /// The line.
        line: i32,
    },
    /// The line is not in dispute.
    #[error("line {line} is not in dispute")]
    LineNotDisputed {
        /// The line.
        line: i32,
    },
    /// There is nothing of it.
    #[error("nothing of line {line} is to come or there")]
    NothingToDispute {
        /// The line.
        line: i32,
    },
    /// The time for it is over.
    #[error("the time for returns and disputes is over")]
    TooLate {
        /// When it was.
        until: OffsetDateTime,
    },
    /// More would come back than has come.
    #[error("{asked} of line {line} would come back, {left} can")]
    ReturnExceeds {
        /// The line.
        line: i32,
        /// How many were asked.
        asked: i32,
        /// How many can.
        left: i32,
    },
    /// Goods that have come are in dispute.
    #[error("line {line} of order {order} has come and is in dispute; that must be resolved first")]
    OrderDisputed {
        /// The order.
        order: Seq,
        /// The line.
        line: i32,
    },
    /// The hold is not over.
    #[error("the order's hold is not over")]
    HoldNotOver {
        /// When it is.
        expires_at: OffsetDateTime,
    },
    /// The rules were changed since they were read.
    #[error("the ordering rules were changed since they were read")]
    StaleRules {
        /// Their version now.
        version: i64,
    },
}

fn instant(at: &OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

impl From<OrderRefusal> for Refusal {
    fn from(refusal: OrderRefusal) -> Refusal {
        use OrderRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::NotFound { order } => because(Reason::NotFound).with_fact("order", order),
            R::LineNotFound { line } => because(Reason::NotFound).with_fact("line", line).about("lines"),
            R::Closed { opens_at } => because(Reason::OrderingClosed).with_fact("opens_at", instant(opens_at)),
            R::NotOpen { state } => because(Reason::OrderNotOpen).with_fact("state", state),
            R::CutOffOver { cut_off_at } => because(Reason::CutOffOver).with_fact("cut_off_at", instant(cut_off_at)),
            R::DeliveryBegun => because(Reason::DeliveryBegun),
            R::DeliveryExceeds { line, asked, left } => because(Reason::DeliveryExceedsOrder)
                .with_fact("line", line)
                .with_fact("asked", asked)
                .with_fact("left", left),
            R::Substitution { line, ordered, told } => because(Reason::SubstitutionRefused)
                .with_fact("line", line)
                .with_fact("ordered", ordered)
                .with_fact("told", told),
            R::LineDisputed { line } => because(Reason::LineDisputed).with_fact("line", line),
            R::LineNotDisputed { line } => because(Reason::LineNotDisputed).with_fact("line", line),
            R::NothingToDispute { line } => because(Reason::NothingToDispute).with_fact("line", line),
            R::TooLate { until } => because(Reason::TooLate).with_fact("until", instant(until)),
            R::ReturnExceeds { line, asked, left } => because(Reason::ReturnExceedsPurchase)
                .with_fact("line", line)
                .with_fact("asked", asked)
                .with_fact("left", left),
            R::OrderDisputed { order, line } => because(Reason::OrderDisputed)
                .with_fact("order", order)
                .with_fact("line", line),
            R::HoldNotOver { expires_at } => because(Reason::HoldNotOver).with_fact("expires_at", instant(expires_at)),
            R::StaleRules { version } => because(Reason::StaleEtag).with_fact("version", version).about("etag"),
        }
    }
}

impl From<OrderRefusal> for LedgerError {
    fn from(refusal: OrderRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}

impl From<OrderRefusal> for Declined {
    fn from(refusal: OrderRefusal) -> Declined {
        Refusal::from(refusal).into()
    }
}
