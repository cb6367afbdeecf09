//! Refusals of this domain, each with its facts.

use crate::ledger::{LedgerError, Reason, Refusal};

/// Why an account is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BeneficiaryRefusal {
    /// No such payer or detainee.
    #[error("{owner} does not exist")]
    OwnerNotFound {
        /// Whose the account would be.
        owner: String,
    },
    /// The account is somebody else's.
    #[error("the holder of the account is not who is registered as {owner}")]
    HolderDiffers {
        /// Whose the account would be.
        owner: String,
    },
}

impl From<BeneficiaryRefusal> for Refusal {
    fn from(refusal: BeneficiaryRefusal) -> Refusal {
        use BeneficiaryRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::OwnerNotFound { owner } => because(Reason::NotFound).with_fact("owner", owner).about("parent"),
            R::HolderDiffers { owner } => because(Reason::HolderDiffers)
                .with_fact("owner", owner)
                .about("account.holder"),
        }
    }
}

impl From<BeneficiaryRefusal> for LedgerError {
    fn from(refusal: BeneficiaryRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}
