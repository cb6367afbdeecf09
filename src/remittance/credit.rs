//! Booking a payment of a remittance: one transaction that takes the money from the gateway's clearing account and splits it,
//! or puts it into suspense. The first payment that gets here is the remittance's; a further one is its payer's, in suspense.
//!
//! What is decided, in this order: a further payment waits in suspense; so does money for somebody who has left; what is one too
//! many of its payer's in the month goes back; what screening finds is held for review; of the rest so much is credited as the
//! balance cap lets in, and what is over it is put aside in the same transaction, to go back.

use time::{Duration, OffsetDateTime};

use super::{
    confirm::Learnt,
    delivery::{Delivery, Effect, NotificationRows},
    entity::{LegState, Order, PaymentFacts},
    parties::{self, PartiesRoom},
    posting,
    screening::{self, Accepted, BALANCE_CAP_EXCEEDED, DETAINEE_GONE, DETAINEE_TRANSFERRED, PAYMENT_COUNT_EXCEEDED},
    store::LegRows,
    suspense::{self, DUPLICATE_PAYMENT, LateRows, PaymentRows, RemittanceRoom, ReturnRows, SuspendedPayment},
};
use crate::{
    custody::{
        DetaineeState,
        room::{DetaineeRoom, SettingsRoom},
    },
    distribution::room::{DistributionRoom, collect, split},
    ids::{AccountNo, DetaineeId, RequestId},
    ledger::{Command, Declined, Draft, Entry, Moment, Request, Rows, State, chart, record},
    money::Amount,
    proto::{CreditFacts, SuspenseFacts, TransactionKind, journal_record::Facts},
    work,
};

/// The method that a credit's request names. No caller can call it.
pub(super) const METHOD: &str = "custody.v1.RemittanceService/CreditRemittance";

/// A payment of a remittance enters the ledger.
#[derive(Debug)]
pub struct CreditRemittance {
    request: Request,
    own: Accepted,
    clearing: AccountNo,
    amount: Amount,
    payment: PaymentFacts,
    learnt: Learnt,
    facts: CreditFacts,
    /// The notification that told it, which is kept with what it brings about.
    delivery: Option<Delivery>,
}

impl CreditRemittance {
    /// Brings a payment of a remittance into the ledger. The same payment always makes the same command, and the channel's
    /// transaction makes its request id, so that a payment is booked once however often it is learnt of.
    pub fn of(order: &Order, payment: &PaymentFacts, learnt: Learnt) -> CreditRemittance {
        let facts = CreditFacts {
            remittance: order.id.to_string(),
            detainee: order.detainee.to_string(),
            payer: order.payer.to_string(),
            channel: order.channel.clone(),
            gateway_transaction: payment.gateway_transaction.clone(),
            paid_at: Some(record::timestamp(payment.paid_at)),
            amount: order.amount.to_string(),
            ..CreditFacts::default()
        };
        let request = Request {
            id: RequestId::derived(&[&order.channel, &payment.gateway_transaction]),
            method: METHOD,
            body: record::canonical(&facts),
            actor: format!("gateway/{}", order.channel),
        };
        CreditRemittance {
            request,
            own: Accepted {
                remittance: order.id.clone(),
                payer: order.payer.clone(),
                detainee: order.detainee.clone(),
                ordered_at: order.created_at,
            },
            clearing: order.clearing,
            amount: order.amount,
            payment: payment.clone(),
            learnt,
            facts,
            delivery: None,
        }
    }

    /// The same, told by a notification.
    #[must_use]
    pub fn told_by(self, delivery: Option<Delivery>) -> CreditRemittance {
        CreditRemittance { delivery, ..self }
    }

    /// Keeps the notification that told it.
    fn keep_delivery(&self, rows: &mut Rows, effect: Effect) {
        if let (Some(delivery), Some(kept)) = (&self.delivery, rows.of::<NotificationRows>()) {
            kept.push(delivery, effect, self.own.remittance.as_str());
        }
    }

    /// The id of its request.
    pub(super) fn request_id(&self) -> RequestId {
        self.request.id
    }

    fn suspend(&self, reason: &str) -> Draft {
        self.put_aside(reason, None)
    }

    fn put_aside(&self, reason: &str, review_deadline: Option<OffsetDateTime>) -> Draft {
        let facts = self.suspense_facts(reason, review_deadline);
        let posting = posting::suspended(self.clearing, self.amount);
        Draft::new(TransactionKind::Suspense, vec![posting], Facts::Suspense(facts))
    }

