//! What refunds and release payouts debit and credit.

use crate::{
    custody::Detainee,
    ids::AccountNo,
    ledger::{Posting, chart},
    money::Amount,
};

/// Set aside for a payer: Dr available, Cr refunds in transit.
pub(super) fn requested(detainee: &Detainee, amount: Amount) -> Posting {
    Posting::new(detainee.available(), chart::REFUNDS_IN_TRANSIT, amount)
}

/// Set aside for a payer out of suspense: Dr suspense, Cr refunds in transit.
pub(super) fn requested_from_suspense(amount: Amount) -> Posting {
    Posting::new(chart::SUSPENSE, chart::REFUNDS_IN_TRANSIT, amount)
}

/// The gateway could not pay what came out of suspense: Dr refunds in transit, Cr suspense.
pub(super) fn failed_to_suspense(amount: Amount) -> Posting {
    Posting::new(chart::REFUNDS_IN_TRANSIT, chart::SUSPENSE, amount)
}

/// The gateway paid it: Dr refunds in transit, Cr its clearing account.
pub(super) fn succeeded(clearing: AccountNo, amount: Amount) -> Posting {
    Posting::new(chart::REFUNDS_IN_TRANSIT, clearing, amount)
}

/// The gateway paid it to the center's bank account, and the payer has nothing yet: Dr bank, Cr clearing.
pub(super) fn paid_to_center(clearing: AccountNo, amount: Amount) -> Posting {
    Posting::new(chart::BANK, clearing, amount)
}

/// The bank paid it: Dr refunds in transit, Cr bank.
pub(super) fn paid_by_bank(amount: Amount) -> Posting {
    Posting::new(chart::REFUNDS_IN_TRANSIT, chart::BANK, amount)
}

/// The gateway could not pay it: Dr refunds in transit, Cr available.
pub(super) fn failed(detainee: &Detainee, amount: Amount) -> Posting {
    Posting::new(chart::REFUNDS_IN_TRANSIT, detainee.available(), amount)
}

/// A leaving person's money set aside: Dr each account that has any, Cr release payouts in transit.
pub(super) fn opened(balances: &[(AccountNo, Amount)]) -> Vec<Posting> {
    balances
        .iter()
        .filter(|(_, amount)| !amount.is_zero())
        .map(|(account, amount)| Posting::new(*account, chart::RELEASES_IN_TRANSIT, *amount))
        .collect()
}

/// Paid out: Dr release payouts in transit, Cr bank.
pub(super) fn paid_out(amount: Amount) -> Posting {
    Posting::new(chart::RELEASES_IN_TRANSIT, chart::BANK, amount)
}

/// Not paid out: what was set aside goes back, account by account.
pub(super) fn put_back(from: AccountNo, amount: Amount) -> Posting {
    Posting::new(chart::RELEASES_IN_TRANSIT, from, amount)
}
