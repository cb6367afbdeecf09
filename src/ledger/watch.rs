//! Following a journal: every transaction from a number on, in order, none skipped and none repeated.
//!
//! Numbers are given inside the transaction that commits them, one after the other, under the lock of the journal's head. So
//! when transaction n can be seen, all before it can, and a reader that asks for what comes after n misses nothing. Commits
//! of this process wake the reader at once; those of other processes are found by polling.

use std::{collections::VecDeque, time::Duration};

use futures::stream::{self, Stream};
use tokio::{sync::watch, time::timeout};

use crate::{
    db::Database,
    ids::Seq,
    ledger::{
        Center, LedgerError,
        transaction::{self, Transaction},
    },
};

/// Most transactions read at once.
const PAGE_MAX: i64 = 256;
/// How long another process's commit may stay unseen, in milliseconds.
const POLL_MS: u64 = 250;

struct Follower {
    database: Database,
    center: Center,
    committed: watch::Receiver<Seq>,
    last: Seq,
    ready: VecDeque<Transaction>,
}

/// The transactions after `after`, without end. `committed` follows what this process commits.
pub fn follow(
    database: Database,
    center: Center,
    committed: watch::Receiver<Seq>,
    after: Seq,
) -> impl Stream<Item = Result<Transaction, LedgerError>> + Send {
    let follower = Follower {
        database,
        center,
        committed,
        last: after,
        ready: VecDeque::new(),
    };
    stream::try_unfold(follower, |mut follower| async move {
        let transaction = follower.next().await?;
        Ok(Some((transaction, follower)))
    })
}

impl Follower {
    async fn next(&mut self) -> Result<Transaction, LedgerError> {
        loop {
            if let Some(transaction) = self.ready.pop_front() {
                self.last = transaction.seq();
                return Ok(transaction);
            }
            let page = transaction::after(&*self.database.read, self.center.no, self.last, PAGE_MAX).await;
            self.ready = page.map_err(LedgerError::from)?.into();
            if self.ready.is_empty() {
                // A closed channel means that the lanes are gone: the poll alone goes on.
                if let Ok(Err(_)) = timeout(Duration::from_millis(POLL_MS), self.committed.changed()).await {
                    tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
                }
            }
        }
    }
}
