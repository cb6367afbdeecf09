//! Court orders: recording them, and what becomes of them.

use super::{CourtOrder, CourtOrderEvent, CourtOrderState, DistributionRefusal as R, Distributions, store};
use crate::{
    custody::{self, CustodyRefusal},
    db::{self, Conn},
    ids::{CourtOrderId, DetaineeId},
    ledger::{Center, LedgerError, center},
    money::Amount,
};

/// What is told of a court order.
#[derive(Debug, Clone)]
pub struct NewCourtOrder {
    /// The id it will have.
    pub id: CourtOrderId,
    /// From whom the court wants it.
    pub detainee: DetaineeId,
    /// The document's number.
    pub document: String,
    /// The whole sum, above zero.
    pub total: Amount,
    /// Its rank, from 1; none is after all that are there.
    pub rank: Option<i32>,
}

/// A court order with every change of its state.
#[derive(Debug, Clone)]
pub struct CourtOrderHistory {
    /// The order as it stands.
    pub order: CourtOrder,
    /// The changes, oldest first.
    pub events: Vec<CourtOrderEvent>,
}

impl Distributions {
    /// Records a court order. The same again is answered with what is there.
    ///
    /// Errors: NOT_FOUND; ALREADY_EXISTS for an id or a document that another order of the detainee's has.
    pub async fn create_court_order(
        &self,
        center: &Center,
        new: NewCourtOrder,
        by: &str,
    ) -> Result<CourtOrderHistory, LedgerError> {
        let at = self.lanes.clock().now();
        let mut tx = self.lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        if custody::detainee_in_tx(&mut tx, center, &new.detainee).await?.is_none() {
            return Err(CustodyRefusal::DetaineeNotFound { detainee: new.detainee }.into());
        }
        let known = histories(&mut tx, center, &new.detainee).await?;
        if let Some(known) = known.iter().find(|known| known.order.id == new.id) {
            let order = &known.order;
            let is_same = order.document == new.document
                && order.total == new.total
                && new.rank.is_none_or(|rank| rank == order.rank);
            return if is_same {
                Ok(known.clone())
            } else {
                Err(R::AlreadyExists.into())
            };
        }
        if known.iter().any(|known| known.order.document == new.document) {
            return Err(R::AlreadyExists.into());
        }
        let last = |number: fn(&CourtOrder) -> i32| known.iter().map(|known| number(&known.order)).max();
        let order = CourtOrder {
            id: new.id,
            document: new.document,
            total: new.total,
            collected: Amount::zero(center.currency),
            rank: new
                .rank
                .unwrap_or_else(|| last(|order| order.rank).unwrap_or(0).saturating_add(1)),
            position: last(|order| order.position).unwrap_or(0).saturating_add(1),
            state: CourtOrderState::Active,
            created_at: at,
        };
        store::insert_court_order(&mut tx, center, &new.detainee, &order, by).await?;
        tx.commit().await?;
        Ok(CourtOrderHistory {
            order,
            events: Vec::new(),
        })
    }

    /// Suspends, resumes or ends a court order, by a document. What is in that state already stays as it is.
    ///
    /// Errors: NOT_FOUND, COURT_ORDER_ENDED.
    pub async fn change_court_order(
        &self,
        center: &Center,
        detainee: &DetaineeId,
        order: &CourtOrderId,
        state: CourtOrderState,
        document: String,
        by: &str,
    ) -> Result<CourtOrderHistory, LedgerError> {
        let at = self.lanes.clock().now();
        let mut tx = self.lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let known = histories(&mut tx, center, detainee).await?;
        let found = known.into_iter().find(|known| known.order.id == *order);
        let mut found = found.ok_or_else(|| R::CourtOrderNotFound { order: order.clone() })?;
        if found.order.state == state {
            return Ok(found);
        }
        if found.order.state == CourtOrderState::Ended {
            return Err(R::CourtOrderEnded { order: order.clone() }.into());
        }
        let event = CourtOrderEvent {
            state,
            document,
            at,
            by: by.to_owned(),
        };
        store::insert_court_order_event(&mut tx, center.no, detainee, order, &event).await?;
        tx.commit().await?;
        found.order.state = state;
        found.events.push(event);
        Ok(found)
    }

    /// A detainee's court orders as they were recorded.
    ///
    /// Errors: NOT_FOUND.
    pub async fn court_orders(&self, center: &Center, id: &DetaineeId) -> Result<Vec<CourtOrderHistory>, LedgerError> {
        self.custody.detainee(center, id).await?;
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(histories(&mut conn, center, id).await?)
    }
}

async fn histories(conn: &mut Conn, center: &Center, id: &DetaineeId) -> db::Result<Vec<CourtOrderHistory>> {
    let mut found = store::court_orders(conn, center, std::slice::from_ref(id)).await?;
    let mut events = store::court_order_events(conn, center.no, id).await?;
    let orders = found.remove(id.as_str()).unwrap_or_default();
    Ok(orders
        .into_iter()
        .map(|order| CourtOrderHistory {
            events: events.remove(order.id.as_str()).unwrap_or_default(),
            order,
        })
        .collect())
}
