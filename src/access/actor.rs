//! The actor that a verified token stands for, and the checks of its scope.

use uuid::Uuid;

use crate::ids::{CenterId, DetaineeId, PayerId, RemittanceId, Seq, TerminalId};

use super::Role;

/// The most characters of a subject.
const MAX_SUBJECT_LEN: usize = 100;

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// The person or device, as the issuer of the token knows it.
    pub subject: String,
    /// What kind of caller it is.
    pub role: Role,
    /// What its role is confined to.
    pub scope: Scope,
    /// The session that a detainee acts in; none of anybody else.
    pub session: Option<Session>,
}

/// A session of a detainee at a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: Uuid,
    /// Who signed in.
    pub detainee: DetaineeId,
    /// Whether it is good over connections with a certificate of its terminal only.
    pub is_bound: bool,
    /// Whether nothing can be done in it but setting another PIN.
    pub is_limited: bool,
}

/// What an actor's role is confined to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// The center; none stands for all centers, which only admins and auditors can be given.
    pub center: Option<CenterId>,
    /// The payer that a payer's token stands for.
    pub payer: Option<PayerId>,
    /// The terminal that a terminal's token stands for.
    pub terminal: Option<TerminalId>,
}

/// Why a subject, a role and a scope do not make an actor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ActorError {
    /// The subject is empty, too long, or has characters that would make the journal's actor names ambiguous.
    #[error("a subject is 1 to {MAX_SUBJECT_LEN} visible ASCII characters other than `/`")]
    Subject,
    /// The role needs one center.
    #[error("the role {0} needs a center of its own")]
    NeedsCenter(Role),
    /// A payer's token names no payer, or another role's token does.
    #[error("a payer is named in tokens of payers, and only there")]
    Payer,
    /// A terminal's token names no terminal, or another role's token does.
    #[error("a terminal is named in tokens of terminals, and only there")]
    Terminal,
    /// A detainee has no session, or another role has one.
    #[error("a detainee acts in a session, which begins by signing in at a terminal, and nobody else does")]
    Session,
}

/// Why an actor may not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The role may not call the method, or nobody may.
    #[error("the role {role} may not call {method}")]
    Method {
        /// The role of the actor.
        role: Role,
        /// The method, as `package.Service/Method`.
        method: String,
    },
    /// The actor belongs to another center.
    #[error("{actor} may not act in center {center}")]
    Center {
        /// The journal name of the actor.
        actor: String,
        /// The center of the request.
        center: CenterId,
    },
    /// The call concerns all centers and the actor belongs to one.
    #[error("{actor} may not act for all centers")]
    AllCenters {
        /// The journal name of the actor.
        actor: String,
    },
    /// The actor is another payer, or no payer where the actor must be one.
    #[error("{actor} may not act for payer {payer}")]
    Payer {
        /// The journal name of the actor.
        actor: String,
        /// The payer of the request.
        payer: PayerId,
    },
    /// The actor is a payer who is not linked to the detainee.
    #[error("{actor} is not linked to detainee {detainee}")]
    Detainee {
        /// The journal name of the actor.
        actor: String,
        /// The detainee of the request.
        detainee: DetaineeId,
    },
    /// The actor is another detainee.
    #[error("{actor} may not act for detainee {detainee}")]
    OtherDetainee {
        /// The journal name of the actor.
        actor: String,
        /// The detainee of the request.
        detainee: DetaineeId,
    },
    /// The actor is a payer and the remittance is not theirs, if there is one.
    #[error("{actor} has no remittance {remittance}")]
    Remittance {
        /// The journal name of the actor.
        actor: String,
        /// The remittance of the request.
        remittance: RemittanceId,
    },
    /// The actor is a payer and the refund is not to them, if there is one.
    #[error("{actor} has no refund {refund}")]
    Refund {
        /// The journal name of the actor.
        actor: String,
        /// The number of the refund of the request.
        refund: String,
    },
    /// The actor is another terminal.
    #[error("{actor} may not act for terminal {terminal}")]
    Terminal {
        /// The journal name of the actor.
        actor: String,
        /// The terminal of the request.
        terminal: TerminalId,
    },
}

impl Actor {
    /// Makes an actor of a subject, a role and a scope that belong together.
    ///
    /// # Errors
    /// [`ActorError`].
    pub fn new(subject: impl Into<String>, role: Role, scope: Scope) -> Result<Actor, ActorError> {
        let actor = Actor {
            subject: subject.into(),
            role,
            scope,
            session: None,
        };
        actor.check()?;
        Ok(actor)
    }

