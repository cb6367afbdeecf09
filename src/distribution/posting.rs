//! What a distribution debits and credits.

use crate::{ids::AccountNo, ledger::Posting, money::Amount};

/// One part of a credit: Dr the account the money is in (the gateway's clearing account, or suspense), Cr the account its rule
/// names.
pub(super) fn part(clearing: AccountNo, to: AccountNo, amount: Amount) -> Posting {
    Posting::new(clearing, to, amount)
}
