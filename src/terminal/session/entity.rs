//! Which terminals and sessions stand: pure.

use std::sync::Arc;

use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    access::{Actor, Peer, Session},
    ids::{CardId, DetaineeId, TerminalId},
    terminal::error::TerminalRefusal as R,
};

/// How long a session is good at the longest.
pub const SESSION_TTL: Duration = Duration::minutes(10);
/// How long a challenge is good.
pub const CHALLENGE_TTL: Duration = Duration::minutes(1);
/// How many challenges of a terminal may be open at once.
pub const CHALLENGES_MAX: i64 = 16;

/// What is known of an enrolled or awaited terminal when something is decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// Whether it was ended.
    pub is_revoked: bool,
    /// The certificates it may come with, and until when each holds.
    pub serials: Vec<(Vec<u8>, OffsetDateTime)>,
}

/// A session as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSession {
    /// Its id.
    pub id: Uuid,
    /// Who signed in.
    pub detainee: DetaineeId,
    /// Where.
    pub terminal: TerminalId,
    /// The card it began with; none when a biometric module recognised them.
    pub card: Option<CardId>,
    /// Whether it is good over a certificate of the terminal only.
    pub is_bound: bool,
    /// Whether only another PIN can be set in it.
    pub is_limited: bool,
    /// When it began.
    pub began_at: OffsetDateTime,
    /// Until when it is good at the longest.
    pub expires_at: OffsetDateTime,
    /// Whether it has ended before that, or the detainee is no longer here.
    pub is_over: bool,
}

/// Where something is bought or asked, and in whose session: all that the credential tells. What it does not tell, whether all of
/// it still stands, is asked when something is decided.
#[derive(Debug, Clone)]
pub struct Seller {
    /// The terminal.
    pub terminal: TerminalId,
    /// The serial number of the certificate that it comes with; none of a trusted station, which has a token.
    pub serial: Option<Arc<[u8]>>,
    /// The session; none where the terminal answers for the person in front of it.
    pub session: Option<Session>,
}

impl From<TerminalId> for Seller {
    fn from(terminal: TerminalId) -> Seller {
        Seller {
            terminal,
            serial: None,
            session: None,
        }
    }
}

impl Seller {
    /// Whoever calls from a terminal; none of anybody else.
    pub fn of(actor: &Actor, peer: Option<&Peer>) -> Option<Seller> {
        Some(Seller {
            terminal: actor.scope.terminal.clone()?,
            serial: peer.map(|peer| peer.serial.clone()),
            session: actor.session.clone(),
        })
    }

    /// Refuses a terminal that was ended, and a certificate that is not its own or no longer. A terminal of which nothing is known
    /// is a trusted station, and comes with a token.
    pub fn require_terminal(&self, known: Option<&Standing>, now: OffsetDateTime) -> Result<(), R> {
        if known.is_some_and(|standing| standing.is_revoked) {
            return Err(R::Revoked {
                terminal: self.terminal.clone(),
            });
        }
        let Some(serial) = &self.serial else {
            return Ok(());
        };
        let holds = |(own, until): &(Vec<u8>, OffsetDateTime)| own[..] == serial[..] && now < *until;
        if known.is_some_and(|standing| standing.serials.iter().any(holds)) {
            Ok(())
        } else {
            Err(R::CertificateNotCurrent)
        }
    }

    /// Refuses a session that has ended, or is not the one that the credential tells.
    pub fn require_session(
        &self,
        told: &Session,
        stored: Option<&StoredSession>,
        now: OffsetDateTime,
    ) -> Result<(), R> {
        let stands = |stored: &StoredSession| {
            !stored.is_over
                && now < stored.expires_at
                && stored.detainee == told.detainee
                && stored.terminal == self.terminal
                && stored.is_bound == told.is_bound
                && (!stored.is_bound || self.serial.is_some())
        };
        if stored.is_some_and(stands) {
            Ok(())
        } else {
            Err(R::SessionEnded)
        }
    }
}

/// What a biometric module signs.
pub fn assertion_text(terminal: &str, detainee: &str, challenge: &[u8]) -> String {
    format!(
        "custody assertion 1\n{terminal}\n{detainee}\n{}\n",
        hex::encode(challenge)
    )
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2031-05-06 07:08:09 UTC);

    fn seller(serial: Option<&[u8]>) -> Seller {
        Seller {
            serial: serial.map(Arc::from),
            ..TerminalId::parse("T1").unwrap().into()
        }
    }

    #[test]
    fn a_certificate_is_the_terminals_until_it_ends() {
        let known = Standing {
            is_revoked: false,
            serials: vec![(vec![1], NOW + Duration::SECOND)],
        };
        let revoked = Standing {
            is_revoked: true,
            ..known.clone()
        };
        let own = seller(Some(&[1]));
        assert_eq!(own.require_terminal(Some(&known), NOW), Ok(()));
        let foreign = Err(R::CertificateNotCurrent);
        assert_eq!(own.require_terminal(Some(&known), NOW + Duration::SECOND), foreign);
        assert_eq!(own.require_terminal(None, NOW), foreign);
        assert_eq!(seller(Some(&[2])).require_terminal(Some(&known), NOW), foreign);
        for seller in [own, seller(None)] {
            assert!(matches!(
                seller.require_terminal(Some(&revoked), NOW),
                Err(R::Revoked { .. })
            ));
        }
        assert_eq!(seller(None).require_terminal(None, NOW), Ok(()));
    }

    #[test]
    fn a_session_is_one_persons_at_one_terminal() {
        let told = Session {
            id: Uuid::from_u128(7),
            detainee: DetaineeId::parse("D1").unwrap(),
            is_bound: true,
            is_limited: false,
        };
        let stored = StoredSession {
            id: told.id,
            detainee: told.detainee.clone(),
            terminal: TerminalId::parse("T1").unwrap(),
            card: None,
            is_bound: true,
            is_limited: false,
            began_at: NOW,
            expires_at: NOW + SESSION_TTL,
            is_over: false,
        };
        let bound = seller(Some(&[1]));
        assert_eq!(bound.require_session(&told, Some(&stored), NOW), Ok(()));
        let ended = Err(R::SessionEnded);
        assert_eq!(bound.require_session(&told, Some(&stored), NOW + SESSION_TTL), ended);
        assert_eq!(bound.require_session(&told, None, NOW), ended);
        assert_eq!(seller(None).require_session(&told, Some(&stored), NOW), ended);
        type Spoil = fn(&mut StoredSession);
        let spoils: [Spoil; 4] = [
            |stored| stored.is_over = true,
            |stored| stored.detainee = DetaineeId::parse("D2").unwrap(),
            |stored| stored.terminal = TerminalId::parse("T2").unwrap(),
            |stored| stored.is_bound = false,
        ];
        for spoil in spoils {
            let mut other = stored.clone();
            spoil(&mut other);
            assert_eq!(bound.require_session(&told, Some(&other), NOW), ended);
        }
    }
}
