//! What the commissary debits and credits.

use crate::{
    ids::AccountNo,
    ledger::{Posting, chart},
    money::Amount,
};

/// Goods sold: Dr the detainee's available account, Cr what is owed to the vendor.
pub(super) fn sold(available: AccountNo, payable: AccountNo, amount: Amount) -> Posting {
    Posting::new(available, payable, amount)
}

/// Goods that came back: Dr what is owed to the vendor, Cr the detainee's available account.
pub(super) fn came_back(payable: AccountNo, available: AccountNo, amount: Amount) -> Posting {
    Posting::new(payable, available, amount)
}

/// Goods granted: Dr grants, Cr what is owed to the vendor.
pub(super) fn granted(payable: AccountNo, amount: Amount) -> Posting {
    Posting::new(chart::GRANTS, payable, amount)
}

/// A grant taken back: Dr what is owed to the vendor, Cr grants.
pub(super) fn grant_cancelled(payable: AccountNo, amount: Amount) -> Posting {
    Posting::new(payable, chart::GRANTS, amount)
}
