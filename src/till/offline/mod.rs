//! Selling without the network, within money that the service has set aside for this terminal.
//!
//! # Layout
//! - `chain`: what is signed. `store`: allowances and sales. `sell`: a sale. `bring_in`: all sales, and the end of allowances.
//!
//! The bytes and the chain are those of `proto/offline-sales.md`. A sale, the rest of its allowance and its receipt are written in
//! one transaction and synced before the receipt is printed: there is no number without a sale, and no number twice.

mod bring_in;
mod chain;
mod sell;
mod store;
