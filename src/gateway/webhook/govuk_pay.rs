//! GOV.UK Pay's webhook messages: `Pay-Signature` is the HMAC-SHA256 of the raw body under the webhook's signing secret, in
//! hexadecimal. There is no time in it; a message that is replayed is the payment it told before, which enters once.
//!
//! `card_payment_captured` is what moves money: the provider has taken the payment. `card_payment_succeeded` only says that it was
//! authorised. `card_payment_refunded` tells the payment and not which of its refunds, so refunds are asked for. These and
//! all other events are told as [`Notification::Other`].
//!
//! `resource.reference` is our order number, `resource.payment_id` the gateway's number, `resource.amount` is in pence: GOV.UK Pay
//! takes pounds only. Source: docs.payments.service.gov.uk, "Set up webhooks" and "Payment events".

use aws_lc_rs::hmac;
use http::HeaderMap;
use serde::Deserialize;
use time::OffsetDateTime;

use super::style::{from_minor_units, gateway_number, malformed, verify_hex};
use crate::{
    gateway::{
        channel::{Notification, OtherNotice, PaymentNotice},
        error::NotificationError,
    },
    money::Currency,
};

/// The header's name, in lower case as `http` wants it.
pub const SIGNATURE_HEADER: &str = "pay-signature";
/// The event that moves money.
const CAPTURED: &str = "card_payment_captured";

/// A message, of any event.
#[derive(Debug, Deserialize)]
struct MessageBody {
    webhook_message_id: String,
    event_type: String,
    #[serde(with = "time::serde::rfc3339")]
    created_date: OffsetDateTime,
    resource: serde_json::Value,
}

/// What is read of a payment.
#[derive(Debug, Deserialize)]
struct PaymentBody {
    payment_id: String,
    reference: String,
    /// In pence.
    amount: i64,
}

/// Checks and reads a message; the signature first, over the bytes as they came.
pub(super) fn parse(key: &hmac::Key, headers: &HeaderMap, body: &[u8]) -> Result<Notification, NotificationError> {
    let mut signatures = headers.get_all(SIGNATURE_HEADER).iter();
    let header = signatures.next().ok_or(NotificationError::MissingSignature)?;
    if signatures.next().is_some() {
        return Err(malformed("there are two signature headers"));
    }
    let header = header.to_str().map_err(|_| malformed("the signature is not text"))?;
    verify_hex(key, body, header)?;
    let message: MessageBody = serde_json::from_slice(body).map_err(malformed)?;
    let event_id = gateway_number(message.webhook_message_id, "webhook_message_id")?;
    if message.event_type != CAPTURED {
        return Ok(Notification::Other(OtherNotice {
            event_id,
            about: message.event_type,
        }));
    }
    let payment: PaymentBody = serde_json::from_value(message.resource).map_err(malformed)?;
    let pounds = Currency::parse("GBP").map_err(malformed)?;
    Ok(Notification::Payment(PaymentNotice {
        event_id,
        order_number: payment.reference,
        gateway_transaction: gateway_number(payment.payment_id, "payment_id")?,
        amount: from_minor_units(payment.amount, pounds)?,
        paid_at: message.created_date,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "govuk-pay-test-secret";
    const BODY: &str = r#"{"webhook_message_id":"wm_1","api_version":1,"created_date":"2026-11-24T10:36:26.988Z","resource_id":"hu20","resource_type":"payment","event_type":"card_payment_captured","resource":{"payment_id":"hu20","amount":5000,"reference":"1-R1","state":{"status":"success","finished":true}}}"#;
    /// Made with `printf %s "$BODY" | openssl dgst -sha256 -hmac govuk-pay-test-secret`.
    const VECTOR: &str = "a0bf5f26bf4a4c379eb831cecdade6fbfd309460ee49bd39bba907b492142a78";

    fn read(body: &str, signature: Option<&str>) -> Result<Notification, NotificationError> {
        let mut headers = HeaderMap::new();
        if let Some(signature) = signature {
            headers.insert(SIGNATURE_HEADER, signature.parse().unwrap());
        }
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        parse(&key, &headers, body.as_bytes())
    }

    fn read_signed(body: &str) -> Result<Notification, NotificationError> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        read(body, Some(&hex::encode(hmac::sign(&key, body.as_bytes()).as_ref())))
    }

    #[test]
    fn a_capture_signed_as_openssl_does_is_a_payment_in_pence() {
        let Ok(Notification::Payment(notice)) = read(BODY, Some(VECTOR)) else {
            panic!("not a payment")
        };
        assert_eq!(
            (notice.event_id.as_str(), notice.order_number.as_str()),
            ("wm_1", "1-R1")
        );
        assert_eq!(notice.gateway_transaction, "hu20");
        assert_eq!(
            (notice.amount.to_string().as_str(), notice.amount.currency().code()),
            ("50.00", "GBP")
        );
        assert!(read(BODY, Some(&VECTOR.to_uppercase())).is_ok());
    }

    #[test]
    fn what_is_altered_unsigned_or_signed_twice_is_refused() {
        let altered = BODY.replace("5000", "500000");
        assert_eq!(read(&altered, Some(VECTOR)), Err(NotificationError::BadSignature));
        assert_eq!(
            read(&format!("{BODY} "), Some(VECTOR)),
            Err(NotificationError::BadSignature)
        );
        assert_eq!(read(BODY, Some(&VECTOR[2..])), Err(NotificationError::BadSignature));
        assert_eq!(read(BODY, Some("")), Err(NotificationError::BadSignature));
        assert_eq!(read(BODY, None), Err(NotificationError::MissingSignature));
        assert!(matches!(
            read(BODY, Some("xyz")),
            Err(NotificationError::Malformed { .. })
        ));
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
        let mut two = HeaderMap::new();
        two.append(SIGNATURE_HEADER, VECTOR.parse().unwrap());
        two.append(SIGNATURE_HEADER, VECTOR.parse().unwrap());
        let answer = parse(&key, &two, BODY.as_bytes());
        assert!(matches!(answer, Err(NotificationError::Malformed { .. })));
    }

    #[test]
    fn other_events_move_no_money() {
        for event in [
            "card_payment_started",
            "card_payment_succeeded",
            "card_payment_refunded",
            "card_payment_expired",
        ] {
            let told = read_signed(&BODY.replace("card_payment_captured", event));
            assert!(
                matches!(&told, Ok(Notification::Other(notice)) if notice.about == event),
                "{told:?}"
            );
        }
        // Nor need they have an amount.
        let bare =
            r#"{"webhook_message_id":"wm_2","created_date":"2026-11-24T10:36:26Z","event_type":"new","resource":{}}"#;
        assert!(matches!(read_signed(bare), Ok(Notification::Other(_))));
    }

    #[test]
    fn amounts_that_are_no_money_are_refused() {
        for amount in ["0", "-1", "50.5", "\"5000\"", "1e30", "9223372036854775808", "null"] {
            let told = read_signed(&BODY.replace("5000", amount));
            assert!(
                matches!(told, Err(NotificationError::Malformed { .. })),
                "{amount}: {told:?}"
            );
        }
        let nameless = BODY.replace("\"payment_id\":\"hu20\"", "\"payment_id\":\"\"");
        assert!(matches!(
            read_signed(&nameless),
            Err(NotificationError::Malformed { .. })
        ));
    }
}
