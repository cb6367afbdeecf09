//! The lines: what they are, who may have them, how much there is, and what they cost.

use time::OffsetDateTime;

use super::{
    super::{buyer::BuyerRoom, entity::Offer, room::OfferRoom, stock},
    Basket, CommissaryRefusal, Measure, SpendingRefusal,
    measure::restriction,
};
use crate::{
    custody::SpendingRules,
    ids::AccountNo,
    ledger::{Declined, State},
    money::Amount,
    proto::PurchaseLineFacts,
};

/// Lines, priced.
#[derive(Debug, Default)]
pub(super) struct Goods {
    pub facts: Vec<PurchaseLineFacts>,
    /// The amount of each line and whether it counts against the limits.
    pub amounts: Vec<(Amount, bool)>,
    /// What each vendor gets, in the order in which the vendors appear.
    pub vendors: Vec<(AccountNo, Amount)>,
    /// What is left of the products that are counted.
    stock: stock::Moved,
}

/// Refuses lines of a category that the detainee is restricted from. What does not exist is for the next check to say.
pub(super) fn require_unrestricted(
    state: &State,
    basket: &Basket<'_>,
    measures: &[Measure],
    at: OffsetDateTime,
) -> Result<(), Declined> {
    if measures.is_empty() {
        return Ok(());
    }
    let room = state.room::<OfferRoom>()?;
    for line in basket.lines {
        let Ok(offer) = room.get(&line.product) else { continue };
        if let Some(restriction) = restriction(measures, offer.category, at) {
            return Err(SpendingRefusal::CategoryRestricted {
                product: line.product.clone(),
                category: offer.category,
                measure: restriction.no,
                until: restriction.until(),
            }
            .into());
        }
    }
    Ok(())
}

/// Prices the lines from the catalogue, after checking product, who may have it, and stock.
pub(super) fn price(state: &State, basket: &Basket<'_>, rules: &SpendingRules) -> Result<Goods, Declined> {
    let room = state.room::<OfferRoom>()?;
    let mut offers = Vec::with_capacity(basket.lines.len());
    for line in basket.lines {
        let offer = room.get(&line.product)?;
        if !offer.available {
            return Err(CommissaryRefusal::ProductNotAvailable {
                product: line.product.clone(),
            }
            .into());
        }
        offers.push(offer);
    }
    for (line, offer) in basket.lines.iter().zip(&offers) {
        if let Some(limits) = &offer.limits {
            limits.check(&line.product, state.room::<BuyerRoom>()?.get(basket.detainee)?)?;
        }
    }
    let mut goods = Goods::default();
    for (line, offer) in basket.lines.iter().zip(&offers) {
        let stock_after = goods.take(state, &line.product, offer, line.quantity)?;
        let amount = offer.price.checked_mul(line.quantity)?;
        let counted = rules.counts(offer.category);
        goods.amounts.push((amount, counted));
        goods.owe(offer.payable_no, amount)?;
        goods.facts.push(PurchaseLineFacts {
            product: line.product.to_string(),
            product_version: offer.version,
            vendor: offer.vendor.to_string(),
            quantity: i32::try_from(line.quantity).map_err(|_| Declined::Broken("quantity".into()))?,
            unit_price: offer.price.to_string(),
            amount: amount.to_string(),
            counted,
            stock_after,
        });
    }
    Ok(goods)
}

impl Goods {
    fn take(
        &mut self,
        state: &State,
        product: &crate::ids::ProductId,
        offer: &Offer,
        quantity: u32,
    ) -> Result<Option<i64>, Declined> {
        if !offer.keeps_stock {
            return Ok(None);
        }
        let asked = i64::from(quantity);
        let left = self.stock.add(state, product, -asked)?;
        Ok(Some(left.map_err(|stock| CommissaryRefusal::OutOfStock {
            product: product.clone(),
            stock,
            asked,
        })?))
    }

    fn owe(&mut self, payable: AccountNo, amount: Amount) -> Result<(), Declined> {
        match self.vendors.iter_mut().find(|(known, _)| *known == payable) {
            Some((_, sum)) => *sum = sum.checked_add(amount)?,
            None => self.vendors.push((payable, amount)),
        }
        Ok(())
    }
}
