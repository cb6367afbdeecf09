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

/// The gateway gave them back with a refund: Dr the channel's clearing account, Cr gateway fees.
pub(super) fn fees_given_back(clearing: AccountNo, total: Amount) -> Posting {
    Posting::new(clearing, chart::GATEWAY_FEES, total)
}
