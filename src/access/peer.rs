//! The terminal at the other end of a connection, known by its certificate.

use std::sync::Arc;

use crate::ids::{CenterId, TerminalId};

use super::{Actor, Role, Scope};

/// Which terminal's certificate a connection was opened with. That the certificate is of the deployment's authority was verified;
/// whether it is still the terminal's is for whoever decides to ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// The terminal's center.
    pub center: CenterId,
    /// The terminal.
    pub terminal: TerminalId,
    /// The certificate's serial number.
    pub serial: Arc<[u8]>,
}

impl Peer {
    /// The actor that the terminal is when it calls without a token.
    pub fn actor(&self) -> Actor {
        Actor {
            subject: self.terminal.to_string(),
            role: Role::Terminal,
            scope: Scope {
                center: Some(self.center.clone()),
                payer: None,
                terminal: Some(self.terminal.clone()),
            },
            session: None,
        }
    }

    /// Whether an actor is of this very terminal.
    pub fn is_of(&self, actor: &Actor) -> bool {
        actor.scope.center.as_ref() == Some(&self.center) && actor.scope.terminal.as_ref() == Some(&self.terminal)
    }
}
