//! Orders: goods asked for now, held for, and paid when they come.
//!
//! # Layout
//! - `rules` when a center takes orders; `entity` what may become of an order, both pure
//! - `place` ordering; `change` everything after it, on the lane too; `room` what lanes remember
//!
//! # Invariants
//! 1. What is ordered is to come, has come, will not come, came back or is in dispute, piece by piece.
//! 2. What a detainee holds is what their orders have to come and in dispute, at the price of the order.
//! 3. A disputed line is neither delivered nor cancelled nor expired, and no settlement pays it: what was paid for it is held.
//! 4. What will not come gives back the stock and the headroom of the date on which it was ordered.

mod change;
mod entity;
mod error;
mod place;
mod room;
mod rules;
mod store;
pub(in crate::commissary) mod verify;

pub use change::{ChangeOrder, EndedOrders, Verb, end_orders_in_tx, held_order_in_tx};
pub use entity::{DeliveredLine, Line as OrderedLine, Moves, Order, OrderState, Verdict};
pub use error::OrderRefusal;
pub use place::CreateOrder;
pub(in crate::commissary) use room::RulesRoom;
pub use rules::{DAY_MINUTES, OrderingRules, OrderingWindow, WINDOWS_MAX};

use super::{Commissary, OrderLine, ReturnLine};
use crate::{
    ids::{DetaineeId, RequestId, Seq},
    ledger::{Center, LedgerError, Posted, Request, center, transaction},
    proto::JournalRecord,
    terminal::Seller,
};

/// An order as it stands, with the transaction that placed it and those that changed it.
#[derive(Debug, Clone)]
pub struct OrderView {
    /// As it stands.
    pub order: Order,
    /// What was ordered.
    pub placed: JournalRecord,
    /// What became of it, oldest first, but for returns.
    pub changes: Vec<JournalRecord>,
}

/// The method that expiries are recorded under.
const EXPIRE_METHOD: &str = "job/ExpireOrder";

impl Commissary {
    /// A detainee orders. Answered once it is committed.
    ///
    /// Errors: those of a purchase; ORDERING_CLOSED.
    pub async fn order(
        &self,
        center: &Center,
        request: Request,
        detainee: DetaineeId,
        seller: impl Into<Seller>,
        lines: Vec<OrderLine>,
    ) -> Result<Posted, LedgerError> {
        let command = CreateOrder {
            request,
            detainee,
            seller: seller.into(),
            lines,
        };
        self.lanes.submit(center, command).await
    }

    /// Something becomes of an order. Answered once it is committed.
    ///
    /// Errors: NOT_FOUND; those of the verb, as `Order` tells them.
    pub async fn change_order(
        &self,
        center: &Center,
        request: Request,
        order: Seq,
        verb: Verb,
        reason: String,
    ) -> Result<Posted, LedgerError> {
        let command = ChangeOrder {
            request,
            order,
            verb,
            reason,
        };
        self.lanes.submit(center, command).await
    }

    /// Goods of an order that came go back. Answered once it is committed.
    ///
    /// Errors: NOT_FOUND, LINE_DISPUTED, RETURN_EXCEEDS_PURCHASE, TOO_LATE.
    pub async fn take_back_ordered(
        &self,
        center: &Center,
        request: Request,
        order: Seq,
        (lines, authorised_by): (Vec<ReturnLine>, String),
        reason: String,
    ) -> Result<Posted, LedgerError> {
        let verb = Verb::TakeBack { lines, authorised_by };
        self.change_order(center, request, order, verb, reason).await
    }

    /// An order as it stands.
    ///
    /// Errors: NOT_FOUND.
    pub async fn ordered(&self, center: &Center, seq: Seq) -> Result<OrderView, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::orders(&mut conn, center, &[seq]).await?.remove(&seq);
        let order = found.ok_or(OrderRefusal::NotFound { order: seq })?;
        let mut changes = Vec::new();
        for seq in store::changes_of(&mut conn, center.no, seq).await? {
            let found = transaction::get(&mut *conn, center.no, seq).await?;
            changes.extend(found.map(|found| found.record));
        }
        let placed = transaction::get(&mut *conn, center.no, seq).await?;
        Ok(OrderView {
            order,
            placed: placed.ok_or(LedgerError::Internal)?.record,
            changes,
        })
    }

    /// Up to `limit` orders before a number, newest first; of one detainee or of all, only those with something held or all.
    /// What became of them is left out.
    pub async fn list_orders(
        &self,
        center: &Center,
        detainee: Option<&DetaineeId>,
        is_held: bool,
        before: Option<Seq>,
        limit: i64,
    ) -> Result<Vec<OrderView>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let seqs = store::list(&mut conn, center.no, detainee, is_held, before, limit).await?;
        let mut found = store::orders(&mut conn, center, &seqs).await?;
        let mut views = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let placed = transaction::get(&mut *conn, center.no, seq).await?;
            if let Some((order, placed)) = found.remove(&seq).zip(placed) {
                views.push(OrderView {
                    order,
                    placed: placed.record,
                    changes: Vec::new(),
                });
            }
        }
        Ok(views)
    }

    /// Ends the holds that are over, at most `limit` of them; how many. Several processes may do it at once: each order's expiry is
    /// one request, whoever asks.
    pub async fn expire_orders(&self, center: &Center, limit: i64) -> Result<usize, LedgerError> {
        let now = self.lanes.clock().now();
        let due = {
            let mut conn = self.lanes.database().read.acquire().await?;
            store::due(&mut conn, center.no, now, limit).await?
        };
        let (mut expired, mut failed) = (0, None);
        for (order, changes) in due {
            // What became of it before is told, too: a line whose dispute is resolved later expires by a request of its own. So is
            // the day: what a clock that went back refused is tried again.
            let told = format!("{order}/{changes}/{}", center.zone.business_date(now));
            let request = Request {
                id: RequestId::derived(&["expire-order", center.id.as_str(), &told]),
                method: EXPIRE_METHOD,
                body: told.into_bytes(),
                actor: "job/holds".to_owned(),
            };
            let ended = self
                .change_order(center, request, order, Verb::Expire, "hold over".to_owned())
                .await;
            match ended {
                Ok(_) => expired += 1,
                // Something else became of it meanwhile.
                Err(LedgerError::Refused { refusal, .. }) => {
                    tracing::debug!(center = %center.id, %order, reason = refusal.message, "an order did not expire");
                }
                // The others have their turn all the same.
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(expired), Err)
    }

    /// When a center takes orders.
    pub async fn ordering_rules(&self, center: &Center) -> Result<OrderingRules, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::rules(&mut conn, center.no).await?)
    }

    /// Replaces it. The same again changes nothing.
    ///
    /// Errors: STALE_ETAG.
    pub async fn update_ordering_rules(
        &self,
        center: &Center,
        rules: OrderingRules,
        version: Option<i64>,
        reason: &str,
        by: &str,
    ) -> Result<OrderingRules, LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let known = store::rules(&mut tx, center.no).await?;
        if version.is_some_and(|version| version != known.version) {
            return Err(OrderRefusal::StaleRules { version: known.version }.into());
        }
        let rules = OrderingRules {
            version: known.version,
            ..rules
        };
        if rules == known {
            return Ok(known);
        }
        let rules = OrderingRules {
            version: known.version + 1,
            ..rules
        };
        let now = self.lanes.clock().now();
        store::insert_rules(&mut tx, center.no, &rules, (reason, by, now)).await?;
        tx.commit().await?;
        Ok(rules)
    }
}
