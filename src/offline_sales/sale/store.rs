//! The SQL of sales.

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;

use super::super::{
    chain::Hash,
    entity::{Bytes, Sale, SaleState},
    store::hash_of,
};
use crate::{
    db::decoding,
    ids::{CenterNo, Seq, TerminalId},
    ledger::Center,
};

/// Where the numbers of a terminal stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::offline_sales) struct Chain {
    /// The last number that was taken in, or declared lost; 0 when there is none.
    pub last: i64,
    /// The hash of that sale; none when there is none, or it is not known.
    pub hash: Option<Hash>,
    /// When that was sold by the terminal's clock.
    pub sold_at: Option<OffsetDateTime>,
}

pub(in crate::offline_sales) async fn chain(
    conn: &mut PgConnection,
    center: CenterNo,
    terminal: &TerminalId,
) -> sqlx::Result<Chain> {
    let row = sqlx::query!(
        "select number, hash, sold_at from offline_sale where center_id = $1 and terminal_id = $2
         order by number desc limit 1",
        center.0,
        terminal.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    row.map_or(Ok(Chain::default()), |row| {
        Ok(Chain {
            last: row.number,
            hash: row.hash.as_deref().map(hash_of).transpose()?,
            sold_at: row.sold_at,
        })
    })
}

/// Keeps a sale that was taken in; one that waits for finance is in the queue from then on.
pub(in crate::offline_sales) async fn insert(
    conn: &mut PgConnection,
    center: CenterNo,
    sale: &Sale,
) -> sqlx::Result<()> {
    let bytes = sale.bytes.as_ref();
    sqlx::query!(
        "insert into offline_sale
             (center_id, terminal_id, number, seq, state, reason, message, hash, statement, signature, detainee_id, allowance_no,
              total, sold_at, flags, received_at, received_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)",
        center.0,
        sale.terminal.as_str(),
        sale.number,
        sale.seq.0,
        sale.taken.name(),
        sale.reason,
        sale.message,
        bytes.map(|bytes| bytes.hash.to_vec()),
        bytes.map(|bytes| bytes.statement.clone()),
        bytes.map(|bytes| bytes.signature.clone()),
        sale.detainee,
        sale.allowance,
        sale.total.value(),
        sale.sold_at,
        &sale.flags,
        sale.received_at,
        sale.received_by,
    )
    .execute(&mut *conn)
    .await?;
    if sale.taken.is_waiting() {
        sqlx::query!(
            "insert into offline_sale_open (center_id, seq, terminal_id, number) values ($1, $2, $3, $4)",
            center.0,
            sale.seq.0,
            sale.terminal.as_str(),
            sale.number,
        )
        .execute(conn)
        .await?;
    }
    Ok(())
}

/// Finance has ended a sale.
pub(in crate::offline_sales) async fn end(
    conn: &mut PgConnection,
    center: CenterNo,
    sale: &Sale,
    (way, end_seq): (SaleState, Seq),
    approval: Option<i64>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "delete from offline_sale_open where center_id = $1 and seq = $2",
        center.0,
        sale.seq.0,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into offline_sale_end (center_id, terminal_id, number, end_seq, way, approval_no)
         values ($1, $2, $3, $4, $5, $6)",
        center.0,
        sale.terminal.as_str(),
        sale.number,
        end_seq.0,
        way.name(),
        approval,
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct Row {
    terminal_id: String,
    number: i64,
    seq: i64,
    state: String,
    reason: String,
    message: String,
    hash: Option<Vec<u8>>,
    statement: Option<Vec<u8>>,
    signature: Option<Vec<u8>>,
    detainee_id: String,
    allowance_no: i64,
    total: Decimal,
    sold_at: Option<OffsetDateTime>,
    flags: Vec<String>,
    received_at: OffsetDateTime,
    received_by: String,
    end_seq: Option<i64>,
    way: Option<String>,
}

fn state_of(name: &str) -> sqlx::Result<SaleState> {
    SaleState::from_name(name).ok_or_else(|| sqlx::Error::Decode(format!("unknown state {name}").into()))
}

fn sale_of(center: &Center, row: Row) -> sqlx::Result<Sale> {
    let bytes = match (row.hash, row.statement, row.signature) {
        (Some(hash), Some(statement), Some(signature)) => Some(Bytes {
            hash: hash_of(&hash)?,
            statement,
            signature,
        }),
        _ => None,
    };
    let end = match (row.way, row.end_seq) {
        (Some(way), Some(seq)) => Some((state_of(&way)?, Seq(seq))),
        _ => None,
    };
    Ok(Sale {
        terminal: TerminalId::parse(&row.terminal_id).map_err(decoding)?,
        number: row.number,
        seq: Seq(row.seq),
        taken: state_of(&row.state)?,
        reason: row.reason,
        message: row.message,
        bytes,
        detainee: row.detainee_id,
        allowance: row.allowance_no,
        total: center.amount(row.total)?,
        sold_at: row.sold_at,
        flags: row.flags,
        received_at: row.received_at,
        received_by: row.received_by,
        end,
    })
}

pub(in crate::offline_sales) async fn get(
    conn: &mut PgConnection,
    center: &Center,
    terminal: &TerminalId,
    number: i64,
) -> sqlx::Result<Option<Sale>> {
    sqlx::query_as!(
        Row,
        r#"select s.terminal_id, s.number, s.seq, s.state, s.reason, s.message, s.hash, s.statement, s.signature, s.detainee_id,
                  s.allowance_no, s.total, s.sold_at, s.flags, s.received_at, s.received_by,
                  e.end_seq as "end_seq?", e.way as "way?"
           from offline_sale s
           left join offline_sale_end e on e.center_id = s.center_id and e.terminal_id = s.terminal_id and e.number = s.number
           where s.center_id = $1 and s.terminal_id = $2 and s.number = $3"#,
        center.no.0,
        terminal.as_str(),
        number,
    )
    .fetch_optional(conn)
    .await?
    .map(|row| sale_of(center, row))
    .transpose()
}

/// Up to `limit` sales of a terminal before a number, latest first.
pub(in crate::offline_sales) async fn of_terminal(
    conn: &mut PgConnection,
    center: &Center,
    terminal: &TerminalId,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<Sale>> {
    sqlx::query_as!(
        Row,
        r#"select s.terminal_id, s.number, s.seq, s.state, s.reason, s.message, s.hash, s.statement, s.signature, s.detainee_id,
                  s.allowance_no, s.total, s.sold_at, s.flags, s.received_at, s.received_by,
                  e.end_seq as "end_seq?", e.way as "way?"
           from offline_sale s
           left join offline_sale_end e on e.center_id = s.center_id and e.terminal_id = s.terminal_id and e.number = s.number
           where s.center_id = $1 and s.terminal_id = $2 and s.number < $3 order by s.number desc limit $4"#,
        center.no.0,
        terminal.as_str(),
        before.unwrap_or(i64::MAX),
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| sale_of(center, row))
    .collect()
}

/// Up to `limit` sales that wait for finance, after a transaction, oldest first.
pub(in crate::offline_sales) async fn open(
    conn: &mut PgConnection,
    center: &Center,
    after: Seq,
    limit: i64,
) -> sqlx::Result<Vec<Sale>> {
    sqlx::query_as!(
        Row,
        r#"select s.terminal_id, s.number, s.seq, s.state, s.reason, s.message, s.hash, s.statement, s.signature, s.detainee_id,
                  s.allowance_no, s.total, s.sold_at, s.flags, s.received_at, s.received_by,
                  null::bigint as "end_seq?", null::text as "way?"
           from offline_sale_open o
           join offline_sale s on s.center_id = o.center_id and s.terminal_id = o.terminal_id and s.number = o.number
           where o.center_id = $1 and o.seq > $2 order by o.seq limit $3"#,
        center.no.0,
        after.0,
        limit,
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| sale_of(center, row))
    .collect()
}
