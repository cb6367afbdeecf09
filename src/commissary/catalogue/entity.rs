//! Products, their prices, and what may become of them: pure decisions.

use std::collections::HashMap;

use time::{Duration, OffsetDateTime};

use super::label::{Barcode, Labels, name_key};
use crate::{
    commissary::{Category, CommissaryRefusal},
    ids::{ProductId, VendorId},
    money::{Amount, MoneyError, percent_of},
};

/// How long an approved price counts for what may be added to it without a second person: small steps within this time are
/// one step.
pub const STEPS: Duration = Duration::days(90);
/// How far the approved price may rise without a second person, in percent of the lowest within [`STEPS`].
const RISE_PERCENT: i64 = 10;

/// A product with its prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// Its id.
    pub id: ProductId,
    /// Who sells it.
    pub vendor: VendorId,
    /// Its name.
    pub name: String,
    /// In Chinese.
    pub name_zh: String,
    /// What kind of goods.
    pub category: Category,
    /// Its GTIN.
    pub barcode: Option<Barcode>,
    /// What one of it is; empty when it was never told.
    pub unit: String,
    /// The shelf price of one.
    pub price: Amount,
    /// The most that the shelf price may be.
    pub approved_price: Amount,
    /// Whether it is on sale.
    pub available: bool,
    /// The housing units that cannot have it.
    pub withdrawn_units: Labels,
    /// For whom it is not.
    pub tags: Labels,
    /// How many there are, if it is counted.
    pub stock: Option<i64>,
    /// Counts its changes.
    pub version: i64,
    /// Since when.
    pub created_at: OffsetDateTime,
}

/// What is told when a product is put on the shelf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewProduct {
    /// Its id.
    pub id: ProductId,
    /// Who sells it.
    pub vendor: VendorId,
    /// Its name.
    pub name: String,
    /// In Chinese.
    pub name_zh: String,
    /// What kind of goods.
    pub category: Category,
    /// The shelf price of one, above zero.
    pub price: Amount,
    /// Whether it is on sale.
    pub available: bool,
    /// What else is known of it.
    pub details: Details,
}

/// What need not be told of a product.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Its GTIN.
    pub barcode: Option<Barcode>,
    /// What one of it is.
    pub unit: String,
    /// The most that the shelf price may be; the shelf price of a new product, and as it was of another, when left out.
    pub approved_price: Option<Amount>,
    /// The housing units that cannot have it.
    pub withdrawn_units: Labels,
    /// For whom it is not.
    pub tags: Labels,
    /// Whether it is counted.
    pub keeps_stock: bool,
}

/// What a product is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductChange {
    /// The shelf price of one, above zero.
    pub price: Amount,
    /// Whether it is on sale.
    pub available: bool,
    /// What else.
    pub details: Details,
    /// Why, for its history.
    pub reason: String,
}

/// One version of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductVersion {
    /// Its number, from 1.
    pub version: i64,
    /// The shelf price.
    pub price: Amount,
    /// The approved price.
    pub approved_price: Amount,
    /// Whether it was on sale.
    pub available: bool,
    /// Where it could not be had.
    pub withdrawn_units: Labels,
    /// For whom it was not.
    pub tags: Labels,
    /// From when.
    pub changed_at: OffsetDateTime,
    /// Who changed it.
    pub changed_by: String,
    /// Why.
    pub reason: String,
    /// The approval, if it took two people.
    pub approval: Option<i64>,
}

impl NewProduct {
    /// The most that its shelf price may be.
    pub fn approved_price(&self) -> Amount {
        self.details.approved_price.unwrap_or(self.price)
    }

    /// Whether what is there is what was told.
    pub(super) fn is(&self, product: &Product) -> bool {
        let (told, details) = (self, &self.details);
        told.vendor == product.vendor
            && told.name == product.name
            && told.name_zh == product.name_zh
            && told.category == product.category
            && told.price == product.price
            && told.available == product.available
            && details.barcode == product.barcode
            && details.unit == product.unit
            && told.approved_price() == product.approved_price
            && details.withdrawn_units == product.withdrawn_units
            && details.tags == product.tags
            && details.keeps_stock == product.stock.is_some()
    }

    /// Refuses a shelf price above the approved one.
    pub(super) fn check(&self) -> Result<Result<(), CommissaryRefusal>, MoneyError> {
        require_below(self.price, self.approved_price())
    }

