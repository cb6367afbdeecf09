//! Dividing an amount exactly: by weights, and by a waterfall of steps. No unit is lost or made.

use rust_decimal::Decimal;

use super::{Amount, MoneyError};

/// Why an amount cannot be divided by weights.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocationError {
    /// There is no weight above zero, so nobody can be given the amount.
    #[error("no weight is above zero")]
    NoWeight,
    /// The sum of the weights is larger than 64 bits.
    #[error("the weights are too large")]
    WeightsTooLarge,
    /// An amount could not be formed.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// Divides an amount in proportion to weights by the method of the largest remainder.
///
/// Every share is first rounded down to the currency's unit; the units that are left go one each to the shares that lost
/// most, and among equals to the earlier. The shares add up to `total` exactly. A negative total gives negative shares.
///
/// # Errors
/// [`AllocationError::NoWeight`] and [`AllocationError::WeightsTooLarge`].
pub fn allocate(total: Amount, weights: &[u64]) -> Result<Vec<Amount>, AllocationError> {
    let sum = weights.iter().try_fold(0_u64, |sum, weight| sum.checked_add(*weight));
    let sum = i128::from(sum.ok_or(AllocationError::WeightsTooLarge)?);
    if sum == 0 {
        return Err(AllocationError::NoWeight);
    }
    let units = total.abs().units();
    let (whole, rest) = (units / sum, units % sum);

    // `rest` is below `sum`, which has at most 64 bits. As a product of two such numbers may need all of 128 bits, it is
    // taken without a sign.
    let mut shares = Vec::with_capacity(weights.len());
    let mut remainders = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let product = rest.unsigned_abs() * u128::from(*weight);
        let share = i128::try_from(product / sum.unsigned_abs()).map_err(|_| MoneyError::Overflow)?;
        shares.push(whole * i128::from(*weight) + share);
        remainders.push((product % sum.unsigned_abs(), index));
    }
    remainders.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut left = units - shares.iter().sum::<i128>();
    for (_, index) in remainders {
        if left == 0 {
            break;
        }
        shares[index] += 1;
        left -= 1;
    }

    let sign = if total.is_negative() { -1 } else { 1 };
    shares
        .into_iter()
        .map(|share| Ok(Amount::from_units(sign * share, total.currency())?))
        .collect()
}

/// Divides an amount in proportion to other amounts, by the rule of [`allocate`]: what is to be shared among sums that are
/// owed. A share is never above the sum it is for unless the total is above all of them together.
///
/// # Errors
/// [`AllocationError::NoWeight`] if none is above zero; [`AllocationError::WeightsTooLarge`]; [`MoneyError::NotPositive`] if
/// one is below zero.
pub fn allocate_by(total: Amount, owed: &[Amount]) -> Result<Vec<Amount>, AllocationError> {
    let mut weights = Vec::with_capacity(owed.len());
    for sum in owed {
        let units = not_negative(*sum)?.units();
        weights.push(u64::try_from(units).map_err(|_| AllocationError::WeightsTooLarge)?);
    }
    allocate(total, &weights)
}

/// One step of a waterfall. The steps take from the gross amount in order, and none takes more than is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A sum of money.
    Fixed(Amount),
    /// A percentage of the gross amount, rounded down to the currency's unit.
    Percent {
        /// In percent: 20 is a fifth. Not negative.
        rate: Decimal,
        /// The most that this step takes. Not negative.
        cap: Option<Amount>,
    },
    /// All that is left.
    Remainder,
}

/// What one step of a waterfall took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The index of the step. The number of steps, one beyond the last, stands for what no step took.
    pub step: usize,
    /// What the step asked for, capped, whether or not so much was left.
    pub wanted: Amount,
    /// What it took.
    pub amount: Amount,
    /// What was left after it.
    pub left: Amount,
}

