//! A lane's task: drain, gather, load, fold, commit, answer.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tracing::{error, info_span, warn};
use uuid::Uuid;

use super::{
    AHEAD_MAX, ANSWER_S_MAX, Answer, BATCH_MAX, GATHER_MS_MAX, GATHERED_PERCENT, IDLE_S, LOAD_ROUNDS_MAX, RARE_S_MAX,
    REFOLD_ATTEMPTS_MAX, STATE_KEYS_MAX, Ticket, Work,
    commit::commit,
    fold::{Batch, fold},
    rare,
    state::State,
};
use crate::{
    clock::Clock,
    db::{Database, constraint},
    ids::Seq,
    ledger::{Center, Declined, LedgerError, Outcome, Posted, center, outcome, outcome::Stored},
};

/// What became of an attempt to commit tickets.
enum Attempt {
    /// The guard held it back: another process wrote, or answered one of the requests.
    Overtaken,
    /// The connection was lost; whether the statement was committed is not known.
    Lost,
    /// PostgreSQL cannot be reached, or gave up; nothing was committed.
    Unreachable,
    /// One command broke an invariant and was answered; the others are as before.
    Broken,
    /// Something else went wrong; nothing was committed.
    Failed(String),
}

pub(super) struct Task {
    center: Center,
    database: Database,
    clock: Clock,
    queue: mpsc::Receiver<Ticket>,
    announce: watch::Sender<Seq>,
    state: Option<State>,
    /// How many commands were in the lane when its last batch ended: those of the batch and those that waited.
    crowd: usize,
    /// How long the last batch took.
    took: Duration,
}

impl Task {
    pub fn new(
        center: Center,
        database: Database,
        clock: Clock,
        queue: mpsc::Receiver<Ticket>,
        announce: watch::Sender<Seq>,
    ) -> Task {
        Task {
            center,
            database,
            clock,
            queue,
            announce,
            state: None,
            crowd: 0,
            took: Duration::ZERO,
        }
    }

    /// Runs until every sender is gone and the queue is empty.
    pub async fn run(mut self) {
        let mut tickets = Vec::with_capacity(BATCH_MAX);
        loop {
            match timeout(
                Duration::from_secs(IDLE_S),
                self.queue.recv_many(&mut tickets, BATCH_MAX),
            )
            .await
            {
                Ok(0) => return,
                Ok(_) => {
                    self.gather(&mut tickets).await;
                    let (count, began) = (tickets.len(), Instant::now());
                    self.process(&mut tickets).await;
                    self.took = began.elapsed();
                    self.crowd = count + self.queue.len();
                }
                Err(_) => {
                    self.state = None;
                    self.database.batch.close_idle(Duration::from_secs(IDLE_S));
                }
            }
        }
    }

    /// Waits for more to commit together. Whoever was just answered often asks again at once; a batch begun with the first of
    /// them makes all others wait for its commit, and a commit costs the same for one as for many. So the lane waits until
    /// most of those it had before are there, but not longer than two batches take. It never waits for one caller alone.
    async fn gather(&mut self, tickets: &mut Vec<Ticket>) {
        // First, whatever has arrived at the sockets already.
        tokio::task::yield_now().await;
        let waiting = self.queue.len().min(BATCH_MAX - tickets.len());
        if waiting > 0 {
            self.queue.recv_many(tickets, waiting).await;
        }
        let wanted = (self.crowd * GATHERED_PERCENT / 100).min(BATCH_MAX);
        let more = async {
            while tickets.len() < wanted && self.queue.recv_many(tickets, wanted - tickets.len()).await > 0 {}
        };
        let longest = (self.took * 2).min(Duration::from_millis(GATHER_MS_MAX));
        // What has not come by then is for the next batch.
        let _ = timeout(longest, more).await;
    }

    /// Processes drained tickets in order; runs of hot commands together, each rare one alone.
    async fn process(&mut self, tickets: &mut Vec<Ticket>) {
        let mut hot = Vec::with_capacity(tickets.len());
        for ticket in tickets.drain(..) {
            match ticket.work {
                Work::Hot(_) => hot.push(ticket),
                Work::Rare(_) => {
                    self.process_hot(std::mem::take(&mut hot)).await;
                    self.process_rare(ticket).await;
                }
            }
        }
        self.process_hot(hot).await;
    }

