//! What runs by the clock. [`status`] tells whether it does.

pub mod allowances;
pub mod approvals;
pub mod endings;
pub mod holds;
pub mod keys;
pub mod polling;
pub mod status;
mod store;
