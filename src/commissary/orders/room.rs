//! What lanes remember of orders.

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    OrderRefusal, OrderingRules,
    entity::{Line, Order},
    store,
};
use crate::{
    commissary::{spending, stock},
    custody::room::want_available,
    db::{self, Conn},
    ids::{ProductId, Seq},
    ledger::{Asked, Center, Declined, Room, State},
};

/// The orders that something becomes of; numbers that are none are remembered too.
#[derive(Default)]
pub(super) struct OrderRoom(Asked<Seq, Option<Order>>);

impl OrderRoom {
    /// Asks for an order, and answers with what is known already.
    fn want(&mut self, seq: Seq) -> Option<&Order> {
        self.0.want(&seq).and_then(Option::as_ref)
    }

    pub fn get(&self, seq: Seq) -> Result<&Order, Declined> {
        match self.0.get(&seq) {
            Some(Some(order)) => Ok(order),
            Some(None) => Err(OrderRefusal::NotFound { order: seq }.into()),
            None => Err(Declined::Broken(format!("order {seq} is not loaded"))),
        }
    }

    /// An order was placed or changed. One that nobody asked for is not remembered.
    pub fn set(&mut self, order: &Order) {
        if let Some(known) = self.0.get_mut(&order.seq) {
            *known = Some(order.clone());
        }
    }
}

impl Room for OrderRoom {
    fn is_wanting(&self) -> bool {
        self.0.is_wanting()
    }
    fn keys(&self) -> usize {
        self.0.count()
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            let wanted = self.0.take_wanted();
            let mut found = store::orders(conn, center, &wanted).await?;
            for seq in wanted {
                self.0.learn(seq, found.remove(&seq));
            }
            Ok(())
        }
        .boxed()
    }
}

/// The center's ordering rules.
#[derive(Default)]
pub(in crate::commissary) struct RulesRoom {
    known: Option<OrderingRules>,
    wanted: bool,
}

impl RulesRoom {
    pub fn want(&mut self) {
        self.wanted = self.known.is_none();
    }

    pub fn get(&self) -> Result<&OrderingRules, Declined> {
        let known = self.known.as_ref();
        known.ok_or_else(|| Declined::Broken("the ordering rules are not loaded".into()))
    }
}

impl Room for RulesRoom {
    fn is_wanting(&self) -> bool {
        self.wanted
    }
    fn keys(&self) -> usize {
        usize::from(self.known.is_some())
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            self.known = Some(store::rules(conn, center.no).await?);
            self.wanted = false;
            Ok(())
        }
        .boxed()
    }
}

/// Asks for all that something that becomes of an order reads.
pub(super) fn want_order(state: &mut State, seq: Seq) {
    if let Ok(rules) = state.room_mut::<RulesRoom>() {
        rules.want();
    }
    let known = match state.room_mut::<OrderRoom>() {
        Ok(orders) => orders.want(seq),
        Err(_) => None,
    };
    let of_line = |line: &Line| (line.payable_no, line.keeps_stock.then(|| line.product.clone()));
    let Some((detainee, lines)) = known.map(|order| {
        let lines: Vec<(_, Option<ProductId>)> = order.lines.iter().map(of_line).collect();
        (order.detainee.clone(), lines)
    }) else {
        return;
    };
    spending::want_spending(state, &detainee);
    if let Some(standing) = want_available(state, &detainee) {
        state.want_account(standing.held());
    }
    for (payable, product) in lines {
        state.want_account(payable);
        if let Some(product) = product {
            stock::want(state, &product);
        }
    }
}
