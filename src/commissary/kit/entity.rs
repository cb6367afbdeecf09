//! Kits, and who has too much for one: pure.

use time::{Date, Duration, OffsetDateTime};

use super::KitRefusal;
use crate::{
    custody::SpendingRules,
    ids::{DetaineeId, ProductId, Seq},
    money::{Amount, MoneyError},
    proto::JournalRecord,
};

/// One line of a kit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KitLine {
    /// The product.
    pub product: ProductId,
    /// How many; 1 to [`QUANTITY_MAX`](crate::commissary::QUANTITY_MAX).
    pub quantity: u32,
}

/// What is granted to those who have nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Kit {
    /// 1, 2, 3 …; 0 as long as nobody has said what it is.
    pub version: i64,
    /// The goods, each product once.
    pub lines: Vec<KitLine>,
    /// When it was changed, by whom, and why.
    pub changed: Option<(OffsetDateTime, String, String)>,
}

/// A kit that was granted.
#[derive(Debug, Clone)]
pub struct KitGrant {
    /// The grant's record.
    pub record: JournalRecord,
    /// The transaction that took it back, if one did.
    pub cancelled: Option<Seq>,
}

/// What a detainee has and had: available, held and savings together, where not said otherwise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Means {
    /// Now.
    pub now: Amount,
    /// At the beginning of the days that are looked back over.
    pub then: Amount,
    /// The most that was available since, if anything came in.
    pub peak: Option<Amount>,
    /// The last credit since, if there was one.
    pub credit: Option<Seq>,
}

/// Refuses a detainee who has too much for a kit, or had within the days that are looked back over, or was credited something.
pub(super) fn require_indigent(
    detainee: &DetaineeId,
    means: &Means,
    rules: &SpendingRules,
) -> Result<Result<(), KitRefusal>, MoneyError> {
    let below = rules.grant_below;
    let peak = larger(means.then, means.peak.unwrap_or(means.then))?;
    let refuse = |had| {
        Ok(Err(KitRefusal::NotIndigent {
            detainee: detainee.clone(),
            balance: means.now,
            had,
            below,
            days: rules.grant_days,
            credit: means.credit,
        }))
    };
    if !below.exceeds(means.now)? || !below.exceeds(peak)? || means.credit.is_some() {
        return refuse(larger(peak, means.now)?);
    }
    Ok(Ok(()))
}

fn larger(one: Amount, other: Amount) -> Result<Amount, MoneyError> {
    Ok(if one.exceeds(other)? { one } else { other })
}

/// The first date on which another kit can be granted after one of a date.
pub(super) fn next_date(granted_on: Date, rules: &SpendingRules) -> Date {
    granted_on.saturating_add(Duration::days(rules.grant_days.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;

    #[test]
    fn only_who_has_had_nothing_for_long_gets_a_kit() {
        let currency = Currency::parse("CNY").unwrap();
        let yuan = |text: &str| Amount::parse(text, currency).unwrap();
        let rules = SpendingRules::defaults(currency).unwrap();
        let detainee = DetaineeId::parse("D1").unwrap();
        let means = |now, then, peak: Option<&str>, credit: Option<i64>| Means {
            now: yuan(now),
            then: yuan(then),
            peak: peak.map(yuan),
            credit: credit.map(Seq),
        };
        for (means, gets) in [
            (means("0", "0", None, None), true),
            (means("9.99", "9.99", Some("9.99"), None), true),
            (means("10.00", "0", None, None), false),
            (means("0", "10.00", None, None), false),
            (means("0", "0", Some("10.00"), None), false),
            (means("0", "0", Some("1.00"), Some(7)), false),
        ] {
            let decided = require_indigent(&detainee, &means, &rules).unwrap();
            assert_eq!(decided.is_ok(), gets, "{means:?}");
        }
        let nobody = SpendingRules {
            grant_below: yuan("0"),
            ..rules
        };
        let means = means("0", "0", None, None);
        assert!(require_indigent(&detainee, &means, &nobody).unwrap().is_err());
    }
}
