//! Sending one-time codes: one POST to a configured URL, behind which somebody sends short messages.

use std::time::Duration;

use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;

use super::identity::PhoneNumber;

/// The header that proves to the sender who asks.
pub const SECRET_HEADER: &str = "custody-sms-secret";
/// How long one call may take in all, in seconds.
const CALL_TIMEOUT_S: u64 = 5;

/// Why a code was not sent. Tells neither phone nor code.
#[derive(Debug, thiserror::Error)]
pub enum SmsError {
    /// The URL cannot be used.
    #[error("payers.sms_url: {0}")]
    Url(String),
    /// The sender could not be reached, or not in time.
    #[error("the sender of short messages cannot be reached")]
    Unreachable,
    /// The sender did not take it.
    #[error("the sender of short messages answered {0}")]
    Answered(u16),
}

/// The sender of short messages.
#[derive(Clone)]
pub struct SmsSender {
    http: reqwest::Client,
    url: Url,
    secret: SecretString,
}

#[derive(Serialize)]
struct Message<'a> {
    phone: &'a str,
    code: &'a str,
    purpose: &'static str,
    valid_minutes: i64,
}

impl SmsSender {
    /// A sender at a URL, which shares a secret with the service.
    ///
    /// # Errors
    /// [`SmsError::Url`].
    pub fn try_new(url: &str, secret: SecretString) -> Result<SmsSender, SmsError> {
        let url = Url::parse(url).map_err(|error| SmsError::Url(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(SmsError::Url("must begin with http:// or https://".to_owned()));
        }
        let timeout = Duration::from_secs(CALL_TIMEOUT_S);
        let mut builder = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none());
        if matches!(url.host_str(), Some("127.0.0.1" | "[::1]" | "localhost")) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| SmsError::Url(error.to_string()))?;
        Ok(SmsSender { http, url, secret })
    }

    /// Sends a code. It is sent when the sender answers 2xx.
    pub(super) async fn send(
        &self,
        phone: &PhoneNumber,
        code: &SecretString,
        valid_minutes: i64,
    ) -> Result<(), SmsError> {
        let message = Message {
            phone: phone.as_str(),
            code: code.expose_secret(),
            purpose: "verify_phone",
            valid_minutes,
        };
        let request = self
            .http
            .post(self.url.clone())
            .header(SECRET_HEADER, self.secret.expose_secret())
            .json(&message);
        let answer = request.send().await.map_err(|_| SmsError::Unreachable)?;
        if answer.status().is_success() {
            Ok(())
        } else {
            Err(SmsError::Answered(answer.status().as_u16()))
        }
    }
}
