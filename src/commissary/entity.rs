//! Pricing, limits and returns: pure decisions.

use time::OffsetDateTime;

use super::buyer::Limits;
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

/// What kind of goods a product is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Anything else.
    General,
    /// Food and drink.
    Food,
    /// Daily needs.
    Daily,
    /// Medicine and aids.
    Medical,
    /// Books and papers.
    Books,
    /// What a defence needs.
    Legal,
}

impl Category {
    /// Every category.
    pub const ALL: [Category; 6] = [
        Category::General,
        Category::Food,
        Category::Daily,
        Category::Medical,
        Category::Books,
        Category::Legal,
    ];

    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            Category::General => "general",
            Category::Food => "food",
            Category::Daily => "daily",
            Category::Medical => "medical",
            Category::Books => "books",
            Category::Legal => "legal",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<Category> {
        Category::ALL.into_iter().find(|category| category.name() == name)
    }

    /// Whether it counts against the monthly limit; medical, books and legal items do not.
    pub const fn is_counted(self) -> bool {
        !matches!(self, Category::Medical | Category::Books | Category::Legal)
    }
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
    /// Whether it counts against the monthly limit.
    pub counted: bool,
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
        assert!(!Category::Medical.is_counted() && Category::Food.is_counted());
    }
}
