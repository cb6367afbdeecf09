//! Asking gateways about remittances and refunds whose notification did not come, closing orders that were not paid in time, and
//! sending back what goes back by itself.
//!
//! Any number of processes may look: what one takes, the others leave alone for a while.

use std::time::Duration;

use tokio::{task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::status::{self, Job, Watched};
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
    /// Payments that go back by themselves.
    Returns(Remittances, Refunds),
    /// Payments whose time in suspense is over.
    Aged(Remittances, Refunds),
}

impl Open {
    fn job(&self) -> &'static Job {
        match self {
            Open::Remittances(_) => &status::ORDERS,
            Open::Refunds(_) => &status::REFUNDS,
            Open::Returns(..) => &status::RETURNS,
            Open::Aged(..) => &status::AGED,
        }
    }

    async fn poll_due(&self, center: &Center) -> Result<usize, LedgerError> {
        match self {
            Open::Remittances(remittances) => remittances.poll_due(center, BATCH_MAX).await,
            Open::Refunds(refunds) => refunds.poll_due(center, BATCH_MAX).await,
            Open::Returns(remittances, refunds) => refunds.return_due(remittances, center, BATCH_MAX).await,
            Open::Aged(remittances, refunds) => refunds.return_aged(remittances, center, BATCH_MAX).await,
        }
    }
}

/// Runs until told to stop. Nothing that fails ends it: what was not learnt is asked again. Each has a task of its own, so that
/// a gateway that hangs on one kind is still asked about the others.
pub async fn run(
    remittances: Remittances,
    refunds: Refunds,
    custody: Custody,
    watched: Watched,
    stop: CancellationToken,
) {
    let mut tasks = JoinSet::new();
    let returns = Open::Returns(remittances.clone(), refunds.clone());
    let aged = Open::Aged(remittances.clone(), refunds.clone());
    for open in [Open::Remittances(remittances), Open::Refunds(refunds), returns, aged] {
        tasks.spawn(keep_looking(open, custody.clone(), watched.clone(), stop.clone()));
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "polling has ended");
        }
    }
}

async fn keep_looking(open: Open, custody: Custody, watched: Watched, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(TICK_S));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = look_watched(&open, &custody, Some(&watched)) => {}
        }
    }
}

/// One look at every center; how many were asked about. What goes wrong in one center is logged, and the next has its turn.
pub async fn look(open: &Open, custody: &Custody) -> usize {
    look_watched(open, custody, None).await
}

async fn look_watched(open: &Open, custody: &Custody, watched: Option<&Watched>) -> usize {
    let what = open.job().name;
    let centers = match custody.all_centers().await {
        Ok(centers) => centers,
        Err(error) => {
            tracing::warn!(what, %error, "gateways cannot be polled");
            return 0;
        }
    };
    let mut asked = 0;
    for center in centers {
        let looked = tokio::time::timeout(Duration::from_secs(CENTER_MAX_S), open.poll_due(&center)).await;
        let error = match looked {
            Ok(Ok(polled)) => {
                asked += polled;
                String::new()
            }
            Ok(Err(error)) => {
                tracing::warn!(what, center = %center.id, %error, "a center cannot be polled");
                error.to_string()
            }
            Err(_) => {
                tracing::warn!(what, center = %center.id, "the gateway is slow; the rest is asked later");
                format!("not done within {CENTER_MAX_S} s")
            }
        };
        if let Some(watched) = watched {
            watched.looked(&center, open.job(), &error).await;
        }
    }
    asked
}
