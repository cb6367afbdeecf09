//! All SQL of sealed texts.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::ledger::Center;

pub(super) async fn insert(
    conn: &mut PgConnection,
    center: &Center,
    (name, key, sealed): (&str, &str, &[u8]),
    (at, by): (OffsetDateTime, &str),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into identity_key (key_id, first_used_at) values ($1, $2) on conflict do nothing",
        key,
        at,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into sealed_text (center_id, secret_id, key_id, sealed, recorded_at, recorded_by)
         values ($1, $2, $3, $4, $5, $6) on conflict do nothing",
        center.no.0,
        name,
        key,
        sealed,
        at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn stored(
    conn: &mut PgConnection,
    center: &Center,
    name: &str,
) -> sqlx::Result<Option<(String, Vec<u8>)>> {
    let row = sqlx::query!(
        "select key_id, sealed from sealed_text where center_id = $1 and secret_id = $2",
        center.no.0,
        name,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.key_id, row.sealed)))
}
