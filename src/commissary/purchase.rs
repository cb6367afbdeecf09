//! Buying: the hot path.

use crate::{
    clock,
    custody::room::{DetaineeRoom, SettingsRoom, want_available},
    ids::{AccountNo, DetaineeId},
    ledger::{Command, Declined, Draft, Entry, Moment, Request, Rows, State},
    money::Amount,
    proto::{PurchaseFacts, PurchaseLineFacts, TransactionKind, journal_record::Facts},
    terminal::Seller,
};

use super::{
    CommissaryRefusal,
    buyer::BuyerRoom,
    entity::{Bounds, OrderLine, check, totals},
    posting,
    room::{OfferRoom, SpendingRoom},
    stock,
    store::SpendingRows,
};

/// A detainee buys goods at a terminal.
#[derive(Debug)]
pub struct CreatePurchase {
    /// What identifies it.
    pub request: Request,
    /// Who buys.
    pub detainee: DetaineeId,
    /// Where, and in whose session.
    pub seller: Seller,
    /// What; 1 to 50 lines.
    pub lines: Vec<OrderLine>,
}

/// A purchase's lines, priced.
#[derive(Default)]
struct Priced {
    facts: Vec<PurchaseLineFacts>,
    /// The amount of each line and whether it counts against the monthly limit.
    amounts: Vec<(Amount, bool)>,
    /// What each vendor gets, in the order in which the vendors appear.
    vendors: Vec<(AccountNo, Amount)>,
    /// What is left of the products that are counted.
    stock: stock::Moved,
}

impl CreatePurchase {
    /// Prices the lines from the catalogue.
    fn price(&self, state: &State) -> Result<Priced, Declined> {
        let offers = state.room::<OfferRoom>()?;
        let mut priced = Priced::default();
        for line in &self.lines {
            let offer = offers.get(&line.product)?;
            if !offer.available {
                return Err(CommissaryRefusal::ProductNotAvailable {
                    product: line.product.clone(),
                }
                .into());
            }
            if let Some(limits) = &offer.limits {
                limits.check(&line.product, state.room::<BuyerRoom>()?.get(&self.detainee)?)?;
            }
            let stock_after = if offer.keeps_stock {
                let asked = i64::from(line.quantity);
                let left = priced.stock.add(state, &line.product, -asked)?;
                Some(left.map_err(|stock| CommissaryRefusal::OutOfStock {
                    product: line.product.clone(),
                    stock,
                    asked,
                })?)
            } else {
                None
            };
            let amount = offer.price.checked_mul(line.quantity)?;
            priced.amounts.push((amount, offer.counted));
            match priced
                .vendors
                .iter_mut()
                .find(|(payable, _)| *payable == offer.payable_no)
            {
                Some((_, sum)) => *sum = sum.checked_add(amount)?,
                None => priced.vendors.push((offer.payable_no, amount)),
            }
            priced.facts.push(PurchaseLineFacts {
                product: line.product.to_string(),
                product_version: offer.version,
                vendor: offer.vendor.to_string(),
                quantity: i32::try_from(line.quantity).map_err(|_| Declined::Broken("quantity".into()))?,
                unit_price: offer.price.to_string(),
                amount: amount.to_string(),
                counted: offer.counted,
                stock_after,
            });
        }
        Ok(priced)
    }
}

impl Command for CreatePurchase {
    fn request(&self) -> &Request {
        &self.request
    }

    fn want(&self, state: &mut State) {
        self.seller.want(state);
        if let Ok(settings) = state.room_mut::<SettingsRoom>() {
            settings.want();
        }
        if let Ok(spending) = state.room_mut::<SpendingRoom>() {
            spending.want(&self.detainee);
        }
        want_available(state, &self.detainee);
        for line in &self.lines {
            let known = match state.room_mut::<OfferRoom>() {
                Ok(offers) => offers.want(&line.product),
                Err(_) => None,
            };
            let known = known.map(|offer| (offer.payable_no, offer.limits.is_some(), offer.keeps_stock));
            let Some((payable, is_limited, keeps_stock)) = known else {
                continue;
            };
            state.want_account(payable);
            if keeps_stock {
                stock::want(state, &line.product);
            }
            if is_limited && let Ok(buyers) = state.room_mut::<BuyerRoom>() {
                buyers.want(&self.detainee);
            }
        }
    }

    fn decide(&self, state: &State, moment: &Moment) -> Result<Draft, Declined> {
        self.seller.check(state, &self.detainee, moment.recorded_at)?;
        let standing = state.room::<DetaineeRoom>()?.get_active(&self.detainee)?;
        let Priced {
            facts: lines,
            amounts,
            vendors,
            ..
        } = self.price(state)?;
        let totals = totals(&amounts, state.center().currency)?;
        let settings = state.room::<SettingsRoom>()?.get()?;
        let month = clock::month_of(moment.effective_date);
        let month_limit = settings
            .monthly_limit(standing.tier, moment.effective_date)?
            .ok_or_else(|| Declined::Broken("a detainee's tier does not exist".into()))?;
        let month_spent = state.room::<SpendingRoom>()?.spent(&self.detainee, month)?;
        let bounds = Bounds {
            order_max: settings.purchase_amount_max,
            month_limit,
            month_spent: month_spent.unwrap_or(Amount::zero(state.center().currency)),
            available: state.balance(standing.available())?,
        };
        let spent = check(&totals, &bounds)??;
        let facts = PurchaseFacts {
            detainee: self.detainee.to_string(),
            terminal: self.seller.terminal.to_string(),
            lines,
            total: totals.total.to_string(),
            counted: totals.counted.to_string(),
            month: clock::month_text(month),
            month_spent: spent.to_string(),
            month_limit: month_limit.to_string(),
        };
        let postings = vendors
            .into_iter()
            .map(|(payable, sum)| posting::sold(standing.available(), payable, sum))
            .collect();
        Ok(Draft::new(TransactionKind::Purchase, postings, Facts::Purchase(facts)))
    }

    fn apply(&self, entry: &Entry, state: &mut State, rows: &mut Rows) -> Result<(), Declined> {
        let Some(Facts::Purchase(facts)) = &entry.record.facts else {
            return Err(Declined::Broken("a purchase without its facts".into()));
        };
        for (line, facts) in self.lines.iter().zip(&facts.lines) {
            stock::apply(state, rows, &line.product, facts.stock_after)?;
        }
        let month = clock::parse_month(&facts.month).ok_or_else(|| Declined::Broken("month".into()))?;
        let counted = Amount::parse(&facts.counted, state.center().currency)?;
        if counted.is_zero() {
            return Ok(());
        }
        let spent = Amount::parse(&facts.month_spent, state.center().currency)?;
        state.room_mut::<SpendingRoom>()?.set(&self.detainee, month, spent);
        if let Some(spending) = rows.of::<SpendingRows>() {
            spending.put(&self.detainee, month, spent);
        }
        Ok(())
    }
}
