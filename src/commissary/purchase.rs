//! Buying: the hot path.

use super::{
    entity::OrderLine,
    posting,
    spending::{self, Basket},
};
use crate::{
    ids::DetaineeId,
    ledger::{Command, Declined, Draft, Entry, Moment, Request, Rows, State},
    proto::{PurchaseFacts, TransactionKind, journal_record::Facts},
    terminal::Seller,
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

impl CreatePurchase {
    fn basket(&self) -> Basket<'_> {
        Basket {
            detainee: &self.detainee,
            lines: &self.lines,
        }
    }
}

impl Command for CreatePurchase {
    fn request(&self) -> &Request {
        &self.request
    }

    fn want(&self, state: &mut State) {
        self.seller.want(state);
        spending::want(state, &self.basket());
    }

    fn decide(&self, state: &State, moment: &Moment) -> Result<Draft, Declined> {
        self.seller.check(state, &self.detainee, moment.recorded_at)?;
        let allowed = spending::decide(state, moment, &self.basket())?;
        let available = allowed.standing.available();
        let postings = allowed
            .vendors
            .into_iter()
            .map(|(payable, sum)| posting::sold(available, payable, sum))
            .collect();
        let facts = PurchaseFacts {
            detainee: self.detainee.to_string(),
            terminal: self.seller.terminal.to_string(),
            lines: allowed.lines,
            total: allowed.totals.total.to_string(),
            spending: Some(allowed.spending),
        };
        Ok(Draft::new(TransactionKind::Purchase, postings, Facts::Purchase(facts)))
    }

    fn apply(&self, entry: &Entry, state: &mut State, rows: &mut Rows) -> Result<(), Declined> {
        let Some(Facts::Purchase(facts)) = &entry.record.facts else {
            return Err(Declined::Broken("a purchase without its facts".into()));
        };
        let spent = facts.spending.as_ref();
        let spent = spent.ok_or_else(|| Declined::Broken("a purchase that tells no spending".into()))?;
        spending::apply(state, rows, &self.basket(), &facts.lines, spent)
    }
}
