//! Refusals of this domain, each with its facts.

use crate::{
    ids::VendorId,
    ledger::{LedgerError, Reason, Refusal},
};

/// Why a contract is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractRefusal {
    /// No such vendor.
    #[error("vendor {vendor} does not exist")]
    VendorNotFound {
        /// The id asked for.
        vendor: VendorId,
    },
    /// Somebody changed the terms meanwhile.
    #[error("the terms are of version {version} by now")]
    Stale {
        /// The version that holds.
        version: i64,
    },
    /// The account is the vendor's already.
    #[error("this is the vendor's account already")]
    SameAccount,
}

impl From<ContractRefusal> for Refusal {
    fn from(refusal: ContractRefusal) -> Refusal {
        use ContractRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::VendorNotFound { vendor } => because(Reason::NotFound).with_fact("vendor", vendor).about("name"),
            R::Stale { version } => because(Reason::StaleEtag)
                .with_fact("version", version)
                .about("version"),
            R::SameAccount => because(Reason::AlreadyExists).about("account"),
        }
    }
}

impl From<ContractRefusal> for LedgerError {
    fn from(refusal: ContractRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}
