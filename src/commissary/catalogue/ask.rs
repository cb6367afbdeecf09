//! What two people decide of the catalogue, and what then runs. No money moves, so what an approval has changed carries its
//! number, by which it changes it once.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{
    Barcode, Change, Commissary, CommissaryRefusal, Details, Labels, NewProduct, ProductChange, broken,
    entity::{self, By, Keys},
    history, matches_in_tx, require_new, require_product, store,
};
use crate::{
    approval::{Approved, Done, Kind, NewApproval, Question, Runner, VALID},
    commissary::Category,
    db::Conn,
    ids::{ProductId, VendorId},
    ledger::{Center, LedgerError, center, record},
    money::Amount,
    proto::{ChangePriceCommand, ListProductCommand},
};

/// A product is listed although the center seems to have it.
pub const LISTING: Kind = Kind {
    name: "commissary.listing",
    title: "list a product that is like another",
    title_zh: "上架疑似重复商品",
};

/// A product's approved price rises.
pub const PRICE: Kind = Kind {
    name: "commissary.price",
    title: "raise a product's price",
    title_zh: "商品提价",
};

/// A shelf price and an approved price.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    /// The shelf price, above zero.
    pub price: Amount,
    /// The most that it may be.
    pub approved: Amount,
}

fn subject(id: &ProductId) -> String {
    format!("products/{id}")
}

/// A command that was stored and cannot be read is a broken invariant.
fn unreadable(error: &dyn std::fmt::Display) -> LedgerError {
    tracing::error!(%error, "what was allowed cannot be read");
    LedgerError::Internal
}

/// May a product be listed that the center seems to have?
pub(super) struct ListingQuestion {
    pub new: NewProduct,
    pub commissary: Commissary,
}

impl ListingQuestion {
    async fn asked(&self, conn: &mut Conn, center: &Center) -> Result<NewApproval, LedgerError> {
        let new = &self.new;
        if self.commissary.listable_in_tx(conn, center, new).await?.is_some() {
            return Err(CommissaryRefusal::AlreadyExists.into());
        }
        let keys = Keys::of(new.details.barcode.as_ref(), &new.name, &new.name_zh);
        let matches = matches_in_tx(conn, center, &new.id, &keys).await?;
        let told: Vec<String> = matches
            .iter()
            .map(|found| {
                format!(
                    "{} of vendor {}, approved at {}, by {}",
                    found.product,
                    found.vendor,
                    found.approved_price,
                    found.by.name()
                )
            })
            .collect();
        let is_like = if told.is_empty() {
            "It is like no other.".to_owned()
        } else {
            format!("It is like {}.", told.join("; "))
        };
        Ok(NewApproval {
            kind: LISTING.name,
            subject: subject(&new.id),
            command: record::canonical(&ListProductCommand {
                matches: matches.iter().map(|found| found.product.to_string()).collect(),
                ..command_of(new)
            }),
            summary: format!(
                "List product {} ({} {}) of vendor {} at {}, approved {} {}. {is_like}",
                new.id,
                new.name_zh,
                new.name,
                new.vendor,
                new.price,
                new.approved_price(),
                center.currency
            ),
            amount: None,
            valid: VALID,
        })
    }
}

impl Question for ListingQuestion {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        _: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        async move { self.asked(conn, center).await.map(Some) }.boxed()
    }
}

fn command_of(new: &NewProduct) -> ListProductCommand {
    let details = &new.details;
    ListProductCommand {
        product: new.id.to_string(),
        vendor: new.vendor.to_string(),
        display_name: new.name.clone(),
        display_name_zh: new.name_zh.clone(),
        category: new.category.name().to_owned(),
        price: new.price.to_string(),
        approved_price: new.approved_price().to_string(),
        available: new.available,
        barcode: details.barcode.as_ref().map(Barcode::to_string).unwrap_or_default(),
        unit: details.unit.clone(),
        withdrawn_units: details.withdrawn_units.to_vec(),
        tags: details.tags.to_vec(),
        keeps_stock: details.keeps_stock,
        matches: Vec::new(),
    }
}

fn product_of(told: ListProductCommand, center: &Center) -> Result<NewProduct, LedgerError> {
    let amount = |text: &str| Amount::parse(text, center.currency).map_err(|error| unreadable(&error));
    Ok(NewProduct {
        id: ProductId::parse(&told.product).map_err(|error| unreadable(&error))?,
        vendor: VendorId::parse(&told.vendor).map_err(|error| unreadable(&error))?,
        name: told.display_name,
        name_zh: told.display_name_zh,
        category: Category::from_name(&told.category).ok_or_else(|| unreadable(&told.category))?,
        price: amount(&told.price)?,
        available: told.available,
        details: Details {
            barcode: Barcode::stored(told.barcode),
            unit: told.unit,
            approved_price: Some(amount(&told.approved_price)?),
            withdrawn_units: Labels::stored(told.withdrawn_units),
            tags: Labels::stored(told.tags),
            keeps_stock: told.keeps_stock,
        },
    })
}

