//! Every integration test, in one program, against a real PostgreSQL.

mod database;
mod doors;
mod faults;
mod lending;
mod model;
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
