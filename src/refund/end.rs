//! The command that ends a refund.

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    RefundRefusal as R, bank,
    entity::{RefundRow, RefundState},
    posting, redirect, store,
};
use crate::{
    custody,
    ids::Seq,
    ledger::{Center, Code, Declined, Draft, JournalTx, Posting, RareCommand, Request, account},
    proto::{OutcomeFacts, TransactionKind, journal_record::Facts},
    remittance::suspense::{self, Move, Movement},
    work::{self, Closing, WorkKind},
};

/// Who says how a refund ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndedBy {
    /// The gateway that it went to.
    Gateway,
    /// The bank.
    Bank,
    /// Several people, of one that the gateway cannot pay.
    People,
}

/// How a refund ended.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub end: RefundState,
    pub by: EndedBy,
    pub facts: OutcomeFacts,
}

/// A refund has its outcome, once.
pub(super) struct EndRefund {
    pub request: Request,
    pub refund: Seq,
    pub outcome: Outcome,
}

impl EndRefund {
    async fn end(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let row = store::refund(tx.conn(), &center, self.refund).await?;
        let row = row.ok_or(R::RefundNotFound { refund: self.refund })?;
        if row.state.is_end() {
            let state = row.state.name();
            return Err(R::NotInTransit { state }.into());
        }
        let (end, facts) = (self.outcome.end, &self.outcome.facts);
        let (kind, posting) = if end == RefundState::Succeeded {
            (
                TransactionKind::RefundSucceeded,
                self.paid_from(tx, &center, &row).await?,
            )
        } else {
            self.require_failed(tx, &center, &row).await?;
            (TransactionKind::RefundFailed, put_back(tx, &center, &row).await?)
        };
        if row.from_suspense {
            self.move_in_suspense(tx, &center, &row).await?;
        }
        let (at, end_seq) = (moment.recorded_at, Some(moment.seq));
        store::insert_leg(tx.conn(), center.no, row.seq, end, at, &facts.reason, end_seq).await?;
        store::delete_open(tx.conn(), center.no, row.seq).await?;
        for kind in [WorkKind::AbnormalRefund, WorkKind::RefundPayout] {
            let closing = Closing {
                kind,
                subject: &redirect::subject(row.seq),
                at,
                actor: &self.request.actor,
                reason: end.name(),
                seq: end_seq,
            };
            work::close_in_tx(tx.conn(), center.no, &closing).await?;
        }
        Ok(Draft::new(kind, vec![posting], Facts::Outcome(facts.clone())).reversing(row.seq))
    }

    /// What a refund that was paid was paid from: the gateway's clearing account, or the bank.
    async fn paid_from(&self, tx: &mut JournalTx, center: &Center, row: &RefundRow) -> Result<Posting, Declined> {
        let by_bank = bank::is_payable(tx.conn(), center.no, row.seq).await?;
        if by_bank != (self.outcome.by == EndedBy::Bank) {
            let what = format!("refund {} is not paid by whoever says so", row.seq);
            return Err(Declined::Broken(what));
        }
        if by_bank {
            return Ok(posting::paid_by_bank(row.amount));
        }
        let owner = format!("channels/{}", row.channel);
        let clearing = account::find(tx.conn(), center.no, Code::GatewayClearing, &owner).await?;
        let clearing = clearing.ok_or_else(|| Declined::Broken(format!("{owner} has no clearing account")))?;
        Ok(posting::succeeded(clearing, row.amount))
    }

    /// What stands in a file is taken back only if others have allowed it; what was told the gateway is not put back by people.
    async fn require_failed(&self, tx: &mut JournalTx, center: &Center, row: &RefundRow) -> Result<(), Declined> {
        let end = tx.moment().seq;
        let approval = self.outcome.facts.approval.as_ref();
        match (self.outcome.by, approval) {
            (EndedBy::Gateway, _) => Ok(()),
            (EndedBy::People, Some(_)) => match store::redirect(tx.conn(), center.no, row.seq).await? {
                None => Ok(()),
                Some(_) => Err(R::NotAbnormal { refund: row.seq }.into()),
            },
            (EndedBy::Bank, Some(approval)) => {
                let sent = bank::sent_as(tx.conn(), center.no, row.seq).await?;
                let sent = sent.ok_or(R::RefundNotFound { refund: row.seq })?;
                bank::insert_failure(tx.conn(), center.no, &sent, approval.approval, end).await?;
                Ok(())
            }
            (EndedBy::People | EndedBy::Bank, None) => Err(R::NotAllowedAlone.into()),
        }
    }

    async fn move_in_suspense(&self, tx: &mut JournalTx, center: &Center, row: &RefundRow) -> Result<(), Declined> {
        let moment = tx.moment();
        let told = Move {
            payment: row.credit,
            seq: moment.seq,
            at: moment.recorded_at,
            actor: &self.request.actor,
            movement: match self.outcome.end {
                RefundState::Succeeded => Movement::PaidBack,
                _ => Movement::PutBack,
            },
            amount: row.amount,
        };
        Ok(suspense::move_in_tx(tx.conn(), center, &told).await?)
    }
}

/// Where the money of a refund goes that nobody could pay: to where it came from.
async fn put_back(tx: &mut JournalTx, center: &Center, row: &RefundRow) -> Result<Posting, Declined> {
    if row.from_suspense {
        return Ok(posting::failed_to_suspense(row.amount));
    }
    let detainee = custody::detainee_in_tx(tx.conn(), center, &row.detainee).await?;
    let detainee = detainee.ok_or_else(|| Declined::Broken(format!("detainee {} is gone", row.detainee)))?;
    Ok(posting::failed(&detainee, row.amount))
}

impl RareCommand for EndRefund {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.end(tx).boxed()
    }
}
