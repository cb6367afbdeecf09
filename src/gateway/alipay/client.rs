//! Calls to Alipay's gateway: signed requests, answers believed only with Alipay's signature, and what each failure means.

use std::time::Duration;

use reqwest::{Response, Url};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

use super::{
    AlipayError, AlipaySide,
    form::{self, Params},
    key::{PrivateKey, PublicKey},
    signature::{self, APP_CERT_SN, ROOT_CERT_SN, Told},
    wire::{self, Verdict},
};
use crate::{
    clock::Clock,
    gateway::{
        error::GatewayError,
        http::{BILL_BYTES_MAX, JSON_BYTES_MAX, client, is_unreachable, malformed, read_bounded, unreachable},
    },
};

/// How often a call is made before it counts as failed. Every one is idempotent on our own number.
const ATTEMPTS_MAX: u32 = 2;
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// A call is made again only if it has taken no longer than this.
const AGAIN_WITHIN: Duration = Duration::from_secs(2);
/// `sub_code` of failures that say nothing of what was asked: ask again.
const PASSING: [&str; 6] = [
    "ACQ.SYSTEM_ERROR",
    "aop.ACQ.SYSTEM_ERROR",
    "aop.unknow-error",
    "isp.unknow-error",
    "isp.unknown-error",
    "isv.app-call-limited",
];
/// The beginnings of `sub_code` of failures that are about us: our keys, our name, our clock, our contract.
const ABOUT_US: [&str; 10] = [
    "isv.invalid-signature",
    "isv.invalid-app-id",
    "isv.invalid-timestamp",
    "isv.missing-signature",
    "isv.missing-app-id",
    "isv.insufficient-",
    "isv.app-unbind",
    "isv.invalid-app-cert-sn",
    "isv.invalid-alipay-root-cert-sn",
    "aop.invalid-",
];

pub(super) struct Client {
    http: reqwest::Client,
    gateway: Url,
    app_id: String,
    private_key: PrivateKey,
    alipay: AlipaySide,
    clock: Clock,
}

impl Client {
    /// A client for the gateway at a URL that ends in `gateway.do`. A loopback address is never reached through a proxy.
    pub(super) fn new(
        gateway_url: &str,
        app_id: String,
        private_key: PrivateKey,
        alipay: AlipaySide,
        clock: Clock,
    ) -> Result<Client, AlipayError> {
        let (http, gateway) = client(gateway_url).map_err(AlipayError::Url)?;
        Ok(Client {
            http,
            gateway,
            app_id,
            private_key,
            alipay,
            clock,
        })
    }

    pub(super) fn alipay(&self) -> &AlipaySide {
        &self.alipay
    }

    pub(super) fn app_id(&self) -> &str {
        &self.app_id
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Calls a method, once more if nothing came of the first attempt, unless that took long: whoever waits has waited enough.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        biz_content: &impl Serialize,
        notify_url: Option<&str>,
    ) -> Result<T, GatewayError> {
        let biz_content = serde_json::to_string(biz_content).map_err(malformed)?;
        let (mut attempts, began) = (1, Instant::now());
        loop {
            match self.attempt(method, &biz_content, notify_url).await {
                Err(GatewayError::Unreachable { .. }) if attempts < ATTEMPTS_MAX && began.elapsed() < AGAIN_WITHIN => {
                    attempts += 1;
                    tokio::time::sleep(PAUSE).await;
                }
                answer => return answer,
            }
        }
    }

    async fn attempt<T: DeserializeOwned>(
        &self,
        method: &str,
        biz_content: &str,
        notify_url: Option<&str>,
    ) -> Result<T, GatewayError> {
        let params = self.params(method, biz_content, notify_url)?;
        let request = self
            .http
            .post(self.gateway.clone())
            .query(&[("charset", "utf-8")])
            .header(
                http::header::CONTENT_TYPE,
                "application/x-www-form-urlencoded;charset=utf-8",
            )
            .body(form::encode(&params));
        let response = request.send().await.map_err(unreachable)?;
        let body = read_bounded(judge(response)?, JSON_BYTES_MAX).await?;
        let text = std::str::from_utf8(&body).map_err(|_| malformed("the answer is not UTF-8"))?;
        self.check_certificate(text)?;
        read_answer(&self.alipay.key, text, method)
    }

    /// Another certificate of Alipay's than ours is told before its signature fails, because that is easy to put right.
    fn check_certificate(&self, answer: &str) -> Result<(), GatewayError> {
        let (Some(own), Some(named)) = (&self.alipay.sns, signature::certificate_of(answer)) else {
            return Ok(());
        };
        if named == own.alipay {
            return Ok(());
        }
        Err(malformed(format!(
            "the answer is signed with the certificate {named:?}, and alipay_cert_file is {}: Alipay has a new one",
            own.alipay
        )))
    }

