//! All SQL about orders, and the rows they add to the lanes' statement.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::Decimal;
use sqlx::{Arguments as _, PgConnection, error::BoxDynError, postgres::PgArguments};
use time::{Date, OffsetDateTime, Weekday};

use super::{
    OrderingRules, OrderingWindow,
    entity::{Line, Order, OrderState},
};
use crate::{
    db::decoding,
    ids::{AccountNo, CenterNo, DetaineeId, ProductId, Seq},
    ledger::{Center, RowSet},
    proto::OrderLineChangeFacts,
};

pub(super) async fn orders(
    conn: &mut PgConnection,
    center: &Center,
    seqs: &[Seq],
) -> sqlx::Result<HashMap<Seq, Order>> {
    let seqs: Vec<i64> = seqs.iter().map(|seq| seq.0).collect();
    let rows = sqlx::query!(
        "select o.seq, o.detainee_id, o.effective_date, o.placed_at, o.cut_off_at, o.expires_at, o.delivered_at, o.state, o.changes
         from unnest($2::bigint[]) k (seq),
              lateral (select * from placed_order where center_id = $1 and seq = k.seq offset 0) o",
        center.no.0,
        &seqs,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut found = HashMap::with_capacity(rows.len());
    for row in rows {
        let state = OrderState::from_name(&row.state);
        let order = Order {
            seq: Seq(row.seq),
            detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
            effective_date: row.effective_date,
            placed_at: row.placed_at,
            cut_off_at: row.cut_off_at,
            expires_at: row.expires_at,
            delivered_at: row.delivered_at,
            state: state.ok_or_else(|| sqlx::Error::Decode(format!("unknown state {}", row.state).into()))?,
            changes: row.changes,
            lines: Vec::new(),
        };
        found.insert(order.seq, order);
    }
    lines(conn, center, &seqs, &mut found).await?;
    Ok(found)
}

async fn lines(
    conn: &mut PgConnection,
    center: &Center,
    seqs: &[i64],
    found: &mut HashMap<Seq, Order>,
) -> sqlx::Result<()> {
    let rows = sqlx::query!(
        "select l.seq, l.product_id, l.payable_no, l.quantity, l.unit_price, l.counted, l.keeps_stock, l.open, l.delivered,
                l.released, l.returned, l.disputed, l.dispute_seq
         from unnest($2::bigint[]) k (seq),
              lateral (select * from placed_order_line where center_id = $1 and seq = k.seq offset 0) l
         order by l.seq, l.line",
        center.no.0,
        seqs,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let line = Line {
            product: ProductId::parse(&row.product_id).map_err(decoding)?,
            payable_no: AccountNo(row.payable_no),
            quantity: row.quantity,
            unit_price: center.amount(row.unit_price)?,
            counted: row.counted,
            keeps_stock: row.keeps_stock,
            open: row.open,
            delivered: row.delivered,
            released: row.released,
            returned: row.returned,
            disputed: row.disputed,
            dispute: row.dispute_seq.map(Seq),
        };
        if let Some(order) = found.get_mut(&Seq(row.seq)) {
            order.lines.push(line);
        }
    }
    Ok(())
}

/// Up to `limit` orders before a number, newest first; of one detainee or of all, only those with something held or all.
pub(super) async fn list(
    conn: &mut PgConnection,
    center: CenterNo,
    detainee: Option<&DetaineeId>,
    is_held: bool,
    before: Option<Seq>,
    limit: i64,
) -> sqlx::Result<Vec<Seq>> {
    let seqs = sqlx::query_scalar!(
        "select seq from placed_order
         where center_id = $1 and ($2::text is null or detainee_id = $2) and (is_held or not $3) and seq < $4
         order by seq desc limit $5",
        center.0,
        detainee.map(DetaineeId::as_str),
        is_held,
        before.map_or(i64::MAX, |seq| seq.0),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(seqs.into_iter().map(Seq).collect())
}

/// The orders of a detainee of which something is held, oldest first.
pub(super) async fn held_of(
    conn: &mut PgConnection,
    center: CenterNo,
    detainee: &DetaineeId,
) -> sqlx::Result<Vec<Seq>> {
    let seqs = sqlx::query_scalar!(
        "select seq from placed_order where center_id = $1 and detainee_id = $2 and is_held order by seq",
        center.0,
        detainee.as_str(),
    )
    .fetch_all(conn)
    .await?;
    Ok(seqs.into_iter().map(Seq).collect())
}

/// Up to `limit` open orders whose hold is over and of which a line is not in dispute, with how much became of them.
pub(super) async fn due(
    conn: &mut PgConnection,
    center: CenterNo,
    now: OffsetDateTime,
    limit: i64,
) -> sqlx::Result<Vec<(Seq, i64)>> {
    let rows = sqlx::query!(
        "select o.seq, o.changes from placed_order o
         where o.center_id = $1 and o.state = 'OPEN' and o.expires_at <= $2
           and exists (select from placed_order_line l
                       where l.center_id = o.center_id and l.seq = o.seq and l.open > 0 and l.dispute_seq is null)
         order by o.expires_at, o.seq limit $3",
        center.0,
        now,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (Seq(row.seq), row.changes)).collect())
}

/// The transactions that changed an order, oldest first.
pub(super) async fn changes_of(conn: &mut PgConnection, center: CenterNo, order: Seq) -> sqlx::Result<Vec<Seq>> {
    let seqs = sqlx::query_scalar!(
        "select distinct seq from placed_order_change where center_id = $1 and order_seq = $2 order by seq",
        center.0,
        order.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(seqs.into_iter().map(Seq).collect())
}

fn weekday(number: i16) -> sqlx::Result<Weekday> {
    let number = u8::try_from(number).ok().filter(|number| (1..=7).contains(number));
    number
        .map(|number| Weekday::Monday.nth_next(number - 1))
        .ok_or_else(|| sqlx::Error::Decode("no weekday".into()))
}

/// The rules that hold; the defaults when none were told.
pub(super) async fn rules(conn: &mut PgConnection, center: CenterNo) -> sqlx::Result<OrderingRules> {
    let row = sqlx::query!(
        "select version, weekdays, opens, closes, hold_days, return_days, dispute_hours from ordering_rules
         where center_id = $1 order by version desc limit 1",
        center.0,
    )
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else {
        return Ok(OrderingRules::default());
    };
    let windows = row.weekdays.iter().zip(row.opens).zip(row.closes);
    let windows = windows.map(|((day, opens), closes)| {
        let weekday = weekday(*day)?;
        Ok(OrderingWindow { weekday, opens, closes })
    });
    Ok(OrderingRules {
        version: row.version,
        windows: windows.collect::<sqlx::Result<_>>()?,
        hold_days: row.hold_days,
        return_days: row.return_days,
        dispute_hours: row.dispute_hours,
    })
}

pub(super) async fn insert_rules(
    conn: &mut PgConnection,
    center: CenterNo,
    rules: &OrderingRules,
    (reason, by, at): (&str, &str, OffsetDateTime),
) -> sqlx::Result<()> {
    let column = |of: fn(&OrderingWindow) -> i16| rules.windows.iter().map(of).collect::<Vec<i16>>();
    sqlx::query!(
        "insert into ordering_rules (center_id, version, weekdays, opens, closes, hold_days, return_days, dispute_hours, reason,
                                     changed_at, changed_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        center.0,
        rules.version,
        &column(|window| window.weekday.number_from_monday().into()),
        &column(|window| window.opens),
        &column(|window| window.closes),
        rules.hold_days,
        rules.return_days,
        rules.dispute_hours,
        reason,
        at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Rows of `placed_order`.
#[derive(Default)]
pub(super) struct OrderRows(BTreeMap<Seq, Order>);

impl OrderRows {
    pub fn put(&mut self, order: &Order) {
        self.0.insert(order.seq, order.clone());
    }
}

impl RowSet for OrderRows {
    const NAME: &'static str = "placed_order";
    const SQL: &'static str = "\
        insert into placed_order (center_id, seq, detainee_id, effective_date, placed_at, cut_off_at, expires_at, delivered_at,
                                  state, changes, is_held)
        select * from unnest($1::integer[], $2::bigint[], $3::text[], $4::date[], $5::timestamptz[], $6::timestamptz[],
                             $7::timestamptz[], $8::timestamptz[], $9::text[], $10::bigint[], $11::boolean[]) o (center_id)
        where o.center_id in (select center_id from guard)
        on conflict (center_id, seq) do update
        set delivered_at = excluded.delivered_at, state = excluded.state, changes = excluded.changes,
            is_held = excluded.is_held";
    const PARAMS: usize = 10;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&OrderRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| set.0.values());
        args.add(rows().map(|row| row.seq.0).collect::<Vec<i64>>())?;
        args.add(rows().map(|row| row.detainee.as_str()).collect::<Vec<&str>>())?;
        args.add(rows().map(|row| row.effective_date).collect::<Vec<Date>>())?;
        args.add(rows().map(|row| row.placed_at).collect::<Vec<OffsetDateTime>>())?;
        args.add(
            rows()
                .map(|row| row.cut_off_at)
                .collect::<Vec<Option<OffsetDateTime>>>(),
        )?;
        args.add(rows().map(|row| row.expires_at).collect::<Vec<OffsetDateTime>>())?;
        args.add(
            rows()
                .map(|row| row.delivered_at)
                .collect::<Vec<Option<OffsetDateTime>>>(),
        )?;
        args.add(rows().map(|row| row.state.name()).collect::<Vec<&str>>())?;
        args.add(rows().map(|row| row.changes).collect::<Vec<i64>>())?;
        args.add(rows().map(Order::is_held).collect::<Vec<bool>>())
    }
}

/// Rows of `placed_order_line`, by order and number.
#[derive(Default)]
pub(super) struct LineRows(BTreeMap<(Seq, i16), Line>);

impl LineRows {
    /// Every line of an order.
    pub fn put(&mut self, order: &Order) {
        for (number, line) in (1..).zip(&order.lines) {
            self.0.insert((order.seq, number), line.clone());
        }
    }
}

impl RowSet for LineRows {
    const NAME: &'static str = "placed_order_line";
    const SQL: &'static str = "\
        insert into placed_order_line (center_id, seq, line, product_id, payable_no, quantity, unit_price, counted, keeps_stock,
                                       open, delivered, released, returned, disputed, dispute_seq)
        select * from unnest($1::integer[], $2::bigint[], $3::smallint[], $4::text[], $5::integer[], $6::integer[], $7::numeric[],
                             $8::boolean[], $9::boolean[], $10::integer[], $11::integer[], $12::integer[], $13::integer[],
                             $14::integer[], $15::bigint[]) l (center_id)
        where l.center_id in (select center_id from guard)
        on conflict (center_id, seq, line) do update
        set open = excluded.open, delivered = excluded.delivered, released = excluded.released, returned = excluded.returned,
            disputed = excluded.disputed, dispute_seq = excluded.dispute_seq";
    const PARAMS: usize = 14;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&LineRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        let pieces = |of: fn(&Line) -> i32| rows().map(|(_, line)| of(line)).collect::<Vec<i32>>();
        args.add(rows().map(|((seq, _), _)| seq.0).collect::<Vec<i64>>())?;
        args.add(rows().map(|((_, line), _)| *line).collect::<Vec<i16>>())?;
        args.add(rows().map(|(_, line)| line.product.as_str()).collect::<Vec<&str>>())?;
        args.add(pieces(|line| line.payable_no.0))?;
        args.add(pieces(|line| line.quantity))?;
        args.add(
            rows()
                .map(|(_, line)| line.unit_price.value())
                .collect::<Vec<Decimal>>(),
        )?;
        args.add(rows().map(|(_, line)| line.counted).collect::<Vec<bool>>())?;
        args.add(rows().map(|(_, line)| line.keeps_stock).collect::<Vec<bool>>())?;
        args.add(pieces(|line| line.open))?;
        args.add(pieces(|line| line.delivered))?;
        args.add(pieces(|line| line.released))?;
        args.add(pieces(|line| line.returned))?;
        args.add(pieces(|line| line.disputed))?;
        args.add(
            rows()
                .map(|(_, line)| line.dispute.map(|seq| seq.0))
                .collect::<Vec<Option<i64>>>(),
        )
    }
}

