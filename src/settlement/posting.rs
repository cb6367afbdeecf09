//! What settlements debit and credit.

use crate::{
    commissary::Vendor,
    ledger::{Posting, chart},
    money::Amount,
};

/// What is owed is on its way, less what the center keeps: Dr payable, Cr income; Dr payable, Cr in transit. Commission that
/// goes back to the vendor comes first: Dr income, Cr payable.
pub(super) fn closed(vendor: &Vendor, commission: Amount, total: Amount) -> Vec<Posting> {
    let mut postings = Vec::with_capacity(2);
    if commission.is_positive() {
        postings.push(Posting::new(vendor.payable_no, chart::OTHER_INCOME, commission));
    } else if commission.is_negative() {
        postings.push(Posting::new(chart::OTHER_INCOME, vendor.payable_no, commission.abs()));
    }
    postings.push(Posting::new(vendor.payable_no, vendor.transit_no, total));
    postings
}

/// The bank paid it: Dr in transit, Cr bank.
pub(super) fn paid(vendor: &Vendor, total: Amount) -> Posting {
    Posting::new(vendor.transit_no, chart::BANK, total)
}

/// The bank could not pay it: Dr in transit, Cr payable. It is owed again, and the next settlement finds it.
pub(super) fn failed(vendor: &Vendor, total: Amount) -> Posting {
    Posting::new(vendor.transit_no, vendor.payable_no, total)
}
