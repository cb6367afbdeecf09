//! Crediting a paid remittance: one transaction that takes the money from the gateway's clearing account and splits it, or
//! puts it into suspense.

use time::OffsetDateTime;

use super::{
    entity::{LegState, Remittance},
    posting,
    store::LegRows,
};
use crate::{
    custody::room::DetaineeRoom,
    distribution::room::{DistributionRoom, collect, split},
    ids::{AccountNo, DetaineeId, RemittanceId, RequestId},
    ledger::{Command, Declined, Draft, Entry, Moment, Refusal, Request, Rows, State, chart, record},
    money::Amount,
    proto::{CreditFacts, SuspenseFacts, TransactionKind, journal_record::Facts},
};

/// The method that a credit's request names. No caller can call it.
pub(super) const METHOD: &str = "custody.v1.RemittanceService/CreditRemittance";

/// A paid remittance enters the ledger.
#[derive(Debug)]
pub struct CreditRemittance {
    request: Request,
    remittance: RemittanceId,
    detainee: DetaineeId,
    clearing: AccountNo,
    amount: Amount,
    facts: CreditFacts,
}

impl CreditRemittance {
    /// The credit of a remittance that is paid; none if it is not. The same remittance always makes the same command, and
    /// the channel's transaction makes its request id, so that a payment is credited once however often it is learnt of.
    pub fn of(remittance: &Remittance) -> Option<CreditRemittance> {
        let payment = remittance.payment()?;
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
        Some(CreditRemittance {
            request,
            remittance: remittance.id.clone(),
            detainee: remittance.detainee.clone(),
            clearing: remittance.clearing,
            amount: remittance.amount,
            facts,
        })
    }

    /// The id of its request.
    pub(super) fn request_id(&self) -> RequestId {
        self.request.id
    }

    fn suspend(&self, why: &Refusal) -> Draft {
        let reason = why.reason().as_str_name();
        let facts = self.facts.clone();
        let facts = SuspenseFacts {
            remittance: facts.remittance,
            detainee: facts.detainee,
            payer: facts.payer,
            channel: facts.channel,
            gateway_transaction: facts.gateway_transaction,
            paid_at: facts.paid_at,
            amount: facts.amount,
            reason: reason.strip_prefix("REASON_").unwrap_or(reason).to_owned(),
        };
        let posting = posting::suspended(self.clearing, self.amount);
        Draft::new(TransactionKind::Suspense, vec![posting], Facts::Suspense(facts))
    }
}

impl Command for CreditRemittance {
    fn request(&self) -> &Request {
        &self.request
    }

    fn want(&self, state: &mut State) {
        for account in [self.clearing, chart::SUSPENSE, chart::COURT_PAYABLE] {
            state.want_account(account);
        }
        if let Ok(rules) = state.room_mut::<DistributionRoom>() {
            rules.want(&self.detainee);
        }
        let standing = match state.room_mut::<DetaineeRoom>() {
            Ok(detainees) => detainees.want(&self.detainee),
            Err(_) => None,
        };
        if let Some(standing) = standing {
            state.want_account(standing.available());
            state.want_account(standing.savings());
        }
    }

    fn decide(&self, state: &State, _: &Moment) -> Result<Draft, Declined> {
        let standing = match state.room::<DetaineeRoom>()?.get_active(&self.detainee) {
            Ok(standing) => standing,
            // The money is here, whoever may have it: it is never refused.
            Err(Declined::Refused(refusal)) => return Ok(self.suspend(&refusal)),
            Err(broken) => return Err(broken),
        };
        let split = split(state, &self.detainee, &standing, self.clearing, self.amount)?;
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
        let (leg, detail) = match &entry.record.facts {
            Some(Facts::Credit(facts)) => {
                collect(state, rows, &self.detainee, &facts.parts)?;
                (LegState::Credited, String::new())
            }
            Some(Facts::Suspense(facts)) => (LegState::Suspended, facts.reason.clone()),
            _ => return Err(Declined::Broken("a credit without its facts".into())),
        };
        let at: Option<OffsetDateTime> = entry.record.recorded_at.as_ref().and_then(record::instant);
        let at = at.ok_or_else(|| Declined::Broken("a credit without its time".into()))?;
        if let Some(legs) = rows.of::<LegRows>() {
            legs.push(&self.remittance, leg, at, detail, entry.seq);
        }
        Ok(())
    }
}
