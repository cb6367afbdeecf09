//! Following one remittance: how many may be followed at once, when the next look is, and when there is nothing more to see.

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::stream::{self, Stream};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};
use tonic::Status;

use super::remittance_view::Views;
use crate::{
    access::Actor,
    ids::{RemittanceId, Seq},
    ledger::{Center, Reason, Refusal},
    proto::{Remittance, remittance::State},
};

/// How long a change that another process made, or that is no transaction, may stay unseen, in milliseconds.
const POLL_MS: u64 = 1000;
/// The least time between two looks, in milliseconds: a busy center commits all the time, and each look is some queries.
const PAUSE_MS: u64 = 200;
/// How long one that has come to an end is still followed after its last change, in seconds.
const QUIET_S: u64 = 300;
/// The most remittances that one caller follows at once.
const SEATS_EACH_MAX: usize = 5;
/// The most that are followed at once at this process.
const SEATS_MAX: usize = 500;

/// What WatchRemittance answers with.
pub type RemittanceStream = Pin<Box<dyn Stream<Item = Result<Remittance, Status>> + Send>>;

/// Who follows how many remittances at the moment.
#[derive(Debug, Clone, Default)]
pub struct Seats(Arc<Mutex<HashMap<String, usize>>>);

/// The right to follow one remittance; given back when dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    who: String,
}

impl Seats {
    /// A seat for an actor. A payer has the same few whatever their tokens are called.
    ///
    /// Errors: TOO_MANY_WATCHES.
    pub fn take(&self, center: &Center, actor: &Actor) -> Result<Seat, Refusal> {
        let who = match actor.confined_to_payer() {
            Some(payer) => format!("{}/payers/{payer}", center.id),
            None => actor.name(),
        };
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= SEATS_MAX {
            return Err(too_many("service", SEATS_MAX));
        }
        let own = taken.entry(who.clone()).or_default();
        if *own >= SEATS_EACH_MAX {
            return Err(too_many("caller", SEATS_EACH_MAX));
        }
        *own += 1;
        let seats = self.clone();
        Ok(Seat { seats, who })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.who) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.who);
            }
        }
    }
}

fn too_many(whose: &str, limit: usize) -> Refusal {
    let message = format!("the {whose} follows as many remittances as it may at once: {limit}");
    Refusal::because(Reason::TooManyWatches, message)
        .with_fact("whose", whose)
        .with_fact("limit", limit)
}

/// Whether no more is expected of a remittance that has not changed for so long. Late money and refunds may still come: whoever
/// wants to see them asks again.
fn is_over(state: State, unchanged: Duration) -> bool {
    let has_ended = [
        State::Failed,
        State::Expired,
        State::Cancelled,
        State::Credited,
        State::Returned,
        State::PartReturned,
        State::PartRefunded,
        State::Refunded,
    ];
    has_ended.contains(&state) && unchanged >= Duration::from_secs(QUIET_S)
}

impl Views {
    /// A remittance as it stands, and again whenever that changes, until it has ended and been quiet for a while.
    pub fn watch(&self, center: Center, id: RemittanceId, seat: Seat) -> RemittanceStream {
        let watcher = Watcher {
            committed: self.lanes.committed(&center),
            views: self.clone(),
            center,
            id,
            last: None,
            changed_at: Instant::now(),
            _seat: seat,
        };
        Box::pin(stream::try_unfold(watcher, |mut watcher| async move {
            Ok(watcher.next().await?.map(|remittance| (remittance, watcher)))
        }))
    }
}

struct Watcher {
    views: Views,
    center: Center,
    id: RemittanceId,
    committed: watch::Receiver<Seq>,
    last: Option<Remittance>,
    changed_at: Instant,
    _seat: Seat,
}

impl Watcher {
    /// The next change; none when there is nothing more to see.
    async fn next(&mut self) -> Result<Option<Remittance>, Status> {
        loop {
            // What is committed from here on wakes the next look.
            self.committed.borrow_and_update();
            let found = self.views.remittances.remittance(&self.center, &self.id).await?;
            let found = self.views.one(&self.center, found).await?;
            if self.last.as_ref() != Some(&found) {
                self.last = Some(found.clone());
                self.changed_at = Instant::now();
                return Ok(Some(found));
            }
            if is_over(found.state(), self.changed_at.elapsed()) {
                return Ok(None);
            }
            tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
            // A closed channel means that the lanes are gone: the poll alone goes on.
            if let Ok(Err(_)) = timeout(Duration::from_millis(POLL_MS), self.committed.changed()).await {
                tokio::time::sleep(Duration::from_millis(POLL_MS)).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_followed_for_five_minutes_more() {
        let quiet = Duration::from_secs(QUIET_S);
        for ended in [State::Credited, State::Cancelled, State::Expired, State::Refunded] {
            assert!(is_over(ended, quiet));
            assert!(!is_over(ended, quiet - Duration::from_millis(1)));
        }
        for open in [State::Pending, State::Held, State::Suspended, State::Returning] {
            assert!(!is_over(open, quiet * 100), "{open:?}");
        }
    }
}
