//! The rules of spending beside the month's: limits of the other windows, what counts, and who is indigent. Pure.

pub(super) mod store;

use std::collections::BTreeMap;

use super::Category;
use crate::money::{Amount, Currency, MoneyError};

/// The limits of a tier beside the month's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TierWindows {
    /// Most that one order may cost; the center's if none.
    pub order: Option<Amount>,
    /// Most that may be spent on a business day; no limit if none.
    pub day: Option<Amount>,
    /// Most that may be spent from Monday to Sunday; no limit if none.
    pub week: Option<Amount>,
}

/// The rules of spending beside those of the month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpendingRules {
    /// The limits of tiers; a tier that is not there has none.
    pub tiers: BTreeMap<i16, TierWindows>,
    /// What does not count against the limits of day, week and month.
    pub exempt: Vec<Category>,
    /// A kit is granted to those who have less than this, …
    pub grant_below: Amount,
    /// … and have had, without a credit, for so many days. As many lie between two kits.
    pub grant_days: i16,
}

impl SpendingRules {
    /// The published defaults: no limit of a day or a week; medical, books and legal items do not count; a kit is granted to
    /// those who have had less than 10.00 and no credit for 30 days.
    pub fn defaults(currency: Currency) -> Result<SpendingRules, MoneyError> {
        Ok(SpendingRules {
            tiers: BTreeMap::new(),
            exempt: vec![Category::Medical, Category::Books, Category::Legal],
            grant_below: Amount::parse("10", currency)?,
            grant_days: 30,
        })
    }

    /// The limits of a tier.
    pub fn of(&self, tier: i16) -> TierWindows {
        self.tiers.get(&tier).copied().unwrap_or_default()
    }

    /// Whether goods of a category count against the limits of day, week and month.
    pub fn counts(&self, category: Category) -> bool {
        !self.exempt.contains(&category)
    }
}
