//! Goods that were handed out already, at the prices of versions that the seller knew: what they cost, whom they are owed to, and
//! what they leave of the stock. Nothing here refuses what is done; it says what does not agree with the catalogue.

use time::OffsetDateTime;

use super::{
    buyer::BuyerRoom,
    room::{OfferRoom, SpendingRoom},
    spending::{Totals, restriction},
    stock,
    store::{self, PricedVersion},
};
use crate::{
    custody::room::SettingsRoom,
    db::Conn,
    ids::{AccountNo, DetaineeId, ProductId},
    ledger::{Center, Declined, Moment, Rows, State},
    money::Amount,
    proto::PurchaseLineFacts,
};

/// One line as its seller tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SoldLine {
    /// The product.
    pub product: ProductId,
    /// The version that priced it.
    pub version: i64,
    /// How many.
    pub quantity: u32,
    /// The price of one.
    pub unit_price: Amount,
}

/// What goods come to.
#[derive(Debug, Clone)]
pub struct Sold {
    /// The lines for the record.
    pub lines: Vec<PurchaseLineFacts>,
    /// What each vendor gets, in the order in which the vendors appear.
    pub vendors: Vec<(AccountNo, Amount)>,
    /// What they cost, and what of it counts against limits.
    pub totals: Totals,
    /// Whether the books had fewer of a product than were sold: then none are left.
    pub is_stock_short: bool,
    /// Whether there is a product that the detainee must not have.
    pub is_restricted: bool,
}

/// Why goods do not agree with the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Disagreement {
    /// The product is not there.
    #[error("product {product} does not exist")]
    ProductUnknown {
        /// The product.
        product: ProductId,
    },
    /// It never had the version.
    #[error("product {product} has no version {version}")]
    VersionUnknown {
        /// The product.
        product: ProductId,
        /// The version told.
        version: i64,
    },
    /// The version has another price.
    #[error("product {product} costs {price} in version {version}, not {told}")]
    PriceDiffers {
        /// The product.
        product: ProductId,
        /// The version told.
        version: i64,
        /// Its price.
        price: Amount,
        /// The price told.
        told: Amount,
    },
    /// Another version had replaced it before the seller could have needed it.
    #[error("version {version} of product {product} was replaced before the terminal could have needed it")]
    PriceOutdated {
        /// The product.
        product: ProductId,
        /// The version told.
        version: i64,
    },
    /// It was not on sale in that version.
    #[error("product {product} was not on sale in version {version}")]
    NotOnSale {
        /// The product.
        product: ProductId,
        /// The version told.
        version: i64,
    },
}

impl Disagreement {
    /// Its name on the wire.
    pub const fn name(&self) -> &'static str {
        match self {
            Disagreement::ProductUnknown { .. } => "PRODUCT_UNKNOWN",
            Disagreement::VersionUnknown { .. } => "PRICE_VERSION_UNKNOWN",
            Disagreement::PriceDiffers { .. } => "PRICE_DIFFERS",
            Disagreement::PriceOutdated { .. } => "PRICE_OUTDATED",
            Disagreement::NotOnSale { .. } => "PRODUCT_NOT_AVAILABLE",
        }
    }
}

/// Asks for what [`sold`] reads, besides what [`want_amount`](super::spending::want_amount) asks for.
pub fn want_sold(state: &mut State, detainee: &DetaineeId, lines: &[SoldLine]) {
    if let Ok(buyers) = state.room_mut::<BuyerRoom>() {
        buyers.want(detainee);
    }
    for line in lines {
        let known = match state.room_mut::<OfferRoom>() {
            Ok(offers) => offers.want(&line.product),
            Err(_) => None,
        };
        let Some((payable, keeps_stock)) = known.map(|offer| (offer.payable_no, offer.keeps_stock)) else {
            continue;
        };
        state.want_account(payable);
        if keeps_stock {
            stock::want(state, &line.product);
        }
    }
}

