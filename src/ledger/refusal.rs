//! Refusals: definite outcomes in which nothing moved.

use std::fmt::Display;

use crate::proto::RefusalFact;
pub use crate::proto::{Reason, Refusal};

impl Refusal {
    /// A refusal with a sentence for people. Domains build theirs from a typed enum in their `error.rs`.
    pub fn because(reason: Reason, message: impl Into<String>) -> Refusal {
        Refusal {
            reason: reason.into(),
            message: message.into(),
            facts: Vec::new(),
            field: String::new(),
        }
    }

    /// Adds a fact the caller can act on. `name` is snake_case; amounts are decimal strings.
    #[must_use]
    pub fn with_fact(mut self, name: &str, value: impl Display) -> Refusal {
        self.facts.push(RefusalFact {
            name: name.to_owned(),
            value: value.to_string(),
        });
        self
    }

    /// Names the request's field it is about.
    #[must_use]
    pub fn about(mut self, field: &str) -> Refusal {
        field.clone_into(&mut self.field);
        self
    }

    /// The value of a fact, if it has it.
    pub fn fact(&self, name: &str) -> Option<&str> {
        self.facts
            .iter()
            .find(|fact| fact.name == name)
            .map(|fact| fact.value.as_str())
    }
}

/// Why a decision did not end in a transaction.
#[derive(Debug, thiserror::Error)]
pub enum Declined {
    /// A definite outcome: stored with the request id, final.
    #[error("refused: {}", .0.message)]
    Refused(Refusal),
    /// Something that must hold does not. Nothing is stored; the caller sees an opaque internal error.
    #[error("broken: {0}")]
    Broken(String),
    /// The database did not answer as expected. Says nothing about the outcome, so nothing is stored.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

impl From<Refusal> for Declined {
    fn from(refusal: Refusal) -> Declined {
        Declined::Refused(refusal)
    }
}

impl From<crate::money::MoneyError> for Declined {
    // Amounts are parsed at the door; an error of arithmetic this deep inside is a broken invariant.
    fn from(error: crate::money::MoneyError) -> Declined {
        Declined::Broken(error.to_string())
    }
}
