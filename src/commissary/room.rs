//! What lanes remember of this domain.

use std::collections::HashMap;

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    CommissaryRefusal,
    entity::Offer,
    spending::{self, Measure, Spent},
    store,
};
use crate::{
    db::{self, Conn},
    ids::{DetaineeId, ProductId, Seq},
    ledger::{Asked, Center, Declined, Room},
};

/// The products that purchases asked for; those that do not exist are remembered too.
#[derive(Default)]
pub(super) struct OfferRoom(Asked<ProductId, Option<Offer>>);

impl OfferRoom {
    /// Asks for a product, and answers with what is known already.
    pub fn want(&mut self, id: &ProductId) -> Option<&Offer> {
        self.0.want(id).and_then(Option::as_ref)
    }

    pub fn get(&self, id: &ProductId) -> Result<&Offer, Declined> {
        match self.0.get(id) {
            Some(Some(offer)) => Ok(offer),
            Some(None) => Err(CommissaryRefusal::ProductNotFound { product: id.clone() }.into()),
            None => Err(Declined::Broken(format!("product {id} is not loaded"))),
        }
    }
}

impl Room for OfferRoom {
    fn is_wanting(&self) -> bool {
        self.0.is_wanting()
    }
    fn keys(&self) -> usize {
        self.0.count()
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            let wanted = self.0.take_wanted();
            let mut found = store::offers(conn, center, &wanted).await?;
            for id in wanted {
                let offer = found.remove(id.as_str());
                self.0.learn(id, offer);
            }
            Ok(())
        }
        .boxed()
    }
}

/// What bounds one detainee's spending.
pub(super) struct Spender {
    /// What they have spent.
    pub spent: Spent,
    /// What is decided of it for a time: that which may still hold.
    pub measures: Vec<Measure>,
}

/// What detainees have spent, and what is decided of it.
#[derive(Default)]
pub(super) struct SpendingRoom(Asked<DetaineeId, Spender>);

impl SpendingRoom {
    pub fn want(&mut self, id: &DetaineeId) {
        self.0.want(id);
    }

    pub fn get(&self, id: &DetaineeId) -> Result<&Spender, Declined> {
        let found = self.0.get(id);
        found.ok_or_else(|| Declined::Broken(format!("spending of {id} is not loaded")))
    }

    pub fn get_mut(&mut self, id: &DetaineeId) -> Result<&mut Spender, Declined> {
        let found = self.0.get_mut(id);
        found.ok_or_else(|| Declined::Broken(format!("spending of {id} is not loaded")))
    }
}

impl Room for SpendingRoom {
    fn is_wanting(&self) -> bool {
        self.0.is_wanting()
    }
    fn keys(&self) -> usize {
        self.0.count()
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            let wanted = self.0.take_wanted();
            let mut found = store::spending(conn, center, &wanted).await?;
            let mut measures = spending::open_of(conn, center, &wanted).await?;
            for id in wanted {
                let spent = found.remove(id.as_str());
                let spender = Spender {
                    spent: spent.unwrap_or(Spent::none(center.currency)),
                    measures: measures.remove(id.as_str()).unwrap_or_default(),
                };
                self.0.learn(id, spender);
            }
            Ok(())
        }
        .boxed()
    }
}

/// How many pieces of each line of a purchase have come back.
#[derive(Default)]
pub(super) struct ReturnedRoom(Asked<Seq, HashMap<i32, i64>>);

impl ReturnedRoom {
    pub fn want(&mut self, purchase: Seq) {
        self.0.want(&purchase);
    }

    pub fn returned(&self, purchase: Seq, line: i32) -> Result<i64, Declined> {
        let lines = self.0.get(&purchase);
        let lines = lines.ok_or_else(|| Declined::Broken(format!("returns of {purchase} are not loaded")))?;
        Ok(lines.get(&line).copied().unwrap_or_default())
    }

    pub fn add(&mut self, purchase: Seq, line: i32, quantity: i64) {
        if let Some(lines) = self.0.get_mut(&purchase) {
            *lines.entry(line).or_default() += quantity;
        }
    }
}

impl Room for ReturnedRoom {
    fn is_wanting(&self) -> bool {
        self.0.is_wanting()
    }
    fn keys(&self) -> usize {
        self.0.count()
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            let wanted = self.0.take_wanted();
            let mut found = store::returned(conn, center, &wanted).await?;
            for purchase in wanted {
                let lines = found.remove(&purchase).unwrap_or_default();
                self.0.learn(purchase, lines);
            }
            Ok(())
        }
        .boxed()
    }
}
