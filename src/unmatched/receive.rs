//! Money without an order comes in: into suspense, with a work item, in one transaction.

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    Outcome, UnmatchedRefusal as R,
    entity::{Line, judge_in_tx},
    posting, store, subject,
};
use crate::{
    ids::{AccountNo, RequestId},
    ledger::{Center, Code, Declined, Draft, JournalTx, LedgerError, RareCommand, Request, account, chart, record},
    money::Amount,
    proto::{TransactionKind, UnmatchedFacts, UnmatchedSumWork, WorkFacts, journal_record::Facts, work_facts},
    remittance::Paid,
    work::{self, NewItem, WorkKind},
};

/// The method that the request of a payment of an unknown order names. No caller can call it.
const METHOD: &str = "custody.v1.UnmatchedService/ReceiveUnknownOrder";

/// Money without an order comes in.
#[derive(Debug)]
pub(super) struct Receive {
    request: Request,
    amount: Amount,
    facts: UnmatchedFacts,
}

impl Receive {
    /// A line of the bank's statement.
    pub fn bank_line(request: Request, line: Line) -> Receive {
        Receive {
            request,
            amount: line.amount,
            facts: line.facts(),
        }
    }

    /// A payment of an order that was never issued. Its request id is the one that a payment of an order of ours would have, so
    /// that a gateway's payment is booked once, whatever it turns out to be for.
    pub fn unknown_order(center: &Center, channel: &str, paid: &Paid) -> Receive {
        let facts = UnmatchedFacts {
            channel: channel.to_owned(),
            reference: paid.gateway_transaction.clone(),
            amount: paid.amount.to_string(),
            value_date: center.zone.business_date(paid.paid_at).to_string(),
            order_number: paid.order_number.clone(),
            ..UnmatchedFacts::default()
        };
        let request = Request {
            id: RequestId::derived(&[channel, &paid.gateway_transaction]),
            method: METHOD,
            body: record::canonical(&facts),
            actor: format!("gateway/{channel}"),
        };
        Receive {
            request,
            amount: paid.amount,
            facts,
        }
    }

    /// The account it came in through.
    async fn source(&self, tx: &mut JournalTx, center: &Center) -> Result<AccountNo, Declined> {
        if self.facts.channel.is_empty() {
            return Ok(chart::BANK);
        }
        let (owner, at) = (format!("channels/{}", self.facts.channel), tx.moment().recorded_at);
        let clearing = account::find_or_open_in_tx(tx.conn(), center.no, Code::GatewayClearing, &owner, at).await?;
        tx.touch_rules();
        Ok(clearing)
    }

    async fn receive(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let (channel, reference) = (&self.facts.channel, &self.facts.reference);
        if let Some(transaction) = store::by_reference(tx.conn(), center.no, channel, reference).await? {
            let reference = reference.clone();
            return Err(R::ReferenceTaken { reference, transaction }.into());
        }
        let from = self.source(tx, &center).await?;
        let at = moment.recorded_at;
        let judgement = judge_in_tx(tx.conn(), &center, &self.facts, self.amount, at).await;
        let judgement = judgement.map_err(|error| match error {
            LedgerError::Refused { refusal, .. } => Declined::Refused(refusal),
            other => Declined::Broken(other.to_string()),
        })?;
        store::insert(tx.conn(), center.no, moment.seq, at, self.amount, &self.facts).await?;
        let reason = match judgement.outcome {
            // It is credited next; should that not happen, the item tells what to do.
            Outcome::Credit(_) => "MATCHED",
            Outcome::Wait(reason) => reason,
        };
        let known = UnmatchedSumWork {
            amount: self.amount.to_string(),
            reason: reason.to_owned(),
            candidates: judgement.candidates,
        };
        let known = WorkFacts {
            facts: Some(work_facts::Facts::UnmatchedSum(known)),
        };
        let item = NewItem::new(WorkKind::UnmatchedSum, subject(moment.seq), known, at);
        work::raise_in_tx(tx.conn(), center.no, &item).await?;
        Ok(Draft::new(
            TransactionKind::UnmatchedReceived,
            vec![posting::received(from, self.amount)],
            Facts::Unmatched(self.facts.clone()),
        ))
    }
}

impl RareCommand for Receive {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.receive(tx).boxed()
    }
}
