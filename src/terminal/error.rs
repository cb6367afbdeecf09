//! Refusals of this domain, each with its facts.

use super::authority::RequestError;
use crate::{
    ids::TerminalId,
    ledger::{Declined, LedgerError, Reason, Refusal},
};

/// Why something about a terminal is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TerminalRefusal {
    /// No such terminal.
    #[error("terminal {terminal} does not exist")]
    NotFound {
        /// The id asked for.
        terminal: TerminalId,
    },
    /// The id is taken by one that is called otherwise.
    #[error("it exists already and is not the same")]
    AlreadyExists,
    /// The terminal was ended.
    #[error("terminal {terminal} was revoked")]
    Revoked {
        /// The terminal.
        terminal: TerminalId,
    },
    /// No such terminal awaits such a code. What exactly is wrong would help a guesser more than a user.
    #[error("no such terminal awaits this code")]
    CodeInvalid,
    /// The code is too old.
    #[error("the enrolment code has expired")]
    CodeExpired,
    /// The code was used with another key.
    #[error("the enrolment code was used")]
    CodeUsed,
    /// The certificate request cannot be signed.
    #[error("{error}")]
    Request {
        /// Why not.
        error: RequestError,
    },
    /// Too many try to enrol.
    #[error("too many terminals try to enrol now")]
    TooManyEnrolments,
}

impl From<TerminalRefusal> for Refusal {
    fn from(refusal: TerminalRefusal) -> Refusal {
        use TerminalRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::NotFound { terminal } => because(Reason::NotFound).with_fact("terminal", terminal).about("name"),
            R::AlreadyExists => because(Reason::AlreadyExists),
            R::Revoked { terminal } => because(Reason::TerminalRevoked).with_fact("terminal", terminal),
            R::CodeInvalid => because(Reason::EnrolmentCodeInvalid),
            R::CodeExpired => because(Reason::EnrolmentCodeExpired),
            R::CodeUsed => because(Reason::EnrolmentCodeUsed),
            R::Request { .. } => because(Reason::InvalidField).about("certificate_request"),
            R::TooManyEnrolments => because(Reason::TooManyEnrolments),
        }
    }
}

impl From<TerminalRefusal> for LedgerError {
    fn from(refusal: TerminalRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}

impl From<TerminalRefusal> for Declined {
    fn from(refusal: TerminalRefusal) -> Declined {
        Refusal::from(refusal).into()
    }
}
