//! The load generator: purchases over gRPC from a separate process, against two limits measured in the same run.
//!
//! # Layout
//! - `arena`: a service with its own PostgreSQL and centers full of detainees
//! - `cpu`: what a call costs the processor, at each of the three parties
//! - `history`: what a long history costs
//! - `load`: calls kept in flight, and how long each took
//! - `orders`: orders and the notifications that pay them. `notifications`: these as the load
//! - `pgbench`: PostgreSQL's own benchmark on the same cluster
//! - `report`: what is printed. `store`: SQL
//!
//! Machines differ and are noisy, so what counts are ratios within one run: to a call that does nothing, and to what PostgreSQL
//! users call fast.

mod arena;
mod cpu;
mod history;
mod load;
mod notifications;
mod orders;
mod pgbench;
mod report;
mod store;

use std::time::Duration;

use arena::Arena;
use report::Report;

/// What to measure.
#[derive(Debug, Clone, clap::Args)]
pub struct BenchFlags {
    /// Calls kept in flight.
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// How long each measurement lasts, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Centers that the purchases are spread over.
    #[arg(long, default_value_t = 1)]
    centers: usize,
    /// Detainees, spread over the centers.
    #[arg(long, default_value_t = 10_000)]
    detainees: usize,
    /// One JSON object a run instead of a table.
    #[arg(long)]
    json: bool,
    /// The whole series: 1, 16, 64 and 256 in flight in 1 center, and 64 in 4 and 50 centers.
    #[arg(long)]
    all: bool,
    /// Notifications of WeChat Pay instead of purchases: verified, decrypted, credited and distributed.
    #[arg(long, conflicts_with = "all")]
    notifications: bool,
    /// So many purchases are made before it is measured again, and are then read, and settled at once.
    #[arg(long, conflicts_with_all = ["all", "notifications"])]
    history: Option<usize>,
    /// Orders made for notifications; when they run out, the measurement ends. [default: enough for 4,000 a second]
    #[arg(long, requires = "notifications")]
    orders: Option<usize>,
}

/// Measures and prints.
pub async fn run(flags: BenchFlags) -> anyhow::Result<()> {
    if flags.notifications {
        return told(&flags).await;
    }
    if let Some(history) = flags.history {
        let length = Duration::from_secs(flags.seconds);
        return print(
            &flags,
            &history::run(flags.in_flight, flags.detainees, history, length).await?,
        );
    }
    let series: Vec<(usize, usize)> = if flags.all {
        vec![(1, 1), (16, 1), (64, 1), (256, 1), (64, 4), (64, 50)]
    } else {
        vec![(flags.in_flight, flags.centers)]
    };
    let length = Duration::from_secs(flags.seconds);
    let arena = Arena::open(&sizes(&series, flags.detainees)).await?;
    let mut reports = Vec::with_capacity(series.len());
    for (in_flight, centers) in series {
        let meter = arena.meter()?;
        let noop = load::health_checks(arena.address(), meter, in_flight, length / 2).await?;
        // TPC-B at one client is what one call in flight is compared with; everything else with 64 clients.
        let clients = if in_flight == 1 { 1 } else { 64 };
        let pgbench = pgbench::tpc_b(arena.database_url(), clients, length).await?;
        let targets = arena.targets(centers, flags.detainees)?;
        let purchases = load::purchases(arena.address(), meter, &targets, in_flight, length).await?;
        let report = Report::of(in_flight, centers, &purchases, &noop, pgbench, arena.server_rss_mib()?);
        if flags.json {
            println!("{}", serde_json::to_string(&report)?);
        }
        reports.push(report);
    }
    if !flags.json {
        println!("{}", report::table(&reports));
    }
    arena.close().await
}

/// Measures notifications and prints.
async fn told(flags: &BenchFlags) -> anyhow::Result<()> {
    let length = Duration::from_secs(flags.seconds);
    let report = notifications::run(flags.in_flight, flags.detainees, flags.orders, length).await?;
    print(flags, &report)
}

fn print(flags: &BenchFlags, report: &impl serde::Serialize) -> anyhow::Result<()> {
    let text = if flags.json {
        serde_json::to_string(report)?
    } else {
        serde_json::to_string_pretty(report)?
    };
    println!("{text}");
    Ok(())
}

/// How many detainees each center needs: as many as the run that spreads them least.
fn sizes(series: &[(usize, usize)], detainees: usize) -> Vec<usize> {
    let centers_max = series.iter().map(|(_, centers)| *centers).max().unwrap_or(1);
    (1..=centers_max)
        .map(|number| {
            let runs = series.iter().filter(|(_, centers)| *centers >= number);
            runs.map(|(_, centers)| arena::people_in_each(*centers, detainees))
                .max()
                .unwrap_or(1)
        })
        .collect()
}
