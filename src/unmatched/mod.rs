//! Money without one of our orders: bank lines, and payments of orders that a gateway knows and we never issued.
//!
//! It waits in suspense, with a work item that has a deadline, until it is known whose it is.
//!
//! # Layout
//! - `entity`: comparing what was written with who is there, pure. `receive`: into suspense. `credit`, `returning`: out of it.
//! - `ask`: what two people decide.
//!
//! # Invariants
//! 1. A bank reference, and a payment of a channel, enters once.
//! 2. It leaves once and whole: to one detainee, by the distribution, or back to whoever sent it.
//! 3. It leaves by two people, and three from 5,000.00. When the exact custody number and the birth date were written, and nothing
//!    speaks against it, the recording asks the others by itself: what one person wrote down is not yet the bank's word.

mod ask;
mod credit;
mod entity;
mod error;
mod posting;
mod receive;
mod returning;
mod store;
mod verify;

use std::sync::Arc;

pub use ask::{CREDIT, RETURN};
use ask::{CreditRunner, Leave, ReturnRunner, Way};
pub use credit::{Credited, credited_in_rows, waiting_in_tx};
use entity::judge_in_tx;
pub use entity::{Judgement, Line, Outcome, Sum, SumEnd};
pub use error::UnmatchedRefusal;
use receive::Receive;
pub use verify::UnmatchedCheck;

use crate::{
    approval::{Approval, Approvals, Asking, Person, Runner},
    custody::Custody,
    ids::{DetaineeId, RequestId, Seq},
    ledger::{Center, Lanes, LedgerError, Request, center, transaction},
    remittance::{Paid, parse_order_number},
};

/// The method that the request of a match names. No caller can call it.
const MATCH_METHOD: &str = "custody.v1.UnmatchedService/AskForMatch";

/// The verbs of this domain.
#[derive(Clone)]
pub struct UnmatchedSums {
    lanes: Lanes,
    custody: Custody,
    approvals: Approvals,
}

impl UnmatchedSums {
    /// The domain over its journals.
    pub fn new(lanes: Lanes, custody: Custody) -> UnmatchedSums {
        UnmatchedSums {
            approvals: Approvals::new(lanes.clone()),
            lanes,
            custody,
        }
    }

    /// What runs here when two people have allowed it.
    pub fn runners(&self) -> [Arc<dyn Runner>; 2] {
        let lanes = self.lanes.clone();
        [Arc::new(CreditRunner(lanes.clone())), Arc::new(ReturnRunner(lanes))]
    }

    /// Records a bank line, and asks others to allow its credit when it is certain whose it is. The same request again finishes
    /// what was not done; the second value tells that it is a repetition.
    ///
    /// Errors: ALREADY_EXISTS when the bank reference is there under another request.
    pub async fn record(&self, center: &Center, request: Request, line: Line) -> Result<(Sum, bool), LedgerError> {
        let posted = self
            .lanes
            .submit_rare(center, Receive::bank_line(request, line))
            .await?;
        Ok((self.compare(center, posted.seq()).await?, posted.replayed))
    }