    fn suspense_facts(&self, reason: &str, review_deadline: Option<OffsetDateTime>) -> SuspenseFacts {
        let facts = self.facts.clone();
        SuspenseFacts {
            remittance: facts.remittance,
            detainee: facts.detainee,
            payer: facts.payer,
            channel: facts.channel,
            gateway_transaction: facts.gateway_transaction,
            paid_at: facts.paid_at,
            amount: facts.amount,
            reason: reason.to_owned(),
            review_deadline: review_deadline.map(record::timestamp),
        }
    }

    /// The payment as it is put into suspense.
    fn suspended(&self, entry: &Entry, at: OffsetDateTime, amount: Amount, reason: &str) -> SuspendedPayment {
        let zero = Amount::zero(self.amount.currency());
        SuspendedPayment {
            seq: entry.seq,
            remittance: self.own.remittance.clone(),
            gateway_transaction: self.payment.gateway_transaction.clone(),
            paid_at: self.payment.paid_at,
            amount,
            reason: reason.to_owned(),
            recorded_at: at,
            taken: zero,
            put_back: zero,
            paid_back: zero,
            credited: zero,
        }
    }
}

impl Command for CreditRemittance {
    fn request(&self) -> &Request {
        &self.request
    }

    fn want(&self, state: &mut State) {
        state.want_account(self.clearing);
        state.want_account(chart::SUSPENSE);
        want_split(state, &self.own.detainee);
        parties::want_history(state, &self.own.payer, &self.own.detainee);
        if let Ok(remittances) = state.room_mut::<RemittanceRoom>() {
            remittances.want(&self.own.remittance);
        }
    }

    /// The money is here, whoever may have it: it is never refused.
    fn decide(&self, state: &State, moment: &Moment) -> Result<Draft, Declined> {
        let own = &self.own;
        if state.room::<RemittanceRoom>()?.get(&own.remittance)?.is_posted() {
            return Ok(self.suspend(DUPLICATE_PAYMENT));
        }
        let detainees = state.room::<DetaineeRoom>()?;
        if detainees
            .get(&own.detainee)
            .is_ok_and(|standing| standing.state.is_gone())
        {
            return Ok(self.suspend(DETAINEE_GONE));
        }
        let standing = match detainees.get_active(&own.detainee) {
            Ok(standing) => standing,
            Err(Declined::Refused(_)) if has_moved(state, &own.detainee)? => {
                return Ok(self.suspend(DETAINEE_TRANSFERRED));
            }
            Err(Declined::Refused(refusal)) => {
                let reason = refusal.reason().as_str_name();
                return Ok(self.suspend(reason.strip_prefix("REASON_").unwrap_or(reason)));
            }
            Err(broken) => return Err(broken),
        };
        let settings = state.room::<SettingsRoom>()?.get()?;
        let (of_payer, for_detainee) = parties::history(state, &own.payer, &own.detainee)?;
        if screening::is_one_too_many(settings, state.center().zone, own, of_payer) {
            return Ok(self.suspend(PAYMENT_COUNT_EXCEEDED));
        }
        let rules = &settings.screening;
        if let Some(reason) = screening::screen(rules, own, of_payer, for_detainee) {
            let deadline = moment.recorded_at + Duration::hours(rules.review_hours.into());
            return Ok(self.put_aside(reason, Some(deadline)));
        }
        let (id, at) = (&own.remittance, moment.recorded_at);
        let accepted = parties::accepted(state, &own.detainee, &standing, id, self.amount, at)?;
        if accepted.is_zero() {
            return Ok(self.suspend(BALANCE_CAP_EXCEEDED));
        }
        let split = split(
            state,
            &own.detainee,
            &standing,
            self.clearing,
            accepted,
            moment.effective_date,
        )?;
        let mut postings = split.postings;
        let excess = self.amount.checked_sub(accepted)?;
        if excess.is_positive() {
            postings.push(posting::suspended(self.clearing, excess));
        }
        let facts = CreditFacts {
            amount: accepted.to_string(),
            parts: split.parts,
            policy_version: split.policy_version,
            excess: told(excess),
            ..self.facts.clone()
        };
        Ok(Draft::new(TransactionKind::Credit, postings, Facts::Credit(facts)))
    }

