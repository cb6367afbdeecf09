//! The SQL of terminals, their codes and certificates.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::entity::{Certificate, Revocation, StoredCode, Terminal};
use crate::{
    db::decoding,
    ids::{CenterNo, TerminalId},
};

/// The space of advisory locks on terminals; the first of a pair of numbers.
const TERMINAL_LOCKS: i32 = 7445;

/// What is stored is not what it must be.
#[derive(Debug, thiserror::Error)]
#[error("{0} holds something that is none")]
struct Unreadable(&'static str);

/// Keeps everybody else who writes about the terminal waiting until the transaction ends. Terminals whose hashes meet wait for
/// each other in vain, which harms nothing.
pub(super) async fn lock(conn: &mut PgConnection, center: CenterNo, terminal: &TerminalId) -> sqlx::Result<()> {
    sqlx::query!(
        "select pg_advisory_xact_lock($1, hashtext($2::int::text || '/' || $3))",
        TERMINAL_LOCKS,
        center.0,
        terminal.as_str(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert(conn: &mut PgConnection, center: CenterNo, terminal: &Terminal) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into terminal (center_id, terminal_id, display_name, created_at, created_by) values ($1, $2, $3, $4, $5)",
        center.0,
        terminal.id.as_str(),
        terminal.display_name,
        terminal.created_at,
        terminal.created_by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` terminals from `from` on, in the order of their ids; `from` itself only when `inclusive`.
pub(super) async fn terminals(
    conn: &mut PgConnection,
    center: CenterNo,
    from: &str,
    inclusive: bool,
    limit: i64,
) -> sqlx::Result<Vec<Terminal>> {
    let rows = sqlx::query!(
        r#"select t.terminal_id, t.display_name, t.created_at, t.created_by,
                  c.number as "number?", c.code_no as "code_no?", c.renews, c.serial as "serial?",
                  c.public_key as "public_key?", c.certificate as "certificate?", c.not_before as "not_before?",
                  c.not_after as "not_after?", c.issued_at as "issued_at?",
                  r.at as "revoked_at?", r.actor as "revoked_by?", r.reason as "revoked_why?"
           from terminal t
           left join lateral (
               select * from terminal_certificate
               where center_id = t.center_id and terminal_id = t.terminal_id order by number desc limit 1) c on true
           left join terminal_revocation r on r.center_id = t.center_id and r.terminal_id = t.terminal_id
           where t.center_id = $1 and t.terminal_id >= $2 and ($3 or t.terminal_id > $2)
           order by t.terminal_id limit $4"#,
        center.0,
        from,
        inclusive,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let told = (row.serial, row.public_key, row.certificate);
            let times = (row.not_before, row.not_after, row.issued_at);
            let certificate = match (row.number, row.code_no, told, times) {
                (
                    Some(number),
                    Some(code_no),
                    (Some(serial), Some(public_key), Some(der)),
                    (Some(not_before), Some(not_after), Some(issued_at)),
                ) => Some(Certificate {
                    number,
                    code_no,
                    renews: row.renews,
                    serial,
                    public_key: key(&public_key)?,
                    der,
                    not_before,
                    not_after,
                    issued_at,
                }),
                _ => None,
            };
            let revoked = match (row.revoked_at, row.revoked_by, row.revoked_why) {
                (Some(at), Some(actor), Some(reason)) => Some(Revocation { at, actor, reason }),
                _ => None,
            };
            Ok(Terminal {
                id: TerminalId::parse(&row.terminal_id).map_err(decoding)?,
                display_name: row.display_name,
                created_at: row.created_at,
                created_by: row.created_by,
                certificate,
                revoked,
            })
        })
        .collect()
}

fn key(bytes: &[u8]) -> sqlx::Result<[u8; 32]> {
    bytes
        .try_into()
        .map_err(|_| decoding(Unreadable("terminal_certificate")))
}

pub(super) async fn terminal(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &TerminalId,
) -> sqlx::Result<Option<Terminal>> {
    let mut found = terminals(conn, center, id.as_str(), true, 1).await?;
    Ok(found.pop().filter(|terminal| terminal.id == *id))
}

/// Every key that a terminal ever had, with the number of its certificate and when that was signed, the newest first.
pub(super) async fn keys(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &TerminalId,
) -> sqlx::Result<Vec<(i32, [u8; 32], OffsetDateTime)>> {
    let rows = sqlx::query!(
        "select number, public_key, issued_at from terminal_certificate
         where center_id = $1 and terminal_id = $2 order by number desc",
        center.0,
        id.as_str(),
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| Ok((row.number, key(&row.public_key)?, row.issued_at)))
        .collect()
}

/// The code of a terminal that counts.
pub(super) async fn last_code(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &TerminalId,
) -> sqlx::Result<Option<StoredCode>> {
    let row = sqlx::query!(
        r#"select c.code_no, c.hash, c.expires_at,
                  (select count(*) from terminal_code_try t
                   where t.center_id = c.center_id and t.terminal_id = c.terminal_id
                     and t.code_no = c.code_no)::int as "tries!",
                  exists(select from terminal_code_try t
                         where t.center_id = c.center_id and t.terminal_id = c.terminal_id and t.code_no = c.code_no
                           and t.is_right) as "is_used!"
           from terminal_code c where c.center_id = $1 and c.terminal_id = $2 order by c.code_no desc limit 1"#,
        center.0,
        id.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| StoredCode {
        code_no: row.code_no,
        hash: row.hash,
        expires_at: row.expires_at,
        tries: row.tries,
        is_used: row.is_used,
    }))
}

pub(super) async fn insert_code(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &TerminalId,
    code: &StoredCode,
    (at, by): (OffsetDateTime, &str),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into terminal_code (center_id, terminal_id, code_no, hash, created_at, expires_at, created_by)
         values ($1, $2, $3, $4, $5, $6, $7)",
        center.0,
        id.as_str(),
        code.code_no,
        code.hash,
        at,
        code.expires_at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down that a code was tried once more.
pub(super) async fn insert_try(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &TerminalId,
    code: &StoredCode,
    is_right: bool,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into terminal_code_try (center_id, terminal_id, code_no, try_no, is_right, at)
         values ($1, $2, $3, $4, $5, $6)",
        center.0,
        id.as_str(),
        code.code_no,
        code.tries + 1,
        is_right,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_certificate(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &TerminalId,
    certificate: &Certificate,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into terminal_certificate (center_id, terminal_id, number, code_no, renews, serial, public_key, certificate,
                                           not_before, not_after, issued_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        center.0,
        id.as_str(),
        certificate.number,
        certificate.code_no,
        certificate.renews,
        certificate.serial,
        &certificate.public_key[..],
        certificate.der,
        certificate.not_before,
        certificate.not_after,
        certificate.issued_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_revocation(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &TerminalId,
    revocation: &Revocation,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into terminal_revocation (center_id, terminal_id, at, actor, reason) values ($1, $2, $3, $4, $5)",
        center.0,
        id.as_str(),
        revocation.at,
        revocation.actor,
        revocation.reason,
    )
    .execute(conn)
    .await?;
    Ok(())
}
