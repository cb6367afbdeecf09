//! The doors of the service: gRPC for callers, HTTP for the gateways' notifications.
//!
//! Wire types end here. Everything below takes domain types and answers with domain types or a `Refusal`.

mod connection;
pub mod dial;
pub mod grpc;
pub mod http;
pub mod server;
pub mod status;
pub mod tls;
