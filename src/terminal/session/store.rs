//! The SQL of sessions, and of what stands when something is decided.

use std::collections::HashMap;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::entity::{Standing, StoredSession};
use crate::{
    db::decoding,
    ids::{CardId, CenterNo, DetaineeId, TerminalId},
};

/// Whether purchases need a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPolicy {
    /// Counts the changes.
    pub version: i32,
    /// Whether no terminal sells without one.
    pub require_sessions: bool,
    /// When it was changed.
    pub changed_at: OffsetDateTime,
    /// By whom.
    pub changed_by: String,
}

pub(in crate::terminal) async fn policy(
    conn: &mut PgConnection,
    center: CenterNo,
) -> sqlx::Result<Option<SessionPolicy>> {
    sqlx::query_as!(
        SessionPolicy,
        "select version, require_sessions, changed_at, changed_by from session_policy
         where center_id = $1 order by version desc limit 1",
        center.0,
    )
    .fetch_optional(conn)
    .await
}

pub(super) async fn insert_policy(
    conn: &mut PgConnection,
    center: CenterNo,
    policy: &SessionPolicy,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into session_policy (center_id, version, require_sessions, changed_at, changed_by)
         values ($1, $2, $3, $4, $5)",
        center.0,
        policy.version,
        policy.require_sessions,
        policy.changed_at,
        policy.changed_by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What stands of some terminals. The certificates of a terminal are those since it was enrolled last.
pub(in crate::terminal) async fn standings(
    conn: &mut PgConnection,
    center: CenterNo,
    ids: &[TerminalId],
) -> sqlx::Result<HashMap<String, Standing>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        r#"select t.terminal_id, (r.terminal_id is not null) as "is_revoked!", c.serials, c.untils
           from unnest($2::text[]) q (terminal_id)
           join lateral (select * from terminal where center_id = $1 and terminal_id = q.terminal_id offset 0) t on true
           left join terminal_revocation r on r.center_id = $1 and r.terminal_id = q.terminal_id
           left join lateral (
               select array_agg(serial order by number desc) as serials, array_agg(not_after order by number desc) as untils
               from terminal_certificate c
               where c.center_id = $1 and c.terminal_id = q.terminal_id and c.code_no = (
                   select code_no from terminal_certificate l
                   where l.center_id = $1 and l.terminal_id = q.terminal_id order by number desc limit 1)
               ) c on true"#,
        center.0,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let found = rows.into_iter().map(|row| {
        let serials = row.serials.unwrap_or_default().into_iter();
        let standing = Standing {
            is_revoked: row.is_revoked,
            serials: serials.zip(row.untils.unwrap_or_default()).collect(),
        };
        (row.terminal_id, standing)
    });
    Ok(found.collect())
}

/// Some sessions. One whose detainee is no longer active is over.
pub(in crate::terminal) async fn sessions(
    conn: &mut PgConnection,
    center: CenterNo,
    ids: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, StoredSession>> {
    let rows = sqlx::query!(
        r#"select s.session_id, s.detainee_id, s.terminal_id, s.card_id, s.is_bound, s.is_limited, s.began_at, s.expires_at,
                  (e.session_id is not null or d.state <> 'active') as "is_over!"
           from unnest($2::uuid[]) q (session_id)
           join lateral (
               select * from detainee_session where center_id = $1 and session_id = q.session_id offset 0) s on true
           join lateral (
               select state from detainee where center_id = $1 and detainee_id = s.detainee_id offset 0) d on true
           left join detainee_session_end e on e.center_id = $1 and e.session_id = q.session_id"#,
        center.0,
        ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let session = StoredSession {
                id: row.session_id,
                detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
                terminal: TerminalId::parse(&row.terminal_id).map_err(decoding)?,
                card: row
                    .card_id
                    .as_deref()
                    .map(CardId::parse)
                    .transpose()
                    .map_err(decoding)?,
                is_bound: row.is_bound,
                is_limited: row.is_limited,
                began_at: row.began_at,
                expires_at: row.expires_at,
                is_over: row.is_over,
            };
            Ok((row.session_id, session))
        })
        .collect()
}

