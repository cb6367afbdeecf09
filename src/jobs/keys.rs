//! Fetching the keys that gateways hand out, before the ones that we have are too old.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::gateway::{Channels, Gate};

/// The pause between two looks, in seconds. How often a gateway is asked is the channel's to say.
const TICK_S: u64 = 60;

/// Runs until told to stop; the first look is at once, so that the first notification finds the keys there.
pub async fn run(channels: Channels, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(TICK_S));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = look(&channels) => {}
        }
    }
}

/// One look at every channel, side by side: a gateway that hangs keeps no other one waiting.
pub async fn look(channels: &Channels) {
    join_all(channels.iter().map(refresh)).await;
}

async fn refresh(gate: &Gate) {
    let channel = gate.channel.id();
    match gate.channel.refresh_keys(None).await {
        Ok(true) => tracing::info!(channel, "the gateway's keys were fetched"),
        Ok(false) => {}
        Err(error) => tracing::warn!(channel, %error, "the gateway's keys cannot be fetched"),
    }
}