/// Divides a gross amount over steps in their order: one part for each step, and one more for what no step took, if any.
/// The parts add up to `gross` exactly.
///
/// # Errors
/// [`MoneyError::NotPositive`] if the gross amount, a sum, a rate or a cap is negative; [`MoneyError::CurrencyMismatch`];
/// [`MoneyError::Overflow`] for a rate with absurdly many digits.
pub fn waterfall(gross: Amount, steps: &[Step]) -> Result<Vec<Part>, MoneyError> {
    if gross.is_negative() {
        return Err(MoneyError::NotPositive);
    }
    let mut left = gross;
    let mut parts = Vec::with_capacity(steps.len());
    for (index, step) in steps.iter().enumerate() {
        let wanted = match step {
            Step::Fixed(amount) => not_negative(*amount)?,
            Step::Percent { rate, cap: None } => percent_of(gross, *rate)?,
            Step::Percent { rate, cap: Some(cap) } => percent_of(gross, *rate)?.min(not_negative(*cap)?)?,
            Step::Remainder => left,
        };
        let amount = left.min(wanted)?;
        left = left.checked_sub(amount)?;
        parts.push(Part {
            step: index,
            wanted,
            amount,
            left,
        });
    }
    if !left.is_zero() {
        let nothing = Amount::zero(gross.currency());
        parts.push(Part {
            step: steps.len(),
            wanted: left,
            amount: left,
            left: nothing,
        });
    }
    Ok(parts)
}

fn not_negative(amount: Amount) -> Result<Amount, MoneyError> {
    if amount.is_negative() {
        Err(MoneyError::NotPositive)
    } else {
        Ok(amount)
    }
}

/// A percentage of an amount, rounded down to the currency's unit. Integers are used because a product of two decimals
/// may be rounded when it has too many digits.
///
/// # Errors
/// [`MoneyError::NotPositive`] for a negative rate, [`MoneyError::Overflow`] for one with absurdly many digits.
pub fn percent_of(gross: Amount, rate: Decimal) -> Result<Amount, MoneyError> {
    if rate < Decimal::ZERO {
        return Err(MoneyError::NotPositive);
    }
    let rate = rate.normalize();
    let scaled = gross.units().checked_mul(rate.mantissa()).ok_or(MoneyError::Overflow)?;
    // A scale is at most 28, so that the divisor is at most 10 to the power of 30.
    Amount::from_units(scaled / 10_i128.pow(rate.scale() + 2), gross.currency())
}

