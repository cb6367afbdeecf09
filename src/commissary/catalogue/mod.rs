//! The catalogue: products, their prices and versions, and what takes a second person.
//!
//! # Layout
//! - `label`: how words are compared. `entity`: what may become of a product, pure. `ask`: what two people decide.
//!
//! # Invariants
//! 1. The shelf price is at most the approved price: a constraint of the database.
//! 2. The approved price rises by at most a tenth of the lowest within 90 days, unless two people have set it.
//! 3. A product that the center has already, by barcode or name, is listed again only if two people say so.
//! 4. Every change is a version, which is never changed.

mod ask;
mod entity;
mod label;
mod store;
mod verify;

use std::{collections::BTreeMap, sync::Arc};

pub use ask::{LISTING, PRICE, Prices};
use ask::{ListingQuestion, ListingRunner, PriceQuestion, PriceRunner};
use entity::{By, Keys, needed_two};
pub use entity::{Details, Match, MatchedBy, NewProduct, Product, ProductChange, ProductVersion};
pub(super) use entity::{Index, require_own_price};
pub use label::{Barcode, LABEL_CHARS_MAX, LabelError, Labels, name_key, optional_label};
use store::Change;
use time::OffsetDateTime;
pub(super) use verify::Versions;

use super::{
    Commissary, CommissaryRefusal,
    spending::{FREEZE, FreezeEndRunner, MeasureRunner, OVERRIDE},
};
use crate::{
    approval::{Approval, Approvals, Asking, Runner},
    db::Conn,
    ids::{ProductId, VendorId},
    ledger::{Center, LedgerError, center},
    money::MoneyError,
};

/// Most products of a center.
pub const PRODUCTS_MAX: i64 = 50_000;
/// Most versions of one product that are looked through for its lowest price.
const VERSIONS_MAX: i64 = 10_000;

/// Amounts are bounded at the door; one that cannot be reckoned with is a broken invariant.
pub(super) fn broken(error: MoneyError) -> LedgerError {
    tracing::error!(%error, "a price cannot be reckoned with");
    LedgerError::Internal
}

async fn history(conn: &mut Conn, center: &Center, id: &ProductId) -> Result<Vec<ProductVersion>, LedgerError> {
    let ids = [id.to_string()];
    let versions = store::versions(conn, center, &ids, i64::MAX, VERSIONS_MAX).await?;
    Ok(versions.into_iter().rev().map(|(_, version)| version).collect())
}

/// The products of the center that one may be the same as.
async fn matches_in_tx(
    conn: &mut Conn,
    center: &Center,
    id: &ProductId,
    keys: &Keys,
) -> Result<Vec<Match>, LedgerError> {
    Ok(Index::of(&products_in_tx(conn, center).await?).all(id, keys))
}

/// All products of a center.
pub(super) async fn products_in_tx(conn: &mut Conn, center: &Center) -> Result<Vec<Product>, LedgerError> {
    Ok(store::list_products(conn, center, None, "", PRODUCTS_MAX).await?)
}

/// The versions of some products, oldest first, by product.
pub(super) async fn histories_in_tx(
    conn: &mut Conn,
    center: &Center,
    ids: &[String],
) -> Result<BTreeMap<String, Vec<ProductVersion>>, LedgerError> {
    let mut found: BTreeMap<String, Vec<ProductVersion>> = BTreeMap::new();
    for (product, version) in store::versions(conn, center, ids, i64::MAX, i64::MAX)
        .await?
        .into_iter()
        .rev()
    {
        found.entry(product).or_default().push(version);
    }
    Ok(found)
}

/// Writes new and changed products, which were decided while the journal's head was held.
pub(super) async fn write_in_tx(
    conn: &mut Conn,
    center: &Center,
    (create, update): (&[Product], &[Product]),
    (at, by, reason): (OffsetDateTime, &str, &str),
) -> Result<(), LedgerError> {
    let approval = None;
    let change = Change {
        at,
        by,
        reason,
        approval,
    };
    store::insert_products(conn, center, create, &change).await?;
    store::update_products(conn, center, update, &change).await?;
    Ok(())
}

/// What one person makes of a product; none when nothing changes. `history` is oldest first.
pub(super) fn decide_alone(
    product: &Product,
    told: &ProductChange,
    history: &[ProductVersion],
    now: OffsetDateTime,
) -> Result<Result<Option<Product>, CommissaryRefusal>, MoneyError> {
    entity::change(product, told, history, By::One, now)
}

/// Refuses a shelf price above the approved one.
pub(super) fn require_shelf_price(new: &NewProduct) -> Result<Result<(), CommissaryRefusal>, MoneyError> {
    new.check()
}

/// The product that a new one becomes.
pub(super) fn listed_at(new: NewProduct, at: OffsetDateTime) -> Product {
    new.listed(at)
}

/// Refuses what the center has already.
fn require_new(matches: Vec<Match>) -> Result<(), CommissaryRefusal> {
    match matches.into_iter().next() {
        Some(found) => Err(CommissaryRefusal::Relisted { found }),
        None => Ok(()),
    }
}

