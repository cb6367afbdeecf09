//! gRPC: resource names, pages, and what every answer has in common.

pub mod approval;
pub mod auth;
pub mod beneficiary;
pub mod catalogue;
mod chunk;
pub mod commissary;
pub mod contract;
pub mod convert;
pub mod custody;
pub mod deadline;
pub mod distribution;
pub mod ending;
pub mod gate;
mod identity;
mod kit;
pub mod ledger;
pub mod name;
mod notification;
pub mod offline_sales;
mod offline_sales_view;
pub mod order;
mod order_view;
pub mod page;
pub mod payer;
pub mod payment;
pub mod product;
mod purchase_view;
pub mod reconciliation;
pub mod refund;
pub mod remittance;
pub mod remittance_view;
mod remittance_watch;
pub mod scope;
pub mod session;
pub mod settlement;
pub mod spending;
pub mod spending_service;
pub mod terminal;
pub mod transfer;
pub mod unmatched;
pub mod work;

use tonic::{Response, metadata::MetadataValue};

/// Response metadata of a call that moved money before: present, with the value `true`, when the answer repeats an
/// outcome recorded earlier under the same request id.
pub const REPLAY_METADATA: &str = "custody-replay";

/// Wraps an answer, marking it when it repeats an earlier outcome.
pub fn respond<T>(message: T, replayed: bool) -> Response<T> {
    let mut response = Response::new(message);
    if replayed {
        response
            .metadata_mut()
            .insert(REPLAY_METADATA, MetadataValue::from_static("true"));
    }
    response
}

/// Whether an answer repeats an earlier outcome. For clients.
pub fn is_replay<T>(response: &Response<T>) -> bool {
    response
        .metadata()
        .get(REPLAY_METADATA)
        .is_some_and(|value| value.as_bytes() == b"true")
}
