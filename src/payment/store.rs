//! All SQL of this domain.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::{Paying, PaymentFile, SentPayment};
use crate::{
    ids::{CenterNo, Seq},
    ledger::{Center, Moment},
    money::Amount,
    proto::{PaymentFacts, PaymentFileFacts},
    settlement::End,
};

/// The next number. The caller holds the journal's head.
pub(super) async fn next_number(conn: &mut PgConnection, center: CenterNo) -> sqlx::Result<i64> {
    let last = sqlx::query_scalar!(
        "select file_no from payment_file where center_id = $1 order by file_no desc limit 1",
        center.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(last.map_or(1, |last| last.saturating_add(1)))
}

pub(super) async fn insert_file(
    conn: &mut PgConnection,
    center: CenterNo,
    moment: Moment,
    facts: &PaymentFileFacts,
    sha256: &[u8],
    content: &[u8],
    total: Amount,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into payment_file (center_id, file_no, seq, format, file_name, sha256, content, count, total, made_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        center.0,
        facts.number,
        moment.seq.0,
        facts.format,
        facts.file_name,
        sha256,
        content,
        i32::try_from(facts.payments.len()).unwrap_or(i32::MAX),
        total.value(),
        moment.recorded_at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_sent(
    conn: &mut PgConnection,
    center: CenterNo,
    number: i64,
    line: i32,
    payment: &PaymentFacts,
) -> sqlx::Result<()> {
    if let Paying::Refund(refund) = Paying::of(payment) {
        sqlx::query!(
            "insert into refund_sent (center_id, seq, file_no, line_no, end_to_end_id) values ($1, $2, $3, $4, $5)",
            center.0,
            refund.0,
            number,
            line,
            payment.end_to_end_id,
        )
        .execute(conn)
        .await?;
        return Ok(());
    }
    sqlx::query!(
        "insert into settlement_sent (center_id, seq, file_no, line_no, end_to_end_id, account_version)
         values ($1, $2, $3, $4, $5, $6)",
        center.0,
        payment.settlement,
        number,
        line,
        payment.end_to_end_id,
        payment.account_version,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` files before a number, newest first.
pub(super) async fn files(
    conn: &mut PgConnection,
    center: &Center,
    before: i64,
    limit: i64,
) -> sqlx::Result<Vec<PaymentFile>> {
    let rows = sqlx::query!(
        "select file_no, seq, format, file_name, sha256, count, total, made_at from payment_file
         where center_id = $1 and file_no < $2 order by file_no desc limit $3",
        center.no.0,
        before,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(PaymentFile {
                number: row.file_no,
                seq: Seq(row.seq),
                format: row.format,
                name: row.file_name,
                sha256: row.sha256,
                count: row.count,
                total: center.amount(row.total)?,
                made_at: row.made_at,
            })
        })
        .collect()
}

pub(super) async fn number_of(conn: &mut PgConnection, center: CenterNo, seq: Seq) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar!(
        "select file_no from payment_file where center_id = $1 and seq = $2",
        center.0,
        seq.0,
    )
    .fetch_optional(conn)
    .await
}

pub(super) async fn content(conn: &mut PgConnection, center: CenterNo, number: i64) -> sqlx::Result<Option<Vec<u8>>> {
    sqlx::query_scalar!(
        "select content from payment_file where center_id = $1 and file_no = $2",
        center.0,
        number,
    )
    .fetch_optional(conn)
    .await
}

/// A file's payments, in its order.
pub(super) async fn payments(conn: &mut PgConnection, center: &Center, number: i64) -> sqlx::Result<Vec<SentPayment>> {
    sent(conn, center, Some(number), None).await
}

/// One payment, by what the bank's answers name it.
pub(super) async fn payment(
    conn: &mut PgConnection,
    center: &Center,
    end_to_end_id: &str,
) -> sqlx::Result<Option<SentPayment>> {
    let found = sent(conn, center, None, Some(end_to_end_id)).await?;
    Ok(found.into_iter().next())
}

async fn sent(
    conn: &mut PgConnection,
    center: &Center,
    number: Option<i64>,
    end_to_end_id: Option<&str>,
) -> sqlx::Result<Vec<SentPayment>> {
    let rows = sqlx::query!(
        r#"select f.seq as "seq!", false as "is_refund!", f.file_no as "file_no!", f.line_no as "line_no!",
                  f.end_to_end_id as "end_to_end_id!", f.account_version as "account_version!",
                  'vendors/' || s.vendor_id as "payee!", s.total as "amount!", e.state as "state?"
           from settlement_sent f
           join settlement s on s.center_id = f.center_id and s.seq = f.seq
           left join settlement_end e on e.center_id = f.center_id and e.seq = f.seq
           where f.center_id = $1 and ($2::bigint is null or f.file_no = $2) and ($3::text is null or f.end_to_end_id = $3)
           union all
           select f.seq, true, f.file_no, f.line_no, f.end_to_end_id, p.account_version, p.owner, r.amount,
                  case l.state when 'SUCCEEDED' then 'PAID' else l.state end
           from refund_sent f
           join refund_payout p on p.center_id = f.center_id and p.seq = f.seq
           join refund r on r.center_id = f.center_id and r.seq = f.seq
           left join refund_leg l on l.center_id = f.center_id and l.seq = f.seq and l.end_seq is not null
           where f.center_id = $1 and ($2::bigint is null or f.file_no = $2) and ($3::text is null or f.end_to_end_id = $3)
           order by 4"#,
        center.no.0,
        number,
        end_to_end_id,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(SentPayment {
                paying: if row.is_refund {
                    Paying::Refund(Seq(row.seq))
                } else {
                    Paying::Settlement(Seq(row.seq))
                },
                file: row.file_no,
                payee: row.payee,
                amount: center.amount(row.amount)?,
                end_to_end_id: row.end_to_end_id,
                account_version: row.account_version,
                end: row.state.as_deref().and_then(End::from_name),
            })
        })
        .collect()
}

/// Keeps what the bank sent; its number, and whether it was not there before. The caller holds the journal's head.
pub(super) async fn insert_message(
    conn: &mut PgConnection,
    center: CenterNo,
    kind: &str,
    content: &[u8],
    sha256: &[u8],
    at: OffsetDateTime,
    by: &str,
) -> sqlx::Result<(i64, bool)> {
    let inserted = sqlx::query_scalar!(
        "insert into bank_message (center_id, message_no, kind, sha256, content, received_at, received_by)
         values ($1, (select coalesce(max(message_no), 0) + 1 from bank_message where center_id = $1), $2, $3, $4, $5, $6)
         on conflict (center_id, kind, sha256) do nothing returning message_no",
        center.0,
        kind,
        sha256,
        content,
        at,
        by,
    )
    .fetch_optional(&mut *conn)
    .await?;
    if let Some(no) = inserted {
        return Ok((no, true));
    }
    let kept = sqlx::query_scalar!(
        "select message_no from bank_message where center_id = $1 and kind = $2 and sha256 = $3",
        center.0,
        kind,
        sha256,
    )
    .fetch_one(conn)
    .await?;
    Ok((kept, false))
}
