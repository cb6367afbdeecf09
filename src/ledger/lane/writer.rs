//! Writers: the tasks that send batches to PostgreSQL, those of several centers together when several wait.
//!
//! A commit costs PostgreSQL the same for one center as for many. So while the writers are busy, the batches of all lanes
//! collect, and the next writer takes all of them in one statement. Centers stay apart all the same: a center whose head
//! another transaction holds is skipped, one whose journal has moved is left out by its guard, and when the statement fails
//! each batch is written alone.

use std::{sync::Arc, thread::available_parallelism, time::Instant};

use tokio::sync::{Mutex, mpsc, oneshot};

use super::{
    batch::Batch,
    commit::{Held, commit},
    instruments::Instruments,
    task::{Attempt, in_time, unreachable_or_failed},
};
use crate::db::{Database, constraint};

/// Fewest and most writers. One more than there are batches at PostgreSQL hides the time that a commit waits for its disk.
const WRITERS: std::ops::RangeInclusive<usize> = 2..=4;
/// Most centers written together.
const CENTERS_MAX: usize = 64;

/// A batch, and who waits for what becomes of it.
struct Job {
    batch: Batch,
    done: oneshot::Sender<Result<(), Attempt>>,
}

/// The writers of a process. Cheap to clone; they end with the last clone.
#[derive(Clone)]
pub(super) struct Writers {
    // Not bounded: a lane sends one batch and waits for it.
    queue: mpsc::UnboundedSender<Job>,
}

impl Writers {
    /// Starts the writers.
    pub fn start(database: &Database, instruments: &Instruments) -> Writers {
        let (queue, jobs) = mpsc::unbounded_channel();
        let jobs = Arc::new(Mutex::new(jobs));
        let cores = available_parallelism().map_or(*WRITERS.start(), usize::from);
        for _ in 0..cores.clamp(*WRITERS.start(), *WRITERS.end()) {
            let writer = Writer {
                database: database.clone(),
                instruments: instruments.clone(),
            };
            tokio::spawn(writer.run(jobs.clone()));
        }
        Writers { queue }
    }

    /// Has a batch written. What is received is an error of the channel only if the process ends.
    pub fn write(&self, batch: Batch) -> oneshot::Receiver<Result<(), Attempt>> {
        let (done, outcome) = oneshot::channel();
        // Without a writer the sender is dropped, which the receiver is told.
        let _ = self.queue.send(Job { batch, done });
        outcome
    }
}

#[derive(Clone)]
struct Writer {
    database: Database,
    instruments: Instruments,
}

impl Writer {
    async fn run(self, queue: Arc<Mutex<mpsc::UnboundedReceiver<Job>>>) {
        let mut jobs = Vec::with_capacity(CENTERS_MAX);
        while queue.lock().await.recv_many(&mut jobs, CENTERS_MAX).await > 0 {
            self.write_together(&mut jobs).await;
        }
    }

    /// Writes what can be written now without waiting for anybody's lock; the rest by itself, meanwhile.
    async fn write_together(&self, jobs: &mut Vec<Job>) {
        let batches: Vec<&Batch> = jobs.iter().map(|job| &job.batch).collect();
        let written = self.write(&batches, Held::Skip).await;
        for job in jobs.drain(..) {
            match &written {
                Ok(centers) if centers.contains(&job.batch.center) => job.tell(Ok(())),
                // Held by another transaction, moved, or in the same statement as one that PostgreSQL refuses.
                Ok(_) | Err(Attempt::Overtaken | Attempt::Failed(_)) => {
                    let writer = self.clone();
                    tokio::spawn(async move { writer.write_alone(job).await });
                }
                Err(error) => job.tell(Err(error.clone())),
            }
        }
    }

    async fn write_alone(&self, job: Job) {
        let written = match self.write(&[&job.batch], Held::Wait).await {
            Ok(centers) if centers.is_empty() => Err(Attempt::Overtaken),
            Ok(_) => Ok(()),
            Err(error) => Err(error),
        };
        job.tell(written);
    }

    async fn write(&self, batches: &[&Batch], held: Held) -> Result<Vec<crate::ids::CenterNo>, Attempt> {
        let mut lent = self.database.batch.lend().await.map_err(unreachable_or_failed)?;
        let began = Instant::now();
        let written = in_time(commit(&mut lent.conn, batches, held)).await;
        self.instruments.committed(began.elapsed());
        match written {
            Ok(centers) => {
                lent.give_back();
                Ok(centers)
            }
            Err(error) if constraint::is_request_repeated(&error) => {
                lent.give_back();
                Err(Attempt::Overtaken)
            }
            // The connection is of unknown state, and is not given back.
            Err(error) if constraint::is_connection_lost(&error) => Err(Attempt::Lost),
            Err(error) => Err(unreachable_or_failed(error)),
        }
    }
}

impl Job {
    fn tell(self, outcome: Result<(), Attempt>) {
        // Whoever waited may be gone with the process's end.
        let _ = self.done.send(outcome);
    }
}
