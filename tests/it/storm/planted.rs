//! That the comparison can fail: errors planted on either side are found.

use std::panic::{AssertUnwindSafe, catch_unwind};

use custody_ledger::{
    gateway::{
        simulator::books::{BookedOrder, BookedRefund},
        webhook::wire::{MoneyBody, OrderState, PaidBody, RefundOutcome},
    },
    proto::{
        Refund, Remittance, RemittanceLeg, SuspendedPayment, WorkItem, WorkKind, refund::State as RefundState,
        remittance::State,
    },
};
use time::macros::datetime;

use super::{
    comparison::{Reckoned, compare, returned},
    sides::Sides,
};
use crate::{whole_service::money, world::cny};

const NAME: &str = "centers/C1/remittances/R1";

fn body(amount: &str) -> MoneyBody {
    MoneyBody::from(cny(amount))
}

fn payment(gateway_transaction: &str, amount: &str) -> PaidBody {
    PaidBody {
        gateway_transaction: gateway_transaction.into(),
        amount: body(amount),
        paid_at: datetime!(2031-05-06 02:00 UTC),
    }
}

fn leg(state: State, amount: &str) -> RemittanceLeg {
    RemittanceLeg {
        state: state.into(),
        amount: money(amount),
        ..RemittanceLeg::default()
    }
}

fn suspended(gateway_transaction: &str, amount: &str, left: &str) -> SuspendedPayment {
    SuspendedPayment {
        transaction: format!("centers/C1/transactions/{gateway_transaction}"),
        gateway_transaction: gateway_transaction.into(),
        amount: money(amount),
        left: money(left),
        reason: "DUPLICATE_PAYMENT".into(),
        ..SuspendedPayment::default()
    }
}

fn item(subject: &str, kind: WorkKind) -> WorkItem {
    WorkItem {
        subject: subject.into(),
        kind: kind.into(),
        ..WorkItem::default()
    }
}

/// An order of 10.00 that was paid twice: the first payment is credited, 4.00 of it were refunded; the second is in suspense.
struct Case {
    sides: Sides,
    items: Vec<WorkItem>,
}

impl Case {
    fn sound() -> Case {
        let order = BookedOrder {
            order_number: "1-R1".into(),
            state: OrderState::Paid,
            amount: body("10.00"),
            payments: vec![payment("1", "10.00"), payment("2", "10.00")],
        };
        let refund = BookedRefund {
            refund_number: "F1-3".into(),
            order_number: "1-R1".into(),
            gateway_transaction: "1".into(),
            gateway_refund: "r1".into(),
            amount: body("4.00"),
            outcome: RefundOutcome::Succeeded {
                gateway_refund: "r1".into(),
                at: datetime!(2031-05-06 03:00 UTC),
            },
            abnormal: false,
        };
        let remittance = Remittance {
            name: NAME.into(),
            order_number: "1-R1".into(),
            channel: "webhook".into(),
            amount: money("10.00"),
            state: State::Credited.into(),
            gateway_transaction: "1".into(),
            legs: vec![leg(State::Paid, "10.00"), leg(State::Credited, "10.00")],
            suspended_payments: vec![suspended("2", "10.00", "10.00")],
            ..Remittance::default()
        };
        let told = Refund {
            refund_number: "F1-3".into(),
            amount: money("4.00"),
            state: RefundState::Succeeded.into(),
            ..Refund::default()
        };
        let mut sides = Sides::default();
        sides.orders[0].insert(order.order_number.clone(), order);
        sides.booked_refunds[0].push(refund);
        (sides.remittances, sides.refunds) = (vec![vec![remittance]], vec![vec![told]]);
        let items = vec![item("centers/C1/transactions/2", WorkKind::SuspendedPayment)];
        Case { sides, items }
    }

    fn with(change: impl FnOnce(&mut Case)) -> Case {
        let mut case = Case::sound();
        change(&mut case);
        case
    }

    fn remittance(&mut self) -> &mut Remittance {
        &mut self.sides.remittances[0][0]
    }

    fn order(&mut self) -> &mut BookedOrder {
        self.sides.orders[0].get_mut("1-R1").unwrap()
    }

    /// Whether the comparison finds nothing wrong.
    fn passes(&self) -> bool {
        let compared = catch_unwind(AssertUnwindSafe(|| {
            let mut reckoned = Reckoned::default();
            for remittance in self.sides.remittances.iter().flatten() {
                compare(&self.sides, remittance, &self.items, &mut reckoned);
            }
            returned(&self.sides, &mut reckoned);
        }));
        compared.is_ok()
    }
}

#[test]
fn the_comparison_finds_what_is_wrong() {
    assert!(Case::sound().passes());
    let planted: [(&str, Case); 15] = [
        (
            "a payment in the ledger twice",
            Case::with(|case| {
                case.remittance()
                    .suspended_payments
                    .push(suspended("2", "10.00", "0.00"));
            }),
        ),
        (
            "credited twice",
            Case::with(|case| case.remittance().legs.push(leg(State::Credited, "10.00"))),
        ),
        (
            "credited, and whole in suspense as well",
            Case::with(|case| {
                case.remittance()
                    .suspended_payments
                    .push(suspended("1", "10.00", "0.00"));
            }),
        ),
        (
            "a lost payment",
            Case::with(|case| case.remittance().suspended_payments.clear()),
        ),
        (
            "a lost credit",
            Case::with(|case| {
                case.remittance().legs.truncate(1);
            }),
        ),
        (
            "nothing at all in the ledger",
            Case::with(|case| {
                let remittance = case.remittance();
                remittance.legs.clear();
                remittance.gateway_transaction.clear();
                remittance.suspended_payments.clear();
                remittance.state = State::Expired.into();
            }),
        ),
        (
            "a cent too little",
            Case::with(|case| case.remittance().legs[1].amount = money("9.99")),
        ),
        (
            "a cent too much",
            Case::with(|case| {
                case.remittance().suspended_payments[0].amount = money("10.01");
            }),
        ),
        (
            "a payment that the gateway has not",
            Case::with(|case| drop(case.order().payments.pop())),
        ),
        (
            "another payment",
            Case::with(|case| case.order().payments[1].gateway_transaction = "3".into()),
        ),
        ("in suspense, and nobody's work", Case::with(|case| case.items.clear())),
        (
            "work without money",
            Case::with(|case| {
                case.remittance().suspended_payments[0].left = money("0.00");
            }),
        ),
        (
            "another amount was paid, and nobody is told",
            Case::with(|case| {
                case.order().payments.push(payment("3", "9.00"));
            }),
        ),
        (
            "a refund that the gateway has not",
            Case::with(|case| case.sides.booked_refunds[0].clear()),
        ),
        (
            "more went back than was paid",
            Case::with(|case| {
                case.sides.booked_refunds[0][0].amount = body("10.01");
                case.sides.refunds[0][0].amount = money("10.01");
            }),
        ),
    ];
    for (what, case) in planted {
        assert!(!case.passes(), "not found: {what}");
    }
}
