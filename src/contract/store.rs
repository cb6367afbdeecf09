//! All SQL of this domain.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::entity::{Account, Terms, VendorAccount, effective_at};
use crate::ids::{CenterNo, RequestId, VendorId};

/// The terms that hold.
pub(super) async fn terms_in_force(
    conn: &mut PgConnection,
    center: CenterNo,
    vendor: &VendorId,
) -> sqlx::Result<Terms> {
    let latest = terms(conn, center, vendor, None, 1).await?;
    Ok(latest.into_iter().next().unwrap_or_else(Terms::none))
}

/// Up to `limit` terms before a version, newest first.
pub(super) async fn terms(
    conn: &mut PgConnection,
    center: CenterNo,
    vendor: &VendorId,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<Terms>> {
    let rows = sqlx::query!(
        "select version, commission_percent, cycle_days, changed_at, changed_by from vendor_terms
         where center_id = $1 and vendor_id = $2 and version < $3 order by version desc limit $4",
        center.0,
        vendor.as_str(),
        before.unwrap_or(i64::MAX),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Terms {
            version: row.version,
            commission_percent: row.commission_percent,
            cycle_days: row.cycle_days,
            changed: Some((row.changed_at, row.changed_by)),
        })
        .collect())
}

/// Writes terms down. The caller holds the journal's head.
pub(super) async fn insert_terms(
    conn: &mut PgConnection,
    center: CenterNo,
    vendor: &VendorId,
    terms: &Terms,
) -> sqlx::Result<()> {
    let Some((changed_at, changed_by)) = &terms.changed else {
        return Ok(());
    };
    sqlx::query!(
        "insert into vendor_terms (center_id, vendor_id, version, commission_percent, cycle_days, changed_at, changed_by)
         values ($1, $2, $3, $4, $5, $6, $7)",
        center.0,
        vendor.as_str(),
        terms.version,
        terms.commission_percent,
        terms.cycle_days,
        changed_at,
        changed_by,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An account that was asked for, and the vendor it is for.
pub(super) struct Asked {
    pub vendor: String,
    pub account: Account,
}

/// The account that a request asked for.
pub(super) async fn asked(
    conn: &mut PgConnection,
    center: CenterNo,
    request: RequestId,
) -> sqlx::Result<Option<Asked>> {
    let row = sqlx::query!(
        "select vendor_id, holder, number, bank_code, bank_name from vendor_account_asked
         where center_id = $1 and request_id = $2",
        center.0,
        request.0,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| Asked {
        vendor: row.vendor_id,
        account: Account {
            holder: row.holder,
            number: row.number,
            bank_code: row.bank_code,
            bank_name: row.bank_name,
        },
    }))
}

pub(super) async fn insert_asked(
    conn: &mut PgConnection,
    center: CenterNo,
    request: RequestId,
    vendor: &VendorId,
    account: &Account,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into vendor_account_asked (center_id, request_id, vendor_id, holder, number, bank_code, bank_name, asked_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
        center.0,
        request.0,
        vendor.as_str(),
        account.holder,
        account.number,
        account.bank_code,
        account.bank_name,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes an account the vendor's next, unless its approval did so before. The caller holds the journal's head.
pub(super) async fn insert_account(
    conn: &mut PgConnection,
    center: CenterNo,
    vendor: &VendorId,
    request: RequestId,
    approval: i64,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    let latest = accounts(conn, center, vendor, None, 1).await?;
    let version = latest.first().map_or(1, |latest| latest.version.saturating_add(1));
    sqlx::query!(
        "insert into vendor_account (center_id, vendor_id, version, request_id, approval_no, approved_at, effective_at)
         values ($1, $2, $3, $4, $5, $6, $7) on conflict (center_id, approval_no) do nothing",
        center.0,
        vendor.as_str(),
        version,
        request.0,
        approval,
        at,
        effective_at(version, at),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Up to `limit` accounts before a version, newest first.
pub(super) async fn accounts(
    conn: &mut PgConnection,
    center: CenterNo,
    vendor: &VendorId,
    before: Option<i64>,
    limit: i64,
) -> sqlx::Result<Vec<VendorAccount>> {
    let rows = sqlx::query!(
        "select v.version, v.approval_no, v.approved_at, v.effective_at, a.holder, a.number, a.bank_code, a.bank_name
         from vendor_account v
         join vendor_account_asked a on a.center_id = v.center_id and a.request_id = v.request_id
         where v.center_id = $1 and v.vendor_id = $2 and v.version < $3 order by v.version desc limit $4",
        center.0,
        vendor.as_str(),
        before.unwrap_or(i64::MAX),
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| VendorAccount {
            version: row.version,
            account: Account {
                holder: row.holder,
                number: row.number,
                bank_code: row.bank_code,
                bank_name: row.bank_name,
            },
            approval: row.approval_no,
            approved_at: row.approved_at,
            effective_at: row.effective_at,
        })
        .collect())
}

/// An account that was allowed, for verification.
pub(super) struct Allowed {
    pub vendor: String,
    pub version: i64,
    pub request: RequestId,
    pub approval: i64,
    pub approved_at: OffsetDateTime,
    pub effective_at: OffsetDateTime,
}

/// Up to `limit` accounts of all vendors after a vendor and version, in order, for verification.
pub(super) async fn allowed_after(
    conn: &mut PgConnection,
    center: CenterNo,
    after: (&str, i64),
    limit: i64,
) -> sqlx::Result<Vec<Allowed>> {
    let rows = sqlx::query!(
        "select vendor_id, version, request_id, approval_no, approved_at, effective_at from vendor_account
         where center_id = $1 and (vendor_id, version) > ($2, $3) order by vendor_id, version limit $4",
        center.0,
        after.0,
        after.1,
        limit,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Allowed {
            vendor: row.vendor_id,
            version: row.version,
            request: RequestId(row.request_id),
            approval: row.approval_no,
            approved_at: row.approved_at,
            effective_at: row.effective_at,
        })
        .collect())
}

/// The first vendor whose terms or accounts are not numbered 1, 2, 3 …, for verification.
pub(super) async fn first_with_a_hole(conn: &mut PgConnection, center: CenterNo) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        r#"select vendor_id as "vendor_id!" from
             (select vendor_id, max(version) as last, count(*) as count from vendor_terms where center_id = $1 group by 1
              union all
              select vendor_id, max(version), count(*) from vendor_account where center_id = $1 group by 1) v
           where last <> count order by 1 limit 1"#,
        center.0,
    )
    .fetch_optional(conn)
    .await
}
