//! Refusals of this domain.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    ids::{DetaineeId, PayerId},
    ledger::{LedgerError, Reason, Refusal},
};

/// Why something about a payer is refused. None tells a phone, a code or an identity number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayerRefusal {
    /// No such payer in the center.
    #[error("payer {payer} does not exist")]
    NotFound {
        /// The id asked for.
        payer: PayerId,
    },
    /// The payer never asked for a link to the detainee.
    #[error("payer {payer} has no link to detainee {detainee}")]
    LinkNotFound {
        /// The payer.
        payer: PayerId,
        /// The detainee.
        detainee: DetaineeId,
    },
    /// The payer has no such account.
    #[error("payer {payer} has no such payment account")]
    AccountNotFound {
        /// The payer.
        payer: PayerId,
    },
    /// The id is taken by something that is not the same.
    #[error("it exists already and is not the same")]
    AlreadyExists,
    /// Somebody else is registered with the same document.
    #[error("this identity document is registered already")]
    AlreadyRegistered,
    /// The registration has ended.
    #[error("the registration of payer {payer} was revoked")]
    Revoked {
        /// The payer.
        payer: PayerId,
    },
    /// Not known well enough to remit.
    #[error("payer {payer} cannot remit before these are known: {missing}")]
    NotVerified {
        /// The payer.
        payer: PayerId,
        /// `identity`, `phone` or both.
        missing: String,
    },
    /// The payer has no approved link to the detainee.
    #[error("payer {payer} is not linked to detainee {detainee}")]
    NotLinked {
        /// Who would pay.
        payer: PayerId,
        /// For whom.
        detainee: DetaineeId,
    },
    /// No slot is free.
    #[error("payer {payer} has {max} payment accounts already")]
    TooManyAccounts {
        /// The payer.
        payer: PayerId,
        /// The most there may be.
        max: usize,
    },
    /// The code is another.
    #[error("the code is wrong; it can be tried {tries_left} more times")]
    CodeWrong {
        /// How often it can still be tried.
        tries_left: i32,
    },
    /// There is no code that can be tried.
    #[error("no code is good any more; ask for another")]
    CodeExpired,
    /// Another code was sent a moment ago, or there were too many.
    #[error("another code can be asked for later")]
    CodeTooSoon {
        /// When.
        retry_at: OffsetDateTime,
    },
    /// Nobody sends codes.
    #[error("the service has no sender of short messages; staff confirm the phone")]
    NoSender,
    /// The sender did not take the code.
    #[error("the code could not be sent: {problem}")]
    CodeNotSent {
        /// What went wrong.
        problem: String,
    },
    /// There is nothing to verify.
    #[error("payer {payer} has told no phone that is still to be verified")]
    NoPhone {
        /// The payer.
        payer: PayerId,
    },
    /// The link is not where it would have to be.
    #[error("the link of payer {payer} to detainee {detainee} is {state}")]
    LinkState {
        /// The payer.
        payer: PayerId,
        /// The detainee.
        detainee: DetaineeId,
        /// Where it stands.
        state: &'static str,
    },
    /// Who asked cannot decide.
    #[error("{actor} asked for the link, and cannot decide on it")]
    MakerIsChecker {
        /// The one.
        actor: String,
    },
    /// The payer has asked for too many.
    #[error("payer {payer} has asked for too many links")]
    TooManyLinks {
        /// The payer.
        payer: PayerId,
    },
}

impl From<PayerRefusal> for Refusal {
    fn from(refusal: PayerRefusal) -> Refusal {
        use PayerRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::NotFound { payer } => because(Reason::NotFound).with_fact("payer", payer).about("payer"),
            R::AccountNotFound { payer } => because(Reason::NotFound).with_fact("payer", payer),
            R::LinkNotFound { payer, detainee } => because(Reason::NotFound)
                .with_fact("payer", payer)
                .with_fact("detainee", detainee),
            R::AlreadyExists => because(Reason::AlreadyExists),
            R::AlreadyRegistered => because(Reason::AlreadyRegistered),
            R::Revoked { payer } => because(Reason::PayerRevoked).with_fact("payer", payer),
            R::NotVerified { payer, missing } => because(Reason::PayerNotVerified)
                .with_fact("payer", payer)
                .with_fact("missing", missing),
            R::NotLinked { payer, detainee } => because(Reason::PayerNotLinked)
                .with_fact("payer", payer)
                .with_fact("detainee", detainee),
            R::TooManyAccounts { payer, max } => because(Reason::TooManyPaymentAccounts)
                .with_fact("payer", payer)
                .with_fact("limit", max),
            R::CodeWrong { tries_left } => because(Reason::PhoneCodeWrong).with_fact("tries_left", tries_left),
            R::CodeExpired => because(Reason::PhoneCodeExpired),
            R::CodeTooSoon { retry_at } => {
                because(Reason::PhoneCodeTooSoon).with_fact("retry_at", retry_at.format(&Rfc3339).unwrap_or_default())
            }
            R::NoSender => because(Reason::PhoneCodeNotSendable),
            R::CodeNotSent { problem } => because(Reason::PhoneCodeNotSent).with_fact("problem", problem),
            R::NoPhone { payer } => because(Reason::PhoneNotToVerify).with_fact("payer", payer),
            R::LinkState { payer, detainee, state } => because(Reason::LinkState)
                .with_fact("payer", payer)
                .with_fact("detainee", detainee)
                .with_fact("state", state),
            R::MakerIsChecker { actor } => because(Reason::MakerIsChecker).with_fact("actor", actor),
            R::TooManyLinks { payer } => because(Reason::TooManyLinks).with_fact("payer", payer),
        }
    }
}

impl From<PayerRefusal> for LedgerError {
    fn from(refusal: PayerRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}
