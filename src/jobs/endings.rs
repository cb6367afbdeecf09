//! Reminding of money that nobody collects, and of the year after which it is the treasury's.

use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::status::{ENDINGS, Watched};
use crate::{custody::Custody, ending::Endings};

/// The pause between two looks, in seconds.
const TICK_S: u64 = 30;
/// The most reminders of one center raised in one look.
const BATCH_MAX: i64 = 200;

/// Runs until told to stop. Nothing that fails ends it: what was not raised is raised at the next look.
pub async fn run(endings: Endings, custody: Custody, watched: Watched, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(TICK_S));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = look(&endings, &custody, &watched) => {}
        }
    }
}

/// One look at every center.
async fn look(endings: &Endings, custody: &Custody, watched: &Watched) {
    let centers = match custody.all_centers().await {
        Ok(centers) => centers,
        Err(error) => {
            tracing::warn!(%error, "nobody can be reminded of unclaimed money");
            return;
        }
    };
    for center in centers {
        let error = match endings.remind(&center, BATCH_MAX).await {
            Ok(_) => String::new(),
            Err(error) => {
                tracing::warn!(center = %center.id, %error, "unclaimed money of a center cannot be looked at");
                error.to_string()
            }
        };
        watched.looked(&center, &ENDINGS, &error).await;
    }
}
