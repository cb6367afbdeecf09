//! custody: a cashless detention-center ledger.

pub mod api;
pub mod proto;
