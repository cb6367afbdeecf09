//! A pool whose transactions begin whole.

use std::ops::Deref;

use sqlx::{Error, PgPool, Postgres, Transaction};

/// A pool of connections, as sqlx has it, with a `begin` of its own.
///
/// sqlx 0.9 counts a transaction only once PostgreSQL has answered to BEGIN. Whoever is cancelled before that, because a caller
/// hung up say, gives a connection back on which a transaction is open and nobody knows it: what the next one writes without a
/// transaction would then be rolled back, long after it was told. Found by the storm, and shown by `tests/it/cut_begin.rs`.
#[derive(Debug, Clone)]
pub struct Pool(PgPool);

impl Pool {
    /// Begins a transaction. It is begun to its end even if nobody waits for it any more, and is then rolled back.
    ///
    /// # Errors
    /// As sqlx's own.
    pub async fn begin(&self) -> Result<Transaction<'static, Postgres>, Error> {
        self.begin_as("begin").await
    }

    /// Begins a transaction that reads as of one moment, that of its first query, and writes nothing.
    ///
    /// # Errors
    /// As sqlx's own.
    pub async fn snapshot(&self) -> Result<Transaction<'static, Postgres>, Error> {
        self.begin_as("begin isolation level repeatable read, read only").await
    }

    async fn begin_as(&self, statement: &'static str) -> Result<Transaction<'static, Postgres>, Error> {
        let pool = self.0.clone();
        let begun = tokio::spawn(async move { pool.begin_with(statement).await });
        begun.await.map_err(|_| Error::WorkerCrashed)?
    }
}

impl From<PgPool> for Pool {
    fn from(pool: PgPool) -> Pool {
        Pool(pool)
    }
}

impl Deref for Pool {
    type Target = PgPool;

    fn deref(&self) -> &PgPool {
        &self.0
    }
}
