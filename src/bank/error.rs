//! Why a bank's file cannot be read or written.

/// Why a bank's file cannot be read or written. The message repeats names and places, never an account's number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BankError {
    /// It is larger than is read.
    #[error("more than {max} bytes")]
    TooLarge {
        /// The most that is read, in bytes.
        max: usize,
    },
    /// Its bytes are no text.
    #[error("not in {encoding}")]
    Encoding {
        /// The encoding it claims or has to have.
        encoding: &'static str,
    },
    /// It is no XML, or XML of a kind that is refused.
    #[error("at byte {at}: {what}")]
    Xml {
        /// Where.
        at: u64,
        /// What is wrong.
        what: String,
    },
    /// Something that must be there is not.
    #[error("{element} is missing")]
    Missing {
        /// What.
        element: String,
    },
    /// Something that is there has another meaning than it may have.
    #[error("{element}: {problem}")]
    Invalid {
        /// What.
        element: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Sums that must be equal are not.
    #[error("{what}: {told} is told, {found} is found")]
    Sum {
        /// Which.
        what: &'static str,
        /// What the file says.
        told: String,
        /// What its parts come to.
        found: String,
    },
}

impl BankError {
    /// Something that has another meaning than it may have.
    pub(super) fn invalid(element: &str, problem: impl Into<String>) -> BankError {
        BankError::Invalid {
            element: element.to_owned(),
            problem: problem.into(),
        }
    }
}
