//! Stock: how many there are of the products that are counted.
//!
//! Purchases and returns move it in the statement that moves the money; receipts and corrections are rows of their own, which
//! lanes notice by the rules they have read. A product that is not counted costs nothing here.

mod store;
mod verify;

use futures::future::{BoxFuture, FutureExt as _};
use time::{Duration, OffsetDateTime};

pub(super) use store::StockRows;
pub(super) use verify::StockCheck;

use super::{Commissary, CommissaryRefusal};
use crate::{
    db::{self, Conn},
    ids::{CenterNo, ProductId, RequestId, Seq},
    ledger::{Asked, Center, Declined, LedgerError, Outcome, Request, Room, Rows, State, center, outcome},
};

/// Most pieces of one receipt or correction.
pub const MOVED_MAX: i64 = 1_000_000;
/// Most pieces of one product.
const STOCK_MAX: i64 = 1_000_000_000;

/// Why stock moves without a purchase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MovementKind {
    /// Goods came in.
    Received,
    /// They were counted, or broke.
    Corrected,
}

impl MovementKind {
    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            MovementKind::Received => "RECEIVED",
            MovementKind::Corrected => "CORRECTED",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<MovementKind> {
        [MovementKind::Received, MovementKind::Corrected]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// A receipt or a correction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockMovement {
    /// Its number among those of the product, from 1.
    pub number: i64,
    /// The request it was recorded for.
    pub request_id: RequestId,
    /// What it is.
    pub kind: MovementKind,
    /// How many came in; negative, how many are missing.
    pub quantity: i64,
    /// How many there were after it.
    pub on_hand: i64,
    /// The last transaction before it.
    pub after: Seq,
    /// Why.
    pub reason: String,
    /// When.
    pub moved_at: OffsetDateTime,
    /// By whom.
    pub moved_by: String,
}

/// What is told of a movement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMovement {
    /// What it is.
    pub kind: MovementKind,
    /// How many came in; negative, how many are missing.
    pub quantity: i64,
    /// Why.
    pub reason: String,
}

/// How many there are of the counted products that purchases asked for.
#[derive(Default)]
pub(super) struct StockRoom(Asked<ProductId, i64>);

impl StockRoom {
    pub fn want(&mut self, id: &ProductId) {
        self.0.want(id);
    }

    pub fn get(&self, id: &ProductId) -> Result<i64, Declined> {
        let found = self.0.get(id);
        found
            .copied()
            .ok_or_else(|| Declined::Broken(format!("the stock of {id} is not loaded")))
    }
}

impl Room for StockRoom {
    fn is_wanting(&self) -> bool {
        self.0.is_wanting()
    }
    fn keys(&self) -> usize {
        self.0.count()
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            let wanted = self.0.take_wanted();
            for (id, on_hand) in store::on_hand(conn, center.no, &wanted).await? {
                self.0.learn(id, on_hand);
            }
            Ok(())
        }
        .boxed()
    }
}

/// Asks for a counted product's stock.
pub(super) fn want(state: &mut State, id: &ProductId) {
    if let Ok(room) = state.room_mut::<StockRoom>() {
        room.want(id);
    }
}

/// What the lines of one purchase or return leave, product by product.
#[derive(Debug, Default)]
pub(super) struct Moved(Vec<(ProductId, i64)>);

impl Moved {
    /// Adds pieces to a product, or takes them; how many there are then. None when there are too few, with how many there are.
    pub fn add(&mut self, state: &State, id: &ProductId, pieces: i64) -> Result<Result<i64, i64>, Declined> {
        let known = self.0.iter().position(|(known, _)| known == id);
        let before = match known.and_then(|at| self.0.get(at)) {
            Some((_, on_hand)) => *on_hand,
            None => state.room::<StockRoom>()?.get(id)?,
        };
        let after = before
            .checked_add(pieces)
            .ok_or_else(|| Declined::Broken("stock".into()))?;
        if after < 0 {
            return Ok(Err(before));
        }
        match known.and_then(|at| self.0.get_mut(at)) {
            Some((_, on_hand)) => *on_hand = after,
            None => self.0.push((id.clone(), after)),
        }
        Ok(Ok(after))
    }
}

/// Keeps what a line has left of its product, if it is counted.
pub(super) fn apply(
    state: &mut State,
    rows: &mut Rows,
    id: &ProductId,
    stock_after: Option<i64>,
) -> Result<(), Declined> {
    let Some(after) = stock_after else {
        return Ok(());
    };
    if let Some(on_hand) = state.room_mut::<StockRoom>()?.0.get_mut(id) {
        *on_hand = after;
    }
    if let Some(stock) = rows.of::<StockRows>() {
        stock.put(id, after);
    }
    Ok(())
}

