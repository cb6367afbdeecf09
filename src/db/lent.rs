//! The few connections that batches are committed over, lent to one lane at a time.
//!
//! A general pool tries a connection whenever it comes back, which is a round trip for each batch, and uses all of its
//! connections in turn, so that each of PostgreSQL's processes runs with cold caches. Here nothing is tried and the connection
//! given back last is lent first. Whoever borrows says whether it is still good by giving it back: one that is dropped is
//! closed, and so are those that wait, because what broke one has likely broken all.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use sqlx::{Connection as _, Error, PgConnection, postgres::PgConnectOptions};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Connections to lend. Cheap to clone; all clones lend the same.
#[derive(Clone)]
pub struct Lender(Arc<Shared>);

struct Shared {
    options: PgConnectOptions,
    connections_max: u32,
    wait_max: Duration,
    permits: Arc<Semaphore>,
    /// Those that wait, the one used last at the end.
    idle: Mutex<Vec<(PgConnection, Instant)>>,
}

impl Shared {
    fn idle(&self) -> MutexGuard<'_, Vec<(PgConnection, Instant)>> {
        // A list of connections stays one, whoever panicked.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that is lent. Give it back when it is known to be ready for the next one; it is closed otherwise.
pub struct Lent {
    /// The connection.
    pub conn: PgConnection,
    loan: Loan,
}

struct Loan {
    lender: Lender,
    is_settled: bool,
    _permit: OwnedSemaphorePermit,
}

impl Lender {
    pub(super) fn new(options: PgConnectOptions, connections_max: u32, wait_max: Duration) -> Lender {
        let permits = usize::try_from(connections_max).unwrap_or(1);
        Lender(Arc::new(Shared {
            options,
            connections_max,
            wait_max,
            permits: Arc::new(Semaphore::new(permits)),
            idle: Mutex::default(),
        }))
    }

    /// The connection used last, or a new one if all are lent and there may be more.
    ///
    /// # Errors
    /// [`Error::PoolTimedOut`] if there was none in time, [`Error::PoolClosed`], and those of connecting.
    pub async fn lend(&self) -> sqlx::Result<Lent> {
        let taken = timeout(self.0.wait_max, self.take()).await;
        let (conn, permit) = taken.map_err(|_| Error::PoolTimedOut)??;
        let loan = Loan {
            lender: self.clone(),
            is_settled: false,
            _permit: permit,
        };
        Ok(Lent { conn, loan })
    }

    async fn take(&self) -> sqlx::Result<(PgConnection, OwnedSemaphorePermit)> {
        let permit = self.0.permits.clone().acquire_owned().await;
        let permit = permit.map_err(|_| Error::PoolClosed)?;
        let idle = self.0.idle().pop();
        let conn = match idle {
            Some((conn, _)) => conn,
            None => PgConnection::connect_with(&self.0.options).await?,
        };
        Ok((conn, permit))
    }

    /// Closes the connections that nobody has used for so long.
    pub fn close_idle(&self, unused: Duration) {
        self.0.idle().retain(|(_, since)| since.elapsed() < unused);
    }

    pub(super) async fn close(&self) {
        let all = self.0.permits.acquire_many(self.0.connections_max).await;
        self.0.permits.close();
        drop(all);
        let idle = std::mem::take(&mut *self.0.idle());
        for (conn, _) in idle {
            if let Err(error) = conn.close().await {
                tracing::debug!(%error, "a connection cannot be closed");
            }
        }
    }
}

impl Lent {
    /// Gives the connection back. What was last asked over it must have been answered.
    pub fn give_back(mut self) {
        self.loan.is_settled = true;
        self.loan.lender.0.idle().push((self.conn, Instant::now()));
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if !self.is_settled {
            self.lender.0.idle().clear();
        }
    }
}
