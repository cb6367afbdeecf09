//! HTTP calls to WeChat Pay: signed requests, answers whose signature is checked, bounded, and repeated a few times.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, Method, header};
use reqwest::{Response, Url};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    Merchant,
    platform::{self, Begun, Fetch},
    signature,
    wire::{CertificatesBody, RefusalBody},
};
use crate::{
    clock::Clock,
    gateway::{
        error::{GatewayError, NotificationError},
        http::{
            BILL_BYTES_MAX, CALL_TIMEOUT_S, JSON_BYTES_MAX, client, is_unreachable, malformed, read_bounded,
            unreachable,
        },
    },
};

/// How often a call without an answer is made in all, within its one limit of time.
const ATTEMPTS_MAX: u32 = 3;
/// The pause before the second attempt, in milliseconds; each later one is twice as long.
const PAUSE_MS: u64 = 100;
/// How long fetching the platform's certificates may take, in seconds: a notification that waits for them is answered within 5.
const CERTIFICATES_TIMEOUT_S: u64 = 3;
/// How long fetching a bill may take, in seconds.
const BILL_TIMEOUT_S: u64 = 60;

/// Refusals that are about us, not about what was asked; what was asked can still be done once they are put right.
const NOT_LET_IN: [&str; 5] = [
    "SIGN_ERROR",
    "NO_AUTH",
    "MCH_NOT_EXISTS",
    "APPID_MCHID_NOT_MATCH",
    "ACCOUNT_ERROR",
];
/// Refusals that say: ask again later. The merchant's balance is too low, the limit of calls is reached, or it is busy.
const ASK_AGAIN: [&str; 6] = [
    "NOT_ENOUGH",
    "FREQUENCY_LIMITED",
    "FREQUENCY_LIMIT_EXCEED",
    "RATELIMIT_EXCEEDED",
    "SYSTEM_ERROR",
    "BANK_ERROR",
];

pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    merchant: Arc<Merchant>,
    clock: Clock,
}

impl Client {
    pub(super) fn new(base_url: &str, merchant: Arc<Merchant>, clock: Clock) -> Result<Self, GatewayError> {
        let (http, base) = client(base_url)?;
        Ok(Client {
            http,
            base,
            merchant,
            clock,
        })
    }

    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, GatewayError> {
        let answer = self.call(Method::GET, self.url(path, query)?, Vec::new()).await?;
        serde_json::from_slice(&answer).map_err(malformed)
    }

    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, GatewayError> {
        let answer = self.post_for_nothing(path, body).await?;
        serde_json::from_slice(&answer).map_err(malformed)
    }

    /// A call whose answer has nothing to read.
    pub(super) async fn post_for_nothing(&self, path: &[&str], body: &impl Serialize) -> Result<Vec<u8>, GatewayError> {
        let body = serde_json::to_vec(body).map_err(malformed)?;
        self.call(Method::POST, self.url(path, &[])?, body).await
    }

