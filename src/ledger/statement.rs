//! Statements: an account's postings with its running balance.

use sqlx::PgExecutor;
use time::{Date, OffsetDateTime};

use crate::{
    ids::{AccountNo, Seq},
    ledger::{Center, Side},
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
    pub counterparty: AccountNo,
    /// The other account's balance right after it, positive on its normal side.
    pub counterparty_balance: Amount,
}

/// Up to `limit` lines after a position, oldest first; from the beginning when `after` is none.
pub async fn lines_after(
    db: impl PgExecutor<'_>,
    center: &Center,
    account: AccountNo,
    after: Option<Position>,
    limit: i64,
) -> sqlx::Result<Vec<Line>> {
    let after = after.unwrap_or(Position { seq: Seq::ZERO, leg: 0 });
    // Each half is one range of one index; together they are merged and cut to the page.
    let rows = sqlx::query!(
        r#"select l.seq as "seq!", l.leg as "leg!", l.debited as "debited!", l.amount as "amount!",
                  l.balance as "balance!", l.counterparty as "counterparty!",
                  l.counterparty_balance as "counterparty_balance!",
                  t.kind, t.recorded_at, t.effective_date
           from (
               (select p.seq, p.leg, true as debited, p.amount, p.debit_balance as balance, p.credit as counterparty,
                       p.credit_balance as counterparty_balance
                from posting p where p.center_id = $1 and p.debit = $2 and (p.seq, p.leg) > ($3, $4)
                order by p.seq, p.leg limit $5)
               union all
               (select p.seq, p.leg, false, p.amount, p.credit_balance, p.debit, p.debit_balance
                from posting p where p.center_id = $1 and p.credit = $2 and (p.seq, p.leg) > ($3, $4)
                order by p.seq, p.leg limit $5)
               order by seq, leg limit $5
           ) l join journal_transaction t on t.center_id = $1 and t.seq = l.seq
           order by l.seq, l.leg"#,
        center.no.0,
        account.0,
        after.seq.0,
        after.leg,
        limit,
    )
    .fetch_all(db)
    .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Line {
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
                counterparty: AccountNo(row.counterparty),
                counterparty_balance: center.amount(row.counterparty_balance)?,
            })
        })
        .collect()
}
