//! How stays end: death and escape, payouts in parts, money that nobody collects, the treasury, bookings that are merged.
//!
//! # Layout
//! - `entity`: purposes, states, parts, pure. `posting`: what is debited and credited.
//! - `change`: who died, escaped, or was caught again. `payout`, `part`: money out in parts, and how each part ends.
//! - `deed`: what always takes several people. `ask`: what then runs. `secret`: accounts and names that stand nowhere in clear.
//! - `item`, `notice`: work items and reminders. `statement`: the signed statement of a whole stay.
//!
//! # Invariants
//! 1. Parts of a payout add up to all there is; each ends once, and whoever created it never says that it was paid.
//! 2. What the bank could not pay waits in account 2501 under a number of its own, and can be claimed for ever.
//! 3. The treasury is paid after a year, by several people, under a receipt.
//! 4. Every account of somebody who is gone is at zero, or an open work item with a deadline says why not.

mod ask;
mod change;
mod deed;
mod entity;
mod error;
mod item;
mod notice;
mod part;
mod payout;
mod posting;
mod secret;
pub mod statement;

mod store;
mod verify;

use std::sync::Arc;

pub use deed::Deed;
pub use entity::{Heir, PARTS_MAX, Part, PartEnd, Payout, Purpose, SumState, UnclaimedSum, YEAR_DAYS};
pub use error::EndingRefusal;
pub use payout::NewPayout;
pub use secret::{Account, Named, Secrets};
use time::OffsetDateTime;
pub use verify::EndingsCheck;

use crate::{
    approval::{Answered, Approval, Approvals, Asking, Person, relation},
    custody::{self, Custody, Detainee, DetaineeState},
    ids::{DetaineeId, Seq},
    ledger::Lanes,
    ledger::{Center, LedgerError, Posted, Request, transaction},
    payer::Vault,
    proto::JournalRecord,
};

/// Most payouts and sums told of one stay.
const TOLD_MAX: i64 = 50;

/// The verbs of this domain.
#[derive(Clone)]
pub struct Endings {
    lanes: Lanes,
    custody: Custody,
    approvals: Approvals,
    secrets: Secrets,
}

/// How a stay stands.
#[derive(Debug, Clone)]
pub struct Stay {
    /// Whose stay it is.
    pub detainee: Detainee,
    /// The stay before it.
    pub former: Option<String>,
    /// The stay after it.
    pub later: Option<String>,
    /// The booking it was merged into.
    pub merged_into: Option<String>,
    /// Who inherits.
    pub heirs: Vec<Heir>,
    /// The last payouts.
    pub payouts: Vec<Payout>,
    /// What was not collected.
    pub sums: Vec<UnclaimedSum>,
    /// When custody last changed, and by which document.
    pub changed: Option<(OffsetDateTime, String)>,
}

/// An heir to record.
pub struct NewHeir {
    /// The heir's id, chosen by the caller.
    pub id: String,
    /// Name and identity number.
    pub person: Named,
    /// What they are to the deceased.
    pub relationship: String,
    /// The document that proves it.
    pub document: String,
}

impl Endings {
    /// The domain over its journals, with the keys of what it seals.
    pub fn new(lanes: Lanes, custody: Custody, vault: Arc<Vault>) -> Endings {
        Endings {
            approvals: Approvals::new(lanes.clone()),
            secrets: Secrets::new(vault),
            lanes,
            custody,
        }
    }

    /// What seals accounts and names.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The journals.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// Records that a person died, escaped, or was caught again.
    ///
    /// Errors: NOT_FOUND, STAFF_RELATED, CUSTODY_STATE.
    pub async fn change_custody(
        &self,
        center: &Center,
        request: Request,
        detainee: DetaineeId,
        state: DetaineeState,
        (document, reason): (String, String),
    ) -> Result<Posted, LedgerError> {
        let command = change::ChangeCustody {
            request,
            detainee,
            state,
            document,
            reason,
        };
        self.lanes.submit_rare(center, command).await
    }