    async fn process_hot(&mut self, mut tickets: Vec<Ticket>) {
        let mut repeats = take_repeats(&mut tickets);
        let mut attempts = 0;
        while attempts < REFOLD_ATTEMPTS_MAX {
            if tickets.is_empty() {
                return;
            }
            attempts += 1;
            let (count, mut failed) = (tickets.len(), None);
            match self.attempt(&mut tickets, &mut repeats).await {
                Ok(()) => return,
                // It is gone from the batch: the others must not run out of attempts because of it.
                Err(Attempt::Broken) => {
                    self.state = None;
                    attempts -= 1;
                    continue;
                }
                Err(Attempt::Overtaken) => self.state = None,
                Err(Attempt::Lost) => {
                    self.state = None;
                    warn!(center = %self.center.id, "a connection was lost; reading what became of the batch");
                }
                Err(Attempt::Unreachable) => {
                    self.state = None;
                    return answer_all(tickets, repeats, &LedgerError::Unavailable);
                }
                Err(Attempt::Failed(why)) => {
                    self.state = None;
                    failed = Some(why);
                }
            }
            if !self.answer_stored(&mut tickets, &mut repeats).await {
                return answer_all(tickets, repeats, &LedgerError::Unavailable);
            }
            // Another process may have done one of them: which of a request's rows PostgreSQL notices first is its choice, and
            // the domain's own are among them. Only what is left of a failure is a failure.
            if let Some(why) = failed
                && tickets.len() == count
            {
                return self.isolate(tickets, repeats, why).await;
            }
        }
        answer_all(tickets, repeats, &LedgerError::Unavailable);
    }

    /// One attempt: load, fold, commit, answer. On an error nothing was answered but broken commands.
    async fn attempt(&mut self, tickets: &mut Vec<Ticket>, repeats: &mut Repeats) -> Result<(), Attempt> {
        let mut state = match self.state.take() {
            Some(state) => state,
            None => self.fresh_state().await?,
        };
        self.load(&mut state, tickets).await?;
        let old = state.head;
        let mut batch = Batch::default();
        let broken = tickets.iter().position(|ticket| {
            let Work::Hot(command) = &ticket.work else {
                return false;
            };
            fold(command.as_ref(), &mut state, &self.clock, &mut batch)
                .inspect_err(|broken| error!(center = %self.center.id, error = %broken, "a command broke an invariant"))
                .is_err()
        });
        if let Some(index) = broken {
            // Its state may be half changed: answer this one, and let the caller fold the others anew.
            drop(batch);
            let ticket = tickets.remove(index);
            repeats.answer(&ticket.work.request().id.0, &Err(LedgerError::Internal));
            let _ = ticket.reply.send(Err(LedgerError::Internal));
            return Err(Attempt::Broken);
        }
        let mut answers = answers(&batch);
        let last = batch.last();
        let spans: Vec<_> = tickets
            .iter()
            .map(|ticket| info_span!(parent: &ticket.span, "ledger.commit", batch = tickets.len()))
            .collect();
        let mut lent = self.database.batch.lend().await.map_err(unreachable_or_failed)?;
        let committed = in_time(commit(&mut lent.conn, self.center.no, &old, &mut state.head, batch)).await;
        drop(spans);
        match committed {
            Ok(is_committed) => {
                lent.give_back();
                if !is_committed {
                    return Err(Attempt::Overtaken);
                }
            }
            Err(error) if constraint::is_request_repeated(&error) => {
                lent.give_back();
                return Err(Attempt::Overtaken);
            }
            // The connection is of unknown state, and is not given back.
            Err(error) if constraint::is_connection_lost(&error) => return Err(Attempt::Lost),
            Err(error) => return Err(unreachable_or_failed(error)),
        }
        if state.keys() < STATE_KEYS_MAX {
            self.state = Some(state);
        }
        if let Some(seq) = last {
            self.announce.send_replace(seq);
        }
        for ticket in tickets.drain(..) {
            let id = ticket.work.request().id.0;
            let answer = answers.remove(&id).unwrap_or(Err(LedgerError::Internal));
            repeats.answer_from(&id, ticket.work.request(), &answer);
            let _ = ticket.reply.send(answer);
        }
        Ok(())
    }

