//! The SQL of stock, and the rows that purchases and returns add to the lanes' statement.

use std::collections::BTreeMap;

use sqlx::{Arguments as _, PgConnection, error::BoxDynError, postgres::PgArguments};

use super::{MovementKind, StockMovement};
use crate::{
    db::decoding,
    ids::{CenterNo, ProductId, RequestId, Seq},
    ledger::RowSet,
};

pub(super) async fn on_hand(
    conn: &mut PgConnection,
    center: CenterNo,
    ids: &[ProductId],
) -> sqlx::Result<Vec<(ProductId, i64)>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    sqlx::query!(
        "select product_id, on_hand from product_stock where center_id = $1 and product_id = any($2)",
        center.0,
        &ids,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| Ok((ProductId::parse(&row.product_id).map_err(decoding)?, row.on_hand)))
    .collect()
}

/// How many there are of a counted product, and the number of its last movement.
pub(super) async fn stock(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &ProductId,
) -> sqlx::Result<Option<(i64, i64)>> {
    let row = sqlx::query!(
        r#"select on_hand, coalesce((select max(number) from stock_movement m
                                     where m.center_id = s.center_id and m.product_id = s.product_id), 0) as "number!"
           from product_stock s where center_id = $1 and product_id = $2"#,
        center.0,
        id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.on_hand, row.number)))
}

pub(super) async fn exists(conn: &mut PgConnection, center: CenterNo, id: &ProductId) -> sqlx::Result<bool> {
    let found = sqlx::query!(
        "select from product where center_id = $1 and product_id = $2",
        center.0,
        id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// Writes a movement and what it leaves. The caller holds the journal's head.
pub(super) async fn insert(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &ProductId,
    movement: &StockMovement,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into stock_movement (center_id, product_id, number, request_id, kind, quantity, on_hand, after_seq, reason,
                                     moved_at, moved_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        center.0,
        id.as_str(),
        movement.number,
        movement.request_id.0,
        movement.kind.name(),
        movement.quantity,
        movement.on_hand,
        movement.after.0,
        movement.reason,
        movement.moved_at,
        movement.moved_by,
    )
    .execute(&mut *conn)
    .await?;
    set(conn, center, id, movement.on_hand).await
}

/// Writes down how many there are.
pub(super) async fn set(conn: &mut PgConnection, center: CenterNo, id: &ProductId, on_hand: i64) -> sqlx::Result<()> {
    sqlx::query!(
        "update product_stock set on_hand = $3 where center_id = $1 and product_id = $2",
        center.0,
        id.as_str(),
        on_hand,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn by_request(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &ProductId,
    request: RequestId,
) -> sqlx::Result<Option<StockMovement>> {
    let number = sqlx::query_scalar!(
        "select number from stock_movement where center_id = $1 and request_id = $2",
        center.0,
        request.0,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(number) = number else { return Ok(None) };
    Ok(movements(conn, center, id, number.saturating_add(1), 1).await?.pop())
}

/// Up to `limit` movements before a number, newest first.
pub(super) async fn movements(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &ProductId,
    before: i64,
    limit: i64,
) -> sqlx::Result<Vec<StockMovement>> {
    sqlx::query!(
        "select number, request_id, kind, quantity, on_hand, after_seq, reason, moved_at, moved_by from stock_movement
         where center_id = $1 and product_id = $2 and number < $3 order by number desc limit $4",
        center.0,
        id.as_str(),
        before,
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| {
        let kind = MovementKind::from_name(&row.kind);
        Ok(StockMovement {
            number: row.number,
            request_id: RequestId(row.request_id),
            kind: kind.ok_or_else(|| sqlx::Error::Decode(format!("unknown movement {}", row.kind).into()))?,
            quantity: row.quantity,
            on_hand: row.on_hand,
            after: Seq(row.after_seq),
            reason: row.reason,
            moved_at: row.moved_at,
            moved_by: row.moved_by,
        })
    })
    .collect()
}

/// Rows of `product_stock`, one for each counted product.
#[derive(Default)]
pub(in crate::commissary) struct StockRows(BTreeMap<ProductId, i64>);

impl StockRows {
    pub fn put(&mut self, id: &ProductId, on_hand: i64) {
        self.0.insert(id.clone(), on_hand);
    }
}

impl RowSet for StockRows {
    const NAME: &'static str = "product_stock";
    const SQL: &'static str = "\
        update product_stock s set on_hand = n.on_hand
        from unnest($1::integer[], $2::text[], $3::bigint[]) n (center_id, product_id, on_hand)
        where s.center_id = n.center_id and s.product_id = n.product_id and n.center_id in (select center_id from guard)";
    const PARAMS: usize = 2;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&StockRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        args.add(rows().map(|(id, _)| id.as_str()).collect::<Vec<&str>>())?;
        args.add(rows().map(|(_, on_hand)| *on_hand).collect::<Vec<i64>>())
    }
}
