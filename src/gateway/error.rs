//! Why a call to a gateway, or a notification from one, was not accepted.

use time::OffsetDateTime;

/// Why a call to the gateway gave no usable answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GatewayError {
    /// No answer, a timeout, or the gateway's own failure. Whether the call took effect is not known:
    /// repeat it with the same number, or query.
    #[error("the gateway could not be reached: {reason}")]
    Unreachable { reason: String },
    /// The gateway does not let us in: our credentials or our clock are wrong. It says nothing about the order or refund, of
    /// which nothing is known; once that is put right the same call is answered.
    #[error("the gateway does not let us in (credentials or clock): {reason}")]
    NotLetIn { reason: String },
    /// The gateway's definite refusal of what was asked, in its words. Repeating the call does not help.
    #[error("the gateway refused: {code}: {message}")]
    Refused { code: String, message: String },
    /// The gateway answered something we cannot read. Whether the call took effect is not known.
    #[error("the gateway's answer is malformed: {reason}")]
    Malformed { reason: String },
}

/// Why a notification is not believed. It must change nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    /// There is no signature header.
    #[error("the notification has no signature")]
    MissingSignature,
    /// No signature in the header is ours over exactly these bytes.
    #[error("the notification's signature is wrong")]
    BadSignature,
    /// Signed with a key that we do not have or that has expired: forged, or the gateway has a new key that was not learnt yet.
    #[error("the notification is signed with key {key}, which is not known, or has expired")]
    UnknownKey { key: String },
    /// The gateway's own test whether signatures are checked. It expects to be refused.
    #[error("the notification is the gateway's test of our signature check")]
    Probe,
    /// Genuine, but of another account at the gateway than ours.
    #[error("the notification is of another merchant or app: {found:?}")]
    OtherMerchant { found: String },
    /// Signed by the gateway, but too long ago or too far in the future: perhaps replayed.
    #[error("the notification was signed at {signed_at}, outside the window of {tolerance_s} s around {now}")]
    OutsideWindow {
        signed_at: OffsetDateTime,
        now: OffsetDateTime,
        tolerance_s: u32,
    },
    /// Header or body cannot be read.
    #[error("the notification is malformed: {reason}")]
    Malformed { reason: String },
}
