//! Two people for one decision: one asks, others allow, and what was allowed then runs once.
//!
//! A room that needs two people asks with [`Approvals::ask`], or with [`Approvals::ask_or_run`] where only some of what it does
//! needs them: the kind, the encoded command that will run, what it is about and why. Others decide at the [`Desk`], which knows
//! for each kind the [`Runner`] that runs it. Whoever gives the last approval that is needed runs it; when the process dies in
//! between, the same decision again, or the job ([`Desk::look`]), runs it.
//!
//! # Layout
//! - `entity`: where an approval stands, and how many people it needs, pure. `desk`: deciding and running.
//! - `relation`: staff who are related to a detainee, and decide nothing about their money.
//!
//! # Invariants
//! 1. Nobody decides on what they asked for, and nobody twice: constraints of the database, whoever writes to it. A person is a
//!    token's subject, whatever the role.
//! 2. From 5,000.00 three people: one asks, two allow.
//! 3. What was allowed runs under a request id derived from the approval, so that it happens once however often it is run.
//! 4. There is one open approval for each subject.
//! 5. What moves money by an approval names a grant: a row that exists only when everybody needed, each of them somebody else, has
//!    allowed it.

mod desk;
mod entity;
mod error;
pub mod relation;
mod store;
mod verify;

use std::{future::Future, sync::Arc};

use futures::future::BoxFuture;
use time::{Duration, OffsetDateTime};

pub use desk::{Approved, Desk, Done, Kind, Runner};
pub use entity::{
    Approval, ApprovalState, Decision, End, Person, Verdict, is_large_payout, is_one_person, person_of, unreadable,
};
pub use error::ApprovalRefusal;
pub use verify::{ApprovalsCheck, Need};

use crate::{
    db::{self, Conn},
    ids::RequestId,
    ledger::{Center, Lanes, LedgerError, Outcome, Posted, Request, center, outcome, transaction},
    money::Amount,
    proto::JournalRecord,
};

/// How long an approval can be decided, unless whoever asks says otherwise.
pub const VALID: Duration = Duration::hours(72);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct NewApproval {
    /// The kind, by its runner's name.
    pub kind: &'static str,
    /// What it is about, relative to the center, for example `unmatchedSums/12`.
    pub subject: String,
    /// The command that will run, encoded canonically.
    pub command: Vec<u8>,
    /// What will be done, in a sentence for whoever decides.
    pub summary: String,
    /// How much it moves, if that is known before.
    pub amount: Option<Amount>,
    /// For how long it can be decided.
    pub valid: Duration,
}

/// Who asks, under which request, and why.
#[derive(Debug, Clone)]
pub struct Asking {
    /// What identifies the request.
    pub request: Request,
    /// Who asks.
    pub maker: Person,
    /// Why.
    pub reason: String,
}

/// Something that a room asks others to allow.
pub trait Question: Send + Sync {
    /// Looks whether it can be done at all as things stand, and says what others have to allow; nothing when one person may do
    /// it. The journal's head is locked.
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>>;
}

/// What became of a request for something that others may have to allow.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The transaction, if it is done by now.
    pub record: Option<Arc<JournalRecord>>,
    /// The approval, if it needs one.
    pub approval: Option<Approval>,
    /// Whether the request is a repetition.
    pub replayed: bool,
}

/// Asking for approvals, and reading them.
#[derive(Clone)]
pub struct Approvals {
    lanes: Lanes,
}

/// Which approvals a list shows.
#[derive(Debug, Clone, Default)]
pub struct ApprovalFilter {
    /// Only those without an end.
    pub open: bool,
    /// Only those about this, relative to the center.
    pub subject: Option<String>,
    /// Only those before this number.
    pub before: Option<i64>,
}

/// Where an approval stands below its center, as the outcome of its request names it.
const COLLECTION: &str = "approvals/";

impl Approvals {
    /// Over the journals.
    pub fn new(lanes: Lanes) -> Approvals {
        Approvals { lanes }
    }

    /// Asks others to allow something. The same request again is answered with the approval as it stands; the second value tells
    /// that it is a repetition. A refusal is kept, and answers the same request for ever.
    ///
    /// Errors: those of the question, APPROVAL_PENDING.
    pub async fn ask(
        &self,
        center: &Center,
        asking: &Asking,
        question: &dyn Question,
    ) -> Result<(Approval, bool), LedgerError> {
        let asked = self.ask_if_needed(center, asking, question).await?;
        asked.ok_or_else(|| {
            tracing::error!(
                method = asking.request.method,
                "what always needs others is said to need nobody"
            );
            LedgerError::Internal
        })
    }

    /// Asks others to allow something, if anybody has to; otherwise runs it. The same request again is answered as it was the
    /// first time, also when by now others would be needed, or not any more.
    ///
    /// Errors: those of the question and of the run, APPROVAL_PENDING.
    pub async fn ask_or_run(
        &self,
        center: &Center,
        asking: &Asking,
        question: &dyn Question,
        run: impl Future<Output = Result<Posted, LedgerError>>,
    ) -> Result<Answered, LedgerError> {
        if let Some(asked) = self.ask_if_needed(center, asking, question).await? {
            return self.answered(center, asked).await;
        }
        let posted = run.await?;
        Ok(Answered {
            record: Some(posted.record),
            approval: None,
            replayed: posted.replayed,
        })
    }

