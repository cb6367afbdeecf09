//! What the ends of stays debit and credit.

use crate::{
    ids::AccountNo,
    ledger::{Posting, chart},
    money::Amount,
};

fn each(from: &[(AccountNo, Amount)], to: AccountNo) -> Vec<Posting> {
    from.iter()
        .filter(|(_, amount)| amount.is_positive())
        .map(|(account, amount)| Posting::new(*account, to, *amount))
        .collect()
}

/// A payout is opened: Dr each account that has something, Cr release payouts in transit.
pub(super) fn opened(from: &[(AccountNo, Amount)]) -> Vec<Posting> {
    each(from, chart::RELEASES_IN_TRANSIT)
}

/// A part left the bank: Dr release payouts in transit, Cr bank.
pub(super) fn paid(amount: Amount) -> Posting {
    Posting::new(chart::RELEASES_IN_TRANSIT, chart::BANK, amount)
}

/// The bank could not pay a part: Dr release payouts in transit, Cr unclaimed.
pub(super) fn came_back(amount: Amount) -> Posting {
    Posting::new(chart::RELEASES_IN_TRANSIT, chart::UNCLAIMED, amount)
}

/// Somebody left and did not collect: Dr each account that has something, Cr unclaimed.
pub(super) fn kept(from: &[(AccountNo, Amount)]) -> Vec<Posting> {
    each(from, chart::UNCLAIMED)
}

/// The treasury is paid: Dr unclaimed, Cr bank.
pub(super) fn to_treasury(amount: Amount) -> Posting {
    Posting::new(chart::UNCLAIMED, chart::BANK, amount)
}

/// One booking's money becomes the other's: Dr each of its accounts, Cr the same account of the other.
pub(super) fn merged(from: &[(AccountNo, Amount)], to: [AccountNo; 4]) -> Vec<Posting> {
    from.iter()
        .zip(to)
        .filter(|((_, amount), _)| amount.is_positive())
        .map(|((account, amount), to)| Posting::new(*account, to, *amount))
        .collect()
}
