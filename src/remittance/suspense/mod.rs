//! Money in suspense: payments that could not be credited, and what becomes of them.
//!
//! A payment is put there by the transaction that books it ([`CreditRemittance`](super::CreditRemittance)), because nobody may
//! have it (yet), or because its order was paid before. It goes out again to its payer, by a refund, or to the detainee, when
//! they are active again (`credit`).
//!
//! # Invariants
//! 1. What went out of a payment, and is not put back, is at most the payment.
//! 2. It is credited at most once, as it is left and as far as the balance cap lets it in, and only while no refund of it is on
//!    its way.
//! 3. What goes back by itself has a row that tells when (`payment_return`), as long as anything of it is left that did not.

mod credit;
mod room;
mod store;

use std::collections::BTreeMap;

pub(super) use credit::CreditSuspended;
pub(super) use room::RemittanceRoom;
pub use store::DueReturn;
pub(super) use store::{
    DecidedRows, LateRows, MovementRows, PaymentRows, ReturnRows, claim_late, claim_returns, late_again, payments,
    return_again,
};
use time::{Duration, OffsetDateTime, Weekday};

use crate::{
    clock::Zone,
    db::{self, Conn},
    ids::{CenterNo, RemittanceId, Seq},
    ledger::Center,
    money::{Amount, MoneyError},
    proto::{HeldRemittanceWork, SuspendedPaymentWork, SuspenseFacts, WorkFacts, work_facts},
    remittance::screening::{BROUGHT_BACK, DETAINEE_GONE, PAYMENT_COUNT_EXCEEDED},
    work::{self, Closing, NewItem, WorkKind},
};

/// Why a payment is in suspense although the detainee could have it: its order was paid before.
pub const DUPLICATE_PAYMENT: &str = "DUPLICATE_PAYMENT";

/// Why a payment is in suspense although it was credited: the credit was wrong and is taken back.
pub const CREDIT_REVERSED: &str = "CREDIT_REVERSED";

/// How the leg CREDITED tells that the money came from there.
pub(super) const OUT_OF_SUSPENSE: &str = "out of suspense";

/// How the leg CREDITED tells that the money was credited where the detainee is now.
pub const FORWARDED: &str = "FORWARDED";

/// A payment that was put into suspense.
#[derive(Debug, Clone, PartialEq)]
pub struct SuspendedPayment {
    /// The transaction that put it there.
    pub seq: Seq,
    /// The remittance it paid.
    pub remittance: RemittanceId,
    /// The gateway's own number.
    pub gateway_transaction: String,
    /// When it was paid, by the gateway's word.
    pub paid_at: OffsetDateTime,
    /// How much.
    pub amount: Amount,
    /// Why it was not credited.
    pub reason: String,
    /// When it was put there.
    pub recorded_at: OffsetDateTime,
    /// What was taken out of it for refunds.
    pub taken: Amount,
    /// What of that was put back, because the refund failed.
    pub put_back: Amount,
    /// What of that reached the payer.
    pub paid_back: Amount,
    /// What was credited to the detainee after all.
    pub credited: Amount,
}

impl SuspendedPayment {
    /// What is refunded of it, refunds in transit included.
    pub fn refunded(&self) -> Result<Amount, MoneyError> {
        self.taken.checked_sub(self.put_back)
    }

    /// What is still in suspense.
    pub fn left(&self) -> Result<Amount, MoneyError> {
        self.amount.checked_sub(self.refunded()?)?.checked_sub(self.credited)
    }

    /// What is on its way back to the payer.
    pub fn in_transit(&self) -> Result<Amount, MoneyError> {
        self.refunded()?.checked_sub(self.paid_back)
    }

    /// Whether its order was paid before.
    pub fn is_duplicate(&self) -> bool {
        self.reason == DUPLICATE_PAYMENT
    }

    /// Whether it was credited and taken back: the same detainee does not get it again.
    pub fn is_reversed(&self) -> bool {
        self.reason == CREDIT_REVERSED
    }

    /// Whether it was credited, moved with the detainee, and came back to be returned.
    pub fn is_brought_back(&self) -> bool {
        self.reason == BROUGHT_BACK
    }

    /// Whether it may be credited later: not what was paid more often than is accepted, which goes back whoever asks.
    pub(super) fn may_be_credited(&self) -> bool {
        self.reason != PAYMENT_COUNT_EXCEEDED
    }

