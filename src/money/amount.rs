//! An exact amount of money in one currency.

use std::cmp::Ordering;
use std::fmt;

use rust_decimal::Decimal;

use super::{Currency, MoneyError};

/// The most digits that an amount may have before its point.
pub const MAX_INTEGER_DIGITS: usize = 18;

/// The first number that is too large: 10 to the power of [`MAX_INTEGER_DIGITS`].
const LIMIT: Decimal = Decimal::from_parts(2_808_348_672, 232_830_643, 0, false, 0);

/// An amount of money. Its value always has exactly the decimals of its currency, so equal amounts print equally.
///
/// Amounts of different currencies are neither equal nor ordered.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Amount {
    value: Decimal,
    currency: Currency,
}

impl Amount {
    /// Nothing, in a currency.
    pub fn zero(currency: Currency) -> Amount {
        Amount {
            value: Decimal::new(0, currency.exponent()),
            currency,
        }
    }

    /// Reads an amount of zero or more from plain text: digits, and optionally a point with digits after it.
    ///
    /// # Errors
    /// [`MoneyError::NotANumber`] for anything else (signs, exponents, spaces, leading zeros as in `007`),
    /// [`MoneyError::TooManyDecimals`] for more decimals than the currency has, even if they are zeros, and
    /// [`MoneyError::TooLarge`] for more than [`MAX_INTEGER_DIGITS`] digits before the point.
    pub fn parse(text: &str, currency: Currency) -> Result<Amount, MoneyError> {
        let (integer, fraction) = match text.split_once('.') {
            Some((integer, fraction)) => (integer, Some(fraction)),
            None => (text, None),
        };
        let is_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits(integer) || !fraction.is_none_or(is_digits) || (integer.len() > 1 && integer.starts_with('0')) {
            return Err(MoneyError::NotANumber);
        }
        if integer.len() > MAX_INTEGER_DIGITS {
            return Err(MoneyError::TooLarge);
        }
        let max = currency.exponent();
        if fraction.is_some_and(|fraction| u32::try_from(fraction.len()).map_or(true, |len| len > max)) {
            return Err(MoneyError::TooManyDecimals { max });
        }
        let value = Decimal::from_str_exact(text).map_err(|_| MoneyError::NotANumber)?;
        Amount::from_decimal(value, currency)
    }

    /// Reads an amount above zero, by the rules of [`Amount::parse`].
    ///
    /// # Errors
    /// Those of [`Amount::parse`], and [`MoneyError::NotPositive`] for zero.
    pub fn parse_positive(text: &str, currency: Currency) -> Result<Amount, MoneyError> {
        let amount = Amount::parse(text, currency)?;
        if amount.is_positive() {
            Ok(amount)
        } else {
            Err(MoneyError::NotPositive)
        }
    }

    /// An amount from a number that is already exact, such as one of the database. It may be negative.
    ///
    /// # Errors
    /// [`MoneyError::TooManyDecimals`] if it has decimals other than zero beyond those of the currency, and
    /// [`MoneyError::TooLarge`].
    pub fn from_decimal(value: Decimal, currency: Currency) -> Result<Amount, MoneyError> {
        let max = currency.exponent();
        if value.scale() > max && value.normalize().scale() > max {
            return Err(MoneyError::TooManyDecimals { max });
        }
        Amount::bounded(value, currency).ok_or(MoneyError::TooLarge)
    }

