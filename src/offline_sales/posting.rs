//! What selling without the network debits and credits.

use crate::{
    ids::AccountNo,
    ledger::{Posting, chart},
    money::Amount,
};

/// Money set aside for a terminal: Dr the detainee's available account, Cr what is held.
pub(super) fn reserved(available: AccountNo, held: AccountNo, amount: Amount) -> Posting {
    Posting::new(available, held, amount)
}

/// What was not sold: Dr what is held, Cr the detainee's available account.
pub(super) fn released(held: AccountNo, available: AccountNo, amount: Amount) -> Posting {
    Posting::new(held, available, amount)
}

/// Goods sold without the network: Dr where the money is, held or available, Cr what is owed to each vendor.
pub(super) fn sold(from: AccountNo, vendors: &[(AccountNo, Amount)]) -> Vec<Posting> {
    vendors
        .iter()
        .map(|(payable, amount)| Posting::new(from, *payable, *amount))
        .collect()
}

/// Goods that nobody pays: Dr write-offs, Cr what is owed to each vendor.
pub(super) fn written_off(vendors: &[(AccountNo, Amount)]) -> Vec<Posting> {
    sold(chart::WRITE_OFFS, vendors)
}
