//! The money that families send. Who they are, and to whom they are linked, is `payer`'s.
//!
//! # Layout
//! - `entity`: states, order numbers and the rhythm of asking, pure.
//! - `create`: a `quote` and an order at the gateway. `cancel`: giving it up. `confirm`: what the gateway says of it, however it
//!   is learnt.
//! - `delivery`: every notification as it is kept.
//! - `credit`: the one transaction that brings a payment into the ledger. [`suspense`]: payments that cannot be credited.
//!
//! # Invariants
//! 1. A remittance's row and legs are only ever inserted; each state is reached once.
//! 2. A payment enters the ledger once: the request id of its credit is made of channel and gateway transaction. The first of
//!    a remittance's payments to get there is credited, or suspended; whatever else is paid for it is put into suspense.
//! 3. Whatever is lost in between (a notification, an answer, a process) is found again by asking the gateway.

mod cancel;
mod confirm;
mod create;
mod credit;
mod delivery;
mod entity;
mod error;
mod parties;
mod posting;
mod quote;
mod returns;
mod screening;
mod store;
pub mod suspense;
mod verify;

pub use cancel::Canceller;
pub use confirm::{Learnt, Paid, RejectedNotice, contradiction};
pub use create::{METHOD, NewRemittance};
pub use credit::{CreditRemittance, recorded_at, want_split};
pub use delivery::{Delivery, Effect, KeptNotification, Verdict};
pub use entity::{Leg, LegState, PaymentFacts, Remittance, order_number, parse_order_number};
pub use error::RemittanceRefusal;
pub use returns::DueReturn;
pub use screening::{
    BALANCE_CAP_EXCEEDED, BROUGHT_BACK, DETAINEE_GONE, DETAINEE_TRANSFERRED, PAYMENT_COUNT_EXCEEDED,
    SCREENING_DETAINEES, SCREENING_PAYERS, SCREENING_PAYMENTS, goes_back, is_screening,
};
pub use store::{PostedPayment, RemittanceFilter, posted_in_tx};
pub use verify::RemittancesCheck;

use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    custody::Custody,
    db::{self, Conn},
    gateway::Channels,
    ids::{DetaineeId, RemittanceId, Seq},
    ledger::{
        Center, Lanes, LedgerError,
        transaction::{self, Transaction},
    },
    money::Amount,
};

/// The verbs of this domain.
#[derive(Clone)]
pub struct Remittances {
    lanes: Lanes,
    custody: Custody,
    channels: Channels,
}

impl Remittances {
    /// The domain over its journals and the channels there are.
    pub fn new(lanes: Lanes, custody: Custody, channels: Channels) -> Remittances {
        Remittances {
            lanes,
            custody,
            channels,
        }
    }

    /// The channels there are.
    pub fn channels(&self) -> &Channels {
        &self.channels
    }

    /// A remittance.
    pub async fn remittance(&self, center: &Center, id: &RemittanceId) -> Result<Remittance, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::remittance(&mut conn, center, id).await?;
        found.ok_or_else(|| RemittanceRefusal::RemittanceNotFound { remittance: id.clone() }.into())
    }

    /// Up to `limit` remittances, newest first.
    pub async fn list(
        &self,
        center: &Center,
        filter: &RemittanceFilter,
        limit: i64,
    ) -> Result<Vec<Remittance>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::remittances(&mut conn, center, filter, limit).await?)
    }

    /// Up to `limit` notifications before one, the latest first: those that tell a center, or with none those that tell no center
    /// of ours.
    pub async fn notifications(
        &self,
        center: Option<&Center>,
        before: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<KeptNotification>, LedgerError> {
        let center = center.map_or(confirm::NO_CENTER, |center| center.no);
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(delivery::list(&mut conn, center, before, limit).await?)
    }

    /// The transaction that credited a remittance.
    pub async fn credit_of(&self, center: &Center, remittance: &Remittance) -> Result<Transaction, LedgerError> {
        let not_credited = || RemittanceRefusal::NotCredited {
            remittance: remittance.id.clone(),
        };
        let leg = remittance.leg(LegState::Credited).and_then(|leg| leg.seq);
        let seq = leg.ok_or_else(not_credited)?;
        let found = transaction::get(&*self.lanes.database().read, center.no, seq).await?;
        found.ok_or(LedgerError::Internal)
    }
}

/// The review of a remittance has ended against it, by a transaction that sets its money aside. The caller holds the journal's
/// head and touches the rules.
pub async fn reject_in_tx(
    conn: &mut Conn,
    center: &Center,
    id: &RemittanceId,
    (seq, at): (Seq, OffsetDateTime),
    reason: &str,
) -> db::Result<()> {
    let leg = Leg {
        seq: Some(seq),
        ..create::leg(LegState::Rejected, at, reason)
    };
    store::insert_leg(conn, center.no, id, &leg).await
}

/// Records that a transaction credits a remittance's own payment where the detainee is now, and which review it ends, if it was held
/// for one. The caller holds the journal's head, and posts the same.
pub async fn forwarded_in_tx(
    conn: &mut Conn,
    center: &Center,
    id: &RemittanceId,
    (seq, at): (Seq, OffsetDateTime),
    release: Option<&str>,
) -> db::Result<()> {
    if let Some(reason) = release {
        let released = Leg {
            seq: Some(seq),
            ..create::leg(LegState::Released, at, reason)
        };
        store::insert_leg(conn, center.no, id, &released).await?;
    }
    let leg = Leg {
        seq: Some(seq),
        ..create::leg(LegState::Credited, at, suspense::FORWARDED)
    };
    store::insert_leg(conn, center.no, id, &leg).await
}

/// What is on its way to a detainee and may still count against the cap, inside the caller's transaction.
pub async fn in_flight_in_tx(
    conn: &mut Conn,
    center: &Center,
    detainee: &DetaineeId,
    now: OffsetDateTime,
) -> db::Result<Amount> {
    parties::in_flight_in_tx(conn, center, detainee, now).await
}

/// A remittance with its legs and its payments in suspense, inside the caller's transaction.
pub async fn remittance_in_tx(conn: &mut Conn, center: &Center, id: &RemittanceId) -> db::Result<Option<Remittance>> {
    store::remittance(conn, center, id).await
}