    /// An approval that was asked for, with what it made if it ran.
    pub async fn answered(
        &self,
        center: &Center,
        (approval, replayed): (Approval, bool),
    ) -> Result<Answered, LedgerError> {
        let record = match &approval.end {
            Some((End::Executed(Some(seq)), _)) => {
                let found = transaction::get(&*self.lanes.database().read, center.no, *seq).await?;
                Some(Arc::new(found.ok_or(LedgerError::Internal)?.record))
            }
            _ => None,
        };
        Ok(Answered {
            record,
            approval: Some(approval),
            replayed,
        })
    }

    async fn ask_if_needed(
        &self,
        center: &Center,
        asking: &Asking,
        question: &dyn Question,
    ) -> Result<Option<(Approval, bool)>, LedgerError> {
        let request = &asking.request;
        let mut tx = self.lanes.database().lane.begin().await?;
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        if let Some(stored) = outcome::find(&mut tx, center.no, request.id).await? {
            let no = match stored.answer(request)? {
                Outcome::Accepted { resource, .. } => number_of(&resource)?,
                Outcome::Refused { refusal, .. } => {
                    return Err(LedgerError::Refused {
                        refusal,
                        replayed: true,
                    });
                }
                // Done without others: the lane answers the repetition.
                Outcome::Posted(_) => return Ok(None),
            };
            drop(tx);
            return Ok(Some((self.get(center, no).await?, true)));
        }
        // After the last transaction, whatever the clocks of other processes say.
        let now = self.lanes.clock().now().max(head.recorded_at + Duration::MICROSECOND);
        let asked = self.put(&mut tx, center, asking, question, now).await;
        let outcome = match &asked {
            Ok(None) => return Ok(None),
            Ok(Some(no)) => Ok(format!("{COLLECTION}{no}")),
            // Whoever refuses has written nothing yet.
            Err(LedgerError::Refused { refusal, .. }) => Err(refusal),
            Err(error) => return Err(error.clone()),
        };
        let kept = outcome.as_ref().map(String::as_str).map_err(|refusal| *refusal);
        outcome::keep_in_tx(&mut tx, center, &head, request, kept, now).await?;
        tx.commit().await?;
        match asked? {
            Some(no) => Ok(Some((self.get(center, no).await?, false))),
            None => Ok(None),
        }
    }

    async fn put(
        &self,
        tx: &mut Conn,
        center: &Center,
        asking: &Asking,
        question: &dyn Question,
        now: OffsetDateTime,
    ) -> Result<Option<i64>, LedgerError> {
        let Some(new) = question.check(tx, center, now).await? else {
            return Ok(None);
        };
        let about = relation::About {
            kind: new.kind,
            subject: &new.subject,
            command: &new.command,
        };
        relation::require_unrelated_to(tx, center.no, &asking.maker.actor, &about).await?;
        if let Some(open) = store::open_of(tx, center, &new.subject).await? {
            if open.state(now) != ApprovalState::Expired {
                return Err(ApprovalRefusal::Pending { approval: open.no }.into());
            }
            desk::end_in_tx(tx, center, open.no, &End::Expired, now).await?;
        }
        let approval = Approval {
            no: store::next_no(tx, center.no).await?,
            request_id: asking.request.id,
            kind: new.kind.to_owned(),
            subject: new.subject,
            command: new.command,
            summary: new.summary,
            amount: new.amount,
            checkers_needed: entity::checkers_needed(new.amount),
            maker: asking.maker.clone(),
            reason: asking.reason.clone(),
            created_at: now,
            expires_at: now + new.valid,
            decisions: Vec::new(),
            end: None,
        };
        store::insert(tx, center.no, &approval).await?;
        Ok(Some(approval.no))
    }

    /// The approval about something that others have still to decide, if there is one.
    pub async fn open_about(&self, center: &Center, subject: &str) -> Result<Option<Approval>, LedgerError> {
        let now = self.lanes.clock().now();
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(open_in_tx(&mut conn, center, subject, now).await?)
    }

    /// An approval as it stands.
    ///
    /// Errors: NOT_FOUND.
    pub async fn get(&self, center: &Center, no: i64) -> Result<Approval, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::get(&mut conn, center, no).await?;
        found.ok_or_else(|| ApprovalRefusal::NotFound { approval: no }.into())
    }

    /// The approval that a request asked for, if it asked for one.
    pub async fn of_request(&self, center: &Center, request: RequestId) -> Result<Option<Approval>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        match store::of_request(&mut conn, center.no, request).await? {
            Some(no) => Ok(store::get(&mut conn, center, no).await?),
            None => Ok(None),
        }
    }

    /// Up to `limit` approvals, newest first.
    pub async fn list(
        &self,
        center: &Center,
        filter: &ApprovalFilter,
        limit: i64,
    ) -> Result<Vec<Approval>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::list(&mut conn, center, filter, limit).await?)
    }
}

/// The approval about something that others have still to decide, if there is one, in the caller's transaction.
pub async fn open_in_tx(
    conn: &mut Conn,
    center: &Center,
    subject: &str,
    now: OffsetDateTime,
) -> db::Result<Option<Approval>> {
    let open = store::open_of(conn, center, subject).await?;
    Ok(open.filter(|open| open.state(now) != ApprovalState::Expired))
}

/// An approval as it stands, in the caller's transaction.
pub async fn find_in_tx(conn: &mut Conn, center: &Center, no: i64) -> db::Result<Option<Approval>> {
    store::get(conn, center, no).await
}

fn number_of(resource: &str) -> Result<i64, LedgerError> {
    let no = resource.strip_prefix(COLLECTION).and_then(|no| no.parse().ok());
    no.ok_or_else(|| {
        tracing::error!(resource, "a request's outcome is no approval");
        LedgerError::Internal
    })
}
