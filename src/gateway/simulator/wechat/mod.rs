//! The simulated WeChat Pay: the API v3 of one merchant, over the same book as the other faces.
//!
//! It checks the caller's signature, and signs what it answers and sends. With which key it signs, the caller says as to the real
//! one: by public key if the last request named its id in `Wechatpay-Serial`, else by certificate.
//!
//! # Layout
//! - `api`: the endpoints. `letter`: notifications. `bill`: bills. `keys`: the key material of both sides.
//! - `certificates`: the platform's certificates: listed, and replaced on command.
//! - `press`: notifications made in advance, for load.

mod api;
mod bill;
pub(super) mod certificates;
pub mod keys;
pub(super) mod letter;
pub mod press;

use std::sync::{
    PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use axum::http::HeaderMap;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use time::OffsetDateTime;

pub(super) use self::api::router;
use self::{
    keys::{APPID, MCHID, Platform, WechatPayKeys},
    letter::seconds,
};
use super::book::{Order, Paid, Refund, Refusal};
use crate::gateway::{
    webhook::wire::{OrderState, RefundOutcome},
    wechat_pay::{
        keys::{KeyError, SigningKey},
        signature::{self, SCHEME, TOLERANCE_S},
        wire::{CNY, NewOrderBody, OrderAmount, PayerBody, RefundStatus, TradeState, TransactionBody, fen},
    },
};

/// One merchant, and the platform's side of it.
pub(super) struct WechatPay {
    platform: Platform,
    /// Whether the caller named the public key.
    by_public_key: AtomicBool,
    /// How often the certificates were fetched.
    certificates_fetched: AtomicU64,
}

impl WechatPay {
    pub(super) fn of(keys: &WechatPayKeys) -> Result<WechatPay, KeyError> {
        Ok(WechatPay {
            platform: keys.platform()?,
            by_public_key: AtomicBool::new(true),
            certificates_fetched: AtomicU64::new(0),
        })
    }

    /// Signs as the caller asked for; the id of the key, and the signature.
    fn sign(&self, message: &[u8]) -> (String, String) {
        let certificates = self
            .platform
            .certificates
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let (id, key): (&str, &SigningKey) = match (self.by_public_key.load(Ordering::Relaxed), certificates.last()) {
            (false, Some(certificate)) => (&certificate.serial, &certificate.key),
            _ => (&self.platform.by_public_key.0, &self.platform.by_public_key.1),
        };
        // A key that was read signs.
        (id.to_owned(), key.sign(message).unwrap_or_default())
    }

    /// Checks `Authorization`, as the platform does.
    fn check(
        &self,
        headers: &HeaderMap,
        (method, target): (&str, &str),
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<(), Refusal> {
        let unsigned = |why: &str| Refusal::Unsigned(why.to_owned());
        let text = headers.get("authorization").and_then(|value| value.to_str().ok());
        let fields = text
            .and_then(|text| text.strip_prefix(SCHEME))
            .ok_or_else(|| unsigned("no such scheme"))?;
        let field = |name: &str| {
            let is_it = |part: &str| {
                let (key, value) = part.trim().split_once('=')?;
                (key == name).then(|| value.trim_matches('"').to_owned())
            };
            fields.split(',').find_map(is_it).ok_or_else(|| unsigned(name))
        };
        if field("mchid")? != MCHID {
            return Err(unsigned("another merchant"));
        }
        let timestamp: i64 = field("timestamp")?.parse().map_err(|_| unsigned("timestamp"))?;
        if now.unix_timestamp().abs_diff(timestamp) >= u64::from(TOLERANCE_S) {
            return Err(unsigned("the timestamp is too old or too new"));
        }
        let signed = BASE64.decode(field("signature")?).map_err(|_| unsigned("signature"))?;
        let message = signature::request_message(method, target, timestamp, &field("nonce_str")?, body);
        let by_merchant = self
            .platform
            .merchant
            .verify(&field("serial_no")?, &message, &signed, now);
        if by_merchant != Some(true) {
            return Err(unsigned("the signature is wrong"));
        }
        let named = headers.get(signature::SERIAL).and_then(|value| value.to_str().ok());
        self.by_public_key
            .store(named == Some(&self.platform.by_public_key.0), Ordering::Relaxed);
        Ok(())
    }
}

/// An order in WeChat Pay's words; `paid` is the payment to tell of, and whether any of it was paid back.
fn transaction(
    order: &Order,
    asked: &NewOrderBody,
    paid: Option<(&Paid, bool)>,
    now: OffsetDateTime,
) -> Result<TransactionBody, Refusal> {
    let (trade_state, desc) = match (paid, order.state(now)) {
        (Some((_, true)), _) => (TradeState::Refund, "订单发生过退款"),
        (Some((_, false)), _) => (TradeState::Success, "支付成功"),
        (None, OrderState::Closed) => (TradeState::Closed, "订单已关闭"),
        (None, _) => (TradeState::NotPay, "订单未支付"),
    };
    let paid = paid.map(|(paid, _)| paid);
    let total = fen(paid.map_or(order.amount, |paid| paid.amount)).map_err(Refusal::Invalid)?;
    let asked_for = asked.payer.as_ref().map_or("oSimulatedPayer", |payer| &payer.openid);
    let openid = paid.and_then(|paid| paid.payer.as_deref()).unwrap_or(asked_for);
    Ok(TransactionBody {
        appid: asked.appid.clone(),
        mchid: asked.mchid.clone(),
        out_trade_no: asked.out_trade_no.clone(),
        transaction_id: paid.map(|paid| paid.gateway_transaction.clone()),
        trade_type: paid.map(|_| if asked.payer.is_some() { "JSAPI" } else { "NATIVE" }.to_owned()),
        trade_state,
        trade_state_desc: desc.to_owned(),
        bank_type: paid.map(|_| "OTHERS".to_owned()),
        attach: asked.attach.clone(),
        success_time: paid.map(|paid| seconds(paid.paid_at)),
        payer: paid.map(|_| PayerBody {
            openid: openid.to_owned(),
        }),
        amount: Some(OrderAmount {
            total,
            currency: Some(CNY.to_owned()),
            payer_total: paid.map(|_| total),
            payer_currency: paid.map(|_| CNY.to_owned()),
        }),
    })
}

/// Where a refund stands in WeChat Pay's words, and since when the payer has the money.
fn refund_status(refund: &Refund) -> (RefundStatus, Option<OffsetDateTime>) {
    match &refund.outcome {
        RefundOutcome::Processing if refund.abnormal => (RefundStatus::Abnormal, None),
        RefundOutcome::Processing => (RefundStatus::Processing, None),
        RefundOutcome::Succeeded { at, .. } => (RefundStatus::Success, Some(*at)),
        RefundOutcome::Failed { .. } => (RefundStatus::Closed, None),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;
    use crate::gateway::{
        simulator::book::{Book, Face, Paying},
        webhook::wire::{MoneyBody, NewPaymentBody, NewRefundBody},
    };

    #[test]
    fn an_order_of_which_something_went_back_is_in_state_refund() {
        let now = datetime!(2031-05-06 02:00:00 UTC);
        let asked: NewOrderBody = serde_json::from_value(json!({
            "appid": APPID, "mchid": MCHID, "description": "d", "out_trade_no": "1-R000001",
            "notify_url": "", "amount": {"total": 10_000, "currency": "CNY"},
        }))
        .unwrap();
        let yuan = |value: &str| MoneyBody {
            value: value.into(),
            currency: "CNY".into(),
        };
        let request = NewPaymentBody {
            order_number: "1-R000001".into(),
            amount: yuan("100.00"),
            description: "d".into(),
            expires_at: now + time::Duration::HOUR,
            notify_url: String::new(),
        };
        let mut book = Book::new("00000000".into());
        let face = Face::WechatPay(Box::new(asked.clone()));
        book.open(request, face, now).unwrap();
        let paying = Paying {
            payer: Some("oPayer7".into()),
            ..Paying::default()
        };
        let paid = book.pay("1-R000001", &paying, now).unwrap();
        let told = |book: &Book| {
            let went_back = book.is_paid_back_in_part(&paid).unwrap();
            transaction(book.order("1-R000001").unwrap(), &asked, Some((&paid, went_back)), now).unwrap()
        };
        let before = told(&book);
        assert_eq!(
            (before.trade_state, before.payer.unwrap().openid),
            (TradeState::Success, "oPayer7".into())
        );
        let refund = NewRefundBody {
            refund_number: "F1-000001".into(),
            order_number: "1-R000001".into(),
            gateway_transaction: paid.gateway_transaction.clone(),
            amount: yuan("1.00"),
            total: yuan("100.00"),
            notify_url: String::new(),
        };
        book.request_refund(refund, now).unwrap();
        assert_eq!(told(&book).trade_state, TradeState::Refund);
        book.answer_refund("F1-000001", Some("closed".into()), now).unwrap();
        assert_eq!(told(&book).trade_state, TradeState::Success, "nothing went back");
    }
}
