//! How a credit is split, pure: court orders in their order, then savings, and the rest can be spent.

use rust_decimal::Decimal;
use time::OffsetDateTime;

use crate::{
    ids::CourtOrderId,
    ledger::Code,
    money::{Amount, MoneyError, Part, Step, waterfall},
    proto::DistributionPart,
};

/// The most decimals of a percentage.
pub const PERCENT_SCALE_MAX: u32 = 4;

/// The rule of a part that a court collects.
pub const COURT_ORDER: &str = "court_order";
/// The rule of the part that is saved.
pub const SAVINGS: &str = "savings";
/// The rule of the part that can be spent.
pub const REMAINDER: &str = "remainder";

/// A center's policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Percent of the gross credit that is saved, 0 to 100.
    pub savings_percent: Decimal,
    /// Savings are filled up to this balance; none is without bound.
    pub savings_cap: Option<Amount>,
    /// Counts the changes, from 1.
    pub version: i64,
    /// When it was last changed; none if it never was.
    pub changed_at: Option<OffsetDateTime>,
}

impl Default for Policy {
    /// Nothing is saved.
    fn default() -> Policy {
        Policy {
            savings_percent: Decimal::ZERO,
            savings_cap: None,
            version: 1,
            changed_at: None,
        }
    }
}

/// A fixed sum a court wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CourtOrder {
    /// Its id.
    pub id: CourtOrderId,
    /// The document's number, unique for its detainee.
    pub document: String,
    /// The whole sum.
    pub total: Amount,
    /// What was collected so far.
    pub collected: Amount,
    /// Its place in the order of collection, from 1.
    pub position: i32,
    /// When it was recorded.
    pub created_at: OffsetDateTime,
}

impl CourtOrder {
    /// What is still owed.
    pub fn owed(&self) -> Result<Amount, MoneyError> {
        self.total.checked_sub(self.collected)
    }
}

/// Reads a percentage: a plain decimal number from 0 to 100 with at most [`PERCENT_SCALE_MAX`] decimals. None if it is not.
pub fn parse_percent(text: &str) -> Option<Decimal> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let percent = plain.then(|| Decimal::from_str_exact(text).ok())??.normalize();
    (percent <= Decimal::ONE_HUNDRED && percent.scale() <= PERCENT_SCALE_MAX).then_some(percent)
}

/// Splits a gross credit. `orders` are in the order of collection, `savings` is the balance already saved. The parts add up
/// to `gross`, and each tells its rule, base, rate, cap and what is still owed after it. An order that is paid up has no
/// part; a part may be zero, which then says why.
pub fn distribute(
    gross: Amount,
    policy: &Policy,
    orders: &[CourtOrder],
    savings: Amount,
) -> Result<Vec<DistributionPart>, MoneyError> {
    let mut steps = Vec::new();
    let mut explained = Vec::new();
    for order in orders {
        let owed = order.owed()?;
        if owed.is_positive() {
            steps.push(Step::Fixed(owed));
            explained.push(Rule::Court(order, owed));
        }
    }
    if policy.savings_percent > Decimal::ZERO {
        steps.push(Step::Percent {
            rate: policy.savings_percent,
            cap: policy.savings_cap.map(|cap| room_below(cap, savings)).transpose()?,
        });
        explained.push(Rule::Savings);
    }
    steps.push(Step::Remainder);
    explained.push(Rule::Remainder);
    let parts = waterfall(gross, &steps)?;
    explained
        .into_iter()
        .zip(parts)
        .map(|(rule, part)| explain(&rule, &part, gross, policy))
        .collect()
}

enum Rule<'a> {
    Court(&'a CourtOrder, Amount),
    Savings,
    Remainder,
}

/// How much more may be saved before the cap is reached.
fn room_below(cap: Amount, savings: Amount) -> Result<Amount, MoneyError> {
    let room = cap.checked_sub(savings)?;
    Ok(if room.is_negative() {
        Amount::zero(cap.currency())
    } else {
        room
    })
}

