//! Sessions of detainees at terminals: how they begin, what ends them, and whether purchases need one.

mod entity;
mod room;
pub(super) mod store;
mod verify;

use aws_lc_rs::{
    rand,
    signature::{ED25519, UnparsedPublicKey},
};
pub use entity::{CHALLENGE_TTL, SESSION_TTL, Seller, assertion_text};
use entity::{CHALLENGES_MAX, StoredSession};
use secrecy::SecretString;
pub use store::SessionPolicy;
use time::OffsetDateTime;
use uuid::Uuid;
pub use verify::SessionsCheck;

use super::{
    Terminals,
    card::{self, Checked, Holder},
    error::TerminalRefusal as R,
    store as terminals,
};
use crate::{
    access::{Actor, Session},
    custody,
    db::Conn,
    ids::{CardId, DetaineeId, TerminalId},
    ledger::{Center, LedgerError, center},
};

/// A session that has begun.
pub struct Begun {
    /// The bearer token of the session.
    pub token: SecretString,
    /// Who signed in.
    pub detainee: DetaineeId,
    /// Until when it is good at the longest.
    pub expires_at: OffsetDateTime,
    /// Whether only another PIN can be set in it.
    pub is_limited: bool,
}

/// A challenge for a biometric module.
pub struct NewChallenge {
    /// 32 random bytes.
    pub challenge: [u8; 32],
    /// Until when it is good.
    pub expires_at: OffsetDateTime,
}

/// What a biometric module says.
pub struct Assertion<'a> {
    /// The challenge it signed.
    pub challenge: &'a [u8],
    /// Whom it recognised.
    pub detainee: &'a DetaineeId,
    /// Its signature.
    pub signature: &'a [u8],
}

