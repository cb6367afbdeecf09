//! The SQL of cards, PINs and tries.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Card, Checked, LastTry};
use crate::{
    db::decoding,
    ids::{CardId, CenterNo, DetaineeId, TerminalId},
    terminal::pin::HashedPin,
};

/// The space of advisory locks on cards; the first of a pair of numbers.
const CARD_LOCKS: i32 = 7446;

/// Who a card with a PIN is of.
#[derive(Debug, Clone)]
pub struct Holder {
    /// The card.
    pub card: CardId,
    /// Whose it is.
    pub detainee: DetaineeId,
    /// The number of its PIN.
    pub pin_no: i32,
    /// The PIN.
    pub pin: HashedPin,
    /// Whether it is staff's.
    pub is_temporary: bool,
    /// Whether the card was ended, or the detainee is no longer here.
    is_over: bool,
}

impl Holder {
    /// Whether somebody can sign in with the card.
    pub fn is_usable(&self) -> bool {
        !self.is_over
    }
}

/// Keeps everybody else who tries or changes the card waiting until the transaction ends. Cards whose hashes meet wait for each
/// other in vain, which harms nothing.
pub(in crate::terminal) async fn lock(conn: &mut PgConnection, center: CenterNo, card: &[u8]) -> sqlx::Result<()> {
    sqlx::query!(
        "select pg_advisory_xact_lock($1, hashtext($2::int::text || '/' || encode($3::bytea, 'hex')))",
        CARD_LOCKS,
        center.0,
        card,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_card(
    conn: &mut PgConnection,
    center: CenterNo,
    (id, detainee): (&CardId, &DetaineeId),
    (at, by): (OffsetDateTime, &str),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into card (center_id, card_id, detainee_id, issued_at, issued_by) values ($1, $2, $3, $4, $5)",
        center.0,
        id.as_str(),
        detainee.as_str(),
        at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_end(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &CardId,
    reason: &str,
    (at, by): (OffsetDateTime, &str),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into card_end (center_id, card_id, at, actor, reason) values ($1, $2, $3, $4, $5)",
        center.0,
        id.as_str(),
        at,
        by,
        reason,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` cards after a number, in their order; of one detainee, or of all.
pub(super) async fn cards(
    conn: &mut PgConnection,
    center: CenterNo,
    detainee: Option<&DetaineeId>,
    after: &str,
    limit: i64,
) -> sqlx::Result<Vec<Card>> {
    let rows = sqlx::query!(
        r#"select c.card_id, c.detainee_id, c.issued_at, c.issued_by, p.is_temporary as "is_temporary?",
                  e.reason as "end_reason?"
           from card c
           left join card_end e on e.center_id = c.center_id and e.card_id = c.card_id
           left join lateral (
               select is_temporary from card_pin
               where center_id = c.center_id and card_id = c.card_id order by number desc limit 1) p on true
           where c.center_id = $1 and c.card_id > $2 and ($3::text is null or c.detainee_id = $3)
           order by c.card_id limit $4"#,
        center.0,
        after,
        detainee.map(DetaineeId::as_str),
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Card {
                id: CardId::parse(&row.card_id).map_err(decoding)?,
                detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
                issued_at: row.issued_at,
                issued_by: row.issued_by,
                is_temporary: row.is_temporary,
                end_reason: row.end_reason,
            })
        })
        .collect()
}

pub(super) async fn card(conn: &mut PgConnection, center: CenterNo, id: &CardId) -> sqlx::Result<Option<Card>> {
    let row = sqlx::query!(
        r#"select c.detainee_id, c.issued_at, c.issued_by, e.reason as "end_reason?",
                  (select is_temporary from card_pin p
                   where p.center_id = c.center_id and p.card_id = c.card_id order by number desc limit 1) as is_temporary
           from card c left join card_end e on e.center_id = c.center_id and e.card_id = c.card_id
           where c.center_id = $1 and c.card_id = $2"#,
        center.0,
        id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Card {
            id: id.clone(),
            detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
            issued_at: row.issued_at,
            issued_by: row.issued_by,
            is_temporary: row.is_temporary,
            end_reason: row.end_reason,
        })
    })
    .transpose()
}

/// Who a card is of, with its PIN; none if there is no such card or it has no PIN.
pub(in crate::terminal) async fn holder(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &CardId,
) -> sqlx::Result<Option<Holder>> {
    let row = sqlx::query!(
        r#"select c.detainee_id, p.number, p.is_temporary, p.memory_kib, p.passes, p.salt, p.hash,
                  (e.card_id is not null or d.state <> 'active') as "is_over!"
           from card c
           join detainee d on d.center_id = c.center_id and d.detainee_id = c.detainee_id
           join card_pin p on p.center_id = c.center_id and p.card_id = c.card_id
           left join card_end e on e.center_id = c.center_id and e.card_id = c.card_id
           where c.center_id = $1 and c.card_id = $2 order by p.number desc limit 1"#,
        center.0,
        id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Holder {
            card: id.clone(),
            detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
            pin_no: row.number,
            is_temporary: row.is_temporary,
            is_over: row.is_over,
            pin: HashedPin {
                memory_kib: u32::try_from(row.memory_kib).map_err(decoding)?,
                passes: u32::try_from(row.passes).map_err(decoding)?,
                salt: row.salt,
                hash: row.hash,
            },
        })
    })
    .transpose()
}

/// The number of a card's last PIN; 0 when it has none.
pub(super) async fn pin_no(conn: &mut PgConnection, center: CenterNo, id: &CardId) -> sqlx::Result<i32> {
    let number = sqlx::query_scalar!(
        "select max(number) from card_pin where center_id = $1 and card_id = $2",
        center.0,
        id.as_str(),
    )
    .fetch_one(conn)
    .await?;
    Ok(number.unwrap_or_default())
}

pub(in crate::terminal) async fn insert_pin(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &CardId,
    (number, is_temporary): (i32, bool),
    pin: &HashedPin,
    (at, by): (OffsetDateTime, &str),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into card_pin (center_id, card_id, number, is_temporary, memory_kib, passes, salt, hash, set_at, set_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        center.0,
        id.as_str(),
        number,
        is_temporary,
        i32::try_from(pin.memory_kib).map_err(decoding)?,
        i32::try_from(pin.passes).map_err(decoding)?,
        pin.salt,
        pin.hash,
        at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The number of the last try of a card, 0 when there was none, and what it was.
pub(in crate::terminal) async fn last_try(
    conn: &mut PgConnection,
    center: CenterNo,
    card: &[u8],
) -> sqlx::Result<(i32, Option<LastTry>)> {
    let row = sqlx::query!(
        "select number, failures, at from card_try where center_id = $1 and card_hash = $2 order by number desc limit 1",
        center.0,
        card,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map_or((0, None), |row| {
        let last = LastTry {
            failures: row.failures,
            at: row.at,
        };
        (row.number, Some(last))
    }))
}

/// Writes a try down, or that staff reset them. The caller holds the card's lock.
pub(in crate::terminal) async fn insert_try(
    conn: &mut PgConnection,
    center: CenterNo,
    card: &[u8],
    what: Checked,
    (at, terminal): (OffsetDateTime, Option<&TerminalId>),
) -> sqlx::Result<()> {
    let (outcome, failures) = match what {
        Checked::Failed(failures) => ("FAILED", failures),
        Checked::Right => ("RIGHT", 0),
        Checked::Reset => ("RESET", 0),
    };
    let (number, _) = last_try(&mut *conn, center, card).await?;
    sqlx::query!(
        "insert into card_try (center_id, card_hash, number, outcome, failures, at, terminal_id)
         values ($1, $2, $3, $4, $5, $6, $7)",
        center.0,
        card,
        number + 1,
        outcome,
        failures,
        at,
        terminal.map(TerminalId::as_str),
    )
    .execute(conn)
    .await?;
    Ok(())
}
