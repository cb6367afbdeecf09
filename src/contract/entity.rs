//! Terms, accounts, and when an account is paid to, pure.

use std::fmt;

use rust_decimal::Decimal;
use time::{Duration, OffsetDateTime};

use crate::money::{Amount, MoneyError, percent_of};

/// How long a changed account waits.
pub const CHANGE_WAITS: Duration = Duration::hours(24);
/// The longest settlement cycle, in days.
pub const CYCLE_DAYS_MAX: i16 = 60;
/// How many characters of a number are shown.
const SHOWN: usize = 4;

/// Commission and cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// 1, 2, 3 …; 0 when nothing was agreed.
    pub version: i64,
    /// What the center keeps of net sales, in percent.
    pub commission_percent: Decimal,
    /// How many days after a business date it can be settled: 1 is T+1.
    pub cycle_days: i16,
    /// When and by whom it was entered.
    pub changed: Option<(OffsetDateTime, String)>,
}

impl Terms {
    /// What holds while nothing is agreed: no commission, T+1.
    pub fn none() -> Terms {
        Terms {
            version: 0,
            commission_percent: Decimal::ZERO,
            cycle_days: 1,
            changed: None,
        }
    }

    /// Whether they say the same.
    pub fn is_same(&self, commission_percent: Decimal, cycle_days: i16) -> bool {
        self.commission_percent == commission_percent && self.cycle_days == cycle_days
    }

    /// What the center keeps of net sales: the percentage, rounded down to the currency's unit, so that a fraction stays with
    /// the vendor. When more came back than was sold, the vendor gets back what a sale of as much would have cost.
    ///
    /// # Errors
    /// [`MoneyError`], if the amount is absurdly large.
    pub fn commission(&self, net_sales: Amount) -> Result<Amount, MoneyError> {
        percent_of(net_sales, self.commission_percent)
    }
}

/// An account at a bank. Its `Debug` masks the number.
#[derive(Clone, PartialEq, Eq)]
pub struct Account {
    /// Whose it is.
    pub holder: String,
    /// Its number.
    pub number: String,
    /// The bank's code in the clearing system.
    pub bank_code: String,
    /// The bank's name.
    pub bank_name: String,
}

impl Account {
    /// The number, all but the last four characters masked.
    pub fn masked_number(&self) -> String {
        let hidden = self.number.chars().count().saturating_sub(SHOWN);
        let shown: String = self.number.chars().skip(hidden).collect();
        format!("{}{shown}", "*".repeat(hidden))
    }

    /// The same account for somebody who may not see its number.
    #[must_use]
    pub fn masked(&self) -> Account {
        Account {
            number: self.masked_number(),
            ..self.clone()
        }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("holder", &self.holder)
            .field("number", &self.masked_number())
            .field("bank_code", &self.bank_code)
            .finish_non_exhaustive()
    }
}

/// An account that was allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorAccount {
    /// 1, 2, 3 …
    pub version: i64,
    /// The account.
    pub account: Account,
    /// What allowed it.
    pub approval: i64,
    /// When.
    pub approved_at: OffsetDateTime,
    /// From when on it is paid to.
    pub effective_at: OffsetDateTime,
}

impl VendorAccount {
    /// Whether it may be paid to at an instant; of several, the latest is.
    pub fn is_paid_to(&self, at: OffsetDateTime) -> bool {
        self.effective_at <= at
    }
}

/// From when on an account is paid to that is allowed now: nobody waits for the first.
pub(super) fn effective_at(version: i64, approved_at: OffsetDateTime) -> OffsetDateTime {
    if version == 1 {
        approved_at
    } else {
        approved_at + CHANGE_WAITS
    }
}

/// An account that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedAccount {
    /// The account.
    pub account: Account,
    /// The approval that decides.
    pub approval: i64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{distribution::parse_percent, money::Currency};

    fn cny(text: &str) -> Amount {
        let negative = text.strip_prefix('-');
        let amount = Amount::parse(negative.unwrap_or(text), Currency::parse("CNY").unwrap()).unwrap();
        if negative.is_some() { amount.negated() } else { amount }
    }

    fn at(percent: &str) -> Terms {
        Terms {
            commission_percent: parse_percent(percent).unwrap(),
            ..Terms::none()
        }
    }

    #[test]
    fn commission_is_rounded_down_and_comes_back_alike() {
        for (percent, net, kept) in [
            ("0", "100.00", "0.00"),
            ("2.5", "100.00", "2.50"),
            ("2.5", "0.39", "0.00"),
            ("2.5", "0.40", "0.01"),
            ("3.3333", "99.99", "3.33"),
            ("2.5", "-0.79", "-0.01"),
            ("100", "12.34", "12.34"),
        ] {
            assert_eq!(
                at(percent).commission(cny(net)).unwrap().to_string(),
                kept,
                "{percent} of {net}"
            );
        }
    }

    #[test]
    fn numbers_are_masked_wherever_they_may_be_seen() {
        let account = Account {
            holder: "Huafeng".into(),
            number: "6222021001116245702".into(),
            bank_code: "102100099996".into(),
            bank_name: "ICBC".into(),
        };
        assert_eq!(account.masked_number(), "***************5702");
        assert!(!format!("{account:?}").contains("62220210"));
        assert_eq!(account.masked().number, account.masked_number());
    }

    #[test]
    fn only_a_change_waits() {
        let now = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(effective_at(1, now), now);
        assert_eq!(effective_at(2, now), now + Duration::hours(24));
    }
}
