//! Booking a payment of a remittance: one transaction that takes the money from the gateway's clearing account and splits it,
//! or puts it into suspense. The first payment that gets here is the remittance's; a further one is its payer's, in suspense.

use time::OffsetDateTime;

use super::{
    confirm::Learnt,
    delivery::{Delivery, Effect, NotificationRows},
    entity::{LegState, PaymentFacts, Remittance},
    posting,
    store::LegRows,
    suspense::{self, DUPLICATE_PAYMENT, PaymentRows, RemittanceRoom, SuspendedPayment},
};
use crate::{
    custody::room::DetaineeRoom,
    distribution::room::{DistributionRoom, collect, split},
    ids::{AccountNo, DetaineeId, RemittanceId, RequestId},
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
    remittance: RemittanceId,
    detainee: DetaineeId,
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
    pub fn of(remittance: &Remittance, payment: &PaymentFacts, learnt: Learnt) -> CreditRemittance {
        let facts = CreditFacts {
            remittance: remittance.id.to_string(),
            detainee: remittance.detainee.to_string(),
            payer: remittance.payer.to_string(),
            channel: remittance.channel.clone(),
            gateway_transaction: payment.gateway_transaction.clone(),
            paid_at: Some(record::timestamp(payment.paid_at)),
            amount: remittance.amount.to_string(),
            parts: Vec::new(),
            policy_version: 0,
        };
        let request = Request {
            id: RequestId::derived(&[&remittance.channel, &payment.gateway_transaction]),
            method: METHOD,
            body: record::canonical(&facts),
            actor: format!("gateway/{}", remittance.channel),
        };
        CreditRemittance {
            request,
            remittance: remittance.id.clone(),
            detainee: remittance.detainee.clone(),
            clearing: remittance.clearing,
            amount: remittance.amount,
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
            kept.push(delivery, effect, self.remittance.as_str());
        }
    }

    /// The id of its request.
    pub(super) fn request_id(&self) -> RequestId {
        self.request.id
    }

    fn suspend(&self, reason: &str) -> Draft {
        let facts = self.facts.clone();
        let facts = SuspenseFacts {
            remittance: facts.remittance,
            detainee: facts.detainee,
            payer: facts.payer,
            channel: facts.channel,
            gateway_transaction: facts.gateway_transaction,
            paid_at: facts.paid_at,
            amount: facts.amount,
            reason: reason.to_owned(),
        };
        let posting = posting::suspended(self.clearing, self.amount);
        Draft::new(TransactionKind::Suspense, vec![posting], Facts::Suspense(facts))
    }

    /// The payment as it is put into suspense.
    fn suspended(&self, entry: &Entry, at: OffsetDateTime, reason: &str) -> SuspendedPayment {
        let zero = Amount::zero(self.amount.currency());
        SuspendedPayment {
            seq: entry.seq,
            remittance: self.remittance.clone(),
            gateway_transaction: self.payment.gateway_transaction.clone(),
            paid_at: self.payment.paid_at,
            amount: self.amount,
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
        want_split(state, &self.detainee);
        if let Ok(remittances) = state.room_mut::<RemittanceRoom>() {
            remittances.want(&self.remittance);
        }
    }

    /// The money is here, whoever may have it: it is never refused.
    fn decide(&self, state: &State, moment: &Moment) -> Result<Draft, Declined> {
        if state.room::<RemittanceRoom>()?.get(&self.remittance)?.is_posted() {
            return Ok(self.suspend(DUPLICATE_PAYMENT));
        }
        let standing = match state.room::<DetaineeRoom>()?.get_active(&self.detainee) {
            Ok(standing) => standing,
            Err(Declined::Refused(refusal)) => {
                let reason = refusal.reason().as_str_name();
                return Ok(self.suspend(reason.strip_prefix("REASON_").unwrap_or(reason)));
            }
            Err(broken) => return Err(broken),
        };
        let date = moment.effective_date;
        let split = split(state, &self.detainee, &standing, self.clearing, self.amount, date)?;
        let facts = CreditFacts {
            parts: split.parts,
            policy_version: split.policy_version,
            ..self.facts.clone()
        };
        Ok(Draft::new(
            TransactionKind::Credit,
            split.postings,
            Facts::Credit(facts),
        ))
    }

    fn apply(&self, entry: &Entry, state: &mut State, rows: &mut Rows) -> Result<(), Declined> {
        let at = recorded_at(entry)?;
        let (state_reached, detail) = match &entry.record.facts {
            Some(Facts::Credit(facts)) => {
                collect(state, rows, &self.detainee, &facts.parts)?;
                self.keep_delivery(rows, Effect::Credited(entry.seq));
                (Some(LegState::Credited), String::new())
            }
            Some(Facts::Suspense(facts)) => {
                let payment = self.suspended(entry, at, &facts.reason);
                self.keep_delivery(rows, Effect::Suspended(entry.seq));
                work::raise(rows, suspense::item(facts, entry.seq, self.amount, at));
                let known = state.room_mut::<RemittanceRoom>()?.get_mut(&self.remittance)?;
                known.payments.push(payment.clone());
                if let Some(payments) = rows.of::<PaymentRows>() {
                    payments.push(payment);
                }
                let leg = (facts.reason != DUPLICATE_PAYMENT).then_some(LegState::Suspended);
                (leg, facts.reason.clone())
            }
            _ => return Err(Declined::Broken("a credit without its facts".into())),
        };
        // A further payment takes no leg: each state is reached once.
        let Some(reached) = state_reached else {
            return Ok(());
        };
        let known = state.room_mut::<RemittanceRoom>()?.get_mut(&self.remittance)?;
        if let Some(legs) = rows.of::<LegRows>() {
            if !known.is_paid {
                legs.push_paid(&self.remittance, at, self.learnt.text(), &self.payment);
            }
            legs.push(&self.remittance, reached, at, &detail, entry.seq);
        }
        known.is_paid = true;
        known.is_credited |= reached == LegState::Credited;
        known.is_suspended |= reached == LegState::Suspended;
        Ok(())
    }
}

/// Asks for what splitting a credit to a detainee reads.
pub fn want_split(state: &mut State, detainee: &DetaineeId) {
    state.want_account(chart::COURT_PAYABLE);
    state.want_account(chart::ADVANCES);
    if let Ok(rules) = state.room_mut::<DistributionRoom>() {
        rules.want(detainee);
    }
    let standing = match state.room_mut::<DetaineeRoom>() {
        Ok(detainees) => detainees.want(detainee),
        Err(_) => None,
    };
    if let Some(standing) = standing {
        state.want_account(standing.available());
        state.want_account(standing.savings());
    }
}

/// When a transaction was recorded.
pub fn recorded_at(entry: &Entry) -> Result<OffsetDateTime, Declined> {
    let at = entry.record.recorded_at.as_ref().and_then(record::instant);
    at.ok_or_else(|| Declined::Broken("a credit without its time".into()))
}