    fn params(&self, method: &str, biz_content: &str, notify_url: Option<&str>) -> Result<Params, GatewayError> {
        let timestamp = wire::write_time(self.clock.now());
        let own = [
            ("app_id", self.app_id.as_str()),
            ("method", method),
            ("format", "JSON"),
            ("charset", "utf-8"),
            ("timestamp", timestamp.as_str()),
            ("version", "1.0"),
            ("biz_content", biz_content),
        ];
        let sns = self.alipay.sns.as_ref();
        let sns = sns.map(|sns| [(APP_CERT_SN, sns.app.as_str()), (ROOT_CERT_SN, sns.root.as_str())]);
        let own = own.into_iter().chain(notify_url.map(|url| ("notify_url", url)));
        let own = own.chain(sns.into_iter().flatten());
        let mut params: Params = own.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        signature::sign_request(&self.private_key, &mut params)
            .map_err(|_| malformed("the request cannot be signed"))?;
        Ok(params)
    }

    /// Fetches a bill from where a signed answer says it is; the address works for half a minute and asks for no signature.
    pub(super) async fn download(&self, url: &str) -> Result<Vec<u8>, GatewayError> {
        let url = Url::parse(url).map_err(|error| malformed(format!("bill_download_url: {error}")))?;
        let is_as_safe = url.scheme() == "https" || url.scheme() == self.gateway.scheme();
        if !is_as_safe {
            return Err(malformed(format!("bill_download_url is {}", url.scheme())));
        }
        let response = self.http.get(url).send().await.map_err(unreachable)?;
        read_bounded(judge(response)?, BILL_BYTES_MAX).await
    }
}

/// Alipay answers every call with 200; anything else is somebody in between, or a gateway that is down.
fn judge(response: Response) -> Result<Response, GatewayError> {
    let code = response.status();
    if code.is_success() {
        return Ok(response);
    }
    let reason = format!("HTTP {code}");
    Err(match code.as_u16() {
        401 | 403 => GatewayError::NotLetIn { reason },
        _ if is_unreachable(code) => GatewayError::Unreachable { reason },
        _ => GatewayError::Malformed { reason },
    })
}

/// Reads an answer's object once it is known to be Alipay's.
fn read_answer<T: DeserializeOwned>(key: &PublicKey, answer: &str, method: &str) -> Result<T, GatewayError> {
    let (node, is_signed) = match signature::open_answer(key, answer, method).map_err(malformed)? {
        Told::Signed(node) => (node, true),
        Told::Unsigned(node) => (node, false),
    };
    let verdict: Verdict = serde_json::from_str(node).map_err(malformed)?;
    if is_signed && verdict.code == wire::SUCCESS {
        return serde_json::from_str(node).map_err(malformed);
    }
    Err(refusal(verdict, is_signed))
}

/// What a refusal means for us. One that nobody signed is not believed to be about the order.
fn refusal(verdict: Verdict, is_signed: bool) -> GatewayError {
    let Verdict {
        code,
        msg,
        sub_code,
        sub_msg,
    } = verdict;
    let told = format!("{code} {msg}: {sub_code} {sub_msg}");
    // 20000: the service is not available; 40005: too many calls.
    if matches!(code.as_str(), "20000" | "40005") || PASSING.contains(&sub_code.as_str()) {
        return GatewayError::Unreachable { reason: told };
    }
    // 20001 and 40006: not allowed.
    let is_about_us =
        matches!(code.as_str(), "20001" | "40006") || ABOUT_US.iter().any(|own| sub_code.starts_with(own));
    if is_about_us || !is_signed {
        return GatewayError::NotLetIn { reason: told };
    }
    let (code, message) = match sub_code.is_empty() {
        true => (code, msg),
        false => (sub_code, sub_msg),
    };
    GatewayError::Refused { code, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(code: &str, sub_code: &str, is_signed: bool) -> &'static str {
        let verdict = Verdict {
            code: code.to_owned(),
            sub_code: sub_code.to_owned(),
            ..Verdict::default()
        };
        match refusal(verdict, is_signed) {
            GatewayError::Unreachable { .. } => "unreachable",
            GatewayError::NotLetIn { .. } => "not let in",
            GatewayError::Refused { .. } => "refused",
            GatewayError::Malformed { .. } => "malformed",
        }
    }

    #[test]
    fn only_a_signed_refusal_of_what_was_asked_is_one() {
        assert_eq!(told("40004", "ACQ.TRADE_NOT_EXIST", true), "refused");
        assert_eq!(told("40004", "ACQ.TRADE_NOT_EXIST", false), "not let in");
        assert_eq!(told("40004", "ACQ.SYSTEM_ERROR", true), "unreachable");
        assert_eq!(told("20000", "isp.unknow-error", false), "unreachable");
        assert_eq!(told("40002", "isv.invalid-signature", true), "not let in");
        assert_eq!(told("40002", "isv.invalid-app-id", false), "not let in");
        assert_eq!(told("40006", "isv.insufficient-isv-permissions", true), "not let in");
        assert_eq!(told("40002", "isv.invalid-parameter", true), "refused");
        // A success that nobody signed is none.
        assert_eq!(told("10000", "", false), "not let in");
    }
}
