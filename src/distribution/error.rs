//! Refusals of this domain.

use crate::ledger::{LedgerError, Reason, Refusal};

/// Why something about a policy or a court order is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DistributionRefusal {
    /// The policy has changed since it was read.
    #[error("the policy is at version {version}; read it again")]
    Stale {
        /// Its version now.
        version: i64,
    },
    /// The court order's id, or its document, is taken by something that is not the same.
    #[error("it exists already and is not the same")]
    AlreadyExists,
}

impl From<DistributionRefusal> for Refusal {
    fn from(refusal: DistributionRefusal) -> Refusal {
        let message = refusal.to_string();
        match refusal {
            DistributionRefusal::Stale { version } => Refusal::because(Reason::StaleEtag, message)
                .with_fact("version", version)
                .about("etag"),
            DistributionRefusal::AlreadyExists => Refusal::because(Reason::AlreadyExists, message),
        }
    }
}

impl From<DistributionRefusal> for LedgerError {
    fn from(refusal: DistributionRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}
