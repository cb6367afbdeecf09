//! What the gateway's fees debit and credit.

use crate::{
    ids::AccountNo,
    ledger::{Posting, chart},
    money::Amount,
};

/// The gateway kept them from what it holds for us: Dr gateway fees, Cr the channel's clearing account.
pub(super) fn fees(clearing: AccountNo, total: Amount) -> Posting {
    Posting::new(chart::GATEWAY_FEES, clearing, total)
}
