//! Lanes: the one way to write to a journal.
//!
//! Each center has one lane in a process: a bounded queue and a task. The task drains what is queued, decides the commands
//! one after the other in memory, and commits the whole batch in one guarded statement (`commit`). Each command has its own
//! outcome. Commands that need an ordinary transaction ([`RareCommand`]) take their turn in the same queue (`rare`).
//!
//! The guard makes any number of processes on one database correct: a batch commits only if the journal, and the rules its
//! decisions read, are still what the fold read. If not, the lane forgets what it knows, looks whether another process has
//! answered its requests, and folds again.
//!
//! Why loading is consistent although it takes several statements: `seq` and `rules_version` only grow, and whoever changes
//! anything a decision reads moves one of them in the same transaction. If neither moved between the first load and the
//! guard, nothing that was loaded in between can have changed.

mod asked;
mod batch;
mod commit;
mod fold;
mod instruments;
mod rare;
mod repeats;
mod retry;
mod rows;
mod state;
mod task;
mod writer;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use futures::future::BoxFuture;
use time::{Date, OffsetDateTime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;
use tracing::Span;

use crate::{
    clock::Clock,
    db::{self, Database},
    ids::{CenterNo, Seq},
    ledger::{Center, Declined, Draft, Entry, LedgerError, Outcome, Posted, Request},
};

pub use asked::Asked;
use instruments::Instruments;
pub use rare::JournalTx;
pub use rows::{RowSet, Rows};
pub use state::{Room, State};
use writer::Writers;

/// Most commands decided and committed together.
const BATCH_MAX: usize = 512;
/// Most times a batch is folded again because another process wrote, or because a connection was lost. All connections may
/// have been lost at once, and those of the general pool are noticed one by one.
const REFOLD_ATTEMPTS_MAX: u32 = 8 + db::LANE_CONNECTIONS_MAX;
/// Most rounds of loading that one batch may need before its commands can decide.
const LOAD_ROUNDS_MAX: u32 = 4;
/// Most keys a lane keeps in memory before it forgets them all.
const STATE_KEYS_MAX: usize = 200_000;
/// Longest a lane waits for one answer of the database, in seconds. The database itself gives up before.
const ANSWER_S_MAX: u64 = 17;
/// Longest the transaction of a rare command may take, in seconds.
const RARE_S_MAX: u64 = 60;
/// How far the last transaction's time may be ahead of the clock before it is told.
const AHEAD_MAX: time::Duration = time::Duration::minutes(5);
/// How long an idle lane keeps what it knows, in seconds.
const IDLE_S: u64 = 60;

/// When and where in the journal a decision is taken.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The number the transaction gets if it is not refused.
    pub seq: Seq,
    /// When it is recorded; strictly increasing within a center.
    pub recorded_at: OffsetDateTime,
    /// The business date in the center's zone.
    pub effective_date: Date,
}

/// A command of the hot path: decided in memory from cached state, committed in a batch.
pub trait Command: Send + Sync + 'static {
    /// What identifies it.
    fn request(&self) -> &Request;

    /// Declares what the decision reads. Called again after each round of loading, because one answer (whose account it
    /// is) may lead to the next question (what is in it).
    fn want(&self, state: &mut State);

    /// Decides: pure, no I/O, no clock.
    fn decide(&self, state: &State, moment: &Moment) -> Result<Draft, Declined>;

    /// Applies the decided transaction to the rooms and adds the domain's rows. Balances are the ledger's own business.
    fn apply(&self, entry: &Entry, state: &mut State, rows: &mut Rows) -> Result<(), Declined>;
}

/// A command that takes an ordinary database transaction, alone, on the same lane.
pub trait RareCommand: Send + Sync + 'static {
    /// What identifies it.
    fn request(&self) -> &Request;

    /// Another center whose journal is locked, too, and may be written to by the same transaction.
    fn other(&self) -> Option<&Center> {
        None
    }

    /// Reads, decides and writes its own rows inside the transaction, in which the journal is locked. On a refusal
    /// everything it wrote is rolled back and only the refusal is stored.
    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>>;
}

type Answer = Result<Outcome, LedgerError>;

enum Work {
    Hot(Box<dyn Command>),
    Rare(Box<dyn RareCommand>),
}

impl Work {
    fn request(&self) -> &Request {
        match self {
            Work::Hot(command) => command.request(),
            Work::Rare(command) => command.request(),
        }
    }
}

