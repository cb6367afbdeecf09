//! What a lane knows: balances, and a room for whatever else each domain's decisions read.

use std::{
    any::{Any, TypeId},
    collections::{HashMap, HashSet},
};

use futures::future::BoxFuture;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::{
    ids::{AccountNo, Seq},
    ledger::{Center, Code, Declined, Side, center::Head},
    money::Amount,
};

/// A domain's part of a lane's memory. Keys are asked for by the domain's own methods and loaded together.
pub trait Room: Default + Send + Sync + 'static {
    /// Whether keys were asked for that are not loaded.
    fn is_wanting(&self) -> bool;
    /// How many keys it holds.
    fn keys(&self) -> usize;
    /// Loads every key asked for, in a bounded number of statements.
    fn load<'a>(&'a mut self, conn: &'a mut PgConnection, center: &'a Center) -> BoxFuture<'a, sqlx::Result<()>>;
}

trait AnyRoom: Send + Sync {
    fn is_wanting(&self) -> bool;
    fn keys(&self) -> usize;
    fn load<'a>(&'a mut self, conn: &'a mut PgConnection, center: &'a Center) -> BoxFuture<'a, sqlx::Result<()>>;
    fn as_any(&self) -> &dyn Any;
    fn as_any_mut(&mut self) -> &mut dyn Any;
}

impl<R: Room> AnyRoom for R {
    fn is_wanting(&self) -> bool {
        Room::is_wanting(self)
    }
    fn keys(&self) -> usize {
        Room::keys(self)
    }
    fn load<'a>(&'a mut self, conn: &'a mut PgConnection, center: &'a Center) -> BoxFuture<'a, sqlx::Result<()>> {
        Room::load(self, conn, center)
    }
    fn as_any(&self) -> &dyn Any {
        self
    }
    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }
}

/// Everything a lane knows of its center between two batches. Dropped whole whenever it may be stale.
pub struct State {
    center: Center,
    pub(super) head: Head,
    pub(super) balances: Balances,
    rooms: HashMap<TypeId, Box<dyn AnyRoom>>,
}

impl State {
    pub(super) fn new(center: Center, head: Head) -> State {
        State {
            center,
            head,
            balances: Balances::default(),
            rooms: HashMap::new(),
        }
    }

    /// The center.
    pub fn center(&self) -> &Center {
        &self.center
    }

    /// The last transaction's number.
    pub fn seq(&self) -> Seq {
        self.head.seq
    }

    /// When the last transaction was recorded.
    pub fn recorded_at(&self) -> OffsetDateTime {
        self.head.recorded_at
    }

    /// A domain's room, made empty when first asked for.
    pub fn room_mut<R: Room>(&mut self) -> Result<&mut R, Declined> {
        self.rooms
            .entry(TypeId::of::<R>())
            .or_insert_with(|| Box::<R>::default())
            .as_mut()
            .as_any_mut()
            .downcast_mut()
            .ok_or_else(|| Declined::Broken("a room of another type".into()))
    }

    /// A domain's room, for a decision. Broken when `want` never asked for it.
    pub fn room<R: Room>(&self) -> Result<&R, Declined> {
        self.rooms
            .get(&TypeId::of::<R>())
            .and_then(|room| room.as_ref().as_any().downcast_ref())
            .ok_or_else(|| Declined::Broken(format!("{} was not asked for", std::any::type_name::<R>())))
    }

    /// Asks for an account's balance.
    pub fn want_account(&mut self, no: AccountNo) {
        self.balances.want(no);
    }

    /// An account's balance, positive on its normal side. Broken when `want` did not ask for it.
    pub fn balance(&self, no: AccountNo) -> Result<Amount, Declined> {
        self.balances.get(no).map(|held| held.balance)
    }

    pub(super) fn keys(&self) -> usize {
        self.balances.known.len() + self.rooms.values().map(|room| room.keys()).sum::<usize>()
    }

    pub(super) fn is_wanting(&self) -> bool {
        !self.balances.wanted.is_empty() || self.rooms.values().any(|room| room.is_wanting())
    }

    pub(super) async fn load(&mut self, conn: &mut PgConnection) -> sqlx::Result<()> {
        for room in self.rooms.values_mut().filter(|room| room.is_wanting()) {
            room.load(conn, &self.center).await?;
        }
        self.balances.load(conn, &self.center).await
    }
}

/// A balance with what the ledger must know to change it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub balance: Amount,
    pub floor: Option<Decimal>,
    pub side: Side,
}

impl Held {
    /// The balance after `amount` was debited (`side` is [`Side::Debit`]) or credited.
    pub fn after(&self, side: Side, amount: Amount) -> Result<Amount, Declined> {
        let balance = if side == self.side {
            self.balance.checked_add(amount)?
        } else {
            self.balance.checked_sub(amount)?
        };
        match self.floor {
            Some(floor) if balance.value() < floor => Err(Declined::Broken("a posting goes below the floor".into())),
            _ => Ok(balance),
        }
    }
}

/// The balances a lane knows.
#[derive(Default)]
pub(super) struct Balances {
    known: HashMap<AccountNo, Held>,
    wanted: HashSet<AccountNo>,
}

impl Balances {
    pub fn want(&mut self, no: AccountNo) {
        if !self.known.contains_key(&no) {
            self.wanted.insert(no);
        }
    }

    pub fn get(&self, no: AccountNo) -> Result<Held, Declined> {
        self.known
            .get(&no)
            .copied()
            .ok_or_else(|| Declined::Broken(format!("account {no} is not loaded")))
    }

    pub fn set(&mut self, no: AccountNo, balance: Amount) {
        if let Some(held) = self.known.get_mut(&no) {
            held.balance = balance;
        }
    }

    pub async fn load(&mut self, conn: &mut PgConnection, center: &Center) -> sqlx::Result<()> {
        if self.wanted.is_empty() {
            return Ok(());
        }
        let numbers: Vec<i32> = self.wanted.drain().map(|no| no.0).collect();
        let rows = sqlx::query!(
            "select b.account_no, b.balance, b.floor, a.code
             from unnest($2::integer[]) k (account_no),
                  lateral (select * from account_balance where center_id = $1 and account_no = k.account_no offset 0) b
                  join account a on a.center_id = $1 and a.account_no = b.account_no",
            center.no.0,
            &numbers,
        )
        .fetch_all(conn)
        .await?;
        for row in rows {
            let code = Code::from_number(row.code)
                .ok_or_else(|| sqlx::Error::Decode(format!("unknown account code {}", row.code).into()))?;
            let balance = center.amount(row.balance)?;
            self.known.insert(
                AccountNo(row.account_no),
                Held {
                    balance,
                    floor: row.floor,
                    side: code.side(),
                },
            );
        }
        Ok(())
    }
}
