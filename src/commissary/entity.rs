//! Pricing, limits and returns: pure decisions.

use time::OffsetDateTime;

use super::{CommissaryRefusal, buyer::Limits};
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
    /// What of it counts against the monthly limit.
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

/// What bounds a purchase.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most that one order may cost.
    pub order_max: Amount,
    /// The detainee's limit of the month.
    pub month_limit: Amount,
    /// What of it is spent.
    pub month_spent: Amount,
    /// What can be spent at all.
    pub available: Amount,
}

/// Checks a priced purchase in the order of precedence (order limit, monthly limit, funds) and returns what of the month's
/// limit is spent after it.
pub fn check(totals: &Totals, bounds: &Bounds) -> Result<Result<Amount, CommissaryRefusal>, MoneyError> {
    if totals.total.exceeds(bounds.order_max)? {
        return Ok(Err(CommissaryRefusal::OrderLimit {
            total: totals.total,
            limit: bounds.order_max,
        }));
    }
    let spent = bounds.month_spent.checked_add(totals.counted)?;
    if totals.counted.is_positive() && spent.exceeds(bounds.month_limit)? {
        return Ok(Err(CommissaryRefusal::MonthlyLimit {
            limit: bounds.month_limit,
            spent: bounds.month_spent,
            counted: totals.counted,
        }));
    }
    if totals.total.exceeds(bounds.available)? {
        return Ok(Err(CommissaryRefusal::Funds {
            available: bounds.available,
            required: totals.total,
        }));
    }
    Ok(Ok(spent))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yuan(text: &str) -> Amount {
        Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap()
    }

    fn bounds(available: &str, spent: &str) -> Bounds {
        Bounds {
            order_max: yuan("200"),
            month_limit: yuan("400"),
            month_spent: yuan(spent),
            available: yuan(available),
        }
    }

    fn checked(lines: &[(&str, bool)], bounds: &Bounds) -> Result<String, CommissaryRefusal> {
        let lines: Vec<_> = lines.iter().map(|(amount, counted)| (yuan(amount), *counted)).collect();
        let totals = totals(&lines, yuan("0").currency()).unwrap();
        check(&totals, bounds).unwrap().map(|spent| spent.to_string())
    }

    #[test]
    fn limits_come_before_funds() {
        assert_eq!(
            checked(&[("120", true), ("80", true)], &bounds("200", "200")).as_deref(),
            Ok("400.00")
        );
        assert!(matches!(
            checked(&[("200.01", true)], &bounds("0", "0")),
            Err(CommissaryRefusal::OrderLimit { .. })
        ));
        assert!(matches!(
            checked(&[("1", true)], &bounds("0", "400")),
            Err(CommissaryRefusal::MonthlyLimit { .. })
        ));
        assert!(matches!(
            checked(&[("1", true)], &bounds("0.99", "0")),
            Err(CommissaryRefusal::Funds { .. })
        ));
    }

    #[test]
    fn medicine_does_not_count() {
        assert_eq!(
            checked(&[("150", false)], &bounds("150", "400")).as_deref(),
            Ok("400.00")
        );
        assert!(!Category::Medical.is_counted() && Category::Food.is_counted());
    }
}