struct Ticket {
    work: Work,
    reply: oneshot::Sender<Answer>,
    span: Span,
}

struct Lane {
    queue: mpsc::Sender<Ticket>,
    committed: watch::Receiver<Seq>,
}

/// The lanes of this process, one for each center that was written to.
#[derive(Clone)]
pub struct Lanes {
    inner: Arc<Inner>,
}

struct Inner {
    database: Database,
    clock: Clock,
    queue_max: usize,
    lanes: Mutex<HashMap<CenterNo, Lane>>,
    tasks: TaskTracker,
    writers: OnceLock<Writers>,
    instruments: Instruments,
}

impl Inner {
    /// The writers, started when first needed: that takes a runtime.
    fn writers(&self) -> &Writers {
        self.writers
            .get_or_init(|| Writers::start(&self.database, &self.instruments))
    }
}

impl Lanes {
    /// Lanes over a database. `queue_max` bounds each center's queue, in commands.
    pub fn new(database: Database, clock: Clock, queue_max: usize) -> Lanes {
        Lanes {
            inner: Arc::new(Inner {
                database,
                clock,
                queue_max,
                lanes: Mutex::default(),
                tasks: TaskTracker::new(),
                writers: OnceLock::new(),
                instruments: Instruments::new(),
            }),
        }
    }

    /// The clock that transactions are recorded by.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// The database under the lanes.
    pub fn database(&self) -> &Database {
        &self.inner.database
    }

    /// Submits a hot command and waits for its committed outcome. The command goes on if the caller gives up waiting; its
    /// outcome can then be read by its request id.
    pub async fn submit(&self, center: &Center, command: impl Command) -> Result<Posted, LedgerError> {
        self.send(center, Work::Hot(Box::new(command))).await
    }

    /// Submits a rare command and waits for its committed outcome.
    pub async fn submit_rare(&self, center: &Center, command: impl RareCommand) -> Result<Posted, LedgerError> {
        self.send(center, Work::Rare(Box::new(command))).await
    }

    /// Follows the last transaction that this process committed in a center.
    pub fn committed(&self, center: &Center) -> watch::Receiver<Seq> {
        self.with_lane(center, |lane| lane.committed.clone())
    }

    /// Ends all lanes, and waits until what is in their queues is committed: also that for which nobody waits any more. What
    /// is submitted later is answered [`LedgerError::Unavailable`].
    pub async fn close(&self) {
        self.inner.tasks.close();
        self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.inner.tasks.wait().await;
    }

    async fn send(&self, center: &Center, work: Work) -> Result<Posted, LedgerError> {
        let method = work.request().method;
        let answer = self.ask(center, work).await;
        self.inner.instruments.answered(method, &answer);
        match answer? {
            Outcome::Posted(posted) => Ok(posted),
            Outcome::Refused { refusal, replayed } => Err(LedgerError::Refused { refusal, replayed }),
            // Of methods that take no lane; under another method the id is refused as reused.
            Outcome::Accepted { .. } => Err(LedgerError::Internal),
        }
    }

    async fn ask(&self, center: &Center, work: Work) -> Answer {
        let (reply, answer) = oneshot::channel();
        let ticket = Ticket {
            work,
            reply,
            span: Span::current(),
        };
        self.with_lane(center, |lane| lane.queue.try_send(ticket))
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => LedgerError::QueueFull,
                mpsc::error::TrySendError::Closed(_) => LedgerError::Unavailable,
            })?;
        answer.await.unwrap_or(Err(LedgerError::Unavailable))
    }

    fn with_lane<T>(&self, center: &Center, act: impl FnOnce(&Lane) -> T) -> T {
        // A poisoned map is still a map: inserting a lane is the only change ever made to it.
        let mut lanes = self.inner.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(center.no).or_insert_with(|| {
            let (queue, tickets) = mpsc::channel(self.inner.queue_max);
            let (announce, committed) = watch::channel(Seq::ZERO);
            let task = task::Task::new(
                center.clone(),
                self.inner.database.clone(),
                self.inner.clock.clone(),
                tickets,
                announce,
                self.inner.writers().clone(),
                self.inner.instruments.clone(),
            );
            // Once closed, nothing is taken any more: the queue ends with its receiver.
            if !self.inner.tasks.is_closed() {
                self.inner.tasks.spawn(task.run());
            }
            Lane { queue, committed }
        });
        act(lane)
    }
}
