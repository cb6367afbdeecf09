//! Asking gateways about remittances and refunds whose notification did not come, and closing orders that were not paid in time.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::{custody::Custody, ledger::LedgerError, refund::Refunds, remittance::Remittances};

/// The pause between two looks, in seconds.
const TICK_S: u64 = 5;
/// The most remittances, and refunds, of one center asked about in one look.
const BATCH_MAX: i64 = 50;
/// The longest one center may take in one look, in seconds: a gateway that is down must not starve the other centers.
const CENTER_MAX_S: u64 = 60;

/// Runs until told to stop. Nothing that fails ends it: what was not learnt is asked again.
pub async fn run(remittances: Remittances, refunds: Refunds, custody: Custody, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(TICK_S));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            looked = look(&remittances, &refunds, &custody) => {
                if let Err(error) = looked {
                    tracing::warn!(%error, "gateways cannot be polled");
                }
            }
        }
    }
}

/// One look at every center.
pub async fn look(remittances: &Remittances, refunds: &Refunds, custody: &Custody) -> Result<usize, LedgerError> {
    let mut asked = 0;
    for center in custody.all_centers().await? {
        let limit = Duration::from_secs(CENTER_MAX_S);
        let both = async {
            Ok::<_, LedgerError>(
                remittances.poll_due(&center, BATCH_MAX).await? + refunds.poll_due(&center, BATCH_MAX).await?,
            )
        };
        match tokio::time::timeout(limit, both).await {
            Ok(polled) => asked += polled?,
            Err(_) => tracing::warn!(center = %center.id, "the gateway is slow; the rest is asked later"),
        }
    }
    Ok(asked)
}
