//! HTTP calls to the webhook gateway: signed requests, bounded answers, and what each failure means.

use std::time::Duration;

use http::Method;
use reqwest::{Response, Url};
use secrecy::SecretString;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    signature::{SIGNATURE_HEADER, sign_request},
    wire::RefusalBody,
};
use crate::{clock::Clock, gateway::error::GatewayError};

/// How long one call may take in all, in seconds.
const CALL_TIMEOUT_S: u64 = 5;
/// Longest JSON answer read, in bytes.
const JSON_BYTES_MAX: usize = 256 * 1024;
/// Longest bill read, in bytes.
const BILL_BYTES_MAX: usize = 64 * 1024 * 1024;

pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    secret: SecretString,
    clock: Clock,
}

impl Client {
    /// A client for the gateway at `base_url`. A loopback address is never reached through a proxy.
    pub(super) fn new(base_url: &str, secret: SecretString, clock: Clock) -> Result<Self, GatewayError> {
        let base = Url::parse(base_url).map_err(|error| malformed(format!("base URL {base_url:?}: {error}")))?;
        if base.cannot_be_a_base() || !matches!(base.scheme(), "http" | "https") {
            return Err(malformed(format!("base URL {base_url:?} is not http or https")));
        }
        let timeout = Duration::from_secs(CALL_TIMEOUT_S);
        let mut builder = reqwest::Client::builder()
            .timeout(timeout)
            .connect_timeout(timeout)
            .redirect(reqwest::redirect::Policy::none());
        if matches!(base.host_str(), Some("127.0.0.1" | "[::1]" | "localhost")) {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| malformed(error.to_string()))?;
        Ok(Client {
            http,
            base,
            secret,
            clock,
        })
    }

    pub(super) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, GatewayError> {
        read_json(self.send(Method::GET, path, Vec::new()).await?).await
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: Option<&impl Serialize>,
    ) -> Result<T, GatewayError> {
        let body = match body {
            Some(body) => serde_json::to_vec(body).map_err(|error| malformed(error.to_string()))?,
            None => Vec::new(),
        };
        read_json(self.send(Method::POST, path, body).await?).await
    }

    pub(super) async fn get_bill(&self, path: &[&str]) -> Result<Vec<u8>, GatewayError> {
        read_bounded(self.send(Method::GET, path, Vec::new()).await?, BILL_BYTES_MAX).await
    }

    /// Sends a signed request. Path segments are escaped, so that no order number can name another resource.
    async fn send(&self, method: Method, path: &[&str], body: Vec<u8>) -> Result<Response, GatewayError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| malformed("the base URL has no path".to_owned()))?
            .pop_if_empty()
            .extend(path);
        let signature = sign_request(&self.secret, self.clock.now(), method.as_str(), url.path(), &body);
        let mut request = self.http.request(method, url).header(SIGNATURE_HEADER, signature);
        if !body.is_empty() {
            request = request
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(body);
        }
        let response = request.send().await.map_err(unreachable)?;
        judge(response).await
    }
}

/// 2XX passes; 401 and 403 are about us and not about what was asked; 408, 429 and 5XX are "ask again"; any other code must
/// come with the gateway's reason.
async fn judge(response: Response) -> Result<Response, GatewayError> {
    let code = response.status();
    if code.is_success() {
        return Ok(response);
    }
    if code.is_server_error() || matches!(code.as_u16(), 408 | 429) {
        return Err(GatewayError::Unreachable {
            reason: format!("HTTP {code}"),
        });
    }
    let body = read_bounded(response, JSON_BYTES_MAX).await?;
    let refusal = serde_json::from_slice::<RefusalBody>(&body);
    if matches!(code.as_u16(), 401 | 403) {
        let why = refusal.map_or_else(|_| String::new(), |told| format!(", {}: {}", told.code, told.message));
        return Err(GatewayError::NotLetIn {
            reason: format!("HTTP {code}{why}"),
        });
    }
    match refusal {
        Ok(refusal) => Err(GatewayError::Refused {
            code: refusal.code,
            message: refusal.message,
        }),
        Err(_) => Err(malformed(format!("HTTP {code} without a reason"))),
    }
}

async fn read_json<T: DeserializeOwned>(response: Response) -> Result<T, GatewayError> {
    let body = read_bounded(response, JSON_BYTES_MAX).await?;
    serde_json::from_slice(&body).map_err(|error| malformed(error.to_string()))
}

async fn read_bounded(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, GatewayError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(malformed(format!("the answer is longer than {bytes_max} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreachable(error: reqwest::Error) -> GatewayError {
    let kind = if error.is_timeout() {
        "no answer in time"
    } else {
        "no connection"
    };
    // The innermost cause says what happened ("Connection refused"); the outer ones repeat the URL.
    let mut cause: &dyn std::error::Error = &error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    GatewayError::Unreachable {
        reason: format!("{kind}: {cause}"),
    }
}

fn malformed(reason: String) -> GatewayError {
    GatewayError::Malformed { reason }
}
