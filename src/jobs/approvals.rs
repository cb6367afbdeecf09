//! Running what was allowed and did not run because a process died in between, and ending approvals that nobody decided in time.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::status::{APPROVALS, Watched};
use crate::{approval::Desk, custody::Custody};

/// The pause between two looks, in seconds.
const TICK_S: u64 = 5;
/// The most approvals of one center looked at in one look.
const BATCH_MAX: i64 = 50;

/// Runs until told to stop. Nothing that fails ends it: what did not run is looked at again.
pub async fn run(desk: Desk, custody: Custody, watched: Watched, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(TICK_S));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = look(&desk, &custody, &watched) => {}
        }
    }
}

/// One look at every center.
async fn look(desk: &Desk, custody: &Custody, watched: &Watched) {
    let centers = match custody.all_centers().await {
        Ok(centers) => centers,
        Err(error) => {
            tracing::warn!(%error, "approvals cannot be looked at");
            return;
        }
    };
    for center in centers {
        let error = match desk.look(&center, BATCH_MAX).await {
            Ok(_) => String::new(),
            Err(error) => {
                tracing::warn!(center = %center.id, %error, "the approvals of a center cannot be looked at");
                error.to_string()
            }
        };
        watched.looked(&center, &APPROVALS, &error).await;
    }
}
