//! All SQL of this domain.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::BankAccount;
use crate::ids::{CenterNo, RequestId};

/// An account as it is asked for.
pub(super) struct NewAccount<'a> {
    pub holder: &'a str,
    pub masked: &'a str,
    /// The key's id, and what it sealed.
    pub sealed: (&'a str, &'a [u8]),
    pub bank_code: &'a str,
    pub bank_name: &'a str,
}

pub(super) async fn insert_asked(
    conn: &mut PgConnection,
    center: CenterNo,
    request: RequestId,
    owner: &str,
    account: &NewAccount<'_>,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into bank_account_asked (center_id, request_id, owner, holder, masked, key_id, sealed, bank_code, bank_name, asked_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        center.0,
        request.0,
        owner,
        account.holder,
        account.masked,
        account.sealed.0,
        account.sealed.1,
        account.bank_code,
        account.bank_name,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes an account its owner's latest, unless its approval did so before. The caller holds the journal's head.
pub(super) async fn insert_account(
    conn: &mut PgConnection,
    center: CenterNo,
    owner: &str,
    request: RequestId,
    approval: i64,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into bank_account (center_id, owner, version, request_id, approval_no, approved_at)
         values ($1, $2, (select coalesce(max(version), 0) + 1 from bank_account where center_id = $1 and owner = $2), $3, $4, $5)
         on conflict (center_id, approval_no) do nothing",
        center.0,
        owner,
        request.0,
        approval,
        at,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// An owner's accounts, the latest first, or one version.
pub(super) async fn accounts(
    conn: &mut PgConnection,
    center: CenterNo,
    owner: &str,
    version: Option<i64>,
) -> sqlx::Result<Vec<BankAccount>> {
    sqlx::query_as!(
        BankAccount,
        "select b.version, a.holder, a.masked, a.bank_code, a.bank_name, b.approval_no as approval, b.approved_at
         from bank_account b
         join bank_account_asked a on a.center_id = b.center_id and a.request_id = b.request_id
         where b.center_id = $1 and b.owner = $2 and ($3::bigint is null or b.version = $3)
         order by b.version desc limit 100",
        center.0,
        owner,
        version,
    )
    .fetch_all(conn)
    .await
}

/// A sealed number and what stands beside it.
pub(super) struct SealedAccount {
    pub holder: String,
    pub bank_code: String,
    pub bank_name: String,
    pub key_id: String,
    pub bytes: Vec<u8>,
}

pub(super) async fn sealed(
    conn: &mut PgConnection,
    center: CenterNo,
    owner: &str,
    version: i64,
) -> sqlx::Result<Option<SealedAccount>> {
    sqlx::query_as!(
        SealedAccount,
        "select a.holder, a.bank_code, a.bank_name, a.key_id, a.sealed as bytes
         from bank_account b
         join bank_account_asked a on a.center_id = b.center_id and a.request_id = b.request_id
         where b.center_id = $1 and b.owner = $2 and b.version = $3",
        center.0,
        owner,
        version,
    )
    .fetch_optional(conn)
    .await
}

/// An account with what was asked for and who verified it, for verification.
pub(super) struct Verified {
    pub owner: String,
    pub asked_owner: String,
    pub version: i64,
    pub request_id: uuid::Uuid,
    pub approval_no: i64,
    pub holder: String,
    pub masked: String,
    pub bank_code: String,
    pub bank_name: String,
}

/// All accounts of a center in the order of owners and versions, for verification.
pub(super) async fn verified(conn: &mut PgConnection, center: CenterNo) -> sqlx::Result<Vec<Verified>> {
    sqlx::query_as!(
        Verified,
        "select b.owner, a.owner as asked_owner, b.version, b.request_id, b.approval_no, a.holder, a.masked, a.bank_code, a.bank_name
         from bank_account b
         join bank_account_asked a on a.center_id = b.center_id and a.request_id = b.request_id
         where b.center_id = $1 order by b.owner, b.version",
        center.0,
    )
    .fetch_all(conn)
    .await
}
