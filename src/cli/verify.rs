//! `custody verify`: replays every journal from its records.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use custody_ledger::{
    custody,
    db::{Database, embedded},
    ledger::verify::VerifyError,
    verification,
};

#[derive(clap::Args)]
pub struct VerifyFlags {
    /// The data directory of the service; its private PostgreSQL is started if the service is not running.
    #[arg(
        long,
        value_name = "DIR",
        env = "CUSTODY_SERVER_DATA_DIR",
        default_value = "./custody-data"
    )]
    data_dir: PathBuf,
    /// The database, if it is not the private one.
    #[arg(
        long,
        value_name = "URL",
        env = "CUSTODY_SERVER_DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Option<String>,
}

pub async fn run(flags: VerifyFlags) -> anyhow::Result<ExitCode> {
    if let Some(url) = &flags.database_url {
        return verify_all(url).await;
    }
    // A directory that was mistyped must not become a new and empty one that verifies.
    if !embedded::has_cluster(&flags.data_dir) {
        bail!(
            "{} holds no PostgreSQL of a service; tell --data-dir or --database-url as `custody serve` was told them",
            flags.data_dir.display()
        );
    }
    if let Ok(url) = embedded::running_url(&flags.data_dir) {
        return verify_all(&url).await;
    }
    let (postgres, url) = embedded::Embedded::start(&flags.data_dir).await?;
    let verified = verify_all(&url).await;
    postgres.stop().await.context("stopping PostgreSQL")?;
    verified
}

async fn verify_all(url: &str) -> anyhow::Result<ExitCode> {
    let database = Database::connect(url)?;
    let mut conn = database.read.acquire().await.context("the database cannot be used")?;
    let centers = custody::all_centers(&mut conn).await;
    let centers = centers.context("the centers cannot be read")?;
    drop(conn);
    for center in &centers {
        // One snapshot, so that a service that goes on writing does not disturb.
        match verification::verify_snapshot(&database, center).await {
            Ok(verified) => println!(
                "center {}: {} transactions and {} postings replayed, proof holds at {}: {} = {}",
                center.id,
                verified.transactions,
                verified.postings,
                verified.proof.as_of,
                verified.proof.debits,
                verified.proof.credits,
            ),
            Err(VerifyError::Database(error)) => {
                return Err(error).with_context(|| format!("center {} cannot be read", center.id));
            }
            Err(differs) => {
                println!("{differs}");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    println!("verified: {} centers", centers.len());
    Ok(ExitCode::SUCCESS)
}
