//! What is read of detainees' books, by many at once.

use futures::FutureExt as _;
use moka::sync::Cache;

use super::{CustodyRefusal, store};
use crate::{
    db::Database,
    ids::{AccountNo, CenterNo, DetaineeId, Seq},
    ledger::{
        Center, Gather, LedgerError, balance,
        statement::{self, Line, PageOf},
    },
    money::Amount,
};

/// Detainees whose account numbers are remembered, some 100 bytes each.
const REMEMBERED: u64 = 100_000;
/// Accounts of each detainee: available, held, savings and withheld, under consecutive numbers.
const ACCOUNTS: usize = 4;

/// Balances and statements of detainees. Cheap to clone; all clones read together.
#[derive(Clone)]
pub(super) struct Books {
    database: Database,
    // The accounts of a detainee never change, so what is found once is kept.
    accounts: Cache<(CenterNo, DetaineeId), [AccountNo; ACCOUNTS]>,
    balances: Gather<(CenterNo, AccountNo), (Vec<rust_decimal::Decimal>, Seq)>,
    pages: Gather<PageOf, Vec<Line>>,
}

impl Books {
    pub fn new(database: Database) -> Books {
        let (for_balances, for_pages) = (database.clone(), database.clone());
        let balances = Gather::new(move |firsts: Vec<(CenterNo, AccountNo)>| {
            let read = for_balances.read.clone();
            async move { Ok(balance::now_of_many(&*read, &firsts, 4).await?) }.boxed()
        });
        let pages = Gather::new(move |of: Vec<PageOf>| {
            let read = for_pages.read.clone();
            async move { Ok(statement::pages(&*read, &of).await?) }.boxed()
        });
        Books {
            database,
            accounts: Cache::new(REMEMBERED),
            balances,
            pages,
        }
    }

    /// The numbers of the detainee's accounts: available, held, savings, withheld.
    pub async fn accounts(&self, center: &Center, id: &DetaineeId) -> Result<[AccountNo; ACCOUNTS], LedgerError> {
        let key = (center.no, id.clone());
        if let Some(known) = self.accounts.get(&key) {
            return Ok(known);
        }
        let mut conn = self.database.read.acquire().await?;
        let found = store::detainee(&mut conn, center.no, id).await?;
        let detainee = found.ok_or_else(|| CustodyRefusal::DetaineeNotFound { detainee: id.clone() })?;
        self.accounts.insert(key, detainee.accounts());
        Ok(detainee.accounts())
    }

    /// The balances of the detainee's accounts and the transaction they include, from one snapshot.
    pub async fn balances(&self, center: &Center, id: &DetaineeId) -> Result<([Amount; ACCOUNTS], Seq), LedgerError> {
        let [first, ..] = self.accounts(center, id).await?;
        let (balances, as_of) = self.balances.ask((center.no, first)).await?;
        let amounts = balances.into_iter().map(|balance| center.amount(balance));
        let amounts = amounts.collect::<Result<Vec<_>, _>>()?;
        let amounts = <[Amount; ACCOUNTS]>::try_from(amounts).map_err(|_| LedgerError::Internal)?;
        Ok((amounts, as_of))
    }

    /// A page of a statement.
    pub async fn statement(&self, page: PageOf) -> Result<Vec<Line>, LedgerError> {
        self.pages.ask(page).await
    }
}
