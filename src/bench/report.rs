//! What a run is told as.

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde::Serialize;

use super::{cpu::PerCall, load::Measured};

/// One run.
#[derive(Debug, Serialize)]
pub struct Report {
    in_flight: usize,
    centers: usize,
    purchases_per_s: f64,
    p50_us: u64,
    p99_us: u64,
    p100_us: u64,
    noop_per_s: f64,
    pgbench_tps: f64,
    ratio_noop: f64,
    ratio_pgbench: f64,
    server_rss_mib: u64,
    cpu_us_per_purchase: PerCall,
    cpu_us_per_noop: PerCall,
}

impl Report {
    /// Puts the measurements of one run together.
    pub fn of(
        in_flight: usize,
        centers: usize,
        purchases: &Measured,
        noop: &Measured,
        pgbench_tps: f64,
        server_rss_mib: u64,
    ) -> Report {
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        let (purchases_per_s, noop_per_s) = (purchases.per_second(), noop.per_second());
        Report {
            in_flight,
            centers,
            purchases_per_s: purchases_per_s.round(),
            p50_us: purchases.latencies.value_at_quantile(0.5),
            p99_us: purchases.latencies.value_at_quantile(0.99),
            p100_us: purchases.latencies.max(),
            noop_per_s: noop_per_s.round(),
            pgbench_tps: pgbench_tps.round(),
            ratio_noop: rounded(purchases_per_s / noop_per_s),
            ratio_pgbench: rounded(purchases_per_s / pgbench_tps),
            server_rss_mib,
            cpu_us_per_purchase: purchases.cpu,
            cpu_us_per_noop: noop.cpu,
        }
    }
}

/// All runs as a table.
pub fn table(reports: &[Report]) -> Table {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header([
        "in flight",
        "centers",
        "purchases/s",
        "p50 µs",
        "p99 µs",
        "p100 µs",
        "no-op/s",
        "pgbench tps",
        "× no-op",
        "× pgbench",
        "server MiB",
        "CPU µs: server, PostgreSQL, client",
        "of a no-op: server, client",
    ]);
    for report in reports {
        let (bought, nothing) = (report.cpu_us_per_purchase, report.cpu_us_per_noop);
        table.add_row([
            report.in_flight.to_string(),
            report.centers.to_string(),
            report.purchases_per_s.to_string(),
            report.p50_us.to_string(),
            report.p99_us.to_string(),
            report.p100_us.to_string(),
            report.noop_per_s.to_string(),
            report.pgbench_tps.to_string(),
            format!("{:.2}", report.ratio_noop),
            format!("{:.2}", report.ratio_pgbench),
            report.server_rss_mib.to_string(),
            format!("{} + {} + {}", bought.server, bought.postgres, bought.client),
            format!("{} + {}", nothing.server, nothing.client),
        ]);
    }
    table
}
