//! Links of one booking that follow to another: both are the same person.

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::ids::{CenterNo, DetaineeId};

/// Why such a link is there.
const REASON: &str = "the person was booked twice";

/// Links every payer with an approved link to one booking to the other, too, unless something was said of that link before; how
/// many. The caller holds the journal's head and commits.
pub async fn follow_in_tx(
    conn: &mut PgConnection,
    center: CenterNo,
    (from, into): (&DetaineeId, &DetaineeId),
    actor: &str,
    at: OffsetDateTime,
) -> sqlx::Result<u64> {
    let linked = sqlx::query!(
        "with last as (
             select distinct on (payer_id) payer_id, state from payer_link_leg
             where center_id = $1 and detainee_id = $2 order by payer_id, position desc
         ), told as (
             select distinct on (payer_id) payer_id, relationship from payer_link_leg
             where center_id = $1 and detainee_id = $2 and relationship is not null order by payer_id, position desc
         ), linked as (
             insert into payer_link (center_id, payer_id, detainee_id, created_at)
             select $1, last.payer_id, $3, $5 from last
             where last.state in ('APPROVED', 'GRANTED')
               and not exists (select from payer_link o
                               where o.center_id = $1 and o.payer_id = last.payer_id and o.detainee_id = $3)
             returning payer_id
         )
         insert into payer_link_leg (center_id, payer_id, detainee_id, position, state, actor, at, reason, relationship)
         select $1, linked.payer_id, $3, 1, 'GRANTED', $4, $5, $6, told.relationship
         from linked join told on told.payer_id = linked.payer_id",
        center.0,
        from.as_str(),
        into.as_str(),
        actor,
        at,
        REASON,
    )
    .execute(conn)
    .await?;
    Ok(linked.rows_affected())
}