    /// Downloads a bill. Its answer has no signature; whoever calls compares the hash that was signed.
    pub(super) async fn download(&self, url: &str) -> Result<Vec<u8>, GatewayError> {
        let url = Url::parse(url).map_err(|error| malformed(format!("download_url: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(malformed("download_url is not http or https"));
        }
        let request = self.request(&Method::GET, &url, &[])?;
        let request = request.timeout(Duration::from_secs(BILL_TIMEOUT_S));
        let response = request.send().await.map_err(unreachable)?;
        read_bounded(judge(response).await?, BILL_BYTES_MAX).await
    }

    /// Path segments and values are escaped, so that no order number can name another resource.
    fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Url, GatewayError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| malformed("the base URL has no path"))?
            .pop_if_empty()
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// Calls, and calls again with the same numbers while there is no answer and time is left.
    async fn call(&self, method: Method, url: Url, body: Vec<u8>) -> Result<Vec<u8>, GatewayError> {
        let deadline = Instant::now() + Duration::from_secs(CALL_TIMEOUT_S);
        let mut pause = Duration::from_millis(PAUSE_MS);
        for attempt in 1.. {
            let answer = timeout_at(deadline, self.attempt(&method, &url, &body)).await;
            match answer {
                Ok(Err(GatewayError::Unreachable { .. }))
                    if attempt < ATTEMPTS_MAX && Instant::now() + pause < deadline =>
                {
                    sleep(pause).await;
                    pause *= 2;
                }
                Ok(answer) => return answer,
                Err(_) => break,
            }
        }
        Err(no_answer_in_time())
    }

    /// One call; the answer's body, once its signature is checked.
    async fn attempt(&self, method: &Method, url: &Url, body: &[u8]) -> Result<Vec<u8>, GatewayError> {
        let (headers, body) = self.unverified(method, url, body).await?;
        let verify = || {
            let (platform, now) = (&self.merchant.platform, self.clock.now());
            let has_signed = |id: &str, message: &[u8], signed: &[u8]| platform.verify(id, message, signed, now);
            signature::verify(has_signed, &headers, &body, now)
        };
        let mut verified = verify();
        if let Err(NotificationError::UnknownKey { key }) = &verified
            && self.refresh_keys(Some(key)).await?
        {
            verified = verify();
        }
        verified.map_err(not_believed)?;
        Ok(body)
    }

    async fn unverified(&self, method: &Method, url: &Url, body: &[u8]) -> Result<(HeaderMap, Vec<u8>), GatewayError> {
        let response = self.request(method, url, body)?.send().await.map_err(unreachable)?;
        let response = judge(response).await?;
        let headers = response.headers().clone();
        Ok((headers, read_bounded(response, JSON_BYTES_MAX).await?))
    }

    /// Fetches the platform's certificates, if they are due or if the one of the serial number `missing` is not there: see
    /// [`Platform::begin_fetch`](platform::Platform::begin_fetch). Whether there is something new, or the missing one is there.
    pub(super) async fn refresh_keys(&self, missing: Option<&str>) -> Result<bool, GatewayError> {
        match self.merchant.platform.begin_fetch(missing, &self.clock).await {
            Begun::NotNeeded { is_there } => Ok(is_there),
            Begun::Fetch(fetch) => {
                let limit = Duration::from_secs(CERTIFICATES_TIMEOUT_S);
                let fetched = timeout(limit, self.fetch_certificates(fetch)).await;
                fetched.unwrap_or_else(|_| Err(no_answer_in_time())).map(|()| true)
            }
        }
    }

    /// The list is signed with a key that we have or, on first use and when everything was replaced, with a certificate of the
    /// list itself: that one was sealed with the APIv3 key, which nobody else has.
    async fn fetch_certificates(&self, fetch: Fetch<'_>) -> Result<(), GatewayError> {
        let url = self.url(&["v3", "certificates"], &[])?;
        let (headers, body) = self.unverified(&Method::GET, &url, &[]).await?;
        let told: CertificatesBody = serde_json::from_slice(&body).map_err(malformed)?;
        let certificates = platform::open(&told, &self.merchant.api_v3_key).map_err(malformed)?;
        let now = self.clock.now();
        let has_signed = |id: &str, message: &[u8], signed: &[u8]| {
            let by_known = self.merchant.platform.verify(id, message, signed, now);
            by_known.or_else(|| certificates.verify(id, message, signed, now))
        };
        signature::verify(has_signed, &headers, &body, now).map_err(not_believed)?;
        fetch.succeeded(certificates, now);
        Ok(())
    }

    fn request(&self, method: &Method, url: &Url, body: &[u8]) -> Result<reqwest::RequestBuilder, GatewayError> {
        let merchant = &self.merchant;
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let who = (merchant.mchid.as_str(), merchant.serial_no.as_str());
        let what = (method.as_str(), target.as_str());
        let authorization = signature::authorization(&merchant.key, who, self.clock.now(), what, body)
            .map_err(|_| malformed("the request cannot be signed"))?;
        let mut request = self
            .http
            .request(method.clone(), url.clone())
            .header(header::AUTHORIZATION, authorization)
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("custody/", env!("CARGO_PKG_VERSION")));
        if let Some(id) = merchant.platform.public_key_id() {
            request = request.header(signature::SERIAL, id);
        }
        if *method != Method::GET {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body.to_vec());
        }
        Ok(request)
    }
}

fn no_answer_in_time() -> GatewayError {
    GatewayError::Unreachable {
        reason: "no answer in time".to_owned(),
    }
}

fn not_believed(error: NotificationError) -> GatewayError {
    malformed(format!("the answer is not believed: {error}"))
}

/// 2XX passes. What is refused is told by its code; a refusal is not signed, but comes from a server whose certificate is checked.
async fn judge(response: Response) -> Result<Response, GatewayError> {
    let code = response.status();
    if code.is_success() {
        return Ok(response);
    }
    let body = read_bounded(response, JSON_BYTES_MAX).await?;
    let refusal = serde_json::from_slice::<RefusalBody>(&body).ok();
    let told = refusal
        .as_ref()
        .map(|told| format!(", {}: {}", told.code, told.message));
    let reason = format!("HTTP {code}{}", told.unwrap_or_default());
    let is = |codes: &[&str]| refusal.as_ref().is_some_and(|told| codes.contains(&told.code.as_str()));
    if is_unreachable(code) || is(&ASK_AGAIN) {
        return Err(GatewayError::Unreachable { reason });
    }
    if code.as_u16() == 401 || is(&NOT_LET_IN) {
        return Err(GatewayError::NotLetIn { reason });
    }
    match refusal {
        Some(refusal) => Err(GatewayError::Refused {
            code: refusal.code,
            message: refusal.message,
        }),
        // Something on the way, not the gateway.
        None if code.as_u16() == 403 => Err(GatewayError::NotLetIn { reason }),
        None => Err(malformed(format!("HTTP {code} without a reason"))),
    }
}
