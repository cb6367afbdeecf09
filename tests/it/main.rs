//! Every integration test, in one program, against a real PostgreSQL.

mod bad_bytes;
mod bad_input;
mod bad_names;
mod database;
mod doors;
mod economy;
mod faults;
mod hall;
mod messages;
mod model;
mod notifications;
mod offline;
mod outages;
mod payout;
mod purchase;
mod refund;
mod remittance;
mod scenarios;
mod service;
mod settlement;
mod tidy;
mod tracing;
mod trust;
mod wire;
mod world;