    async fn fresh_state(&self) -> Result<State, Attempt> {
        let mut lent = self.database.batch.lend().await.map_err(unreachable_or_failed)?;
        let head = in_time(center::head(&mut lent.conn, self.center.no, false))
            .await
            .map_err(unreachable_or_failed)?;
        lent.give_back();
        let ahead = head.recorded_at - self.clock.now();
        if ahead > AHEAD_MAX {
            // What is recorded now gets a time just after it: the business date may be wrong.
            error!(center = %self.center.id, %ahead, "the journal is ahead of the clock");
        }
        Ok(State::new(self.center.clone(), head))
    }

    async fn load(&self, state: &mut State, tickets: &[Ticket]) -> Result<(), Attempt> {
        for _ in 0..LOAD_ROUNDS_MAX {
            for ticket in tickets {
                if let Work::Hot(command) = &ticket.work {
                    command.want(state);
                }
            }
            if !state.is_wanting() {
                return Ok(());
            }
            let mut lent = self.database.batch.lend().await.map_err(unreachable_or_failed)?;
            in_time(state.load(&mut lent.conn))
                .await
                .map_err(unreachable_or_failed)?;
            lent.give_back();
        }
        Err(Attempt::Failed("a command keeps asking for more state".into()))
    }

    /// Answers the tickets whose requests have a stored outcome. `false` when the database could not tell.
    async fn answer_stored(&self, tickets: &mut Vec<Ticket>, repeats: &mut Repeats) -> bool {
        let ids: Vec<Uuid> = tickets.iter().map(|ticket| ticket.work.request().id.0).collect();
        let Some(found) = self.lookup(&ids).await else {
            return false;
        };
        for ticket in tickets.extract_if(.., |ticket| found.contains_key(&ticket.work.request().id.0)) {
            let request = ticket.work.request();
            if let Some(stored) = found.get(&request.id.0) {
                repeats.answer_stored(&request.id.0, stored);
                let _ = ticket.reply.send(stored.answer(request));
            }
        }
        true
    }

    async fn lookup(&self, ids: &[Uuid]) -> Option<HashMap<Uuid, Stored>> {
        for _ in 0..REFOLD_ATTEMPTS_MAX {
            match self.lookup_once(ids).await {
                Ok(found) => return Some(found),
                Err(error) if constraint::is_connection_lost(&error) && !constraint::is_unreachable(&error) => {}
                Err(error) => {
                    warn!(center = %self.center.id, %error, "outcomes cannot be read");
                    return None;
                }
            }
        }
        None
    }

    async fn lookup_once(&self, ids: &[Uuid]) -> sqlx::Result<HashMap<Uuid, Stored>> {
        let mut lent = self.database.batch.lend().await?;
        let found = in_time(outcome::lookup(&mut lent.conn, self.center.no, ids)).await?;
        lent.give_back();
        Ok(found)
    }

    /// A batch that PostgreSQL refused for a reason of its own: each command alone, so that one cannot disturb the others.
    async fn isolate(&mut self, mut tickets: Vec<Ticket>, repeats: Repeats, why: String) {
        if tickets.len() > 1 {
            warn!(center = %self.center.id, error = %why, "a batch failed; committing its commands one by one");
            tickets.extend(repeats.into_tickets());
            for ticket in tickets {
                Box::pin(self.process_hot(vec![ticket])).await;
            }
        } else {
            error!(center = %self.center.id, error = %why, "a command cannot be committed");
            answer_all(tickets, repeats, &LedgerError::Internal);
        }
    }

