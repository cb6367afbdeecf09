//! custody: a cashless detention-center ledger.

pub mod proto;
