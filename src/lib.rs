//! custody: a cashless detention-center ledger.

pub mod access;
pub mod api;
pub mod clock;
pub mod gateway;
pub mod ids;
pub mod money;
pub mod proto;
