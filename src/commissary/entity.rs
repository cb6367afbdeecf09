//! Pricing, limits and returns: pure decisions.

use time::OffsetDateTime;

use super::buyer::Limits;
pub use crate::custody::Category;
use crate::{
    ids::{AccountNo, ProductId, VendorId},
    money::{Amount, Currency, MoneyError},
};

/// Most lines of one purchase.
pub const LINES_MAX: usize = 50;
/// Most pieces of one line.
pub const QUANTITY_MAX: u32 = 1000;

/// A seller in a center's commissary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vendor {
    /// Its id.
    pub id: VendorId,
    /// Its name.
    pub name: String,
    /// In Chinese.
    pub name_zh: String,
    /// What is owed to it.
    pub payable_no: AccountNo,
    /// What is being paid to it.
    pub transit_no: AccountNo,
    /// Since when.
    pub created_at: OffsetDateTime,
}

/// What a purchase needs to know of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    /// Who sells it.
    pub vendor: VendorId,
    /// What is owed to the vendor.
    pub payable_no: AccountNo,
    /// Price of one.
    pub price: Amount,
    /// What kind of goods it is.
    pub category: Category,
    /// Whether it is on sale.
    pub available: bool,
    /// The version this price belongs to.
    pub version: i64,
    /// Whether it is counted.
    pub keeps_stock: bool,
    /// Who cannot have it; none when everybody can.
    pub limits: Option<Box<Limits>>,
}

/// One line that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderLine {
    /// The product.
    pub product: ProductId,
    /// How many; 1 to [`QUANTITY_MAX`].
    pub quantity: u32,
}

/// A purchase, priced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Sum of the lines.
    pub total: Amount,
    /// What of it counts against the limits of day, week and month.
    pub counted: Amount,
}

/// Adds priced lines up: the amount of each and whether it counts.
pub fn totals(lines: &[(Amount, bool)], currency: Currency) -> Result<Totals, MoneyError> {
    Ok(Totals {
        total: Amount::sum(lines.iter().map(|(amount, _)| *amount), currency)?,
        counted: Amount::sum(
            lines.iter().filter(|(_, counted)| *counted).map(|(amount, _)| *amount),
            currency,
        )?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_goods_count() {
        let yuan = |text: &str| Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap();
        let totals = totals(&[(yuan("120"), true), (yuan("80"), false)], yuan("0").currency()).unwrap();
        assert_eq!((totals.total, totals.counted), (yuan("200"), yuan("120")));
    }
}
