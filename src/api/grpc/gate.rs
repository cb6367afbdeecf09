//! What a verified credential does not say: whether the terminal that calls, and the session, still stand.
//!
//! This is looked up for every call of a terminal and of a detainee but for purchases, whose lane knows both and is told when they
//! change. A terminal that is known by its certificate alone sees nothing of a detainee and buys nothing for one.

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use tonic::Status;

use crate::{
    access::{Actor, Peer},
    custody::Custody,
    ids::CenterId,
    ledger::{LedgerError, Reason},
    terminal::{Seller, TerminalRefusal, Terminals},
};

const PURCHASE: &str = "/custody.v1.CommissaryService/CreatePurchase";

/// What a terminal with a certificate does within a session only.
const WITHIN_SESSIONS: [&str; 3] = [
    PURCHASE,
    "/custody.v1.CommissaryService/GetSpending",
    "/custody.v1.CustodyService/GetBalances",
];

/// What can be done with a temporary PIN.
const TO_SET_A_PIN: [&str; 2] = [
    "/custody.v1.SessionService/ChangePin",
    "/custody.v1.SessionService/SignOut",
];

/// Looks terminals and sessions up. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    terminals: Terminals,
    custody: Custody,
}

impl Gate {
    /// A gate over a database.
    pub fn new(terminals: Terminals, custody: Custody) -> Gate {
        Gate { terminals, custody }
    }

    /// Looks up what stands, of a center that is there.
    async fn check(&self, center: &CenterId, seller: &Seller) -> Result<(), LedgerError> {
        match self.custody.center(center).await {
            Ok(center) => self.terminals.admit(&center, seller).await,
            // Of a center that is not there the call itself tells, once it is known what it asks for.
            Err(LedgerError::Refused { refusal, .. }) if refusal.reason() == Reason::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What has to be looked up before a call is let through, if anything.
fn to_look_up(request: &Request) -> Result<Option<(CenterId, Seller)>, TerminalRefusal> {
    let Some(actor) = request.extensions().get::<Actor>() else {
        return Ok(None);
    };
    let Some((center, _)) = actor.scope.center.as_ref().zip(actor.scope.terminal.as_ref()) else {
        return Ok(None);
    };
    let (peer, path) = (request.extensions().get::<Peer>(), request.uri().path());
    match &actor.session {
        None if peer.is_some() && WITHIN_SESSIONS.contains(&path) => return Err(TerminalRefusal::SessionRequired),
        Some(session) if session.is_limited && !TO_SET_A_PIN.contains(&path) => {
            return Err(TerminalRefusal::PinMustChange);
        }
        _ => {}
    }
    if path == PURCHASE {
        return Ok(None);
    }
    Ok(Seller::of(actor, peer).map(|seller| (center.clone(), seller)))
}

/// Lets a call through if the terminal and the session that make it still stand.
pub async fn admit(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let checked = match to_look_up(&request) {
        Ok(None) => Ok(()),
        Ok(Some((center, seller))) => gate.check(&center, &seller).await,
        Err(refusal) => Err(refusal.into()),
    };
    match checked {
        Ok(()) => next.run(request).await,
        Err(error) => Status::from(error).into_http(),
    }
}
