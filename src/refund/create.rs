//! Setting money aside for a payer.

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    RefundRefusal as R,
    entity::{self, RefundRow, RefundState, credit_facts, next_ask, refund_number},
    posting, store,
    unspent::Unspent,
};
use crate::{
    custody::{self, CustodyRefusal, Detainee, DetaineeState},
    gateway::Channels,
    ids::{DetaineeId, RemittanceId},
    ledger::{Declined, Draft, JournalTx, RareCommand, Refusal, Request, transaction},
    money::Amount,
    proto::{RefundFacts, TransactionKind, journal_record::Facts},
};

/// Money of a remittance is to go back to its payer.
pub(super) struct CreateRefund {
    pub request: Request,
    pub remittance: RemittanceId,
    pub amount: Amount,
    pub reason: String,
    pub channels: Channels,
}

/// The detainee, who must be active.
///
/// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE.
pub(super) async fn active_detainee(tx: &mut JournalTx, id: &DetaineeId) -> Result<Detainee, Declined> {
    let center = tx.center().clone();
    let detainee = custody::detainee_in_tx(tx.conn(), &center, id).await?;
    let detainee = detainee.ok_or_else(|| Refusal::from(CustodyRefusal::DetaineeNotFound { detainee: id.clone() }))?;
    if detainee.state == DetaineeState::Active {
        return Ok(detainee);
    }
    let refusal = CustodyRefusal::DetaineeNotActive {
        detainee: id.clone(),
        state: detainee.state.name(),
    };
    Err(Refusal::from(refusal).into())
}

impl CreateRefund {
    async fn create(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let credit = store::credit_seq(tx.conn(), center.no, &self.remittance).await?;
        let credit = credit.ok_or_else(|| R::RemittanceNotCredited {
            remittance: self.remittance.clone(),
        })?;
        let credited = transaction::get(tx.conn(), center.no, credit).await?;
        let credited = credited.ok_or_else(|| Declined::Broken(format!("transaction {credit} is gone")))?;
        let facts = credit_facts(&credited.record)?;
        if self.channels.get(&facts.channel).is_none() {
            return Err(R::ChannelNotFound {
                channel: facts.channel.clone(),
            }
            .into());
        }
        let detainee =
            DetaineeId::parse(&facts.detainee).map_err(|error| Declined::Broken(format!("{credit}: {error}")))?;
        let detainee = active_detainee(tx, &detainee).await?;
        let (movements, _) = store::movements(tx.conn(), &center, detainee.available(), moment.seq).await?;
        let layers = Unspent::of(&movements, center.currency)?;
        let original = Amount::parse(&facts.amount, center.currency)?;
        let unspent = entity::check_refund(&layers, &self.remittance, original, self.amount)?;
        let row = RefundRow {
            seq: moment.seq,
            remittance: self.remittance.clone(),
            detainee: detainee.id.clone(),
            credit,
            amount: self.amount,
            state: RefundState::Requested,
            end: None,
        };
        let (at, ask_at) = (moment.recorded_at, next_ask(0, moment.recorded_at));
        store::insert_refund(tx.conn(), center.no, &row, at, ask_at).await?;
        let facts = RefundFacts {
            remittance: facts.remittance.clone(),
            payer: facts.payer.clone(),
            detainee: facts.detainee.clone(),
            channel: facts.channel.clone(),
            refund_number: refund_number(center.no, moment.seq),
            amount: self.amount.to_string(),
            unspent: unspent.to_string(),
            reason: self.reason.clone(),
        };
        Ok(Draft::new(
            TransactionKind::RefundRequested,
            vec![posting::requested(&detainee, self.amount)],
            Facts::Refund(facts),
        ))
    }
}

impl RareCommand for CreateRefund {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.create(tx).boxed()
    }
}
