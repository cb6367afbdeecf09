//! Requests that come again while the first of them is in the lane: they join it.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Answer, Ticket};
use crate::ledger::{Request, outcome::Stored};

/// Tickets whose request id is that of another ticket, by that id.
#[derive(Default)]
pub(super) struct Repeats {
    tickets: HashMap<Uuid, Vec<Ticket>>,
}

impl Repeats {
    /// A ticket joins the one that has its id.
    pub fn join(&mut self, ticket: Ticket) {
        self.tickets.entry(ticket.id()).or_default().push(ticket);
    }

    /// Answers all that joined a ticket with an error that says nothing of the outcome.
    pub fn answer(&mut self, id: &Uuid, answer: &Answer) {
        for ticket in self.tickets.remove(id).unwrap_or_default() {
            ticket.answer(answer.clone());
        }
    }

    /// Answers all that joined a ticket as what the first of them was answered tells.
    pub fn answer_from(&mut self, first: &Request, answer: &Answer) {
        if self.tickets.is_empty() {
            return;
        }
        match answer {
            Ok(outcome) => self.answer_stored(&first.id.0, &Stored::of(first, outcome.clone())),
            Err(_) => self.answer(&first.id.0, answer),
        }
    }

    /// Answers all that joined a ticket from its stored outcome.
    pub fn answer_stored(&mut self, id: &Uuid, stored: &Stored) {
        for ticket in self.tickets.remove(id).unwrap_or_default() {
            let answer = stored.answer(ticket.work.request());
            ticket.answer(answer);
        }
    }

    pub fn into_tickets(self) -> impl Iterator<Item = Ticket> {
        self.tickets.into_values().flatten()
    }
}
