//! What lanes remember of this domain, and the rows it adds to their statement.

use std::collections::{BTreeMap, HashMap, HashSet};

use futures::future::{BoxFuture, FutureExt as _};
use rust_decimal::Decimal;
use sqlx::{Arguments as _, PgConnection, postgres::PgArguments};
use time::Date;

use super::{CommissaryRefusal, entity::Offer, store};
use crate::{
    ids::{DetaineeId, ProductId, Seq},
    ledger::{Center, Declined, Room, RowSet},
    money::Amount,
};

/// The products that purchases asked for; those that do not exist are remembered too.
#[derive(Default)]
pub(super) struct OfferRoom {
    known: HashMap<ProductId, Option<Offer>>,
    wanted: HashSet<ProductId>,
}

impl OfferRoom {
    /// Asks for a product, and answers with what is known already.
    pub fn want(&mut self, id: &ProductId) -> Option<&Offer> {
        if !self.known.contains_key(id) {
            self.wanted.insert(id.clone());
        }
        self.known.get(id).and_then(Option::as_ref)
    }

    pub fn get(&self, id: &ProductId) -> Result<&Offer, Declined> {
        match self.known.get(id) {
            Some(Some(offer)) => Ok(offer),
            Some(None) => Err(CommissaryRefusal::ProductNotFound { product: id.clone() }.into()),
            None => Err(Declined::Broken(format!("product {id} is not loaded"))),
        }
    }
}

impl Room for OfferRoom {
    fn is_wanting(&self) -> bool {
        !self.wanted.is_empty()
    }
    fn len(&self) -> usize {
        self.known.len()
    }
    fn load<'a>(&'a mut self, conn: &'a mut PgConnection, center: &'a Center) -> BoxFuture<'a, sqlx::Result<()>> {
        async move {
            let wanted: Vec<ProductId> = self.wanted.drain().collect();
            let mut found = store::offers(conn, center, &wanted).await?;
            for id in wanted {
                let offer = found.remove(id.as_str());
                self.known.insert(id, offer);
            }
            Ok(())
        }
        .boxed()
    }
}

/// What detainees have spent, by month.
#[derive(Default)]
pub(super) struct SpendingRoom {
    known: HashMap<DetaineeId, BTreeMap<Date, Amount>>,
    wanted: HashSet<DetaineeId>,
}

impl SpendingRoom {
    pub fn want(&mut self, id: &DetaineeId) {
        if !self.known.contains_key(id) {
            self.wanted.insert(id.clone());
        }
    }

    /// What was spent in a month; none when nothing was.
    pub fn spent(&self, id: &DetaineeId, month: Date) -> Result<Option<Amount>, Declined> {
        let months = self
            .known
            .get(id)
            .ok_or_else(|| Declined::Broken(format!("spending of {id} is not loaded")))?;
        Ok(months.get(&month).copied())
    }

    pub fn set(&mut self, id: &DetaineeId, month: Date, spent: Amount) {
        if let Some(months) = self.known.get_mut(id) {
            months.insert(month, spent);
        }
    }
}

impl Room for SpendingRoom {
    fn is_wanting(&self) -> bool {
        !self.wanted.is_empty()
    }
    fn len(&self) -> usize {
        self.known.len()
    }
    fn load<'a>(&'a mut self, conn: &'a mut PgConnection, center: &'a Center) -> BoxFuture<'a, sqlx::Result<()>> {
        async move {
            let wanted: Vec<DetaineeId> = self.wanted.drain().collect();
            let mut found = store::spending(conn, center, &wanted).await?;
            for id in wanted {
                let months = found.remove(id.as_str()).unwrap_or_default();
                self.known.insert(id, months);
            }
            Ok(())
        }
        .boxed()
    }
}

/// How many pieces of each line of a purchase have come back.
#[derive(Default)]
pub(super) struct ReturnedRoom {
    known: HashMap<Seq, HashMap<i32, i64>>,
    wanted: HashSet<Seq>,
}

