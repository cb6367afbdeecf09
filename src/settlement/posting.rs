//! What settlements debit and credit.

use crate::{
    commissary::Vendor,
    ledger::{Posting, chart},
    money::Amount,
};

/// What is owed is on its way: Dr payable, Cr in transit.
pub(super) fn closed(vendor: &Vendor, total: Amount) -> Posting {
    Posting::new(vendor.payable_no, vendor.transit_no, total)
}

/// The bank paid it: Dr in transit, Cr bank.
pub(super) fn paid(vendor: &Vendor, total: Amount) -> Posting {
    Posting::new(vendor.transit_no, chart::BANK, total)
}

/// The bank could not pay it: Dr in transit, Cr payable. It is owed again, and the next settlement finds it.
pub(super) fn failed(vendor: &Vendor, total: Amount) -> Posting {
    Posting::new(vendor.transit_no, vendor.payable_no, total)
}
