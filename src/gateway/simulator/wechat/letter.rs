//! Notifications as WeChat Pay writes them: what only the merchant can read, in a signed envelope.

use std::sync::Arc;

use http::HeaderName;
use serde::Serialize;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{WechatPay, refund_status, transaction};
use crate::gateway::{
    simulator::{
        Gateway,
        book::{Order, Paid, Refund, Refusal},
        courier::{Letter, Seal},
        letters::{PAYMENT_SUCCEEDED, REFUND_ABNORMAL, REFUND_FINISHED, encode},
    },
    wechat_pay::{
        bill::BEIJING,
        signature::{self, SCHEME},
        wire::{
            ALGORITHM, ENCRYPTED, EventBody, NewOrderBody, PAID, RefundAmount, RefundEventBody, RefundStatus,
            SealedBody, fen,
        },
    },
};

/// That an order was paid.
pub(in super::super) fn paid(
    gateway: &Gateway,
    order: &Order,
    asked: &NewOrderBody,
    paid: &Paid,
) -> Result<Letter, Refusal> {
    let told = transaction(order, asked, Some((paid, false)), gateway.clock.now())?;
    let mut larger = told.clone();
    if let Some(amount) = &mut larger.amount {
        amount.total = amount.total.saturating_add(1_000_000);
    }
    let event = |sealed| EventBody {
        id: paid.event_id.clone(),
        create_time: seconds(gateway.clock.now()),
        resource_type: ENCRYPTED.to_owned(),
        event_type: PAID.to_owned(),
        summary: "支付成功".to_owned(),
        resource: sealed,
    };
    let side = gateway.wechat_pay()?;
    Ok(Letter {
        event_id: paid.event_id.clone(),
        event_type: PAYMENT_SUCCEEDED,
        subject: order.request.order_number.clone(),
        url: order.request.notify_url.clone(),
        body: encode(&event(sealed(side, "transaction", &told)?))?,
        tampered: encode(&event(sealed(side, "transaction", &larger)?))?,
        seal: Arc::new(WechatPaySeal(side.clone())),
    })
}

/// That a refund has its outcome, or is abnormal.
pub(in super::super) fn refund(gateway: &Gateway, refund: &Refund) -> Result<Letter, Refusal> {
    let (status, at) = refund_status(refund);
    let (name, summary) = match status {
        RefundStatus::Success => ("REFUND.SUCCESS", "退款成功"),
        RefundStatus::Abnormal => ("REFUND.ABNORMAL", "退款异常"),
        RefundStatus::Closed => ("REFUND.CLOSED", "退款关闭"),
        RefundStatus::Processing => return Err(Refusal::Invalid("the refund has no outcome".to_owned())),
    };
    let yuan = |body: &crate::gateway::webhook::wire::MoneyBody| body.read().and_then(fen).map_err(Refusal::Invalid);
    let side = gateway.wechat_pay()?;
    let told = RefundEventBody {
        mchid: super::MCHID.to_owned(),
        transaction_id: refund.request.gateway_transaction.clone(),
        out_trade_no: refund.request.order_number.clone(),
        refund_id: refund.gateway_refund.clone(),
        out_refund_no: refund.request.refund_number.clone(),
        refund_status: status,
        success_time: at.map(seconds),
        user_received_account: "支付用户零钱".to_owned(),
        amount: RefundAmount {
            refund: yuan(&refund.request.amount)?,
            total: yuan(&refund.request.total)?,
            currency: None,
            payer_total: Some(yuan(&refund.request.total)?),
            payer_refund: Some(yuan(&refund.request.amount)?),
        },
    };
    let mut larger = told.clone();
    larger.amount.refund = larger.amount.refund.saturating_add(1_000_000);
    let is_abnormal = status == RefundStatus::Abnormal;
    let suffix = if is_abnormal { "_abnormal" } else { "" };
    let event_id = format!("{}{suffix}", refund.event_id);
    let event = |sealed| EventBody {
        id: event_id.clone(),
        create_time: seconds(gateway.clock.now()),
        resource_type: ENCRYPTED.to_owned(),
        event_type: name.to_owned(),
        summary: summary.to_owned(),
        resource: sealed,
    };
    Ok(Letter {
        event_id: event_id.clone(),
        event_type: if is_abnormal { REFUND_ABNORMAL } else { REFUND_FINISHED },
        subject: refund.request.refund_number.clone(),
        url: refund.request.notify_url.clone(),
        body: encode(&event(sealed(side, "refund", &told)?))?,
        tampered: encode(&event(sealed(side, "refund", &larger)?))?,
        seal: Arc::new(WechatPaySeal(side.clone())),
    })
}

pub(super) fn sealed(side: &WechatPay, kind: &str, told: &impl Serialize) -> Result<SealedBody, Refusal> {
    // 12 characters.
    let nonce = Uuid::new_v4().simple().to_string()[..12].to_owned();
    let ciphertext = side.platform.api_v3_key.seal(&nonce, kind, &encode(told)?);
    Ok(SealedBody {
        original_type: Some(kind.to_owned()),
        algorithm: ALGORITHM.to_owned(),
        ciphertext: ciphertext.ok_or_else(|| Refusal::Invalid("it cannot be sealed".to_owned()))?,
        associated_data: kind.to_owned(),
        nonce,
    })
}

struct WechatPaySeal(Arc<WechatPay>);

impl Seal for WechatPaySeal {
    fn headers(&self, at: OffsetDateTime, signed: &[u8]) -> Vec<(HeaderName, String)> {
        self.0.signed(at, signed)
    }
}

/// Times as WeChat Pay writes them: Beijing, whole seconds.
pub(super) fn seconds(at: OffsetDateTime) -> OffsetDateTime {
    let at = at.to_offset(BEIJING);
    at - Duration::nanoseconds(i64::from(at.nanosecond()))
}

impl WechatPay {
    /// The headers over an answer or a notification.
    pub(super) fn signed(&self, at: OffsetDateTime, body: &[u8]) -> Vec<(HeaderName, String)> {
        let (timestamp, nonce) = (at.unix_timestamp().to_string(), signature::new_nonce());
        let (id, signed) = self.sign(&signature::answer_message(&timestamp, &nonce, body));
        [
            (signature::TIMESTAMP, timestamp),
            (signature::NONCE, nonce),
            (signature::SIGNATURE, signed),
            (signature::SERIAL, id),
            (signature::SIGNATURE_TYPE, SCHEME.to_owned()),
            ("request-id", Uuid::new_v4().simple().to_string()),
        ]
        .map(|(name, value)| (HeaderName::from_static(name), value))
        .into()
    }
}
