//! What lanes remember of this domain.

use futures::future::{BoxFuture, FutureExt as _};

use super::{CustodyRefusal, DetaineeState, Settings, store};
use crate::{
    db::{self, Conn},
    ids::{AccountNo, DetaineeId},
    ledger::{Asked, Center, Declined, Refusal, Room, State},
};

/// The center's rules.
#[derive(Default)]
pub struct SettingsRoom {
    known: Option<Settings>,
    wanted: bool,
}

impl SettingsRoom {
    /// Asks for them.
    pub fn want(&mut self) {
        self.wanted = self.known.is_none();
    }

    /// The rules, for a decision.
    pub fn get(&self) -> Result<&Settings, Declined> {
        self.known
            .as_ref()
            .ok_or_else(|| Declined::Broken("the settings are not loaded".into()))
    }
}

impl Room for SettingsRoom {
    fn is_wanting(&self) -> bool {
        self.wanted
    }
    fn keys(&self) -> usize {
        usize::from(self.known.is_some())
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            self.known = Some(store::settings(conn, center).await?);
            self.wanted = false;
            Ok(())
        }
        .boxed()
    }
}

/// What a decision needs to know of a detainee.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Where the detainee stands.
    pub state: DetaineeState,
    /// The regime tier.
    pub tier: i16,
    /// Number of the available account.
    pub account_base: AccountNo,
    /// Whether the person is convicted.
    pub is_convicted: bool,
}

impl Standing {
    /// The account that can be spent.
    pub fn available(&self) -> AccountNo {
        self.account_base
    }

    /// What is set aside for orders.
    pub fn held(&self) -> AccountNo {
        AccountNo(self.account_base.0 + 1)
    }

    /// The savings account.
    pub fn savings(&self) -> AccountNo {
        AccountNo(self.account_base.0 + 2)
    }
}

/// The detainees that commands asked for; those that do not exist are remembered too.
#[derive(Default)]
pub struct DetaineeRoom(Asked<DetaineeId, Option<Standing>>);

impl DetaineeRoom {
    /// Asks for a detainee. What is known already is answered at once, so that the next question can be asked.
    pub fn want(&mut self, id: &DetaineeId) -> Option<Standing> {
        self.0.want(id).copied().flatten()
    }

    /// The detainee, for a decision.
    pub fn get(&self, id: &DetaineeId) -> Result<Standing, Declined> {
        match self.0.get(id) {
            Some(Some(standing)) => Ok(*standing),
            Some(None) => Err(Refusal::from(CustodyRefusal::DetaineeNotFound { detainee: id.clone() }).into()),
            None => Err(Declined::Broken(format!("detainee {id} is not loaded"))),
        }
    }

    /// The detainee, refused unless active.
    pub fn get_active(&self, id: &DetaineeId) -> Result<Standing, Declined> {
        let standing = self.get(id)?;
        match standing.state {
            DetaineeState::Active => Ok(standing),
            other => {
                let refusal = CustodyRefusal::DetaineeNotActive {
                    detainee: id.clone(),
                    state: other.name(),
                };
                Err(Refusal::from(refusal).into())
            }
        }
    }
}

impl Room for DetaineeRoom {
    fn is_wanting(&self) -> bool {
        self.0.is_wanting()
    }
    fn keys(&self) -> usize {
        self.0.count()
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            let wanted = self.0.take_wanted();
            let mut found = store::standings(conn, center.no, &wanted).await?;
            for id in wanted {
                let standing = found.remove(id.as_str());
                self.0.learn(id, standing);
            }
            Ok(())
        }
        .boxed()
    }
}

/// Asks for a detainee and, once known, for the balance of the available account.
pub fn want_available(state: &mut State, id: &DetaineeId) -> Option<Standing> {
    let standing = state.room_mut::<DetaineeRoom>().ok().and_then(|room| room.want(id))?;
    state.want_account(standing.available());
    Some(standing)
}
