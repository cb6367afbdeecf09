//! Which fees of a bill are recorded, pure.

use rust_decimal::Decimal;

use crate::{
    gateway::{BillKind, BillRow},
    money::{Amount, MoneyError, part_of},
};

/// Who brings a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BroughtBy {
    /// It was fetched from the gateway, which has kept what it tells.
    Gateway,
    /// Somebody uploads it: one person's word, which takes no more of the clearing account than was agreed.
    Person,
}

/// What is expected of fees, and whose word they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct FeeRule {
    /// The channel's rate, if it was told.
    pub rate: Option<Decimal>,
    /// Who brings the bill.
    pub brought_by: BroughtBy,
}

impl FeeRule {
    /// What the gateway was expected to keep of a payment, if the rate is known. What it gives back with a refund is its own rule.
    pub fn expected(&self, row: &BillRow) -> Result<Option<Amount>, MoneyError> {
        let rate = self.rate.filter(|_| row.kind == BillKind::Payment);
        rate.map(|rate| part_of(row.amount, rate)).transpose()
    }

    /// Whether a fee that no bill told before is recorded as the bill tells it.
    pub fn takes(&self, row: &BillRow) -> Result<bool, MoneyError> {
        if self.brought_by == BroughtBy::Gateway || row.fee.is_zero() {
            return Ok(true);
        }
        let Some(rate) = self.rate else {
            return Ok(false);
        };
        let agreed = part_of(row.amount, rate)?;
        Ok(match row.kind {
            BillKind::Payment => row.fee == agreed,
            BillKind::Refund => row.fee == agreed.negated(),
        })
    }
}
