//! What lanes remember of terminals and sessions. Whoever changes what stands here moves the center's rules; that a session begins
//! changes nothing, because nobody asks for one before.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    entity::{Seller, Standing, StoredSession},
    store,
};
use crate::{
    db::{self, Conn},
    ids::{DetaineeId, TerminalId},
    ledger::{Asked, Center, Declined, Room, State},
    terminal::error::TerminalRefusal as R,
};

/// The terminals that commands came from, those of which nothing is known too, and whether purchases need a session.
#[derive(Default)]
struct TerminalRoom {
    terminals: Asked<TerminalId, Option<Standing>>,
    requires_sessions: Option<bool>,
}

impl Room for TerminalRoom {
    fn is_wanting(&self) -> bool {
        self.terminals.is_wanting()
    }
    fn keys(&self) -> usize {
        self.terminals.count()
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            if self.requires_sessions.is_none() {
                let policy = store::policy(conn, center.no).await?;
                self.requires_sessions = Some(policy.is_some_and(|policy| policy.require_sessions));
            }
            let wanted = self.terminals.take_wanted();
            let mut found = store::standings(conn, center.no, &wanted).await?;
            for id in wanted {
                let standing = found.remove(id.as_str());
                self.terminals.learn(id, standing);
            }
            Ok(())
        }
        .boxed()
    }
}

/// The sessions that commands were made in.
#[derive(Default)]
struct SessionRoom(Asked<Uuid, Option<StoredSession>>);

impl Room for SessionRoom {
    fn is_wanting(&self) -> bool {
        self.0.is_wanting()
    }
    fn keys(&self) -> usize {
        self.0.count()
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            let wanted = self.0.take_wanted();
            let mut found = store::sessions(conn, center.no, &wanted).await?;
            for id in wanted {
                let session = found.remove(&id);
                self.0.learn(id, session);
            }
            Ok(())
        }
        .boxed()
    }
}

impl Seller {
    /// Asks for what [`Seller::check`] reads.
    pub fn want(&self, state: &mut State) {
        if let Ok(room) = state.room_mut::<TerminalRoom>() {
            room.terminals.want(&self.terminal);
        }
        if let Some(session) = &self.session
            && let Ok(room) = state.room_mut::<SessionRoom>()
        {
            room.0.want(&session.id);
        }
    }

    /// Refuses what a detainee would buy here unless the terminal stands, and the session, where one is needed.
    ///
    /// Errors: TERMINAL_REVOKED, CERTIFICATE_NOT_CURRENT, SESSION_REQUIRED, SESSION_ENDED, PIN_MUST_CHANGE.
    pub fn check(&self, state: &State, detainee: &DetaineeId, now: OffsetDateTime) -> Result<(), Declined> {
        let room = state.room::<TerminalRoom>()?;
        let known = room.terminals.get(&self.terminal);
        let known = known.ok_or_else(|| Declined::Broken(format!("terminal {} is not loaded", self.terminal)))?;
        self.require_terminal(known.as_ref(), now)?;
        let Some(session) = &self.session else {
            let requires = room.requires_sessions.unwrap_or(true);
            return if requires || self.serial.is_some() {
                Err(R::SessionRequired.into())
            } else {
                Ok(())
            };
        };
        if session.detainee != *detainee {
            return Err(Declined::Broken("a session buys for another detainee".into()));
        }
        if session.is_limited {
            return Err(R::PinMustChange.into());
        }
        let stored = state.room::<SessionRoom>()?.0.get(&session.id);
        let stored = stored.ok_or_else(|| Declined::Broken("a session is not loaded".into()))?;
        Ok(self.require_session(session, stored.as_ref(), now)?)
    }
}
