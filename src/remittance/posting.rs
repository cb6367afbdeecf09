//! What a remittance debits and credits. The parts of a credit are the distribution's business.

use crate::{
    ids::AccountNo,
    ledger::{Posting, chart},
    money::Amount,
};

/// Paid, but not to be credited: Dr the gateway's clearing account, Cr suspense.
pub(super) fn suspended(clearing: AccountNo, amount: Amount) -> Posting {
    Posting::new(clearing, chart::SUSPENSE, amount)
}
