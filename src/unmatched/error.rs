//! Refusals of this domain, each with its facts.

use crate::{
    ids::{DetaineeId, Seq},
    ledger::{Declined, LedgerError, Reason, Refusal},
    money::Amount,
};

/// Why something about money without an order is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnmatchedRefusal {
    /// No such sum.
    #[error("unmatched sum {sum} does not exist")]
    NotFound {
        /// The number asked for.
        sum: Seq,
    },
    /// The bank reference was recorded before.
    #[error("bank reference {reference} was recorded before, by transaction {transaction}")]
    ReferenceTaken {
        /// The reference.
        reference: String,
        /// The transaction that recorded it.
        transaction: Seq,
    },
    /// Suspense does not hold it any more.
    #[error("unmatched sum {sum} has moved meanwhile: suspense is {suspense}")]
    Moved {
        /// The sum.
        sum: Seq,
        /// What is in suspense.
        suspense: Amount,
    },
    /// The balance cap does not let it in whole.
    #[error("of unmatched sum {sum}, {amount}, detainee {detainee} may have {accepted} at most: the balance cap")]
    OverCap {
        /// The sum.
        sum: Seq,
        /// Whose it would be.
        detainee: DetaineeId,
        /// How much it is.
        amount: Amount,
        /// What the cap lets in.
        accepted: Amount,
    },
    /// It was credited or returned already.
    #[error("unmatched sum {sum} was {state} by transaction {transaction}")]
    NotInSuspense {
        /// The sum.
        sum: Seq,
        /// What became of it.
        state: &'static str,
        /// The transaction that took it out.
        transaction: Seq,
    },
}

impl From<UnmatchedRefusal> for Refusal {
    fn from(refusal: UnmatchedRefusal) -> Refusal {
        use UnmatchedRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::NotFound { sum } => because(Reason::NotFound).with_fact("unmatched_sum", sum).about("name"),
            R::ReferenceTaken { reference, transaction } => because(Reason::AlreadyExists)
                .with_fact("bank_reference", reference)
                .with_fact("transaction", transaction),
            R::Moved { sum, suspense } => because(Reason::NotInSuspense)
                .with_fact("unmatched_sum", sum)
                .with_fact("suspense", suspense),
            R::OverCap {
                sum,
                detainee,
                amount,
                accepted,
            } => because(Reason::BalanceCapExceeded)
                .with_fact("unmatched_sum", sum)
                .with_fact("detainee", detainee)
                .with_fact("required", amount)
                .with_fact("accepted", accepted),
            R::NotInSuspense {
                sum,
                state,
                transaction,
            } => because(Reason::NotInSuspense)
                .with_fact("unmatched_sum", sum)
                .with_fact("state", state)
                .with_fact("transaction", transaction),
        }
    }
}

impl From<UnmatchedRefusal> for Declined {
    fn from(refusal: UnmatchedRefusal) -> Declined {
        Declined::Refused(refusal.into())
    }
}

impl From<UnmatchedRefusal> for LedgerError {
    fn from(refusal: UnmatchedRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}
