//! PostgreSQL's own benchmark, TPC-B at scale 10 with prepared statements, on the service's cluster.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, bail};
use tokio::process::Command;

use crate::db::locate;

/// Transactions a second at so many clients.
pub async fn tpc_b(url: &str, clients: usize, length: Duration) -> anyhow::Result<f64> {
    let program = locate::binaries()?.join("pgbench");
    let host = url
        .rsplit_once("host=")
        .map(|(_, host)| host)
        .context("not the private PostgreSQL")?;
    let database = "pgbench";
    // The database is made once and kept for the later runs.
    let created = Command::new(locate::binaries()?.join("createdb"))
        .args(["-h", host, "-U", "postgres", database])
        .output()
        .await?;
    if created.status.success() {
        run(
            &program,
            &["-i", "-q", "-s", "10", "-h", host, "-U", "postgres", database],
        )
        .await?;
    }
    let clients = clients.to_string();
    let seconds = length.as_secs().max(1).to_string();
    let arguments = [
        "-M", "prepared", "-c", &clients, "-j", "2", "-T", &seconds, "-n", "-h", host, "-U", "postgres",
    ];
    let output = run(&program, &[&arguments[..], &[database]].concat()).await?;
    let line = output
        .lines()
        .find(|line| line.starts_with("tps = "))
        .context("pgbench did not tell its tps")?;
    let number = line
        .trim_start_matches("tps = ")
        .split_whitespace()
        .next()
        .unwrap_or_default();
    Ok(number.parse()?)
}

async fn run(program: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output().await?;
    if !output.status.success() {
        bail!("pgbench failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8(output.stdout)?)
}
