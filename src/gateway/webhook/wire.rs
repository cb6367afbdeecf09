//! The JSON bodies of the webhook gateway's HTTP API and of its notifications, as both sides read and write them.
//!
//! | call | body | answer |
//! |---|---|---|
//! | `POST /v1/payments` | [`NewPaymentBody`] | [`PaymentBody`] |
//! | `GET /v1/payments/{order_number}` | | [`PaymentBody`] |
//! | `POST /v1/payments/{order_number}/close` | | [`PaymentBody`] |
//! | `POST /v1/refunds` | [`NewRefundBody`] | [`RefundBody`] |
//! | `GET /v1/refunds/{refund_number}` | | [`RefundBody`] |
//! | `GET /v1/bills/{YYYY-MM-DD}` | | CSV, see `gateway::bill` |
//!
//! Requests carry the signature header over method, path and body. A refusal is an answer of the 400s with
//! [`RefusalBody`]; a repeated call with the same number and content gets the first one's answer.
//! Notifications are [`EventBody`], posted to the `notify_url` with the signature header over the body.
//! Amounts are decimal strings with their currency; times are RFC 3339.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use time::OffsetDateTime;

use crate::money::{Amount, Currency};

/// Code of the refusal for an order number the gateway has never seen.
pub const UNKNOWN_ORDER: &str = "UNKNOWN_ORDER";
/// Code of the refusal for a refund number the gateway has never seen.
pub const UNKNOWN_REFUND: &str = "UNKNOWN_REFUND";

/// The most characters of a number of the gateway's own.
const NUMBER_LEN_MAX: usize = 128;
/// The most characters kept of a reason.
const REASON_LEN_MAX: usize = 500;

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

/// Reads a reason, leaving out what cannot be kept: what it explains is true whatever it looks like.
fn reason<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    Ok(text
        .chars()
        .filter(|character| !character.is_control())
        .take(REASON_LEN_MAX)
        .collect())
}

/// An amount: `{"value":"12.50","currency":"CNY"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoneyBody {
    pub value: String,
    pub currency: String,
}

impl MoneyBody {
    /// Reads the amount, which must be above zero; the reason is for people.
    pub fn read(&self) -> Result<Amount, String> {
        let currency = Currency::parse(&self.currency).map_err(|error| error.to_string())?;
        Amount::parse_positive(&self.value, currency).map_err(|error| error.to_string())
    }
}

impl From<Amount> for MoneyBody {
    fn from(amount: Amount) -> Self {
        MoneyBody {
            value: amount.to_string(),
            currency: amount.currency().code().to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPaymentBody {
    pub order_number: String,
    pub amount: MoneyBody,
    pub description: String,
    #[serde(with = "time::serde::rfc3339")]
    pub expires_at: OffsetDateTime,
    pub notify_url: String,
}

/// Where an order stands at the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    Unpaid,
    Paid,
    Closed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentBody {
    pub order_number: String,
    pub state: OrderState,
    pub amount: MoneyBody,
    pub payment_url: String,
    /// Present when the order is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid: Option<PaidBody>,
}

/// How an order was paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaidBody {
    #[serde(deserialize_with = "number")]
    pub gateway_transaction: String,
    pub amount: MoneyBody,
    #[serde(with = "time::serde::rfc3339")]
    pub paid_at: OffsetDateTime,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewRefundBody {
    pub refund_number: String,
    pub order_number: String,
    pub gateway_transaction: String,
    pub amount: MoneyBody,
    pub total: MoneyBody,
    pub notify_url: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundBody {
    pub refund_number: String,
    pub order_number: String,
    pub amount: MoneyBody,
    pub outcome: RefundOutcome,
}

/// Where a refund stands: `{"state":"failed","reason":"…"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RefundOutcome {
    Processing,
    Succeeded {
        #[serde(deserialize_with = "number")]
        gateway_refund: String,
        #[serde(with = "time::serde::rfc3339")]
        at: OffsetDateTime,
    },
    Failed {
        #[serde(deserialize_with = "reason")]
        reason: String,
    },
}

/// What a refused call gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusalBody {
    pub code: String,
    pub message: String,
}

/// A notification's body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventBody {
    pub event_id: String,
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    #[serde(flatten)]
    pub event: Event,
}

/// What a notification tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event_type", rename_all = "snake_case")]
pub enum Event {
    /// An order was paid.
    PaymentSucceeded { order_number: String, payment: PaidBody },
    /// A refund has its outcome.
    RefundFinished { refund: RefundBody },
}
