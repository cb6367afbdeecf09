//! What lanes tell of themselves as OpenTelemetry metrics. Without an exporter they cost next to nothing.

use std::time::Duration;

use opentelemetry::{
    KeyValue, global,
    metrics::{Counter, Gauge, Histogram},
};

use super::Answer;
use crate::{
    ids::CenterId,
    ledger::{LedgerError, Outcome},
};

/// Upper bounds of the batch sizes that are told apart, in commands.
const BATCH_BOUNDS: [u16; 10] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
/// Upper bounds of the commit times that are told apart, in microseconds.
const COMMIT_BOUNDS: [u32; 12] = [
    250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 64_000, 250_000, 1_000_000, 15_000_000,
];

/// The instruments of all lanes of a process.
#[derive(Clone)]
pub(super) struct Instruments {
    commands: Counter<u64>,
    batch: Histogram<u64>,
    commit: Histogram<u64>,
    refolds: Counter<u64>,
    queue: Gauge<u64>,
}

impl Instruments {
    /// Instruments of whatever provider was set before.
    pub fn new() -> Instruments {
        let meter = global::meter("custody");
        Instruments {
            commands: meter
                .u64_counter("custody.commands")
                .with_description("Answered commands, by method and outcome: POSTED, REPLAYED, or why not.")
                .build(),
            batch: meter
                .u64_histogram("custody.lane.batch")
                .with_description("Commands committed together.")
                .with_boundaries(BATCH_BOUNDS.map(f64::from).to_vec())
                .build(),
            commit: meter
                .u64_histogram("custody.lane.commit")
                .with_unit("us")
                .with_description("How long the statement of a batch takes.")
                .with_boundaries(COMMIT_BOUNDS.map(f64::from).to_vec())
                .build(),
            refolds: meter
                .u64_counter("custody.lane.refolds")
                .with_description("Batches folded again: OVERTAKEN by another process, connection LOST.")
                .build(),
            queue: meter
                .u64_gauge("custody.lane.queue")
                .with_description("Commands that wait in a center's lane.")
                .build(),
        }
    }

    /// A command was answered.
    pub fn answered(&self, method: &'static str, answer: &Answer) {
        let outcome = match answer {
            Ok(Outcome::Posted(posted)) if posted.replayed => "REPLAYED",
            Ok(Outcome::Posted(_)) => "POSTED",
            Ok(Outcome::Refused { refusal, .. }) | Err(LedgerError::Refused { refusal, .. }) => {
                let name = refusal.reason().as_str_name();
                name.strip_prefix("REASON_").unwrap_or(name)
            }
            Ok(Outcome::Accepted { .. }) => "ACCEPTED",
            Err(LedgerError::RequestReused { .. }) => "REQUEST_REUSED",
            Err(LedgerError::QueueFull) => "QUEUE_FULL",
            Err(LedgerError::Unavailable) => "UNAVAILABLE",
            Err(LedgerError::Internal) => "INTERNAL",
        };
        let about = [KeyValue::new("method", method), KeyValue::new("outcome", outcome)];
        self.commands.add(1, &about);
    }

    /// A batch begins with so many commands, and so many wait for the next.
    pub fn began(&self, center: &CenterId, commands: usize, waiting: usize) {
        let about = [KeyValue::new("center", center.to_string())];
        self.batch.record(u64::try_from(commands).unwrap_or(u64::MAX), &about);
        self.queue.record(u64::try_from(waiting).unwrap_or(u64::MAX), &about);
    }

    /// The statement of a batch was answered.
    pub fn committed(&self, took: Duration) {
        self.commit
            .record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), &[]);
    }

    /// A batch is folded again.
    pub fn refolds(&self, why: &'static str) {
        self.refolds.add(1, &[KeyValue::new("why", why)]);
    }
}
