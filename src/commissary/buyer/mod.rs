//! Buyers: where a detainee lives, and what they must not have for their health or diet.

pub(super) mod store;

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{Commissary, CommissaryRefusal, catalogue::Labels};
use crate::{
    custody::{self, CustodyRefusal},
    db::{self, Conn},
    ids::{DetaineeId, ProductId},
    ledger::{Asked, Center, Declined, LedgerError, Room, center},
};

/// What is known of a detainee who buys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Buyer {
    /// Where they live; empty when it is not known.
    pub housing_unit: String,
    /// The tags of products that they must not have.
    pub tags: Labels,
    /// Counts the changes; 0 when nothing was ever told.
    pub version: i64,
    /// Since when.
    pub changed_at: Option<OffsetDateTime>,
}

/// Who cannot have a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Limits {
    /// The housing units that cannot have it.
    pub withdrawn_units: Labels,
    /// For whom it is not.
    pub tags: Labels,
}

impl Limits {
    /// None when everybody can have it.
    pub fn of(withdrawn_units: Labels, tags: Labels) -> Option<Box<Limits>> {
        let is_free = withdrawn_units.is_empty() && tags.is_empty();
        (!is_free).then(|| Box::new(Limits { withdrawn_units, tags }))
    }

    /// Refuses a buyer who cannot have the product. Of one whose housing unit is not known, units say nothing.
    pub fn check(&self, product: &ProductId, buyer: &Buyer) -> Result<(), CommissaryRefusal> {
        let product = product.clone();
        if self.withdrawn_units.contains(&buyer.housing_unit) {
            let housing_unit = buyer.housing_unit.clone();
            return Err(CommissaryRefusal::WithdrawnInUnit { product, housing_unit });
        }
        match self.tags.first_common(&buyer.tags) {
            Some(tag) => Err(CommissaryRefusal::Restricted {
                product,
                tag: tag.to_owned(),
            }),
            None => Ok(()),
        }
    }
}

/// The buyers of products that are not for everybody.
#[derive(Default)]
pub(super) struct BuyerRoom(Asked<DetaineeId, Buyer>);

impl BuyerRoom {
    pub fn want(&mut self, id: &DetaineeId) {
        self.0.want(id);
    }

    pub fn get(&self, id: &DetaineeId) -> Result<&Buyer, Declined> {
        let found = self.0.get(id);
        found.ok_or_else(|| Declined::Broken(format!("buyer {id} is not loaded")))
    }
}

impl Room for BuyerRoom {
    fn is_wanting(&self) -> bool {
        self.0.is_wanting()
    }
    fn keys(&self) -> usize {
        self.0.count()
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            let wanted = self.0.take_wanted();
            let mut found = store::buyers(conn, center.no, &wanted).await?;
            for id in wanted {
                let buyer = found.remove(id.as_str()).unwrap_or_default();
                self.0.learn(id, buyer);
            }
            Ok(())
        }
        .boxed()
    }
}

impl Commissary {
    /// Where a detainee lives and what they must not have.
    ///
    /// Errors: NOT_FOUND.
    pub async fn buyer(&self, center: &Center, id: &DetaineeId) -> Result<Buyer, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        require_detainee(&mut conn, center, id).await?;
        Ok(store::buyer(&mut conn, center.no, id).await?)
    }

    /// Replaces it. The same again changes nothing.
    ///
    /// Errors: NOT_FOUND.
    pub async fn update_buyer(
        &self,
        center: &Center,
        id: &DetaineeId,
        (housing_unit, tags): (String, Labels),
        reason: &str,
        by: &str,
    ) -> Result<Buyer, LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        require_detainee(&mut tx, center, id).await?;
        let known = store::buyer(&mut tx, center.no, id).await?;
        if known.housing_unit == housing_unit && known.tags == tags {
            return Ok(known);
        }
        let now = self.lanes.clock().now();
        let buyer = Buyer {
            housing_unit,
            tags,
            version: known.version + 1,
            changed_at: Some(now),
        };
        store::insert(&mut tx, center.no, id, &buyer, (reason, by, now)).await?;
        tx.commit().await?;
        Ok(buyer)
    }
}

/// What is known of a detainee who is to have goods, inside the caller's transaction.
pub(super) async fn buyer_in_tx(conn: &mut Conn, center: &Center, id: &DetaineeId) -> db::Result<Buyer> {
    store::buyer(conn, center.no, id).await
}

async fn require_detainee(conn: &mut Conn, center: &Center, id: &DetaineeId) -> Result<(), LedgerError> {
    match custody::detainee_in_tx(conn, center, id).await? {
        Some(_) => Ok(()),
        None => Err(CustodyRefusal::DetaineeNotFound { detainee: id.clone() }.into()),
    }
}
