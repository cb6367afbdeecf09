//! The SQL of buyers.

use std::collections::HashMap;

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::Buyer;
use crate::{
    commissary::catalogue::Labels,
    ids::{CenterNo, DetaineeId},
};

/// What is known of some detainees. Each by the end of the primary key: a plan for all at once would read the history.
pub(super) async fn buyers(
    conn: &mut PgConnection,
    center: CenterNo,
    ids: &[DetaineeId],
) -> sqlx::Result<HashMap<String, Buyer>> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        r#"select q.detainee_id as "detainee_id!", b.number, b.housing_unit, b.tags, b.changed_at
           from unnest($2::text[]) q (detainee_id), lateral (
               select number, housing_unit, tags, changed_at from buyer
               where center_id = $1 and detainee_id = q.detainee_id order by number desc limit 1
           ) b"#,
        center.0,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let found = rows.into_iter().map(|row| {
        let buyer = Buyer {
            housing_unit: row.housing_unit,
            tags: Labels::stored(row.tags),
            version: row.number,
            changed_at: Some(row.changed_at),
        };
        (row.detainee_id, buyer)
    });
    Ok(found.collect())
}

pub(in crate::commissary) async fn buyer(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &DetaineeId,
) -> sqlx::Result<Buyer> {
    let mut found = buyers(conn, center, std::slice::from_ref(id)).await?;
    Ok(found.remove(id.as_str()).unwrap_or_default())
}

pub(in crate::commissary) async fn insert(
    conn: &mut PgConnection,
    center: CenterNo,
    id: &DetaineeId,
    buyer: &Buyer,
    (reason, by, at): (&str, &str, OffsetDateTime),
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into buyer (center_id, detainee_id, number, housing_unit, tags, reason, changed_at, changed_by)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        center.0,
        id.as_str(),
        buyer.version,
        buyer.housing_unit,
        &buyer.tags.to_vec(),
        reason,
        at,
        by,
    )
    .execute(conn)
    .await?;
    Ok(())
}
