//! The SQL of phones and one-time codes.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::{
    ids::{CenterNo, PayerId},
    payer::{entity::PhoneCode, identity::PhoneNumber, store::By, vault::Hashed},
};

/// Whether a payer ever told a phone.
pub(in crate::payer) async fn has_told_phone(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
    phone: &PhoneNumber,
) -> sqlx::Result<bool> {
    let told = sqlx::query_scalar!(
        r#"select exists(select from payer_phone where center_id = $1 and payer_id = $2 and phone = $3) as "told!""#,
        center.0,
        payer.as_str(),
        phone.as_str(),
    )
    .fetch_one(conn)
    .await?;
    Ok(told)
}

pub(in crate::payer) async fn insert_phone(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
    phone: (&PhoneNumber, i32),
    by: By<'_>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into payer_phone (center_id, payer_id, position, phone, at, actor) values ($1, $2, $3, $4, $5, $6)",
        center.0,
        payer.as_str(),
        phone.1,
        phone.0.as_str(),
        by.at,
        by.actor,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// How a phone was verified.
#[derive(Clone, Copy)]
pub(in crate::payer) enum How<'a> {
    /// By the code of this number.
    Code(i32),
    /// By staff.
    Document(&'a str),
}

pub(in crate::payer) async fn insert_verification(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
    position: i32,
    how: How<'_>,
    by: By<'_>,
) -> sqlx::Result<()> {
    let (code_no, document) = match how {
        How::Code(code_no) => (Some(code_no), None),
        How::Document(document) => (None, Some(document)),
    };
    sqlx::query!(
        "insert into payer_phone_verification (center_id, payer_id, position, code_no, document, at, actor)
         values ($1, $2, $3, $4, $5, $6, $7)",
        center.0,
        payer.as_str(),
        position,
        code_no,
        document,
        by.at,
        by.actor,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The last code that was sent to a payer.
pub(in crate::payer) async fn last_code(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
) -> sqlx::Result<Option<PhoneCode>> {
    let row = sqlx::query!(
        r#"select c.code_no, c.position, c.key_id, c.hash, c.created_at, c.expires_at,
                  (select count(*) from phone_code_try t
                   where t.center_id = c.center_id and t.payer_id = c.payer_id and t.code_no = c.code_no)::int as "tries!",
                  exists(select from phone_code_try t
                         where t.center_id = c.center_id and t.payer_id = c.payer_id and t.code_no = c.code_no
                           and t.is_right) as "is_used!"
           from phone_code c where c.center_id = $1 and c.payer_id = $2 order by c.code_no desc limit 1"#,
        center.0,
        payer.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| PhoneCode {
        code_no: row.code_no,
        position: row.position,
        hashed: Hashed {
            key_id: row.key_id,
            hash: row.hash,
        },
        created_at: row.created_at,
        expires_at: row.expires_at,
        tries: row.tries,
        is_used: row.is_used,
    }))
}

/// When the code was sent that is the `nth` from the last, if there were so many.
pub(in crate::payer) async fn nth_last_code_at(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
    nth: i64,
) -> sqlx::Result<Option<OffsetDateTime>> {
    sqlx::query_scalar!(
        "select created_at from phone_code where center_id = $1 and payer_id = $2
         order by code_no desc offset $3 limit 1",
        center.0,
        payer.as_str(),
        nth - 1,
    )
    .fetch_optional(conn)
    .await
}

pub(in crate::payer) async fn insert_code(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
    code: &PhoneCode,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into phone_code (center_id, payer_id, code_no, position, key_id, hash, created_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        center.0,
        payer.as_str(),
        code.code_no,
        code.position,
        code.hashed.key_id,
        code.hashed.hash,
        code.created_at,
        code.expires_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes down that a code was tried for the `try_no`th time.
pub(in crate::payer) async fn insert_try(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
    (code_no, try_no): (i32, i32),
    is_right: bool,
    by: By<'_>,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into phone_code_try (center_id, payer_id, code_no, try_no, is_right, at, actor)
         values ($1, $2, $3, $4, $5, $6, $7)",
        center.0,
        payer.as_str(),
        code_no,
        try_no,
        is_right,
        by.at,
        by.actor,
    )
    .execute(conn)
    .await?;
    Ok(())
}
