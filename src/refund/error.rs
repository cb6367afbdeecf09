//! Refusals of this domain, each with its facts.

use crate::{
    ids::{CenterId, DetaineeId, RemittanceId, Seq},
    ledger::{Declined, LedgerError, Reason, Refusal},
    money::Amount,
};

/// Why a refund or a release payout is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefundRefusal {
    /// No such remittance, or no money of it is in the ledger.
    #[error("remittance {remittance} does not exist or is not paid")]
    RemittanceNotCredited {
        /// The id asked for.
        remittance: RemittanceId,
    },
    /// No payment of the remittance was put into suspense by this transaction.
    #[error("transaction {transaction} put no payment of the remittance into suspense")]
    PaymentNotSuspended {
        /// The transaction asked for.
        transaction: Seq,
    },
    /// No such refund.
    #[error("refund {refund} does not exist")]
    RefundNotFound {
        /// The number asked for.
        refund: Seq,
    },
    /// No such release payout.
    #[error("release {release} does not exist")]
    ReleaseNotFound {
        /// The number asked for.
        release: Seq,
    },
    /// More than was remitted, earlier refunds counted.
    #[error("{amount} and the {refunded} refunded before are more than the {original} remitted")]
    ExceedsOriginal {
        /// What was remitted.
        original: Amount,
        /// What was refunded of it, refunds in transit included.
        refunded: Amount,
        /// What was asked for.
        amount: Amount,
    },
    /// More than is left of the remittance.
    #[error("{amount} is more than the {unspent} unspent of the remittance")]
    ExceedsUnspent {
        /// What is left.
        unspent: Amount,
        /// What was asked for.
        amount: Amount,
    },
    /// The detainee has moved with the money.
    #[error("the money has moved with the detainee to {detainee} of center {center}: bring it back from there")]
    MoneyMoved {
        /// Where they are now.
        center: CenterId,
        /// As whom.
        detainee: DetaineeId,
    },
    /// The payment is held for review.
    #[error("remittance {remittance} is held for review")]
    UnderReview {
        /// The remittance.
        remittance: RemittanceId,
    },
    /// The payment is not held for review, or not any more.
    #[error("remittance {remittance} is not held for review")]
    NotUnderReview {
        /// The remittance.
        remittance: RemittanceId,
    },
    /// The service has no such channel.
    #[error("channel {channel} is not configured")]
    ChannelNotFound {
        /// The channel the remittance came through.
        channel: String,
    },
    /// It is more than one person may pay out, or money in suspense.
    #[error("others have to allow it; ask again with another request id")]
    NotAllowedAlone,
    /// The balance has grown since others allowed its payout.
    #[error("{balance} is more than the {allowed} that others have allowed; ask again")]
    MoreThanAllowed {
        /// What was allowed.
        allowed: Amount,
        /// What there is by now.
        balance: Amount,
    },
    /// Whoever created a payout does not say that it was paid, too.
    #[error("somebody else than who created release {release} has to confirm it")]
    CreatedBySame {
        /// The payout.
        release: Seq,
    },
    /// The gateway does not wait to be told where the refund goes, or was told.
    #[error("the gateway does not wait to be told where refund {refund} goes")]
    NotAbnormal {
        /// The refund.
        refund: Seq,
    },
    /// Money can go back the way it came.
    #[error("money can go back through {channel}, the way it came")]
    RouteOpen {
        /// The channel.
        channel: String,
    },
    /// Money cannot go back the way it came any more.
    #[error("the gateway does not pay it back any more: {why}; the bank can")]
    RouteClosed {
        /// Why not.
        why: &'static str,
    },
    /// Nothing tells that the detainee agrees.
    #[error("the money is the detainee's, who has to agree: tell the number of the signed paper")]
    NoConsent,
    /// A consent that cannot be checked is none.
    #[error("what a session has signed cannot be checked here yet: tell the number of the signed paper")]
    ConsentNotCheckable,
    /// Nobody has verified a bank account.
    #[error("{owner} has no bank account that was verified")]
    NoBankAccount {
        /// Whose it would be.
        owner: String,
    },
    /// No remittance was credited by this transaction.
    #[error("transaction {transaction} credited no remittance")]
    NotACredit {
        /// The transaction asked for.
        transaction: Seq,
    },
    /// The credit was taken back before, and its money is in suspense since.
    #[error("the credit was reversed by transaction {reversal}")]
    AlreadyReversed {
        /// The transaction that took it back.
        reversal: Seq,
    },
    /// Whoever took the credit back does not send its money away, too.
    #[error("somebody else than who made reversal {reversal} has to refund it")]
    ReversedBySame {
        /// The transaction that took it back.
        reversal: Seq,
    },
    /// All of the credit went back to its payer.
    #[error("all of the credit was refunded")]
    NothingToReverse {
        /// What was refunded of it.
        refunded: Amount,
    },
    /// No such reversal.
    #[error("reversal {reversal} does not exist")]
    ReversalNotFound {
        /// The number asked for.
        reversal: Seq,
    },
    /// It has ended already.
    #[error("it is {state} already")]
    NotInTransit {
        /// Where it stands.
        state: &'static str,
    },
    /// A refund of the detainee's has no outcome yet.
    #[error("{refunds} refunds have no outcome yet")]
    RefundsOpen {
        /// How many.
        refunds: i64,
    },
    /// An authority withholds money of the detainee.
    #[error("{withheld} is withheld by authority")]
    Withheld {
        /// How much.
        withheld: Amount,
    },
}

