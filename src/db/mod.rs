//! The database under the ledger: finding or starting PostgreSQL, migrations, pools, and telling its errors apart.

mod cluster;
pub mod constraint;
pub mod embedded;
mod lent;
pub mod locate;
mod migrate;
mod pool;

use std::{str::FromStr as _, time::Duration};

use anyhow::{Context as _, ensure};
pub use lent::{Lender, Lent};
pub use migrate::migrate;
pub use pool::Pool;
use sqlx::{
    ConnectOptions as _,
    postgres::{PgConnectOptions, PgPoolOptions},
};
pub use sqlx::{PgConnection as Conn, Result, postgres::PgArguments as Arguments};

/// Most connections that batches are committed over.
const BATCH_CONNECTIONS_MAX: u32 = 6;
/// Most connections that everyone else who writes shares.
pub(crate) const LANE_CONNECTIONS_MAX: u32 = 6;
/// Most connections that readers share. All three together are at most 20.
const READ_CONNECTIONS_MAX: u32 = 8;
/// How long a caller waits for a connection, in seconds.
const ACQUIRE_TIMEOUT_S: u64 = 3;

/// What was stored cannot be read as what it must be.
pub fn decoding<E: std::error::Error + Send + Sync + 'static>(error: E) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// A connection lent by a pool.
pub type Reader = sqlx::pool::PoolConnection<sqlx::Postgres>;

/// Three pools on one database, all acting as the service's own role, which cannot change the journal.
#[derive(Clone)]
pub struct Database {
    /// For the lanes' batches.
    pub batch: Lender,
    /// For whoever else writes: plans that do not depend on statistics, as for batches.
    pub lane: Pool,
    /// For readers.
    pub read: Pool,
}

impl Database {
    /// Pools over a migrated database. Connects when first used, and again after the database was away.
    pub fn connect(url: &str) -> anyhow::Result<Database> {
        let options = options(url)?
            .application_name("custody")
            .statement_cache_capacity(256)
            .log_statements(tracing::log::LevelFilter::Off)
            .log_slow_statements(tracing::log::LevelFilter::Off, Duration::MAX);
        let role = [
            ("role", migrate::SERVICE_ROLE),
            ("statement_timeout", "15000"),
            ("timezone", "UTC"),
            // A process that hangs in a transaction holds a center's head; one that has vanished is noticed by its socket.
            ("idle_in_transaction_session_timeout", "10000"),
            ("tcp_keepalives_idle", "10"),
            ("tcp_keepalives_interval", "5"),
            ("tcp_keepalives_count", "3"),
        ];
        let lane = options.clone().options(role).options([
            // Measured: with several centers, or without statistics, custom plans and sequential scans make a batch 50 to 100
            // times slower. Nothing the lanes ask needs either.
            // Rows of several keys are read key by key: `unnest($2::…[]) k (key), lateral (select … where key = k.key offset 0)`.
            // For `key = any($2)`, a plan made while the table is short reads all of the center's rows ever after.
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_seqscan", "off"),
            ("synchronous_commit", "on"),
            // A commit waits for another process's, which takes milliseconds.
            ("lock_timeout", "5000"),
        ]);
        // The statement of a batch joins its arrays with tables by their primary keys, and with nothing else.
        let batch = lane
            .clone()
            .options([("enable_hashjoin", "off"), ("enable_mergejoin", "off")]);
        let read = options.options(role);
        Ok(Database {
            // A lane's connection is not tried before each use, which would be a round trip more for each batch. A broken one is
            // noticed by the lane, which asks again.
            batch: Lender::new(batch, BATCH_CONNECTIONS_MAX, Duration::from_secs(ACQUIRE_TIMEOUT_S)),
            lane: pool(LANE_CONNECTIONS_MAX)
                .test_before_acquire(false)
                .connect_lazy_with(lane)
                .into(),
            read: pool(READ_CONNECTIONS_MAX).connect_lazy_with(read).into(),
        })
    }

    /// Closes all pools once their connections are given back.
    pub async fn close(&self) {
        self.batch.close().await;
        self.lane.close().await;
        self.read.close().await;
    }
}

/// Reads a database URL. The text is not repeated in the error: it may hold a password.
fn options(url: &str) -> anyhow::Result<PgConnectOptions> {
    // sqlx would take any scheme for PostgreSQL's.
    ensure!(
        url.starts_with("postgres://") || url.starts_with("postgresql://"),
        "the database URL must begin with postgres:// or postgresql://"
    );
    PgConnectOptions::from_str(url).context("the database URL cannot be read")
}

fn pool(connections_max: u32) -> PgPoolOptions {
    PgPoolOptions::new()
        .max_connections(connections_max)
        .acquire_timeout(Duration::from_secs(ACQUIRE_TIMEOUT_S))
        .idle_timeout(Duration::from_secs(60))
}
