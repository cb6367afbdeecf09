//! Releasing what terminals did not sell, and did not report, in time.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::status::{ALLOWANCES, Watched};
use crate::{custody::Custody, offline_sales::OfflineSales};

/// The pause between two looks, in seconds.
const TICK_S: u64 = 5;

/// Runs until told to stop. Nothing that fails ends it: what was not released is looked at again. Several processes may run it: a
/// release is one request.
pub async fn run(offline: OfflineSales, custody: Custody, watched: Watched, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(TICK_S));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = look(&offline, &custody, &watched) => {}
        }
    }
}

/// One look at every center.
async fn look(offline: &OfflineSales, custody: &Custody, watched: &Watched) {
    let centers = match custody.all_centers().await {
        Ok(centers) => centers,
        Err(error) => {
            tracing::warn!(%error, "allowances cannot be looked at");
            return;
        }
    };
    for center in centers {
        let error = match offline.look(&center).await {
            Ok(()) => String::new(),
            Err(error) => {
                tracing::warn!(center = %center.id, %error, "the allowances of a center cannot be looked at");
                error.to_string()
            }
        };
        watched.looked(&center, &ALLOWANCES, &error).await;
    }
}
