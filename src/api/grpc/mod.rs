//! gRPC: one thin file per service, and what all of them share.

pub mod auth;