/// A part of an amount that is not negative, rounded half up to the currency's unit: as gateways count their fees.
///
/// # Errors
/// [`MoneyError::NotPositive`] below zero, [`MoneyError::Overflow`] for a rate with absurdly many digits.
pub fn part_of(gross: Amount, rate: Decimal) -> Result<Amount, MoneyError> {
    if rate < Decimal::ZERO || gross.is_negative() {
        return Err(MoneyError::NotPositive);
    }
    let rate = rate.normalize();
    let divisor = 10_i128.pow(rate.scale());
    let twice = gross
        .units()
        .checked_mul(rate.mantissa())
        .and_then(|scaled| scaled.checked_mul(2));
    let halved = twice
        .and_then(|twice| twice.checked_add(divisor))
        .ok_or(MoneyError::Overflow)?;
    Amount::from_units(halved / (2 * divisor), gross.currency())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::money::Currency;

    fn cny(text: &str) -> Amount {
        Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap()
    }

    fn texts(amounts: &[Amount]) -> Vec<String> {
        amounts.iter().map(Amount::to_string).collect()
    }

    #[test]
    fn a_part_is_rounded_half_up() {
        let of = |gross: &str, rate: &str| part_of(cny(gross), rate.parse().unwrap()).map(|part| part.to_string());
        for (gross, rate, part) in [
            ("100.00", "0.006", "0.60"),
            ("0.83", "0.006", "0.00"),
            ("0.84", "0.006", "0.01"),
            ("1.25", "0.006", "0.01"),
            ("2.50", "0.006", "0.02"),
            ("2.49", "0.006", "0.01"),
            ("99.99", "0.0060", "0.60"),
            ("5000.00", "0", "0.00"),
            ("0.00", "0.006", "0.00"),
            ("12.34", "0.999999", "12.34"),
        ] {
            assert_eq!(of(gross, rate).unwrap(), part, "{gross} {rate}");
        }
        assert_eq!(
            part_of(cny("1.00").negated(), Decimal::ONE),
            Err(MoneyError::NotPositive)
        );
        assert_eq!(part_of(cny("1.00"), -Decimal::ONE), Err(MoneyError::NotPositive));
        let absurd = "0.9999999999999999999999999999".parse().unwrap();
        assert!(part_of(cny("9999999999999.99"), absurd).is_err());
    }

    #[test]
    fn the_units_left_go_to_the_largest_remainders() {
        assert_eq!(
            texts(&allocate(cny("100.00"), &[1, 1, 1]).unwrap()),
            ["33.34", "33.33", "33.33"]
        );
        assert_eq!(texts(&allocate(cny("0.05"), &[3, 7]).unwrap()), ["0.02", "0.03"]);
        assert_eq!(
            texts(&allocate(cny("0.02"), &[1, 0, 1, 1]).unwrap()),
            ["0.01", "0.00", "0.01", "0.00"]
        );
        assert_eq!(
            texts(&allocate(cny("1.00").negated(), &[1, 2]).unwrap()),
            ["-0.33", "-0.67"]
        );
    }

    #[test]
    fn what_is_owed_is_shared_by_what_is_owed() {
        let owed = [cny("10"), cny("20"), cny("0.01")];
        let share = |total| texts(&allocate_by(cny(total), &owed).unwrap());
        assert_eq!(share("30.01"), ["10.00", "20.00", "0.01"]);
        assert_eq!(share("0.01"), ["0.00", "0.01", "0.00"]);
        assert_eq!(share("0"), ["0.00", "0.00", "0.00"]);
        assert!(allocate_by(cny("1"), &[cny("1").negated()]).is_err());
        assert_eq!(allocate_by(cny("1"), &[]), Err(AllocationError::NoWeight));
    }

    #[test]
    fn weights_are_checked() {
        assert_eq!(allocate(cny("1"), &[]), Err(AllocationError::NoWeight));
        assert_eq!(allocate(cny("1"), &[0, 0]), Err(AllocationError::NoWeight));
        assert_eq!(
            allocate(cny("1"), &[u64::MAX, 1]),
            Err(AllocationError::WeightsTooLarge)
        );
        assert_eq!(
            texts(&allocate(cny("999999999999999999.99"), &[u64::MAX]).unwrap()),
            ["999999999999999999.99"]
        );
    }

    #[test]
    fn a_waterfall_takes_in_order() {
        let percent = |rate: i64, cap: Option<&str>| Step::Percent {
            rate: rate.into(),
            cap: cap.map(cny),
        };
        let take = |gross: &str, steps: &[Step]| {
            let parts = waterfall(cny(gross), steps).unwrap();
            parts.iter().map(|part| part.amount.to_string()).collect::<Vec<_>>()
        };
        let steps = [Step::Fixed(cny("50")), percent(20, Some("100")), Step::Remainder];
        assert_eq!(take("300.00", &steps), ["50.00", "60.00", "190.00"]);
        assert_eq!(take("1000.00", &steps), ["50.00", "100.00", "850.00"]);
        assert_eq!(take("52.00", &steps), ["50.00", "2.00", "0.00"]);
        assert_eq!(take("30.00", &steps), ["30.00", "0.00", "0.00"]);
        assert_eq!(take("0.04", &[percent(20, None), Step::Remainder]), ["0.00", "0.04"]);
        assert_eq!(take("10.00", &[percent(300, None), Step::Remainder]), ["10.00", "0.00"]);

        let parts = waterfall(cny("30"), &steps).unwrap();
        assert_eq!((parts[0].wanted, parts[1].wanted), (cny("50"), cny("6")));
        let parts = waterfall(cny("30"), &[Step::Fixed(cny("10"))]).unwrap();
        assert_eq!((parts.len(), parts[1].step, parts[1].amount), (2, 1, cny("20")));
    }

    #[test]
    fn a_waterfall_refuses_nonsense() {
        let negative = cny("1").negated();
        let rate = Decimal::from(-1);
        assert_eq!(waterfall(negative, &[]), Err(MoneyError::NotPositive));
        assert_eq!(
            waterfall(cny("1"), &[Step::Fixed(negative)]),
            Err(MoneyError::NotPositive)
        );
        assert_eq!(
            waterfall(cny("1"), &[Step::Percent { rate, cap: None }]),
            Err(MoneyError::NotPositive)
        );
        let rate = Decimal::ONE;
        assert_eq!(
            waterfall(
                cny("1"),
                &[Step::Percent {
                    rate,
                    cap: Some(negative)
                }]
            ),
            Err(MoneyError::NotPositive)
        );
        let yen = Amount::parse("1", Currency::parse("JPY").unwrap()).unwrap();
        assert!(matches!(
            waterfall(cny("1"), &[Step::Fixed(yen)]),
            Err(MoneyError::CurrencyMismatch { .. })
        ));
        let rate = Decimal::MAX;
        let large = cny("999999999999999999");
        assert_eq!(
            waterfall(large, &[Step::Percent { rate, cap: None }]),
            Err(MoneyError::Overflow)
        );
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let amount = || (0_i128..1_000_000).prop_map(|units| Amount::from_units(units, cny("0").currency()).unwrap());
        prop_oneof![
            amount().prop_map(Step::Fixed),
            (0_i64..2_000_000, 0_u32..5, prop::option::of(amount())).prop_map(|(rate, scale, cap)| Step::Percent {
                rate: Decimal::new(rate, scale),
                cap
            }),
            Just(Step::Remainder),
        ]
    }

    proptest! {
        #[test]
        fn shares_add_up_and_are_fair(units in 0_i128..10_i128.pow(20), weights in prop::collection::vec(0_u64..=1 << 40, 1..30)) {
            let currency = cny("0").currency();
            let total = Amount::from_units(units, currency).unwrap();
            prop_assume!(weights.iter().any(|weight| *weight > 0));
            let shares = allocate(total, &weights).unwrap();
            prop_assert_eq!(Amount::sum(shares.iter().copied(), currency), Ok(total));
            let sum: i128 = weights.iter().map(|weight| i128::from(*weight)).sum();
            for (share, weight) in shares.iter().zip(&weights) {
                let exact = units * i128::from(*weight);
                // Within one unit of the exact share, and nothing where the weight is nothing.
                prop_assert!((share.units() * sum - exact).abs() < sum);
                prop_assert!(*weight > 0 || share.is_zero());
            }
            for (a, b) in shares.iter().zip(&weights).zip(shares.iter().zip(&weights).skip(1)) {
                prop_assert!(a.1.cmp(b.1).is_eq() || (a.1 < b.1) == (a.0 <= b.0) || a.0 == b.0);
            }
            prop_assert_eq!(allocate(total, &weights).unwrap(), shares);
        }

        #[test]
        fn a_waterfall_conserves(units in 0_i128..10_000_000, steps in prop::collection::vec(any_step(), 0..8)) {
            let currency = cny("0").currency();
            let gross = Amount::from_units(units, currency).unwrap();
            let parts = waterfall(gross, &steps).unwrap();
            prop_assert_eq!(Amount::sum(parts.iter().map(|part| part.amount), currency), Ok(gross));
            prop_assert!(parts.iter().all(|part| !part.amount.is_negative() && part.amount <= part.wanted));
            prop_assert!(parts.iter().enumerate().all(|(index, part)| part.step == index));
            prop_assert!(parts.len() >= steps.len() && parts.len() <= steps.len() + 1);
            // What came before a remainder leaves nothing to those after it.
            if let Some(index) = steps.iter().position(|step| *step == Step::Remainder) {
                prop_assert!(parts[index + 1..].iter().all(|part| part.amount.is_zero()));
            }
            prop_assert_eq!(waterfall(gross, &steps).unwrap(), parts);
        }
    }
}
