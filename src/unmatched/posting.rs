//! What money without an order debits and credits. The parts of a credit are the distribution's business.

use crate::{
    ids::AccountNo,
    ledger::{Posting, chart},
    money::Amount,
};

/// It came in: Dr bank, or the gateway's clearing account, Cr suspense.
pub(super) fn received(from: AccountNo, amount: Amount) -> Posting {
    Posting::new(from, chart::SUSPENSE, amount)
}

/// It goes back by the bank: Dr suspense, Cr bank.
pub(super) fn returned(amount: Amount) -> Posting {
    Posting::new(chart::SUSPENSE, chart::BANK, amount)
}
