//! SQL about jobs.

use std::collections::HashMap;

use sqlx::PgConnection;

use super::status::Stored;
use crate::ids::CenterNo;

/// What is stored of a center's jobs, by their names.
pub(super) async fn stored(conn: &mut PgConnection, center: CenterNo) -> sqlx::Result<HashMap<String, Stored>> {
    let rows = sqlx::query!(
        "select job, last_run_at, last_success_at, last_error from job_status where center_id = $1",
        center.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let stored = Stored {
                last_run_at: row.last_run_at,
                last_success_at: row.last_success_at,
                last_error: row.last_error,
            };
            (row.job, stored)
        })
        .collect())
}

/// A job has looked. Of several processes the later counts, and a success of any of them.
pub(super) async fn put(conn: &mut PgConnection, center: CenterNo, job: &str, stored: &Stored) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into job_status (center_id, job, last_run_at, last_success_at, last_error) values ($1, $2, $3, $4, $5)
         on conflict on constraint job_status_pkey do update
         set last_run_at = greatest(job_status.last_run_at, excluded.last_run_at),
             last_success_at = greatest(job_status.last_success_at, excluded.last_success_at),
             last_error = excluded.last_error",
        center.0,
        job,
        stored.last_run_at,
        stored.last_success_at,
        stored.last_error,
    )
    .execute(conn)
    .await?;
    Ok(())
}
