//! What people have to look at: one queue for each center, and nothing in it without a deadline.
//!
//! A room raises an item in the transaction that makes it necessary ([`raise_in_tx`], or the rows of `lane` where that is a
//! lane's statement), and closes it in the transaction that makes it unnecessary. Raising again what is open changes nothing.
//!
//! # Layout
//! - `entity`: kinds, their words, deadlines and ageing, pure. `lane`: rows for lanes. `leaving`: rules of items about people who leave.
//!
//! # Invariants
//! 1. Items and legs are only ever inserted; an item ends once.
//! 2. There is one open item of a kind for each subject.
//! 3. Every item has a deadline.

mod entity;
mod error;
mod lane;
mod leaving;
mod store;
mod verify;

use time::OffsetDateTime;

pub use entity::{Item, ItemId, ItemLeg, ItemState, NewItem, Rules, Step, rules};
pub use error::WorkRefusal;
pub use lane::{close, raise};
pub use verify::WorkCheck;

pub use crate::proto::WorkKind;
use crate::{
    db::{self, Conn},
    ids::{CenterNo, Seq},
    ledger::{Center, Lanes, LedgerError, center},
};

/// The verbs of this domain that people use.
#[derive(Clone)]
pub struct WorkQueue {
    lanes: Lanes,
}

/// Which items a list shows.
#[derive(Debug, Clone, Default)]
pub struct ItemFilter {
    /// Only those that are not done.
    pub open: bool,
    /// Only those whose deadline is before this.
    pub due_before: Option<OffsetDateTime>,
    /// Only of this kind.
    pub kind: Option<WorkKind>,
    /// Only about this, relative to the center.
    pub subject: Option<String>,
    /// Only those after this deadline and id.
    pub after: Option<(OffsetDateTime, String)>,
}

/// How people end an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByHand {
    /// It is done.
    Resolve,
    /// There was nothing to do.
    Cancel,
}

impl WorkQueue {
    /// Over the journals.
    pub fn new(lanes: Lanes) -> WorkQueue {
        WorkQueue { lanes }
    }

    /// The time by which items are overdue.
    pub fn now(&self) -> OffsetDateTime {
        self.lanes.clock().now()
    }

    /// An item as it stands.
    ///
    /// Errors: NOT_FOUND.
    pub async fn get(&self, center: &Center, id: &ItemId) -> Result<Item, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::get(&mut conn, center.no, id).await?;
        found.ok_or_else(|| WorkRefusal::NotFound { item: id.clone() }.into())
    }

    /// Up to `limit` items, the one that is due first first.
    pub async fn list(&self, center: &Center, filter: &ItemFilter, limit: i64) -> Result<Vec<Item>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::list(&mut conn, center.no, filter, limit).await?)
    }

    /// Somebody looks after an item from now on. Whoever has it already has it still.
    ///
    /// Errors: NOT_FOUND, WORK_ITEM_CLOSED.
    pub async fn take(&self, center: &Center, id: &ItemId, actor: &str) -> Result<Item, LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        let item = self.locked(&mut tx, center, id).await?;
        if item.state().is_closed() {
            return Err(closed(&item));
        }
        if item.taken_by() != Some(actor) {
            store::insert_leg(&mut tx, center.no, &item, &self.leg(ItemState::Taken, actor, "")).await?;
            tx.commit().await?;
        }
        self.get(center, id).await
    }

    /// Ends an item by hand. The same end by the same person again is answered with what is there.
    ///
    /// Errors: NOT_FOUND, WORK_ITEM_CLOSED, ENDED_BY_MONEY.
    pub async fn end(
        &self,
        center: &Center,
        id: &ItemId,
        by_hand: ByHand,
        actor: &str,
        reason: &str,
    ) -> Result<Item, LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        let item = self.locked(&mut tx, center, id).await?;
        let state = match by_hand {
            ByHand::Resolve => ItemState::Done,
            ByHand::Cancel => ItemState::Cancelled,
        };
        if let Some(end) = item.end() {
            let same = end.state == state && end.actor == actor && end.reason == reason;
            return if same { Ok(item) } else { Err(closed(&item)) };
        }
        if !rules(item.kind).by_hand {
            return Err(WorkRefusal::EndedByMoney { item: id.clone() }.into());
        }
        store::insert_leg(&mut tx, center.no, &item, &self.leg(state, actor, reason)).await?;
        store::delete_open(&mut tx, center.no, item.kind, &item.subject).await?;
        tx.commit().await?;
        self.get(center, id).await
    }

    /// The item, with the journal's head locked: whatever else ends items holds it, too.
    async fn locked(&self, conn: &mut Conn, center: &Center, id: &ItemId) -> Result<Item, LedgerError> {
        center::head(conn, center.no, true).await?;
        let found = store::get(conn, center.no, id).await?;
        found.ok_or_else(|| WorkRefusal::NotFound { item: id.clone() }.into())
    }

    fn leg(&self, state: ItemState, actor: &str, reason: &str) -> ItemLeg {
        ItemLeg {
            state,
            at: self.now(),
            actor: actor.to_owned(),
            reason: reason.to_owned(),
            seq: None,
        }
    }
}

fn closed(item: &Item) -> LedgerError {
    WorkRefusal::Closed { item: item.id.clone() }.into()
}

/// Raises an item, unless there is an open one of its kind for its subject. The caller commits.
pub async fn raise_in_tx(conn: &mut Conn, center: CenterNo, new: &NewItem) -> db::Result<()> {
    store::raise(conn, center, new).await
}

/// How something closes the item of a kind for a subject.
#[derive(Debug, Clone)]
pub struct Closing<'a> {
    /// The kind.
    pub kind: WorkKind,
    /// The subject, relative to the center.
    pub subject: &'a str,
    /// When.
    pub at: OffsetDateTime,
    /// Who: a person as the journal names them, or the service itself.
    pub actor: &'a str,
    /// How.
    pub reason: &'a str,
    /// The transaction that ends it, if one does.
    pub seq: Option<Seq>,
}

/// Closes the open item of a kind for a subject as done, if there is one. The caller holds the journal's head
/// and commits.
pub async fn close_in_tx(conn: &mut Conn, center: CenterNo, closing: &Closing<'_>) -> db::Result<()> {
    store::close(conn, center, closing).await
}

/// The subjects, relative to the center, of all open items of a kind, for verification.
pub async fn open_subjects(conn: &mut Conn, center: CenterNo, kind: WorkKind) -> db::Result<Vec<String>> {
    store::open_subjects(conn, center, kind).await
}
