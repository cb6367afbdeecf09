//! Refusals as gRPC statuses: the one place that chooses a code, and its reverse for clients.
//!
//! Every status carries a google.rpc.ErrorInfo with the reason (without its `REASON_` prefix), the domain `custody.v1`
//! and the refusal's facts as metadata. What depends on the code comes beside it: BadRequest for INVALID_ARGUMENT,
//! PreconditionFailure for FAILED_PRECONDITION, RetryInfo where trying again is sensible.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::proto::{Reason, Refusal};

/// The domain of every ErrorInfo.
pub const DOMAIN: &str = "custody.v1";

/// How long a caller should wait when a center's queue is full. A queue drains within a few batches.
const QUEUE_RETRY: Duration = Duration::from_millis(100);

/// How long a caller should wait when the database or the gateway cannot be reached.
const UNAVAILABLE_RETRY: Duration = Duration::from_secs(1);

/// How long a caller should wait before they ask for another one-time code.
const PHONE_CODE_RETRY: Duration = Duration::from_secs(60);

/// A refusal of a malformed or missing field, named by its path in the request, for example `lines[3].quantity`.
pub fn invalid_field(field: impl Into<String>, message: impl Into<String>) -> Refusal {
    Refusal {
        reason: Reason::InvalidField.into(),
        message: message.into(),
        facts: Vec::new(),
        field: field.into(),
    }
}

/// The reason's name on the wire, for example `INSUFFICIENT_FUNDS`.
pub fn reason_name(reason: Reason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("REASON_").unwrap_or(name)
}

/// The code of each reason. `None` is no reason at all, which only a broken invariant can produce.
pub fn code_of(reason: Reason) -> Option<Code> {
    let code = match reason {
        Reason::Unspecified => return None,
        Reason::InvalidField | Reason::RequestReused | Reason::CurrencyMismatch | Reason::BankFileUnreadable => {
            Code::InvalidArgument
        }
        Reason::NotFound => Code::NotFound,
        Reason::AlreadyExists | Reason::AlreadyRegistered => Code::AlreadyExists,
        Reason::StaleEtag => Code::Aborted,
        Reason::GatewayUnavailable | Reason::PhoneCodeNotSent => Code::Unavailable,
        Reason::QueueFull | Reason::PhoneCodeTooSoon | Reason::TooManyWatches => Code::ResourceExhausted,
        Reason::TooManyEnrolments | Reason::SignInBusy | Reason::TooManyChallenges => Code::ResourceExhausted,
        Reason::NotAllowed | Reason::MakerIsChecker | Reason::StaffRelated => Code::PermissionDenied,
        Reason::NotAuthenticated => Code::Unauthenticated,
        Reason::EnrolmentCodeInvalid
        | Reason::CertificateNotCurrent
        | Reason::SessionEnded
        | Reason::SignInRefused
        | Reason::AssertionRefused => Code::Unauthenticated,
        Reason::PinTooWeak => Code::InvalidArgument,
        // Every other is about how things stand: the same request may be accepted once they are otherwise.
        _ => Code::FailedPrecondition,
    };
    Some(code)
}

/// The status that tells a refusal.
pub fn status(refusal: Refusal) -> Status {
    let reason = refusal.reason();
    let Some(code) = code_of(reason) else {
        return internal();
    };
    let Refusal {
        message, facts, field, ..
    } = refusal;
    let facts: HashMap<String, String> = facts.into_iter().map(|fact| (fact.name, fact.value)).collect();
    let mut details = ErrorDetails::with_error_info(reason_name(reason), DOMAIN, facts);
    match code {
        // Facts tell when.
        _ if matches!(reason, Reason::PhoneCodeTooSoon | Reason::PhoneCodeNotSent) => {
            details.set_retry_info(Some(PHONE_CODE_RETRY));
        }
        Code::InvalidArgument if !field.is_empty() => {
            details.add_bad_request_violation(field, message.clone());
        }
        Code::FailedPrecondition => {
            details.add_precondition_failure_violation(reason_name(reason), field, message.clone());
        }
        Code::Unavailable => {
            details.set_retry_info(Some(UNAVAILABLE_RETRY));
        }
        Code::ResourceExhausted => {
            details.set_retry_info(Some(QUEUE_RETRY));
        }
        _ => {}
    }
    Status::with_error_details(code, message, details)
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        status(refusal)
    }
}

/// The database cannot be reached, and nothing is known about the outcome: the same request id may be sent again.
pub fn unavailable() -> Status {
    let mut details = ErrorDetails::with_error_info("UNAVAILABLE", DOMAIN, HashMap::new());
    details.set_retry_info(Some(UNAVAILABLE_RETRY));
    Status::with_error_details(
        Code::Unavailable,
        "the ledger cannot be reached now; send the same request again",
        details,
    )
}

/// The caller's deadline was over first. What was asked goes on, and the same request id is answered with its outcome.
pub fn deadline_exceeded() -> Status {
    let details = ErrorDetails::with_error_info("DEADLINE_EXCEEDED", DOMAIN, HashMap::new());
    let message = "the deadline is over; the outcome can be read by the request id";
    Status::with_error_details(Code::DeadlineExceeded, message, details)
}