impl Terminals {
    /// Refuses a terminal that was ended, a certificate that is not the terminal's, and a session that has ended.
    ///
    /// Errors: TERMINAL_REVOKED, CERTIFICATE_NOT_CURRENT, SESSION_ENDED.
    pub async fn admit(&self, center: &Center, seller: &Seller) -> Result<(), LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        let now = self.clock.now();
        let known = store::standings(&mut conn, center.no, std::slice::from_ref(&seller.terminal)).await?;
        seller.require_terminal(known.get(seller.terminal.as_str()), now)?;
        if let Some(session) = &seller.session {
            let stored = store::sessions(&mut conn, center.no, &[session.id]).await?;
            seller.require_session(session, stored.get(&session.id), now)?;
        }
        Ok(())
    }

    /// Whether purchases need a session; none if it was never said.
    pub async fn session_policy(&self, center: &Center) -> Result<Option<SessionPolicy>, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        Ok(store::policy(&mut conn, center.no).await?)
    }

    /// Changes whether purchases need a session. The same again changes nothing.
    pub async fn change_session_policy(
        &self,
        center: &Center,
        require_sessions: bool,
        by: &str,
    ) -> Result<Option<SessionPolicy>, LedgerError> {
        let mut tx = self.database.lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let known = store::policy(&mut tx, center.no).await?;
        if known.as_ref().is_some_and(|known| known.require_sessions) == require_sessions {
            return Ok(known);
        }
        let policy = SessionPolicy {
            version: known.map_or(0, |known| known.version) + 1,
            require_sessions,
            changed_at: self.clock.now(),
            changed_by: by.to_owned(),
        };
        store::insert_policy(&mut tx, center.no, &policy).await?;
        tx.commit().await?;
        Ok(Some(policy))
    }

    /// Signs a detainee in by card number and PIN.
    ///
    /// Errors: SIGN_IN_REFUSED, CARD_LOCKED, SIGN_IN_BUSY.
    pub async fn sign_in(
        &self,
        center: &Center,
        seller: &Seller,
        card_number: &str,
        pin: &SecretString,
    ) -> Result<Begun, LedgerError> {
        let turn = self.pins.turn().await?;
        let card = CardId::parse(card_number).ok();
        let typed = card::hash(center, card_number);
        let (holder, is_right) = self
            .check_pin(center, (card.as_ref(), &typed), &seller.terminal, pin, turn)
            .await?;
        let (Some(holder), true) = (holder, is_right) else {
            return Err(R::SignInRefused.into());
        };
        let mut tx = self.database.lane.begin().await?;
        if !self
            .settle_in_tx(&mut tx, center, &typed, &holder, &seller.terminal)
            .await?
        {
            return Err(R::SignInRefused.into());
        }
        let card = Some(holder.card);
        let begun = self
            .begin_in_tx(&mut tx, center, seller, (holder.detainee, card, holder.is_temporary))
            .await?;
        tx.commit().await?;
        Ok(begun)
    }

    /// Writes down that a PIN was right, unless the card, its PIN or the detainee are no longer what was checked.
    async fn settle_in_tx(
        &self,
        tx: &mut Conn,
        center: &Center,
        typed: &[u8],
        checked: &Holder,
        terminal: &TerminalId,
    ) -> Result<bool, LedgerError> {
        card::store::lock(tx, center.no, typed).await?;
        let found = card::store::holder(tx, center.no, &checked.card).await?;
        let is_same = found.is_some_and(|found| found.is_usable() && found.pin_no == checked.pin_no);
        if is_same {
            card::store::insert_try(tx, center.no, typed, Checked::Right, (self.clock.now(), Some(terminal))).await?;
        }
        Ok(is_same)
    }

    /// Begins a session and signs its token.
    async fn begin_in_tx(
        &self,
        tx: &mut Conn,
        center: &Center,
        seller: &Seller,
        (detainee, card, is_limited): (DetaineeId, Option<CardId>, bool),
    ) -> Result<Begun, LedgerError> {
        let now = self.clock.now();
        let stored = StoredSession {
            id: Uuid::now_v7(),
            detainee: detainee.clone(),
            terminal: seller.terminal.clone(),
            card,
            is_bound: seller.serial.is_some(),
            is_limited,
            began_at: now,
            expires_at: now + SESSION_TTL,
            is_over: false,
        };
        store::insert_session(tx, center.no, &stored).await?;
        let session = Session {
            id: stored.id,
            detainee: detainee.clone(),
            is_bound: stored.is_bound,
            is_limited,
        };
        let actor = Actor::in_session(center.id.clone(), stored.terminal, session);
        let token = self.issuer.issue(&actor, SESSION_TTL, now).map_err(|error| {
            tracing::error!(%error, "the token of a session cannot be signed");
            LedgerError::Internal
        })?;
        Ok(Begun {
            token: token.into(),
            detainee,
            expires_at: stored.expires_at,
            is_limited,
        })
    }

    /// Sets another PIN in a session that began with the card. The session ends, and another begins.
    ///
    /// Errors: SESSION_ENDED, SESSION_WITHOUT_CARD, PIN_TOO_WEAK, SIGN_IN_REFUSED, CARD_LOCKED, SIGN_IN_BUSY.
    pub async fn change_pin(
        &self,
        center: &Center,
        (seller, by): (&Seller, &str),
        pin: &SecretString,
        new_pin: &SecretString,
    ) -> Result<Begun, LedgerError> {
        let session = seller.session.as_ref().ok_or(R::SessionRequired)?;
        card::require_strong(new_pin, pin)?;
        let mut conn = self.database.read.acquire().await?;
        let stored = store::sessions(&mut conn, center.no, &[session.id])
            .await?
            .remove(&session.id);
        drop(conn);
        let card = stored.ok_or(R::SessionEnded)?.card.ok_or(R::SessionWithoutCard)?;
        let turn = self.pins.turn().await?;
        let typed = card::hash(center, card.as_str());
        let (holder, is_right) = self
            .check_pin(center, (Some(&card), &typed), &seller.terminal, pin, turn)
            .await?;
        let (Some(holder), true) = (holder, is_right) else {
            return Err(R::SignInRefused.into());
        };
        let hashed = self.pins.hash(new_pin, self.pins.turn().await?).await?;
        let mut tx = self.database.lane.begin().await?;
        if !self
            .settle_in_tx(&mut tx, center, &typed, &holder, &seller.terminal)
            .await?
        {
            return Err(R::SignInRefused.into());
        }
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        // The session may have ended since it was looked at.
        let stored = store::sessions(&mut tx, center.no, &[session.id]).await?;
        seller.require_session(session, stored.get(&session.id), self.clock.now())?;
        let now = self.clock.now().max(head.recorded_at);
        card::store::insert_pin(
            &mut tx,
            center.no,
            &card,
            (holder.pin_no + 1, false),
            &hashed,
            (now, by),
        )
        .await?;
        store::end_of_card(&mut tx, center.no, (&card, &holder.detainee), "PIN_CHANGED", (now, by)).await?;
        let begun = self
            .begin_in_tx(&mut tx, center, seller, (holder.detainee, Some(card), false))
            .await?;
        tx.commit().await?;
        Ok(begun)
    }

    /// Ends the session that a call is made in.
    pub async fn sign_out(&self, center: &Center, (seller, by): (&Seller, &str)) -> Result<(), LedgerError> {
        let session = seller.session.as_ref().ok_or(R::SessionRequired)?;
        let mut tx = self.database.lane.begin().await?;
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        // Nothing that was bought in it may seem to have been bought after it.
        let at = self.clock.now().max(head.recorded_at);
        store::insert_end(&mut tx, center.no, session.id, "SIGNED_OUT", (at, by)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Registers the key of a terminal's biometric module, or takes it away; the number of the change. The same again changes nothing.
    ///
    /// Errors: NOT_FOUND, TERMINAL_REVOKED.
    pub async fn register_module(
        &self,
        center: &Center,
        terminal: &TerminalId,
        key: Option<&[u8; 32]>,
        by: &str,
    ) -> Result<i32, LedgerError> {
        let mut tx = self.database.lane.begin().await?;
        terminals::lock(&mut tx, center.no, terminal).await?;
        let known = terminals::terminal(&mut tx, center.no, terminal).await?;
        known
            .ok_or_else(|| R::NotFound {
                terminal: terminal.clone(),
            })?
            .require_not_revoked()?;
        let (number, held) = store::module(&mut tx, center.no, terminal).await?;
        let key = key.map(<[u8; 32]>::as_slice);
        if held.as_deref() == key {
            return Ok(number);
        }
        let now = self.clock.now();
        store::insert_module(&mut tx, center.no, terminal, (number + 1, key), (now, by)).await?;
        tx.commit().await?;
        Ok(number + 1)
    }

    /// Makes a challenge for a terminal's biometric module.
    ///
    /// Errors: NO_BIOMETRIC_MODULE, TOO_MANY_CHALLENGES.
    pub async fn create_challenge(&self, center: &Center, terminal: &TerminalId) -> Result<NewChallenge, LedgerError> {
        let mut challenge = [0_u8; 32];
        rand::fill(&mut challenge).map_err(|_| LedgerError::Internal)?;
        let now = self.clock.now();
        let mut tx = self.database.lane.begin().await?;
        let (_, key) = store::module(&mut tx, center.no, terminal).await?;
        if key.is_none() {
            return Err(R::NoModule {
                terminal: terminal.clone(),
            }
            .into());
        }
        if store::open_challenges(&mut tx, center.no, terminal, now).await? >= CHALLENGES_MAX {
            return Err(R::TooManyChallenges.into());
        }
        let expires_at = now + CHALLENGE_TTL;
        store::insert_challenge(&mut tx, center.no, terminal, &challenge, expires_at).await?;
        tx.commit().await?;
        Ok(NewChallenge { challenge, expires_at })
    }

    /// Signs a detainee in by what the terminal's biometric module signed. The challenge is used up, whatever comes of it.
    ///
    /// Errors: ASSERTION_REFUSED.
    pub async fn sign_in_by_assertion(
        &self,
        center: &Center,
        seller: &Seller,
        told: &Assertion<'_>,
    ) -> Result<Begun, LedgerError> {
        let mut tx = self.database.lane.begin().await?;
        let good_until = store::take_challenge(&mut tx, center.no, &seller.terminal, told.challenge).await?;
        let (_, key) = store::module(&mut tx, center.no, &seller.terminal).await?;
        let (terminal, detainee) = (
            format!("centers/{}/terminals/{}", center.id, seller.terminal),
            format!("centers/{}/detainees/{}", center.id, told.detainee),
        );
        let text = assertion_text(&terminal, &detainee, told.challenge);
        let signed = |key: Vec<u8>| {
            UnparsedPublicKey::new(&ED25519, &key)
                .verify(text.as_bytes(), told.signature)
                .is_ok()
        };
        let is_good = good_until.is_some_and(|until| self.clock.now() < until) && key.is_some_and(signed);
        let known = custody::detainee_in_tx(&mut tx, center, told.detainee).await?;
        let is_here = known.is_some_and(|known| known.state == custody::DetaineeState::Active);
        if !is_good || !is_here {
            tx.commit().await?;
            return Err(R::AssertionRefused.into());
        }
        let begun = self
            .begin_in_tx(&mut tx, center, seller, (told.detainee.clone(), None, false))
            .await?;
        tx.commit().await?;
        Ok(begun)
    }
}
