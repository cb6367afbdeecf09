//! What distributions and debts debit and credit.
//!
//! What detainees owe is one account of the center, 1201: every part that repays a debt credits it, whatever the debt is for.

use crate::{
    ids::AccountNo,
    ledger::{Posting, chart},
    money::Amount,
};

/// One part of a credit: Dr the account the money is in (the gateway's clearing account, or suspense), Cr the account its rule
/// names.
pub(super) fn part(clearing: AccountNo, to: AccountNo, amount: Amount) -> Posting {
    Posting::new(clearing, to, amount)
}

/// An advance: Dr what detainees owe, Cr available.
pub(super) fn advanced(available: AccountNo, amount: Amount) -> Posting {
    Posting::new(chart::ADVANCES, available, amount)
}

/// A damage: Dr what detainees owe, Cr other income. The center was made poorer by the damage, not by this ledger's money; what
/// it may claim for it is income as soon as it is owed, and what is never paid is written off.
pub(super) fn damaged(amount: Amount) -> Posting {
    Posting::new(chart::ADVANCES, chart::OTHER_INCOME, amount)
}

/// What is still there of a part of a reversed credit: Dr the account that the part went to, Cr suspense.
pub(super) fn taken_back(from: AccountNo, amount: Amount) -> Posting {
    Posting::new(from, chart::SUSPENSE, amount)
}

/// What is not there any more: Dr what detainees owe, Cr suspense. Whoever is to have the money need not wait for the detainee.
pub(super) fn claimed(amount: Amount) -> Posting {
    Posting::new(chart::ADVANCES, chart::SUSPENSE, amount)
}

/// What will never be repaid: Dr write-offs, Cr what detainees owe.
pub(super) fn written_off(amount: Amount) -> Posting {
    Posting::new(chart::WRITE_OFFS, chart::ADVANCES, amount)
}
