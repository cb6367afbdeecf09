//! What never changes about a center: its number, currency and time zone; and its journal's head.

use rust_decimal::Decimal;
use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::{
    clock::Zone,
    db::decoding,
    ids::{AccountNo, CenterId, CenterNo, Seq},
    ledger::{account, chart},
    money::{Amount, Currency},
};

/// A center as the ledger knows it.
#[derive(Debug, Clone)]
pub struct Center {
    /// Its number, the first column of every key.
    pub no: CenterNo,
    /// Its id on the wire.
    pub id: CenterId,
    /// The one currency of its journal.
    pub currency: Currency,
    /// The zone of its business dates.
    pub zone: Zone,
}

impl Center {
    /// Reads a stored amount.
    pub fn amount(&self, value: Decimal) -> sqlx::Result<Amount> {
        Amount::from_decimal(value, self.currency).map_err(decoding)
    }
}

/// Where a center's journal stands.
#[derive(Debug, Clone, Copy)]
pub struct Head {
    /// The last transaction's number.
    pub seq: Seq,
    /// Moves whenever what decisions read changes.
    pub rules_version: i64,
    /// When the last transaction was recorded.
    pub recorded_at: OffsetDateTime,
}

/// What is told when a new center's journal is opened.
pub struct NewCenter<'a> {
    /// Its id on the wire.
    pub id: &'a CenterId,
    /// Its name in English.
    pub name: &'a str,
    /// Its name in Chinese.
    pub name_zh: &'a str,
    /// The name of its time zone.
    pub time_zone: &'a str,
    /// Its currency.
    pub currency: Currency,
    /// Now.
    pub at: OffsetDateTime,
}

/// Opens a center with an empty journal and its own accounts. The caller holds the transaction and commits; a unique
/// violation of `center_code_unique` says that the id is taken.
pub async fn open_in_tx(conn: &mut PgConnection, new: NewCenter<'_>) -> sqlx::Result<CenterNo> {
    // Numbers are dense and centers are created rarely: the table lock makes the next number race-free.
    sqlx::query!("select pg_advisory_xact_lock(7443, 1)")
        .execute(&mut *conn)
        .await?;
    let no = sqlx::query_scalar!(
        r#"insert into center (center_id, center_code, name, name_zh, time_zone, currency_code, created_at)
           select coalesce(max(center_id), 0) + 1, $1, $2, $3, $4, $5, $6 from center
           returning center_id"#,
        new.id.as_str(),
        new.name,
        new.name_zh,
        new.time_zone,
        new.currency.code(),
        new.at,
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query!(
        "insert into journal_head (center_id, seq, rules_version, next_account_no, recorded_at) values ($1, 0, 1, $2, $3)",
        no,
        chart::FIRST_FREE.0,
        new.at,
    )
    .execute(&mut *conn)
    .await?;
    let center = CenterNo(no);
    account::insert_in_tx(conn, center, &chart::CENTER_ACCOUNTS, "", new.at).await?;
    Ok(center)
}

/// Marks that something a decision reads is about to change, so that every lane forgets what it knew. Locks the head until
/// the caller commits, and so also keeps the center's journal still meanwhile.
pub async fn touch_rules_in_tx(conn: &mut PgConnection, center: CenterNo) -> sqlx::Result<Head> {
    let row = sqlx::query!(
        "update journal_head set rules_version = rules_version + 1 where center_id = $1
         returning seq, rules_version, recorded_at",
        center.0,
    )
    .fetch_one(conn)
    .await?;
    Ok(Head {
        seq: Seq(row.seq),
        rules_version: row.rules_version,
        recorded_at: row.recorded_at,
    })
}

/// Takes `count` consecutive account numbers. Locks the head until the caller commits.
pub async fn take_account_numbers_in_tx(
    conn: &mut PgConnection,
    center: CenterNo,
    count: i32,
) -> sqlx::Result<AccountNo> {
    let first = sqlx::query_scalar!(
        r#"update journal_head set next_account_no = next_account_no + $2 where center_id = $1
           returning next_account_no - $2 as "first!""#,
        center.0,
        count,
    )
    .fetch_one(conn)
    .await?;
    Ok(AccountNo(first))
}

/// Reads the head; `lock` keeps it still until the caller's transaction ends.
pub async fn head(conn: &mut PgConnection, center: CenterNo, lock: bool) -> sqlx::Result<Head> {
    if lock {
        sqlx::query!("select from journal_head where center_id = $1 for update", center.0)
            .execute(&mut *conn)
            .await?;
    }
    let row = sqlx::query!(
        "select seq, rules_version, recorded_at from journal_head where center_id = $1",
        center.0
    )
    .fetch_one(conn)
    .await?;
    Ok(Head {
        seq: Seq(row.seq),
        rules_version: row.rules_version,
        recorded_at: row.recorded_at,
    })
}
