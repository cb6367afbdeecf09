//! The flags of `custody serve`.

use std::{net::SocketAddr, path::PathBuf};

use secrecy::SecretString;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The flags of `custody serve`.
#[derive(Default, clap::Args)]
pub struct ServeFlags {
    /// A TOML file with further settings.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen; port 0 picks a free one. [default: 127.0.0.1:7443]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Where the private PostgreSQL and the token key are kept. [default: ./custody-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// A PostgreSQL 15 or newer to use in place of the private one.
    #[arg(long, value_name = "URL")]
    pub database_url: Option<SecretString>,
    /// The base URL of the payment gateway's API.
    #[arg(long, value_name = "URL")]
    pub gateway_url: Option<String>,
    /// The secret shared with the payment gateway. Better given by CUSTODY_GATEWAY_SECRET, which other users cannot see.
    #[arg(long, value_name = "SECRET")]
    pub gateway_secret: Option<SecretString>,
    /// Where the gateway sends notifications; by default to the address on which the service listens.
    #[arg(long, value_name = "URL")]
    pub gateway_notify_url: Option<String>,
    /// Where enrolled terminals call, over TLS with their certificates; port 0 picks a free one. Without it there is no such port.
    #[arg(long, value_name = "ADDRESS")]
    pub terminal_listen: Option<SocketAddr>,
    /// The most commands that wait in one center's lane. [default: 4096]
    #[arg(long, value_name = "COUNT")]
    pub lane_queue_max: Option<usize>,
    /// Allow what only developers may do.
    #[arg(long)]
    pub dev: bool,
    /// Start the service's clock at this time (RFC 3339); only with --dev.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub dev_clock: Option<OffsetDateTime>,
}

/// Reads a time in RFC 3339, for the command line.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_time(text: &str) -> Result<OffsetDateTime, time::error::Parse> {
    OffsetDateTime::parse(text, &Rfc3339)
}
