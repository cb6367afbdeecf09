//! What is told to whoever typed: sentences, or JSON for scripts.

use std::io::Write as _;

use serde_json::{Value, json};

use super::answer::Refusal;

/// How a verb ended; the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Done.
    Done,
    /// Refused: nothing was sold, and nothing will be.
    Refused,
    /// It could not be tried at all.
    Undone,
    /// The outcome is not known; it stays in the queue, and `resume` goes on.
    Open,
    /// The same, and somebody has to look first: the service does not let the terminal in, or answers what cannot be understood.
    Attention,
}

impl Ending {
    /// The exit code, as `--help` tells it.
    pub fn code(self) -> u8 {
        match self {
            Ending::Done => 0,
            Ending::Refused => 1,
            Ending::Undone => 2,
            Ending::Open => 3,
            Ending::Attention => 4,
        }
    }

    /// What an exit code tells of a verb that did several things.
    #[must_use]
    pub fn and(self, other: Ending) -> Ending {
        if other.code() > self.code() { other } else { self }
    }
}

/// Writes a line of standard output, whole.
///
/// # Errors
/// Nobody reads it any more.
pub fn line(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{}\n", text.trim_end_matches('\n')).as_bytes())?;
    out.flush()
}

/// Tells one thing: the value to scripts, the sentence to people.
pub fn tell(json: bool, value: &Value, sentence: &str) -> std::io::Result<()> {
    if json { line(&value.to_string()) } else { line(sentence) }
}

/// Tells that something could not be tried.
pub fn undone(json: bool, error: &anyhow::Error) -> std::io::Result<()> {
    if json {
        line(&json!({ "outcome": "undone", "error": format!("{error:#}") }).to_string())
    } else {
        eprintln!("custody terminal: {error:#}");
        Ok(())
    }
}

/// A refusal for scripts.
pub fn refusal(refusal: &Refusal) -> Value {
    json!({ "reason": refusal.reason, "message": refusal.message, "facts": refusal.facts })
}
