//! The wire: what reaches the service over the network, and what it answers.

pub mod grpc;
