//! Notifications made in advance, without a simulator that keeps the orders: for load.

use bytes::Bytes;
use http::HeaderName;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    WechatPay,
    keys::{APPID, MCHID, WechatPayKeys},
    letter::{sealed, seconds},
};
use crate::{
    gateway::{
        simulator::letters::encode,
        wechat_pay::{
            keys::KeyError,
            wire::{CNY, ENCRYPTED, EventBody, OrderAmount, PAID, PayerBody, TradeState, TransactionBody, fen},
        },
    },
    money::Amount,
};

/// The platform's side of one merchant.
pub struct Press(WechatPay);

/// A notification that was sealed and signed.
#[derive(Debug, Clone)]
pub struct Printed {
    /// The signature's headers.
    pub headers: Vec<(HeaderName, String)>,
    /// The body, as it was signed.
    pub body: Bytes,
}

impl Press {
    /// The platform of these keys.
    ///
    /// # Errors
    /// If a key cannot be read.
    pub fn of(keys: &WechatPayKeys) -> Result<Press, KeyError> {
        Ok(Press(WechatPay::of(keys)?))
    }

    /// That an order was paid in full; none if the amount is no number of fen.
    pub fn paid(&self, order_number: &str, amount: Amount, at: OffsetDateTime) -> Option<Printed> {
        let total = fen(amount).ok()?;
        let told = TransactionBody {
            appid: APPID.to_owned(),
            mchid: MCHID.to_owned(),
            out_trade_no: order_number.to_owned(),
            transaction_id: Some(format!("42000{}", Uuid::new_v4().simple())),
            trade_type: Some("NATIVE".to_owned()),
            trade_state: TradeState::Success,
            trade_state_desc: "支付成功".to_owned(),
            bank_type: Some("OTHERS".to_owned()),
            attach: None,
            success_time: Some(seconds(at)),
            payer: Some(PayerBody {
                openid: "oSimulatedPayer".to_owned(),
            }),
            amount: Some(OrderAmount {
                total,
                currency: Some(CNY.to_owned()),
                payer_total: Some(total),
                payer_currency: Some(CNY.to_owned()),
            }),
        };
        let event = EventBody {
            id: Uuid::new_v4().to_string(),
            create_time: seconds(at),
            resource_type: ENCRYPTED.to_owned(),
            event_type: PAID.to_owned(),
            summary: "支付成功".to_owned(),
            resource: sealed(&self.0, "transaction", &told).ok()?,
        };
        let body = encode(&event).ok()?;
        Some(Printed {
            headers: self.0.signed(at, &body),
            body,
        })
    }
}
