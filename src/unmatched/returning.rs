//! Money without an order goes back to whoever sent it, by the bank.

use futures::future::{BoxFuture, FutureExt as _};

use super::{SumEnd, UnmatchedRefusal as R, credit::require_waiting, posting, store, subject};
use crate::{
    ids::Seq,
    ledger::{Declined, Draft, JournalTx, RareCommand, Request},
    proto::{ApprovalFacts, TransactionKind, UnmatchedReturnFacts, journal_record::Facts},
    work::{self, Closing, WorkKind},
};

/// The method that such a return's request names. No caller can call it.
pub(super) const METHOD: &str = "custody.v1.UnmatchedService/ReturnUnmatched";

/// A sum goes from suspense back to whoever sent it, whole.
#[derive(Debug)]
pub(super) struct ReturnUnmatched {
    /// What identifies it.
    pub request: Request,
    /// Which sum.
    pub sum: Seq,
    /// Who decided.
    pub approval: ApprovalFacts,
}

impl ReturnUnmatched {
    async fn give_back(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment, sum) = (tx.center().clone(), tx.moment(), self.sum);
        let found = store::get(tx.conn(), &center, sum).await?;
        let found = found.ok_or(R::NotFound { sum })?;
        require_waiting(sum, found.end.as_ref())?;
        store::insert_end(
            tx.conn(),
            center.no,
            sum,
            moment.seq,
            &SumEnd::Returned,
            self.approval.approval,
        )
        .await?;
        let closing = Closing {
            kind: WorkKind::UnmatchedSum,
            subject: &subject(sum),
            at: moment.recorded_at,
            actor: &self.request.actor,
            reason: "returned",
            seq: Some(moment.seq),
        };
        work::close_in_tx(tx.conn(), center.no, &closing).await?;
        let facts = UnmatchedReturnFacts {
            amount: found.amount.to_string(),
            payer_name: found.facts.payer_name,
            payer_account: found.facts.payer_account,
            approval: Some(self.approval.clone()),
        };
        let draft = Draft::new(
            TransactionKind::UnmatchedReturned,
            vec![posting::returned(found.amount)],
            Facts::UnmatchedReturn(facts),
        );
        Ok(draft.reversing(sum))
    }
}

impl RareCommand for ReturnUnmatched {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.give_back(tx).boxed()
    }
}