impl ReturnedRoom {
    pub fn want(&mut self, purchase: Seq) {
        if !self.known.contains_key(&purchase) {
            self.wanted.insert(purchase);
        }
    }

    pub fn returned(&self, purchase: Seq, line: i32) -> Result<i64, Declined> {
        let lines = self.known.get(&purchase);
        let lines = lines.ok_or_else(|| Declined::Broken(format!("returns of {purchase} are not loaded")))?;
        Ok(lines.get(&line).copied().unwrap_or_default())
    }

    pub fn add(&mut self, purchase: Seq, line: i32, quantity: i64) {
        if let Some(lines) = self.known.get_mut(&purchase) {
            *lines.entry(line).or_default() += quantity;
        }
    }
}

impl Room for ReturnedRoom {
    fn is_wanting(&self) -> bool {
        !self.wanted.is_empty()
    }
    fn len(&self) -> usize {
        self.known.len()
    }
    fn load<'a>(&'a mut self, conn: &'a mut PgConnection, center: &'a Center) -> BoxFuture<'a, sqlx::Result<()>> {
        async move {
            let wanted: Vec<Seq> = self.wanted.drain().collect();
            let mut found = store::returned(conn, center, &wanted).await?;
            for purchase in wanted {
                let lines = found.remove(&purchase).unwrap_or_default();
                self.known.insert(purchase, lines);
            }
            Ok(())
        }
        .boxed()
    }
}

/// Rows of `monthly_spending`, one for each detainee and month.
#[derive(Default)]
pub(super) struct SpendingRows(BTreeMap<(DetaineeId, Date), Decimal>);

impl SpendingRows {
    pub fn put(&mut self, id: &DetaineeId, month: Date, spent: Amount) {
        self.0.insert((id.clone(), month), spent.value());
    }
}

impl RowSet for SpendingRows {
    const NAME: &'static str = "monthly_spending";
    const SQL: &'static str = "\
        insert into monthly_spending (center_id, detainee_id, month, spent)
        select guard.center_id, s.* from guard, unnest($1::text[], $2::date[], $3::numeric[]) s
        on conflict (center_id, detainee_id, month) do update set spent = excluded.spent";
    const PARAMS: usize = 3;

    fn bind(self, args: &mut PgArguments) -> Result<(), sqlx::error::BoxDynError> {
        args.add(self.0.keys().map(|(id, _)| id.as_str()).collect::<Vec<&str>>())?;
        args.add(self.0.keys().map(|(_, month)| *month).collect::<Vec<Date>>())?;
        args.add(self.0.values().copied().collect::<Vec<Decimal>>())
    }
}

/// One row of `return_line`.
pub(super) struct ReturnRow {
    pub seq: Seq,
    pub purchase: Seq,
    pub line: i16,
    pub quantity: i32,
    pub amount: Amount,
}

/// Rows of `return_line`.
#[derive(Default)]
pub(super) struct ReturnRows(pub Vec<ReturnRow>);

impl RowSet for ReturnRows {
    const NAME: &'static str = "return_line";
    const SQL: &'static str = "\
        insert into return_line (center_id, seq, purchase_seq, line, quantity, amount)
        select guard.center_id, r.* from guard,
            unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::integer[], $5::numeric[]) r";
    const PARAMS: usize = 5;

    fn bind(self, args: &mut PgArguments) -> Result<(), sqlx::error::BoxDynError> {
        args.add(self.0.iter().map(|row| row.seq.0).collect::<Vec<i64>>())?;
        args.add(self.0.iter().map(|row| row.purchase.0).collect::<Vec<i64>>())?;
        args.add(self.0.iter().map(|row| row.line).collect::<Vec<i16>>())?;
        args.add(self.0.iter().map(|row| row.quantity).collect::<Vec<i32>>())?;
        args.add(self.0.iter().map(|row| row.amount.value()).collect::<Vec<Decimal>>())
    }
}