/// Lists products that two people have allowed.
pub(super) struct ListingRunner(pub Commissary);

impl ListingRunner {
    async fn list(&self, center: &Center, approved: &Approved) -> Result<(), LedgerError> {
        let told: ListProductCommand = record::read_canonical(&approved.command).map_err(|error| unreadable(&error))?;
        let known = told.matches.clone();
        let new = product_of(told, center)?;
        let lanes = &self.0.lanes;
        let mut tx = lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let approval = Some(approved.facts.approval);
        if store::changed_by_approval(&mut tx, center, approved.facts.approval)
            .await?
            .is_some()
        {
            return Ok(());
        }
        if self.0.listable_in_tx(&mut tx, center, &new).await?.is_some() {
            return Err(CommissaryRefusal::AlreadyExists.into());
        }
        // What has come since was not known to whoever allowed it.
        let keys = Keys::of(new.details.barcode.as_ref(), &new.name, &new.name_zh);
        let mut matches = matches_in_tx(&mut tx, center, &new.id, &keys).await?;
        matches.retain(|found| !known.iter().any(|known| known == found.product.as_str()));
        require_new(matches)?;
        let product = new.listed(lanes.clock().now());
        let change = Change {
            at: product.created_at,
            by: &approved.actor,
            reason: &approved.facts.reason,
            approval,
        };
        store::insert_products(&mut tx, center, std::slice::from_ref(&product), &change).await?;
        tx.commit().await?;
        Ok(())
    }
}

impl Runner for ListingRunner {
    fn kind(&self) -> Kind {
        LISTING
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        async move {
            self.list(center, &approved).await?;
            Ok(Done::NoTransaction)
        }
        .boxed()
    }
}

/// May a product's approved price rise?
pub(super) struct PriceQuestion {
    pub id: ProductId,
    pub told: Prices,
}

fn change_of(product: &super::Product, told: Prices) -> ProductChange {
    ProductChange {
        price: told.price,
        available: product.available,
        details: Details {
            approved_price: Some(told.approved),
            withdrawn_units: product.withdrawn_units.clone(),
            tags: product.tags.clone(),
            ..Details::default()
        },
        reason: String::new(),
    }
}

impl PriceQuestion {
    async fn asked(&self, conn: &mut Conn, center: &Center, now: OffsetDateTime) -> Result<NewApproval, LedgerError> {
        let (id, told) = (&self.id, self.told);
        let product = require_product(conn, center, id).await?;
        let history = history(conn, center, id).await?;
        entity::change(&product, &change_of(&product, told), &history, By::Two, now).map_err(broken)??;
        Ok(NewApproval {
            kind: PRICE.name,
            subject: subject(id),
            command: record::canonical(&ChangePriceCommand {
                product: id.to_string(),
                price: told.price.to_string(),
                approved_price: told.approved.to_string(),
                approved_before: product.approved_price.to_string(),
            }),
            summary: format!(
                "Change the price of product {id} ({} {}) from {}, approved {}, to {}, approved {} {}.",
                product.name_zh,
                product.name,
                product.price,
                product.approved_price,
                told.price,
                told.approved,
                center.currency
            ),
            amount: None,
            valid: VALID,
        })
    }
}

impl Question for PriceQuestion {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        async move { self.asked(conn, center, now).await.map(Some) }.boxed()
    }
}

/// Raises prices that two people have allowed.
pub(super) struct PriceRunner(pub Commissary);

impl PriceRunner {
    async fn raise(&self, center: &Center, approved: &Approved) -> Result<(), LedgerError> {
        let told: ChangePriceCommand = record::read_canonical(&approved.command).map_err(|error| unreadable(&error))?;
        let amount = |text: &str| Amount::parse(text, center.currency).map_err(|error| unreadable(&error));
        let id = ProductId::parse(&told.product).map_err(|error| unreadable(&error))?;
        let prices = Prices {
            price: amount(&told.price)?,
            approved: amount(&told.approved_price)?,
        };
        let lanes = &self.0.lanes;
        let mut tx = lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        if store::changed_by_approval(&mut tx, center, approved.facts.approval)
            .await?
            .is_some()
        {
            return Ok(());
        }
        let product = require_product(&mut tx, center, &id).await?;
        // Another approved price was seen by whoever allowed it.
        if product.approved_price != amount(&told.approved_before)? {
            let version = product.version;
            return Err(CommissaryRefusal::Stale { version }.into());
        }
        let at = lanes.clock().now();
        let history = history(&mut tx, center, &id).await?;
        let decided = entity::change(&product, &change_of(&product, prices), &history, By::Two, at);
        if let Some(changed) = decided.map_err(broken)?? {
            let change = Change {
                at,
                by: &approved.actor,
                reason: &approved.facts.reason,
                approval: Some(approved.facts.approval),
            };
            store::update_products(&mut tx, center, std::slice::from_ref(&changed), &change).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

impl Runner for PriceRunner {
    fn kind(&self) -> Kind {
        PRICE
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        async move {
            self.raise(center, &approved).await?;
            Ok(Done::NoTransaction)
        }
        .boxed()
    }
}
