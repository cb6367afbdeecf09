//! The JSON bodies of API v3 that are used here, as both sides read and write them. Amounts are whole fen.

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use time::OffsetDateTime;

use crate::money::{Amount, Currency};

/// The currency of every order, and of whatever names none.
pub const CNY: &str = "CNY";

/// Refusals of the gateway that mean: it has never seen this order.
pub const UNKNOWN_ORDER: [&str; 2] = ["ORDER_NOT_EXIST", "ORDERNOTEXIST"];
/// The refusal that means: it has never seen this refund.
pub const UNKNOWN_REFUND: &str = "RESOURCE_NOT_EXISTS";
/// Refusals to close an order, or to open it again, because it is paid.
pub const ORDER_PAID: [&str; 2] = ["ORDERPAID", "ORDER_PAID"];
/// Refusals that mean: the order is closed.
pub const ORDER_CLOSED: [&str; 2] = ["ORDER_CLOSED", "ORDERCLOSED"];
/// Refusals to give a bill, because nothing happened on that day.
pub const NO_BILL: [&str; 2] = ["NO_BILL_EXIST", "NO_STATEMENT_EXIST"];

/// The most characters of a number of the gateway's own.
const NUMBER_LEN_MAX: usize = 64;

/// Reads a number of the gateway's own: it identifies money, so it must be there and be one that can be kept as it is.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    let is_number = (1..=NUMBER_LEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_number {
        Ok(text)
    } else {
        let message = format!("a number has 1 to {NUMBER_LEN_MAX} visible ASCII characters");
        Err(D::Error::custom(message))
    }
}

/// Whole fen of an amount in yuan.
///
/// # Errors
/// What is wrong with it, for people.
pub fn fen(amount: Amount) -> Result<i64, String> {
    if amount.currency().code() != CNY {
        return Err(format!("WeChat Pay takes {CNY}, not {}", amount.currency()));
    }
    // An amount has exactly the decimals of its currency.
    i64::try_from(amount.value().mantissa()).map_err(|_| "the amount is too large".to_owned())
}

/// An amount above zero from whole fen; `currency` as the gateway names it, yuan if it does not.
///
/// # Errors
/// What is wrong with it, for people.
pub fn amount(fen: i64, currency: Option<&str>) -> Result<Amount, String> {
    let currency = Currency::parse(currency.unwrap_or(CNY)).map_err(|error| error.to_string())?;
    if fen <= 0 {
        return Err("an amount is above zero".to_owned());
    }
    let value = Decimal::new(fen, currency.exponent());
    Amount::from_decimal(value, currency).map_err(|error| error.to_string())
}