    pub(super) fn add(&mut self, movement: Movement, amount: Amount) -> Result<(), MoneyError> {
        let sum = match movement {
            Movement::Taken => &mut self.taken,
            Movement::PaidBack => &mut self.paid_back,
            Movement::PutBack => &mut self.put_back,
            Movement::Credited => &mut self.credited,
        };
        *sum = sum.checked_add(amount)?;
        Ok(())
    }
}

/// What becomes of money in suspense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Movement {
    /// Set aside for a refund.
    Taken,
    /// The refund has reached the payer.
    PaidBack,
    /// The refund has failed: it is in suspense again.
    PutBack,
    /// Credited to the detainee.
    Credited,
}

impl Movement {
    const ALL: [Movement; 4] = [
        Movement::Taken,
        Movement::PaidBack,
        Movement::PutBack,
        Movement::Credited,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Movement::Taken => "TAKEN",
            Movement::PaidBack => "PAID_BACK",
            Movement::PutBack => "PUT_BACK",
            Movement::Credited => "CREDITED",
        }
    }

    fn from_name(name: &str) -> Option<Movement> {
        Movement::ALL.into_iter().find(|movement| movement.name() == name)
    }
}

/// Nothing of a payment is left that would go back, or follow the detainee, by itself. The caller's transaction has taken the last
/// of it.
pub async fn all_taken_in_tx(conn: &mut Conn, center: CenterNo, payment: Seq) -> db::Result<()> {
    store::delete_return(conn, center, payment).await?;
    store::delete_late(conn, center, payment).await
}

/// A payment that the caller's transaction puts into suspense goes back by itself.
pub async fn goes_back_in_tx(conn: &mut Conn, center: CenterNo, payment: &SuspendedPayment) -> db::Result<()> {
    store::insert_return(conn, center, payment.seq, &payment.remittance, payment.recorded_at).await
}

/// What a transaction does to a payment in suspense.
#[derive(Debug, Clone, Copy)]
pub struct Move<'a> {
    /// The transaction that put the payment there.
    pub payment: Seq,
    /// The transaction that moves it.
    pub seq: Seq,
    /// When.
    pub at: OffsetDateTime,
    /// Who asked for it, as the journal names them.
    pub actor: &'a str,
    /// What becomes of the money.
    pub movement: Movement,
    /// Of how much of it.
    pub amount: Amount,
}

/// Records that a transaction moves money of a payment in suspense, and keeps its work item: there is one as long as some of the
/// payment is in suspense. The caller holds the journal's head and posts the same.
pub async fn move_in_tx(conn: &mut Conn, center: &Center, told: &Move<'_>) -> db::Result<()> {
    store::insert_movement(conn, center.no, told.payment, told.seq, told.movement, told.amount).await?;
    let Some((left, facts)) = store::left_of(conn, center, told.payment).await? else {
        return Ok(());
    };
    if left.is_positive() {
        return work::raise_in_tx(
            conn,
            center.no,
            &item(&facts, told.payment, left, (told.at, center.zone)),
        )
        .await;
    }
    for kind in [
        WorkKind::SuspendedPayment,
        WorkKind::HeldRemittance,
        WorkKind::LateMoney,
    ] {
        let closing = Closing {
            kind,
            subject: &subject(told.payment),
            at: told.at,
            actor: told.actor,
            reason: match told.movement {
                Movement::Credited => "credited",
                _ => "on its way back to the payer",
            },
            seq: Some(told.seq),
        };
        work::close_in_tx(conn, center.no, &closing).await?;
    }
    Ok(())
}

/// What the work item of a payment is about.
pub fn subject(payment: Seq) -> String {
    format!("transactions/{payment}")
}

/// How many working days money may take that came for somebody who had left.
const GONE_WORKING_DAYS: u8 = 3;

/// The same time of day some working days later: Monday to Friday of a zone.
fn after_working_days(at: OffsetDateTime, days: u8, zone: Zone) -> OffsetDateTime {
    let (mut due, mut left) = (at, days);
    while left > 0 {
        due += Duration::DAY;
        if !matches!(zone.business_date(due).weekday(), Weekday::Saturday | Weekday::Sunday) {
            left -= 1;
        }
    }
    due
}

