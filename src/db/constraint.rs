//! Telling the database's errors apart, by code and by constraint name, never by message.

use sqlx::Error;

/// The constraints that say a request was answered before, by this process or by another.
const REQUEST_REPEATED: [&str; 3] = [
    "journal_transaction_pkey",
    "journal_transaction_request_unique",
    "refused_request_pkey",
];

/// The name of the constraint an error is about.
pub fn name(error: &Error) -> Option<&str> {
    error.as_database_error().and_then(|error| error.constraint())
}

/// Whether a batch met a journal that had moved, or a request that was answered before.
pub fn is_request_repeated(error: &Error) -> bool {
    name(error).is_some_and(|name| REQUEST_REPEATED.contains(&name))
}

/// Whether PostgreSQL cannot be reached at all: nothing was sent.
pub fn is_unreachable(error: &Error) -> bool {
    match error {
        Error::PoolTimedOut | Error::PoolClosed => true,
        // 57P03: starting up. 53300: too many connections. 55000: takes no connections. 3D000: no such database.
        Error::Database(error) => error
            .code()
            .is_some_and(|code| matches!(code.as_ref(), "57P03" | "53300" | "55000" | "3D000")),
        _ => false,
    }
}

/// Whether PostgreSQL gave a statement up because it took too long or waited for another too long, and so did nothing.
pub fn is_given_up(error: &Error) -> bool {
    // 57014: cancelled, here by statement_timeout. 55P03: lock_timeout. 25P03: idle in a transaction for too long.
    matches!(error, Error::Database(inner)
        if inner.code().is_some_and(|code| matches!(code.as_ref(), "57014" | "55P03" | "25P03")))
}

/// Whether PostgreSQL was not reached or went away. It says nothing about what was being committed.
pub fn is_connection_lost(error: &Error) -> bool {
    match error {
        Error::Io(_) | Error::WorkerCrashed | Error::Tls(_) | Error::Protocol(_) => true,
        // 08: connection exception. 57P01, 57P02, 57P05: the session was ended.
        Error::Database(inner) => {
            let ended = |code: &str| code.starts_with("08") || matches!(code, "57P01" | "57P02" | "57P05");
            inner.code().is_some_and(|code| ended(&code)) || is_unreachable(error)
        }
        _ => is_unreachable(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_not_a_decision() {
        assert!(is_connection_lost(&Error::PoolTimedOut));
        assert!(!is_connection_lost(&Error::RowNotFound));
        assert!(!is_request_repeated(&Error::RowNotFound));
    }
}
