//! Statements: an account's postings with its running balance.

use sqlx::PgExecutor;
use time::{Date, OffsetDateTime};

use crate::{
    db::decoding,
    ids::{AccountNo, Seq},
    ledger::{
        Center, Side,
        account::{self, Account},
    },
    money::Amount,
};

/// A place in an account's statement: a transaction and a leg of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The transaction.
    pub seq: Seq,
    /// The leg, from 1.
    pub leg: i16,
}

/// One line of a statement.
#[derive(Debug, Clone)]
pub struct Line {
    /// Where it stands.
    pub position: Position,
    /// The transaction's kind, for example `PURCHASE`.
    pub kind: String,
    /// When it was recorded.
    pub recorded_at: OffsetDateTime,
    /// Its business date.
    pub effective_date: Date,
    /// Whether the account was debited or credited.
    pub side: Side,
    /// How much, positive.
    pub amount: Amount,
    /// The account's balance right after it, positive on its normal side.
    pub balance: Amount,
    /// The other account of the posting.
    pub counterparty: Account,
    /// The other account's balance right after it, positive on its normal side.
    pub counterparty_balance: Amount,
}

/// Which page of which account's statement.
#[derive(Debug, Clone)]
pub struct PageOf {
    /// The account's center.
    pub center: Center,
    /// The account.
    pub account: AccountNo,
    /// The line before the page; none for the first page.
    pub after: Option<Position>,
    /// The most lines.
    pub limit: i64,
}

/// Up to `limit` lines after a position, oldest first; from the beginning when `after` is none.
pub async fn lines_after(
    db: impl PgExecutor<'_>,
    center: &Center,
    account: AccountNo,
    after: Option<Position>,
    limit: i64,
) -> sqlx::Result<Vec<Line>> {
    let page = PageOf {
        center: center.clone(),
        account,
        after,
        limit,
    };
    Ok(pages(db, &[page]).await?.pop().unwrap_or_default())
}

/// Several pages, each of lines oldest first, all from one snapshot.
pub async fn pages(db: impl PgExecutor<'_>, of: &[PageOf]) -> sqlx::Result<Vec<Vec<Line>>> {
    let after = |page: &PageOf| page.after.unwrap_or(Position { seq: Seq::ZERO, leg: 0 });
    let centers: Vec<i32> = of.iter().map(|page| page.center.no.0).collect();
    let accounts: Vec<i32> = of.iter().map(|page| page.account.0).collect();
    let seqs: Vec<i64> = of.iter().map(|page| after(page).seq.0).collect();
    let legs: Vec<i16> = of.iter().map(|page| after(page).leg).collect();
    let limits: Vec<i64> = of.iter().map(|page| page.limit).collect();
    // Each half is one range of one index; together they are merged and cut to the page.
    let rows = sqlx::query!(
        r#"select k.page as "page!", l.seq as "seq!", l.leg as "leg!", l.debited as "debited!", l.amount as "amount!",
                  l.balance as "balance!", l.counterparty as "counterparty!",
                  l.counterparty_balance as "counterparty_balance!",
                  t.kind as "kind!", t.recorded_at as "recorded_at!", t.effective_date as "effective_date!",
                  o.code as "code!", o.owner as "owner!"
           from unnest($1::integer[], $2::integer[], $3::bigint[], $4::smallint[], $5::bigint[])
               with ordinality k (center_id, account, seq, leg, size, page),
           lateral (
               (select p.seq, p.leg, true as debited, p.amount, p.debit_balance as balance, p.credit as counterparty,
                       p.credit_balance as counterparty_balance
                from posting p where p.center_id = k.center_id and p.debit = k.account and (p.seq, p.leg) > (k.seq, k.leg)
                order by p.seq, p.leg limit k.size)
               union all
               (select p.seq, p.leg, false, p.amount, p.credit_balance, p.debit, p.debit_balance
                from posting p where p.center_id = k.center_id and p.credit = k.account and (p.seq, p.leg) > (k.seq, k.leg)
                order by p.seq, p.leg limit k.size)
               order by seq, leg limit k.size
           ) l,
           lateral (select kind, recorded_at, effective_date from journal_transaction
                    where center_id = k.center_id and seq = l.seq offset 0) t,
           lateral (select code, owner from account where center_id = k.center_id and account_no = l.counterparty offset 0) o
           order by k.page, l.seq, l.leg"#,
        &centers,
        &accounts,
        &seqs,
        &legs,
        &limits,
    )
    .fetch_all(db)
    .await?;
    let mut pages: Vec<Vec<Line>> = of.iter().map(|_| Vec::new()).collect();
    for row in rows {
        let number = usize::try_from(row.page - 1).map_err(decoding)?;
        let (Some(page), Some(PageOf { center, .. })) = (pages.get_mut(number), of.get(number)) else {
            continue;
        };
        page.push(Line {
            position: Position {
                seq: Seq(row.seq),
                leg: row.leg,
            },
            kind: row.kind,
            recorded_at: row.recorded_at,
            effective_date: row.effective_date,
            side: if row.debited { Side::Debit } else { Side::Credit },
            amount: center.amount(row.amount)?,
            balance: center.amount(row.balance)?,
            counterparty: account::stored(row.counterparty, row.code, row.owner)?,
            counterparty_balance: center.amount(row.counterparty_balance)?,
        });
    }
    Ok(pages)
}
