//! Refusals of this domain, each with its facts.

use super::{Match, SheetError};
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
    /// The product is not for those of a housing unit.
    #[error("product {product} is withdrawn in housing unit {housing_unit}")]
    WithdrawnInUnit {
        /// The product.
        product: ProductId,
        /// Where the detainee lives.
        housing_unit: String,
    },
    /// The product is not for the detainee.
    #[error("product {product} is {tag}, which the detainee must not have")]
    Restricted {
        /// The product.
        product: ProductId,
        /// Why not.
        tag: String,
    },
    /// The shelf price would be above the approved price.
    #[error("the shelf price {price} is above the approved price {approved}")]
    PriceAboveApproved {
        /// The shelf price.
        price: Amount,
        /// The most that it may be.
        approved: Amount,
    },
    /// The approved price would rise by too much for one person.
    #[error(
        "an approved price of {approved} takes two people: one alone may set up to {most}, as it was {lowest} lately"
    )]
    PriceNeedsApproval {
        /// The approved price asked for.
        approved: Amount,
        /// The lowest of lately.
        lowest: Amount,
        /// What one person may set.
        most: Amount,
    },
    /// The center has the product already.
    #[error("product {} of vendor {} has the same {}; it takes two people to list it again", .found.product, .found.vendor, .found.by.name())]
    Relisted {
        /// Which it may be.
        found: Match,
    },
    /// What was told once cannot change.
    #[error("the {field} was told before and cannot change")]
    FieldFixed {
        /// The product's field.
        field: &'static str,
    },
    /// There are fewer than asked for.
    #[error("{asked} of product {product} are more than the {stock} that are there")]
    OutOfStock {
        /// The product.
        product: ProductId,
        /// How many there are.
        stock: i64,
        /// How many were asked for.
        asked: i64,
    },
    /// There would be absurdly many.
    #[error("there would be more than {most} of product {product}")]
    StockFull {
        /// The product.
        product: ProductId,
        /// How many there are.
        stock: i64,
        /// The most there can be.
        most: i64,
    },
    /// The product is not counted.
    #[error("product {product} is not counted")]
    StockNotKept {
        /// The product.
        product: ProductId,
    },
    /// A file is no table.
    #[error(transparent)]
    Sheet {
        /// Why not.
        error: SheetError,
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
            R::WithdrawnInUnit { product, housing_unit } => because(Reason::ProductRestricted)
                .with_fact("product", product)
                .with_fact("housing_unit", housing_unit),
            R::Restricted { product, tag } => because(Reason::ProductRestricted)
                .with_fact("product", product)
                .with_fact("tag", tag),
            R::PriceAboveApproved { price, approved } => because(Reason::PriceAboveApproved)
                .with_fact("price", price)
                .with_fact("approved_price", approved),
            R::PriceNeedsApproval { approved, lowest, most } => because(Reason::PriceNeedsApproval)
                .with_fact("approved_price", approved)
                .with_fact("lowest", lowest)
                .with_fact("most", most),
            R::Relisted { found } => because(Reason::ProductRelisted)
                .with_fact("product", &found.product)
                .with_fact("vendor", &found.vendor)
                .with_fact("matched_by", found.by.name())
                .with_fact("approved_price", found.approved_price),
            R::FieldFixed { field } => because(Reason::FieldFixed).with_fact("field", field).about(field),
            R::OutOfStock { product, stock, asked } => because(Reason::OutOfStock)
                .with_fact("product", product)
                .with_fact("stock", stock)
                .with_fact("asked", asked),
            R::StockFull { product, stock, most } => because(Reason::InvalidField)
                .with_fact("product", product)
                .with_fact("stock", stock)
                .with_fact("most", most)
                .about("quantity"),
            R::StockNotKept { product } => because(Reason::StockNotKept).with_fact("product", product),
            R::Sheet { .. } => because(Reason::InvalidField).about("chunk"),
            R::AlreadyExists => because(Reason::AlreadyExists),
            R::Stale { version } => because(Reason::StaleEtag).with_fact("version", version).about("etag"),
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
