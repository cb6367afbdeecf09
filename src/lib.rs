//! custody: a cashless detention-center ledger.

pub mod access;
pub mod api;
pub mod bench;
pub mod clock;
pub mod commissary;
pub mod config;
pub mod custody;
pub mod db;
pub mod gateway;
pub mod ids;
pub mod ledger;
pub mod money;
pub mod proto;
pub mod serve;
pub mod telemetry;
