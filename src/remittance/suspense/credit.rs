//! Crediting a payment out of suspense: the detainee is active again.

use super::{Movement, MovementRows, OUT_OF_SUSPENSE, RemittanceRoom, SuspendedPayment, subject};
use crate::{
    custody::room::DetaineeRoom,
    distribution::room::{collect, split},
    ids::{DetaineeId, RemittanceId, RequestId, Seq},
    ledger::{Command, Declined, Draft, Entry, Moment, Request, Rows, State, center::Head, chart, record},
    money::{Amount, MoneyError},
    proto::{CreditFacts, TransactionKind, journal_record::Facts},
    remittance::{
        RemittanceRefusal as R,
        credit::{recorded_at, want_split},
        entity::{LegState, Remittance},
        store::LegRows,
    },
    work::{self, Closing, WorkKind},
};

/// What is left of a remittance's own payment goes from suspense to the detainee.
#[derive(Debug)]
pub(in crate::remittance) struct CreditSuspended {
    request: Request,
    remittance: RemittanceId,
    detainee: DetaineeId,
    payment: Seq,
    amount: Amount,
    facts: CreditFacts,
}

impl CreditSuspended {
    /// The method that such a credit's request names. No caller can call it.
    pub const METHOD: &str = "custody.v1.RemittanceService/CreditSuspended";

    /// The credit of a payment as it stands at a moment of the journal.
    ///
    /// The moment is part of its request id: a refusal then (the person has left again) does not stand in the way of a later
    /// attempt, and whoever asks at the same moment asks for the same thing. That it happens once is decided by the lane.
    pub fn of(remittance: &Remittance, payment: &SuspendedPayment, head: &Head) -> Result<CreditSuspended, MoneyError> {
        let amount = payment.left()?;
        let facts = CreditFacts {
            remittance: remittance.id.to_string(),
            detainee: remittance.detainee.to_string(),
            payer: remittance.payer.to_string(),
            channel: remittance.channel.clone(),
            gateway_transaction: payment.gateway_transaction.clone(),
            paid_at: Some(record::timestamp(payment.paid_at)),
            amount: amount.to_string(),
            parts: Vec::new(),
            policy_version: 0,
        };
        let [seq, at, rules] = [payment.seq.0, head.seq.0, head.rules_version].map(|number| number.to_string());
        let request = Request {
            id: RequestId::derived(&["suspense", &seq, &at, &rules]),
            method: Self::METHOD,
            body: record::canonical(&facts),
            actor: format!("gateway/{}", remittance.channel),
        };
        Ok(CreditSuspended {
            request,
            remittance: remittance.id.clone(),
            detainee: remittance.detainee.clone(),
            payment: payment.seq,
            amount,
            facts,
        })
    }
}

impl CreditSuspended {
    /// The id of its request.
    pub fn request_id(&self) -> RequestId {
        self.request.id
    }
}

impl Command for CreditSuspended {
    fn request(&self) -> &Request {
        &self.request
    }

    fn want(&self, state: &mut State) {
        state.want_account(chart::SUSPENSE);
        want_split(state, &self.detainee);
        if let Ok(remittances) = state.room_mut::<RemittanceRoom>() {
            remittances.want(&self.remittance);
        }
    }

    fn decide(&self, state: &State, moment: &Moment) -> Result<Draft, Declined> {
        let known = state.room::<RemittanceRoom>()?.get(&self.remittance)?;
        let payment = known.payments.iter().find(|payment| payment.seq == self.payment);
        let is_as_it_was = match payment {
            Some(payment) => !known.is_credited && payment.in_transit()?.is_zero() && payment.left()? == self.amount,
            None => false,
        };
        if !is_as_it_was {
            let remittance = self.remittance.clone();
            return Err(Declined::Refused(R::NotInSuspense { remittance }.into()));
        }
        let standing = state.room::<DetaineeRoom>()?.get_active(&self.detainee)?;
        let date = moment.effective_date;
        let split = split(state, &self.detainee, &standing, chart::SUSPENSE, self.amount, date)?;
        let facts = CreditFacts {
            parts: split.parts,
            policy_version: split.policy_version,
            ..self.facts.clone()
        };
        let draft = Draft::new(TransactionKind::Credit, split.postings, Facts::Credit(facts));
        Ok(draft.reversing(self.payment))
    }

    fn apply(&self, entry: &Entry, state: &mut State, rows: &mut Rows) -> Result<(), Declined> {
        let Some(Facts::Credit(facts)) = &entry.record.facts else {
            return Err(Declined::Broken("a credit without its facts".into()));
        };
        collect(state, rows, &self.detainee, &facts.parts)?;
        let at = recorded_at(entry)?;
        if let Some(legs) = rows.of::<LegRows>() {
            legs.push(&self.remittance, LegState::Credited, at, OUT_OF_SUSPENSE, entry.seq);
        }
        if let Some(movements) = rows.of::<MovementRows>() {
            movements.push_credited(entry.seq, self.payment, self.amount);
        }
        let closing = Closing {
            kind: WorkKind::SuspendedPayment,
            subject: &subject(self.payment),
            at,
            actor: &self.request.actor,
            reason: "credited",
            seq: Some(entry.seq),
        };
        work::close(rows, &closing);
        let known = state.room_mut::<RemittanceRoom>()?.get_mut(&self.remittance)?;
        known.is_credited = true;
        if let Some(payment) = known.payments.iter_mut().find(|payment| payment.seq == self.payment) {
            payment.add(Movement::Credited, self.amount)?;
        }
        Ok(())
    }
}
