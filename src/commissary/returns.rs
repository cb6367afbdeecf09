//! Goods that come back.

use time::OffsetDateTime;

use crate::{
    custody::room::{DetaineeRoom, want_available},
    ids::{AccountNo, DetaineeId, Seq},
    ledger::{Command, Declined, Draft, Entry, Moment, Request, Rows, State},
    money::Amount,
    proto::{PurchaseFacts, ReturnFacts, ReturnLineFacts, SpendingFacts, TransactionKind, journal_record::Facts},
};

use super::{
    CommissaryRefusal, OrderRefusal,
    orders::RulesRoom,
    posting,
    room::{OfferRoom, ReturnedRoom},
    spending, stock,
    store::{ReturnRow, ReturnRows},
};

/// One line that comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReturnLine {
    /// The purchase's line, from 1.
    pub line: i32,
    /// How many pieces, above zero.
    pub quantity: u32,
}

/// Goods of a purchase come back. The purchase never changes, so it was read before the command came to the lane.
#[derive(Debug)]
pub struct CreateReturn {
    /// What identifies it.
    pub request: Request,
    /// The purchase's number.
    pub purchase: Seq,
    /// What was bought.
    pub bought: PurchaseFacts,
    /// Who bought it.
    pub detainee: DetaineeId,
    /// The products of the purchase, parsed, by line.
    pub products: Vec<crate::ids::ProductId>,
    /// What comes back; each line at most once.
    pub lines: Vec<ReturnLine>,
    /// Why.
    pub reason: String,
    /// When it was bought.
    pub bought_at: OffsetDateTime,
    /// Who authorised it; empty: whoever asks.
    pub authorised_by: String,
}

struct Back {
    facts: Vec<ReturnLineFacts>,
    vendors: Vec<(AccountNo, Amount)>,
    total: Amount,
    counted: Amount,
    stock: stock::Moved,
}

impl CreateReturn {
    fn index(line: i32) -> Option<usize> {
        usize::try_from(line).ok()?.checked_sub(1)
    }

    fn spent(&self) -> Result<&SpendingFacts, Declined> {
        let spent = self.bought.spending.as_ref();
        spent.ok_or_else(|| Declined::Broken("a purchase that tells no spending".into()))
    }

    fn back(&self, state: &State) -> Result<Back, Declined> {
        let currency = state.center().currency;
        let returned = state.room::<ReturnedRoom>()?;
        let offers = state.room::<OfferRoom>()?;
        let zero = Amount::zero(currency);
        let mut back = Back {
            facts: Vec::new(),
            vendors: Vec::new(),
            total: zero,
            counted: zero,
            stock: stock::Moved::default(),
        };
        for line in &self.lines {
            let index = Self::index(line.line);
            let found = index.and_then(|index| Some((self.bought.lines.get(index)?, self.products.get(index)?)));
            let (bought, product) = found.ok_or(CommissaryRefusal::LineNotFound { line: line.line })?;
            let left = i64::from(bought.quantity) - returned.returned(self.purchase, line.line)?;
            let asked = i64::from(line.quantity);
            if asked > left {
                return Err(CommissaryRefusal::ReturnExceeds {
                    line: line.line,
                    asked,
                    left,
                }
                .into());
            }
            let amount = Amount::parse(&bought.unit_price, currency)?.checked_mul(line.quantity)?;
            back.total = back.total.checked_add(amount)?;
            if bought.counted {
                back.counted = back.counted.checked_add(amount)?;
            }
            let payable = offers.get(product)?.payable_no;
            match back.vendors.iter_mut().find(|(no, _)| *no == payable) {
                Some((_, sum)) => *sum = sum.checked_add(amount)?,
                None => back.vendors.push((payable, amount)),
            }
            let quantity = i32::try_from(line.quantity).map_err(|_| Declined::Broken("quantity".into()))?;
            let stock_after = match bought.stock_after {
                Some(_) => back.stock.add(state, product, asked)?.ok(),
                None => None,
            };
            back.facts.push(ReturnLineFacts {
                line: line.line,
                quantity,
                amount: amount.to_string(),
                stock_after,
            });
        }
        Ok(back)
    }
}

impl Command for CreateReturn {
    fn request(&self) -> &Request {
        &self.request
    }

    fn want(&self, state: &mut State) {
        if let Ok(returned) = state.room_mut::<ReturnedRoom>() {
            returned.want(self.purchase);
        }
        if let Ok(rules) = state.room_mut::<RulesRoom>() {
            rules.want();
        }
        spending::want_spending(state, &self.detainee);
        want_available(state, &self.detainee);
        for (product, bought) in self.products.iter().zip(&self.bought.lines) {
            if bought.stock_after.is_some() {
                stock::want(state, product);
            }
            let payable = match state.room_mut::<OfferRoom>() {
                Ok(offers) => offers.want(product).map(|offer| offer.payable_no),
                Err(_) => None,
            };
            if let Some(payable) = payable {
                state.want_account(payable);
            }
        }
    }

    fn decide(&self, state: &State, moment: &Moment) -> Result<Draft, Declined> {
        let standing = state.room::<DetaineeRoom>()?.get_active(&self.detainee)?;
        let until = state.room::<RulesRoom>()?.get()?.returns_until(self.bought_at);
        if moment.recorded_at >= until {
            return Err(OrderRefusal::TooLate { until }.into());
        }
        let back = self.back(state)?;
        let facts = ReturnFacts {
            purchase: self.purchase.0,
            detainee: self.detainee.to_string(),
            lines: back.facts,
            total: back.total.to_string(),
            counted: back.counted.to_string(),
            date: self.spent()?.date.clone(),
            reason: self.reason.clone(),
            authorised_by: self.authorised_by.clone(),
            of_order: false,
        };
        let available = standing.available();
        let postings = back
            .vendors
            .iter()
            .map(|(payable, sum)| posting::came_back(*payable, available, *sum))
            .collect();
        Ok(Draft::new(TransactionKind::Return, postings, Facts::Return(facts)).reversing(self.purchase))
    }

    fn apply(&self, entry: &Entry, state: &mut State, rows: &mut Rows) -> Result<(), Declined> {
        let Some(Facts::Return(facts)) = &entry.record.facts else {
            return Err(Declined::Broken("a return without its facts".into()));
        };
        let currency = state.center().currency;
        for line in &facts.lines {
            state
                .room_mut::<ReturnedRoom>()?
                .add(self.purchase, line.line, i64::from(line.quantity));
            if let Some(set) = rows.of::<ReturnRows>() {
                set.0.push(ReturnRow {
                    seq: entry.seq,
                    purchase: self.purchase,
                    line: i16::try_from(line.line).map_err(|_| Declined::Broken("line".into()))?,
                    quantity: line.quantity,
                    amount: Amount::parse(&line.amount, currency)?,
                });
            }
            if let Some(product) = Self::index(line.line).and_then(|index| self.products.get(index)) {
                stock::apply(state, rows, product, line.stock_after)?;
            }
        }
        // The headroom comes back to the windows in which it was used.
        let counted = Amount::parse(&facts.counted, currency)?;
        let date = spending::date_of(self.spent()?)?;
        spending::give_back(state, rows, &self.detainee, date, counted)
    }
}