    /// An amount from a number of the currency's smallest unit.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub(super) fn from_units(units: i128, currency: Currency) -> Result<Amount, MoneyError> {
        let value = Decimal::try_from_i128_with_scale(units, currency.exponent()).map_err(|_| MoneyError::Overflow)?;
        Amount::bounded(value, currency).ok_or(MoneyError::Overflow)
    }

    /// The number of the currency's smallest unit (cents, fen).
    pub(super) fn units(self) -> i128 {
        // The scale of the value is the exponent of the currency, so the mantissa counts its smallest unit.
        self.value.mantissa()
    }

    /// Brings a value that fits the currency to its canonical form: exactly its decimals, and no negative zero.
    fn bounded(mut value: Decimal, currency: Currency) -> Option<Amount> {
        if value.abs() >= LIMIT {
            return None;
        }
        if value.is_zero() {
            return Some(Amount::zero(currency));
        }
        value.rescale(currency.exponent());
        Some(Amount { value, currency })
    }

    /// The number, with exactly the decimals of the currency.
    pub fn value(self) -> Decimal {
        self.value
    }

    /// The currency.
    pub fn currency(self) -> Currency {
        self.currency
    }

    /// The sum of two amounts.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] and [`MoneyError::Overflow`].
    pub fn checked_add(self, other: Amount) -> Result<Amount, MoneyError> {
        self.same_currency(other)?;
        let value = self.value.checked_add(other.value).ok_or(MoneyError::Overflow)?;
        Amount::bounded(value, self.currency).ok_or(MoneyError::Overflow)
    }

    /// This amount less another; it may come out negative.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] and [`MoneyError::Overflow`].
    pub fn checked_sub(self, other: Amount) -> Result<Amount, MoneyError> {
        self.checked_add(other.negated())
    }

    /// The amount of a quantity of things at this price.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`].
    pub fn checked_mul(self, quantity: u32) -> Result<Amount, MoneyError> {
        let units = self
            .units()
            .checked_mul(i128::from(quantity))
            .ok_or(MoneyError::Overflow)?;
        Amount::from_units(units, self.currency)
    }

    /// The sum of amounts of one currency; zero of that currency if there are none.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`] and [`MoneyError::Overflow`].
    pub fn sum(amounts: impl IntoIterator<Item = Amount>, currency: Currency) -> Result<Amount, MoneyError> {
        amounts
            .into_iter()
            .try_fold(Amount::zero(currency), Amount::checked_add)
    }

    /// Whether it is nothing.
    pub fn is_zero(self) -> bool {
        self.value.is_zero()
    }

    /// Whether it is more than nothing.
    pub fn is_positive(self) -> bool {
        self.value > Decimal::ZERO
    }

    /// Whether it is less than nothing.
    pub fn is_negative(self) -> bool {
        self.value < Decimal::ZERO
    }

    /// The same amount with the other sign.
    pub fn negated(self) -> Amount {
        // Zero has no sign here.
        if self.is_zero() {
            self
        } else {
            Amount {
                value: -self.value,
                ..self
            }
        }
    }

    /// The same amount without its sign.
    pub fn abs(self) -> Amount {
        Amount {
            value: self.value.abs(),
            ..self
        }
    }

    /// The smaller of two amounts.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`].
    pub fn min(self, other: Amount) -> Result<Amount, MoneyError> {
        Ok(if self.exceeds(other)? { other } else { self })
    }

    /// Whether this is more than another.
    ///
    /// # Errors
    /// [`MoneyError::CurrencyMismatch`].
    pub fn exceeds(self, other: Amount) -> Result<bool, MoneyError> {
        self.same_currency(other)?;
        Ok(self.value > other.value)
    }

    fn same_currency(self, other: Amount) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(MoneyError::CurrencyMismatch {
                expected: self.currency,
                got: other.currency,
            })
        }
    }
}

/// Amounts of one currency are ordered by value; those of two are not ordered.
impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Amount) -> Option<Ordering> {
        (self.currency == other.currency).then(|| self.value.cmp(&other.value))
    }
}

