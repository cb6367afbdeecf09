//! Ordering: the hot path.

use time::OffsetDateTime;

use super::{
    entity::{Line, Order, OrderState},
    room::{OrderRoom, RulesRoom},
    store::{LineRows, OrderRows},
};
use crate::{
    commissary::{
        entity::OrderLine,
        posting,
        room::OfferRoom,
        spending::{self, Basket},
    },
    custody::room::{DetaineeRoom, want_available},
    ids::DetaineeId,
    ledger::{Command, Declined, Draft, Entry, Moment, Request, Rows, State, record},
    money::Amount,
    proto::{OrderFacts, PurchaseFacts, TransactionKind, journal_record::Facts},
    terminal::Seller,
};

/// A detainee orders goods at a terminal: they are priced, counted and taken off the stock as a purchase's, and held.
#[derive(Debug)]
pub struct CreateOrder {
    /// What identifies it.
    pub request: Request,
    /// For whom.
    pub detainee: DetaineeId,
    /// Where.
    pub seller: Seller,
    /// What; 1 to 50 lines.
    pub lines: Vec<OrderLine>,
}

impl CreateOrder {
    fn basket(&self) -> Basket<'_> {
        Basket {
            detainee: &self.detainee,
            lines: &self.lines,
        }
    }

    /// The order that was decided.
    fn placed(&self, entry: &Entry, facts: &OrderFacts, state: &State) -> Result<Order, Declined> {
        let broken = || Declined::Broken("an order without its goods".into());
        let goods = facts.goods.as_ref().ok_or_else(broken)?;
        let offers = state.room::<OfferRoom>()?;
        let line = |(asked, facts): (&OrderLine, &crate::proto::PurchaseLineFacts)| {
            Ok(Line {
                product: asked.product.clone(),
                payable_no: offers.get(&asked.product)?.payable_no,
                quantity: facts.quantity,
                unit_price: Amount::parse(&facts.unit_price, state.center().currency)?,
                counted: facts.counted,
                keeps_stock: facts.stock_after.is_some(),
                open: facts.quantity,
                delivered: 0,
                released: 0,
                returned: 0,
                disputed: 0,
                dispute: None,
            })
        };
        let lines = self.lines.iter().zip(&goods.lines).map(line);
        Ok(Order {
            seq: entry.seq,
            detainee: self.detainee.clone(),
            effective_date: spending::date_of(goods.spending.as_ref().ok_or_else(broken)?)?,
            placed_at: entry
                .record
                .recorded_at
                .as_ref()
                .and_then(record::instant)
                .ok_or_else(broken)?,
            cut_off_at: facts.cut_off_at.as_ref().and_then(record::instant),
            expires_at: facts.expires_at.as_ref().and_then(record::instant).ok_or_else(broken)?,
            delivered_at: None,
            state: OrderState::Open,
            changes: 0,
            lines: lines.collect::<Result<_, Declined>>()?,
        })
    }
}

impl Command for CreateOrder {
    fn request(&self) -> &Request {
        &self.request
    }

    fn want(&self, state: &mut State) {
        self.seller.want(state);
        spending::want(state, &self.basket());
        if let Ok(rules) = state.room_mut::<RulesRoom>() {
            rules.want();
        }
        if let Some(standing) = want_available(state, &self.detainee) {
            state.want_account(standing.held());
        }
    }

    fn decide(&self, state: &State, moment: &Moment) -> Result<Draft, Declined> {
        self.seller.check(state, &self.detainee, moment.recorded_at)?;
        // Who may not order at all is told so at any time.
        state.room::<DetaineeRoom>()?.get_active(&self.detainee)?;
        let rules = state.room::<RulesRoom>()?.get()?;
        let now: OffsetDateTime = moment.recorded_at;
        let cut_off_at = rules.cut_off(state.center().zone, now)?;
        let allowed = spending::decide(state, moment, &self.basket())?;
        let posting = posting::ordered(&allowed.standing, allowed.totals.total);
        let goods = PurchaseFacts {
            detainee: self.detainee.to_string(),
            terminal: self.seller.terminal.to_string(),
            lines: allowed.lines,
            total: allowed.totals.total.to_string(),
            spending: Some(allowed.spending),
        };
        let facts = OrderFacts {
            goods: Some(goods),
            cut_off_at: cut_off_at.map(record::timestamp),
            expires_at: Some(record::timestamp(rules.expires_at(now))),
            rules_version: rules.version,
        };
        Ok(Draft::new(
            TransactionKind::OrderPlaced,
            vec![posting],
            Facts::Order(facts),
        ))
    }

    fn apply(&self, entry: &Entry, state: &mut State, rows: &mut Rows) -> Result<(), Declined> {
        let Some(Facts::Order(facts)) = &entry.record.facts else {
            return Err(Declined::Broken("an order without its facts".into()));
        };
        let order = self.placed(entry, facts, state)?;
        if let Some(goods) = &facts.goods
            && let Some(spent) = &goods.spending
        {
            spending::apply(state, rows, &self.basket(), &goods.lines, spent)?;
        }
        if let Some(set) = rows.of::<OrderRows>() {
            set.put(&order);
        }
        if let Some(set) = rows.of::<LineRows>() {
            set.put(&order);
        }
        state.room_mut::<OrderRoom>()?.set(&order);
        Ok(())
    }
}
