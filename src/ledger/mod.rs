//! The ledger: one ordered, append-only journal for each center, in exact double entry.
//!
//! # Layout
//! - [`chart`] the accounts there are; [`account`] opening and finding them
//! - [`posting`] a movement, a [`Draft`] of a transaction, and the [`Entry`] it becomes; [`record`] its canonical bytes
//! - [`request`] requests that happen once; [`refusal`] why one is refused; [`outcome`] what is stored of either
//! - [`lane`] the one way to write: a queue and a task for each center
//! - [`balance`], [`statement`], [`transaction`] what is read, [`Gather`] by many at once; [`proof`], [`verify`], [`watch`] how it is trusted
//!
//! # Invariants
//! 1. Transactions of a center are numbered 1, 2, 3 … without holes, and `recorded_at` strictly increases.
//! 2. A posting is one row with both sides, so debits equal credits.
//! 3. A balance is at or above its floor after every posting.
//! 4. A request id has at most one outcome, for ever.
//! 5. Nothing in the journal is ever changed.

pub mod account;
pub mod balance;
pub mod center;
pub mod chart;
pub mod difference;
mod gather;
pub mod lane;
pub mod outcome;
pub mod posting;
pub mod proof;
pub mod record;
pub mod refusal;
pub mod request;
pub mod statement;
pub mod transaction;
pub mod verify;
pub mod watch;

pub use center::Center;
pub use chart::{Code, Side};
pub use gather::Gather;
pub use lane::{Asked, Command, JournalTx, Lanes, Moment, RareCommand, Room, RowSet, Rows, State};
pub use outcome::{LedgerError, Outcome, Posted};
pub use posting::{Draft, Entry, Posting};
pub use refusal::{Declined, Reason, Refusal};
pub use request::Request;
