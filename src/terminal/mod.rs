//! Terminals, and the person in front of them.
//!
//! # Layout
//! - `card`: cards, their PINs, and how often one may be tried. `pin`: hashing PINs. `session`: signing in and out, and what of it
//!   decisions read.
//! - `entity`: terminals, codes and certificates, pure. `authority`: what signs certificates. `limiter`: what bounds guessing.
//!
//! # Invariants
//! 1. Everything is only ever added to. What holds now is the last row of its kind.
//! 2. A code enrols one key. It is stored as a hash, and shown to whoever made it only.
//! 3. Whoever changes what decisions read of a terminal moves the center's rules, so that every process's lanes forget it.

mod authority;
mod card;
mod entity;
mod error;
mod limiter;
mod pin;
mod session;
mod store;
mod verify;

use std::sync::Arc;

pub use authority::{Authority, AuthorityError, RequestError, SERVER_NAME, ServerIdentity};
pub use card::{Card, CardState, FAILURES_MAX};
use entity::{CERTIFICATE_HEAD_START, StoredCode, Try};
pub use entity::{CERTIFICATE_TTL, CODE_TRIES_MAX, CODE_TTL, Certificate, Code, Revocation, Terminal, TerminalState};
pub use error::TerminalRefusal;
use error::TerminalRefusal as R;
use limiter::Limiter;
pub use pin::Pins;
pub use session::{
    Assertion, Begun, CHALLENGE_TTL, NewChallenge, SESSION_TTL, Seller, SessionPolicy, SessionsCheck, assertion_text,
};
use time::OffsetDateTime;
pub use verify::TerminalsCheck;

use crate::{
    access::{Issuer, Peer, TokenKey},
    clock::Clock,
    db::{self, Conn, Database},
    ids::TerminalId,
    ledger::{Center, LedgerError, center},
};

/// How many may try to enrol in a second, at one process.
const ENROLMENTS_PER_SECOND: u32 = 20;

/// The verbs of this domain.
#[derive(Clone)]
pub struct Terminals {
    database: Database,
    clock: Clock,
    authority: Arc<Authority>,
    enrolments: Arc<Limiter>,
    issuer: Issuer,
    pins: Pins,
}

/// A code that was made.
#[derive(Debug)]
pub struct NewCode {
    /// The code.
    pub code: Code,
    /// Until when it can be used.
    pub expires_at: OffsetDateTime,
}

/// Every Ed25519 key that a terminal ever had, with when it got it, the newest first: what verifies what it signed. Inside the
/// caller's transaction.
pub async fn keys_in_tx(
    conn: &mut Conn,
    center: &Center,
    terminal: &TerminalId,
) -> db::Result<Vec<([u8; 32], OffsetDateTime)>> {
    let keys = store::keys(conn, center.no, terminal).await?;
    Ok(keys.into_iter().map(|(_, key, at)| (key, at)).collect())
}

/// A terminal, inside the caller's transaction.
pub async fn terminal_in_tx(conn: &mut Conn, center: &Center, id: &TerminalId) -> db::Result<Option<Terminal>> {
    store::terminal(conn, center.no, id).await
}

fn broken(error: &AuthorityError) -> LedgerError {
    tracing::error!(%error, "a terminal's certificate cannot be signed");
    LedgerError::Internal
}

impl Terminals {
    /// The domain over a database: `authority` signs certificates, `key` the tokens of sessions.
    pub fn new(database: Database, clock: Clock, authority: Authority, key: TokenKey, pins: Pins) -> Terminals {
        Terminals {
            database,
            clock,
            authority: Arc::new(authority),
            enrolments: Arc::new(Limiter::new(ENROLMENTS_PER_SECOND)),
            issuer: Issuer::new(key),
            pins,
        }
    }

