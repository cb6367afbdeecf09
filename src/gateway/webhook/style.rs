//! The styles in which a gateway signs and words its notifications.

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;
use rust_decimal::Decimal;
use secrecy::{ExposeSecret as _, SecretString};
use time::OffsetDateTime;

use super::{adyen, govuk_pay, notification};
use crate::{
    gateway::{
        channel::{Notification, NotificationAnswer, NotificationVerdict},
        error::NotificationError,
    },
    money::{Amount, Currency},
};

/// The bytes of an Adyen HMAC key.
const ADYEN_KEY_BYTES: usize = 32;
/// The fewest characters of a GOV.UK Pay signing secret; theirs are longer.
const GOVUK_PAY_SECRET_LEN_MIN: usize = 16;

/// How a gateway signs and words its notifications, with the key that verifies them. Requests are signed alike for all.
#[derive(Debug, Clone)]
pub enum NotificationStyle {
    /// `Custody-Signature: t=…,v1=…` over time and body, in the style of Stripe; bodies as in `wire`.
    Stripe(SecretString),
    /// `Pay-Signature: HEX` over the body; GOV.UK Pay's webhook messages.
    GovukPay(hmac::Key),
    /// A signature in the notification, over eight of its fields; Adyen's standard webhooks.
    Adyen {
        /// The HMAC key of the webhook, decoded.
        key: hmac::Key,
        /// The merchant account whose notifications are ours.
        merchant_account: String,
    },
}

/// What is wrong with a key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct StyleError {
    /// The key's name.
    pub key: &'static str,
    /// What is wrong with it; its value is not told.
    pub problem: String,
}