fn explain(rule: &Rule<'_>, part: &Part, gross: Amount, policy: &Policy) -> Result<DistributionPart, MoneyError> {
    let part_of = |rule: &str, base: Amount, code: Code| DistributionPart {
        rule: rule.to_owned(),
        base: base.to_string(),
        amount: part.amount.to_string(),
        account_code: code.number().into(),
        ..DistributionPart::default()
    };
    Ok(match rule {
        Rule::Court(order, owed) => DistributionPart {
            document: order.document.clone(),
            still_owed: owed.checked_sub(part.amount)?.to_string(),
            ..part_of(COURT_ORDER, *owed, Code::CourtPayable)
        },
        Rule::Savings => DistributionPart {
            rate_percent: policy.savings_percent.normalize().to_string(),
            cap: policy.savings_cap.map(|cap| cap.to_string()).unwrap_or_default(),
            ..part_of(SAVINGS, gross, Code::Savings)
        },
        Rule::Remainder => part_of(REMAINDER, part.wanted, Code::Available),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::money::Currency;

    fn cny(text: &str) -> Amount {
        Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap()
    }

    fn order(document: &str, total: &str, collected: &str) -> CourtOrder {
        CourtOrder {
            id: CourtOrderId::parse(document).unwrap(),
            document: document.to_owned(),
            total: cny(total),
            collected: cny(collected),
            position: 1,
            created_at: OffsetDateTime::UNIX_EPOCH,
        }
    }

    fn policy(percent: &str, cap: Option<&str>) -> Policy {
        Policy {
            savings_percent: parse_percent(percent).unwrap(),
            savings_cap: cap.map(cny),
            ..Policy::default()
        }
    }

    /// Each part as `rule document amount still_owed`.
    fn split(gross: &str, policy: &Policy, orders: &[CourtOrder], savings: &str) -> Vec<String> {
        distribute(cny(gross), policy, orders, cny(savings))
            .unwrap()
            .iter()
            .map(|part| {
                let text = format!("{} {} {} {}", part.rule, part.document, part.amount, part.still_owed);
                text.split_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect()
    }

    #[test]
    fn courts_come_first_then_savings_then_the_detainee() {
        let orders = [order("C1", "30", "10"), order("C2", "50", "50"), order("C3", "15", "0")];
        assert_eq!(
            split("100", &policy("10", None), &orders, "0"),
            [
                "court_order C1 20.00 0.00",
                "court_order C3 15.00 0.00",
                "savings 10.00",
                "remainder 55.00"
            ]
        );
        assert_eq!(
            split("25", &policy("10", None), &orders, "0"),
            [
                "court_order C1 20.00 0.00",
                "court_order C3 5.00 10.00",
                "savings 0.00",
                "remainder 0.00"
            ]
        );
    }

    #[test]
    fn savings_stop_at_their_cap() {
        let capped = policy("12.5", Some("100"));
        assert_eq!(split("100", &capped, &[], "0"), ["savings 12.50", "remainder 87.50"]);
        assert_eq!(split("100", &capped, &[], "95"), ["savings 5.00", "remainder 95.00"]);
        assert_eq!(split("100", &capped, &[], "140"), ["savings 0.00", "remainder 100.00"]);
        assert_eq!(split("0.05", &capped, &[], "0"), ["savings 0.00", "remainder 0.05"]);
        assert_eq!(split("100", &Policy::default(), &[], "0"), ["remainder 100.00"]);
    }

    #[test]
    fn percentages_are_plain_numbers_from_0_to_100() {
        for good in ["0", "10", "12.5", "100", "100.0", "0.0001"] {
            assert!(parse_percent(good).is_some(), "{good}");
        }
        for bad in ["", "-1", "100.01", "1e1", "+5", " 5", "0.00001", "1.2.3", "ten"] {
            assert_eq!(parse_percent(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_add_up(
            gross in 1_i64..10_000_000, percent in 0_i64..=10_000, cap in 0_i64..1_000_000, saved in 0_i64..1_000_000,
            owed in proptest::collection::vec((1_i64..100_000, 0_i64..100_000), 0..5),
        ) {
            let fen = |units: i64| Amount::from_decimal(Decimal::new(units, 2), Currency::parse("CNY").unwrap()).unwrap();
            let orders: Vec<_> = owed
                .iter()
                .map(|(total, collected)| CourtOrder {
                    total: fen(*total),
                    collected: fen(*collected.min(total)),
                    ..order("C", "1", "0")
                })
                .collect();
            let policy = Policy {
                savings_percent: Decimal::new(percent, 2),
                savings_cap: Some(fen(cap)),
                ..Policy::default()
            };
            let parts = distribute(fen(gross), &policy, &orders, fen(saved)).unwrap();
            let sum: Decimal = parts.iter().map(|part| part.amount.parse::<Decimal>().unwrap()).sum();
            prop_assert_eq!(sum, fen(gross).value());
        }
    }
}