/// Adds pieces to a counted product, or takes them, in the caller's transaction, which holds the journal's head; how many there are
/// then. None when there are too few, with how many there are. The caller has the transaction touch the rules.
pub(super) async fn move_in_tx(
    conn: &mut Conn,
    center: CenterNo,
    id: &ProductId,
    pieces: i64,
) -> Result<Result<i64, i64>, Declined> {
    let Some((on_hand, _)) = store::stock(conn, center, id).await? else {
        return Err(Declined::Broken(format!("the stock of {id} is not kept")));
    };
    let after = on_hand.saturating_add(pieces);
    if after < 0 {
        return Ok(Err(on_hand));
    }
    store::set(conn, center, id, after).await?;
    Ok(Ok(after))
}

fn resource(id: &ProductId, number: i64) -> String {
    format!("products/{id}/stockMovements/{number}")
}

impl Commissary {
    /// Records a receipt or a correction. The same request again is answered with what was recorded; the second value tells
    /// that it is a repetition. A refusal is kept, and answers the same request for ever.
    ///
    /// Errors: NOT_FOUND, STOCK_NOT_KEPT, OUT_OF_STOCK when fewer are there than are missing.
    pub async fn move_stock(
        &self,
        center: &Center,
        request: Request,
        id: &ProductId,
        new: NewMovement,
    ) -> Result<(StockMovement, bool), LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        if let Some(stored) = outcome::find(&mut tx, center.no, request.id).await? {
            return match stored.answer(&request)? {
                Outcome::Accepted { .. } => {
                    let found = store::by_request(&mut tx, center.no, id, request.id).await?;
                    Ok((found.ok_or(LedgerError::Internal)?, true))
                }
                Outcome::Refused { refusal, .. } => Err(LedgerError::Refused {
                    refusal,
                    replayed: true,
                }),
                Outcome::Posted(_) => Err(LedgerError::Internal),
            };
        }
        // After the last transaction, whatever the clocks of other processes say.
        let now = self.lanes.clock().now().max(head.recorded_at + Duration::MICROSECOND);
        let moved = match decide(&mut tx, center, id, &new).await? {
            Ok((number, on_hand)) => Ok(StockMovement {
                number,
                request_id: request.id,
                kind: new.kind,
                quantity: new.quantity,
                on_hand,
                after: head.seq,
                reason: new.reason,
                moved_at: now,
                moved_by: request.actor.clone(),
            }),
            Err(refusal) => Err(LedgerError::from(refusal)),
        };
        let kept = match &moved {
            Ok(movement) => {
                store::insert(&mut tx, center.no, id, movement).await?;
                Ok(resource(id, movement.number))
            }
            Err(LedgerError::Refused { refusal, .. }) => Err(refusal),
            Err(error) => return Err(error.clone()),
        };
        let kept = kept.as_ref().map(String::as_str).map_err(|refusal| *refusal);
        outcome::keep_in_tx(&mut tx, center, &head, &request, kept, now).await?;
        tx.commit().await?;
        Ok((moved?, false))
    }

    /// Up to `limit` movements of a product before a number, newest first.
    ///
    /// Errors: NOT_FOUND.
    pub async fn stock_movements(
        &self,
        center: &Center,
        id: &ProductId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<StockMovement>, LedgerError> {
        self.product(center, id).await?;
        let mut conn = self.lanes.database().read.acquire().await?;
        let before = before.unwrap_or(i64::MAX);
        Ok(store::movements(&mut conn, center.no, id, before, limit).await?)
    }
}

/// The movement's number, and how many there are after it.
async fn decide(
    conn: &mut Conn,
    center: &Center,
    id: &ProductId,
    new: &NewMovement,
) -> Result<Result<(i64, i64), CommissaryRefusal>, LedgerError> {
    let product = id.clone();
    let Some((on_hand, number)) = store::stock(conn, center.no, id).await? else {
        return Ok(Err(if store::exists(conn, center.no, id).await? {
            CommissaryRefusal::StockNotKept { product }
        } else {
            CommissaryRefusal::ProductNotFound { product }
        }));
    };
    let after = on_hand + new.quantity;
    Ok(if after < 0 {
        Err(CommissaryRefusal::OutOfStock {
            product,
            stock: on_hand,
            asked: new.quantity.abs(),
        })
    } else if after > STOCK_MAX {
        Err(CommissaryRefusal::StockFull {
            product,
            stock: on_hand,
            most: STOCK_MAX,
        })
    } else {
        Ok((number + 1, after))
    })
}
