//! Refusals of this domain, each with its facts.

use time::Date;

use super::BillOf;
use crate::{
    gateway::BillError,
    ledger::{Declined, LedgerError, Reason, Refusal},
    money::Currency,
};

/// Why a bill is not compared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReconciliationRefusal {
    /// The service has no such gateway channel.
    #[error("channel {channel} does not exist")]
    ChannelNotFound {
        /// The channel asked for.
        channel: String,
    },
    /// No bill of that channel and date was imported.
    #[error("the bill of {} of channel {} was not imported", .of.date, .of.channel)]
    NotFound {
        /// What was asked for.
        of: BillOf,
    },
    /// More would be paid on that date.
    #[error("{date} is not over yet")]
    DateNotOver {
        /// The date asked for.
        date: Date,
    },
    /// The bill cannot be read. Nothing of it was taken.
    #[error(transparent)]
    Bill(BillError),
    /// A row is in another currency than the center's.
    #[error("row {row} of the bill is in {found}, the center's currency is {expected}")]
    Currency {
        /// The row, from 1, the heading not counted.
        row: usize,
        /// Its currency.
        found: Currency,
        /// The center's.
        expected: Currency,
    },
    /// The gateway refused its bill, or could not be reached.
    #[error("channel {channel} gives no bill: {problem}")]
    Gateway {
        /// The channel.
        channel: String,
        /// What the gateway said.
        problem: String,
    },
    /// Another import has recorded some of these fees.
    #[error("some of these fees are recorded already")]
    FeesRecorded,
}

impl From<ReconciliationRefusal> for Refusal {
    fn from(refusal: ReconciliationRefusal) -> Refusal {
        use ReconciliationRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::ChannelNotFound { channel } => because(Reason::NotFound).with_fact("channel", channel).about("channel"),
            R::NotFound { of } => because(Reason::NotFound)
                .with_fact("channel", &of.channel)
                .with_fact("bill_date", of.date)
                .about("name"),
            R::DateNotOver { date } => because(Reason::DateNotOver)
                .with_fact("bill_date", date)
                .about("bill_date"),
            R::Bill(BillError::Row { row, column, .. }) => because(Reason::InvalidField)
                .with_fact("row", row)
                .with_fact("column", column)
                .about("chunk"),
            R::Bill(_) => because(Reason::InvalidField).about("chunk"),
            R::Currency { row, found, expected } => because(Reason::CurrencyMismatch)
                .with_fact("row", row)
                .with_fact("got", found)
                .with_fact("expected", expected)
                .about("chunk"),
            R::Gateway { channel, problem } => because(Reason::GatewayRefused)
                .with_fact("channel", channel)
                .with_fact("problem", problem),
            R::FeesRecorded => because(Reason::AlreadyExists),
        }
    }
}

impl From<ReconciliationRefusal> for Declined {
    fn from(refusal: ReconciliationRefusal) -> Declined {
        Declined::Refused(refusal.into())
    }
}

impl From<ReconciliationRefusal> for LedgerError {
    fn from(refusal: ReconciliationRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}
