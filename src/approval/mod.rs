//! Two people for one decision: one asks, others allow, and what was allowed then runs once.
//!
//! A room that needs two people asks with [`Approvals::ask`]: the kind, the encoded command that will run, what it is about and
//! why. Others decide at the [`Desk`], which knows for each kind the [`Runner`] that runs it. Whoever gives the last approval
//! that is needed runs it; when the process dies in between, the same decision again, or the job ([`Desk::look`]), runs it.
//!
//! # Layout
//! - `entity`: where an approval stands, and how many people it needs, pure. `desk`: deciding and running.
//!
//! # Invariants
//! 1. Nobody decides on what they asked for, and nobody twice: constraints of the database, whoever writes to it. A person is a
//!    token's subject, whatever the role.
//! 2. From 5,000.00 three people: one asks, two allow.
//! 3. What was allowed runs under a request id derived from the approval, so that it happens once however often it is run.
//! 4. There is one open approval for each subject.

mod desk;
mod entity;
mod error;
mod store;
mod verify;

use futures::future::BoxFuture;
use time::{Duration, OffsetDateTime};

pub use desk::{Approved, Desk, Done, Kind, Runner};
pub use entity::{Approval, ApprovalState, Decision, End, Person, Verdict, is_one_person};
pub use error::ApprovalRefusal;
pub use verify::ApprovalsCheck;

use crate::{
    db::{self, Conn},
    ledger::{Center, Lanes, LedgerError, Outcome, Request, center, outcome},
    money::Amount,
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
    /// Why.
    pub reason: String,
    /// For how long it can be decided.
    pub valid: Duration,
}

/// Something that a room asks others to allow.
pub trait Question: Send + Sync {
    /// What identifies the request for it.
    fn request(&self) -> &Request;
    /// Who asks.
    fn maker(&self) -> &Person;
    /// Looks whether it can be done at all as things stand, and says what is asked for. The journal's head is locked.
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<NewApproval, LedgerError>>;
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
    pub async fn ask(&self, center: &Center, question: &dyn Question) -> Result<(Approval, bool), LedgerError> {
        let request = question.request();
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
                Outcome::Posted(_) => return Err(LedgerError::Internal),
            };
            drop(tx);
            return Ok((self.get(center, no).await?, true));
        }
        // After the last transaction, whatever the clocks of other processes say.
        let now = self.lanes.clock().now().max(head.recorded_at + Duration::MICROSECOND);
        let asked = self.put(&mut tx, center, question, now).await;
        let outcome = match &asked {
            Ok(no) => Ok(format!("{COLLECTION}{no}")),
            // Whoever refuses has written nothing yet.
            Err(LedgerError::Refused { refusal, .. }) => Err(refusal),
            Err(error) => return Err(error.clone()),
        };
        let kept = outcome.as_ref().map(String::as_str).map_err(|refusal| *refusal);
        outcome::keep_in_tx(&mut tx, center, &head, request, kept, now).await?;
        tx.commit().await?;
        Ok((self.get(center, asked?).await?, false))
    }

    async fn put(
        &self,
        tx: &mut Conn,
        center: &Center,
        question: &dyn Question,
        now: OffsetDateTime,
    ) -> Result<i64, LedgerError> {
        let new = question.check(tx, center, now).await?;
        if let Some(open) = store::open_of(tx, center, &new.subject).await? {
            if open.state(now) != ApprovalState::Expired {
                return Err(ApprovalRefusal::Pending { approval: open.no }.into());
            }
            desk::end_in_tx(tx, center, open.no, &End::Expired, now).await?;
        }
        let approval = Approval {
            no: store::next_no(tx, center.no).await?,
            request_id: question.request().id,
            kind: new.kind.to_owned(),
            subject: new.subject,
            command: new.command,
            summary: new.summary,
            amount: new.amount,
            checkers_needed: entity::checkers_needed(new.amount),
            maker: question.maker().clone(),
            reason: new.reason,
            created_at: now,
            expires_at: now + new.valid,
            decisions: Vec::new(),
            end: None,
        };
        store::insert(tx, center.no, &approval).await?;
        Ok(approval.no)
    }

    /// An approval as it stands.
    ///
    /// Errors: NOT_FOUND.
    pub async fn get(&self, center: &Center, no: i64) -> Result<Approval, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::get(&mut conn, center, no).await?;
        found.ok_or_else(|| ApprovalRefusal::NotFound { approval: no }.into())
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
