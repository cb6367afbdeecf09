//! A currency of ISO 4217 with its code and the number of its decimals.

use std::fmt;

use super::MoneyError;

/// The most decimals that a currency may have here; the ledger's tables hold four.
pub const MAX_EXPONENT: u32 = 4;

/// A currency in which accounts can be kept. Its list and exponents are those of ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Currency(iso_currency::Currency);

impl Currency {
    /// Reads a code of three capital letters.
    ///
    /// # Errors
    /// [`MoneyError::UnknownCurrency`] for anything else, and for codes without decimals of their own (such as `XAU`) or
    /// with more than [`MAX_EXPONENT`] of them.
    pub fn parse(code: &str) -> Result<Currency, MoneyError> {
        let currency = iso_currency::Currency::from_code(code).ok_or(MoneyError::UnknownCurrency)?;
        // The library is asked again because it might be lenient about letter case one day; the ledger's text is not.
        let exponent = currency.exponent().map(u32::from);
        if currency.code() != code || exponent.is_none_or(|exponent| exponent > MAX_EXPONENT) {
            return Err(MoneyError::UnknownCurrency);
        }
        Ok(Currency(currency))
    }

    /// The code of three capital letters.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// The number of decimals, 0 to [`MAX_EXPONENT`].
    pub fn exponent(self) -> u32 {
        self.0.exponent().map_or(0, u32::from)
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_codes_and_exponents() {
        for (code, exponent) in [("CNY", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("USD", 2)] {
            let currency = Currency::parse(code).unwrap();
            assert_eq!((currency.code(), currency.exponent()), (code, exponent));
            assert_eq!(currency.to_string(), code);
        }
    }

    #[test]
    fn refuses_what_is_no_currency() {
        for code in [
            "", "cny", "Cny", " CNY", "CNY ", "RMB", "XAU", "XXX", "XTS", "CNYY", "￥",
        ] {
            assert_eq!(Currency::parse(code), Err(MoneyError::UnknownCurrency), "{code:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_printed_is_read_again(code in "[A-Z]{3}") {
            if let Ok(currency) = Currency::parse(&code) {
                proptest::prop_assert_eq!(Currency::parse(currency.code()), Ok(currency));
                proptest::prop_assert!(currency.exponent() <= MAX_EXPONENT);
            }
        }
    }
}
