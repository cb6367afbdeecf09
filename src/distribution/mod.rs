//! How credits are split over a detainee's accounts: policies, court orders, previews.

mod entity;
mod error;
mod posting;
pub mod room;
mod store;
mod verify;

use rust_decimal::Decimal;

pub use entity::{COURT_ORDER, CourtOrder, Policy, REMAINDER, SAVINGS, distribute, parse_percent};
pub use error::DistributionRefusal;
pub use verify::CollectedCheck;

use crate::{
    custody::{self, Custody, CustodyRefusal, Detainee},
    db::{self, Conn},
    ids::{CourtOrderId, DetaineeId},
    ledger::{Center, Lanes, LedgerError, balance, center},
    money::Amount,
    proto::DistributionPart,
};

/// The verbs of this domain.
#[derive(Clone)]
pub struct Distributions {
    lanes: Lanes,
    custody: Custody,
}

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
}

/// How a credit would be split.
#[derive(Debug, Clone)]
pub struct Preview {
    /// The parts, in the order the rules are applied; they add up to the credit.
    pub parts: Vec<DistributionPart>,
    /// The policy's version.
    pub policy_version: i64,
}

impl Distributions {
    /// The domain over its journals.
    pub fn new(lanes: Lanes, custody: Custody) -> Distributions {
        Distributions { lanes, custody }
    }

    /// A center's policy.
    pub async fn policy(&self, center: &Center) -> Result<Policy, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::policy(&mut conn, center).await?)
    }

    /// Replaces a center's policy. With `version` only if that is still its version.
    pub async fn update_policy(
        &self,
        center: &Center,
        savings_percent: Decimal,
        savings_cap: Option<Amount>,
        version: Option<i64>,
        by: &str,
    ) -> Result<Policy, LedgerError> {
        let at = self.lanes.clock().now();
        let mut tx = self.lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let old = store::policy(&mut tx, center).await?;
        if version.is_some_and(|version| version != old.version) {
            return Err(DistributionRefusal::Stale { version: old.version }.into());
        }
        let new = Policy {
            savings_percent,
            savings_cap,
            version: old.version + 1,
            changed_at: Some(at),
        };
        store::insert_policy(&mut tx, center, &new, at, by).await?;
        tx.commit().await?;
        Ok(new)
    }

    /// Records a court order, to be collected after those that are there. The same again is answered with what is there.
    pub async fn create_court_order(
        &self,
        center: &Center,
        new: NewCourtOrder,
        by: &str,
    ) -> Result<CourtOrder, LedgerError> {
        let at = self.lanes.clock().now();
        let mut tx = self.lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        if custody::detainee_in_tx(&mut tx, center, &new.detainee).await?.is_none() {
            return Err(CustodyRefusal::DetaineeNotFound { detainee: new.detainee }.into());
        }
        let orders = orders_of(&mut tx, center, &new.detainee).await?;
        if let Some(order) = orders.iter().find(|order| order.id == new.id) {
            let same = order.document == new.document && order.total == new.total;
            return if same {
                Ok(order.clone())
            } else {
                Err(DistributionRefusal::AlreadyExists.into())
            };
        }
        if orders.iter().any(|order| order.document == new.document) {
            return Err(DistributionRefusal::AlreadyExists.into());
        }
        let position = orders.last().map_or(1, |last| last.position + 1);
        store::insert_court_order(&mut tx, center, &new, position, at, by).await?;
        tx.commit().await?;
        Ok(CourtOrder {
            id: new.id,
            document: new.document,
            total: new.total,
            collected: Amount::zero(center.currency),
            position,
            created_at: at,
        })
    }

    /// A detainee's court orders in the order of collection.
    pub async fn court_orders(&self, center: &Center, id: &DetaineeId) -> Result<Vec<CourtOrder>, LedgerError> {
        self.custody.detainee(center, id).await?;
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(orders_of(&mut conn, center, id).await?)
    }

    /// How a credit would be split now.
    pub async fn preview(&self, center: &Center, id: &DetaineeId, gross: Amount) -> Result<Preview, LedgerError> {
        let detainee = self.custody.detainee(center, id).await?;
        let mut conn = self.lanes.database().read.acquire().await?;
        preview_in_tx(&mut conn, center, &detainee, gross).await
    }
}

/// How a credit would be split, inside the caller's transaction.
pub async fn preview_in_tx(
    conn: &mut Conn,
    center: &Center,
    detainee: &Detainee,
    gross: Amount,
) -> Result<Preview, LedgerError> {
    let policy = store::policy(conn, center).await?;
    let orders = orders_of(conn, center, &detainee.id).await?;
    let [_, _, savings_no, _] = detainee.accounts();
    let (balances, _) = balance::now(&mut *conn, center, &[savings_no]).await?;
    let savings = balances.first().copied().ok_or(LedgerError::Internal)?;
    let parts = distribute(gross, &policy, &orders, savings).map_err(|error| {
        tracing::error!(%error, "a credit cannot be split");
        LedgerError::Internal
    })?;
    Ok(Preview {
        parts,
        policy_version: policy.version,
    })
}

async fn orders_of(conn: &mut Conn, center: &Center, id: &DetaineeId) -> db::Result<Vec<CourtOrder>> {
    let mut found = store::court_orders(conn, center, std::slice::from_ref(id)).await?;
    Ok(found.remove(id.as_str()).unwrap_or_default())
}
