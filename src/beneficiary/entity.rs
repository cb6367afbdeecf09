//! Whose a bank account is, and what of it may be seen, pure.

use std::fmt;

use time::OffsetDateTime;

use crate::ids::{DetaineeId, PayerId};

/// Whose account it is. Shown as `payers/P1` or `detainees/D1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Somebody who remits.
    Payer(PayerId),
    /// Somebody who leaves.
    Detainee(DetaineeId),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Payer(id) => write!(f, "payers/{id}"),
            Owner::Detainee(id) => write!(f, "detainees/{id}"),
        }
    }
}

/// An account that was verified, without its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BankAccount {
    /// 1, 2, 3 …
    pub version: i64,
    /// Whose it is, as the bank writes it.
    pub holder: String,
    /// Its number, all but the last four characters masked.
    pub masked: String,
    /// The bank's code in the clearing system.
    pub bank_code: String,
    /// The bank's name.
    pub bank_name: String,
    /// What verified it.
    pub approval: i64,
    /// When.
    pub approved_at: OffsetDateTime,
}

/// Whether an account's holder is one of the names that somebody is registered under: blanks and case do not matter.
pub(super) fn is_holder(holder: &str, names: &[String]) -> bool {
    let plain = |name: &str| -> String {
        let chars = name.chars().filter(|char| !char.is_whitespace() && *char != '·');
        chars.flat_map(char::to_lowercase).collect()
    };
    let holder = plain(holder);
    !holder.is_empty() && names.iter().any(|name| plain(name) == holder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_is_who_was_registered() {
        let names = ["Sun Li", "孙丽", "阿依古丽买买提", ""].map(ToOwned::to_owned);
        for holder in ["Sun  LI", "孙丽", "阿依古丽·买买提"] {
            assert!(is_holder(holder, &names), "{holder}");
        }
        for other in ["", " ", "Sun", "孙丽丽", "Li Sun"] {
            assert!(!is_holder(other, &names), "{other}");
        }
    }
}