impl Commissary {
    /// Puts a product on the shelf. The same product again is answered with what is there.
    ///
    /// Errors: NOT_FOUND, ALREADY_EXISTS, PRICE_ABOVE_APPROVED, PRICE_NEEDS_APPROVAL, PRODUCT_RELISTED.
    pub async fn create_product(&self, center: &Center, new: NewProduct, by: &str) -> Result<Product, LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        if let Some(existing) = self.listable_in_tx(&mut tx, center, &new).await? {
            return Ok(existing);
        }
        require_own_price(&new).map_err(broken)??;
        let keys = Keys::of(new.details.barcode.as_ref(), &new.name, &new.name_zh);
        require_new(matches_in_tx(&mut tx, center, &new.id, &keys).await?)?;
        let (at, reason) = (self.lanes.clock().now(), "");
        let product = new.listed(at);
        let approval = None;
        let change = Change {
            at,
            by,
            reason,
            approval,
        };
        store::insert_products(&mut tx, center, std::slice::from_ref(&product), &change).await?;
        tx.commit().await?;
        Ok(product)
    }

    /// Looks whether a product can be listed as it is told, or is there as it is told.
    async fn listable_in_tx(
        &self,
        conn: &mut Conn,
        center: &Center,
        new: &NewProduct,
    ) -> Result<Option<Product>, LedgerError> {
        if super::store::vendor(conn, center.no, &new.vendor).await?.is_none() {
            let vendor = new.vendor.clone();
            return Err(CommissaryRefusal::VendorNotFound { vendor }.into());
        }
        new.check().map_err(broken)??;
        match store::product(conn, center, &new.id).await? {
            Some(existing) if new.is(&existing) => Ok(Some(existing)),
            Some(_) => Err(CommissaryRefusal::AlreadyExists.into()),
            None => Ok(None),
        }
    }

    /// Changes a product. `version`, if told, must be the one that was read.
    ///
    /// Errors: NOT_FOUND, STALE_ETAG, FIELD_FIXED, PRICE_ABOVE_APPROVED, PRICE_NEEDS_APPROVAL, PRODUCT_RELISTED.
    pub async fn update_product(
        &self,
        center: &Center,
        id: &ProductId,
        told: ProductChange,
        version: Option<i64>,
        by: &str,
    ) -> Result<Product, LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let product = require_product(&mut tx, center, id).await?;
        if version.is_some_and(|version| version != product.version) {
            let version = product.version;
            return Err(CommissaryRefusal::Stale { version }.into());
        }
        let at = self.lanes.clock().now();
        let history = history(&mut tx, center, id).await?;
        let decided = entity::change(&product, &told, &history, By::One, at).map_err(broken)??;
        let Some(changed) = decided else {
            return Ok(product);
        };
        if changed.barcode != product.barcode {
            let keys = Keys::of(changed.barcode.as_ref(), "", "");
            require_new(matches_in_tx(&mut tx, center, id, &keys).await?)?;
        }
        let (reason, approval) = (told.reason.as_str(), None);
        let change = Change {
            at,
            by,
            reason,
            approval,
        };
        store::update_products(&mut tx, center, std::slice::from_ref(&changed), &change).await?;
        tx.commit().await?;
        Ok(changed)
    }

    /// A product.
    pub async fn product(&self, center: &Center, id: &ProductId) -> Result<Product, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        require_product(&mut conn, center, id).await
    }

    /// Up to `limit` products after an id, of one vendor or of all.
    pub async fn list_products(
        &self,
        center: &Center,
        vendor: Option<&VendorId>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<Product>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::list_products(&mut conn, center, vendor, after, limit).await?)
    }

    /// Up to `limit` versions of a product before a number, newest first.
    pub async fn product_versions(
        &self,
        center: &Center,
        id: &ProductId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<ProductVersion>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        require_product(&mut conn, center, id).await?;
        let before = before.unwrap_or(i64::MAX);
        let found = store::versions(&mut conn, center, &[id.to_string()], before, limit).await?;
        Ok(found.into_iter().map(|(_, version)| version).collect())
    }

    /// Asks another person to allow a product that the center seems to have already. The second value tells that it is a
    /// repetition.
    pub async fn propose_product(
        &self,
        center: &Center,
        asking: &Asking,
        new: NewProduct,
    ) -> Result<(Approval, bool), LedgerError> {
        let question = ListingQuestion {
            new,
            commissary: self.clone(),
        };
        Approvals::new(self.lanes.clone()).ask(center, asking, &question).await
    }

    /// Asks another person to allow a price. The second value tells that it is a repetition.
    pub async fn propose_price(
        &self,
        center: &Center,
        asking: &Asking,
        id: ProductId,
        told: Prices,
    ) -> Result<(Approval, bool), LedgerError> {
        Approvals::new(self.lanes.clone())
            .ask(center, asking, &PriceQuestion { id, told })
            .await
    }

    /// What runs here when two people have allowed it.
    pub fn runners(&self) -> [Arc<dyn Runner>; 5] {
        [
            Arc::new(ListingRunner(self.clone())),
            Arc::new(PriceRunner(self.clone())),
            Arc::new(MeasureRunner(OVERRIDE, self.clone())),
            Arc::new(MeasureRunner(FREEZE, self.clone())),
            Arc::new(FreezeEndRunner(self.clone())),
        ]
    }
}

async fn require_product(conn: &mut Conn, center: &Center, id: &ProductId) -> Result<Product, LedgerError> {
    let found = store::product(conn, center, id).await?;
    found.ok_or_else(|| CommissaryRefusal::ProductNotFound { product: id.clone() }.into())
}