    /// The product that it becomes.
    pub(super) fn listed(self, at: OffsetDateTime) -> Product {
        Product {
            approved_price: self.approved_price(),
            id: self.id,
            vendor: self.vendor,
            name: self.name,
            name_zh: self.name_zh,
            category: self.category,
            barcode: self.details.barcode,
            unit: self.details.unit,
            price: self.price,
            available: self.available,
            withdrawn_units: self.details.withdrawn_units,
            tags: self.details.tags,
            stock: self.details.keeps_stock.then_some(0),
            version: 1,
            created_at: at,
        }
    }
}

fn require_below(price: Amount, approved: Amount) -> Result<Result<(), CommissaryRefusal>, MoneyError> {
    Ok(if price.exceeds(approved)? {
        Err(CommissaryRefusal::PriceAboveApproved { price, approved })
    } else {
        Ok(())
    })
}

/// Who decides how far the approved price may rise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// One person.
    One,
    /// Two people, who have seen it.
    Two,
}

/// What a product becomes; none when nothing changes. `history` is oldest first.
pub(super) fn change(
    product: &Product,
    told: &ProductChange,
    history: &[ProductVersion],
    by: By,
    now: OffsetDateTime,
) -> Result<Result<Option<Product>, CommissaryRefusal>, MoneyError> {
    let approved = told.details.approved_price.unwrap_or(product.approved_price);
    let fixed = |field| Ok(Err(CommissaryRefusal::FieldFixed { field }));
    let details = &told.details;
    if product.barcode.is_some() && details.barcode.is_some() && product.barcode != details.barcode {
        return fixed("barcode");
    }
    if !product.unit.is_empty() && !details.unit.is_empty() && product.unit != details.unit {
        return fixed("unit");
    }
    if let Err(refusal) = require_below(told.price, approved)? {
        return Ok(Err(refusal));
    }
    if by == By::One
        && approved.exceeds(product.approved_price)?
        && let Err(refusal) = require_small_rise(approved, history, now)?
    {
        return Ok(Err(refusal));
    }
    let changed = Product {
        barcode: product.barcode.clone().or_else(|| details.barcode.clone()),
        unit: if product.unit.is_empty() {
            details.unit.clone()
        } else {
            product.unit.clone()
        },
        price: told.price,
        approved_price: approved,
        available: told.available,
        withdrawn_units: details.withdrawn_units.clone(),
        tags: details.tags.clone(),
        stock: product.stock.or(details.keeps_stock.then_some(0)),
        ..product.clone()
    };
    Ok(Ok((changed != *product).then(|| Product {
        version: product.version + 1,
        ..changed
    })))
}

/// Refuses an approved price of a new product that one person may not set: it is no higher above the shelf price than that
/// could rise.
pub(in crate::commissary) fn require_own_price(new: &NewProduct) -> Result<Result<(), CommissaryRefusal>, MoneyError> {
    let (approved, lowest) = (new.approved_price(), new.price);
    let most = lowest.checked_add(percent_of(lowest, RISE_PERCENT.into())?)?;
    Ok(if approved.exceeds(most)? {
        Err(CommissaryRefusal::PriceNeedsApproval { approved, lowest, most })
    } else {
        Ok(())
    })
}

/// Refuses an approved price that one person may not set.
fn require_small_rise(
    approved: Amount,
    history: &[ProductVersion],
    now: OffsetDateTime,
) -> Result<Result<(), CommissaryRefusal>, MoneyError> {
    let Some(lowest) = lowest(history, now)? else {
        return Ok(Ok(()));
    };
    let most = lowest.checked_add(percent_of(lowest, RISE_PERCENT.into())?)?;
    Ok(if approved.exceeds(most)? {
        Err(CommissaryRefusal::PriceNeedsApproval { approved, lowest, most })
    } else {
        Ok(())
    })
}

/// The lowest approved price that was in force within [`STEPS`], since the last one that two people have set.
fn lowest(history: &[ProductVersion], now: OffsetDateTime) -> Result<Option<Amount>, MoneyError> {
    let decided = history
        .iter()
        .rposition(|version| version.approval.is_some())
        .unwrap_or(0);
    let since = history.get(decided..).unwrap_or_default();
    let mut lowest: Option<Amount> = None;
    for (at, version) in since.iter().enumerate() {
        let is_over = since.get(at + 1).is_some_and(|next| next.changed_at <= now - STEPS);
        if !is_over {
            lowest = Some(match lowest {
                Some(lowest) => lowest.min(version.approved_price)?,
                None => version.approved_price,
            });
        }
    }
    Ok(lowest)
}

