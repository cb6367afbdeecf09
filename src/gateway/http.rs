//! What HTTP calls to every gateway share: limits, and what a failure means.

use std::time::Duration;

use http::StatusCode;
use reqwest::{Response, Url};

use super::error::GatewayError;

/// How long one call may take in all, in seconds.
pub(super) const CALL_TIMEOUT_S: u64 = 5;
/// Longest JSON answer read, in bytes.
pub(super) const JSON_BYTES_MAX: usize = 256 * 1024;
/// Longest bill read, in bytes.
pub(super) const BILL_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A client and the base URL that it calls. A loopback address is never reached through a proxy.
pub(super) fn client(base_url: &str) -> Result<(reqwest::Client, Url), GatewayError> {
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
    Ok((http, base))
}

/// Whether a code says: ask again.
pub(super) fn is_unreachable(code: StatusCode) -> bool {
    code.is_server_error() || matches!(code.as_u16(), 408 | 429)
}

/// Reads an answer that is not longer than `bytes_max`.
pub(super) async fn read_bounded(mut response: Response, bytes_max: usize) -> Result<Vec<u8>, GatewayError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(malformed(format!("the answer is longer than {bytes_max} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

pub(super) fn unreachable(error: reqwest::Error) -> GatewayError {
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

pub(super) fn malformed(reason: impl ToString) -> GatewayError {
    GatewayError::Malformed {
        reason: reason.to_string(),
    }
}
