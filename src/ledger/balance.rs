//! Balances, now and at any moment of the past.

use rust_decimal::Decimal;
use sqlx::{PgConnection, PgExecutor};
use time::OffsetDateTime;

use crate::{
    ids::{AccountNo, CenterNo, Seq},
    ledger::{Center, Code, account::Account},
    money::Amount,
};

/// A moment of a journal's past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// As it stands.
    Now,
    /// Right after this transaction.
    Seq(Seq),
    /// Right after the last transaction recorded at or before this instant.
    Instant(OffsetDateTime),
}

/// An account's balance at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    /// Positive on the account's normal side.
    pub amount: Amount,
    /// The last transaction it includes.
    pub as_of: Seq,
}

/// Settles on a transaction number for a moment. A number beyond the journal's end means its end.
pub async fn resolve(conn: &mut PgConnection, center: &Center, as_of: AsOf) -> sqlx::Result<Seq> {
    let last = sqlx::query_scalar!("select seq from journal_head where center_id = $1", center.no.0)
        .fetch_one(&mut *conn)
        .await?;
    Ok(match as_of {
        AsOf::Now => Seq(last),
        AsOf::Seq(seq) => seq.min(Seq(last)),
        AsOf::Instant(at) => last_recorded_at(conn, center, at).await?,
    })
}

/// The last transaction recorded at or before an instant; 0 when there is none. Numbers have no hole and times grow with
/// them, so it is found by bisection: one index read for each halving.
pub async fn last_recorded_at(db: impl PgExecutor<'_>, center: &Center, at: OffsetDateTime) -> sqlx::Result<Seq> {
    let seq = sqlx::query_scalar!(
        r#"with recursive search (low, high) as (
               select 0::bigint, h.seq from journal_head h where h.center_id = $1
               union all
               select case when t.recorded_at <= $2 then t.seq else s.low end,
                      case when t.recorded_at <= $2 then s.high else t.seq - 1 end
               from search s
               join journal_transaction t on t.center_id = $1 and t.seq = (s.low + s.high + 1) / 2
               where s.low < s.high
           )
           select low as "low!" from search where low = high"#,
        center.no.0,
        at,
    )
    .fetch_one(db)
    .await?;
    Ok(Seq(seq))
}

/// The balances of some accounts right after a transaction, in the order of the numbers given; zero for one that had no
/// posting yet. Two index reads for each account.
pub async fn at(
    conn: &mut PgConnection,
    center: &Center,
    accounts: &[AccountNo],
    seq: Seq,
) -> sqlx::Result<Vec<Amount>> {
    let numbers: Vec<i32> = accounts.iter().map(|no| no.0).collect();
    let rows = sqlx::query!(
        r#"select coalesce(
               case when coalesce(d.seq, -1) > coalesce(c.seq, -1)
                      or coalesce(d.seq, -1) = coalesce(c.seq, -1) and coalesce(d.leg, -1) > coalesce(c.leg, -1)
                    then d.debit_balance else c.credit_balance end, 0) as "balance!"
           from unnest($2::integer[]) with ordinality a (no, position)
           left join lateral (
               select p.seq, p.leg, p.debit_balance from posting p
               where p.center_id = $1 and p.debit = a.no and p.seq <= $3 order by p.seq desc, p.leg desc limit 1) d on true
           left join lateral (
               select p.seq, p.leg, p.credit_balance from posting p
               where p.center_id = $1 and p.credit = a.no and p.seq <= $3 order by p.seq desc, p.leg desc limit 1) c on true
           order by a.position"#,
        center.no.0,
        &numbers,
        seq.0,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| center.amount(row.balance)).collect()
}

