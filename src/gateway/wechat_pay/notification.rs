//! Reading a notification: signature first, then the envelope, then what is sealed in it, so that nothing unsigned is ever parsed.

use http::HeaderMap;
use time::OffsetDateTime;

use super::{
    Merchant,
    signature::{self, malformed},
    wire::{self, ALGORITHM, ENCRYPTED, EventBody, PAID, RefundEventBody, RefundStatus, TradeState, TransactionBody},
};
use crate::gateway::{
    channel::{Notification, PaymentNotice, RefundNotice, RefundState, RefundedAmount},
    error::NotificationError,
};

/// Checks and reads a notification; see [`crate::gateway::Channel::parse_notification`].
pub(super) fn parse(
    merchant: &Merchant,
    headers: &HeaderMap,
    body: &[u8],
    now: OffsetDateTime,
) -> Result<Notification, NotificationError> {
    let has_signed = |id: &str, message: &[u8], signed: &[u8]| merchant.platform.verify(id, message, signed, now);
    signature::verify(has_signed, headers, body, now)?;
    let event: EventBody = serde_json::from_slice(body).map_err(malformed)?;
    let sealed = &event.resource;
    if event.resource_type != ENCRYPTED || sealed.algorithm != ALGORITHM {
        return Err(malformed("the resource is sealed in another way"));
    }
    let opened = merchant
        .api_v3_key
        .open(&sealed.nonce, &sealed.associated_data, &sealed.ciphertext)
        .ok_or_else(|| malformed("the resource cannot be opened with the APIv3 key"))?;
    match event.event_type.as_str() {
        PAID => payment(merchant, event.id, &opened),
        "REFUND.SUCCESS" => refund(merchant, event.id, &opened, RefundStatus::Success),
        "REFUND.ABNORMAL" => refund(merchant, event.id, &opened, RefundStatus::Abnormal),
        "REFUND.CLOSED" => refund(merchant, event.id, &opened, RefundStatus::Closed),
        _ => Err(malformed("an event of another type")),
    }
}

fn payment(merchant: &Merchant, event_id: String, opened: &[u8]) -> Result<Notification, NotificationError> {
    let told: TransactionBody = serde_json::from_slice(opened).map_err(malformed)?;
    if !merchant.is(&told.mchid, Some(&told.appid)) {
        return Err(NotificationError::OtherMerchant {
            found: format!("{} {}", told.mchid, told.appid),
        });
    }
    if told.trade_state != TradeState::Success {
        return Err(malformed("a paid order is not paid"));
    }
    let paid = told.paid().map_err(malformed)?;
    Ok(Notification::Payment(PaymentNotice {
        event_id,
        order_number: told.out_trade_no,
        gateway_transaction: paid.gateway_transaction,
        amount: paid.amount,
        paid_at: paid.paid_at,
    }))
}

fn refund(
    merchant: &Merchant,
    event_id: String,
    opened: &[u8],
    expected: RefundStatus,
) -> Result<Notification, NotificationError> {
    let told: RefundEventBody = serde_json::from_slice(opened).map_err(malformed)?;
    if !merchant.is(&told.mchid, None) {
        return Err(NotificationError::OtherMerchant { found: told.mchid });
    }
    if told.refund_status != expected {
        return Err(malformed("the refund contradicts the event"));
    }
    let state = match told.refund_status {
        RefundStatus::Success => RefundState::Succeeded {
            gateway_refund: told.refund_id,
            at: told.success_time.ok_or_else(|| malformed("success_time is missing"))?,
        },
        RefundStatus::Abnormal => abnormal(told.refund_id),
        RefundStatus::Closed => closed(),
        RefundStatus::Processing => return Err(malformed("a finished refund is still processing")),
    };
    Ok(Notification::Refund(RefundNotice {
        event_id,
        refund_number: told.out_refund_no,
        order_number: told.out_trade_no,
        amount: RefundedAmount::OfRefund(
            wire::amount(told.amount.refund, told.amount.currency.as_deref()).map_err(malformed)?,
        ),
        state,
    }))
}

/// ABNORMAL, in our terms.
pub(super) fn abnormal(gateway_refund: String) -> RefundState {
    RefundState::Abnormal {
        gateway_refund,
        reason: "ABNORMAL: the payer's account cannot take it".to_owned(),
    }
}

/// CLOSED, in our terms.
pub(super) fn closed() -> RefundState {
    RefundState::Failed {
        reason: "CLOSED: the gateway does not pay it back".to_owned(),
    }
}