    /// Records an heir of somebody who died. The same again is answered with what is there.
    ///
    /// Errors: NOT_FOUND, STAFF_RELATED, CUSTODY_STATE, ALREADY_EXISTS.
    pub async fn add_heir(
        &self,
        center: &Center,
        id: &DetaineeId,
        new: NewHeir,
        by: &str,
    ) -> Result<Heir, LedgerError> {
        let at = self.lanes.clock().now();
        let mut tx = self.lanes.database().lane.begin().await?;
        crate::ledger::center::head(&mut tx, center.no, true).await?;
        relation::require_unrelated(&mut tx, center.no, by, id).await?;
        let detainee = change::detainee(&mut tx, center, id).await?;
        if detainee.state != DetaineeState::Deceased {
            let (detainee, state) = (id.clone(), detainee.state.name());
            return Err(EndingRefusal::CustodyState { detainee, state }.into());
        }
        let heir = Heir {
            secret: self.secrets.keep_in_tx(&mut tx, center, &new.person, (at, by)).await?,
            name_masked: entity::masked_name(&new.person.name),
            id: new.id,
            relationship: new.relationship,
            document: new.document,
            recorded_at: at,
        };
        let known = store::heirs(&mut tx, center.no, id).await?;
        if let Some(known) = known.into_iter().find(|known| known.id == heir.id) {
            let at = known.recorded_at;
            let same = Heir {
                recorded_at: at,
                ..heir
            } == known;
            return if same {
                Ok(known)
            } else {
                Err(EndingRefusal::AlreadyExists.into())
            };
        }
        store::insert_heir(&mut tx, center.no, id, &heir, by).await?;
        tx.commit().await?;
        Ok(heir)
    }

    /// Pays out all there is, in parts; others are asked to allow it first, but for a release of less than 500.00. `accounts` are
    /// those that the parts name the secrets of; they are sealed with it.
    ///
    /// Errors: NOT_FOUND, STAFF_RELATED, CUSTODY_STATE, MONEY_IN_FLIGHT, NO_BALANCE, PARTS_DIFFER, HEIR_NOT_PROVEN,
    /// NOT_UNCLAIMED, APPROVAL_PENDING.
    pub async fn create_payout(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        new: NewPayout,
        accounts: Vec<Account>,
    ) -> Result<Answered, LedgerError> {
        let command = || payout::OpenPayout {
            request: request.clone(),
            new: new.clone(),
            sealing: Some((self.secrets.clone(), accounts.clone())),
            approval: None,
        };
        let asking = Asking {
            request: request.clone(),
            maker,
            reason: new.reason.clone(),
        };
        let run = self.lanes.submit_rare(center, command());
        self.approvals.ask_or_run(center, &asking, &command(), run).await
    }

    /// A part left the bank, under its reference; or could not, for a reason.
    ///
    /// Errors: NOT_FOUND, STAFF_RELATED, NOT_IN_TRANSIT, MAKER_IS_CHECKER.
    pub async fn end_part(
        &self,
        center: &Center,
        request: Request,
        (payout, part): (Seq, i32),
        end: PartEnd,
        told: String,
    ) -> Result<Posted, LedgerError> {
        let command = part::EndPart {
            request,
            payout,
            part,
            end,
            told,
        };
        self.lanes.submit_rare(center, command).await
    }

    /// Asks others to allow what always takes several people.
    ///
    /// Errors: NOT_FOUND, STAFF_RELATED, CUSTODY_STATE, MONEY_IN_FLIGHT, NO_BALANCE, NOT_UNCLAIMED, YEAR_NOT_OVER, STILL_OWING,
    /// APPROVAL_PENDING.
    pub async fn propose(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        deed: Deed,
        (document, reason): (String, String),
    ) -> Result<(Approval, bool), LedgerError> {
        let question = deed::DoDeed {
            request: request.clone(),
            deed,
            document,
            reason: reason.clone(),
            approval: None,
        };
        let asking = Asking { request, maker, reason };
        self.approvals.ask(center, &asking, &question).await
    }

