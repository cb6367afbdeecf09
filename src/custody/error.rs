//! Refusals of this domain.

use crate::{
    ids::{CenterId, DetaineeId},
    ledger::{LedgerError, Reason, Refusal},
};

/// Why something about a center or a detainee is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CustodyRefusal {
    /// No such center.
    #[error("center {center} does not exist")]
    CenterNotFound {
        /// The id asked for.
        center: CenterId,
    },
    /// No such detainee in the center.
    #[error("detainee {detainee} does not exist")]
    DetaineeNotFound {
        /// The id asked for.
        detainee: DetaineeId,
    },
    /// The detainee is being or has been released.
    #[error("detainee {detainee} is {state}")]
    DetaineeNotActive {
        /// The detainee.
        detainee: DetaineeId,
        /// Where the detainee stands.
        state: &'static str,
    },
    /// The former stay has not ended by a release, or has another stay after it.
    #[error("the stay of {detainee} is not over, or another one follows it")]
    StayNotOver {
        /// The former stay.
        detainee: DetaineeId,
        /// The stay after it, if there is one.
        later: Option<String>,
    },
    /// The id is taken by something that is not the same.
    #[error("it exists already and is not the same")]
    AlreadyExists,
    /// The center has no such tier.
    #[error("tier {tier} does not exist")]
    UnknownTier {
        /// The tier asked for.
        tier: i16,
    },
    /// An amount in another currency than the center's.
    #[error("the center's currency is {expected}")]
    CurrencyMismatch {
        /// The center's currency.
        expected: String,
    },
}

impl From<CustodyRefusal> for Refusal {
    fn from(refusal: CustodyRefusal) -> Refusal {
        let message = refusal.to_string();
        match refusal {
            CustodyRefusal::CenterNotFound { center } => {
                Refusal::because(Reason::NotFound, message).with_fact("center", center)
            }
            CustodyRefusal::DetaineeNotFound { detainee } => Refusal::because(Reason::NotFound, message)
                .with_fact("detainee", detainee)
                .about("detainee"),
            CustodyRefusal::DetaineeNotActive { detainee, state } => {
                Refusal::because(Reason::DetaineeNotActive, message)
                    .with_fact("detainee", detainee)
                    .with_fact("state", state)
            }
            CustodyRefusal::StayNotOver { detainee, later } => Refusal::because(Reason::StayNotOver, message)
                .with_fact("detainee", detainee)
                .with_fact("later", later.unwrap_or_default()),
            CustodyRefusal::AlreadyExists => Refusal::because(Reason::AlreadyExists, message),
            CustodyRefusal::UnknownTier { tier } => Refusal::because(Reason::InvalidField, message)
                .with_fact("tier", tier)
                .about("tier"),
            CustodyRefusal::CurrencyMismatch { expected } => {
                Refusal::because(Reason::CurrencyMismatch, message).with_fact("expected", expected)
            }
        }
    }
}

impl From<CustodyRefusal> for LedgerError {
    fn from(refusal: CustodyRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}