/// One row of `placed_order_change`.
pub(super) struct ChangeRow {
    pub seq: Seq,
    pub order: Seq,
    pub change: OrderLineChangeFacts,
    pub state: OrderState,
}

/// Rows of `placed_order_change`.
#[derive(Default)]
pub(super) struct ChangeRows(pub Vec<ChangeRow>);

impl RowSet for ChangeRows {
    const NAME: &'static str = "placed_order_change";
    const SQL: &'static str = "\
        insert into placed_order_change (center_id, seq, order_seq, line, delivered, released, contested, upheld, conceded, state)
        select * from unnest($1::integer[], $2::bigint[], $3::bigint[], $4::smallint[], $5::integer[], $6::integer[],
                             $7::integer[], $8::integer[], $9::integer[], $10::text[]) c (center_id)
        where c.center_id in (select center_id from guard)";
    const PARAMS: usize = 9;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&ChangeRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        let pieces = |of: fn(&OrderLineChangeFacts) -> i32| rows().map(|row| of(&row.change)).collect::<Vec<i32>>();
        args.add(rows().map(|row| row.seq.0).collect::<Vec<i64>>())?;
        args.add(rows().map(|row| row.order.0).collect::<Vec<i64>>())?;
        let lines = rows().map(|row| i16::try_from(row.change.line));
        args.add(lines.collect::<Result<Vec<i16>, _>>()?)?;
        args.add(pieces(|change| change.delivered))?;
        args.add(pieces(|change| change.released))?;
        args.add(pieces(|change| change.contested))?;
        args.add(pieces(|change| change.upheld))?;
        args.add(pieces(|change| change.conceded))?;
        args.add(rows().map(|row| row.state.name()).collect::<Vec<&str>>())
    }
}
