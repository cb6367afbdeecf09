//! custody: a cashless detention-center ledger.

pub mod proto;

pub mod clock;
pub mod ids;
pub mod money;

pub mod access;

pub mod api;
