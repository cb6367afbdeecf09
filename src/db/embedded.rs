//! A private PostgreSQL under the service's data directory, reachable over a Unix socket only.
//!
//! It is created on the first start, restarted later with its data, and stopped with the service. If the service is killed,
//! PostgreSQL goes on; the next start takes it over. If PostgreSQL is killed, a watchdog starts it again.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail};
use tokio::task::JoinHandle;

use super::cluster::Cluster;

/// How often the watchdog looks, in milliseconds.
const WATCH_MS: u64 = 500;

/// A private PostgreSQL.
pub struct Embedded {
    server: Arc<Server>,
    watchdog: JoinHandle<()>,
    // Held as long as the service runs: one service a directory.
    _lock: File,
}

struct Server {
    cluster: Cluster,
    // Held while PostgreSQL is started or stopped, so that the watchdog cannot start what is being stopped.
    is_stopped: Mutex<bool>,
}

impl Embedded {
    /// Starts or takes over the PostgreSQL of a data directory and returns it with its URL.
    pub async fn start(data_dir: &Path) -> anyhow::Result<(Embedded, String)> {
        let data_dir = data_dir.to_owned();
        let (cluster, lock) = tokio::task::spawn_blocking(move || {
            let lock = lock(&data_dir)?;
            let cluster = Cluster::prepare(&data_dir)?;
            cluster.start()?;
            anyhow::Ok((cluster, lock))
        })
        .await??;
        let url = cluster.url();
        let server = Arc::new(Server {
            cluster,
            is_stopped: Mutex::new(false),
        });
        let watchdog = tokio::spawn(watch(server.clone()));
        let embedded = Embedded {
            server,
            watchdog,
            _lock: lock,
        };
        Ok((embedded, url))
    }

    /// Stops PostgreSQL: connections are ended, everything is on disk.
    pub async fn stop(self) -> anyhow::Result<()> {
        let server = self.server.clone();
        tokio::task::spawn_blocking(move || {
            let mut is_stopped = server.is_stopped.lock().unwrap_or_else(PoisonError::into_inner);
            *is_stopped = true;
            server.cluster.stop()
        })
        .await?
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.watchdog.abort();
    }
}

impl Server {
    /// Starts PostgreSQL if it is gone; whether it was.
    fn revive(&self) -> anyhow::Result<bool> {
        let is_stopped = self.is_stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if *is_stopped || self.cluster.is_running() {
            return Ok(false);
        }
        self.cluster.start().map(|()| true)
    }
}

async fn watch(server: Arc<Server>) {
    loop {
        tokio::time::sleep(Duration::from_millis(WATCH_MS)).await;
        let server = server.clone();
        match tokio::task::spawn_blocking(move || server.revive()).await {
            Ok(Ok(true)) => tracing::warn!("PostgreSQL was gone and was started again"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => tracing::error!(error = format!("{error:#}"), "PostgreSQL cannot be started again"),
            Err(_) => return,
        }
    }
}

/// The URL of the private PostgreSQL that a running service keeps in a data directory.
pub fn running_url(data_dir: &Path) -> anyhow::Result<String> {
    let cluster = Cluster::prepare(data_dir)?;
    if !cluster.is_running() {
        bail!("no PostgreSQL is running in {}", data_dir.display());
    }
    Ok(cluster.url())
}

/// Whether a data directory holds a PostgreSQL. Nothing is made.
pub fn has_cluster(data_dir: &Path) -> bool {
    Cluster::is_in(data_dir)
}

fn lock(data_dir: &Path) -> anyhow::Result<File> {
    fs::create_dir_all(data_dir).with_context(|| format!("{} cannot be created", data_dir.display()))?;
    let file = File::create(data_dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => bail!("another service is using {}", data_dir.display()),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}
