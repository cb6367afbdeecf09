//! Refusals of this domain, each with its facts.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::authority::RequestError;
use crate::{
    ids::{CardId, TerminalId},
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
    /// The certificate is not the terminal's, or no longer.
    #[error("the certificate is none of the terminal's, or no longer")]
    CertificateNotCurrent,
    /// It is done within a session only.
    #[error("a detainee has to sign in first")]
    SessionRequired,
    /// The session has ended.
    #[error("the session has ended; sign in again")]
    SessionEnded,
    /// The session began without a card.
    #[error("the session did not begin with a card")]
    SessionWithoutCard,
    /// Only another PIN can be set.
    #[error("the PIN is temporary; another has to be set first")]
    PinMustChange,
    /// Others would guess the PIN.
    #[error("a new PIN is {problem}")]
    PinTooWeak {
        /// What it has to be.
        problem: &'static str,
    },
    /// The card number or the PIN is wrong, or the card is none that anybody can sign in with.
    #[error("the card number or the PIN is wrong")]
    SignInRefused,
    /// There were too many failures.
    #[error("the card is locked after too many failures")]
    CardLocked {
        /// Until when.
        until: OffsetDateTime,
    },
    /// Too many sign in at once.
    #[error("too many sign in now")]
    SignInBusy,
    /// No such card.
    #[error("card {card} does not exist")]
    CardNotFound {
        /// The number asked for.
        card: CardId,
    },
    /// The card was ended.
    #[error("card {card} was ended")]
    CardEnded {
        /// The card.
        card: CardId,
    },
    /// The terminal has no biometric module.
    #[error("terminal {terminal} has no biometric module")]
    NoModule {
        /// The terminal.
        terminal: TerminalId,
    },
    /// Too many challenges are open.
    #[error("too many challenges of the terminal are open")]
    TooManyChallenges,
    /// The assertion is not the module's, not of this challenge, or of nobody who is here.
    #[error("the assertion is not accepted")]
    AssertionRefused,
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
            R::CertificateNotCurrent => because(Reason::CertificateNotCurrent),
            R::SessionRequired => because(Reason::SessionRequired),
            R::SessionEnded => because(Reason::SessionEnded),
            R::SessionWithoutCard => because(Reason::SessionWithoutCard),
            R::PinMustChange => because(Reason::PinMustChange),
            R::PinTooWeak { .. } => because(Reason::PinTooWeak).about("new_pin"),
            R::SignInRefused => because(Reason::SignInRefused),
            R::CardLocked { until } => {
                let until = until.format(&Rfc3339).unwrap_or_default();
                because(Reason::CardLocked).with_fact("until", until)
            }
            R::SignInBusy => because(Reason::SignInBusy),
            R::CardNotFound { card } => because(Reason::NotFound).with_fact("card", card).about("name"),
            R::CardEnded { card } => because(Reason::CardEnded).with_fact("card", card),
            R::NoModule { terminal } => because(Reason::NoBiometricModule).with_fact("terminal", terminal),
            R::TooManyChallenges => because(Reason::TooManyChallenges),
            R::AssertionRefused => because(Reason::AssertionRefused),
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