    /// A payout with the ends of its parts.
    ///
    /// Errors: NOT_FOUND.
    pub async fn payout(&self, center: &Center, payout: Seq) -> Result<Payout, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        if store::payout(&mut conn, center.no, payout).await?.is_none() {
            return Err(EndingRefusal::PayoutNotFound { payout }.into());
        }
        self.read_payout(&mut conn, center, payout).await
    }

    async fn read_payout(
        &self,
        conn: &mut crate::db::Conn,
        center: &Center,
        payout: Seq,
    ) -> Result<Payout, LedgerError> {
        let opened = transaction::get(&mut *conn, center.no, payout).await?;
        let opened: JournalRecord = opened.ok_or(LedgerError::Internal)?.record;
        let parts = store::parts(conn, center, payout).await?;
        Ok(Payout {
            opened,
            ends: parts.into_iter().map(|part| part.end).collect(),
        })
    }

    /// Up to `limit` payouts before a number, newest first; of one detainee or of all.
    pub async fn payouts(
        &self,
        center: &Center,
        id: Option<&DetaineeId>,
        before: Option<Seq>,
        limit: i64,
    ) -> Result<Vec<Payout>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let before = before.unwrap_or(Seq(i64::MAX));
        let mut found = Vec::new();
        for seq in store::payouts_before(&mut conn, center.no, id, before, limit).await? {
            found.push(self.read_payout(&mut conn, center, seq).await?);
        }
        Ok(found)
    }

    /// Up to `limit` sums that were not collected, after a number, oldest first; of one detainee or of all.
    pub async fn sums(
        &self,
        center: &Center,
        id: Option<&DetaineeId>,
        after: Option<Seq>,
        limit: i64,
    ) -> Result<Vec<UnclaimedSum>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let from = after.map_or(Seq::ZERO, Seq::next);
        Ok(store::sums(&mut conn, center, id, from, limit).await?)
    }

    /// The account that a part goes to, in clear. Who asks is logged.
    ///
    /// Errors: NOT_FOUND, STAFF_RELATED.
    pub async fn reveal(&self, center: &Center, payout: Seq, part: i32, by: &str) -> Result<Account, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let row = store::payout(&mut conn, center.no, payout).await?;
        let row = row.ok_or(EndingRefusal::PayoutNotFound { payout })?;
        relation::require_unrelated(&mut conn, center.no, by, &row.detainee).await?;
        let parts = store::parts(&mut conn, center, payout).await?;
        let index = usize::try_from(part).ok().and_then(|part| part.checked_sub(1));
        let told = index.and_then(|index| parts.get(index));
        let told = told.ok_or(EndingRefusal::PartNotFound { payout, part })?;
        tracing::info!(center = %center.id, %payout, part, by, "the account of a payout is told");
        self.secrets.open(&mut conn, center, &told.secret).await
    }

    /// How a stay stands.
    ///
    /// Errors: NOT_FOUND.
    pub async fn stay(&self, center: &Center, id: &DetaineeId) -> Result<Stay, LedgerError> {
        let detainee = self.custody.detainee(center, id).await?;
        let payouts = self.payouts(center, Some(id), None, TOLD_MAX).await?;
        let sums = self.sums(center, Some(id), None, TOLD_MAX).await?;
        let mut conn = self.lanes.database().read.acquire().await?;
        let [former, later, merged_into] = store::relations_of(&mut conn, center.no, id).await?;
        Ok(Stay {
            detainee,
            former,
            later,
            merged_into,
            heirs: store::heirs(&mut conn, center.no, id).await?,
            payouts,
            sums,
            changed: store::last_change(&mut conn, center.no, id).await?,
        })
    }

    /// Declares that somebody of staff is, or is not any more, related to a detainee.
    ///
    /// Errors: NOT_FOUND.
    pub async fn declare(
        &self,
        center: &Center,
        detainee: &DetaineeId,
        told: relation::Relation,
    ) -> Result<relation::Relation, LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        crate::ledger::center::head(&mut tx, center.no, true).await?;
        change::detainee(&mut tx, center, detainee).await?;
        let declared = relation::declare_in_tx(&mut tx, center.no, told).await?;
        tx.commit().await?;
        Ok(declared)
    }

    /// Up to `limit` relations that hold, after a person and a detainee.
    pub async fn relations(
        &self,
        center: &Center,
        after: (&str, &str),
        limit: i64,
    ) -> Result<Vec<relation::Relation>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(relation::list(&mut conn, center.no, after, limit).await?)
    }

    /// Admits somebody again who was here before.
    ///
    /// Errors: NOT_FOUND, STAY_NOT_OVER, ALREADY_EXISTS, INVALID_FIELD.
    pub async fn readmit(
        &self,
        center: &Center,
        former: &DetaineeId,
        admission: custody::Admission,
        document: &str,
        by: &str,
    ) -> Result<Stay, LedgerError> {
        let id = admission.id.clone();
        self.custody.readmit(center, former, admission, document, by).await?;
        self.stay(center, &id).await
    }
}