/// Some accounts' balances and the last transaction they include, from one snapshot.
pub async fn now(db: impl PgExecutor<'_>, center: &Center, accounts: &[AccountNo]) -> sqlx::Result<(Vec<Amount>, Seq)> {
    let numbers: Vec<i32> = accounts.iter().map(|no| no.0).collect();
    let rows = sqlx::query!(
        "select b.balance, h.seq
         from journal_head h
         cross join unnest($2::integer[]) with ordinality a (no, position)
         cross join lateral (
             select balance from account_balance where center_id = $1 and account_no = a.no offset 0) b
         where h.center_id = $1 order by a.position",
        center.no.0,
        &numbers,
    )
    .fetch_all(db)
    .await?;
    let seq = rows.first().map_or(Seq::ZERO, |row| Seq(row.seq));
    let balances = rows
        .into_iter()
        .map(|row| center.amount(row.balance))
        .collect::<sqlx::Result<_>>()?;
    Ok((balances, seq))
}

/// For each of some runs of `count` accounts, given by their center and first number: the balances and the last transaction
/// that they include. All from one snapshot; none for accounts that are not there. The caller knows the currencies.
pub async fn now_of_many(
    db: impl PgExecutor<'_>,
    firsts: &[(CenterNo, AccountNo)],
    count: i32,
) -> sqlx::Result<Vec<(Vec<Decimal>, Seq)>> {
    let centers: Vec<i32> = firsts.iter().map(|(center, _)| center.0).collect();
    let numbers: Vec<i32> = firsts.iter().map(|(_, first)| first.0).collect();
    let rows = sqlx::query!(
        r#"select h.seq as "seq?", b.balances as "balances?: Vec<Decimal>"
           from unnest($1::integer[], $2::integer[]) with ordinality k (center_id, first, position)
           left join lateral (select seq from journal_head where center_id = k.center_id offset 0) h on true
           left join lateral (
               select array_agg(balance order by account_no) as balances from account_balance
               where center_id = k.center_id and account_no >= k.first and account_no < k.first + $3 offset 0) b on true
           order by k.position"#,
        &centers,
        &numbers,
        count,
    )
    .fetch_all(db)
    .await?;
    let found = rows.into_iter();
    Ok(found
        .map(|row| (row.balances.unwrap_or_default(), Seq(row.seq.unwrap_or_default())))
        .collect())
}

/// An account with its balance, as lists show it.
#[derive(Debug, Clone)]
pub struct AccountBalance {
    /// The account.
    pub account: Account,
    /// Its balance, positive on its normal side.
    pub balance: Amount,
    /// Since when.
    pub opened_at: OffsetDateTime,
}

/// Which accounts a list shows.
#[derive(Debug, Clone)]
pub struct Filter {
    /// Only those after this number.
    pub after: AccountNo,
    /// Only those of this code.
    pub code: Option<Code>,
    /// Only those of this owner.
    pub owner: Option<String>,
}

impl Default for Filter {
    fn default() -> Filter {
        Filter {
            after: AccountNo(0),
            code: None,
            owner: None,
        }
    }
}

/// Up to `limit` of a center's accounts, in the order of their numbers.
pub async fn list(
    db: impl PgExecutor<'_>,
    center: &Center,
    filter: &Filter,
    limit: i64,
) -> sqlx::Result<Vec<AccountBalance>> {
    let rows = sqlx::query!(
        "select a.account_no, a.code, a.owner, a.opened_at, b.balance
         from account a join account_balance b on b.center_id = a.center_id and b.account_no = a.account_no
         where a.center_id = $1 and a.account_no > $2 and ($3::smallint is null or a.code = $3)
           and ($4::text is null or a.owner = $4)
         order by a.account_no limit $5",
        center.no.0,
        filter.after.0,
        filter.code.map(Code::number),
        filter.owner.as_deref(),
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            let code = Code::from_number(row.code)
                .ok_or_else(|| sqlx::Error::Decode(format!("unknown account code {}", row.code).into()))?;
            let account = Account {
                no: AccountNo(row.account_no),
                code,
                owner: row.owner,
            };
            Ok(AccountBalance {
                account,
                balance: center.amount(row.balance)?,
                opened_at: row.opened_at,
            })
        })
        .collect()
}
