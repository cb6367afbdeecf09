//! A lane's task: drain, load, fold, have it written, answer. While a batch is being written, the next is folded on what
//! the journal will be if it is; the guard makes sure that it is only written if it was.

use std::{
    collections::{HashSet, VecDeque},
    time::Duration,
};

use tokio::{
    select,
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use tracing::{Span, debug_span, error};
use uuid::Uuid;

use super::{
    AHEAD_MAX, ANSWER_S_MAX, Answer, BATCH_MAX, IDLE_S, LOAD_ROUNDS_MAX, STATE_KEYS_MAX, Ticket, Work, batch::Batch,
    fold::fold, instruments::Instruments, repeats::Repeats, state::State, writer::Writers,
};
use crate::{
    clock::Clock,
    db::{Database, constraint},
    ids::Seq,
    ledger::{Center, center},
};

/// What became of an attempt to commit tickets.
#[derive(Debug, Clone)]
pub(super) enum Attempt {
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

/// Tickets that are decided, each with what it is told once their batch is written.
#[derive(Default)]
struct Decided {
    tickets: Vec<Ticket>,
    answers: Vec<Answer>,
    ids: HashSet<Uuid>,
    repeats: Repeats,
}

/// Decided tickets whose batch is not yet sent.
struct Folded {
    decided: Decided,
    batch: Batch,
}

/// Decided tickets whose batch is being written.
struct Sent {
    decided: Decided,
    last: Option<Seq>,
    _spans: Vec<Span>,
    outcome: oneshot::Receiver<Result<(), Attempt>>,
}

/// Why what waits is not folded any further.
#[derive(PartialEq, Eq)]
enum Stop {
    /// All of it is.
    Done,
    /// A rare command, which goes alone, or more than a batch may have.
    Full,
    /// Something is not known that must be loaded, which is done when nothing is being written.
    Unloaded,
    /// The first of those that wait breaks an invariant. Whatever was folded with it is undone.
    Broken,
}

pub(super) struct Task {
    pub(super) center: Center,
    pub(super) database: Database,
    pub(super) clock: Clock,
    queue: mpsc::Receiver<Ticket>,
    announce: watch::Sender<Seq>,
    writers: Writers,
    pub(super) instruments: Instruments,
    /// What is known of the center, after all that is folded. Nothing after anything went wrong.
    pub(super) state: Option<State>,
    /// Drained, not yet decided.
    waiting: VecDeque<Ticket>,
    folded: Option<Folded>,
    sent: Option<Sent>,
    is_closed: bool,
}

impl Task {
    pub fn new(
        center: Center,
        database: Database,
        clock: Clock,
        queue: mpsc::Receiver<Ticket>,
        announce: watch::Sender<Seq>,
        writers: Writers,
        instruments: Instruments,
    ) -> Task {
        Task {
            center,
            database,
            clock,
            queue,
            announce,
            writers,
            instruments,
            state: None,
            waiting: VecDeque::new(),
            folded: None,
            sent: None,
            is_closed: false,
        }
    }

    /// Runs until every sender is gone and the queue is empty.
    pub async fn run(mut self) {
        loop {
            if let Some(sent) = self.sent.take() {
                self.fold_until_written(sent).await;
            } else if self.folded.is_none() && self.waiting.is_empty() {
                if !self.wait().await {
                    return;
                }
            } else {
                self.gather().await;
                self.proceed().await;
            }
        }
    }

    /// Waits for something to do. `false` once there is nothing more to come.
    async fn wait(&mut self) -> bool {
        match timeout(Duration::from_secs(IDLE_S), self.drain(BATCH_MAX)).await {
            Ok(count) => count > 0,
            Err(_) => {
                self.state = None;
                self.database.batch.close_idle(Duration::from_secs(IDLE_S));
                true
            }
        }
    }

    /// Waits for at least one ticket and takes at most `most`. None come when every sender is gone.
    async fn drain(&mut self, most: usize) -> usize {
        let mut tickets = Vec::with_capacity(most.min(64));
        let count = self.queue.recv_many(&mut tickets, most).await;
        self.is_closed |= count == 0;
        self.waiting.extend(tickets);
        count
    }

    /// How many tickets are at hand and not yet sent.
    fn at_hand(&self) -> usize {
        self.waiting.len() + self.folded.as_ref().map_or(0, |folded| folded.decided.tickets.len())
    }

    /// Takes what has arrived at the sockets already. It does not wait for more: what comes while a batch is written makes the
    /// next one, so that batches grow by themselves as long as PostgreSQL is slower than the callers.
    async fn gather(&mut self) {
        tokio::task::yield_now().await;
        let room = BATCH_MAX.saturating_sub(self.at_hand());
        if room > 0 && !self.queue.is_empty() {
            self.drain(room).await;
        }
    }

    /// Folds what is at hand and sends it, or does what must be done before. Nothing is being written.
    async fn proceed(&mut self) {
        let stop = self.fold_waiting();
        if self.folded.is_some() {
            return self.send();
        }
        match stop {
            Stop::Done => {}
            Stop::Full => {
                if let Some(ticket) = self.waiting.pop_front() {
                    self.process_rare(ticket).await;
                }
            }
            Stop::Unloaded => {
                if let Err(error) = self.load_waiting().await {
                    self.state = None;
                    let (tickets, repeats) = self.take_hot();
                    self.retry(tickets, repeats, error).await;
                }
            }
            // Perhaps only because another process wrote while it was loaded.
            Stop::Broken => {
                let (tickets, repeats) = self.take_hot();
                self.process(tickets, repeats).await;
            }
        }
    }

    /// Waits for what becomes of a batch, and folds meanwhile what comes.
    async fn fold_until_written(&mut self, mut sent: Sent) {
        let room = BATCH_MAX.saturating_sub(self.at_hand());
        let can_fold = self.waiting.is_empty() && !self.is_closed && room > 0;
        let outcome = select! {
            biased;
            outcome = &mut sent.outcome => outcome,
            _ = self.drain(room), if can_fold => {
                self.sent = Some(sent);
                self.fold_waiting();
                return;
            }
        };
        // Writers end with the process only.
        match outcome.unwrap_or(Err(Attempt::Unreachable)) {
            Ok(()) => self.settle(sent),
            Err(error) => {
                self.unfold();
                self.state = None;
                self.retry(sent.decided.tickets, sent.decided.repeats, error).await;
            }
        }
    }

    /// Answers what was written. The next batch goes first, so that PostgreSQL does not wait for the answers.
    fn settle(&mut self, sent: Sent) {
        if self.state.as_ref().is_some_and(|state| state.keys() >= STATE_KEYS_MAX) && self.folded.is_none() {
            self.state = None;
        }
        self.send();
        self.announce(sent.last);
        sent.decided.answer();
    }

    pub(super) fn announce(&self, last: Option<Seq>) {
        if let Some(seq) = last {
            self.announce.send_if_modified(|announced| {
                let is_later = seq > *announced;
                *announced = seq.max(*announced);
                is_later
            });
        }
    }

    /// Has what is folded written.
    fn send(&mut self) {
        let Some(Folded { decided, batch }) = self.folded.take() else {
            return;
        };
        self.instruments
            .began(&self.center.id, decided.tickets.len(), self.queue.len());
        self.sent = Some(Sent {
            last: batch.last(),
            _spans: decided.tickets.iter().map(|ticket| ticket.span(batch.len())).collect(),
            outcome: self.writers.write(batch),
            decided,
        });
    }

    /// Decides what waits as far as what is known reaches: no I/O.
    fn fold_waiting(&mut self) -> Stop {
        let Some(mut state) = self.state.take() else {
            let is_rare = |ticket: &Ticket| matches!(ticket.work, Work::Rare(_));
            return match self.waiting.front() {
                None => Stop::Done,
                Some(ticket) if is_rare(ticket) => Stop::Full,
                Some(_) => Stop::Unloaded,
            };
        };
        let mut folded = self.folded.take().unwrap_or_else(|| Folded {
            decided: Decided::default(),
            batch: Batch::new(self.center.no, state.head),
        });
        let stop = self.fold_into(&mut folded, &mut state);
        let is_empty = folded.decided.tickets.is_empty();
        self.folded = (!is_empty).then_some(folded);
        if stop == Stop::Broken {
            self.unfold();
        } else {
            self.state = Some(state);
        }
        stop
    }

    fn fold_into(&mut self, folded: &mut Folded, state: &mut State) -> Stop {
        while let Some(ticket) = self.waiting.pop_front() {
            let id = ticket.id();
            if folded.decided.ids.contains(&id) {
                folded.decided.repeats.join(ticket);
                continue;
            }
            if let Some(sent) = self.sent.as_mut().filter(|sent| sent.decided.ids.contains(&id)) {
                sent.decided.repeats.join(ticket);
                continue;
            }
            let Work::Hot(command) = &ticket.work else {
                self.waiting.push_front(ticket);
                return Stop::Full;
            };
            if folded.decided.tickets.len() >= BATCH_MAX {
                self.waiting.push_front(ticket);
                return Stop::Full;
            }
            command.want(state);
            if state.is_wanting() {
                self.waiting.push_front(ticket);
                return Stop::Unloaded;
            }
            match fold(command.as_ref(), state, &self.clock, &mut folded.batch) {
                Ok(outcome) => folded.decided.push(ticket, Ok(outcome)),
                Err(_) => {
                    self.waiting.push_front(ticket);
                    return Stop::Broken;
                }
            }
        }
        Stop::Done
    }

    /// Puts what is folded back before what waits: it was decided on what is not so.
    fn unfold(&mut self) {
        if let Some(folded) = self.folded.take() {
            for ticket in folded.decided.into_tickets().rev() {
                self.waiting.push_front(ticket);
            }
        }
    }

    /// The hot commands that wait, up to the first rare one, and those that repeat one of them.
    fn take_hot(&mut self) -> (Vec<Ticket>, Repeats) {
        let is_hot = |ticket: &Ticket| matches!(ticket.work, Work::Hot(_));
        let count = self
            .waiting
            .iter()
            .take(BATCH_MAX)
            .take_while(|ticket| is_hot(ticket))
            .count();
        let (mut ids, mut repeats) = (HashSet::new(), Repeats::default());
        let mut tickets = Vec::with_capacity(count);
        for ticket in self.waiting.drain(..count) {
            if ids.insert(ticket.id()) {
                tickets.push(ticket);
            } else {
                repeats.join(ticket);
            }
        }
        (tickets, repeats)
    }

    async fn load_waiting(&mut self) -> Result<(), Attempt> {
        let mut state = match self.state.take() {
            Some(state) => state,
            None => self.fresh_state().await?,
        };
        let hot = self.waiting.iter().take(BATCH_MAX).map(|ticket| &ticket.work);
        self.load(&mut state, hot).await?;
        self.state = Some(state);
        Ok(())
    }

    pub(super) async fn fresh_state(&self) -> Result<State, Attempt> {
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

    /// Loads everything that the hot commands up to the first rare one want.
    pub(super) async fn load<'a>(
        &self,
        state: &mut State,
        work: impl Iterator<Item = &'a Work> + Clone,
    ) -> Result<(), Attempt> {
        for _ in 0..LOAD_ROUNDS_MAX {
            for work in work.clone() {
                let Work::Hot(command) = work else { break };
                command.want(state);
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

    pub(super) fn write(&self, batch: Batch) -> oneshot::Receiver<Result<(), Attempt>> {
        self.writers.write(batch)
    }
}

impl Ticket {
    pub fn id(&self) -> Uuid {
        self.work.request().id.0
    }

    /// Tells whoever asked, if they still wait.
    pub fn answer(self, answer: Answer) {
        let _ = self.reply.send(answer);
    }

    /// The span of its commit, in a batch of so many. Of interest in traces only, where its level is let through.
    pub fn span(&self, batch: usize) -> Span {
        debug_span!(parent: &self.span, "ledger.commit", batch)
    }
}

impl Decided {
    fn push(&mut self, ticket: Ticket, answer: Answer) {
        self.ids.insert(ticket.id());
        self.tickets.push(ticket);
        self.answers.push(answer);
    }

    fn answer(mut self) {
        for (ticket, answer) in self.tickets.into_iter().zip(self.answers) {
            self.repeats.answer_from(ticket.work.request(), &answer);
            ticket.answer(answer);
        }
    }

    fn into_tickets(self) -> impl DoubleEndedIterator<Item = Ticket> {
        let mut tickets = self.tickets;
        tickets.extend(self.repeats.into_tickets());
        tickets.into_iter()
    }
}

/// An answer that does not come is a connection that is lost: what it was about is read anew.
pub(super) async fn in_time<T>(work: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    match timeout(Duration::from_secs(ANSWER_S_MAX), work).await {
        Ok(answer) => answer,
        Err(_) => Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

pub(super) fn unreachable_or_failed(error: sqlx::Error) -> Attempt {
    if constraint::is_unreachable(&error) || constraint::is_given_up(&error) {
        Attempt::Unreachable
    } else if constraint::is_connection_lost(&error) {
        Attempt::Lost
    } else {
        Attempt::Failed(error.to_string())
    }
}