/// Compares lines with the versions they name, as a seller may have held them who last heard of the catalogue at `since`.
pub async fn disagreement_in_tx(
    conn: &mut Conn,
    center: &Center,
    lines: &[SoldLine],
    since: OffsetDateTime,
) -> Result<Option<Disagreement>, Declined> {
    for line in lines {
        let (product, version) = (line.product.clone(), line.version);
        let Some(found) = store::priced_version(conn, center, &line.product, version).await? else {
            return Ok(Some(if store::exists(conn, center.no, &line.product).await? {
                Disagreement::VersionUnknown { product, version }
            } else {
                Disagreement::ProductUnknown { product }
            }));
        };
        let PricedVersion {
            price,
            available,
            replaced_at,
        } = found;
        if price != line.unit_price {
            let told = line.unit_price;
            return Ok(Some(Disagreement::PriceDiffers {
                product,
                version,
                price,
                told,
            }));
        }
        if replaced_at.is_some_and(|at| at < since) {
            return Ok(Some(Disagreement::PriceOutdated { product, version }));
        }
        if !available {
            return Ok(Some(Disagreement::NotOnSale { product, version }));
        }
    }
    Ok(None)
}

/// What lines come to, whose products are there, at the prices they tell.
pub fn sold(state: &State, moment: &Moment, detainee: &DetaineeId, lines: &[SoldLine]) -> Result<Sold, Declined> {
    let rules = &state.room::<SettingsRoom>()?.get()?.spending;
    let measures = &state.room::<SpendingRoom>()?.get(detainee)?.measures;
    let buyer = state.room::<BuyerRoom>()?.get(detainee)?;
    let zero = Amount::zero(state.center().currency);
    let mut moved = stock::Moved::default();
    let mut sold = Sold {
        lines: Vec::with_capacity(lines.len()),
        vendors: Vec::new(),
        totals: Totals {
            total: zero,
            counted: zero,
        },
        is_stock_short: false,
        is_restricted: false,
    };
    for line in lines {
        let offer = state.room::<OfferRoom>()?.get(&line.product)?;
        let amount = line.unit_price.checked_mul(line.quantity)?;
        let counted = rules.counts(offer.category);
        let withheld = offer.limits.as_ref().map(|limits| limits.check(&line.product, buyer));
        sold.is_restricted |= restriction(measures, offer.category, moment.recorded_at).is_some()
            || withheld.is_some_and(|allowed| allowed.is_err());
        let asked = i64::from(line.quantity);
        let stock_after = match offer.keeps_stock {
            false => None,
            true => Some(match moved.add(state, &line.product, -asked)? {
                Ok(left) => left,
                Err(there) => {
                    sold.is_stock_short = true;
                    let left = moved.add(state, &line.product, -there)?;
                    left.map_err(|_| Declined::Broken("stock".into()))?
                }
            }),
        };
        sold.totals.total = sold.totals.total.checked_add(amount)?;
        if counted {
            sold.totals.counted = sold.totals.counted.checked_add(amount)?;
        }
        match sold.vendors.iter_mut().find(|(known, _)| *known == offer.payable_no) {
            Some((_, sum)) => *sum = sum.checked_add(amount)?,
            None => sold.vendors.push((offer.payable_no, amount)),
        }
        sold.lines.push(PurchaseLineFacts {
            product: line.product.to_string(),
            product_version: line.version,
            vendor: offer.vendor.to_string(),
            quantity: i32::try_from(line.quantity).map_err(|_| Declined::Broken("quantity".into()))?,
            unit_price: line.unit_price.to_string(),
            amount: amount.to_string(),
            counted,
            stock_after,
        });
    }
    Ok(sold)
}

/// Keeps what lines have left of the stock.
pub fn apply_sold(
    state: &mut State,
    rows: &mut Rows,
    lines: &[SoldLine],
    facts: &[PurchaseLineFacts],
) -> Result<(), Declined> {
    for (line, facts) in lines.iter().zip(facts) {
        stock::apply(state, rows, &line.product, facts.stock_after)?;
    }
    Ok(())
}
