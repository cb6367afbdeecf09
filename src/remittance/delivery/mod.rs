//! What a gateway has posted, as it is kept: every delivery once, with what was made of it.
//!
//! # Layout
//! - `store`: the table `notification`.

mod store;

use http::HeaderMap;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

pub(super) use self::store::{NotificationRows, insert, list};

use crate::ids::Seq;

/// The headers that say who posted a notification and how it was signed.
const HEADERS: [&str; 11] = [
    "content-type",
    "user-agent",
    "request-id",
    "x-forwarded-for",
    "custody-signature",
    "pay-signature",
    "wechatpay-nonce",
    "wechatpay-serial",
    "wechatpay-signature",
    "wechatpay-signature-type",
    "wechatpay-timestamp",
];
/// The most characters kept of a header.
const HEADER_LEN_MAX: usize = 360;
/// The most characters kept of a subject: gateways' words are in it.
const SUBJECT_LEN_MAX: usize = 128;

/// A notification as it was posted.
#[derive(Debug, Clone)]
pub struct Delivery {
    id: Uuid,
    channel: String,
    received_at: OffsetDateTime,
    digest: Vec<u8>,
    body_bytes: i32,
    headers: String,
}

impl Delivery {
    /// What was posted to a channel.
    pub fn of(channel: &str, headers: &HeaderMap, body: &[u8], received_at: OffsetDateTime) -> Delivery {
        let kept = HEADERS.iter().flat_map(|name| {
            let values = headers.get_all(*name).iter().take(1);
            values.map(move |value| {
                let text = String::from_utf8_lossy(value.as_bytes());
                let text = text.chars().filter(|character| !character.is_control());
                format!("{name}: {}", text.take(HEADER_LEN_MAX).collect::<String>())
            })
        });
        let seconds = u64::try_from(received_at.unix_timestamp()).unwrap_or_default();
        let moment = uuid::Timestamp::from_unix(uuid::NoContext, seconds, received_at.nanosecond());
        Delivery {
            id: Uuid::new_v7(moment),
            channel: channel.to_owned(),
            received_at,
            digest: Sha256::digest(body).to_vec(),
            body_bytes: i32::try_from(body.len()).unwrap_or(i32::MAX),
            headers: kept.collect::<Vec<String>>().join("\n"),
        }
    }
}

/// What a delivery brought about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The transaction credited its remittance.
    Credited(Seq),
    /// The transaction put it into suspense.
    Suspended(Seq),
    /// The payment was in the ledger already, by the transaction.
    Repeated(Seq),
    /// It is money of an order that was never issued.
    Unmatched,
    /// The outcome of a refund.
    Refund,
    /// None.
    Nothing,
}

impl Effect {
    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            Effect::Credited(_) => "CREDITED",
            Effect::Suspended(_) => "SUSPENDED",
            Effect::Repeated(_) => "REPEATED",
            Effect::Unmatched => "UNMATCHED",
            Effect::Refund => "REFUND",
            Effect::Nothing => "NONE",
        }
    }

    const fn seq(self) -> Option<i64> {
        match self {
            Effect::Credited(seq) | Effect::Suspended(seq) | Effect::Repeated(seq) => Some(seq.0),
            Effect::Unmatched | Effect::Refund | Effect::Nothing => None,
        }
    }
}

/// What was made of a delivery.
#[derive(Debug, Clone)]
pub struct Verdict {
    name: &'static str,
    reason: String,
    effect: Effect,
    subject: String,
}

impl Verdict {
    /// It was believed, and did this to a remittance, order or refund.
    pub fn believed(effect: Effect, subject: &str) -> Verdict {
        Verdict {
            name: "BELIEVED",
            reason: String::new(),
            effect,
            subject: subject
                .chars()
                .filter(|c| !c.is_control())
                .take(SUBJECT_LEN_MAX)
                .collect(),
        }
    }

    /// It changed nothing: not believed, or genuine (it then tells an order) and contradicting what we know.
    pub fn changed_nothing(reason: &str, order_number: Option<&str>) -> Verdict {
        Verdict {
            name: if order_number.is_some() {
                "REJECTED"
            } else {
                "UNBELIEVED"
            },
            reason: reason.to_owned(),
            ..Verdict::believed(Effect::Nothing, order_number.unwrap_or_default())
        }
    }
}

/// A delivery as it is kept.
#[derive(Debug, Clone)]
pub struct KeptNotification {
    /// Its own id, in the order of arrival.
    pub id: Uuid,
    /// The channel it was posted to.
    pub channel: String,
    /// When it came.
    pub received_at: OffsetDateTime,
    /// SHA-256 of the body.
    pub digest: Vec<u8>,
    /// The body's length.
    pub body_bytes: i32,
    /// The headers that matter, a line each.
    pub headers: String,
    /// BELIEVED, REJECTED or UNBELIEVED.
    pub verdict: String,
    /// Why it changed nothing; empty when it was believed.
    pub reason: String,
    /// What it brought about.
    pub effect: String,
    /// Of what.
    pub subject: String,
    /// The transaction, if it has to do with one.
    pub seq: Option<i64>,
}
