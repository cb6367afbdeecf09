//! What transfers and withholdings debit and credit.
//!
//! What leaves a center goes through its clearing account with other centers (1301), and what arrives comes out of the other's, by
//! one database transaction: over all centers it is nothing at every moment. Who owes whom is paid between their banks, and that is
//! not this ledger's.

use crate::{
    ids::AccountNo,
    ledger::{Posting, chart},
    money::Amount,
};

/// An account's money leaves with the detainee: Dr the account, Cr clearing.
pub(super) fn left(account: AccountNo, amount: Amount) -> Posting {
    Posting::new(account, chart::INTER_CENTER, amount)
}

/// It arrives: Dr clearing, Cr the account.
pub(super) fn arrived(account: AccountNo, amount: Amount) -> Posting {
    Posting::new(chart::INTER_CENTER, account, amount)
}

/// What the detainee owes leaves: Dr clearing, Cr what detainees owe.
pub(super) fn debt_left(amount: Amount) -> Posting {
    Posting::new(chart::INTER_CENTER, chart::ADVANCES, amount)
}

/// It arrives: Dr what detainees owe, Cr clearing.
pub(super) fn debt_arrived(amount: Amount) -> Posting {
    Posting::new(chart::ADVANCES, chart::INTER_CENTER, amount)
}

/// An authority withholds money: Dr available, Cr withheld.
pub(super) fn withheld(available: AccountNo, withheld: AccountNo, amount: Amount) -> Posting {
    Posting::new(available, withheld, amount)
}

/// The authority gets it: Dr withheld, Cr court-ordered sums payable.
pub(super) fn paid(withheld: AccountNo, amount: Amount) -> Posting {
    Posting::new(withheld, chart::COURT_PAYABLE, amount)
}

/// It is available again: Dr withheld, Cr available.
pub(super) fn returned(withheld: AccountNo, available: AccountNo, amount: Amount) -> Posting {
    Posting::new(withheld, available, amount)
}

/// Late money leaves suspense for where the detainee is: Dr suspense, Cr clearing.
pub(super) fn forwarded(amount: Amount) -> Posting {
    Posting::new(chart::SUSPENSE, chart::INTER_CENTER, amount)
}

/// What was brought back waits to be returned to its payer: Dr `from` (clearing, or available in the same center), Cr suspense.
pub(super) fn brought_back(from: AccountNo, amount: Amount) -> Posting {
    Posting::new(from, chart::SUSPENSE, amount)
}
