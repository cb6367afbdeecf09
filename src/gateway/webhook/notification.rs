//! Reading a notification: signature first, then the body, so that nothing unsigned is ever parsed.

use http::HeaderMap;
use secrecy::SecretString;
use time::OffsetDateTime;

use super::{
    signature::{SIGNATURE_HEADER, verify_notification},
    wire::{Event, EventBody, MoneyBody, RefundOutcome},
};
use crate::{
    gateway::{
        channel::{Notification, PaymentNotice, RefundNotice, RefundState, RefundedAmount},
        error::NotificationError,
    },
    money::Amount,
};

/// Checks and reads a notification; see [`crate::gateway::Channel::parse_notification`].
pub(super) fn parse(
    secret: &SecretString,
    headers: &HeaderMap,
    body: &[u8],
    now: OffsetDateTime,
) -> Result<Notification, NotificationError> {
    let mut signatures = headers.get_all(SIGNATURE_HEADER).iter();
    let header = signatures.next().ok_or(NotificationError::MissingSignature)?;
    if signatures.next().is_some() {
        return Err(malformed("there are two signature headers"));
    }
    let header = header.to_str().map_err(|_| malformed("the signature is not text"))?;
    verify_notification(secret, header, body, now)?;
    let event: EventBody = serde_json::from_slice(body).map_err(malformed)?;
    match event.event {
        Event::PaymentSucceeded { order_number, payment } => Ok(Notification::Payment(PaymentNotice {
            event_id: event.event_id,
            order_number,
            gateway_transaction: payment.gateway_transaction,
            amount: amount(&payment.amount)?,
            paid_at: payment.paid_at,
        })),
        Event::RefundFinished { refund } => Ok(Notification::Refund(RefundNotice {
            event_id: event.event_id,
            amount: RefundedAmount::OfRefund(amount(&refund.amount)?),
            refund_number: refund.refund_number,
            order_number: refund.order_number,
            state: match refund.outcome {
                RefundOutcome::Succeeded { gateway_refund, at } => RefundState::Succeeded { gateway_refund, at },
                RefundOutcome::Failed { reason } => RefundState::Failed { reason },
                RefundOutcome::Processing => return Err(malformed("a finished refund is still processing")),
            },
        })),
    }
}

fn amount(body: &MoneyBody) -> Result<Amount, NotificationError> {
    body.read().map_err(malformed)
}

fn malformed(reason: impl ToString) -> NotificationError {
    NotificationError::Malformed {
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::webhook::signature::sign_notification;

    const PAID: &str = r#"{"event_id":"evt_1","created_at":"2025-07-31T10:00:00Z","event_type":"payment_succeeded",
        "order_number":"R1","payment":{"gateway_transaction":"pay_1",
        "amount":{"value":"100.00","currency":"CNY"},"paid_at":"2025-07-31T10:00:00Z"}}"#;

    fn parse_signed(body: &str) -> Result<Notification, NotificationError> {
        let secret = SecretString::from("s");
        let now = OffsetDateTime::UNIX_EPOCH;
        let mut headers = HeaderMap::new();
        headers.insert(
            SIGNATURE_HEADER,
            sign_notification(&secret, now, body.as_bytes()).parse().unwrap(),
        );
        parse(&secret, &headers, body.as_bytes(), now)
    }

    #[test]
    fn reads_a_payment_and_ignores_fields_it_does_not_know() {
        let body = PAID.replacen('{', r#"{"livemode":false,"#, 1);
        let Ok(Notification::Payment(notice)) = parse_signed(&body) else {
            panic!("not a payment")
        };
        assert_eq!(
            (notice.event_id.as_str(), notice.order_number.as_str()),
            ("evt_1", "R1")
        );
        assert_eq!(
            MoneyBody::from(notice.amount),
            MoneyBody {
                value: "100.00".into(),
                currency: "CNY".into()
            }
        );
    }

    #[test]
    fn refuses_amounts_that_are_not_money() {
        for amount in [
            "100.001",
            "-1.00",
            "0.00",
            "NaN",
            "1e3",
            "",
            "999999999999999999999999999999",
        ] {
            let body = PAID.replace("100.00", amount);
            assert!(
                matches!(parse_signed(&body), Err(NotificationError::Malformed { .. })),
                "{amount}"
            );
        }
        assert!(matches!(
            parse_signed(&PAID.replace("CNY", "???")),
            Err(NotificationError::Malformed { .. })
        ));
        assert!(matches!(parse_signed("{}"), Err(NotificationError::Malformed { .. })));
    }

    #[test]
    fn refuses_without_exactly_one_signature() {
        let secret = SecretString::from("s");
        let mut headers = HeaderMap::new();
        let now = OffsetDateTime::UNIX_EPOCH;
        assert_eq!(
            parse(&secret, &headers, b"{}", now),
            Err(NotificationError::MissingSignature)
        );
        headers.append(SIGNATURE_HEADER, "t=0,v1=00".parse().unwrap());
        assert_eq!(
            parse(&secret, &headers, b"{}", now),
            Err(NotificationError::BadSignature)
        );
        headers.append(SIGNATURE_HEADER, "t=0,v1=00".parse().unwrap());
        assert!(matches!(
            parse(&secret, &headers, b"{}", now),
            Err(NotificationError::Malformed { .. })
        ));
    }
}