impl From<RefundRefusal> for Refusal {
    fn from(refusal: RefundRefusal) -> Refusal {
        use RefundRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::RemittanceNotCredited { remittance } => because(Reason::NotFound)
                .with_fact("remittance", remittance)
                .about("remittance"),
            R::PaymentNotSuspended { transaction } => because(Reason::NotFound)
                .with_fact("transaction", transaction)
                .about("suspense_transaction"),
            R::RefundNotFound { refund } => because(Reason::NotFound).with_fact("refund", refund).about("name"),
            R::ReleaseNotFound { release } => because(Reason::NotFound).with_fact("release", release).about("name"),
            R::ExceedsOriginal {
                original,
                refunded,
                amount,
            } => because(Reason::RefundExceedsOriginal)
                .with_fact("original", original)
                .with_fact("refunded", refunded)
                .with_fact("required", amount),
            R::ExceedsUnspent { unspent, amount } => because(Reason::RefundExceedsUnspent)
                .with_fact("unspent", unspent)
                .with_fact("required", amount),
            R::MoneyMoved { center, detainee } => because(Reason::MoneyMoved)
                .with_fact("center", center)
                .with_fact("detainee", detainee),
            R::UnderReview { remittance } => because(Reason::UnderReview).with_fact("remittance", remittance),
            R::NotUnderReview { remittance } => because(Reason::NotUnderReview).with_fact("remittance", remittance),
            R::ChannelNotFound { channel } => because(Reason::NotFound).with_fact("channel", channel),
            R::NotAllowedAlone => because(Reason::ApprovalRequired),
            R::MoreThanAllowed { allowed, balance } => because(Reason::ApprovalRequired)
                .with_fact("allowed", allowed)
                .with_fact("balance", balance),
            R::CreatedBySame { release } => because(Reason::MakerIsChecker).with_fact("release", release),
            R::NotAbnormal { refund } => because(Reason::RefundNotAbnormal).with_fact("refund", refund),
            R::RouteOpen { channel } => because(Reason::RefundRouteOpen)
                .with_fact("channel", channel)
                .about("by_bank"),
            R::RouteClosed { why } => because(Reason::RefundRouteClosed)
                .with_fact("why", why)
                .about("by_bank"),
            R::NoConsent => because(Reason::ConsentRequired).about("consent"),
            R::ConsentNotCheckable => because(Reason::ConsentNotCheckable).about("consent"),
            R::NoBankAccount { owner } => because(Reason::NoBankAccount).with_fact("owner", owner),
            R::NotACredit { transaction } => because(Reason::NotFound)
                .with_fact("transaction", transaction)
                .about("credit"),
            R::AlreadyReversed { reversal } => because(Reason::AlreadyReversed).with_fact("transaction", reversal),
            R::ReversedBySame { reversal } => because(Reason::MakerIsChecker).with_fact("transaction", reversal),
            R::NothingToReverse { refunded } => because(Reason::NothingToReverse).with_fact("refunded", refunded),
            R::ReversalNotFound { reversal } => because(Reason::NotFound).with_fact("reversal", reversal).about("name"),
            R::NotInTransit { state } => because(Reason::NotInTransit).with_fact("state", state),
            R::RefundsOpen { refunds } => because(Reason::MoneyInFlight).with_fact("refunds", refunds),
            R::Withheld { withheld } => because(Reason::MoneyInFlight).with_fact("withheld", withheld),
        }
    }
}

impl From<RefundRefusal> for Declined {
    fn from(refusal: RefundRefusal) -> Declined {
        Declined::Refused(refusal.into())
    }
}

impl From<RefundRefusal> for LedgerError {
    fn from(refusal: RefundRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}
