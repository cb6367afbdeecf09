//! The SQL of kits.

use std::collections::HashMap;

use sqlx::PgConnection;
use time::Date;

use super::{Kit, KitLine};
use crate::{
    db::decoding,
    ids::{AccountNo, CenterNo, DetaineeId, ProductId, Seq},
    ledger::Center,
    money::Amount,
};

/// What a kit is, if somebody has said.
pub(super) async fn kit(conn: &mut PgConnection, center: CenterNo) -> sqlx::Result<Option<Kit>> {
    let row = sqlx::query!(
        "select version, reason, changed_at, changed_by from kit where center_id = $1 order by version desc limit 1",
        center.0
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let rows = sqlx::query!(
        "select product_id, quantity from kit_line where center_id = $1 and version = $2 order by line",
        center.0,
        row.version,
    )
    .fetch_all(conn)
    .await?;
    let lines = rows.into_iter().map(|line| {
        Ok(KitLine {
            product: ProductId::parse(&line.product_id).map_err(decoding)?,
            quantity: u32::try_from(line.quantity).map_err(decoding)?,
        })
    });
    Ok(Some(Kit {
        version: row.version,
        lines: lines.collect::<sqlx::Result<_>>()?,
        changed: Some((row.changed_at, row.changed_by, row.reason)),
    }))
}

/// Writes a version down. The caller holds the journal's head.
pub(super) async fn insert_kit(conn: &mut PgConnection, center: CenterNo, kit: &Kit) -> sqlx::Result<()> {
    let Some((at, by, reason)) = &kit.changed else {
        return Ok(());
    };
    sqlx::query!(
        "insert into kit (center_id, version, reason, changed_at, changed_by) values ($1, $2, $3, $4, $5)",
        center.0,
        kit.version,
        reason,
        at,
        by,
    )
    .execute(&mut *conn)
    .await?;
    for (number, line) in (1_i16..).zip(&kit.lines) {
        sqlx::query!(
            "insert into kit_line (center_id, version, line, product_id, quantity) values ($1, $2, $3, $4, $5)",
            center.0,
            kit.version,
            number,
            line.product.as_str(),
            i32::try_from(line.quantity).map_err(decoding)?,
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// A detainee's last grant that was not taken back, and its business date.
pub(super) async fn last_grant(
    conn: &mut PgConnection,
    center: CenterNo,
    detainee: &DetaineeId,
) -> sqlx::Result<Option<(Seq, Date)>> {
    let row = sqlx::query!(
        "select g.seq, g.granted_on from kit_grant g
         left join kit_grant_cancelled c on c.center_id = g.center_id and c.grant_seq = g.seq
         where g.center_id = $1 and g.detainee_id = $2 and c.seq is null order by g.seq desc limit 1",
        center.0,
        detainee.as_str(),
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (Seq(row.seq), row.granted_on)))
}

pub(super) async fn insert_grant(
    conn: &mut PgConnection,
    center: CenterNo,
    seq: Seq,
    detainee: &DetaineeId,
    granted_on: Date,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into kit_grant (center_id, seq, detainee_id, granted_on) values ($1, $2, $3, $4)",
        center.0,
        seq.0,
        detainee.as_str(),
        granted_on,
    )
    .execute(conn)
    .await?;
    Ok(())
}

pub(super) async fn insert_cancelled(
    conn: &mut PgConnection,
    center: CenterNo,
    grant: Seq,
    seq: Seq,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into kit_grant_cancelled (center_id, grant_seq, seq) values ($1, $2, $3)",
        center.0,
        grant.0,
        seq.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Which of some grants were taken back, and by which transaction.
pub(super) async fn cancelled(
    conn: &mut PgConnection,
    center: CenterNo,
    grants: &[Seq],
) -> sqlx::Result<HashMap<Seq, Seq>> {
    let grants: Vec<i64> = grants.iter().map(|seq| seq.0).collect();
    let rows = sqlx::query!(
        "select grant_seq, seq from kit_grant_cancelled where center_id = $1 and grant_seq = any($2)",
        center.0,
        &grants,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (Seq(row.grant_seq), Seq(row.seq))).collect())
}

/// Up to `limit` grants before a number, latest first.
pub(super) async fn grants(
    conn: &mut PgConnection,
    center: CenterNo,
    detainee: Option<&DetaineeId>,
    before: Option<Seq>,
    limit: i64,
) -> sqlx::Result<Vec<Seq>> {
    let seqs = sqlx::query_scalar!(
        "select seq from kit_grant
         where center_id = $1 and ($2::text is null or detainee_id = $2) and seq < $3 order by seq desc limit $4",
        center.0,
        detainee.map(DetaineeId::as_str),
        before.map_or(i64::MAX, |seq| seq.0),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(seqs.into_iter().map(Seq).collect())
}

/// The most that was available after a transaction whenever something came in, and the last credit after it: a payment, money
/// without an order, or an advance. What comes back of a purchase or a refund is no credit.
pub(super) async fn came_in(
    conn: &mut PgConnection,
    center: &Center,
    accounts: [AccountNo; 3],
    since: Seq,
) -> sqlx::Result<(Option<Amount>, Option<Seq>)> {
    let [available, ..] = accounts;
    let numbers = accounts.map(|account| account.0);
    let row = sqlx::query!(
        "select max(p.credit_balance) filter (where p.credit = $4) as peak,
                max(p.seq) filter (where t.kind in ('CREDIT', 'UNMATCHED_CREDITED', 'DEBT_RECORDED')) as credit
         from posting p join journal_transaction t on t.center_id = p.center_id and t.seq = p.seq
         where p.center_id = $1 and p.credit = any($2) and p.seq > $3",
        center.no.0,
        &numbers,
        since.0,
        available.0,
    )
    .fetch_one(conn)
    .await?;
    let peak = row.peak.map(|peak| center.amount(peak)).transpose()?;
    Ok((peak, row.credit.map(Seq)))
}
