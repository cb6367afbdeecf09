//! Asking gateways about remittances and refunds whose notification did not come, closing orders that were not paid in time, and
//! sending back what goes back by itself; and sending after detainees what comes for them once they have moved.
//!
//! Each channel has tasks of its own, and each question a limit of time, so that a gateway that is down or hangs costs only its own
//! orders and refunds their turn. Within a channel what has waited longest goes first, a few at a time.
//!
//! Any number of processes may look: what one takes, the others leave alone for a while.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use tokio::{task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::status::{self, Job, Watched};
use crate::{
    custody::Custody,
    gateway::ChannelSet,
    ids::CenterNo,
    ledger::{Center, LedgerError},
    refund::Refunds,
    remittance::Remittances,
    transfer::Transfers,
};

/// The pause between two looks, in seconds.
const TICK_S: u64 = 5;
/// The most remittances, or refunds, of one center and channel asked about in one look.
const BATCH_MAX: i64 = 50;
/// The longest one center may take in one look of one channel, in seconds: what is left waits for the next look.
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
    /// Payments for detainees who moved.
    Late(Remittances, Transfers),
}

impl Open {
    fn job(&self) -> &'static Job {
        match self {
            Open::Remittances(_) => &status::ORDERS,
            Open::Refunds(_) => &status::REFUNDS,
            Open::Returns(..) => &status::RETURNS,
            Open::Aged(..) => &status::AGED,
            Open::Late(..) => &status::LATE_MONEY,
        }
    }

    /// What is looked at apart. What goes back by itself is only recorded; taking it to the gateway is the refunds' matter.
    fn sets(&self) -> Vec<ChannelSet> {
        match self {
            Open::Remittances(remittances) => remittances.channels().sets(),
            Open::Refunds(refunds) => refunds.channels().sets(),
            Open::Returns(..) | Open::Aged(..) | Open::Late(..) => vec![ChannelSet::all()],
        }
    }

    async fn poll_due(&self, center: &Center, channels: &ChannelSet) -> Result<usize, LedgerError> {
        match self {
            Open::Remittances(remittances) => remittances.poll_due_of(center, channels, BATCH_MAX).await,
            Open::Refunds(refunds) => refunds.poll_due_of(center, channels, BATCH_MAX).await,
            Open::Returns(remittances, refunds) => refunds.return_due(remittances, center, BATCH_MAX).await,
            Open::Aged(remittances, refunds) => refunds.return_aged(remittances, center, BATCH_MAX).await,
            Open::Late(remittances, transfers) => transfers.forward_late(remittances, center, BATCH_MAX).await,
        }
    }
}

/// How the last look at each center of each channel's orders ended: a job goes well in a center if all of them do.
#[derive(Default)]
struct Ends(Mutex<BTreeMap<(CenterNo, usize), String>>);

impl Ends {
    /// Keeps how a look ended; what is wrong with the center, whichever channel it is, or nothing.
    fn put(&self, center: CenterNo, set: usize, error: String) -> String {
        let mut ends = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.insert((center, set), error);
        let mut of_center = ends.range((center, 0)..=(center, usize::MAX));
        of_center
            .find(|(_, error)| !error.is_empty())
            .map(|(_, error)| error.clone())
            .unwrap_or_default()
    }
}

/// One kind of what is open, through some channels.
struct Watch {
    open: Open,
    number: usize,
    channels: ChannelSet,
    custody: Custody,
    /// Where it is told how it went, by the service's own jobs.
    told: Option<(Watched, Arc<Ends>)>,
}

/// Runs until told to stop. Nothing that fails ends it: what was not learnt is asked again.
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
        let ends = Arc::new(Ends::default());
        for watch in watches(&open, &custody, Some(&(watched.clone(), ends))) {
            tasks.spawn(keep_looking(watch, stop.clone()));
        }
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "polling has ended");
        }
    }
}

/// Sends late money after detainees who moved, until told to stop.
pub async fn follow(
    remittances: Remittances,
    transfers: Transfers,
    custody: Custody,
    watched: Watched,
    stop: CancellationToken,
) {
    let told = (watched, Arc::new(Ends::default()));
    let looking = watches(&Open::Late(remittances, transfers), &custody, Some(&told))
        .into_iter()
        .map(|watch| keep_looking(watch, stop.clone()));
    join_all(looking).await;
}

fn watches(open: &Open, custody: &Custody, told: Option<&(Watched, Arc<Ends>)>) -> Vec<Watch> {
    let watch = |(number, channels)| Watch {
        open: open.clone(),
        number,
        channels,
        custody: custody.clone(),
        told: told.cloned(),
    };
    open.sets().into_iter().enumerate().map(watch).collect()
}

async fn keep_looking(watch: Watch, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(Duration::from_secs(TICK_S));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        tokio::select! {
            () = stop.cancelled() => return,
            _ = watch.look() => {}
        }
    }
}

/// One look at every center and channel; how many were asked about.
pub async fn look(open: &Open, custody: &Custody) -> usize {
    let watches = watches(open, custody, None);
    join_all(watches.iter().map(Watch::look)).await.into_iter().sum()
}

impl Watch {
    /// One look at every center. What goes wrong in one is logged, and the next has its turn.
    async fn look(&self) -> usize {
        let what = self.open.job().name;
        let centers = match self.custody.all_centers().await {
            Ok(centers) => centers,
            Err(error) => {
                tracing::warn!(what, %error, "gateways cannot be polled");
                return 0;
            }
        };
        let mut asked = 0;
        for center in centers {
            let polling = self.open.poll_due(&center, &self.channels);
            let error = match tokio::time::timeout(Duration::from_secs(CENTER_MAX_S), polling).await {
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
            if let Some((watched, ends)) = &self.told {
                let error = ends.put(center.no, self.number, error);
                watched.looked(&center, self.open.job(), &error).await;
            }
        }
        asked
    }
}