/// The work item of a payment of which `left` is in suspense, raised at a time in a zone.
pub(super) fn item(facts: &SuspenseFacts, payment: Seq, left: Amount, (at, zone): (OffsetDateTime, Zone)) -> NewItem {
    let facts = facts.clone();
    let is_late = facts.reason == DETAINEE_GONE;
    let known = SuspendedPaymentWork {
        remittance: facts.remittance,
        detainee: facts.detainee,
        payer: facts.payer,
        channel: facts.channel,
        gateway_transaction: facts.gateway_transaction,
        amount: left.to_string(),
        reason: facts.reason,
    };
    let facts = WorkFacts {
        facts: Some(work_facts::Facts::SuspendedPayment(known)),
    };
    let item = NewItem::new(WorkKind::SuspendedPayment, subject(payment), facts, at);
    if is_late {
        return item.due(after_working_days(at, GONE_WORKING_DAYS, zone));
    }
    item
}

/// The work item of a payment that is held for review until a deadline.
pub(super) fn held_item(facts: &SuspenseFacts, payment: Seq, at: OffsetDateTime, deadline: OffsetDateTime) -> NewItem {
    let known = HeldRemittanceWork {
        remittance: facts.remittance.clone(),
        detainee: facts.detainee.clone(),
        payer: facts.payer.clone(),
        amount: facts.amount.clone(),
        rules: vec![facts.reason.clone()],
    };
    let facts = WorkFacts {
        facts: Some(work_facts::Facts::HeldRemittance(known)),
    };
    NewItem::new(WorkKind::HeldRemittance, subject(payment), facts, at).due(deadline)
}

/// What is left of each payment in suspense of which something is, by the transaction that put it there; for verification.
pub async fn all_left(conn: &mut Conn, center: &Center) -> db::Result<BTreeMap<Seq, Amount>> {
    store::all_left(conn, center).await
}

/// Records that a transaction puts a payment into suspense that was credited before. The caller holds the journal's head, posts
/// the same, and has the rules touched.
pub async fn suspend_in_tx(conn: &mut Conn, center: &Center, payment: &SuspendedPayment) -> db::Result<()> {
    store::insert_payment(conn, center.no, payment).await?;
    match store::left_of(conn, center, payment.seq).await? {
        Some((left, facts)) => {
            let at = (payment.recorded_at, center.zone);
            work::raise_in_tx(conn, center.no, &item(&facts, payment.seq, left, at)).await
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;

    #[test]
    fn working_days_leave_the_weekend_out() {
        use time::macros::datetime;
        let zone = Zone::parse("Asia/Shanghai").unwrap();
        // A Tuesday; a Thursday; a Friday evening that is Saturday in Shanghai.
        for (at, due) in [
            (datetime!(2031-05-06 02:00 UTC), datetime!(2031-05-09 02:00 UTC)),
            (datetime!(2031-05-08 02:00 UTC), datetime!(2031-05-13 02:00 UTC)),
            (datetime!(2031-05-09 17:00 UTC), datetime!(2031-05-13 17:00 UTC)),
        ] {
            assert_eq!(after_working_days(at, 3, zone), due, "{at}");
        }
    }

    #[test]
    fn what_is_left_is_what_did_not_go_out() {
        let cny = |text| Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap();
        let mut payment = SuspendedPayment {
            seq: Seq(3),
            remittance: RemittanceId::parse("R1").unwrap(),
            gateway_transaction: "pay_1".into(),
            paid_at: OffsetDateTime::UNIX_EPOCH,
            amount: cny("100"),
            reason: "DETAINEE_NOT_ACTIVE".into(),
            recorded_at: OffsetDateTime::UNIX_EPOCH,
            taken: cny("0"),
            put_back: cny("0"),
            paid_back: cny("0"),
            credited: cny("0"),
        };
        let mut after = |movement, amount| {
            payment.add(movement, cny(amount)).unwrap();
            let told = [payment.left(), payment.refunded(), payment.in_transit()];
            told.map(|amount| amount.unwrap().to_string())
        };
        assert_eq!(after(Movement::Taken, "30"), ["70.00", "30.00", "30.00"]);
        assert_eq!(after(Movement::PaidBack, "30"), ["70.00", "30.00", "0.00"]);
        assert_eq!(after(Movement::Taken, "20"), ["50.00", "50.00", "20.00"]);
        assert_eq!(after(Movement::PutBack, "20"), ["70.00", "30.00", "0.00"]);
        assert_eq!(after(Movement::Credited, "70"), ["0.00", "30.00", "0.00"]);
        for movement in Movement::ALL {
            assert_eq!(Movement::from_name(movement.name()), Some(movement));
        }
    }
}
