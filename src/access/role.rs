//! The roles that a token can carry.

use std::fmt;
use std::str::FromStr;

/// What kind of caller someone is. What a role may do is said by [`Permission::roles`](super::Permission::roles).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Sets up centers, detainees and policies, and may do what finance may.
    Admin,
    /// Settles, refunds, releases and reconciles; reads everything.
    Finance,
    /// Keeps vendors and the catalogue; reads purchases and settlements.
    Commissary,
    /// A terminal at which detainees order.
    Terminal,
    /// A relative or friend who remits money.
    Payer,
    /// Reads everything and changes nothing.
    Auditor,
    /// A detainee in a session at a terminal.
    Detainee,
}

impl Role {
    /// Every role.
    pub const ALL: [Role; 7] = [
        Role::Admin,
        Role::Finance,
        Role::Commissary,
        Role::Terminal,
        Role::Payer,
        Role::Auditor,
        Role::Detainee,
    ];

    /// The name as it stands in tokens and in the journal.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Admin => "admin",
            Role::Finance => "finance",
            Role::Commissary => "commissary",
            Role::Terminal => "terminal",
            Role::Payer => "payer",
            Role::Auditor => "auditor",
            Role::Detainee => "detainee",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a role is one of admin, finance, commissary, terminal, payer, auditor and detainee")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Role, UnknownRole> {
        Role::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or(UnknownRole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_read_again() {
        for role in Role::ALL {
            assert_eq!(role.to_string().parse(), Ok(role));
        }
        for text in ["", "Admin", "root", "*", "admin "] {
            assert_eq!(text.parse::<Role>(), Err(UnknownRole), "{text:?}");
        }
    }
}