    async fn process_rare(&mut self, ticket: Ticket) {
        let Work::Rare(command) = &ticket.work else { return };
        // Whatever it does, it does outside of what the lane knows.
        self.state = None;
        let mut answer = Err(LedgerError::Unavailable);
        for _ in 0..REFOLD_ATTEMPTS_MAX {
            let span = info_span!(parent: &ticket.span, "ledger.commit", batch = 1);
            let run = rare::run(&self.database, &self.center, &self.clock, command.as_ref());
            let ended = timeout(Duration::from_secs(RARE_S_MAX), run).await;
            drop(span);
            let Ok(ended) = ended else {
                warn!(center = %self.center.id, "a transaction took too long; what became of it is not known");
                break;
            };
            answer = match ended {
                Ok(answer) => answer,
                Err(Declined::Database(error)) if constraint::is_request_repeated(&error) => continue,
                // A commit may have been done although the connection was lost: running again finds the stored outcome.
                Err(Declined::Database(error)) if constraint::is_connection_lost(&error) => {
                    warn!(center = %self.center.id, %error, "the connection was lost in a transaction");
                    if constraint::is_unreachable(&error) {
                        break;
                    }
                    continue;
                }
                Err(Declined::Database(error)) if constraint::is_given_up(&error) => {
                    warn!(center = %self.center.id, %error, "a transaction was given up");
                    break;
                }
                Err(broken) => {
                    error!(center = %self.center.id, error = %broken, "a command cannot be committed");
                    Err(LedgerError::Internal)
                }
            };
            break;
        }
        if let Ok(Outcome::Posted(posted)) = &answer {
            self.announce.send_if_modified(|seq| {
                let later = posted.seq() > *seq;
                *seq = posted.seq().max(*seq);
                later
            });
        }
        let _ = ticket.reply.send(answer);
    }
}

/// What each request is told once the batch is committed.
fn answers(batch: &Batch<'_>) -> HashMap<Uuid, Answer> {
    let posted = batch.entries.iter().map(|(request, entry, _)| {
        let posted = Posted {
            record: entry.record.clone(),
            replayed: false,
        };
        (request.id.0, Ok(Outcome::Posted(posted)))
    });
    let refused = batch.refusals.iter().map(|(request, refusal, _)| {
        (
            request.id.0,
            Ok(Outcome::Refused {
                refusal: refusal.clone(),
                replayed: false,
            }),
        )
    });
    posted.chain(refused).collect()
}

/// An answer that does not come is a connection that is lost: what it was about is read anew.
async fn in_time<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    match timeout(Duration::from_secs(ANSWER_S_MAX), work).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

fn unreachable_or_failed(error: sqlx::Error) -> Attempt {
    if constraint::is_unreachable(&error) || constraint::is_given_up(&error) {
        Attempt::Unreachable
    } else if constraint::is_connection_lost(&error) {
        Attempt::Lost
    } else {
        Attempt::Failed(error.to_string())
    }
}

/// Tickets whose request id is that of another ticket in the same batch: they join it.
#[derive(Default)]
struct Repeats {
    tickets: HashMap<Uuid, Vec<Ticket>>,
}

fn take_repeats(tickets: &mut Vec<Ticket>) -> Repeats {
    let mut repeats = Repeats::default();
    let mut seen = std::collections::HashSet::with_capacity(tickets.len());
    for ticket in tickets.extract_if(.., |ticket| !seen.insert(ticket.work.request().id.0)) {
        repeats
            .tickets
            .entry(ticket.work.request().id.0)
            .or_default()
            .push(ticket);
    }
    repeats
}

impl Repeats {
    fn answer(&mut self, id: &Uuid, answer: &Answer) {
        for ticket in self.tickets.remove(id).unwrap_or_default() {
            let _ = ticket.reply.send(answer.clone());
        }
    }

    fn answer_from(&mut self, id: &Uuid, first: &crate::ledger::Request, answer: &Answer) {
        if self.tickets.is_empty() {
            return;
        }
        match answer {
            Ok(outcome) => self.answer_stored(id, &Stored::of(first, outcome.clone())),
            Err(_) => self.answer(id, answer),
        }
    }

    fn answer_stored(&mut self, id: &Uuid, stored: &Stored) {
        for ticket in self.tickets.remove(id).unwrap_or_default() {
            let answer = stored.answer(ticket.work.request());
            let _ = ticket.reply.send(answer);
        }
    }

    fn into_tickets(self) -> impl Iterator<Item = Ticket> {
        self.tickets.into_values().flatten()
    }
}

fn answer_all(tickets: Vec<Ticket>, repeats: Repeats, error: &LedgerError) {
    for ticket in tickets.into_iter().chain(repeats.into_tickets()) {
        let _ = ticket.reply.send(Err(error.clone()));
    }
}