    /// Takes a payment of an order that was never issued, if its number tells a center of ours and its currency. Whether it did.
    pub async fn receive(&self, channel: &str, paid: &Paid) -> Result<bool, LedgerError> {
        let Some((no, _)) = parse_order_number(&paid.order_number) else {
            return Ok(false);
        };
        let center = self.custody.center_of_number(no).await?;
        let Some(center) = center.filter(|center| center.currency == paid.amount.currency()) else {
            return Ok(false);
        };
        match self
            .lanes
            .submit_rare(&center, Receive::unknown_order(&center, channel, paid))
            .await
        {
            Ok(_) => Ok(true),
            // The gateway's transaction has paid something else already.
            Err(LedgerError::RequestReused { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Compares a sum that waits with who is there. When it is certain whose it is, and nobody is asked about it yet, others are
    /// asked to allow its credit, as if whoever recorded it had asked. The sum as it then stands.
    ///
    /// Errors: NOT_FOUND.
    pub async fn compare(&self, center: &Center, seq: Seq) -> Result<Sum, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let head = center::head(&mut conn, center.no, false).await?;
        drop(conn);
        let sum = self.get(center, seq).await?;
        let (None, Some(judgement)) = (&sum.end, self.judge(center, &sum).await?) else {
            return Ok(sum);
        };
        let Outcome::Credit(detainee) = &judgement.outcome else {
            return Ok(sum);
        };
        if self.open_approval(center, seq).await?.is_some() {
            return Ok(sum);
        }
        let question = Leave {
            sum: seq,
            way: Way::Credit(detainee.clone(), judgement.matched_by()),
        };
        let recorded = transaction::get(&*self.lanes.database().read, center.no, seq).await?;
        let actor = recorded.ok_or(LedgerError::Internal)?.record.actor;
        // The moment of the journal is part of the id: what was refused or has expired can be asked for again later.
        let moment = [seq.0, head.seq.0, head.rules_version].map(|number| number.to_string());
        let asking = Asking {
            request: Request {
                id: RequestId::derived(&["unmatched", &moment[0], &moment[1], &moment[2]]),
                method: MATCH_METHOD,
                body: question.command(&sum),
                actor: actor.clone(),
            },
            maker: Person::named(&actor),
            reason: format!("matched by {}", judgement.matched_by().join(", ")),
        };
        match self.approvals.ask(center, &asking, &question).await {
            // Refused or asked for in other words, something was faster; where it stands now is the answer.
            Ok(_) | Err(LedgerError::Refused { .. } | LedgerError::RequestReused { .. }) => {}
            Err(error) => return Err(error),
        }
        self.get(center, seq).await
    }

    /// The approval about a sum that others have still to decide, if there is one.
    pub async fn open_approval(&self, center: &Center, seq: Seq) -> Result<Option<Approval>, LedgerError> {
        self.approvals.open_about(center, &subject(seq)).await
    }

    /// Whose a sum may be as things stand; none when it does not wait.
    pub async fn judge(&self, center: &Center, sum: &Sum) -> Result<Option<Judgement>, LedgerError> {
        if sum.end.is_some() {
            return Ok(None);
        }
        let now = self.lanes.clock().now();
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(Some(judge_in_tx(&mut conn, center, &sum.facts, sum.amount, now).await?))
    }

    /// A sum as it stands.
    ///
    /// Errors: NOT_FOUND.
    pub async fn get(&self, center: &Center, seq: Seq) -> Result<Sum, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::get(&mut conn, center, seq).await?;
        found.ok_or_else(|| UnmatchedRefusal::NotFound { sum: seq }.into())
    }

    /// Up to `limit` sums before a number, newest first; those that wait or all.
    pub async fn list(
        &self,
        center: &Center,
        waiting: bool,
        before: Option<Seq>,
        limit: i64,
    ) -> Result<Vec<Sum>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::list(&mut conn, center, waiting, before, limit).await?)
    }

    /// Asks others to allow that a sum is credited to a detainee.
    ///
    /// Errors: NOT_FOUND, NOT_IN_SUSPENSE, DETAINEE_NOT_ACTIVE, APPROVAL_PENDING.
    pub async fn propose_credit(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        sum: Seq,
        detainee: DetaineeId,
        reason: String,
    ) -> Result<(Approval, bool), LedgerError> {
        let way = Way::Credit(detainee, Vec::new());
        let asking = Asking { request, maker, reason };
        self.approvals.ask(center, &asking, &Leave { sum, way }).await
    }

    /// Asks others to allow that a sum goes back to whoever sent it.
    ///
    /// Errors: NOT_FOUND, NOT_IN_SUSPENSE, APPROVAL_PENDING.
    pub async fn propose_return(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        sum: Seq,
        reason: String,
    ) -> Result<(Approval, bool), LedgerError> {
        let asking = Asking { request, maker, reason };
        let way = Way::Return;
        self.approvals.ask(center, &asking, &Leave { sum, way }).await
    }
}

/// What approvals and work items of a sum are about.
fn subject(sum: Seq) -> String {
    format!("unmatchedSums/{sum}")
}
