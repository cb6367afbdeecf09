//! Money: exact amounts in one currency, and their exact division. Pure; it imports nothing of ours.
//!
//! No amount is ever rounded in silence: what does not fit the currency is refused, and what is divided adds up again.

mod allocation;
mod amount;
mod currency;

pub use allocation::{AllocationError, Part, Step, allocate, allocate_by, part_of, percent_of, waterfall};
pub use amount::{Amount, MAX_INTEGER_DIGITS};
pub use currency::{Currency, MAX_EXPONENT};

/// Why a text, a number or an operation does not give an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The text is not plain decimal digits with at most one point between them.
    #[error("not a plain decimal number")]
    NotANumber,
    /// There are more decimals than the currency has.
    #[error("more than {max} decimals")]
    TooManyDecimals {
        /// The number of decimals of the currency.
        max: u32,
    },
    /// Zero or less where a positive amount is needed, or less than zero where none may be.
    #[error("not a positive amount")]
    NotPositive,
    /// More integer digits than an amount may have.
    #[error("more than {MAX_INTEGER_DIGITS} integer digits")]
    TooLarge,
    /// Two currencies met in one operation.
    #[error("the currency is {got}, expected {expected}")]
    CurrencyMismatch {
        /// The currency that was needed.
        expected: Currency,
        /// The currency that came.
        got: Currency,
    },
    /// The text is no ISO 4217 code, or the code of something without a usable minor unit (gold, a test code).
    #[error("not a usable ISO 4217 currency code")]
    UnknownCurrency,
    /// The result of an operation is larger than an amount may be.
    #[error("the result is too large")]
    Overflow,
}