/// What a refused call gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalBody {
    pub code: String,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrderBody {
    pub appid: String,
    pub mchid: String,
    pub description: String,
    pub out_trade_no: String,
    #[serde(
        with = "time::serde::rfc3339::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub time_expire: Option<OffsetDateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<String>,
    pub notify_url: String,
    pub amount: OrderAmount,
    /// Of an order in the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<PayerBody>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderAmount {
    pub total: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer_total: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer_currency: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PayerBody {
    #[serde(default)]
    pub openid: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NativeBody {
    pub code_url: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JsapiBody {
    pub prepay_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseBody {
    pub mchid: String,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TradeState {
    Success,
    /// Paid, and all or some of it was paid back.
    Refund,
    NotPay,
    Closed,
    Revoked,
    UserPaying,
    PayError,
}

/// An order: the answer to a query, and what a notification of a payment contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransactionBody {
    pub appid: String,
    pub mchid: String,
    pub out_trade_no: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trade_type: Option<String>,
    pub trade_state: TradeState,
    #[serde(default)]
    pub trade_state_desc: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bank_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach: Option<String>,
    #[serde(
        with = "time::serde::rfc3339::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub success_time: Option<OffsetDateTime>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<PayerBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<OrderAmount>,
}

/// How an order was paid.
pub struct PaidFacts {
    pub gateway_transaction: String,
    pub amount: Amount,
    pub paid_at: OffsetDateTime,
}

impl TransactionBody {
    /// The payment of a paid order, all of it.
    ///
    /// # Errors
    /// What is missing or wrong, for people.
    pub fn paid(&self) -> Result<PaidFacts, String> {
        let (Some(id), Some(paid_at), Some(told)) = (&self.transaction_id, self.success_time, &self.amount) else {
            return Err("a paid order tells transaction_id, success_time and amount".to_owned());
        };
        let is_number = (1..=NUMBER_LEN_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_number {
            return Err(format!(
                "transaction_id has 1 to {NUMBER_LEN_MAX} visible ASCII characters"
            ));
        }
        Ok(PaidFacts {
            gateway_transaction: id.clone(),
            amount: amount(told.total, told.currency.as_deref())?,
            paid_at,
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRefundBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_trade_no: Option<String>,
    pub out_refund_no: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify_url: Option<String>,
    pub amount: RefundAmount,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundAmount {
    pub refund: i64,
    pub total: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer_total: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer_refund: Option<i64>,
}

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RefundStatus {
    Success,
    Closed,
    Processing,
    /// It cannot be paid to where it came from; somebody has to say where it goes.
    Abnormal,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundBody {
    #[serde(deserialize_with = "number")]
    pub refund_id: String,
    pub out_refund_no: String,
    pub transaction_id: String,
    pub out_trade_no: String,
    #[serde(default)]
    pub channel: String,
    #[serde(default)]
    pub user_received_account: String,
    #[serde(
        with = "time::serde::rfc3339::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub success_time: Option<OffsetDateTime>,
    #[serde(
        with = "time::serde::rfc3339::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub create_time: Option<OffsetDateTime>,
    pub status: RefundStatus,
    pub amount: RefundAmount,
}

/// Where the money of an abnormal refund goes: to the merchant's own bank account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AbnormalRefundBody {
    pub out_refund_no: String,
    #[serde(rename = "type")]
    pub kind: String,
}

/// The value of [`AbnormalRefundBody::kind`].
pub const MERCHANT_BANK_CARD: &str = "MERCHANT_BANK_CARD";

/// What a notification of a refund contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundEventBody {
    pub mchid: String,
    pub transaction_id: String,
    pub out_trade_no: String,
    #[serde(deserialize_with = "number")]
    pub refund_id: String,
    pub out_refund_no: String,
    pub refund_status: RefundStatus,
    #[serde(
        with = "time::serde::rfc3339::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub success_time: Option<OffsetDateTime>,
    #[serde(default)]
    pub user_received_account: String,
    pub amount: RefundAmount,
}

/// Where a bill can be fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillBody {
    pub hash_type: String,
    pub hash_value: String,
    pub download_url: String,
}

/// The certificates that the platform signs with, or soon will.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificatesBody {
    pub data: Vec<CertificateBody>,
}

/// One certificate of the platform's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateBody {
    pub serial_no: String,
    #[serde(with = "time::serde::rfc3339")]
    pub effective_time: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub expire_time: OffsetDateTime,
    /// Its PEM.
    pub encrypt_certificate: SealedBody,
}

/// A notification's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventBody {
    #[serde(deserialize_with = "number")]
    pub id: String,
    #[serde(with = "time::serde::rfc3339")]
    pub create_time: OffsetDateTime,
    pub resource_type: String,
    pub event_type: String,
    #[serde(default)]
    pub summary: String,
    pub resource: SealedBody,
}

/// The one value of [`EventBody::resource_type`].
pub const ENCRYPTED: &str = "encrypt-resource";
/// The one value of [`SealedBody::algorithm`].
pub const ALGORITHM: &str = "AEAD_AES_256_GCM";
/// The [`EventBody::event_type`] of a payment.
pub const PAID: &str = "TRANSACTION.SUCCESS";

/// What only the merchant can read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedBody {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_type: Option<String>,
    pub algorithm: String,
    pub ciphertext: String,
    #[serde(default)]
    pub associated_data: String,
    pub nonce: String,
}
