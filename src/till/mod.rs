//! The till: `custody terminal`, the reference terminal, a client that never loses or doubles a sale, and the example for those who
//! make terminals. It speaks to the service over its socket, as any other would, and shares nothing with it but the protocol.
//!
//! # Layout
//! - `flags`: what a user types. `run`: one verb. `shell`: the same verbs, one after the other.
//! - `home`: the terminal's directory, which one process uses at a time. `store`: the database in it, with the queue, the
//!   receipts and the products' names.
//! - `enrol`: how it comes in. `session`, `pin`: the person in front of it. `line`: the connection and the credentials. `answer`: what an answer means for a sale. `pace`: when to ask again.
//! - `basket`: reads `RICE*3`. `sell`: a sale. `queue`: what the service is asked for, from being written down to its outcome.
//!   `offline`: sales without the network.
//! - `receipt`: the words of a receipt. `printing`: each printed once, or marked as a copy. `tell`: sentences or JSON. `look`: the
//!   catalogue, balances, and what there is.
//!
//! # Rules
//! 1. A sale is written down and synced, request id and body, before anything is sent. It keeps both for ever.
//! 2. It is sent again only when the answer says nothing about the outcome, and until then the terminal sells nothing else.
//! 3. Only an answer of the service about this very request ends it: a purchase or a definite refusal.
//! 4. That a receipt is being printed is written down before it is, that it is printed after. What was cut off in between may lie
//!    on the counter or not, so it is printed again as a copy. No sale has two receipts that are not copies.

mod answer;
mod basket;
mod enrol;
mod flags;
mod home;
mod line;
mod look;
mod offline;
mod pace;
mod pin;
mod printing;
mod queue;
mod receipt;
mod run;
mod sell;
mod session;
mod shell;
mod store;
mod tell;

pub use flags::TerminalFlags;
pub use run::run;