    fn apply(&self, entry: &Entry, state: &mut State, rows: &mut Rows) -> Result<(), Declined> {
        let at = recorded_at(entry)?;
        match &entry.record.facts {
            Some(Facts::Credit(facts)) => {
                collect(state, rows, &self.own.detainee, &facts.parts)?;
                state.room_mut::<PartiesRoom>()?.accept(&self.own, None);
                if !facts.excess.is_empty() {
                    let excess = Amount::parse(&facts.excess, self.amount.currency())?;
                    let payment = self.suspended(entry, at, excess, BALANCE_CAP_EXCEEDED);
                    let told = self.suspense_facts(BALANCE_CAP_EXCEEDED, None);
                    work::raise(
                        rows,
                        suspense::item(&told, entry.seq, excess, (at, state.center().zone)),
                    );
                    self.put_into_suspense(state, rows, payment, at)?;
                }
                self.keep_delivery(rows, Effect::Credited(entry.seq));
                self.reach(state, rows, (LegState::Credited, None), entry, "")
            }
            Some(Facts::Suspense(facts)) => {
                let payment = self.suspended(entry, at, self.amount, &facts.reason);
                let deadline = facts.review_deadline.as_ref().and_then(record::instant);
                let item = match deadline {
                    Some(deadline) => suspense::held_item(facts, entry.seq, at, deadline),
                    None => suspense::item(facts, entry.seq, self.amount, (at, state.center().zone)),
                };
                work::raise(rows, item);
                self.keep_delivery(rows, Effect::Suspended(entry.seq));
                self.put_into_suspense(state, rows, payment, deadline.unwrap_or(at))?;
                let parties = state.room_mut::<PartiesRoom>()?;
                let state_reached = match deadline {
                    // A further payment takes no leg: each state is reached once.
                    _ if facts.reason == DUPLICATE_PAYMENT => return Ok(()),
                    Some(_) => {
                        parties.accept(&self.own, Some(self.amount));
                        LegState::Held
                    }
                    None => {
                        parties.close(&self.own.detainee, &self.own.remittance);
                        LegState::Suspended
                    }
                };
                self.reach(state, rows, (state_reached, deadline), entry, &facts.reason)
            }
            _ => Err(Declined::Broken("a credit without its facts".into())),
        }
    }
}

impl CreditRemittance {
    /// A payment, or its excess, is in suspense; it goes back at a time, if it is of those that do.
    fn put_into_suspense(
        &self,
        state: &mut State,
        rows: &mut Rows,
        payment: SuspendedPayment,
        due_at: OffsetDateTime,
    ) -> Result<(), Declined> {
        if let (true, Some(returns)) = (screening::goes_back(&payment.reason), rows.of::<ReturnRows>()) {
            returns.push(payment.seq, &payment.remittance, due_at);
        }
        if let (DETAINEE_TRANSFERRED, Some(late)) = (payment.reason.as_str(), rows.of::<LateRows>()) {
            late.push(payment.seq, &payment.remittance, due_at);
        }
        if let Some(payments) = rows.of::<PaymentRows>() {
            payments.push(payment.clone());
        }
        let known = state.room_mut::<RemittanceRoom>()?.get_mut(&self.own.remittance)?;
        known.payments.push(payment);
        Ok(())
    }

    /// The remittance has reached a state.
    fn reach(
        &self,
        state: &mut State,
        rows: &mut Rows,
        (reached, deadline): (LegState, Option<OffsetDateTime>),
        entry: &Entry,
        detail: &str,
    ) -> Result<(), Declined> {
        let (id, at) = (&self.own.remittance, recorded_at(entry)?);
        let known = state.room_mut::<RemittanceRoom>()?.get_mut(id)?;
        if let Some(legs) = rows.of::<LegRows>() {
            if !known.is_paid {
                legs.push_paid(id, at, self.learnt.text(), &self.payment);
            }
            legs.push(id, (reached, deadline), at, detail, entry.seq);
        }
        known.is_paid = true;
        known.is_credited |= reached == LegState::Credited;
        known.is_suspended |= reached == LegState::Suspended;
        known.is_held |= reached == LegState::Held;
        Ok(())
    }
}

/// Whether somebody has moved to another center, where their money follows them.
fn has_moved(state: &State, detainee: &DetaineeId) -> Result<bool, Declined> {
    match state.room::<DetaineeRoom>()?.get(detainee) {
        Ok(standing) => Ok(standing.state == DetaineeState::Transferred),
        Err(Declined::Refused(_)) => Ok(false),
        Err(broken) => Err(broken),
    }
}

/// An amount that may be nothing, as facts tell it.
fn told(amount: Amount) -> String {
    if amount.is_positive() {
        amount.to_string()
    } else {
        String::new()
    }
}

/// Asks for what splitting a credit to a detainee, as far as the cap lets it in, reads.
pub fn want_split(state: &mut State, detainee: &DetaineeId) {
    state.want_account(chart::COURT_PAYABLE);
    state.want_account(chart::ADVANCES);
    if let Ok(rules) = state.room_mut::<DistributionRoom>() {
        rules.want(detainee);
    }
    parties::want_cap(state, detainee);
}

/// When a transaction was recorded.
pub fn recorded_at(entry: &Entry) -> Result<OffsetDateTime, Declined> {
    let at = entry.record.recorded_at.as_ref().and_then(record::instant);
    at.ok_or_else(|| Declined::Broken("a credit without its time".into()))
}
