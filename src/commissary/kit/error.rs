//! Refusals about kits, each with its facts.

use time::Date;

use crate::{
    ids::{DetaineeId, Seq},
    ledger::{Declined, LedgerError, Reason, Refusal},
    money::Amount,
};

/// Why a kit is not granted, or not taken back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KitRefusal {
    /// Nobody has said what a kit is.
    #[error("nobody has said what a kit is")]
    NoKit,
    /// The detainee has, or lately had, too much for a kit.
    #[error(
        "detainee {detainee} has {balance} and had {had}, and gets a kit with less than {below} and no credit for {days} days"
    )]
    NotIndigent {
        /// The detainee.
        detainee: DetaineeId,
        /// What they have.
        balance: Amount,
        /// The most they had.
        had: Amount,
        /// Less than this is little enough.
        below: Amount,
        /// For so many days.
        days: i16,
        /// The last credit in that time.
        credit: Option<Seq>,
    },
    /// The detainee has had a kit.
    #[error("a kit was granted by transaction {grant}; the next can be on {next_date}")]
    KitGranted {
        /// The grant.
        grant: Seq,
        /// The first date on which there can be another.
        next_date: Date,
    },
    /// No such grant.
    #[error("grant {grant} does not exist")]
    GrantNotFound {
        /// The number asked for.
        grant: Seq,
    },
    /// The kit was taken back.
    #[error("grant {grant} was taken back by transaction {by}")]
    KitCancelled {
        /// The grant.
        grant: Seq,
        /// What took it back.
        by: Seq,
    },
}

impl From<KitRefusal> for Refusal {
    fn from(refusal: KitRefusal) -> Refusal {
        use KitRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::NoKit => because(Reason::NoKit),
            R::NotIndigent {
                detainee,
                balance,
                had,
                below,
                days,
                credit,
            } => {
                let refusal = because(Reason::NotIndigent)
                    .with_fact("detainee", detainee)
                    .with_fact("balance", balance)
                    .with_fact("had", had)
                    .with_fact("below", below)
                    .with_fact("days", days);
                match credit {
                    Some(credit) => refusal.with_fact("credit", credit),
                    None => refusal,
                }
            }
            R::KitGranted { grant, next_date } => because(Reason::KitGranted)
                .with_fact("grant", grant)
                .with_fact("next_date", next_date),
            R::GrantNotFound { grant } => because(Reason::NotFound).with_fact("grant", grant),
            R::KitCancelled { grant, by } => because(Reason::KitCancelled)
                .with_fact("grant", grant)
                .with_fact("transaction", by),
        }
    }
}

impl From<KitRefusal> for LedgerError {
    fn from(refusal: KitRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}

impl From<KitRefusal> for Declined {
    fn from(refusal: KitRefusal) -> Declined {
        Refusal::from(refusal).into()
    }
}
