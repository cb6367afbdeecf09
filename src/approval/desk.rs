//! Deciding, and running what was allowed.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::BoxFuture;
use time::{Duration, OffsetDateTime};

use super::{
    Approval, ApprovalRefusal as R, ApprovalState, Approvals, Decision, End, Person, Verdict,
    relation::{About, require_unrelated_to},
    store::{self, Written},
};
use crate::{
    db::Conn,
    ids::{RequestId, Seq},
    ledger::{Center, Lanes, LedgerError, Request, center},
    proto::ApprovalFacts,
};

/// How long other processes leave what was allowed to the one that runs it.
const LEASE: Duration = Duration::minutes(1);

/// What kind of thing a runner runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// As approvals name it, for example `unmatched.credit`.
    pub name: &'static str,
    /// In English.
    pub title: &'static str,
    /// In Chinese.
    pub title_zh: &'static str,
}

/// What was allowed and is to run.
#[derive(Debug, Clone)]
pub struct Approved {
    /// The request id to run it under, the same each time.
    pub request_id: RequestId,
    /// The command, as it was asked for.
    pub command: Vec<u8>,
    /// Who asked, as the journal names them.
    pub actor: String,
    /// What the record says of the approval.
    pub facts: ApprovalFacts,
}

impl Approved {
    fn of(approval: &Approval) -> Approved {
        Approved {
            request_id: approval.run_id(),
            command: approval.command.clone(),
            actor: approval.maker.actor.clone(),
            facts: approval.facts(),
        }
    }

    /// What identifies the run, under the method of the command.
    pub fn request(&self, method: &'static str) -> Request {
        Request {
            id: self.request_id,
            method,
            body: self.command.clone(),
            actor: self.actor.clone(),
        }
    }
}

/// What a run has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// Money moved, in this transaction.
    Transaction(Seq),
    /// Something changed, and no money moved.
    NoTransaction,
}

/// Runs what was allowed of one kind. Run again, it must answer the same and do nothing more: the request id is the same.
pub trait Runner: Send + Sync + 'static {
    /// The kind.
    fn kind(&self) -> Kind;
    /// Runs it. A refusal ends the approval as failed; every other error leaves it to be run again.
    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>>;
}

/// Where approvals are decided. Knows the runners of all kinds.
#[derive(Clone)]
pub struct Desk {
    lanes: Lanes,
    approvals: Approvals,
    runners: Arc<BTreeMap<&'static str, Arc<dyn Runner>>>,
}

impl Desk {
    /// A desk with the runners of all kinds that can be asked for.
    pub fn new(lanes: Lanes, runners: impl IntoIterator<Item = Arc<dyn Runner>>) -> Desk {
        let runners = runners.into_iter().map(|runner| (runner.kind().name, runner)).collect();
        Desk {
            approvals: Approvals::new(lanes.clone()),
            lanes,
            runners: Arc::new(runners),
        }
    }

    /// The approvals decided here.
    pub fn approvals(&self) -> &Approvals {
        &self.approvals
    }

    /// The time by which approvals expire.
    pub fn now(&self) -> OffsetDateTime {
        self.lanes.clock().now()
    }

