//! Giving back what is held for orders that did not come in time. Any number of processes may look: an order expires once.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::status::{HOLDS, Watched};
use crate::{commissary::Commissary, custody::Custody};

/// The pause between two looks, in seconds.
const TICK_S: u64 = 5;
/// The most orders of one center that expire in one look.
const BATCH_MAX: i64 = 50;

/// Runs until told to stop. Nothing that fails ends it: what did not expire is looked at again.
pub async fn run(commissary: Commissary, custody: Custody, watched: Watched, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(TICK_S));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = look(&commissary, &custody, &watched) => {}
        }
    }
}

/// One look at every center.
async fn look(commissary: &Commissary, custody: &Custody, watched: &Watched) {
    let centers = match custody.all_centers().await {
        Ok(centers) => centers,
        Err(error) => {
            tracing::warn!(%error, "the holds of orders cannot be looked at");
            return;
        }
    };
    for center in centers {
        let error = match commissary.expire_orders(&center, BATCH_MAX).await {
            Ok(_) => String::new(),
            Err(error) => {
                tracing::warn!(center = %center.id, %error, "the holds of a center cannot be looked at");
                error.to_string()
            }
        };
        watched.looked(&center, &HOLDS, &error).await;
    }
}
