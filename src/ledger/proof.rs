//! The proof: assets and expenses equal what is owed, at any moment of the past.
//!
//! bank + gateway clearing + owed by detainees + clearing with other centers + gateway fees = detainees + vendors + suspense + in
//! transit + court + income.

use sqlx::PgConnection;

use crate::{
    ids::Seq,
    ledger::{
        Center, Code, Side,
        balance::{self, AsOf},
    },
    money::{Amount, MoneyError},
};

/// One term: the sum of all accounts of one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// The chart's code.
    pub code: Code,
    /// How many accounts it sums.
    pub accounts: i64,
    /// Their sum, positive on the code's normal side.
    pub sum: Amount,
}

/// A center's proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The last transaction it includes.
    pub as_of: Seq,
    /// The terms that have accounts, in the chart's order.
    pub terms: Vec<Term>,
    /// Sum of the debit-normal terms.
    pub debits: Amount,
    /// Sum of the credit-normal terms.
    pub credits: Amount,
}

impl Proof {
    /// Adds up the terms.
    pub fn of(as_of: Seq, terms: Vec<Term>, center: &Center) -> Result<Proof, MoneyError> {
        let side = |side: Side| {
            let sums = terms
                .iter()
                .filter(|term| term.code.side() == side)
                .map(|term| term.sum);
            Amount::sum(sums, center.currency)
        };
        let (debits, credits) = (side(Side::Debit)?, side(Side::Credit)?);
        Ok(Proof {
            as_of,
            terms,
            debits,
            credits,
        })
    }

    /// Whether both sides are equal.
    pub fn holds(&self) -> bool {
        self.debits == self.credits
    }
}

/// Computes the proof from the balances as they stand (one snapshot), or from the postings up to a past moment.
pub async fn prove(conn: &mut PgConnection, center: &Center, as_of: AsOf) -> sqlx::Result<Proof> {
    let (as_of, sums) = match as_of {
        AsOf::Now => current_sums(conn, center).await?,
        past => {
            let seq = balance::resolve(conn, center, past).await?;
            (seq, past_sums(conn, center, seq).await?)
        }
    };
    let mut terms = Vec::with_capacity(sums.len());
    for (code, accounts, sum) in sums {
        let code = Code::from_number(code)
            .ok_or_else(|| sqlx::Error::Decode(format!("unknown account code {code}").into()))?;
        terms.push(Term {
            code,
            accounts,
            sum: center.amount(sum)?,
        });
    }
    terms.sort_by_key(|term| term.code);
    Proof::of(as_of, terms, center).map_err(|error| sqlx::Error::Decode(error.into()))
}

type Sums = Vec<(i16, i64, rust_decimal::Decimal)>;

async fn current_sums(conn: &mut PgConnection, center: &Center) -> sqlx::Result<(Seq, Sums)> {
    let rows = sqlx::query!(
        r#"select (select seq from journal_head where center_id = $1) as "seq!",
                  a.code, count(*) as "accounts!", sum(b.balance) as "sum!"
           from account a join account_balance b on b.center_id = a.center_id and b.account_no = a.account_no
           where a.center_id = $1 group by a.code"#,
        center.no.0,
    )
    .fetch_all(conn)
    .await?;
    let seq = rows.first().map_or(Seq::ZERO, |row| Seq(row.seq));
    Ok((
        seq,
        rows.into_iter().map(|row| (row.code, row.accounts, row.sum)).collect(),
    ))
}

async fn past_sums(conn: &mut PgConnection, center: &Center, seq: Seq) -> sqlx::Result<Sums> {
    // Summed from the postings, not from the running balances: the proof of the past does not lean on them.
    let rows = sqlx::query!(
        r#"select a.code, count(*) as "accounts!",
                  coalesce(sum(case when a.code < 2000 or a.code >= 5000 then m.moved else -m.moved end), 0) as "sum!"
           from account a
           left join (
               select account_no, sum(moved) as moved from (
                   select p.debit as account_no, p.amount as moved from posting p where p.center_id = $1 and p.seq <= $2
                   union all
                   select p.credit, -p.amount from posting p where p.center_id = $1 and p.seq <= $2
               ) movement group by account_no
           ) m on m.account_no = a.account_no
           where a.center_id = $1 group by a.code"#,
        center.no.0,
        seq.0,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.code, row.accounts, row.sum)).collect())
}
