//! Crediting a payment out of suspense: the detainee is active again, or two people released it from review.

use super::{
    DecidedRows, Movement, MovementRows, OUT_OF_SUSPENSE, RemittanceRoom, ReturnRows, SuspendedPayment, subject,
};
use crate::{
    custody::room::DetaineeRoom,
    distribution::room::{collect, split},
    ids::{RequestId, Seq},
    ledger::{Command, Declined, Draft, Entry, Moment, Request, Rows, State, center::Head, chart, record},
    money::{Amount, MoneyError},
    proto::{ApprovalFacts, CreditFacts, TransactionKind, journal_record::Facts},
    remittance::{
        RemittanceRefusal as R,
        credit::{recorded_at, want_split},
        entity::{LegState, Remittance},
        parties::{self, PartiesRoom},
        screening::Accepted,
        store::LegRows,
    },
    work::{self, Closing, WorkKind},
};

/// What is left of a remittance's own payment goes from suspense to the detainee, as far as the cap lets it in. What it does not
/// let in goes back.
#[derive(Debug)]
pub(in crate::remittance) struct CreditSuspended {
    request: Request,
    own: Accepted,
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
        let [seq, at, rules] = [payment.seq.0, head.seq.0, head.rules_version].map(|number| number.to_string());
        let facts = facts_of(remittance, payment, None)?;
        let request = Request {
            id: RequestId::derived(&["suspense", &seq, &at, &rules]),
            method: Self::METHOD,
            body: record::canonical(&facts),
            actor: format!("gateway/{}", remittance.channel),
        };
        CreditSuspended::asked(remittance, payment, request, facts)
    }

    /// Two people release a payment that is held for review.
    pub fn released(
        remittance: &Remittance,
        payment: &SuspendedPayment,
        request: Request,
        release: ApprovalFacts,
    ) -> Result<CreditSuspended, MoneyError> {
        let facts = facts_of(remittance, payment, Some(release))?;
        CreditSuspended::asked(remittance, payment, request, facts)
    }

    fn asked(
        remittance: &Remittance,
        payment: &SuspendedPayment,
        request: Request,
        facts: CreditFacts,
    ) -> Result<CreditSuspended, MoneyError> {
        Ok(CreditSuspended {
            request,
            own: Accepted {
                remittance: remittance.id.clone(),
                payer: remittance.payer.clone(),
                detainee: remittance.detainee.clone(),
                ordered_at: remittance.created_at,
            },
            payment: payment.seq,
            amount: payment.left()?,
            facts,
        })
    }

    fn is_release(&self) -> bool {
        self.facts.release.is_some()
    }

    /// The id of its request.
    pub fn request_id(&self) -> RequestId {
        self.request.id
    }
}

fn facts_of(
    remittance: &Remittance,
    payment: &SuspendedPayment,
    release: Option<ApprovalFacts>,
) -> Result<CreditFacts, MoneyError> {
    Ok(CreditFacts {
        remittance: remittance.id.to_string(),
        detainee: remittance.detainee.to_string(),
        payer: remittance.payer.to_string(),
        channel: remittance.channel.clone(),
        gateway_transaction: payment.gateway_transaction.clone(),
        paid_at: Some(record::timestamp(payment.paid_at)),
        amount: payment.left()?.to_string(),
        release,
        ..CreditFacts::default()
    })
}

impl Command for CreditSuspended {
    fn request(&self) -> &Request {
        &self.request
    }

    fn want(&self, state: &mut State) {
        state.want_account(chart::SUSPENSE);
        want_split(state, &self.own.detainee);
        if let Ok(remittances) = state.room_mut::<RemittanceRoom>() {
            remittances.want(&self.own.remittance);
        }
    }

    fn decide(&self, state: &State, moment: &Moment) -> Result<Draft, Declined> {
        let own = &self.own;
        let known = state.room::<RemittanceRoom>()?.get(&own.remittance)?;
        let payment = known.payments.iter().find(|payment| payment.seq == self.payment);
        let is_as_it_was = match payment {
            Some(payment) => {
                let is_free = !known.is_credited && payment.may_be_credited();
                is_free && payment.in_transit()?.is_zero() && payment.left()? == self.amount
            }
            None => false,
        };
        let is_under_review = known.is_held && !known.is_decided;
        let remittance = own.remittance.clone();
        if self.is_release() && !is_under_review {
            return Err(Declined::Refused(R::NotUnderReview { remittance }.into()));
        }
        if !is_as_it_was || known.is_held != self.is_release() {
            return Err(Declined::Refused(R::NotInSuspense { remittance }.into()));
        }
        let standing = state.room::<DetaineeRoom>()?.get_active(&own.detainee)?;
        let (id, at) = (&own.remittance, moment.recorded_at);
        let accepted = parties::accepted(state, &own.detainee, &standing, Some(id), self.amount, at)?;
        if accepted.is_zero() {
            return Err(Declined::Refused(R::NoHeadroom { remittance }.into()));
        }
        let at_date = moment.effective_date;
        let split = split(state, &own.detainee, &standing, chart::SUSPENSE, accepted, at_date)?;
        let facts = CreditFacts {
            amount: accepted.to_string(),
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
        collect(state, rows, &self.own.detainee, &facts.parts)?;
        let (id, at) = (&self.own.remittance, recorded_at(entry)?);
        let accepted = Amount::parse(&facts.amount, self.amount.currency())?;
        if let Some(legs) = rows.of::<LegRows>() {
            if let Some(release) = &facts.release {
                legs.push(id, (LegState::Released, None), at, &release.reason, entry.seq);
            }
            legs.push(id, (LegState::Credited, None), at, OUT_OF_SUSPENSE, entry.seq);
        }
        if let Some(movements) = rows.of::<MovementRows>() {
            movements.push_credited(entry.seq, self.payment, accepted);
        }
        if self.amount.exceeds(accepted)? {
            if let Some(returns) = rows.of::<ReturnRows>() {
                returns.push(self.payment, id, at);
            }
        } else {
            if let Some(decided) = rows.of::<DecidedRows>() {
                decided.push(self.payment);
            }
            let closing = Closing {
                kind: if self.is_release() {
                    WorkKind::HeldRemittance
                } else {
                    WorkKind::SuspendedPayment
                },
                subject: &subject(self.payment),
                at,
                actor: &self.request.actor,
                reason: "credited",
                seq: Some(entry.seq),
            };
            work::close(rows, &closing);
        }
        let parties = state.room_mut::<PartiesRoom>()?;
        if self.is_release() {
            parties.close(&self.own.detainee, id);
        } else {
            parties.accept(&self.own, None);
        }
        let known = state.room_mut::<RemittanceRoom>()?.get_mut(id)?;
        known.is_credited = true;
        known.is_decided |= self.is_release();
        if let Some(payment) = known.payments.iter_mut().find(|payment| payment.seq == self.payment) {
            payment.add(Movement::Credited, accepted)?;
        }
        Ok(())
    }
}