    /// A detainee in a session at a terminal.
    pub fn in_session(center: CenterId, terminal: TerminalId, session: Session) -> Actor {
        Actor {
            subject: session.detainee.to_string(),
            role: Role::Detainee,
            scope: Scope {
                center: Some(center),
                payer: None,
                terminal: Some(terminal),
            },
            session: Some(session),
        }
    }

    /// Whether subject, role and scope belong together.
    ///
    /// # Errors
    /// [`ActorError`].
    pub fn check(&self) -> Result<(), ActorError> {
        let subject = self.subject.as_bytes();
        let is_visible = subject.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'/');
        if subject.is_empty() || subject.len() > MAX_SUBJECT_LEN || !is_visible {
            return Err(ActorError::Subject);
        }
        if self.scope.center.is_none() && !matches!(self.role, Role::Admin | Role::Auditor) {
            return Err(ActorError::NeedsCenter(self.role));
        }
        if self.scope.payer.is_some() != (self.role == Role::Payer) {
            return Err(ActorError::Payer);
        }
        if self.session.is_some() != (self.role == Role::Detainee) {
            return Err(ActorError::Session);
        }
        if self.scope.terminal.is_some() != matches!(self.role, Role::Terminal | Role::Detainee) {
            return Err(ActorError::Terminal);
        }
        Ok(())
    }

    /// The name in the journal: `terminal/T1`, `payer/P1`, `detainee/D1@T1` of whoever signed in at a terminal, and for people their
    /// role and subject, `finance/alice`.
    pub fn name(&self) -> String {
        if let (Some(session), Some(terminal)) = (&self.session, &self.scope.terminal) {
            return format!("{}/{}@{terminal}", self.role, session.detainee);
        }
        let own = match (&self.scope.terminal, &self.scope.payer) {
            (Some(terminal), _) => terminal.as_str(),
            (None, Some(payer)) => payer.as_str(),
            (None, None) => &self.subject,
        };
        format!("{}/{own}", self.role)
    }

    /// Whether the actor's scope includes a center, for lists that show only what the caller may see.
    pub fn sees_center(&self, center: &CenterId) -> bool {
        self.scope.center.as_ref().is_none_or(|own| own == center)
    }

    /// The actor must belong to the center, or to all.
    ///
    /// # Errors
    /// [`Denied::Center`].
    pub fn require_center(&self, center: &CenterId) -> Result<(), Denied> {
        if self.sees_center(center) {
            Ok(())
        } else {
            Err(Denied::Center {
                actor: self.name(),
                center: center.clone(),
            })
        }
    }

    /// The actor must belong to all centers, as for the creation of one.
    ///
    /// # Errors
    /// [`Denied::AllCenters`].
    pub fn require_all_centers(&self) -> Result<(), Denied> {
        if self.scope.center.is_none() {
            Ok(())
        } else {
            Err(Denied::AllCenters { actor: self.name() })
        }
    }

    /// A payer must be the one that the request names. Other roles are not confined to a payer.
    ///
    /// # Errors
    /// [`Denied::Payer`].
    pub fn require_payer(&self, payer: &PayerId) -> Result<(), Denied> {
        if self.confined_to_payer().is_none_or(|own| own == payer) {
            Ok(())
        } else {
            Err(Denied::Payer {
                actor: self.name(),
                payer: payer.clone(),
            })
        }
    }

    /// The payer to whose remittances and linked detainees the actor is confined, if it is a payer. The caller looks up
    /// whether a detainee is linked, and then asks [`Actor::require_detainee`].
    pub fn confined_to_payer(&self) -> Option<&PayerId> {
        self.scope.payer.as_ref()
    }

    /// A payer must have ordered the remittance that the request names. `payer` is who ordered it; none if it does not exist,
    /// which is denied alike, so that nobody finds out what others have. Other roles are not confined to a payer.
    ///
    /// # Errors
    /// [`Denied::Remittance`].
    pub fn require_remittance(&self, remittance: &RemittanceId, payer: Option<&PayerId>) -> Result<(), Denied> {
        if self.confined_to_payer().is_none_or(|own| Some(own) == payer) {
            Ok(())
        } else {
            Err(Denied::Remittance {
                actor: self.name(),
                remittance: remittance.clone(),
            })
        }
    }

    /// A payer must be the one who is refunded. `payer` is who that is; none if there is no such refund, which is denied alike.
    /// Other roles are not confined to a payer.
    ///
    /// # Errors
    /// [`Denied::Refund`].
    pub fn require_refund(&self, refund: Seq, payer: Option<&PayerId>) -> Result<(), Denied> {
        if self.confined_to_payer().is_none_or(|own| Some(own) == payer) {
            Ok(())
        } else {
            Err(Denied::Refund {
                actor: self.name(),
                refund: refund.to_string(),
            })
        }
    }

    /// Whether what somebody did, by the name in the journal, is the actor's own: a terminal's is also what detainees did at it,
    /// and a detainee's what they did at any terminal.
    pub fn has_done(&self, name: &str) -> bool {
        if name == self.name() {
            return true;
        }
        let at_terminal = name.strip_prefix("detainee/").and_then(|rest| rest.split_once('@'));
        let Some((detainee, terminal)) = at_terminal else {
            return false;
        };
        match (&self.session, &self.scope.terminal) {
            (Some(session), _) => session.detainee.as_str() == detainee,
            (None, own) => own.as_ref().is_some_and(|own| own.as_str() == terminal),
        }
    }

    /// A detainee must be the one that the request names. Other roles are not confined to a detainee.
    ///
    /// # Errors
    /// [`Denied::OtherDetainee`].
    pub fn require_self(&self, detainee: &DetaineeId) -> Result<(), Denied> {
        match &self.session {
            Some(session) if session.detainee != *detainee => Err(Denied::OtherDetainee {
                actor: self.name(),
                detainee: detainee.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// A payer must be linked to the detainee that the request names. Other roles are not confined to detainees.
    ///
    /// `is_linked` says whether the payer of [`Actor::confined_to_payer`] is linked to the detainee.
    ///
    /// # Errors
    /// [`Denied::Detainee`].
    pub fn require_detainee(&self, detainee: &DetaineeId, is_linked: bool) -> Result<(), Denied> {
        if self.confined_to_payer().is_none() || is_linked {
            Ok(())
        } else {
            Err(Denied::Detainee {
                actor: self.name(),
                detainee: detainee.clone(),
            })
        }
    }

    /// A terminal must be the one that the request names. Other roles are not confined to a terminal.
    ///
    /// # Errors
    /// [`Denied::Terminal`].
    pub fn require_terminal(&self, terminal: &TerminalId) -> Result<(), Denied> {
        if self.scope.terminal.as_ref().is_none_or(|own| own == terminal) {
            Ok(())
        } else {
            Err(Denied::Terminal {
                actor: self.name(),
                terminal: terminal.clone(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn center(text: &str) -> CenterId {
        CenterId::parse(text).unwrap()
    }

    fn scope(center_id: &str, payer: Option<&str>, terminal: Option<&str>) -> Scope {
        Scope {
            center: (center_id != "*").then(|| center(center_id)),
            payer: payer.map(|text| PayerId::parse(text).unwrap()),
            terminal: terminal.map(|text| TerminalId::parse(text).unwrap()),
        }
    }

    #[test]
    fn names_are_those_of_the_journal() {
        let name = |role, scope| Actor::new("alice", role, scope).unwrap().name();
        assert_eq!(name(Role::Finance, scope("C1", None, None)), "finance/alice");
        assert_eq!(name(Role::Terminal, scope("C1", None, Some("T1"))), "terminal/T1");
        assert_eq!(name(Role::Payer, scope("C1", Some("P1"), None)), "payer/P1");
    }

    #[test]
    fn a_detainee_acts_in_a_session() {
        let session = Session {
            id: Uuid::from_u128(7),
            detainee: DetaineeId::parse("D1").unwrap(),
            is_bound: true,
            is_limited: false,
        };
        let at = |terminal: &str| {
            let terminal = TerminalId::parse(terminal).unwrap();
            Actor::in_session(center("C1"), terminal, session.clone())
        };
        let actor = at("T1");
        assert_eq!((actor.check(), actor.name().as_str()), (Ok(()), "detainee/D1@T1"));
        assert!(actor.require_self(&DetaineeId::parse("D1").unwrap()).is_ok());
        let other = DetaineeId::parse("D2").unwrap();
        assert!(matches!(actor.require_self(&other), Err(Denied::OtherDetainee { .. })));
        let alone = Actor::new("D1", Role::Detainee, scope("C1", None, Some("T1")));
        assert_eq!(alone, Err(ActorError::Session));
        let mut finance = actor.clone();
        finance.role = Role::Finance;
        assert_eq!(finance.check(), Err(ActorError::Session));

        let terminal = Actor::new("x", Role::Terminal, scope("C1", None, Some("T1"))).unwrap();
        assert!(terminal.has_done("detainee/D1@T1") && terminal.has_done("terminal/T1"));
        assert!(!terminal.has_done("detainee/T1@T2") && !terminal.has_done("terminal/T2"));
        assert!(
            actor.has_done("detainee/D1@T2") && !actor.has_done("detainee/D2@T1") && !actor.has_done("terminal/T1")
        );
        let admin = Actor::new("root", Role::Admin, scope("*", None, None)).unwrap();
        assert!(!admin.has_done("detainee/D1@T1"));
    }

    #[test]
    fn only_admins_and_auditors_have_all_centers() {
        for role in Role::ALL.into_iter().filter(|role| *role != Role::Detainee) {
            let payer = (role == Role::Payer).then_some("P1");
            let terminal = (role == Role::Terminal).then_some("T1");
            let actor = Actor::new("alice", role, scope("*", payer, terminal));
            assert_eq!(actor.is_ok(), matches!(role, Role::Admin | Role::Auditor), "{role}");
        }
    }

    #[test]
    fn payers_and_terminals_are_named_where_they_belong() {
        let new = |role, scope| Actor::new("alice", role, scope).map(|_| ());
        assert_eq!(new(Role::Payer, scope("C1", None, None)), Err(ActorError::Payer));
        assert_eq!(
            new(Role::Finance, scope("C1", Some("P1"), None)),
            Err(ActorError::Payer)
        );
        assert_eq!(new(Role::Terminal, scope("C1", None, None)), Err(ActorError::Terminal));
        assert_eq!(
            new(Role::Admin, scope("C1", None, Some("T1"))),
            Err(ActorError::Terminal)
        );
        assert_eq!(
            new(Role::Payer, scope("C1", Some("P1"), Some("T1"))),
            Err(ActorError::Terminal)
        );
        let long = "a".repeat(101);
        for subject in ["", "a b", "a/b", "é", "a\n", long.as_str()] {
            let actor = Actor::new(subject, Role::Finance, scope("C1", None, None));
            assert_eq!(actor, Err(ActorError::Subject), "{subject:?}");
        }
    }

    #[test]
    fn scopes_confine() {
        let admin = Actor::new("root", Role::Admin, scope("*", None, None)).unwrap();
        let payer = Actor::new("app", Role::Payer, scope("C1", Some("P1"), None)).unwrap();
        let terminal = Actor::new("T1", Role::Terminal, scope("C1", None, Some("T1"))).unwrap();
        let (p1, p2) = (PayerId::parse("P1").unwrap(), PayerId::parse("P2").unwrap());
        let (t1, t2) = (TerminalId::parse("T1").unwrap(), TerminalId::parse("T2").unwrap());
        let detainee = DetaineeId::parse("D1").unwrap();

        assert!(admin.require_center(&center("C2")).is_ok() && admin.require_all_centers().is_ok());
        assert!(admin.require_payer(&p2).is_ok() && admin.require_detainee(&detainee, false).is_ok());
        assert!(payer.require_center(&center("C1")).is_ok() && payer.require_payer(&p1).is_ok());
        assert!(payer.require_detainee(&detainee, true).is_ok() && terminal.require_terminal(&t1).is_ok());

        let actor = || "payer/P1".to_owned();
        assert_eq!(
            payer.require_center(&center("C2")),
            Err(Denied::Center {
                actor: actor(),
                center: center("C2")
            })
        );
        assert_eq!(payer.require_all_centers(), Err(Denied::AllCenters { actor: actor() }));
        assert_eq!(
            payer.require_payer(&p2),
            Err(Denied::Payer {
                actor: actor(),
                payer: p2
            })
        );
        let denied = Denied::Detainee {
            actor: actor(),
            detainee: detainee.clone(),
        };
        assert_eq!(payer.require_detainee(&detainee, false), Err(denied));
        assert!(matches!(terminal.require_terminal(&t2), Err(Denied::Terminal { .. })));
        assert!(!terminal.sees_center(&center("c1")));
    }
}
