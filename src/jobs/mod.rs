//! What runs by the clock.

pub mod polling;
