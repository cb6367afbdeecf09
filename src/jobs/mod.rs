//! What runs by the clock.

pub mod approvals;
pub mod polling;
