//! What the commissary debits and credits.

use super::orders::Moves;
use crate::{
    custody::room::Standing,
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

/// Goods ordered: Dr the detainee's available account, Cr what is held for orders.
pub(super) fn ordered(of: &Standing, amount: Amount) -> Posting {
    Posting::new(of.available(), of.held(), amount)
}

/// What became of an order. Goods that came, or whose dispute was for the vendor: Dr held, Cr what is owed to each vendor. Goods
/// that have come and are in dispute: Dr what is owed to their vendor, Cr held. What will not come, or is given back: Dr held,
/// Cr available.
pub(super) fn order_changed((available, held): (AccountNo, AccountNo), moves: &Moves) -> Vec<Posting> {
    let captured = moves.captured.iter().map(|(no, sum)| Posting::new(held, *no, *sum));
    let contested = moves.contested.iter().map(|(no, sum)| Posting::new(*no, held, *sum));
    let released = moves.released.is_positive();
    let released = released.then(|| Posting::new(held, available, moves.released));
    captured.chain(contested).chain(released).collect()
}

/// Goods granted: Dr grants, Cr what is owed to the vendor.
pub(super) fn granted(payable: AccountNo, amount: Amount) -> Posting {
    Posting::new(chart::GRANTS, payable, amount)
}

/// A grant taken back: Dr what is owed to the vendor, Cr grants.
pub(super) fn grant_cancelled(payable: AccountNo, amount: Amount) -> Posting {
    Posting::new(payable, chart::GRANTS, amount)
}
