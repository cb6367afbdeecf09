//! custody: a cashless detention-center ledger. Exact double entry, one ordered journal for each center, every request once.
//!
//! # Layout
//! From the bottom up; a module imports only what stands above it in this list.
//! - [`proto`] the generated messages; [`money`], [`ids`], [`clock`] exact amounts, typed ids, the one clock
//! - [`db`] finding, starting, migrating and pooling PostgreSQL
//! - [`ledger`] the journal, its lanes, statements, proof and verification; [`access`] who may do what;
//!   [`gateway`] payment channels behind one trait, and a simulator; [`bank`] payment files and what banks answer
//! - [`approval`] two people for one decision; [`work`] what people have to look at
//! - [`custody`] centers and detainees; [`terminal`] terminals, and the person in front of them
//! - [`offline_sales`] allowances, and what terminals sold within them without the network
//! - [`commissary`] vendors, products, purchases, orders, returns; [`contract`] what is agreed with vendors
//! - [`distribution`] how credits are split; [`payer`] who pays, and for whom; [`remittance`] the money they send
//! - [`unmatched`] money without an order, matched to its owner or returned
//! - [`settlement`] what vendors are owed, closed and allowed; [`payment`] the files that pay it by the bank;
//!   [`refund`] money back to payers, and out with released people; [`transfer`] people who move, with all they have;
//!   [`reconciliation`] the gateway's bill against the ledger
//! - [`ending`] death and escape, payouts in parts, unclaimed money, the statement of a whole stay
//! - [`jobs`] what runs by the clock; [`verification`] everything stored beside the journals, against them
//! - [`api`] the doors; [`config`], [`telemetry`], [`serve`] running it
//! - [`till`] the reference terminal, a client that knows the wire only
//! - [`launch`] this program as a child process; [`demo`] the demonstration; [`bench`] the load generator
//!
//! # Invariants
//! Those of the ledger stand in [`ledger`]. The house's own are tests, in `tests/it/tidy`.

pub mod access;
pub mod api;
pub mod approval;
pub mod bank;
pub mod bench;
pub mod beneficiary;
pub mod clock;
pub mod commissary;
pub mod config;
pub mod contract;
pub mod custody;
pub mod db;
pub mod demo;
pub mod distribution;
pub mod ending;
pub mod gateway;
pub mod ids;
pub mod jobs;
pub mod launch;
pub mod ledger;
pub mod money;
pub mod offline_sales;
pub mod payer;
pub mod payment;
pub mod proto;
pub mod reconciliation;
pub mod refund;
pub mod remittance;
pub mod serve;
pub mod settlement;
pub mod telemetry;
pub mod terminal;
pub mod till;
pub mod transfer;
pub mod unmatched;
pub mod verification;
pub mod work;
