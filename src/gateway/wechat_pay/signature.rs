//! The signatures of API v3: of requests (`Authorization`), and of answers and notifications (`Wechatpay-*`).
//!
//! A request signs `METHOD\nPATH?QUERY\nTIMESTAMP\nNONCE\nBODY\n`; an answer or notification `TIMESTAMP\nNONCE\nBODY\n`, over the
//! body's raw bytes. Both are RSA PKCS #1 v1.5 over SHA-256, in base64.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::HeaderMap;
use time::OffsetDateTime;
use uuid::Uuid;

use super::keys::SigningKey;
use crate::gateway::error::NotificationError;

/// How old, or how far in the future, a signature may not be, in seconds.
pub const TOLERANCE_S: u32 = 300;
/// The one algorithm there is, and the scheme of `Authorization`.
pub const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
/// How the signature of WeChat Pay's own probes begins.
const PROBE: &str = "WECHATPAY/SIGNTEST/";

pub const TIMESTAMP: &str = "wechatpay-timestamp";
pub const NONCE: &str = "wechatpay-nonce";
pub const SIGNATURE: &str = "wechatpay-signature";
pub const SERIAL: &str = "wechatpay-serial";
pub const SIGNATURE_TYPE: &str = "wechatpay-signature-type";

/// The longest id of a key that is told to people, in characters.
const SERIAL_LEN_MAX: usize = 64;

/// What a request signs.
pub fn request_message(method: &str, target: &str, timestamp: i64, nonce: &str, body: &[u8]) -> Vec<u8> {
    let mut message = format!("{method}\n{target}\n{timestamp}\n{nonce}\n").into_bytes();
    message.extend_from_slice(body);
    message.push(b'\n');
    message
}

/// What an answer or notification signs.
pub fn answer_message(timestamp: &str, nonce: &str, body: &[u8]) -> Vec<u8> {
    let mut message = format!("{timestamp}\n{nonce}\n").into_bytes();
    message.extend_from_slice(body);
    message.push(b'\n');
    message
}

/// Letters and digits that were never used before.
pub fn new_nonce() -> String {
    Uuid::new_v4().simple().to_string()
}

/// The value of `Authorization`. `target` is path and query, as sent.
pub fn authorization(
    key: &SigningKey,
    (mchid, serial_no): (&str, &str),
    now: OffsetDateTime,
    (method, target): (&str, &str),
    body: &[u8],
) -> Result<String, aws_lc_rs::error::Unspecified> {
    let (timestamp, nonce) = (now.unix_timestamp(), new_nonce());
    let signature = key.sign(&request_message(method, target, timestamp, &nonce, body))?;
    Ok(format!(
        r#"{SCHEME} mchid="{mchid}",nonce_str="{nonce}",timestamp="{timestamp}",serial_no="{serial_no}",signature="{signature}""#
    ))
}

/// Checks that an answer or a notification was signed by a key that we have, and not long ago. `has_signed` tells of a key's id, a
/// message and a signature whether that key signed it, and `None` if there is no such key.
///
/// The signature is checked before the window, so that `OutsideWindow` says: genuine, but old.
pub fn verify(
    has_signed: impl FnOnce(&str, &[u8], &[u8]) -> Option<bool>,
    headers: &HeaderMap,
    body: &[u8],
    now: OffsetDateTime,
) -> Result<(), NotificationError> {
    let signature = one(headers, SIGNATURE)?.ok_or(NotificationError::MissingSignature)?;
    if signature.contains(PROBE) {
        return Err(NotificationError::Probe);
    }
    let missing = |name: &str| malformed(format!("there is no header {name}"));
    let timestamp = one(headers, TIMESTAMP)?.ok_or_else(|| missing(TIMESTAMP))?;
    let nonce = one(headers, NONCE)?.ok_or_else(|| missing(NONCE))?;
    let serial = one(headers, SERIAL)?.ok_or_else(|| missing(SERIAL))?;
    if one(headers, SIGNATURE_TYPE)?.is_some_and(|kind| kind != SCHEME) {
        return Err(malformed("another signature type"));
    }
    let is_seconds = (1..=12).contains(&timestamp.len()) && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let seconds: i64 = timestamp.parse().map_err(|_| malformed("the timestamp is no number"))?;
    let signed_at = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| malformed("the timestamp is no time"))?;
    if !is_seconds {
        return Err(malformed("the timestamp is no number"));
    }
    let signature = BASE64.decode(signature).map_err(|_| NotificationError::BadSignature)?;
    match has_signed(serial, &answer_message(timestamp, nonce, body), &signature) {
        Some(true) => {}
        Some(false) => return Err(NotificationError::BadSignature),
        None => {
            let key = serial.chars().take(SERIAL_LEN_MAX).collect();
            return Err(NotificationError::UnknownKey { key });
        }
    }
    if now.unix_timestamp().abs_diff(seconds) >= u64::from(TOLERANCE_S) {
        return Err(NotificationError::OutsideWindow {
            signed_at,
            now,
            tolerance_s: TOLERANCE_S,
        });
    }
    Ok(())
}

/// A header that is there once, or not at all.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, NotificationError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(malformed(format!("there are two headers {name}")));
    }
    let text = value
        .to_str()
        .map_err(|_| malformed(format!("header {name} is not text")))?;
    Ok(Some(text))
}

pub(super) fn malformed(reason: impl ToString) -> NotificationError {
    NotificationError::Malformed {
        reason: reason.to_string(),
    }
}
