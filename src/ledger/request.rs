//! Requests happen once: what identifies one and what a repetition is compared with.

use crate::{ids::RequestId, ledger::difference};

/// One call that may move money.
#[derive(Debug, Clone)]
pub struct Request {
    /// Chosen by the caller before it sends.
    pub id: RequestId,
    /// The method, for example `custody.v1.CommissaryService/CreatePurchase`.
    pub method: &'static str,
    /// The request message, canonically encoded.
    pub body: Vec<u8>,
    /// Who asks: a token's role and subject, or `gateway/{channel}`.
    pub actor: String,
}

impl Request {
    /// Names what differs from another request under the same id; empty when it is the same request again.
    pub fn differences(&self, method: &str, body: &[u8], actor: &str) -> Vec<String> {
        let mut fields = Vec::new();
        if self.method != method {
            fields.push("method".to_owned());
        }
        if self.actor != actor {
            fields.push("caller".to_owned());
        }
        if self.method == method {
            fields.extend(difference::fields(method, &self.body, body));
        }
        fields
    }
}
