//! Requests that moved nothing: nothing but themselves tells of them, so they are checked for being possible.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Place, VerifyError};
use crate::ledger::{Center, Reason, record};

/// Refused requests read at once.
const PAGE: i64 = 1000;

/// Every such request's outcome can be read, was decided after a transaction that is there, and was not carried out, too.
pub(super) async fn check(conn: &mut PgConnection, center: &Center, head: i64) -> Result<(), VerifyError> {
    let mut after = Uuid::nil();
    loop {
        let rows = sqlx::query!(
            r#"select r.request_id, r.method, r.actor, r.refusal, r.resource, r.after_seq, t.seq as "seq?",
                      coalesce(before.recorded_at < r.recorded_at, true) as "is_later!"
               from refused_request r
               left join journal_transaction t on t.center_id = r.center_id and t.request_id = r.request_id
               left join journal_transaction before on before.center_id = r.center_id and before.seq = r.after_seq
               where r.center_id = $1 and r.request_id > $2 order by r.request_id limit $3"#,
            center.no.0,
            after,
            PAGE,
        )
        .fetch_all(&mut *conn)
        .await?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.request_id;
        for row in rows {
            let is_readable = match (&row.refusal, &row.resource) {
                (Some(bytes), None) => record::decode_refusal(bytes)
                    .is_ok_and(|told| told.reason() != Reason::Unspecified && record::encode_refusal(&told) == *bytes),
                (None, Some(resource)) => !resource.is_empty(),
                _ => false,
            };
            let wrong = if let Some(seq) = row.seq {
                format!("was carried out by transaction {seq}, too")
            } else if !is_readable {
                "its outcome cannot be read".into()
            } else if row.method.is_empty() || row.actor.is_empty() {
                "it does not say what was asked for by whom".into()
            } else if !(0..=head).contains(&row.after_seq) || !row.is_later {
                format!("was decided after transaction {}, which cannot be", row.after_seq)
            } else {
                continue;
            };
            return Err(VerifyError::Differs {
                center: center.id.to_string(),
                place: Place::Row {
                    table: "refused_request",
                    key: row.request_id.to_string(),
                },
                what: wrong,
            });
        }
    }
}
