//! The comparison of both sides, payment by payment and refund by refund.

use std::collections::BTreeMap;

use custody_ledger::{
    money::Amount,
    proto::{Remittance, WorkItem, WorkKind, refund::State as RefundState, remittance::State},
};

use super::{
    house::CHANNELS,
    sides::{Sides, amount, known, sum},
};
use crate::world::cny;

/// How much there was of what.
#[derive(Debug, Default)]
pub struct Reckoned {
    pub remittances: usize,
    pub unpaid: usize,
    pub payments: usize,
    pub credited: usize,
    pub in_suspense: usize,
    pub doubles: usize,
    pub held: usize,
    pub contradictions: usize,
    pub refunded: usize,
    pub refunds_failed: usize,
    pub cancelled: usize,
    /// Payments that nobody told, neither by notification nor by query, and that stand in a bill.
    pub found_in_bills: usize,
}

impl Reckoned {
    /// What never happened, of what happens in every storm, whatever overtakes what.
    pub fn lacking(&self) -> Vec<&'static str> {
        let counted = [
            ("unpaid", self.unpaid),
            ("credited", self.credited),
            ("in suspense", self.in_suspense),
            ("paid twice", self.doubles),
            ("held", self.held),
            ("contradictions", self.contradictions),
            ("refunded", self.refunded),
            ("cancelled", self.cancelled),
            ("found in bills", self.found_in_bills),
        ];
        let never = counted.into_iter().filter(|(_, count)| *count == 0);
        never.map(|(what, _)| what).collect()
    }
}

/// Each payment is in the ledger once: credited, or in suspense; and what is in suspense is somebody's work, with a deadline.
pub fn compare(sides: &Sides, remittance: &Remittance, items: &[WorkItem], reckoned: &mut Reckoned) {
    let (paid, known) = (sides.paid(remittance), known(remittance));
    assert!(paid.keys().eq(known.keys()), "{paid:?}: {remittance:#?}");
    assert!(known.values().all(|count| *count == 1), "{remittance:#?}");
    let credits = remittance.legs.iter().filter(|leg| leg.state() == State::Credited);
    let credits: Vec<Amount> = credits.map(|leg| amount(&leg.amount)).collect();
    assert!(credits.len() <= 1, "{remittance:#?}");
    let suspended = remittance.suspended_payments.iter();
    let booked = sum(credits
        .iter()
        .copied()
        .chain(suspended.map(|payment| amount(&payment.amount))));
    assert_eq!(booked, sum(paid.values().copied()), "{remittance:#?}");

    let is_about = |item: &&WorkItem, subject: &str| item.subject == subject;
    for payment in &remittance.suspended_payments {
        let item = items.iter().find(|item| is_about(item, &payment.transaction));
        assert_eq!(
            item.is_some(),
            amount(&payment.left).is_positive(),
            "{payment:?}: {item:?}"
        );
        reckoned.in_suspense += usize::from(item.is_some());
        reckoned.doubles += usize::from(payment.reason == "DUPLICATE_PAYMENT");
    }
    if sides.contradicts(remittance) {
        let item = items.iter().find(|item| is_about(item, &remittance.name));
        let item = item.unwrap_or_else(|| panic!("nobody is told of another amount: {remittance:#?}"));
        assert_eq!(item.kind(), WorkKind::Contradiction);
        reckoned.contradictions += 1;
    } else if paid.is_empty() {
        assert!(
            matches!(remittance.state(), State::Expired | State::Failed | State::Cancelled),
            "{remittance:#?}"
        );
        reckoned.unpaid += 1;
        reckoned.cancelled += usize::from(remittance.state() == State::Cancelled);
    }
    reckoned.remittances += 1;
    reckoned.payments += paid.len();
    reckoned.credited += credits.len();
    reckoned.held += usize::from(remittance.state() == State::Held);
}

/// What the ledger says was returned, the gateways returned, and nothing else.
pub fn returned(sides: &Sides, reckoned: &mut Reckoned) {
    let booked = (0..CHANNELS.len()).flat_map(|face| sides.succeeded(face));
    let booked: BTreeMap<&str, Amount> = booked
        .map(|refund| (refund.refund_number.as_str(), cny(&refund.amount.value)))
        .collect();
    let of = |state: RefundState| {
        let all = sides.refunds.iter().flatten();
        all.filter(move |refund| refund.state() == state)
    };
    let told: BTreeMap<&str, Amount> = of(RefundState::Succeeded)
        .map(|refund| (refund.refund_number.as_str(), amount(&refund.amount)))
        .collect();
    assert_eq!(told, booked);
    // No payment went back more than once.
    for face in 0..CHANNELS.len() {
        let mut back: BTreeMap<&str, Amount> = BTreeMap::new();
        for refund in sides.succeeded(face) {
            let sum = back.entry(&refund.gateway_transaction).or_insert(cny("0"));
            *sum = sum.checked_add(cny(&refund.amount.value)).unwrap();
        }
        for paid in sides.orders[face].values().flat_map(|order| &order.payments) {
            let back = back.remove(paid.gateway_transaction.as_str());
            assert!(
                back.is_none_or(|back| back <= cny(&paid.amount.value)),
                "{paid:?}: {back:?}"
            );
        }
        assert!(back.is_empty(), "paid back without a payment: {back:?}");
    }
    reckoned.refunded = told.len();
    reckoned.refunds_failed = of(RefundState::Failed).count();
}
