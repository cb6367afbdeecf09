//! Refusals of this domain, each with its facts.

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    ids::{DetaineeId, Seq, TerminalId},
    ledger::{Declined, LedgerError, Reason, Refusal},
    money::Amount,
};

/// Why something about selling without the network is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OfflineRefusal {
    /// The center does not allow it.
    #[error("the center's terminals may not sell without the network")]
    NotAllowed,
    /// More than the center allows for one detainee.
    #[error("{asked} is more than the {left} that can still be set aside for the detainee")]
    LimitExceeded {
        /// How much was asked for.
        asked: Amount,
        /// How much still can be.
        left: Amount,
    },
    /// Over before it begins, or too long.
    #[error("an allowance lasts until {} at the latest", told(*.latest))]
    TooLong {
        /// Until when it can last.
        latest: OffsetDateTime,
    },
    /// No such allowance.
    #[error("allowance {allowance} does not exist")]
    AllowanceNotFound {
        /// The number asked for.
        allowance: Seq,
    },
    /// Its rest was released.
    #[error("allowance {allowance} has ended")]
    AllowanceEnded {
        /// The allowance.
        allowance: Seq,
    },
    /// Sales have not been brought in.
    #[error("sales {first} to {last} of the terminal have not been brought in")]
    SalesMissing {
        /// The first of them.
        first: i64,
        /// The last that was reported.
        last: i64,
    },
    /// More sales were brought in than are reported.
    #[error("the terminal has brought in sales up to {last}, not {told}")]
    MoreSales {
        /// The last of them.
        last: i64,
        /// What was reported.
        told: i64,
    },
    /// Money of somebody who leaves may be spent already.
    #[error("{remaining} of detainee {detainee} are set aside for terminal {terminal}, which may have sold already")]
    AllowanceOpen {
        /// Whose money it is.
        detainee: DetaineeId,
        /// The terminal.
        terminal: TerminalId,
        /// The allowance.
        allowance: Seq,
        /// What is set aside.
        remaining: Amount,
        /// When it is released at the latest.
        releases_at: OffsetDateTime,
    },
    /// Another sale has the number.
    #[error("another sale of the terminal has the number {number}")]
    NumberTaken {
        /// The number.
        number: i64,
    },
    /// No such sale.
    #[error("the terminal has no offline sale {number}")]
    SaleNotFound {
        /// The number asked for.
        number: i64,
    },
    /// It does not wait for finance.
    #[error("offline sale {number} does not wait for finance: it is {state}")]
    NotWaiting {
        /// The sale.
        number: i64,
        /// What became of it.
        state: &'static str,
    },
    /// Nobody can tell whom it is owed to.
    #[error("offline sale {number} cannot be paid: {why}")]
    NotPriced {
        /// The sale.
        number: i64,
        /// Why not.
        why: String,
    },
    /// The detainee does not have as much.
    #[error("{required} is more than the available {available}")]
    Funds {
        /// What is available.
        available: Amount,
        /// What it costs.
        required: Amount,
    },
    /// The numbers are not missing.
    #[error("the numbers that can be declared lost are {first} to {last}")]
    NotMissing {
        /// The first that is missing.
        first: i64,
        /// The last that is.
        last: i64,
    },
    /// The terminal has no key that could have signed anything, or was revoked.
    #[error("terminal {terminal} is not enrolled")]
    NotEnrolled {
        /// The terminal.
        terminal: TerminalId,
    },
    /// Too much was kept already of what is none of the terminal's sales.
    #[error("too much of what came from terminal {terminal} is none of its sales")]
    TooMuchEvidence {
        /// The terminal.
        terminal: TerminalId,
    },
}

fn told(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

impl From<OfflineRefusal> for Refusal {
    fn from(refusal: OfflineRefusal) -> Refusal {
        use OfflineRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::NotAllowed => because(Reason::OfflineNotAllowed),
            R::LimitExceeded { asked, left } => because(Reason::AllowanceLimitExceeded)
                .with_fact("required", asked)
                .with_fact("left", left),
            R::TooLong { latest } => because(Reason::AllowanceTooLong).with_fact("latest", told(*latest)),
            R::AllowanceNotFound { allowance } => because(Reason::NotFound)
                .with_fact("allowance", allowance)
                .about("name"),
            R::AllowanceEnded { allowance } => because(Reason::AllowanceEnded).with_fact("allowance", allowance),
            R::SalesMissing { first, last } => because(Reason::SalesMissing)
                .with_fact("last_number", first - 1)
                .with_fact("missing", format!("{first}-{last}")),
            R::MoreSales { last, .. } => because(Reason::InvalidField)
                .with_fact("last_number", last)
                .about("last_number"),
            R::AllowanceOpen {
                detainee,
                terminal,
                allowance,
                remaining,
                releases_at,
            } => because(Reason::AllowanceOpen)
                .with_fact("detainee", detainee)
                .with_fact("terminal", terminal)
                .with_fact("allowance", allowance)
                .with_fact("remaining", remaining)
                .with_fact("release_time", told(*releases_at)),
            R::NumberTaken { number } => because(Reason::OfflineNumberTaken).with_fact("number", number),
            R::SaleNotFound { number } => because(Reason::NotFound).with_fact("number", number).about("name"),
            R::NotWaiting { number, state } => because(Reason::OfflineSaleNotWaiting)
                .with_fact("number", number)
                .with_fact("state", state),
            R::NotPriced { number, .. } => because(Reason::OfflineSaleNotPriced).with_fact("number", number),
            R::Funds { available, required } => because(Reason::InsufficientFunds)
                .with_fact("available", available)
                .with_fact("required", required),
            R::NotMissing { first, last } => because(Reason::OfflineNumbersNotMissing)
                .with_fact("first", first)
                .with_fact("last", last),
            R::NotEnrolled { terminal } => because(Reason::TerminalNotEnrolled).with_fact("terminal", terminal),
            R::TooMuchEvidence { terminal } => because(Reason::TooManyTries).with_fact("terminal", terminal),
        }
    }
}

impl From<OfflineRefusal> for LedgerError {
    fn from(refusal: OfflineRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}

impl From<OfflineRefusal> for Declined {
    fn from(refusal: OfflineRefusal) -> Declined {
        Refusal::from(refusal).into()
    }
}
