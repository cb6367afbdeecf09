//! Refusals about limits and measures, each with its facts.

use time::{Date, OffsetDateTime, format_description::well_known::Rfc3339};

use super::Window;
use crate::{
    commissary::Category,
    ids::{DetaineeId, ProductId},
    ledger::{Declined, LedgerError, Reason, Refusal},
    money::Amount,
};

/// An instant as facts tell it.
fn instant(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.to_string())
}

/// Why something is not spent, or a measure is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpendingRefusal {
    /// Over the center's limit for one order.
    #[error("the order costs {total}, more than {limit}")]
    OrderLimit {
        /// What it costs.
        total: Amount,
        /// The limit.
        limit: Amount,
    },
    /// Over what is left of a limit of a day, a week or a month.
    #[error("{counted} is more than the {remaining} that are left of {limit} a {} until {last}", .window.name().to_lowercase())]
    WindowLimit {
        /// The window.
        window: Window,
        /// The limit.
        limit: Amount,
        /// What is spent.
        spent: Amount,
        /// What would be accepted.
        remaining: Amount,
        /// What would be spent.
        counted: Amount,
        /// The window's last business date.
        last: Date,
    },
    /// An authority has frozen the money.
    #[error("the money of detainee {detainee} is frozen by written order {document} until {}", instant(*.until))]
    Frozen {
        /// The detainee.
        detainee: DetaineeId,
        /// The measure.
        measure: i64,
        /// The written order.
        document: String,
        /// Until when.
        until: OffsetDateTime,
    },
    /// The detainee is restricted from the category.
    #[error("product {product} is of the category {}, from which the detainee is restricted until {}", .category.name(), instant(*.until))]
    CategoryRestricted {
        /// The product.
        product: ProductId,
        /// Its category.
        category: Category,
        /// The measure.
        measure: i64,
        /// Until when.
        until: OffsetDateTime,
    },
    /// No such measure.
    #[error("measure {measure} does not exist")]
    MeasureNotFound {
        /// The number asked for.
        measure: i64,
    },
    /// The measure does not hold any more.
    #[error("measure {measure} was over at {}", instant(*.until))]
    MeasureOver {
        /// The measure.
        measure: i64,
        /// When.
        until: OffsetDateTime,
    },
    /// A measure cannot last like this.
    #[error("its end {what}")]
    MeasureTime {
        /// Why not.
        what: &'static str,
    },
    /// One person cannot end a freeze.
    #[error("two people end freeze {measure}: propose its end")]
    FreezeNeedsApproval {
        /// The measure.
        measure: i64,
    },
}

impl From<SpendingRefusal> for Refusal {
    fn from(refusal: SpendingRefusal) -> Refusal {
        use SpendingRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::OrderLimit { total, limit } => because(Reason::OrderLimitExceeded)
                .with_fact("total", total)
                .with_fact("limit", limit),
            R::WindowLimit {
                window,
                limit,
                spent,
                remaining,
                counted,
                last,
            } => because(match window {
                Window::Day => Reason::DailyLimitExceeded,
                Window::Week => Reason::WeeklyLimitExceeded,
                Window::Order | Window::Month => Reason::MonthlyLimitExceeded,
            })
            .with_fact("limit", limit)
            .with_fact("spent", spent)
            .with_fact("remaining", remaining)
            .with_fact("required", counted)
            .with_fact("last_date", last),
            R::Frozen {
                detainee,
                measure,
                document,
                until,
            } => because(Reason::DetaineeFrozen)
                .with_fact("detainee", detainee)
                .with_fact("measure", measure)
                .with_fact("document", document)
                .with_fact("until", instant(*until)),
            R::CategoryRestricted {
                product,
                category,
                measure,
                until,
            } => because(Reason::CategoryRestricted)
                .with_fact("product", product)
                .with_fact("category", category.name())
                .with_fact("measure", measure)
                .with_fact("until", instant(*until)),
            R::MeasureNotFound { measure } => because(Reason::NotFound).with_fact("measure", measure),
            R::MeasureOver { measure, until } => because(Reason::MeasureOver)
                .with_fact("measure", measure)
                .with_fact("until", instant(*until)),
            R::MeasureTime { .. } => because(Reason::InvalidField).about("end_time"),
            R::FreezeNeedsApproval { measure } => because(Reason::FreezeNeedsApproval).with_fact("measure", measure),
        }
    }
}

impl From<SpendingRefusal> for LedgerError {
    fn from(refusal: SpendingRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}

impl From<SpendingRefusal> for Declined {
    fn from(refusal: SpendingRefusal) -> Declined {
        Refusal::from(refusal).into()
    }
}
