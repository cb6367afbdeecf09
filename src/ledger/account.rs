//! Opening and finding accounts. An account never changes once it is open; only its balance does.

use std::collections::HashMap;

use rust_decimal::Decimal;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

use crate::{
    ids::{AccountNo, CenterNo},
    ledger::{Code, center},
};

/// An account of the chart, with the one it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its number in the center.
    pub no: AccountNo,
    /// What it is for.
    pub code: Code,
    /// Whose it is: `detainees/D1`, `vendors/V1`, `channels/webhook`, or empty for the center's own.
    pub owner: String,
}

impl Account {
    /// What people call it, for example `vendor payable V1`; the center's own accounts have no owner to name.
    pub fn title(&self) -> String {
        let title = self.code.account_title();
        match self.owner.split_once('/') {
            Some((_, id)) => format!("{title} {id}"),
            None => title.to_owned(),
        }
    }
}

/// Those of some accounts that exist, by number.
pub async fn by_number(
    db: impl PgExecutor<'_>,
    center: CenterNo,
    numbers: &[AccountNo],
) -> sqlx::Result<HashMap<AccountNo, Account>> {
    let numbers: Vec<i32> = numbers.iter().map(|no| no.0).collect();
    let rows = sqlx::query!(
        "select account_no, code, owner from account where center_id = $1 and account_no = any($2)",
        center.0,
        &numbers,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| Ok((AccountNo(row.account_no), stored(row.account_no, row.code, row.owner)?)))
        .collect()
}

/// Reads what is stored of an account.
pub(super) fn stored(no: i32, code: i16, owner: String) -> sqlx::Result<Account> {
    let found = Code::from_number(code);
    let code = found.ok_or_else(|| sqlx::Error::Decode(format!("unknown account code {code}").into()))?;
    Ok(Account {
        no: AccountNo(no),
        code,
        owner,
    })
}

/// Opens accounts of one owner under consecutive numbers and returns the first. The caller commits.
pub async fn open_in_tx(
    conn: &mut PgConnection,
    center: CenterNo,
    codes: &[Code],
    owner: &str,
    at: OffsetDateTime,
) -> sqlx::Result<AccountNo> {
    let count = i32::try_from(codes.len()).map_err(|_| sqlx::Error::Protocol("too many accounts at once".into()))?;
    let first = center::take_account_numbers_in_tx(conn, center, count).await?;
    let accounts: Vec<_> = (0..)
        .zip(codes)
        .map(|(offset, code)| (first.offset(offset), *code))
        .collect();
    insert_in_tx(conn, center, &accounts, owner, at).await?;
    Ok(first)
}

/// Finds an account by what it is for and whose it is.
pub async fn find(
    db: impl PgExecutor<'_>,
    center: CenterNo,
    code: Code,
    owner: &str,
) -> sqlx::Result<Option<AccountNo>> {
    let no = sqlx::query_scalar!(
        "select account_no from account where center_id = $1 and code = $2 and owner = $3",
        center.0,
        code.number(),
        owner,
    )
    .fetch_optional(db)
    .await?;
    Ok(no.map(AccountNo))
}

/// Finds an account or opens it. The caller commits; two at once end in one account because opening locks the head.
pub async fn find_or_open_in_tx(
    conn: &mut PgConnection,
    center: CenterNo,
    code: Code,
    owner: &str,
    at: OffsetDateTime,
) -> sqlx::Result<AccountNo> {
    center::touch_rules_in_tx(conn, center).await?;
    match find(&mut *conn, center, code, owner).await? {
        Some(no) => Ok(no),
        None => open_in_tx(conn, center, &[code], owner, at).await,
    }
}

/// Writes accounts of one owner down, under numbers that the caller has taken.
pub(super) async fn insert_in_tx(
    conn: &mut PgConnection,
    center: CenterNo,
    accounts: &[(AccountNo, Code)],
    owner: &str,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    let numbers: Vec<i32> = accounts.iter().map(|(no, _)| no.0).collect();
    let codes: Vec<i16> = accounts.iter().map(|(_, code)| code.number()).collect();
    sqlx::query!(
        "insert into account (center_id, account_no, code, owner, opened_at)
         select $1, a.*, $4, $5 from unnest($2::integer[], $3::smallint[]) a",
        center.0,
        &numbers,
        &codes,
        owner,
        at,
    )
    .execute(&mut *conn)
    .await?;
    let floors: Vec<Option<Decimal>> = accounts
        .iter()
        .map(|(_, code)| code.never_negative().then_some(Decimal::ZERO))
        .collect();
    sqlx::query!(
        "insert into account_balance (center_id, account_no, balance, floor)
         select $1, b.no, 0, b.floor from unnest($2::integer[], $3::numeric[]) b (no, floor)",
        center.0,
        &numbers,
        &floors as &[Option<Decimal>],
    )
    .execute(conn)
    .await?;
    Ok(())
}
