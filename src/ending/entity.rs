//! Purposes and states of payouts, and when a year is over, pure.

use time::{Duration, OffsetDateTime};

use crate::{
    ids::{DetaineeId, Seq},
    money::{Amount, Currency, MoneyError},
    proto::JournalRecord,
};

/// How long money waits for whoever is to have it before the treasury gets it, in days.
pub const YEAR_DAYS: i32 = 365;
/// Most parts of one payout.
pub const PARTS_MAX: usize = 10;

/// Whom a payout is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// A person who leaves.
    Release,
    /// The heirs of a person who died.
    Heirs,
    /// Whoever claims what was not collected.
    Claim,
}

impl Purpose {
    const ALL: [Purpose; 3] = [Purpose::Release, Purpose::Heirs, Purpose::Claim];

    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            Purpose::Release => "RELEASE",
            Purpose::Heirs => "HEIRS",
            Purpose::Claim => "CLAIM",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<Purpose> {
        Purpose::ALL.into_iter().find(|purpose| purpose.name() == name)
    }
}

/// How a part of a payout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartEnd {
    /// It left the bank.
    Paid,
    /// The bank could not pay it.
    Failed,
}

impl PartEnd {
    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            PartEnd::Paid => "PAID",
            PartEnd::Failed => "FAILED",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<PartEnd> {
        [PartEnd::Paid, PartEnd::Failed]
            .into_iter()
            .find(|end| end.name() == name)
    }
}

/// One part of a payout, as it is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// How much, above zero.
    pub amount: Amount,
    /// Whom it goes to, masked.
    pub payee: String,
    /// Of a payout to heirs, who; empty otherwise.
    pub heir: String,
    /// By what the sealed account is found.
    pub secret: String,
}

/// What all parts come to.
pub fn sum_of(parts: &[Part], currency: Currency) -> Result<Amount, MoneyError> {
    Amount::sum(parts.iter().map(|part| part.amount), currency)
}

/// A payout with the ends of its parts.
#[derive(Debug, Clone)]
pub struct Payout {
    /// The record of the transaction that opened it.
    pub opened: JournalRecord,
    /// Of each part, how it ended and by which transaction, if it did.
    pub ends: Vec<Option<(PartEnd, Seq)>>,
}

/// Where money that was not collected stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SumState {
    /// It waits.
    Waiting,
    /// Claimed.
    Claimed,
    /// With the treasury; it can still be claimed.
    Treasury,
}

impl SumState {
    /// As people read it.
    pub const fn name(self) -> &'static str {
        match self {
            SumState::Waiting => "WAITING",
            SumState::Claimed => "CLAIMED",
            SumState::Treasury => "TREASURY",
        }
    }
}

/// Money that was not collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnclaimedSum {
    /// The transaction that made it so.
    pub seq: Seq,
    /// Whose it is.
    pub detainee: DetaineeId,
    /// How much.
    pub amount: Amount,
    /// Since when.
    pub made_at: OffsetDateTime,
    /// Where it stands.
    pub state: SumState,
}

/// Somebody who inherits; the name is masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heir {
    /// The heir's id.
    pub id: String,
    /// The name, masked.
    pub name_masked: String,
    /// By what the sealed name and number are found.
    pub secret: String,
    /// What they are to the deceased.
    pub relationship: String,
    /// The document that proves it.
    pub document: String,
    /// When it was recorded.
    pub recorded_at: OffsetDateTime,
}

/// When a year from an instant is over.
pub fn year_after(at: OffsetDateTime) -> OffsetDateTime {
    at + Duration::days(i64::from(YEAR_DAYS))
}

/// An account number as people may see it: its last four characters.
pub fn masked_number(number: &str) -> String {
    let chars: Vec<char> = number.chars().collect();
    let shown = if chars.len() > 8 { 4 } else { 0 };
    let tail: String = chars.iter().skip(chars.len().saturating_sub(shown)).collect();
    format!("****{tail}")
}

/// A name as people may see it: its first character.
pub fn masked_name(name: &str) -> String {
    name.trim()
        .chars()
        .next()
        .map_or_else(|| "*".to_owned(), |first| format!("{first}**"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_masked_tells_little() {
        assert_eq!(masked_number("6222020200011234567"), "****4567");
        assert_eq!(masked_number("12345678"), "****");
        assert_eq!(masked_name("张三"), "张**");
        assert_eq!(masked_name(" "), "*");
    }

    #[test]
    fn names_come_back() {
        for purpose in Purpose::ALL {
            assert_eq!(Purpose::from_name(purpose.name()), Some(purpose));
        }
        for end in [PartEnd::Paid, PartEnd::Failed] {
            assert_eq!(PartEnd::from_name(end.name()), Some(end));
        }
    }
}
