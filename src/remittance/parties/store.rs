//! SQL about the payments of one payer and for one detainee.

use std::collections::HashMap;

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::{
    db::decoding,
    ids::{CenterNo, DetaineeId, PayerId, RemittanceId},
    ledger::Center,
    remittance::screening::{Accepted, Open},
};

/// What is payable for some detainees, or held for review. Some of it may have expired since the last transaction.
pub(super) async fn open_for(
    conn: &mut PgConnection,
    center: &Center,
    detainees: &[DetaineeId],
) -> sqlx::Result<HashMap<String, Vec<Open>>> {
    let ids: Vec<&str> = detainees.iter().map(DetaineeId::as_str).collect();
    let rows = sqlx::query!(
        r#"select r.detainee_id as "detainee_id!", r.remittance_id as "remittance_id!", r.amount as "amount!",
                  r.expires_at as "until?"
           from unnest($2::text[]) k (detainee_id),
                lateral (select * from remittance where center_id = $1 and detainee_id = k.detainee_id
                         and expires_at > (select recorded_at from journal_head where center_id = $1) offset 0) r
           where not exists (select from remittance_leg l where l.center_id = r.center_id
                             and l.remittance_id = r.remittance_id and l.state in ('FAILED', 'EXPIRED', 'CANCELLED', 'PAID'))
           union all
           select r.detainee_id, r.remittance_id, r.amount, null
           from payment_return q
           join remittance r on r.center_id = q.center_id and r.remittance_id = q.remittance_id
           join remittance_leg h on h.center_id = q.center_id and h.remittance_id = q.remittance_id
               and h.state = 'HELD' and h.seq = q.payment_seq
           where q.center_id = $1 and r.detainee_id = any($2)
             and not exists (select from remittance_leg l where l.center_id = r.center_id
                             and l.remittance_id = r.remittance_id and l.state in ('REJECTED', 'RELEASED'))"#,
        center.no.0,
        &ids as &[&str],
    )
    .fetch_all(conn)
    .await?;
    let mut found: HashMap<String, Vec<Open>> = HashMap::new();
    for row in rows {
        found.entry(row.detainee_id).or_default().push(Open {
            remittance: RemittanceId::parse(&row.remittance_id).map_err(decoding)?,
            amount: center.amount(row.amount)?,
            until: row.until,
        });
    }
    Ok(found)
}

/// The payments of some payers, and for some detainees, that were ordered of late and accepted. Of late is within two months of
/// the last transaction: more than any window of screening, and any month.
pub(super) async fn accepted(
    conn: &mut PgConnection,
    center: CenterNo,
    payers: &[PayerId],
    detainees: &[DetaineeId],
) -> sqlx::Result<Vec<Accepted>> {
    let payers: Vec<&str> = payers.iter().map(PayerId::as_str).collect();
    let detainees: Vec<&str> = detainees.iter().map(DetaineeId::as_str).collect();
    sqlx::query!(
        r#"with late as (
               select recorded_at - interval '62 days' as since from journal_head where center_id = $1),
           lately as (
               select r.* from unnest($2::text[]) k (payer_id), lateral (
                   select payer_id, detainee_id, remittance_id, created_at from remittance
                   where center_id = $1 and payer_id = k.payer_id and created_at >= (select since from late) offset 0) r
               union
               select r.* from unnest($3::text[]) k (detainee_id), lateral (
                   select payer_id, detainee_id, remittance_id, created_at from remittance
                   where center_id = $1 and detainee_id = k.detainee_id and created_at >= (select since from late) offset 0) r)
           select payer_id as "payer_id!", detainee_id as "detainee_id!", remittance_id as "remittance_id!",
                  created_at as "created_at!"
           from lately
           where exists (select from remittance_leg l where l.center_id = $1 and l.remittance_id = lately.remittance_id
                         and l.state in ('CREDITED', 'HELD'))
             and not exists (select from remittance_leg l where l.center_id = $1 and l.remittance_id = lately.remittance_id
                             and l.state = 'REJECTED')"#,
        center.0,
        &payers as &[&str],
        &detainees as &[&str],
    )
    .fetch_all(conn)
    .await?
    .into_iter()
    .map(|row| {
        Ok(Accepted {
            remittance: RemittanceId::parse(&row.remittance_id).map_err(decoding)?,
            payer: PayerId::parse(&row.payer_id).map_err(decoding)?,
            detainee: DetaineeId::parse(&row.detainee_id).map_err(decoding)?,
            ordered_at: row.created_at,
        })
    })
    .collect()
}

/// How many orders of a payer can still be paid.
pub(super) async fn open_of_payer(
    conn: &mut PgConnection,
    center: CenterNo,
    payer: &PayerId,
    now: OffsetDateTime,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from remittance r
           where r.center_id = $1 and r.payer_id = $2 and r.expires_at > $3
             and r.created_at >= (select recorded_at - interval '62 days' from journal_head where center_id = $1)
             and not exists (select from remittance_leg l where l.center_id = r.center_id
                             and l.remittance_id = r.remittance_id and l.state in ('FAILED', 'EXPIRED', 'CANCELLED', 'PAID'))"#,
        center.0,
        payer.as_str(),
        now,
    )
    .fetch_one(conn)
    .await
}
