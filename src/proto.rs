//! The generated messages and services of `proto/custody/v1`.
//!
//! The messages of `journal.proto` and `refusal.proto` are what the ledger stores; the others are the wire and belong to
//! `api`, the demonstration and the load generator.

#![allow(clippy::all, clippy::pedantic, missing_docs)]

tonic::include_proto!("custody.v1");

impl DetaineeConsent {
    /// By a paper that was signed and scanned.
    pub fn scanned(document: &str) -> DetaineeConsent {
        DetaineeConsent {
            kind: Some(detainee_consent::Kind::Document(document.to_owned())),
        }
    }
}

/// The descriptors of everything above, for reflection and for naming the fields in which two requests differ.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/custody.bin"));
