//! Wire types to domain types and back: what is malformed is refused here, at the door.

use prost::Message;
use prost_types::Timestamp;
use rust_decimal::Decimal;
use time::OffsetDateTime;
use tonic::Status;

use super::{
    REPLAY_METADATA,
    name::{DetaineeName, PayerName, RemittanceName, TransactionName},
};
use crate::{
    access::Actor,
    api::status::{internal, invalid_field, status, unavailable},
    ids::RequestId,
    ledger::{Center, LedgerError, Reason, Refusal, Request, record},
    money::{Amount, Currency},
    proto::Money,
};

/// The most that can be asked for at once, 10¹² − 1. Far below what an amount can hold, so that no sum of one request
/// overflows: 50 lines of 1,000 pieces are 5 × 10¹⁶.
const ASKED_MAX: Decimal = Decimal::from_parts(0xD4A5_0FFF, 0xE8, 0, false, 0);

/// The most characters of a name, a reference or a reason.
const TEXT_CHARS_MAX: usize = 500;

/// Reads an amount in the center's currency, zero or more. `field` names it in the refusal.
pub fn amount_in(money: Option<&Money>, currency: Currency, field: &str) -> Result<Amount, Refusal> {
    let Some(money) = money else {
        return Err(invalid_field(field, "is required"));
    };
    if money.currency_code != currency.code() {
        let refusal = Refusal::because(Reason::CurrencyMismatch, format!("the center's currency is {currency}"));
        return Err(refusal
            .with_fact("expected", currency)
            .with_fact("got", &money.currency_code)
            .about(field));
    }
    let named = |message: String| invalid_field(format!("{field}.amount"), message);
    let amount = Amount::parse(&money.amount, currency).map_err(|error| named(error.to_string()))?;
    if amount.value() > ASKED_MAX {
        return Err(named(format!("more than {ASKED_MAX}")));
    }
    Ok(amount)
}

/// Reads an amount above zero.
pub fn positive_amount_in(money: Option<&Money>, currency: Currency, field: &str) -> Result<Amount, Refusal> {
    let amount = amount_in(money, currency, field)?;
    if amount.is_positive() {
        Ok(amount)
    } else {
        Err(invalid_field(format!("{field}.amount"), "not above zero"))
    }
}

/// Writes an amount.
pub fn money(amount: Amount) -> Option<Money> {
    Some(Money {
        currency_code: amount.currency().code().to_owned(),
        amount: amount.to_string(),
    })
}

/// Writes an amount that a record holds as text.
pub fn money_text(amount: &str, center: &Center) -> Option<Money> {
    Some(Money {
        currency_code: center.currency.code().to_owned(),
        amount: amount.to_owned(),
    })
}

/// Writes an instant.
pub fn timestamp(at: OffsetDateTime) -> Option<Timestamp> {
    Some(record::timestamp(at))
}

/// What identifies a call that moves money. The message itself, canonically encoded, is what a repetition is compared with.
///
/// Errors: INVALID_FIELD naming `request_id`, also for an id that the service may have derived for something of its own.
pub fn request(id: &str, method: &'static str, message: &impl Message, actor: &Actor) -> Result<Request, Refusal> {
    let id = RequestId::parse(id).map_err(|error| invalid_field("request_id", error.to_string()))?;
    if id.may_be_derived() {
        let why = "a UUID of version 5 is the service's own; use a random one (version 4 or 7)";
        return Err(invalid_field("request_id", why));
    }
    Ok(Request {
        id,
        method,
        body: message.encode_to_vec(),
        actor: actor.name(),
    })
}

/// Reads an id under its own type; `field` names it in the refusal.
pub fn typed<T, E: std::fmt::Display>(parsed: Result<T, E>, field: &str) -> Result<T, Refusal> {
    parsed.map_err(|error| invalid_field(field, error.to_string()))
}

/// Reads a text that may be left empty: one line, for people.
///
/// Errors: INVALID_FIELD naming `field`.
pub fn text(text: &str, field: &str) -> Result<String, Refusal> {
    if text.chars().count() > TEXT_CHARS_MAX {
        return Err(invalid_field(field, format!("at most {TEXT_CHARS_MAX} characters")));
    }
    // PostgreSQL keeps no NUL, and whoever reads lines should not be led astray by the others.
    if text.chars().any(char::is_control) {
        return Err(invalid_field(field, "must have no control characters"));
    }
    Ok(text.to_owned())
}

/// Reads a text that must be told.
///
/// Errors: INVALID_FIELD naming `field`.
pub fn told(told: &str, field: &str) -> Result<String, Refusal> {
    if told.trim().is_empty() {
        return Err(invalid_field(field, "is required"));
    }
    text(told, field)
}

/// `centers/{center}/payers/{payer}`.
pub fn payer_name(center: &Center, payer: &str) -> String {
    let center = center.id.as_str();
    PayerName { center, payer }.to_string()
}

/// `centers/{center}/detainees/{detainee}`.
pub fn detainee_name(center: &Center, detainee: &str) -> String {
    let center = center.id.as_str();
    DetaineeName { center, detainee }.to_string()
}

/// `centers/{center}/remittances/{remittance}`.
pub fn remittance_name(center: &Center, remittance: &str) -> String {
    let center = center.id.as_str();
    RemittanceName { center, remittance }.to_string()
}

/// `centers/{center}/transactions/{seq}`.
pub fn transaction_name(center: &Center, seq: i64) -> String {
    let center = center.id.as_str();
    TransactionName { center, seq }.to_string()
}

impl From<LedgerError> for Status {
    fn from(error: LedgerError) -> Status {
        match error {
            LedgerError::Refused { refusal, replayed } => {
                let mut answer = status(refusal);
                if replayed {
                    answer
                        .metadata_mut()
                        .insert(REPLAY_METADATA, tonic::metadata::MetadataValue::from_static("true"));
                }
                answer
            }
            LedgerError::RequestReused { fields } => {
                let message = "the request id was used before with another body";
                let refusal = Refusal::because(Reason::RequestReused, message);
                status(refusal.with_fact("fields", fields.join(",")).about("request_id"))
            }
            LedgerError::QueueFull => status(Refusal::because(
                Reason::QueueFull,
                "the center's queue is full; try again shortly",
            )),
            LedgerError::Unavailable => unavailable(),
            LedgerError::Internal => internal(),
        }
    }
}
