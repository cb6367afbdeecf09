//! All SQL of refunds that the bank pays.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::payouts::Payout;
use crate::{
    ids::{CenterNo, RemittanceId, Seq},
    ledger::Center,
    money::Amount,
};

/// How many refunds of a remittance went to its gateway and did not fail, and how many failed.
pub(super) async fn attempts(
    conn: &mut PgConnection,
    center: CenterNo,
    remittance: &RemittanceId,
    channel: &str,
) -> sqlx::Result<(i64, i64)> {
    let row = sqlx::query!(
        r#"select count(*) filter (where f.seq is null) as "parts!", count(f.seq) as "failed!"
           from refund r
           left join refund_leg f on f.center_id = r.center_id and f.seq = r.seq and f.state = 'FAILED'
           where r.center_id = $1 and r.remittance_id = $2 and r.channel = $3"#,
        center.0,
        remittance.as_str(),
        channel,
    )
    .fetch_one(conn)
    .await?;
    Ok((row.parts, row.failed))
}

/// Who paid a remittance.
pub(super) async fn payer_of(
    conn: &mut PgConnection,
    center: CenterNo,
    remittance: &RemittanceId,
) -> sqlx::Result<String> {
    sqlx::query_scalar!(
        "select payer_id from remittance where center_id = $1 and remittance_id = $2",
        center.0,
        remittance.as_str(),
    )
    .fetch_one(conn)
    .await
}

/// Writes down to which account the bank pays a refund.
pub(in crate::refund) async fn insert_payout(
    conn: &mut PgConnection,
    center: CenterNo,
    refund: Seq,
    (owner, account_version): (&str, i64),
    approval: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into refund_payout (center_id, seq, owner, account_version, approval_no) values ($1, $2, $3, $4, $5)",
        center.0,
        refund.0,
        owner,
        account_version,
        approval,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_redirect_paid(
    conn: &mut PgConnection,
    center: CenterNo,
    refund: Seq,
    paid: Seq,
    gateway_refund: &str,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into refund_redirect_paid (center_id, seq, paid_seq, gateway_refund, paid_at) values ($1, $2, $3, $4, $5)",
        center.0,
        refund.0,
        paid.0,
        gateway_refund,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The transaction by which the gateway has paid a redirected refund to the center.
pub(in crate::refund) async fn redirect_paid(
    conn: &mut PgConnection,
    center: CenterNo,
    refund: Seq,
) -> sqlx::Result<Option<Seq>> {
    let seq = sqlx::query_scalar!(
        "select paid_seq from refund_redirect_paid where center_id = $1 and seq = $2",
        center.0,
        refund.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(seq.map(Seq))
}

/// Whether the bank has to pay a refund.
pub(in crate::refund) async fn is_payable(
    conn: &mut PgConnection,
    center: CenterNo,
    refund: Seq,
) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
               select from refund_payout p
               join refund r on r.center_id = p.center_id and r.seq = p.seq
               left join refund_redirect_paid d on d.center_id = p.center_id and d.seq = p.seq
               where p.center_id = $1 and p.seq = $2 and (r.channel = 'bank' or d.seq is not null)) as "is!""#,
        center.0,
        refund.0,
    )
    .fetch_one(conn)
    .await
}

/// By what the bank's answers name a refund, if it stands in a file.
pub(in crate::refund) async fn sent_as(
    conn: &mut PgConnection,
    center: CenterNo,
    refund: Seq,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        "select end_to_end_id from refund_sent where center_id = $1 and seq = $2",
        center.0,
        refund.0,
    )
    .fetch_optional(conn)
    .await
}

/// Who else allowed that a refund in a file was taken back.
pub(in crate::refund) async fn insert_failure(
    conn: &mut PgConnection,
    center: CenterNo,
    end_to_end_id: &str,
    approval: i64,
    end: Seq,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into payment_failure (center_id, end_to_end_id, approval_no, end_seq) values ($1, $2, $3, $4)",
        center.0,
        end_to_end_id,
        approval,
        end.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn waiting(conn: &mut PgConnection, center: &Center, limit: i64) -> sqlx::Result<Vec<Payout>> {
    let rows = sqlx::query!(
        "select p.seq, p.owner, p.account_version, p.approval_no, r.amount
         from refund_payout p
         join refund r on r.center_id = p.center_id and r.seq = p.seq
         join refund_open o on o.center_id = p.center_id and o.seq = p.seq
         left join refund_sent s on s.center_id = p.center_id and s.seq = p.seq
         left join refund_redirect_paid d on d.center_id = p.center_id and d.seq = p.seq
         where p.center_id = $1 and s.seq is null and (r.channel = 'bank' or d.seq is not null)
         order by p.seq limit $2",
        center.no.0,
        limit,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Payout {
                refund: Seq(row.seq),
                owner: row.owner,
                account_version: row.account_version,
                approval: row.approval_no,
                amount: center.amount(row.amount)?,
            })
        })
        .collect()
}

pub(super) async fn in_transit(conn: &mut PgConnection, center: &Center) -> sqlx::Result<Amount> {
    let sum = sqlx::query_scalar!(
        r#"select coalesce(sum(r.amount), 0) as "sum!"
           from refund_open o join refund r on r.center_id = o.center_id and r.seq = o.seq
           where o.center_id = $1"#,
        center.no.0,
    )
    .fetch_one(conn)
    .await?;
    center.amount(sum)
}
