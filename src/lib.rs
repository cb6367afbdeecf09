//! custody: a cashless detention-center ledger.

pub mod proto;

pub mod clock;
pub mod gateway;
pub mod ids;
pub mod money;
