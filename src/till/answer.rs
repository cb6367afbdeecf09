//! What an answer that is no purchase means for a sale. Everything hangs on it: a sale that is ended too early may have been made,
//! and one that is asked for again under another id would be made twice.

use std::{collections::BTreeMap, error::Error as _, time::Duration};

use serde::{Deserialize, Serialize};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::proto;

/// The domain of the service's reasons.
const DOMAIN: &str = "custody.v1";

/// Reasons that are about who asks, whatever is asked for.
const AT_THE_DOOR: [&str; 5] = [
    "SESSION_REQUIRED",
    "SESSION_ENDED",
    "PIN_MUST_CHANGE",
    "TERMINAL_REVOKED",
    "CERTIFICATE_NOT_CURRENT",
];

/// Why something was refused, in the service's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For example `INSUFFICIENT_FUNDS`.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// For example `available` and `required`.
    pub facts: BTreeMap<String, String>,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing is known. The same request may be sent again, after this time at least.
    Again(Option<Duration>),
    /// The service has decided: nothing moved, and nothing will.
    Refused(Refusal),
    /// The door did not let the terminal in. That says nothing about what was sent before.
    TurnedAway(Refusal),
    /// Nothing is known, and asking again by itself is no use.
    Unclear,
}

/// Reads a status.
pub fn meaning(status: &Status) -> Meaning {
    // What was made here has a source: a connection that was refused, cut, or silent for too long.
    if status.source().is_some() {
        return Meaning::Again(None);
    }
    let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
    match status.code() {
        Code::Unavailable | Code::DeadlineExceeded => return Meaning::Again(delay),
        Code::ResourceExhausted if delay.is_some() => return Meaning::Again(delay),
        _ => {}
    }
    // A proxy on the way can answer with any code; only the service gives its reasons.
    let Some(refusal) = refusal_of(status) else {
        return Meaning::Unclear;
    };
    match status.code() {
        // That is about the person, not about the terminal.
        _ if refusal.reason == "SIGN_IN_REFUSED" => Meaning::Refused(refusal),
        Code::Unauthenticated | Code::PermissionDenied => Meaning::TurnedAway(refusal),
        _ if AT_THE_DOOR.contains(&refusal.reason.as_str()) => Meaning::TurnedAway(refusal),
        Code::InvalidArgument
        | Code::FailedPrecondition
        | Code::NotFound
        | Code::AlreadyExists
        | Code::OutOfRange
        | Code::ResourceExhausted => Meaning::Refused(refusal),
        _ => Meaning::Unclear,
    }
}

/// The refusal that a status tells, if the service made it.
pub fn refusal_of(status: &Status) -> Option<Refusal> {
    let info = status.get_details_error_info()?;
    (info.domain == DOMAIN).then(|| Refusal {
        reason: info.reason,
        message: status.message().to_owned(),
        facts: info.metadata.into_iter().collect(),
    })
}

impl From<proto::Refusal> for Refusal {
    fn from(stored: proto::Refusal) -> Refusal {
        let reason = stored.reason().as_str_name();
        Refusal {
            reason: reason.strip_prefix("REASON_").unwrap_or(reason).to_owned(),
            message: stored.message,
            facts: stored.facts.into_iter().map(|fact| (fact.name, fact.value)).collect(),
        }
    }
}

/// A status in one line.
pub fn read(status: &Status) -> String {
    match refusal_of(status) {
        Some(refusal) => format!("{}: {}", refusal.reason, refusal.message),
        None => {
            let mut line = format!("{:?}: {}", status.code(), status.message());
            let mut source = status.source();
            while let Some(error) = source {
                line.push_str(&format!(": {error}"));
                source = error.source();
            }
            line
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use tonic_types::ErrorDetails;

    use super::*;

    fn told(code: Code, retry: Option<Duration>) -> Status {
        let mut details = ErrorDetails::with_error_info("REASON", DOMAIN, HashMap::new());
        details.set_retry_info(retry);
        Status::with_error_details(code, "no", details)
    }

    #[test]
    fn only_what_says_nothing_is_asked_again() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(meaning(&told(Code::Unavailable, second)), Meaning::Again(second));
        assert_eq!(meaning(&Status::unavailable("a proxy")), Meaning::Again(None));
        assert_eq!(meaning(&told(Code::DeadlineExceeded, None)), Meaning::Again(None));
        assert_eq!(meaning(&told(Code::ResourceExhausted, second)), Meaning::Again(second));
        assert!(matches!(
            meaning(&told(Code::ResourceExhausted, None)),
            Meaning::Refused(_)
        ));
        let lost = Status::from_error(Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionReset)));
        assert_eq!(meaning(&lost), Meaning::Again(None));
    }

    #[test]
    fn only_the_services_own_reasons_end_a_sale() {
        for code in [
            Code::InvalidArgument,
            Code::FailedPrecondition,
            Code::NotFound,
            Code::AlreadyExists,
        ] {
            assert!(matches!(meaning(&told(code, None)), Meaning::Refused(_)), "{code:?}");
            assert_eq!(meaning(&Status::new(code, "a proxy")), Meaning::Unclear, "{code:?}");
        }
        for code in [Code::Unauthenticated, Code::PermissionDenied] {
            assert!(matches!(meaning(&told(code, None)), Meaning::TurnedAway(_)), "{code:?}");
        }
        for code in [
            Code::Internal,
            Code::Unknown,
            Code::Cancelled,
            Code::Unimplemented,
            Code::DataLoss,
            Code::Aborted,
        ] {
            assert_eq!(meaning(&told(code, None)), Meaning::Unclear, "{code:?}");
        }
    }
}
