//! Notifications in the words of the gateway whose face an order has.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderName;
use secrecy::SecretString;
use serde::Serialize;
use time::OffsetDateTime;

use super::{
    Gateway, alipay,
    book::{Face, Order, Paid, Refund, Refusal},
    courier::{Letter, Seal},
    wechat,
};
use crate::gateway::webhook::{
    signature::{SIGNATURE_HEADER, sign_notification},
    wire::{Event, EventBody, RefundOutcome},
};

pub(super) const PAYMENT_SUCCEEDED: &str = "payment_succeeded";
pub(super) const REFUND_FINISHED: &str = "refund_finished";
pub(super) const REFUND_ABNORMAL: &str = "refund_abnormal";

/// That an order was paid.
pub(super) fn paid(gateway: &Gateway, order: &Order, paid: &Paid) -> Result<Letter, Refusal> {
    if let Face::WechatPay(asked) = &order.face {
        return wechat::letter::paid(gateway, order, asked, paid);
    }
    if order.face == Face::Alipay {
        return alipay::letter::paid(gateway, order, paid);
    }
    let event = EventBody {
        event_id: paid.event_id.clone(),
        created_at: gateway.clock.now(),
        event: Event::PaymentSucceeded {
            order_number: order.request.order_number.clone(),
            payment: paid.body(),
        },
    };
    let (number, url) = (&order.request.order_number, &order.request.notify_url);
    webhook(gateway, &event, PAYMENT_SUCCEEDED, number, url)
}

/// That a refund has its outcome. The webhook gateway does not tell of abnormal ones.
pub(super) fn refund(gateway: &Gateway, order: &Order, refund: &Refund) -> Result<Option<Letter>, Refusal> {
    if let Face::WechatPay(_) = &order.face {
        return wechat::letter::refund(gateway, refund).map(Some);
    }
    if order.face == Face::Alipay {
        return alipay::letter::refund(gateway, order, refund);
    }
    if refund.outcome == RefundOutcome::Processing {
        return Ok(None);
    }
    let event = EventBody {
        event_id: refund.event_id.clone(),
        created_at: gateway.clock.now(),
        event: Event::RefundFinished { refund: refund.body() },
    };
    let (number, url) = (&refund.request.refund_number, &refund.request.notify_url);
    webhook(gateway, &event, REFUND_FINISHED, number, url).map(Some)
}

fn webhook(
    gateway: &Gateway,
    event: &EventBody,
    event_type: &'static str,
    subject: &str,
    url: &str,
) -> Result<Letter, Refusal> {
    Ok(Letter {
        event_id: event.event_id.clone(),
        event_type,
        subject: subject.to_owned(),
        url: url.to_owned(),
        body: encode(event)?,
        tampered: encode(&tampered(event))?,
        seal: Arc::new(WebhookSeal(gateway.secret.clone())),
    })
}

/// Signs in Stripe's style.
struct WebhookSeal(SecretString);

impl Seal for WebhookSeal {
    fn headers(&self, at: OffsetDateTime, signed: &[u8]) -> Vec<(HeaderName, String)> {
        let name = HeaderName::from_static(SIGNATURE_HEADER);
        vec![(name, sign_notification(&self.0, at, signed))]
    }
}

/// The same event with a 9 in front of its amount.
fn tampered(event: &EventBody) -> EventBody {
    let mut event = event.clone();
    let amount = match &mut event.event {
        Event::PaymentSucceeded { payment, .. } => &mut payment.amount,
        Event::RefundFinished { refund } => &mut refund.amount,
    };
    amount.value.insert(0, '9');
    event
}

pub(super) fn encode(body: &impl Serialize) -> Result<Bytes, Refusal> {
    serde_json::to_vec(body)
        .map(Bytes::from)
        .map_err(|error| Refusal::Invalid(error.to_string()))
}