/// Whether a version needed two people, seen from the versions before it, oldest first.
pub(super) fn needed_two(before: &[ProductVersion], version: &ProductVersion) -> Result<bool, MoneyError> {
    let Some(last) = before.last() else {
        return Ok(false);
    };
    Ok(version.approved_price.exceeds(last.approved_price)?
        && require_small_rise(version.approved_price, before, version.changed_at)?.is_err())
}

/// By what a product is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MatchedBy {
    /// The same GTIN.
    Barcode,
    /// The same name in English, however it is written.
    Name,
    /// The same name in Chinese, however it is written.
    NameZh,
}

impl MatchedBy {
    /// As facts tell it.
    pub const fn name(self) -> &'static str {
        match self {
            MatchedBy::Barcode => "barcode",
            MatchedBy::Name => "display_name",
            MatchedBy::NameZh => "display_name_zh",
        }
    }
}

/// A product that another may be the same as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Which.
    pub product: ProductId,
    /// Who sells it.
    pub vendor: VendorId,
    /// By what.
    pub by: MatchedBy,
    /// The most that it may cost.
    pub approved_price: Amount,
}

/// What products are known by.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    gtin: Option<String>,
    name: String,
    name_zh: String,
}

impl Keys {
    pub fn of(barcode: Option<&Barcode>, name: &str, name_zh: &str) -> Keys {
        Keys {
            gtin: barcode.map(Barcode::gtin),
            name: name_key(name),
            name_zh: name_key(name_zh),
        }
    }
}

/// What the products of a center are known by, on sale or not and of whatever vendor.
#[derive(Debug, Clone, Default)]
pub(in crate::commissary) struct Index {
    gtins: HashMap<String, Vec<Found>>,
    names: HashMap<String, Vec<Found>>,
    names_zh: HashMap<String, Vec<Found>>,
}

/// A product of the index.
#[derive(Debug, Clone)]
struct Found {
    product: ProductId,
    vendor: VendorId,
    approved_price: Amount,
}

