//! Nothing is shown that was not checked: what was expected against what came.

use std::collections::BTreeMap;
use std::fmt::Display;

use anyhow::bail;
use tonic::{Response, Status};

use crate::api::{grpc::is_replay, status::reason_of};

/// Fails unless both read the same.
pub fn same(what: impl Display, expected: impl Display, got: impl Display) -> anyhow::Result<()> {
    let (expected, got) = (expected.to_string(), got.to_string());
    if expected != got {
        bail!("{what}: expected {expected}, but it is {got}");
    }
    Ok(())
}

/// The answer of a call that has to succeed.
pub fn done<T>(what: impl Display, answer: Result<Response<T>, Status>) -> anyhow::Result<T> {
    done_once(what, answer).map(|(message, _)| message)
}

/// The answer of a call that has to succeed, and whether it repeats an earlier outcome.
pub fn done_once<T>(what: impl Display, answer: Result<Response<T>, Status>) -> anyhow::Result<(T, bool)> {
    match answer {
        Ok(response) => {
            let replayed = is_replay(&response);
            Ok((response.into_inner(), replayed))
        }
        Err(status) => bail!(
            "{what}: expected it to be done, but it was answered with {}",
            read(&status)
        ),
    }
}

/// The facts and the sentence of a call that has to be refused for one reason.
pub fn refused<T>(
    what: impl Display,
    reason: &str,
    answer: Result<Response<T>, Status>,
) -> anyhow::Result<(BTreeMap<String, String>, String)> {
    let Err(status) = answer else {
        bail!("{what}: expected a refusal for {reason}, but it was done");
    };
    match reason_of(&status) {
        Some((got, facts)) if got == reason => Ok((facts, status.message().to_owned())),
        _ => bail!(
            "{what}: expected a refusal for {reason}, but it was answered with {}",
            read(&status)
        ),
    }
}

/// A status in one line.
pub fn read(status: &Status) -> String {
    let code = status.code();
    match reason_of(status) {
        Some((reason, _)) => format!("{reason}: {}", status.message()),
        None => format!("{code:?}: {}", status.message()),
    }
}
