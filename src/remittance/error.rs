//! Refusals of this domain.

use crate::{
    ids::RemittanceId,
    ledger::{LedgerError, Reason, Refusal},
    money::Amount,
};

/// Why something about a remittance is refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RemittanceRefusal {
    /// More than one remittance may be.
    #[error("{amount} is over the limit of {limit} for one remittance")]
    OverLimit {
        /// What was asked.
        amount: Amount,
        /// The center's limit.
        limit: Amount,
    },
    /// The detainee would have more than the cap.
    #[error("{amount} more would be over the cap of {cap}: {balance} is there and {in_flight} in flight")]
    OverCap {
        /// What was asked.
        amount: Amount,
        /// The center's cap.
        cap: Amount,
        /// Available, held and saved.
        balance: Amount,
        /// Remittances that are payable or paid and not yet in the ledger.
        in_flight: Amount,
    },
    /// The payer has as many payments this month as are accepted.
    #[error("{count} payments this month, of {count_max} that are accepted")]
    OverCount {
        /// Accepted or still payable.
        count: i64,
        /// The center's limit.
        count_max: i32,
    },
    /// Too many of the payer's orders of late have come to nothing.
    #[error("{count} orders of the last day were cancelled or refused by the gateway; the limit is {limit}")]
    TooManyVainOrders {
        /// How many.
        count: i64,
        /// The most there may be.
        limit: i64,
    },
    /// Somebody has tried to cancel it too often.
    #[error("remittance {remittance} could not be closed at the gateway {limit} times; it ends at its expiry")]
    TooManyTries {
        /// The remittance.
        remittance: RemittanceId,
        /// How often it may be tried.
        limit: i32,
    },
    /// The cap lets nothing of the payment in.
    #[error("the detainee has as much as the balance cap allows; nothing of remittance {remittance} can be credited")]
    NoHeadroom {
        /// The remittance.
        remittance: RemittanceId,
    },
    /// The payment is not held for review, or not any more.
    #[error("remittance {remittance} is not held for review")]
    NotUnderReview {
        /// The remittance.
        remittance: RemittanceId,
    },
    /// The service has no such gateway channel, or not for this center; without a name, none at all.
    #[error("channel {channel:?} does not exist for this center")]
    ChannelNotFound {
        /// The channel asked for.
        channel: String,
    },
    /// The channel has no such way to pay.
    #[error("channel {channel} does not offer this payment method")]
    MethodNotOffered {
        /// The channel.
        channel: String,
    },
    /// No such remittance in the center.
    #[error("remittance {remittance} does not exist")]
    RemittanceNotFound {
        /// The id asked for.
        remittance: RemittanceId,
    },
    /// The gateway could not be reached, or did not say what it did.
    #[error("what the gateway makes of remittance {remittance} is not known: {problem}")]
    GatewayUnavailable {
        /// The remittance.
        remittance: RemittanceId,
        /// What went wrong.
        problem: String,
    },
    /// The gateway refused the order.
    #[error("remittance {remittance} is not payable: {problem}")]
    Gateway {
        /// The remittance.
        remittance: RemittanceId,
        /// What the gateway said.
        problem: String,
    },
    /// What was to be credited out of suspense is not there, or not as it was.
    #[error("the money of remittance {remittance} in suspense has moved meanwhile")]
    NotInSuspense {
        /// The remittance.
        remittance: RemittanceId,
    },
    /// The remittance was not credited, or not yet.
    #[error("remittance {remittance} was not credited")]
    NotCredited {
        /// The remittance.
        remittance: RemittanceId,
    },
}

impl From<RemittanceRefusal> for Refusal {
    fn from(refusal: RemittanceRefusal) -> Refusal {
        use RemittanceRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::OverLimit { amount, limit } => because(Reason::RemittanceLimitExceeded)
                .with_fact("required", amount)
                .with_fact("limit", limit),
            R::OverCap {
                amount,
                cap,
                balance,
                in_flight,
            } => because(Reason::BalanceCapExceeded)
                .with_fact("required", amount)
                .with_fact("cap", cap)
                .with_fact("balance", balance)
                .with_fact("in_flight", in_flight),
            R::OverCount { count, count_max } => because(Reason::PaymentCountExceeded)
                .with_fact("count", count)
                .with_fact("limit", count_max),
            R::TooManyVainOrders { count, limit } => because(Reason::TooManyVainOrders)
                .with_fact("count", count)
                .with_fact("limit", limit),
            R::TooManyTries { remittance, limit } => because(Reason::TooManyTries)
                .with_fact("remittance", remittance)
                .with_fact("limit", limit),
            R::NoHeadroom { remittance } => because(Reason::BalanceCapExceeded).with_fact("remittance", remittance),
            R::NotUnderReview { remittance } => because(Reason::NotUnderReview).with_fact("remittance", remittance),
            R::ChannelNotFound { channel } => because(Reason::NotFound).with_fact("channel", channel).about("channel"),
            R::MethodNotOffered { channel } => because(Reason::InvalidField)
                .with_fact("channel", channel)
                .about("in_app_payer"),
            R::RemittanceNotFound { remittance } | R::NotCredited { remittance } => {
                because(Reason::NotFound).with_fact("remittance", remittance)
            }
            R::NotInSuspense { remittance } => because(Reason::NotInTransit).with_fact("remittance", remittance),
            R::GatewayUnavailable { remittance, problem } => because(Reason::GatewayUnavailable)
                .with_fact("remittance", remittance)
                .with_fact("problem", problem),
            R::Gateway { remittance, problem } => because(Reason::GatewayRefused)
                .with_fact("remittance", remittance)
                .with_fact("problem", problem),
        }
    }
}

impl From<RemittanceRefusal> for LedgerError {
    fn from(refusal: RemittanceRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}
