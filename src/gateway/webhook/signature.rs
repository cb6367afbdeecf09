//! The signature header `Custody-Signature: t=SECONDS,v1=HEX[,v1=HEX…]`, in the style of Stripe's webhooks.
//!
//! `v1` is HMAC-SHA256 under the whole shared secret over `{t}.{raw body}` for a notification, and over
//! `{t}.{METHOD} {path and query}\n{raw body}` for a request, so that neither can be replayed as the other.
//! Several `v1` are allowed, of which any may match: that is how a gateway rotates its secret.

use aws_lc_rs::hmac;
use secrecy::{ExposeSecret as _, SecretString};
use time::OffsetDateTime;

use crate::gateway::error::NotificationError;

/// The header's name, in lower case as `http` wants it.
pub const SIGNATURE_HEADER: &str = "custody-signature";

/// How old, or how far in the future, a signature may be, in seconds.
pub const TOLERANCE_S: u32 = 300;

/// More `v1` than a rotation needs; a longer header is refused unread.
const SIGNATURES_MAX: usize = 8;

/// Writes the header's value for a notification with this body.
pub fn sign_notification(secret: &SecretString, signed_at: OffsetDateTime, body: &[u8]) -> String {
    sign(secret, signed_at, &[body])
}

/// Writes the header's value for a request with this body. `target` is path and query, as sent.
pub fn sign_request(
    secret: &SecretString,
    signed_at: OffsetDateTime,
    method: &str,
    target: &str,
    body: &[u8],
) -> String {
    sign(
        secret,
        signed_at,
        &[method.as_bytes(), b" ", target.as_bytes(), b"\n", body],
    )
}

/// Checks the header of a notification; returns when it was signed.
pub fn verify_notification(
    secret: &SecretString,
    header: &str,
    body: &[u8],
    now: OffsetDateTime,
) -> Result<OffsetDateTime, NotificationError> {
    verify(secret, header, &[body], now)
}

/// Checks the header of a request; returns when it was signed.
pub fn verify_request(
    secret: &SecretString,
    header: &str,
    method: &str,
    target: &str,
    body: &[u8],
    now: OffsetDateTime,
) -> Result<OffsetDateTime, NotificationError> {
    verify(
        secret,
        header,
        &[method.as_bytes(), b" ", target.as_bytes(), b"\n", body],
        now,
    )
}

fn key(secret: &SecretString) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes())
}

fn signed_bytes(t: i64, parts: &[&[u8]]) -> Vec<u8> {
    let mut message = format!("{t}.").into_bytes();
    for part in parts {
        message.extend_from_slice(part);
    }
    message
}

fn sign(secret: &SecretString, signed_at: OffsetDateTime, parts: &[&[u8]]) -> String {
    let t = signed_at.unix_timestamp();
    let tag = hmac::sign(&key(secret), &signed_bytes(t, parts));
    format!("t={t},v1={}", hex::encode(tag.as_ref()))
}

/// The signature is checked before the window, so that `OutsideWindow` says: genuine, but old.
fn verify(
    secret: &SecretString,
    header: &str,
    parts: &[&[u8]],
    now: OffsetDateTime,
) -> Result<OffsetDateTime, NotificationError> {
    let (t, signatures) = read_header(header)?;
    let signed_at = OffsetDateTime::from_unix_timestamp(t).map_err(|_| malformed("t is not a time"))?;
    let message = signed_bytes(t, parts);
    let key = key(secret);
    if !signatures
        .iter()
        .any(|signature| hmac::verify(&key, &message, signature).is_ok())
    {
        return Err(NotificationError::BadSignature);
    }
    if now.unix_timestamp().abs_diff(t) > u64::from(TOLERANCE_S) {
        return Err(NotificationError::OutsideWindow {
            signed_at,
            now,
            tolerance_s: TOLERANCE_S,
        });
    }
    Ok(signed_at)
}

/// Reads `t` (exactly one, digits only) and every `v1`; other schemes are skipped.
fn read_header(header: &str) -> Result<(i64, Vec<Vec<u8>>), NotificationError> {
    let mut t = None;
    let mut signatures = Vec::new();
    for element in header.split(',') {
        let (name, value) = element
            .trim()
            .split_once('=')
            .ok_or_else(|| malformed("a signature element has no value"))?;
        match name {
            "t" if t.is_some() => return Err(malformed("the signature has two times")),
            "t" if value.bytes().all(|b| b.is_ascii_digit()) => {
                t = Some(
                    value
                        .parse::<i64>()
                        .map_err(|_| malformed("t is not a number of seconds"))?,
                );
            }
            "t" => return Err(malformed("t is not a number of seconds")),
            "v1" if signatures.len() == SIGNATURES_MAX => return Err(malformed("too many signatures")),
            "v1" => signatures.push(hex::decode(value).map_err(|_| malformed("v1 is not hexadecimal"))?),
            _ => {}
        }
    }
    let t = t.ok_or_else(|| malformed("the signature has no time"))?;
    if signatures.is_empty() {
        return Err(malformed("the signature has no v1"));
    }
    Ok((t, signatures))
}

