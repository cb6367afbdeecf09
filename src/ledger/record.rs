//! The canonical bytes of a transaction and their hash.
//!
//! Protocol Buffers encode deterministically here because [`JournalRecord`] has no map and prost writes fields in the order
//! of their numbers; the leaf hash is that of RFC 6962, section 2.1.

use prost::Message as _;
pub use prost_types::Timestamp;
use sha2::{Digest as _, Sha256};
use time::{Date, OffsetDateTime};

use crate::{
    ids::Seq,
    ledger::{Center, Draft, Moment, Refusal, Request, posting::PostedLeg},
    proto::{CreditFacts, JournalRecord, PostingRecord, TransactionKind},
};

/// Builds the record of a transaction.
pub(super) fn build(
    center: &Center,
    seq: Seq,
    moment: &Moment,
    request: &Request,
    draft: Draft,
    legs: &[PostedLeg],
) -> JournalRecord {
    JournalRecord {
        center: center.id.to_string(),
        seq: seq.0,
        kind: draft.kind.into(),
        recorded_at: Some(timestamp(moment.recorded_at)),
        effective_date: moment.effective_date.to_string(),
        request_id: request.id.to_string(),
        actor: request.actor.clone(),
        postings: legs.iter().map(posting).collect(),
        method: request.method.to_owned(),
        request: request.body.clone(),
        reverses: draft.reverses.map_or(0, |seq| seq.0),
        currency_code: center.currency.code().to_owned(),
        facts: Some(draft.facts),
    }
}

fn posting(leg: &PostedLeg) -> PostingRecord {
    PostingRecord {
        debit: leg.posting.debit.0,
        credit: leg.posting.credit.0,
        amount: leg.posting.amount.to_string(),
        debit_balance: leg.debit_balance.to_string(),
        credit_balance: leg.credit_balance.to_string(),
    }
}

/// The canonical bytes.
pub fn encode(record: &JournalRecord) -> Vec<u8> {
    record.encode_to_vec()
}

/// Reads canonical bytes back.
pub fn decode(bytes: &[u8]) -> Result<JournalRecord, sqlx::Error> {
    JournalRecord::decode(bytes).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// The canonical bytes of any message without maps: what a request of the service itself is compared with.
pub fn canonical(message: &impl prost::Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// Reads a message back, as [`canonical`] wrote it.
pub fn read_canonical<M: prost::Message + Default>(bytes: &[u8]) -> Result<M, sqlx::Error> {
    M::decode(bytes).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// Reads the facts of a credit, as [`canonical`] wrote them.
pub fn decode_credit(bytes: &[u8]) -> Result<CreditFacts, sqlx::Error> {
    CreditFacts::decode(bytes).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// The canonical bytes of a refusal.
pub(super) fn encode_refusal(refusal: &Refusal) -> Vec<u8> {
    refusal.encode_to_vec()
}

/// Reads a stored refusal back.
pub(super) fn decode_refusal(bytes: &[u8]) -> Result<Refusal, sqlx::Error> {
    Refusal::decode(bytes).map_err(|error| sqlx::Error::Decode(error.into()))
}

/// `SHA-256(0x00 ‖ record)`, the leaf hash of RFC 6962.
pub fn leaf_hash(record: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update([0u8]).chain_update(record).finalize().into()
}

/// An instant as Protocol Buffers write it.
pub fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp {
        seconds: at.unix_timestamp(),
        nanos: i32::try_from(at.nanosecond()).unwrap_or(0),
    }
}

/// A Protocol Buffers instant, if it is one.
pub fn instant(at: &Timestamp) -> Option<OffsetDateTime> {
    let nanos = i64::from(at.nanos);
    OffsetDateTime::from_unix_timestamp(at.seconds)
        .ok()?
        .checked_add(time::Duration::nanoseconds(nanos))
}

/// Reads a record's `YYYY-MM-DD`.
pub fn date(text: &str) -> Option<Date> {
    Date::parse(text, time::macros::format_description!("[year]-[month]-[day]")).ok()
}

/// A kind as the journal's rows and the wire's filters name it, for example `PURCHASE`.
pub fn kind_name(kind: TransactionKind) -> &'static str {
    let name = kind.as_str_name();
    name.strip_prefix("TRANSACTION_KIND_").unwrap_or(name)
}

/// The kind that a row names.
pub fn kind_of(name: &str) -> TransactionKind {
    TransactionKind::from_str_name(&format!("TRANSACTION_KIND_{name}")).unwrap_or(TransactionKind::Unspecified)
}
