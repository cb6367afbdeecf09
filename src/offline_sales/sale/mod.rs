//! Sales: taking them in, and ending those that wait for finance.

mod resolve;
pub(super) mod store;
mod take;

pub(super) use resolve::{Resolve, Skip, Way, payable_in_tx};
pub(super) use take::{TAKE_METHOD, Take};
