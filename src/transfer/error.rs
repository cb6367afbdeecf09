//! Refusals of this domain, each with its facts.

use crate::{
    ids::{CenterId, DetaineeId, Seq},
    ledger::{Declined, LedgerError, Reason, Refusal},
    money::{Amount, Currency},
};

/// Why a transfer, a withholding or what belongs to them is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferRefusal {
    /// No such transfer.
    #[error("transfer {transfer} does not exist")]
    NotFound {
        /// The number asked for.
        transfer: Seq,
    },
    /// The centers count in different currencies.
    #[error("the center counts in {from}, the receiving one in {to}")]
    Currency {
        /// Of the center that is left.
        from: Currency,
        /// Of the receiving center.
        to: Currency,
    },
    /// Somebody has the number there.
    #[error("center {center} has a detainee {detainee} already; every stay has a custody number of its own")]
    NumberTaken {
        /// The receiving center.
        center: CenterId,
        /// The number.
        detainee: DetaineeId,
    },
    /// Orders are not delivered.
    #[error("{held} is set aside for orders: deliver or cancel them first")]
    OrdersOpen {
        /// How much.
        held: Amount,
    },
    /// One person allowed it for both centers.
    #[error("{person} has allowed it for both centers: it takes somebody of each")]
    SamePersonTwice {
        /// As the journal names them.
        person: String,
    },
    /// More than one transfer moves.
    #[error("{count} debts and sums withheld are more than the {most} that one transfer moves")]
    TooMuch {
        /// How many there are.
        count: usize,
        /// How many can be.
        most: usize,
    },
    /// No such withholding.
    #[error("withholding {withholding} does not exist")]
    WithholdingNotFound {
        /// The number asked for.
        withholding: Seq,
    },
    /// It ended.
    #[error("the withholding has ended: {state}")]
    WithholdingEnded {
        /// How.
        state: &'static str,
    },
    /// The same order withholds already.
    #[error("withholding {withholding} is by the same order")]
    WithholdingExists {
        /// Its number.
        withholding: Seq,
    },
    /// The order would have ended.
    #[error("the order must hold for longer than until now, and at most a year")]
    Until,
    /// More is to be paid than is withheld.
    #[error("{paid} is more than the {amount} withheld")]
    PaysTooMuch {
        /// What is withheld.
        amount: Amount,
        /// What was asked for.
        paid: Amount,
    },
    /// Not enough is available.
    #[error("available {available} does not cover {required}")]
    InsufficientFunds {
        /// What is available.
        available: Amount,
        /// What was asked for.
        required: Amount,
    },
    /// The payment is not in suspense to be forwarded.
    #[error("nothing of the payment is in suspense")]
    NotInSuspense,
    /// Whoever the money is for is not in another center.
    #[error("detainee {detainee} has not moved")]
    NotMoved {
        /// Who.
        detainee: DetaineeId,
    },
    /// The money of the remittance did not come here with the detainee.
    #[error("no money of {remittance} came here with the detainee")]
    NotBroughtHere {
        /// The remittance's name.
        remittance: String,
    },
    /// More than is left of the remittance.
    #[error("{amount} is more than the {unspent} unspent of the remittance")]
    ExceedsUnspent {
        /// What is left.
        unspent: Amount,
        /// What was asked for.
        amount: Amount,
    },
    /// Nothing tells that the detainee agrees.
    #[error("the money is the detainee's, who has to agree: tell the number of the signed paper")]
    NoConsent,
    /// Nobody else has allowed it.
    #[error("it takes two people")]
    NotAllowedAlone,
}

impl From<TransferRefusal> for Refusal {
    fn from(refusal: TransferRefusal) -> Refusal {
        use TransferRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::NotFound { transfer } => because(Reason::NotFound).with_fact("transfer", transfer).about("name"),
            R::Currency { from, to } => because(Reason::TransferCurrency)
                .with_fact("from", from)
                .with_fact("to", to)
                .about("to_center"),
            R::NumberTaken { center, detainee } => because(Reason::CustodyNumberTaken)
                .with_fact("center", center)
                .with_fact("detainee", detainee)
                .about("to_detainee_id"),
            R::OrdersOpen { held } => because(Reason::OrdersOpen).with_fact("held", held),
            R::SamePersonTwice { person } => because(Reason::SamePersonTwice).with_fact("person", person),
            R::TooMuch { count, most } => because(Reason::TooMuchToMove)
                .with_fact("count", count)
                .with_fact("most", most),
            R::WithholdingNotFound { withholding } => because(Reason::NotFound)
                .with_fact("withholding", withholding)
                .about("name"),
            R::WithholdingEnded { state } => because(Reason::WithholdingEnded).with_fact("state", state),
            R::WithholdingExists { withholding } => {
                because(Reason::WithholdingExists).with_fact("withholding", withholding)
            }
            R::Until => because(Reason::InvalidField).about("until_time"),
            R::PaysTooMuch { amount, .. } => because(Reason::InvalidField)
                .with_fact("withheld", amount)
                .about("paid"),
            R::InsufficientFunds { available, required } => because(Reason::InsufficientFunds)
                .with_fact("available", available)
                .with_fact("required", required),
            R::NotInSuspense => because(Reason::NotInSuspense),
            R::NotMoved { detainee } => because(Reason::DetaineeNotActive).with_fact("detainee", detainee),
            R::NotBroughtHere { remittance } => because(Reason::NotBroughtHere).with_fact("remittance", remittance),
            R::ExceedsUnspent { unspent, amount } => because(Reason::RefundExceedsUnspent)
                .with_fact("unspent", unspent)
                .with_fact("required", amount),
            R::NoConsent => because(Reason::ConsentRequired).about("consent"),
            R::NotAllowedAlone => because(Reason::ApprovalRequired),
        }
    }
}

impl From<TransferRefusal> for Declined {
    fn from(refusal: TransferRefusal) -> Declined {
        Declined::Refused(refusal.into())
    }
}

impl From<TransferRefusal> for LedgerError {
    fn from(refusal: TransferRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}
