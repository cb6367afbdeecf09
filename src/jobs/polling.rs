//! Asking gateways about remittances and refunds whose notification did not come, and closing orders that were not paid in time.

use std::time::Duration;

use tokio::{task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::{
    custody::Custody,
    ledger::{Center, LedgerError},
    refund::Refunds,
    remittance::Remittances,
};

/// The pause between two looks, in seconds.
const TICK_S: u64 = 5;
/// The most remittances, or refunds, of one center asked about in one look.
const BATCH_MAX: i64 = 50;
/// The longest one center may take in one look, in seconds: a gateway that is down must not starve the other centers.
const CENTER_MAX_S: u64 = 60;

/// What gateways are asked about.
#[derive(Clone)]
pub enum Open {
    /// Orders.
    Remittances(Remittances),
    /// Refunds.
    Refunds(Refunds),
}

impl Open {
    fn name(&self) -> &'static str {
        match self {
            Open::Remittances(_) => "remittances",
            Open::Refunds(_) => "refunds",
        }
    }

    async fn poll_due(&self, center: &Center) -> Result<usize, LedgerError> {
        match self {
            Open::Remittances(remittances) => remittances.poll_due(center, BATCH_MAX).await,
            Open::Refunds(refunds) => refunds.poll_due(center, BATCH_MAX).await,
        }
    }
}

/// Runs until told to stop. Nothing that fails ends it: what was not learnt is asked again. Remittances and refunds have a
/// task each, so that a gateway that hangs on the one kind is still asked about the other.
pub async fn run(remittances: Remittances, refunds: Refunds, custody: Custody, stop: CancellationToken) {
    let mut tasks = JoinSet::new();
    for open in [Open::Remittances(remittances), Open::Refunds(refunds)] {
        tasks.spawn(keep_looking(open, custody.clone(), stop.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "polling has ended");
        }
    }
}

async fn keep_looking(open: Open, custody: Custody, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(TICK_S));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look(&open, &custody) => {}
        }
    }
}

/// One look at every center; how many were asked about. What goes wrong in one center is logged, and the next has its turn.
pub async fn look(open: &Open, custody: &Custody) -> usize {
    let what = open.name();
    let centers = match custody.all_centers().await {
        Ok(centers) => centers,
        Err(error) => {
            tracing::warn!(what, %error, "gateways cannot be polled");
            return 0;
        }
    };
    let mut asked = 0;
    for center in centers {
        match tokio::time::timeout(Duration::from_secs(CENTER_MAX_S), open.poll_due(&center)).await {
            Ok(Ok(polled)) => asked += polled,
            Ok(Err(error)) => tracing::warn!(what, center = %center.id, %error, "a center cannot be polled"),
            Err(_) => tracing::warn!(what, center = %center.id, "the gateway is slow; the rest is asked later"),
        }
    }
    asked
}