    /// A kind's words, if somebody runs it here.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        self.runners.get(name).map(|runner| runner.kind())
    }

    /// Decides. The same decision of the same person again is answered with how things stand; the last approval that is needed
    /// runs what was asked for, and so does its repetition if it did not run yet.
    ///
    /// Errors: NOT_FOUND, MAKER_IS_CHECKER, ALREADY_DECIDED, APPROVAL_CLOSED; and those after which it is not known whether it
    /// ran.
    pub async fn decide(
        &self,
        center: &Center,
        no: i64,
        person: &Person,
        verdict: Verdict,
        reason: String,
    ) -> Result<Approval, LedgerError> {
        self.write(center, no, person, verdict, reason).await?;
        self.run(center, no).await
    }

    /// Writes a decision down, without running anything.
    pub async fn write(
        &self,
        center: &Center,
        no: i64,
        person: &Person,
        verdict: Verdict,
        reason: String,
    ) -> Result<(), LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        // Whoever decides at the same time waits here.
        let head = center::head(&mut tx, center.no, true).await?;
        let now = self.now().max(head.recorded_at);
        let approval = store::get(&mut tx, center, no).await?;
        let approval = approval.ok_or(R::NotFound { approval: no })?;
        if let Some(told) = approval.decision_of(person) {
            return if told.verdict == verdict {
                Ok(())
            } else {
                let verdict = told.verdict.name();
                Err(R::Decided { approval: no, verdict }.into())
            };
        }
        match approval.state(now) {
            ApprovalState::Pending => {}
            ApprovalState::Expired => {
                end_in_tx(&mut tx, center, no, &End::Expired, now).await?;
                tx.commit().await?;
                return Err(R::Expired { approval: no }.into());
            }
            state => {
                let state = state_name(state);
                return Err(R::Closed { approval: no, state }.into());
            }
        }
        let about = About {
            kind: &approval.kind,
            subject: &approval.subject,
            command: &approval.command,
        };
        require_unrelated_to(&mut tx, center.no, &person.actor, &about).await?;
        let decision = Decision {
            person: person.clone(),
            verdict,
            reason,
            at: now,
        };
        match store::insert_decision(&mut tx, center.no, &approval, &decision).await? {
            Written::Done => {}
            Written::ByMaker => return Err(R::MakerIsChecker { approval: no }.into()),
            // Not while the head is held, unless somebody writes without it: what they decided is read when asked again.
            Written::Twice => return Err(LedgerError::Unavailable),
        }
        match verdict {
            Verdict::Refused => end_in_tx(&mut tx, center, no, &End::Refused, now).await?,
            Verdict::Approved => {
                let decided = store::get(&mut tx, center, no).await?.ok_or(LedgerError::Internal)?;
                if decided.is_approved() {
                    store::insert_grant(&mut tx, center.no, &decided, now).await?;
                    store::set_next(&mut tx, center.no, no, now + LEASE).await?;
                }
            }
        }
        tx.commit().await?;
        Ok(())
    }

    /// Runs what was allowed, unless it ran or may not; the approval as it then stands.
    pub async fn run(&self, center: &Center, no: i64) -> Result<Approval, LedgerError> {
        let approval = self.approvals.get(center, no).await?;
        if approval.end.is_some() || !approval.is_approved() {
            return Ok(approval);
        }
        let Some(runner) = self.runners.get(approval.kind.as_str()) else {
            tracing::error!(center = %center.id, approval = no, kind = approval.kind, "ALARM: nobody runs what was allowed");
            return Err(LedgerError::Internal);
        };
        let end = match runner.run(center, Approved::of(&approval)).await {
            Ok(Done::Transaction(seq)) => End::Executed(Some(seq)),
            Ok(Done::NoTransaction) => End::Executed(None),
            Err(LedgerError::Refused { refusal, .. }) => End::Failed(refusal),
            Err(error) => return Err(error),
        };
        let mut tx = self.lanes.database().lane.begin().await?;
        let head = center::head(&mut tx, center.no, true).await?;
        end_in_tx(&mut tx, center, no, &end, self.now().max(head.recorded_at)).await?;
        tx.commit().await?;
        self.approvals.get(center, no).await
    }

    /// Runs up to `limit` that were allowed and did not run, and writes down which have expired; how many it looked at.
    pub async fn look(&self, center: &Center, limit: i64) -> Result<usize, LedgerError> {
        let now = self.now();
        let mut conn = self.lanes.database().lane.acquire().await?;
        let due = store::claim(&mut conn, center.no, now, now + LEASE, limit).await?;
        drop(conn);
        for no in &due {
            if let Err(error) = self.look_at(center, *no).await {
                tracing::warn!(center = %center.id, approval = no, %error, "an approval is looked at again after the lease");
            }
        }
        Ok(due.len())
    }

    async fn look_at(&self, center: &Center, no: i64) -> Result<(), LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        let head = center::head(&mut tx, center.no, true).await?;
        let now = self.now().max(head.recorded_at);
        let approval = store::get(&mut tx, center, no).await?.ok_or(LedgerError::Internal)?;
        match approval.state(now) {
            ApprovalState::Approved => {
                drop(tx);
                self.run(center, no).await.map(drop)
            }
            ApprovalState::Expired => {
                end_in_tx(&mut tx, center, no, &End::Expired, now).await?;
                Ok(tx.commit().await?)
            }
            _ => {
                store::set_next(&mut tx, center.no, no, approval.expires_at).await?;
                Ok(tx.commit().await?)
            }
        }
    }
}

/// Ends an approval, once. The caller holds the journal's head.
pub(super) async fn end_in_tx(
    conn: &mut Conn,
    center: &Center,
    no: i64,
    end: &End,
    at: OffsetDateTime,
) -> Result<(), LedgerError> {
    store::insert_end(conn, center.no, no, end, at).await?;
    Ok(store::delete_open(conn, center.no, no).await?)
}

fn state_name(state: ApprovalState) -> &'static str {
    match state {
        ApprovalState::Pending => "PENDING",
        ApprovalState::Approved => "APPROVED",
        ApprovalState::Executed => "EXECUTED",
        ApprovalState::Failed => "FAILED",
        ApprovalState::Refused => "REFUSED",
        ApprovalState::Expired => "EXPIRED",
    }
}