/// What the framework refused before a handler could, told like every other refusal. `None` for what is told already.
pub fn of_framework(status: &Status) -> Option<Status> {
    if !status.details().is_empty() {
        return None;
    }
    let message = status.message();
    match status.code() {
        // The only errors of this code that say nothing of themselves are about the bytes of the request.
        Code::Internal => Some(invalid_field("", message).into()),
        Code::OutOfRange | Code::ResourceExhausted => {
            let details = ErrorDetails::with_error_info("MESSAGE_TOO_LARGE", DOMAIN, HashMap::new());
            Some(Status::with_error_details(status.code(), message, details))
        }
        _ => None,
    }
}

/// A broken invariant. Says nothing of it to the caller: whoever calls this has logged the error with its chain.
pub fn internal() -> Status {
    let details = ErrorDetails::with_error_info("INTERNAL", DOMAIN, HashMap::new());
    Status::with_error_details(Code::Internal, "internal error", details)
}

/// The reason and the facts of a status made here; `None` for any other. For clients.
pub fn reason_of(status: &Status) -> Option<(String, BTreeMap<String, String>)> {
    let info = status.get_details_error_info()?;
    if info.domain != DOMAIN {
        return None;
    }
    Some((info.reason, info.metadata.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::RefusalFact;

    fn refusal(reason: Reason, field: &str) -> Refusal {
        let fact = |name: &str, value: &str| RefusalFact {
            name: name.into(),
            value: value.into(),
        };
        Refusal {
            reason: reason.into(),
            message: "available 100.00 does not cover 120.00".into(),
            facts: vec![fact("available", "100.00"), fact("required", "120.00")],
            field: field.into(),
        }
    }

    #[test]
    fn every_reason_of_the_proto_has_its_code() {
        let mut seen = 0;
        for reason in (0..1000).filter_map(|number| Reason::try_from(number).ok()) {
            if reason == Reason::Unspecified {
                assert_eq!(status(refusal(reason, "")).code(), Code::Internal);
                continue;
            }
            let status = status(refusal(reason, ""));
            assert_eq!(Some(status.code()), code_of(reason));
            assert!(!reason_name(reason).starts_with("REASON_"));
            assert_eq!(
                reason_of(&status).map(|(name, _)| name).as_deref(),
                Some(reason_name(reason))
            );
            seen += 1;
        }
        assert!(seen >= 25, "only {seen} reasons");
    }

    #[test]
    fn a_refusal_keeps_its_facts() {
        let status = status(refusal(Reason::InsufficientFunds, ""));
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "available 100.00 does not cover 120.00");
        let (reason, facts) = reason_of(&status).unwrap();
        assert_eq!(reason, "INSUFFICIENT_FUNDS");
        assert_eq!(facts["available"], "100.00");
        assert_eq!(facts["required"], "120.00");
        let failure = status.get_details_precondition_failure().unwrap();
        assert_eq!(failure.violations[0].r#type, "INSUFFICIENT_FUNDS");
    }

    #[test]
    fn a_bad_field_is_named() {
        let status = Status::from(invalid_field("lines[3].quantity", "must be at least 1"));
        assert_eq!(status.code(), Code::InvalidArgument);
        let bad = status.get_details_bad_request().unwrap();
        assert_eq!(bad.field_violations[0].field, "lines[3].quantity");
        assert_eq!(bad.field_violations[0].description, "must be at least 1");
    }

    #[test]
    fn retries_are_advised_where_they_help() {
        let delay = |status: Status| status.get_details_retry_info().and_then(|info| info.retry_delay);
        assert_eq!(delay(status(refusal(Reason::QueueFull, ""))), Some(QUEUE_RETRY));
        assert_eq!(delay(unavailable()), Some(UNAVAILABLE_RETRY));
        let gateway = status(refusal(Reason::GatewayUnavailable, ""));
        assert_eq!(delay(gateway), Some(UNAVAILABLE_RETRY));
        assert_eq!(delay(internal()), None);
        assert_eq!(delay(status(refusal(Reason::InsufficientFunds, ""))), None);
    }

    #[test]
    fn what_the_framework_refuses_has_a_reason() {
        let told = |status: Status| of_framework(&status).and_then(|told| Some((told.code(), reason_of(&told)?.0)));
        let decoding = Status::internal("failed to decode Protobuf message: buffer underflow");
        assert_eq!(told(decoding), Some((Code::InvalidArgument, "INVALID_FIELD".into())));
        let size = Status::out_of_range("decoded message length too large");
        assert_eq!(told(size), Some((Code::OutOfRange, "MESSAGE_TOO_LARGE".into())));
        assert_eq!(told(internal()), None);
        assert_eq!(told(Status::ok("")), None);
    }

    #[test]
    fn statuses_of_others_have_no_reason() {
        assert_eq!(reason_of(&Status::internal("no")), None);
        let other = ErrorDetails::with_error_info("X", "other.example", HashMap::new());
        assert_eq!(
            reason_of(&Status::with_error_details(Code::Internal, "no", other)),
            None
        );
    }
}