fn malformed(reason: &str) -> NotificationError {
    NotificationError::Malformed {
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with `printf '1753956000.{"event_id":"evt_1"}' | openssl dgst -sha256 -hmac custody-test-secret`.
    const VECTOR: &str = "a164bf5454116c18b2a95a58a4dae6ebfd5fadc4b42dcd28a13e1db586e2eb70";
    const BODY: &[u8] = br#"{"event_id":"evt_1"}"#;
    const T: i64 = 1_753_956_000;

    fn secret() -> SecretString {
        SecretString::from("custody-test-secret")
    }

    fn at(t: i64) -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(t).unwrap()
    }

    #[test]
    fn signs_as_openssl_does() {
        assert_eq!(sign_notification(&secret(), at(T), BODY), format!("t={T},v1={VECTOR}"));
    }

    #[test]
    fn accepts_any_of_several_signatures() {
        let wrong = "00".repeat(32);
        let header = format!("t={T}, v0=zz, v1={wrong},v1={VECTOR}");
        assert_eq!(verify_notification(&secret(), &header, BODY, at(T + 1)), Ok(at(T)));
    }

    #[test]
    fn accepts_the_window_to_its_last_second() {
        let header = format!("t={T},v1={VECTOR}");
        for (offset, inside) in [(300, true), (-300, true), (301, false), (-301, false)] {
            let outcome = verify_notification(&secret(), &header, BODY, at(T + offset));
            match outcome {
                Ok(_) => assert!(inside, "{offset}"),
                Err(NotificationError::OutsideWindow {
                    signed_at,
                    tolerance_s: 300,
                    ..
                }) => {
                    assert!(!inside, "{offset}");
                    assert_eq!(signed_at, at(T));
                }
                Err(other) => panic!("{other}"),
            }
        }
    }

    #[test]
    fn refuses_wrong_secret_body_time_and_kind() {
        let header = format!("t={T},v1={VECTOR}");
        let bad = Err(NotificationError::BadSignature);
        assert_eq!(
            verify_notification(&SecretString::from("other"), &header, BODY, at(T)),
            bad
        );
        assert_eq!(
            verify_notification(&secret(), &header, br#"{"event_id":"evt_2"}"#, at(T)),
            bad
        );
        let moved = header.replace(&T.to_string(), &(T + 1).to_string());
        assert_eq!(verify_notification(&secret(), &moved, BODY, at(T)), bad);
        assert_eq!(
            verify_request(&secret(), &header, "POST", "/v1/payments", BODY, at(T)),
            bad
        );
        let short = format!("t={T},v1={}", &VECTOR[..62]);
        assert_eq!(verify_notification(&secret(), &short, BODY, at(T)), bad);
    }

    #[test]
    fn refuses_headers_it_cannot_read() {
        let many = format!("t={T}{}", ",v1=00".repeat(9));
        let headers = [
            "",
            "t=1",
            "v1=00",
            "t=,v1=00",
            "t=x,v1=00",
            "t=-1,v1=00",
            "t=1,t=2,v1=00",
            "t=1,v1=0g",
            "t=1,v1",
            &many,
        ];
        for header in headers {
            let outcome = verify_notification(&secret(), header, BODY, at(T));
            assert!(
                matches!(outcome, Err(NotificationError::Malformed { .. })),
                "{header}: {outcome:?}"
            );
        }
        let huge = format!("t={},v1=00", i64::MAX);
        assert!(matches!(
            verify_notification(&secret(), &huge, BODY, at(T)),
            Err(NotificationError::Malformed { .. })
        ));
    }

    #[test]
    fn binds_a_request_to_its_method_and_path() {
        let header = sign_request(&secret(), at(T), "GET", "/v1/payments/A", b"");
        assert!(verify_request(&secret(), &header, "GET", "/v1/payments/A", b"", at(T)).is_ok());
        assert!(verify_request(&secret(), &header, "GET", "/v1/payments/B", b"", at(T)).is_err());
        assert!(verify_request(&secret(), &header, "POST", "/v1/payments/A", b"", at(T)).is_err());
    }
}
