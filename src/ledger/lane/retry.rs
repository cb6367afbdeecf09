//! What a lane does when a batch was not written: find out what became of it, and try what is left again, one thing at a time.

use std::{collections::HashMap, time::Duration};

use tokio::time::timeout;
use tracing::{Span, error, info_span, warn};
use uuid::Uuid;

use super::{
    RARE_S_MAX, REFOLD_ATTEMPTS_MAX, Ticket, Work,
    batch::Batch,
    fold::fold,
    rare,
    repeats::Repeats,
    task::{Attempt, Task, in_time},
};
use crate::{
    db::constraint,
    ledger::{Declined, LedgerError, Outcome, outcome, outcome::Stored},
};

impl Task {
    /// Answers tickets, of which none repeats another.
    pub(super) async fn process(&mut self, mut tickets: Vec<Ticket>, mut repeats: Repeats) {
        if let Err(error) = self.attempt(&mut tickets, &mut repeats).await {
            self.retry(tickets, repeats, error).await;
        }
    }

    /// Answers tickets whose batch met `error`, trying again what it left undone. Nothing is being written, and nothing is known.
    pub(super) async fn retry(&mut self, mut tickets: Vec<Ticket>, mut repeats: Repeats, mut error: Attempt) {
        let mut attempts = 1;
        loop {
            self.state = None;
            let (count, mut failed) = (tickets.len(), None);
            match error {
                // It is gone from the batch: the others must not run out of attempts because of it.
                Attempt::Broken => attempts -= 1,
                Attempt::Overtaken => self.instruments.refolds("OVERTAKEN"),
                Attempt::Lost => {
                    self.instruments.refolds("LOST");
                    warn!(center = %self.center.id, "a connection was lost; reading what became of the batch");
                }
                Attempt::Unreachable => return answer_all(tickets, repeats, &LedgerError::Unavailable),
                Attempt::Failed(why) => failed = Some(why),
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
            if tickets.is_empty() {
                return;
            }
            if attempts >= REFOLD_ATTEMPTS_MAX {
                return answer_all(tickets, repeats, &LedgerError::Unavailable);
            }
            attempts += 1;
            match self.attempt(&mut tickets, &mut repeats).await {
                Ok(()) => return,
                Err(again) => error = again,
            }
        }
    }

    /// One attempt: load, fold, write, answer. On an error nothing was answered but broken commands.
    async fn attempt(&mut self, tickets: &mut Vec<Ticket>, repeats: &mut Repeats) -> Result<(), Attempt> {
        let mut state = self.fresh_state().await?;
        self.load(&mut state, tickets.iter().map(|ticket| &ticket.work)).await?;
        let mut batch = Batch::new(self.center.no, state.head);
        let mut answers = Vec::with_capacity(tickets.len());
        for index in 0..tickets.len() {
            let Work::Hot(command) = &tickets[index].work else {
                continue;
            };
            match fold(command.as_ref(), &mut state, &self.clock, &mut batch) {
                Ok(outcome) => answers.push(Ok(outcome)),
                Err(broken) => {
                    // What was loaded in several statements is of one moment only if nobody wrote meanwhile.
                    let head = self.fresh_state().await?.head;
                    if (head.seq, head.rules_version) != (batch.old.seq, batch.old.rules_version) {
                        return Err(Attempt::Overtaken);
                    }
                    // The state may be half changed: this one is answered, and the caller folds the others anew.
                    error!(center = %self.center.id, error = %broken, "a command broke an invariant");
                    let ticket = tickets.remove(index);
                    repeats.answer(&ticket.id(), &Err(LedgerError::Internal));
                    ticket.answer(Err(LedgerError::Internal));
                    return Err(Attempt::Broken);
                }
            }
        }
        let last = batch.last();
        let spans: Vec<Span> = tickets.iter().map(|ticket| ticket.span(batch.len())).collect();
        self.write(batch).await.unwrap_or(Err(Attempt::Unreachable))?;
        drop(spans);
        self.state = Some(state);
        self.announce(last);
        for (ticket, answer) in tickets.drain(..).zip(answers) {
            repeats.answer_from(ticket.work.request(), &answer);
            ticket.answer(answer);
        }
        Ok(())
    }

    /// Answers the tickets whose requests have a stored outcome. `false` when the database could not tell.
    async fn answer_stored(&self, tickets: &mut Vec<Ticket>, repeats: &mut Repeats) -> bool {
        let ids: Vec<Uuid> = tickets.iter().map(Ticket::id).collect();
        let Some(found) = self.lookup(&ids).await else {
            return false;
        };
        for ticket in tickets.extract_if(.., |ticket| found.contains_key(&ticket.id())) {
            if let Some(stored) = found.get(&ticket.id()) {
                repeats.answer_stored(&ticket.id(), stored);
                let answer = stored.answer(ticket.work.request());
                ticket.answer(answer);
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
                Box::pin(self.process(vec![ticket], Repeats::default())).await;
            }
        } else {
            error!(center = %self.center.id, error = %why, "a command cannot be committed");
            answer_all(tickets, repeats, &LedgerError::Internal);
        }
    }

    pub(super) async fn process_rare(&mut self, ticket: Ticket) {
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
            self.announce(Some(posted.seq()));
        }
        ticket.answer(answer);
    }
}

fn answer_all(tickets: Vec<Ticket>, repeats: Repeats, error: &LedgerError) {
    for ticket in tickets.into_iter().chain(repeats.into_tickets()) {
        ticket.answer(Err(error.clone()));
    }
}
