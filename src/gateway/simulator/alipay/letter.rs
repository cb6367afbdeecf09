//! Notifications in Alipay's words: a form with its signature in it.

use std::sync::Arc;

use axum::http::{HeaderName, StatusCode};
use bytes::Bytes;
use time::OffsetDateTime;

use super::keys::{APP_ID, SELLER_ID};
use crate::gateway::{
    alipay::{
        form::{self, Params},
        signature,
        wire::{self, TRADE_CLOSED, TRADE_STATUS_SYNC, TRADE_SUCCESS},
    },
    simulator::{
        Gateway,
        book::{Order, Paid, Refund, Refusal},
        courier::{Letter, Seal},
        letters::{PAYMENT_SUCCEEDED, REFUND_FINISHED},
    },
    webhook::wire::RefundOutcome,
};

/// That an order was paid.
pub(in crate::gateway::simulator) fn paid(gateway: &Gateway, order: &Order, paid: &Paid) -> Result<Letter, Refusal> {
    let mut params = trade(gateway, order, paid);
    set(&mut params, "trade_status", TRADE_SUCCESS);
    let subject = order.request.order_number.clone();
    letter(
        gateway,
        order,
        (PAYMENT_SUCCEEDED, subject, &paid.event_id),
        params,
        "total_amount",
    )
}

/// That a refund was done; of others Alipay tells nothing. It stands in the words of its trade.
pub(in crate::gateway::simulator) fn refund(
    gateway: &Gateway,
    order: &Order,
    refund: &Refund,
) -> Result<Option<Letter>, Refusal> {
    let RefundOutcome::Succeeded { at, .. } = &refund.outcome else {
        return Ok(None);
    };
    let is_it = |paid: &&Paid| paid.gateway_transaction == refund.request.gateway_transaction;
    let number = &order.request.order_number;
    let paid = order
        .payments()
        .find(is_it)
        .ok_or_else(|| Refusal::NotPaid(number.clone()))?;
    let total = gateway.book().paid_back(paid)?;
    let mut params = trade(gateway, order, paid);
    let status = if total == paid.amount {
        TRADE_CLOSED
    } else {
        TRADE_SUCCESS
    };
    set(&mut params, "trade_status", status);
    set(&mut params, "refund_fee", total.to_string());
    set(&mut params, "gmt_refund", format!("{}.000", wire::write_time(*at)));
    set(&mut params, "out_biz_no", &refund.request.refund_number);
    let subject = refund.request.refund_number.clone();
    let label = (REFUND_FINISHED, subject, refund.event_id.as_str());
    letter(gateway, order, label, params, "refund_fee").map(Some)
}

/// What every notice tells of a trade.
fn trade(gateway: &Gateway, order: &Order, paid: &Paid) -> Params {
    let (amount, paid_at) = (paid.amount.to_string(), wire::write_time(paid.paid_at));
    let funds = format!(r#"[{{"amount":"{amount}","fundChannel":"ALIPAYACCOUNT"}}]"#);
    let own = [
        ("notify_time", wire::write_time(gateway.clock.now())),
        ("notify_type", TRADE_STATUS_SYNC.to_owned()),
        ("app_id", APP_ID.to_owned()),
        ("auth_app_id", APP_ID.to_owned()),
        ("charset", "utf-8".to_owned()),
        ("version", "1.0".to_owned()),
        ("trade_no", paid.gateway_transaction.clone()),
        ("out_trade_no", order.request.order_number.clone()),
        (
            "buyer_id",
            paid.payer.clone().unwrap_or_else(|| "2088000000009999".to_owned()),
        ),
        ("buyer_logon_id", "159****5620".to_owned()),
        ("seller_id", SELLER_ID.to_owned()),
        ("seller_email", "simulated@example.com".to_owned()),
        ("total_amount", amount.clone()),
        ("receipt_amount", amount.clone()),
        ("invoice_amount", amount.clone()),
        ("buyer_pay_amount", amount),
        ("point_amount", "0.00".to_owned()),
        ("subject", order.request.description.clone()),
        ("gmt_create", paid_at.clone()),
        ("gmt_payment", paid_at),
        ("fund_bill_list", funds),
    ];
    own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn set(params: &mut Params, name: &str, value: impl Into<String>) {
    params.insert(name.to_owned(), value.into());
}

/// Signs the form; the tampered one tells more money under the same signature.
fn letter(
    gateway: &Gateway,
    order: &Order,
    (event_type, subject, event_id): (&'static str, String, &str),
    mut params: Params,
    amount: &str,
) -> Result<Letter, Refusal> {
    let alipay = gateway.alipay.as_ref();
    let alipay = alipay.ok_or_else(|| Refusal::Invalid("Alipay is not played".to_owned()))?;
    set(&mut params, "notify_id", event_id);
    signature::sign_notification(&alipay.key, &mut params)
        .map_err(|_| Refusal::Invalid("the notification cannot be signed".to_owned()))?;
    let mut tampered = params.clone();
    if let Some(told) = tampered.get_mut(amount) {
        told.insert(0, '9');
    }
    Ok(Letter {
        event_id: event_id.to_owned(),
        event_type,
        subject,
        url: order.request.notify_url.clone(),
        body: Bytes::from(form::encode(&params)),
        tampered: Bytes::from(form::encode(&tampered)),
        seal: Arc::new(FormSeal),
    })
}

/// The signature stands in the form. Only the seven letters are a receipt, whatever the code.
struct FormSeal;

impl Seal for FormSeal {
    fn headers(&self, _at: OffsetDateTime, _signed: &[u8]) -> Vec<(HeaderName, String)> {
        let kind = "application/x-www-form-urlencoded; charset=utf-8";
        vec![(axum::http::header::CONTENT_TYPE, kind.to_owned())]
    }

    fn is_accepted(&self, _code: StatusCode, body: &[u8]) -> bool {
        body == b"success"
    }
}
