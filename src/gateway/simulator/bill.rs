//! The simulated gateway's fee, and the mistakes planted in its bill.

use rust_decimal::{Decimal, RoundingStrategy};

use super::control::BillEntry;
use crate::{gateway::bill::BillRow, money::Amount};

/// Of a payment, in thousandths: 0.6 %.
const FEE_PER_MILLE: i64 = 6;

/// More mistakes than a test plants; the oldest is forgotten first.
const EDITS_MAX: usize = 10_000;

/// The fee on a payment: 0.6 %, rounded down to the currency's unit.
pub(super) fn fee(amount: Amount) -> Result<Amount, String> {
    let exact = amount
        .value()
        .checked_mul(Decimal::new(FEE_PER_MILLE, 3))
        .ok_or_else(|| "the fee is out of range".to_owned())?;
    let fee = exact.round_dp_with_strategy(amount.currency().exponent(), RoundingStrategy::ToZero);
    Amount::from_decimal(fee, amount.currency()).map_err(|error| error.to_string())
}

/// One mistake.
#[derive(Debug, Clone)]
pub(super) enum BillEdit {
    /// A row of nothing we know.
    Plant(Box<BillRow>),
    /// A row is missing.
    Drop(BillEntry),
    /// A row tells another amount.
    Change(BillEntry, Amount),
    /// A row stands twice.
    Duplicate(BillEntry),
}

/// All mistakes, applied in the order in which they were planted.
#[derive(Debug, Default)]
pub(super) struct BillEdits(Vec<BillEdit>);

impl BillEdits {
    pub(super) fn push(&mut self, edit: BillEdit) {
        if self.0.len() == EDITS_MAX {
            self.0.remove(0);
        }
        self.0.push(edit);
    }

    pub(super) fn apply(&self, mut rows: Vec<BillRow>) -> Vec<BillRow> {
        for edit in &self.0 {
            match edit {
                BillEdit::Plant(row) => rows.push(row.as_ref().clone()),
                BillEdit::Drop(entry) => rows.retain(|row| !is(row, entry)),
                BillEdit::Change(entry, amount) => {
                    rows.iter_mut()
                        .filter(|row| is(row, entry))
                        .for_each(|row| row.amount = *amount);
                }
                BillEdit::Duplicate(entry) => {
                    let copy = rows.iter().find(|row| is(row, entry)).cloned();
                    rows.extend(copy);
                }
            }
        }
        rows
    }
}

fn is(row: &BillRow, entry: &BillEntry) -> bool {
    row.kind == entry.kind && row.number() == entry.number
}