    /// What signs certificates.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Makes a terminal. The same again is answered with what is there.
    ///
    /// Errors: ALREADY_EXISTS.
    pub async fn create(
        &self,
        center: &Center,
        id: TerminalId,
        display_name: String,
        by: &str,
    ) -> Result<Terminal, LedgerError> {
        let mut tx = self.database.lane.begin().await?;
        store::lock(&mut tx, center.no, &id).await?;
        if let Some(known) = store::terminal(&mut tx, center.no, &id).await? {
            let is_same = known.display_name == display_name;
            return if is_same {
                Ok(known)
            } else {
                Err(R::AlreadyExists.into())
            };
        }
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let terminal = Terminal {
            id,
            display_name,
            created_at: self.clock.now(),
            created_by: by.to_owned(),
            certificate: None,
            revoked: None,
        };
        store::insert(&mut tx, center.no, &terminal).await?;
        tx.commit().await?;
        Ok(terminal)
    }

    /// A terminal.
    ///
    /// Errors: NOT_FOUND.
    pub async fn terminal(&self, center: &Center, id: &TerminalId) -> Result<Terminal, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        found(store::terminal(&mut conn, center.no, id).await?, id)
    }

    /// Up to `limit` terminals after an id, in the order of their ids.
    pub async fn list(&self, center: &Center, after: &str, limit: i64) -> Result<Vec<Terminal>, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        Ok(store::terminals(&mut conn, center.no, after, false, limit).await?)
    }

    /// Makes a code that enrols a terminal once. The one before is void.
    ///
    /// Errors: NOT_FOUND, TERMINAL_REVOKED.
    pub async fn create_code(&self, center: &Center, id: &TerminalId, by: &str) -> Result<NewCode, LedgerError> {
        let mut tx = self.database.lane.begin().await?;
        store::lock(&mut tx, center.no, id).await?;
        found(store::terminal(&mut tx, center.no, id).await?, id)?.require_not_revoked()?;
        let before = store::last_code(&mut tx, center.no, id).await?;
        let code = Code::generate().ok_or(LedgerError::Internal)?;
        let now = self.clock.now();
        let stored = StoredCode {
            code_no: before.map_or(0, |code| code.code_no) + 1,
            hash: code.hash(&center.id, id),
            expires_at: now + CODE_TTL,
            tries: 0,
            is_used: false,
        };
        store::insert_code(&mut tx, center.no, id, &stored, (now, by)).await?;
        tx.commit().await?;
        Ok(NewCode {
            code,
            expires_at: stored.expires_at,
        })
    }

    /// Counts a try to enrol, before anything is looked up for it.
    ///
    /// Errors: TOO_MANY_ENROLMENTS.
    pub fn admit_enrolment(&self) -> Result<(), R> {
        let is_admitted = self.enrolments.admits(self.clock.now());
        if is_admitted { Ok(()) } else { Err(R::TooManyEnrolments) }
    }

    /// Enrols a terminal with a code and the key of its certificate request. The same code and key again are answered with the
    /// same certificate.
    ///
    /// Errors: INVALID_FIELD, ENROLMENT_CODE_INVALID, ENROLMENT_CODE_EXPIRED, ENROLMENT_CODE_USED, TERMINAL_REVOKED.
    pub async fn enrol(
        &self,
        center: &Center,
        id: &TerminalId,
        code: &Code,
        request: &str,
    ) -> Result<Terminal, LedgerError> {
        let key = authority::key_of_request(request).map_err(|error| R::Request { error })?;
        let hash = code.hash(&center.id, id);
        let mut tx = self.database.lane.begin().await?;
        store::lock(&mut tx, center.no, id).await?;
        let stored = store::last_code(&mut tx, center.no, id).await?.ok_or(R::CodeInvalid)?;
        let mut terminal = store::terminal(&mut tx, center.no, id).await?.ok_or(R::CodeInvalid)?;
        let now = self.clock.now();
        match stored.try_hash(&hash, now) {
            Try::Void => return Err(R::CodeInvalid.into()),
            Try::Expired => return Err(R::CodeExpired.into()),
            Try::Wrong => {
                store::insert_try(&mut tx, center.no, id, &stored, false, now).await?;
                tx.commit().await?;
                return Err(R::CodeInvalid.into());
            }
            Try::Enrolled => {
                terminal.require_not_revoked()?;
                let told = |known: &Certificate| known.code_no == stored.code_no && known.public_key == key;
                let is_same = terminal.certificate.as_ref().is_some_and(told);
                return if is_same { Ok(terminal) } else { Err(R::CodeUsed.into()) };
            }
            Try::Enrols => terminal.require_not_revoked()?,
        }
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        store::insert_try(&mut tx, center.no, id, &stored, true, now).await?;
        let number = terminal.certificate.map_or(0, |before| before.number) + 1;
        let certificate = self.sign(center, id, key, (number, stored.code_no, None), now)?;
        store::insert_certificate(&mut tx, center.no, id, &certificate).await?;
        tx.commit().await?;
        terminal.certificate = Some(certificate);
        Ok(terminal)
    }

    /// Signs another certificate of a terminal, which comes with the one it has, for the key of a certificate request. The one
    /// before stays good, because the answer may be lost. The newest one's key again is answered with that, while it is young.
    ///
    /// Errors: INVALID_FIELD, TERMINAL_REVOKED, CERTIFICATE_NOT_CURRENT.
    pub async fn renew(&self, center: &Center, peer: &Peer, request: &str) -> Result<Terminal, LedgerError> {
        let key = authority::key_of_request(request).map_err(|error| R::Request { error })?;
        let id = &peer.terminal;
        let mut tx = self.database.lane.begin().await?;
        store::lock(&mut tx, center.no, id).await?;
        let mut terminal = store::terminal(&mut tx, center.no, id)
            .await?
            .ok_or(R::CertificateNotCurrent)?;
        let now = self.clock.now();
        let known = session::store::standings(&mut tx, center.no, std::slice::from_ref(id)).await?;
        Seller::of(&peer.actor(), Some(peer))
            .ok_or(LedgerError::Internal)?
            .require_terminal(known.get(id.as_str()), now)?;
        let newest = terminal.certificate.as_ref().ok_or(R::CertificateNotCurrent)?;
        if newest.public_key == key && !newest.is_half_over(now) {
            return Ok(terminal);
        }
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let numbers = (newest.number + 1, newest.code_no, Some(newest.number));
        let certificate = self.sign(center, id, key, numbers, now)?;
        store::insert_certificate(&mut tx, center.no, id, &certificate).await?;
        tx.commit().await?;
        terminal.certificate = Some(certificate);
        Ok(terminal)
    }

    fn sign(
        &self,
        center: &Center,
        id: &TerminalId,
        public_key: [u8; 32],
        (number, code_no, renews): (i32, i32, Option<i32>),
        now: OffsetDateTime,
    ) -> Result<Certificate, LedgerError> {
        // Certificates tell whole seconds.
        let from = now.replace_nanosecond(0).map_err(|_| LedgerError::Internal)? - CERTIFICATE_HEAD_START;
        let until = from + CERTIFICATE_TTL;
        let signed = self
            .authority
            .sign_terminal((&center.id, id), public_key, (from, until));
        let signed = signed.map_err(|error| broken(&error))?;
        Ok(Certificate {
            number,
            code_no,
            renews,
            serial: signed.serial,
            public_key,
            der: signed.der,
            not_before: from,
            not_after: until,
            issued_at: now,
        })
    }

    /// Ends a terminal for ever. One that has ended is answered with what is there.
    ///
    /// Errors: NOT_FOUND.
    pub async fn revoke(
        &self,
        center: &Center,
        id: &TerminalId,
        reason: &str,
        by: &str,
    ) -> Result<Terminal, LedgerError> {
        let mut tx = self.database.lane.begin().await?;
        store::lock(&mut tx, center.no, id).await?;
        let mut terminal = found(store::terminal(&mut tx, center.no, id).await?, id)?;
        if terminal.revoked.is_some() {
            return Ok(terminal);
        }
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let revocation = Revocation {
            at: self.clock.now(),
            actor: by.to_owned(),
            reason: reason.to_owned(),
        };
        store::insert_revocation(&mut tx, center.no, id, &revocation).await?;
        tx.commit().await?;
        terminal.revoked = Some(revocation);
        Ok(terminal)
    }
}

fn found(terminal: Option<Terminal>, id: &TerminalId) -> Result<Terminal, LedgerError> {
    terminal.ok_or_else(|| R::NotFound { terminal: id.clone() }.into())
}