impl Index {
    /// Of all products.
    pub fn of<'a>(products: impl IntoIterator<Item = &'a Product>) -> Index {
        let mut index = Index::default();
        for product in products {
            index.add(product);
        }
        index
    }

    /// Adds what a product is known by.
    pub fn add(&mut self, product: &Product) {
        let found = Found {
            product: product.id.clone(),
            vendor: product.vendor.clone(),
            approved_price: product.approved_price,
        };
        let keys = Keys::of(product.barcode.as_ref(), &product.name, &product.name_zh);
        let maps = [
            (&mut self.gtins, keys.gtin.unwrap_or_default()),
            (&mut self.names, keys.name),
            (&mut self.names_zh, keys.name_zh),
        ];
        for (map, key) in maps {
            if !key.is_empty() {
                map.entry(key).or_default().push(found.clone());
            }
        }
    }

    /// The first product that another may be the same as.
    pub fn find(&self, product: &Product) -> Option<Match> {
        let keys = Keys::of(product.barcode.as_ref(), &product.name, &product.name_zh);
        self.all(&product.id, &keys).into_iter().next()
    }

    /// The products, each once, that one with these keys may be the same as.
    pub(super) fn all(&self, id: &ProductId, keys: &Keys) -> Vec<Match> {
        let maps = [
            (
                &self.gtins,
                keys.gtin.as_deref().unwrap_or_default(),
                MatchedBy::Barcode,
            ),
            (&self.names, keys.name.as_str(), MatchedBy::Name),
            (&self.names_zh, keys.name_zh.as_str(), MatchedBy::NameZh),
        ];
        let mut matches: Vec<Match> = Vec::new();
        for (map, key, by) in maps {
            for found in map.get(key).into_iter().flatten() {
                if found.product != *id && !matches.iter().any(|known| known.product == found.product) {
                    matches.push(Match {
                        product: found.product.clone(),
                        vendor: found.vendor.clone(),
                        by,
                        approved_price: found.approved_price,
                    });
                }
            }
        }
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;

    fn cny(text: &str) -> Amount {
        Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap()
    }

    /// Approved prices, each so many days before now and by two people or not, as a history and as the product it made.
    fn history(now: OffsetDateTime, versions: &[(i64, &str, Option<i64>)]) -> (Vec<ProductVersion>, Product) {
        let versions: Vec<ProductVersion> = (1..)
            .zip(versions)
            .map(|(version, (days, approved, approval))| ProductVersion {
                version,
                price: cny("1.00"),
                approved_price: cny(approved),
                available: true,
                withdrawn_units: Labels::default(),
                tags: Labels::default(),
                changed_at: now - Duration::days(*days),
                changed_by: "test".into(),
                reason: String::new(),
                approval: *approval,
            })
            .collect();
        let new = NewProduct {
            id: ProductId::parse("RICE").unwrap(),
            vendor: VendorId::parse("V1").unwrap(),
            name: "Rice".into(),
            name_zh: "米".into(),
            category: Category::Food,
            price: cny("1.00"),
            available: true,
            details: Details {
                approved_price: versions.last().map(|last| last.approved_price),
                ..Details::default()
            },
        };
        (versions, new.listed(now))
    }

    fn to(price: &str, approved: &str) -> ProductChange {
        ProductChange {
            price: cny(price),
            available: true,
            details: Details {
                approved_price: Some(cny(approved)),
                ..Details::default()
            },
            reason: String::new(),
        }
    }

    #[test]
    fn small_steps_are_one_step() {
        let now = OffsetDateTime::from_unix_timestamp(2_000_000_000).unwrap();
        for (versions, approved, most) in [
            (vec![(10, "10.00", None)], "11.00", None),
            (vec![(10, "10.00", None)], "11.01", Some("11.00")),
            (vec![(20, "10.00", None), (10, "10.50", None)], "11.01", Some("11.00")),
            // The lower price went out of force more than 90 days ago.
            (vec![(200, "10.00", None), (91, "10.50", None)], "11.55", None),
            (vec![(200, "10.00", None), (89, "10.50", None)], "11.55", Some("11.00")),
            // What two people have set is where the next step begins.
            (vec![(20, "10.00", None), (10, "20.00", Some(1))], "22.00", None),
            (
                vec![(20, "10.00", None), (10, "20.00", Some(1))],
                "22.01",
                Some("22.00"),
            ),
            // First down, then up again.
            (vec![(20, "10.00", None), (10, "5.00", None)], "10.00", Some("5.50")),
            (vec![(20, "0.05", None)], "0.06", Some("0.05")),
        ] {
            let (history, product) = history(now, &versions);
            let decided = change(&product, &to("0.01", approved), &history, By::One, now).unwrap();
            match (decided, most) {
                (Ok(Some(changed)), None) => assert_eq!((changed.approved_price, changed.version), (cny(approved), 2)),
                (Err(CommissaryRefusal::PriceNeedsApproval { most, .. }), Some(expected)) => {
                    assert_eq!(most, cny(expected), "{versions:?}");
                }
                (other, _) => panic!("{versions:?}: {other:?}"),
            }
            let two = change(&product, &to("0.01", approved), &history, By::Two, now).unwrap();
            assert!(matches!(two, Ok(Some(_))), "{versions:?}");
        }
    }

    #[test]
    fn the_shelf_price_stays_below_and_what_was_told_stays() {
        let now = OffsetDateTime::UNIX_EPOCH + STEPS * 2;
        let (history, product) = history(now, &[(1, "10.00", None)]);
        let decide = |told: &ProductChange| change(&product, told, &history, By::Two, now).unwrap();
        assert!(matches!(
            decide(&to("10.01", "10.00")),
            Err(CommissaryRefusal::PriceAboveApproved { .. })
        ));
        assert_eq!(decide(&to("1.00", "10.00")), Ok(None));
        let mut told = to("1.00", "10.00");
        told.details.barcode = "96385074".parse().ok();
        let with_barcode = decide(&told).unwrap().unwrap();
        told.details.barcode = "6901234567892".parse().ok();
        let other = change(&with_barcode, &told, &history, By::Two, now).unwrap();
        assert!(matches!(other, Err(CommissaryRefusal::FieldFixed { field: "barcode" })));
    }
}
