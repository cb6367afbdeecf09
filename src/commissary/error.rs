//! Refusals of this domain, each with its facts.

use crate::{
    ids::{ProductId, Seq, VendorId},
    ledger::{Declined, LedgerError, Reason, Refusal},
    money::Amount,
};

/// Why the commissary refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommissaryRefusal {
    /// No such vendor.
    #[error("vendor {vendor} does not exist")]
    VendorNotFound {
        /// The id asked for.
        vendor: VendorId,
    },
    /// No such product.
    #[error("product {product} does not exist")]
    ProductNotFound {
        /// The id asked for.
        product: ProductId,
    },
    /// The product is not on sale.
    #[error("product {product} is not on sale")]
    ProductNotAvailable {
        /// The product.
        product: ProductId,
    },
    /// The id is taken by something that is not the same.
    #[error("it exists already and is not the same")]
    AlreadyExists,
    /// The product was changed since it was read.
    #[error("the product was changed since it was read")]
    Stale {
        /// Its version now.
        version: i64,
    },
    /// Over the center's limit for one order.
    #[error("the order costs {total}, more than {limit}")]
    OrderLimit {
        /// What it costs.
        total: Amount,
        /// The limit.
        limit: Amount,
    },
    /// Over what is left of the monthly limit.
    #[error("{counted} is more than what is left of the monthly limit of {limit}")]
    MonthlyLimit {
        /// The limit.
        limit: Amount,
        /// What is spent.
        spent: Amount,
        /// What would be spent.
        counted: Amount,
    },
    /// Over what is available.
    #[error("{required} is more than the available {available}")]
    Funds {
        /// What is available.
        available: Amount,
        /// What it costs.
        required: Amount,
    },
    /// No such purchase.
    #[error("purchase {purchase} does not exist")]
    PurchaseNotFound {
        /// The number asked for.
        purchase: Seq,
    },
    /// The purchase has no such line.
    #[error("the purchase has no line {line}")]
    LineNotFound {
        /// The line asked for.
        line: i32,
    },
    /// More would come back than was bought and has not come back yet.
    #[error("{asked} of line {line} would come back, {left} can")]
    ReturnExceeds {
        /// The line.
        line: i32,
        /// How many were asked.
        asked: i64,
        /// How many still can.
        left: i64,
    },
}

impl From<CommissaryRefusal> for Refusal {
    fn from(refusal: CommissaryRefusal) -> Refusal {
        use CommissaryRefusal as R;
        let because = |reason| Refusal::because(reason, refusal.to_string());
        match &refusal {
            R::VendorNotFound { vendor } => because(Reason::NotFound).with_fact("vendor", vendor).about("vendor"),
            R::ProductNotFound { product } => because(Reason::NotFound).with_fact("product", product).about("product"),
            R::ProductNotAvailable { product } => because(Reason::ProductNotAvailable).with_fact("product", product),
            R::AlreadyExists => because(Reason::AlreadyExists),
            R::Stale { version } => because(Reason::StaleEtag).with_fact("version", version).about("etag"),
            R::OrderLimit { total, limit } => because(Reason::OrderLimitExceeded)
                .with_fact("total", total)
                .with_fact("limit", limit),
            R::MonthlyLimit { limit, spent, counted } => because(Reason::MonthlyLimitExceeded)
                .with_fact("limit", limit)
                .with_fact("spent", spent)
                .with_fact("required", counted),
            R::Funds { available, required } => because(Reason::InsufficientFunds)
                .with_fact("available", available)
                .with_fact("required", required),
            R::PurchaseNotFound { purchase } => because(Reason::NotFound).with_fact("purchase", purchase),
            R::LineNotFound { line } => because(Reason::NotFound).with_fact("line", line).about("lines"),
            R::ReturnExceeds { line, asked, left } => because(Reason::ReturnExceedsPurchase)
                .with_fact("line", line)
                .with_fact("asked", asked)
                .with_fact("left", left),
        }
    }
}

impl From<CommissaryRefusal> for LedgerError {
    fn from(refusal: CommissaryRefusal) -> LedgerError {
        Refusal::from(refusal).into()
    }
}

impl From<CommissaryRefusal> for Declined {
    fn from(refusal: CommissaryRefusal) -> Declined {
        Refusal::from(refusal).into()
    }
}
