//! Refusals of this domain, each with its facts.

use crate::ledger::{LedgerError, Reason, Refusal};

/// Why an approval, or a decision on one, is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalRefusal {
    /// No such approval.
    #[error("approval {approval} does not exist")]
    NotFound {
        /// The number asked for.
        approval: i64,
    },
    /// Somebody asked for something about the same already.
    #[error("approval {approval} about the same has still to be decided")]
    Pending {
        /// The approval that is open.
        approval: i64,
    },
    /// Whoever asked may not decide.
    #[error("whoever asked for approval {approval} may not decide on it")]
    MakerIsChecker {
        /// The approval.
        approval: i64,
    },
    /// They decided the other way before.
    #[error("the caller has decided on approval {approval} already: {verdict}")]
    Decided {
        /// The approval.
        approval: i64,
        /// Which way.
        verdict: &'static str,
    },
    /// It has ended, or has all the approvals it needs.
    #[error("approval {approval} is {state}")]
    Closed {
        /// The approval.
        approval: i64,
        /// Where it stands.
        state: &'static str,
    },
    /// Whoever asks or decides is related to the detainee.
    #[error("the caller is related to detainee {detainee}")]
    Related {
        /// The detainee.
        detainee: String,
    },
    /// Nobody decided in time.
    #[error("approval {approval} has expired")]
    Expired {
        /// The approval.
        approval: i64,
    },
}

impl From<ApprovalRefusal> for Refusal {
    fn from(refusal: ApprovalRefusal) -> Refusal {
        use ApprovalRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::NotFound { approval } => because(Reason::NotFound).with_fact("approval", approval).about("name"),
            R::Pending { approval } => because(Reason::ApprovalPending).with_fact("approval", approval),
            R::MakerIsChecker { approval } => because(Reason::MakerIsChecker).with_fact("approval", approval),
            R::Decided { approval, verdict } => because(Reason::AlreadyDecided)
                .with_fact("approval", approval)
                .with_fact("verdict", verdict),
            R::Closed { approval, state } => because(Reason::ApprovalClosed)
                .with_fact("approval", approval)
                .with_fact("state", state),
            R::Related { detainee } => because(Reason::StaffRelated).with_fact("detainee", detainee),
            R::Expired { approval } => because(Reason::ApprovalClosed)
                .with_fact("approval", approval)
                .with_fact("state", "EXPIRED"),
        }
    }
}

impl From<ApprovalRefusal> for LedgerError {
    fn from(refusal: ApprovalRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}
