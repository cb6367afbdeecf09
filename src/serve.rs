//! Running the service: database, lanes, domains, doors.

use anyhow::Context as _;

use crate::config::Config;

/// Placeholder body is filled below.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let _ = config;
    Err(anyhow::anyhow!("")).context("")
}