impl NotificationStyle {
    /// GOV.UK Pay's, with the signing secret of the webhook.
    ///
    /// # Errors
    /// If the secret is too short or has other characters than visible ASCII.
    pub fn govuk_pay(secret: &SecretString) -> Result<NotificationStyle, StyleError> {
        let text = secret.expose_secret();
        if text.len() < GOVUK_PAY_SECRET_LEN_MIN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let problem = format!(
                "a signing secret of GOV.UK Pay has {GOVUK_PAY_SECRET_LEN_MIN} or more visible ASCII characters, this one has {}",
                text.chars().count()
            );
            return Err(StyleError { key: "secret", problem });
        }
        Ok(NotificationStyle::GovukPay(hmac::Key::new(
            hmac::HMAC_SHA256,
            text.as_bytes(),
        )))
    }

    /// Adyen's, with the HMAC key of the webhook in hexadecimal, and the merchant account.
    ///
    /// # Errors
    /// If the key is not 32 bytes in hexadecimal, or the merchant account is empty or has a colon.
    pub fn adyen(secret: &SecretString, merchant_account: &str) -> Result<NotificationStyle, StyleError> {
        if merchant_account.is_empty() || merchant_account.contains(':') {
            let problem = "the merchant account of Adyen is missing, or has a colon".to_owned();
            return Err(StyleError {
                key: "merchant_account",
                problem,
            });
        }
        let text = secret.expose_secret();
        match hex::decode(text) {
            Ok(bytes) if bytes.len() == ADYEN_KEY_BYTES => Ok(NotificationStyle::Adyen {
                key: hmac::Key::new(hmac::HMAC_SHA256, &bytes),
                merchant_account: merchant_account.to_owned(),
            }),
            _ => Err(StyleError {
                key: "secret",
                problem: format!(
                    "an HMAC key of Adyen is {} hexadecimal digits, this one is not ({} characters)",
                    2 * ADYEN_KEY_BYTES,
                    text.chars().count()
                ),
            }),
        }
    }

    /// Checks and reads a notification; see [`crate::gateway::Channel::parse_notification`].
    pub(super) fn parse(
        &self,
        headers: &HeaderMap,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Result<Notification, NotificationError> {
        match self {
            NotificationStyle::Stripe(secret) => notification::parse(secret, headers, body, now),
            NotificationStyle::GovukPay(key) => govuk_pay::parse(key, headers, body),
            NotificationStyle::Adyen { key, merchant_account } => adyen::parse(key, merchant_account, body, now),
        }
    }

    /// What the gateway wants to hear.
    pub(super) fn answer(&self, verdict: NotificationVerdict) -> NotificationAnswer {
        let code = match verdict {
            NotificationVerdict::Accepted => 200,
            NotificationVerdict::Rejected => 400,
            NotificationVerdict::TryLater => 503,
        };
        let (content_type, body) = match (self, code) {
            // Adyen sends again until it reads this.
            (NotificationStyle::Adyen { .. }, 200) => ("text/plain", "[accepted]"),
            (NotificationStyle::Adyen { .. }, _) => ("text/plain", "[refused]"),
            (_, 200) => ("application/json", r#"{"received":true}"#),
            _ => ("application/json", r#"{"received":false}"#),
        };
        NotificationAnswer {
            code,
            content_type,
            body,
        }
    }
}

/// Whether a signature in hexadecimal is the key's over these bytes; compared in constant time.
pub(super) fn verify_hex(key: &hmac::Key, signed: &[u8], signature: &str) -> Result<(), NotificationError> {
    let signature = hex::decode(signature.trim()).map_err(|_| malformed("the signature is not hexadecimal"))?;
    hmac::verify(key, signed, &signature).map_err(|_| NotificationError::BadSignature)
}

/// Whether a signature in base64 is the key's over these bytes; compared in constant time.
pub(super) fn verify_base64(key: &hmac::Key, signed: &[u8], signature: &str) -> Result<(), NotificationError> {
    let signature = STANDARD
        .decode(signature)
        .map_err(|_| malformed("the signature is not base64"))?;
    hmac::verify(key, signed, &signature).map_err(|_| NotificationError::BadSignature)
}

/// An amount above zero from a number of the currency's minor unit, as ISO 4217 counts it.
pub(super) fn from_minor_units(units: i64, currency: Currency) -> Result<Amount, NotificationError> {
    if units <= 0 {
        return Err(malformed(format!("{units} is not an amount above zero")));
    }
    let value = Decimal::try_new(units, currency.exponent()).map_err(malformed)?;
    Amount::from_decimal(value, currency).map_err(malformed)
}

/// A number of the gateway's own, which identifies money.
pub(super) fn gateway_number(text: String, field: &str) -> Result<String, NotificationError> {
    const LEN_MAX: usize = 128;
    if (1..=LEN_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text);
    }
    Err(malformed(format!(
        "{field} is not 1 to {LEN_MAX} visible ASCII characters"
    )))
}

pub(super) fn malformed(reason: impl ToString) -> NotificationError {
    NotificationError::Malformed {
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_keys_are_named_and_not_shown() {
        let adyen = |secret: &str, account: &str| NotificationStyle::adyen(&SecretString::from(secret), account);
        for (secret, account, key) in [
            ("hunter2", "M", "secret"),
            (&"0g".repeat(32), "M", "secret"),
            (&"00".repeat(31), "M", "secret"),
            (&"00".repeat(33), "M", "secret"),
            (&"00".repeat(32), "", "merchant_account"),
            (&"00".repeat(32), "a:b", "merchant_account"),
        ] {
            let error = adyen(secret, account).unwrap_err();
            assert_eq!(error.key, key, "{secret}");
            assert!(!error.to_string().contains(secret), "{error}");
        }
        assert!(adyen(&"0A".repeat(32), "M").is_ok());
        for secret in ["", "short", "with a space in its middle", "密密密密密密"] {
            let error = NotificationStyle::govuk_pay(&SecretString::from(secret)).unwrap_err();
            assert_eq!(error.key, "secret");
            assert!(secret.is_empty() || !error.to_string().contains(secret), "{error}");
        }
    }

    #[test]
    fn minor_units_are_those_of_the_currency() {
        for (units, currency, told) in [(1130, "EUR", "11.30"), (1130, "JPY", "1130"), (1130, "KWD", "1.130")] {
            let amount = from_minor_units(units, Currency::parse(currency).unwrap()).unwrap();
            assert_eq!(amount.to_string(), told);
        }
        for units in [0, -1, i64::MIN] {
            assert!(
                from_minor_units(units, Currency::parse("EUR").unwrap()).is_err(),
                "{units}"
            );
        }
    }
}
