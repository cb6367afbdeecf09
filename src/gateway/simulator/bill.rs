//! The simulated gateways' bills: what happened on a day, the fee, and the mistakes planted.

use rust_decimal::{Decimal, RoundingStrategy};
use time::{Date, UtcOffset};

use super::{
    book::{Book, Face, Refusal},
    control::BillEntry,
};
use crate::{
    gateway::{
        bill::{BillKind, BillRow},
        webhook::wire::RefundOutcome,
    },
    money::Amount,
};

/// Of a payment, in thousandths: 0.6 %.
const FEE_PER_MILLE: i64 = 6;

/// More mistakes than a test plants; the oldest is forgotten first.
const EDITS_MAX: usize = 10_000;

/// The fee on a payment: 0.6 %, rounded half up to the currency's unit, as WeChat Pay and Alipay count it.
pub(super) fn fee(amount: Amount) -> Result<Amount, String> {
    let exact = amount
        .value()
        .checked_mul(Decimal::new(FEE_PER_MILLE, 3))
        .ok_or_else(|| "the fee is out of range".to_owned())?;
    let fee = exact.round_dp_with_strategy(amount.currency().exponent(), RoundingStrategy::MidpointAwayFromZero);
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

impl Book {
    /// The bill of one date at the gateway's offset, of one kind of orders, with the mistakes planted in it.
    pub(super) fn bill(
        &self,
        date: Date,
        offset: UtcOffset,
        is_of: fn(&Face) -> bool,
    ) -> Result<Vec<BillRow>, Refusal> {
        let mut rows = Vec::new();
        for order in self.orders().filter(|order| is_of(&order.face)) {
            for paid in order.payments() {
                rows.push(BillRow {
                    row: 0,
                    kind: BillKind::Payment,
                    order_number: order.request.order_number.clone(),
                    refund_number: None,
                    gateway_id: paid.gateway_transaction.clone(),
                    amount: paid.amount,
                    fee: fee(paid.amount).map_err(Refusal::Invalid)?,
                    time: paid.paid_at,
                });
            }
        }
        for refund in self.refunds() {
            let RefundOutcome::Succeeded { gateway_refund, at } = &refund.outcome else {
                continue;
            };
            let face = &self.order(&refund.request.order_number)?.face;
            if !is_of(face) {
                continue;
            }
            rows.push(BillRow {
                row: 0,
                kind: BillKind::Refund,
                order_number: refund.request.order_number.clone(),
                refund_number: Some(refund.request.refund_number.clone()),
                gateway_id: gateway_refund.clone(),
                amount: refund.amount,
                fee: Amount::zero(refund.amount.currency()),
                // WeChat Pay bills a refund on the day on which it was accepted.
                time: if matches!(face, Face::WechatPay(_)) {
                    refund.requested_at
                } else {
                    *at
                },
            });
        }
        let mut rows = self.edits.apply(rows);
        for row in &mut rows {
            row.time = row.time.to_offset(offset);
        }
        rows.retain(|row| row.time.date() == date);
        rows.sort_by(|a, b| a.time.cmp(&b.time).then_with(|| a.gateway_id.cmp(&b.gateway_id)));
        for (index, row) in rows.iter_mut().enumerate() {
            row.row = index + 1;
        }
        Ok(rows)
    }
}