pub(super) async fn insert_session(
    conn: &mut PgConnection,
    center: CenterNo,
    session: &StoredSession,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into detainee_session (center_id, session_id, detainee_id, terminal_id, card_id, is_bound, is_limited, began_at,
                                       expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        center.0,
        session.id,
        session.detainee.as_str(),
        session.terminal.as_str(),
        session.card.as_ref().map(CardId::as_str),
        session.is_bound,
        session.is_limited,
        session.began_at,
        session.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends a session; what has ended stays as it is.
pub(super) async fn insert_end(
    conn: &mut PgConnection,
    center: CenterNo,
    session: Uuid,
    reason: &str,
    (at, by): (OffsetDateTime, &str),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into detainee_session_end (center_id, session_id, at, actor, reason) values ($1, $2, $3, $4, $5)
         on conflict do nothing",
        center.0,
        session,
        at,
        by,
        reason,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Ends the sessions that began with a card and are not over.
pub(in crate::terminal) async fn end_of_card(
    conn: &mut PgConnection,
    center: CenterNo,
    (card, detainee): (&CardId, &DetaineeId),
    reason: &str,
    (at, by): (OffsetDateTime, &str),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into detainee_session_end (center_id, session_id, at, actor, reason)
         select center_id, session_id, $4, $5, $6 from detainee_session
         where center_id = $1 and detainee_id = $2 and card_id = $3 and expires_at > $4 and began_at <= $4
         on conflict do nothing",
        center.0,
        detainee.as_str(),
        card.as_str(),
        at,
        by,
        reason,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The key of a terminal's biometric module, if it has one, and the number of the last change; 0 when there was none.
pub(super) async fn module(
    conn: &mut PgConnection,
    center: CenterNo,
    terminal: &TerminalId,
) -> sqlx::Result<(i32, Option<Vec<u8>>)> {
    let row = sqlx::query!(
        "select number, public_key from terminal_module
         where center_id = $1 and terminal_id = $2 order by number desc limit 1",
        center.0,
        terminal.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map_or((0, None), |row| (row.number, row.public_key)))
}

pub(super) async fn insert_module(
    conn: &mut PgConnection,
    center: CenterNo,
    terminal: &TerminalId,
    (number, key): (i32, Option<&[u8]>),
    (at, by): (OffsetDateTime, &str),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into terminal_module (center_id, terminal_id, number, public_key, at, actor) values ($1, $2, $3, $4, $5, $6)",
        center.0,
        terminal.as_str(),
        number,
        key,
        at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a terminal's old challenges away; how many are still open.
pub(super) async fn open_challenges(
    conn: &mut PgConnection,
    center: CenterNo,
    terminal: &TerminalId,
    now: OffsetDateTime,
) -> sqlx::Result<i64> {
    sqlx::query!(
        "delete from sign_in_challenge where center_id = $1 and terminal_id = $2 and expires_at <= $3",
        center.0,
        terminal.as_str(),
        now,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query_scalar!(
        r#"select count(*) as "open!" from sign_in_challenge where center_id = $1 and terminal_id = $2"#,
        center.0,
        terminal.as_str(),
    )
    .fetch_one(conn)
    .await
}

pub(super) async fn insert_challenge(
    conn: &mut PgConnection,
    center: CenterNo,
    terminal: &TerminalId,
    challenge: &[u8],
    expires_at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into sign_in_challenge (center_id, challenge, terminal_id, expires_at) values ($1, $2, $3, $4)",
        center.0,
        challenge,
        terminal.as_str(),
        expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Uses a terminal's challenge up; until when it was good.
pub(super) async fn take_challenge(
    conn: &mut PgConnection,
    center: CenterNo,
    terminal: &TerminalId,
    challenge: &[u8],
) -> sqlx::Result<Option<OffsetDateTime>> {
    sqlx::query_scalar!(
        "delete from sign_in_challenge where center_id = $1 and terminal_id = $2 and challenge = $3 returning expires_at",
        center.0,
        terminal.as_str(),
        challenge,
    )
    .fetch_optional(conn)
    .await
}