/// The canonical text: exactly the decimals of the currency, and no code.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Amounts that fit 64 bits are written digit by digit: a record holds some twenty, and decimals print slowly.
        let (Ok(mut units), None) = (u64::try_from(self.value.mantissa().unsigned_abs()), f.precision()) else {
            return fmt::Display::fmt(&self.value, f);
        };
        let mut text = [b'0'; 24];
        let mut start = text.len();
        let scale = self.value.scale();
        let mut put = |byte: u8| {
            start -= 1;
            text[start] = byte;
        };
        for place in 0.. {
            if place == scale && place > 0 {
                put(b'.');
            }
            put(b'0' + u8::try_from(units % 10).unwrap_or_default());
            units /= 10;
            if units == 0 && place >= scale {
                break;
            }
        }
        let digits = std::str::from_utf8(&text[start..]).map_err(|_| fmt::Error)?;
        f.pad_integral(!self.is_negative(), "", digits)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.value, self.currency)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn currency(code: &str) -> Currency {
        Currency::parse(code).unwrap()
    }

    fn cny(text: &str) -> Amount {
        Amount::parse(text, currency("CNY")).unwrap()
    }

    #[test]
    fn reads_plain_numbers() {
        for (text, printed) in [
            ("0", "0.00"),
            ("0.5", "0.50"),
            ("12.3", "12.30"),
            ("200.00", "200.00"),
            ("7", "7.00"),
        ] {
            assert_eq!(cny(text).to_string(), printed);
        }
        assert_eq!(Amount::parse("500", currency("JPY")).unwrap().to_string(), "500");
        assert_eq!(Amount::parse("1.2345", currency("CLF")).unwrap().to_string(), "1.2345");
        assert_eq!(cny(&"9".repeat(18)).to_string(), "9".repeat(18) + ".00");
    }

    #[test]
    fn refuses_what_is_no_plain_number() {
        let texts =
            "|.|1.|.5|+1|-1|-0| 1|1 |1 000|1,00|1_000|1e3|1E3|NaN|inf|Infinity|0x10|007|00|00.5|1.2.3|1.|١|１|--1|½";
        for text in texts.split('|') {
            assert_eq!(
                Amount::parse(text, currency("CNY")),
                Err(MoneyError::NotANumber),
                "{text:?}"
            );
        }
    }

    #[test]
    fn refuses_too_many_decimals_and_digits() {
        let too_many = |max| Err(MoneyError::TooManyDecimals { max });
        assert_eq!(Amount::parse("1.000", currency("CNY")), too_many(2));
        assert_eq!(Amount::parse("1.0", currency("JPY")), too_many(0));
        assert_eq!(
            Amount::parse(&format!("0.{}", "0".repeat(300)), currency("CNY")),
            too_many(2)
        );
        assert_eq!(
            Amount::parse(&"1".repeat(19), currency("CNY")),
            Err(MoneyError::TooLarge)
        );
        assert_eq!(
            Amount::parse(&"1".repeat(30), currency("CNY")),
            Err(MoneyError::TooLarge)
        );
        assert_eq!(
            Amount::parse_positive("0.00", currency("CNY")),
            Err(MoneyError::NotPositive)
        );
        assert_eq!(Amount::parse_positive("0.01", currency("CNY")), Ok(cny("0.01")));
    }

    #[test]
    fn takes_numbers_of_the_database() {
        let from = |text: &str| Amount::from_decimal(text.parse().unwrap(), currency("CNY"));
        assert_eq!(from("-12.3000").unwrap().to_string(), "-12.30");
        assert_eq!(from("-0").unwrap().to_string(), "0.00");
        assert_eq!(from("0.001"), Err(MoneyError::TooManyDecimals { max: 2 }));
        assert_eq!(from("-1000000000000000000"), Err(MoneyError::TooLarge));
        assert_eq!(
            Amount::from_decimal(Decimal::MAX, currency("CNY")),
            Err(MoneyError::TooLarge)
        );
    }

    #[test]
    fn arithmetic_is_checked() {
        let largest = cny(&("9".repeat(18) + ".99"));
        assert_eq!(largest.checked_add(cny("0.01")), Err(MoneyError::Overflow));
        assert_eq!(largest.negated().checked_sub(cny("0.01")), Err(MoneyError::Overflow));
        assert_eq!(largest.checked_mul(2), Err(MoneyError::Overflow));
        assert_eq!(largest.to_string(), largest.value().to_string());
        assert_eq!(largest.checked_mul(u32::MAX), Err(MoneyError::Overflow));
        assert_eq!(cny("19.90").checked_mul(3), Ok(cny("59.70")));
        assert_eq!(cny("1").checked_sub(cny("2.50")).unwrap().to_string(), "-1.50");
        assert_eq!(cny("0").negated().to_string(), "0.00");
        assert_eq!(Amount::sum([], currency("CNY")), Ok(cny("0")));
    }

    #[test]
    fn currencies_do_not_mix() {
        let yen = Amount::parse("1", currency("JPY")).unwrap();
        let mismatch = MoneyError::CurrencyMismatch {
            expected: currency("CNY"),
            got: currency("JPY"),
        };
        assert_eq!(cny("1").checked_add(yen), Err(mismatch.clone()));
        assert_eq!(cny("1").checked_sub(yen), Err(mismatch.clone()));
        assert_eq!(cny("1").min(yen), Err(mismatch.clone()));
        assert_eq!(Amount::sum([cny("1"), yen], currency("CNY")), Err(mismatch));
        assert_ne!(cny("1"), yen);
        assert_eq!(cny("1").partial_cmp(&yen), None);
    }

    fn any_amount() -> impl Strategy<Value = Amount> {
        (
            prop::sample::select(vec!["CNY", "JPY", "KWD", "CLF"]),
            -(10_i128.pow(17))..10_i128.pow(17),
        )
            .prop_map(|(code, units)| Amount::from_units(units, currency(code)).unwrap())
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(amount in any_amount()) {
            prop_assert_eq!(amount.to_string(), amount.value().to_string());
            prop_assert_eq!(format!("{amount:>12}"), format!("{:>12}", amount.value()));
            let amount = amount.abs();
            prop_assert_eq!(Amount::parse(&amount.to_string(), amount.currency()), Ok(amount));
            prop_assert_eq!(Amount::from_decimal(amount.value(), amount.currency()), Ok(amount));
            prop_assert_eq!(amount.value().scale(), amount.currency().exponent());
        }

        #[test]
        fn no_text_panics_and_every_amount_is_canonical(text in "\\PC{0,40}|[0-9]{0,22}\\.?[0-9]{0,6}") {
            if let Ok(amount) = Amount::parse(&text, currency("CNY")) {
                prop_assert!(!amount.is_negative());
                prop_assert_eq!(Amount::parse(&amount.to_string(), amount.currency()), Ok(amount));
            }
        }

        #[test]
        fn adding_and_taking_away_conserve(a in any_amount(), units in -(10_i128.pow(17))..10_i128.pow(17)) {
            let b = Amount::from_units(units, a.currency()).unwrap();
            let sum = a.checked_add(b).unwrap();
            prop_assert_eq!(b.checked_add(a), Ok(sum));
            prop_assert_eq!(sum.checked_sub(b), Ok(a));
            prop_assert_eq!(sum.units(), a.units() + b.units());
            prop_assert_eq!(a.exceeds(b).unwrap(), a > b);
            prop_assert_eq!(a.min(b).unwrap().units(), a.units().min(b.units()));
        }

        #[test]
        fn times_a_quantity_is_adding_so_often(a in any_amount(), quantity in 0_u32..20) {
            let added = Amount::sum(std::iter::repeat_n(a, quantity as usize), a.currency());
            prop_assert_eq!(a.checked_mul(quantity), added);
        }
    }
}
