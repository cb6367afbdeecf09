//! HTTP calls to the webhook gateway: signed requests, bounded answers, and what each failure means.

use http::Method;
use reqwest::{Response, Url};
use secrecy::SecretString;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    signature::{SIGNATURE_HEADER, sign_request},
    wire::RefusalBody,
};
use crate::{
    clock::Clock,
    gateway::{
        error::GatewayError,
        http::{BILL_BYTES_MAX, JSON_BYTES_MAX, client, is_unreachable, malformed, read_bounded, unreachable},
    },
};

pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    secret: SecretString,
    clock: Clock,
}

impl Client {
    /// A client for the gateway at `base_url`. A loopback address is never reached through a proxy.
    pub(super) fn new(base_url: &str, secret: SecretString, clock: Clock) -> Result<Self, GatewayError> {
        let (http, base) = client(base_url)?;
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
            Some(body) => serde_json::to_vec(body).map_err(malformed)?,
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
            .map_err(|()| malformed("the base URL has no path"))?
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
    if is_unreachable(code) {
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
    serde_json::from_slice(&body).map_err(malformed)
}
