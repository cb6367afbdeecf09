//! All SQL of kept notifications, and the rows that credits add to the lanes' statement.

use sqlx::{Arguments as _, PgConnection, error::BoxDynError, postgres::PgArguments};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Delivery, Effect, KeptNotification, Verdict};
use crate::{ids::CenterNo, ledger::RowSet};

/// Up to `limit` deliveries before one, the latest first.
pub(in super::super) async fn list(
    conn: &mut PgConnection,
    center: CenterNo,
    before: Option<Uuid>,
    limit: i64,
) -> sqlx::Result<Vec<KeptNotification>> {
    sqlx::query_as!(
        KeptNotification,
        "select delivery_id as id, channel, received_at, digest, body_bytes, headers, verdict, reason, effect, subject, seq
         from notification where center_id = $1 and delivery_id < $2 order by delivery_id desc limit $3",
        center.0,
        before.unwrap_or(Uuid::max()),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Keeps a delivery, once.
pub(in super::super) async fn insert(
    conn: &mut PgConnection,
    center: CenterNo,
    delivery: &Delivery,
    verdict: &Verdict,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into notification (center_id, delivery_id, channel, received_at, digest, body_bytes, headers, verdict, reason,
                                   effect, subject, seq)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) on conflict (center_id, delivery_id) do nothing",
        center.0,
        delivery.id,
        delivery.channel,
        delivery.received_at,
        delivery.digest,
        delivery.body_bytes,
        delivery.headers,
        verdict.name,
        verdict.reason,
        verdict.effect.name(),
        verdict.subject,
        verdict.effect.seq(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Rows of `notification` that credits add: those that move money.
#[derive(Default)]
pub(in super::super) struct NotificationRows(Vec<(Delivery, Verdict)>);

impl NotificationRows {
    pub fn push(&mut self, delivery: &Delivery, effect: Effect, subject: &str) {
        self.0.push((delivery.clone(), Verdict::believed(effect, subject)));
    }
}

impl RowSet for NotificationRows {
    const NAME: &'static str = "notification";
    const SQL: &'static str = "\
        insert into notification (center_id, delivery_id, channel, received_at, digest, body_bytes, headers, effect, subject, seq,
                                  verdict, reason)
        select n.*, 'BELIEVED', '' from unnest($1::integer[], $2::uuid[], $3::text[], $4::timestamptz[], $5::bytea[],
            $6::integer[], $7::text[], $8::text[], $9::text[], $10::bigint[]) n (center_id)
        where n.center_id in (select center_id from guard)";
    const PARAMS: usize = 9;

    fn count(&self) -> usize {
        self.0.len()
    }

    fn bind(sets: &[&NotificationRows], args: &mut PgArguments) -> Result<(), BoxDynError> {
        let rows = || sets.iter().flat_map(|set| &set.0);
        args.add(rows().map(|(row, _)| row.id).collect::<Vec<Uuid>>())?;
        args.add(rows().map(|(row, _)| row.channel.as_str()).collect::<Vec<&str>>())?;
        args.add(rows().map(|(row, _)| row.received_at).collect::<Vec<OffsetDateTime>>())?;
        args.add(rows().map(|(row, _)| row.digest.as_slice()).collect::<Vec<&[u8]>>())?;
        args.add(rows().map(|(row, _)| row.body_bytes).collect::<Vec<i32>>())?;
        args.add(rows().map(|(row, _)| row.headers.as_str()).collect::<Vec<&str>>())?;
        args.add(rows().map(|(_, made)| made.effect.name()).collect::<Vec<&str>>())?;
        args.add(rows().map(|(_, made)| made.subject.as_str()).collect::<Vec<&str>>())?;
        args.add(rows().map(|(_, made)| made.effect.seq()).collect::<Vec<Option<i64>>>())
    }
}
