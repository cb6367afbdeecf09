//! Links: asked for by the payer, decided on by staff, ended by either.

pub(super) mod store;

pub use store::{LinkFilter, follow_in_tx};

use super::{
    LinkLeg, LinkState, PayerLink, Payers, Relationship,
    entity::LINKS_MAX,
    error::PayerRefusal as R,
    locked,
    store::{self as payers},
};
use crate::{
    custody::{self, CustodyRefusal},
    db::Conn,
    ids::{DetaineeId, PayerId},
    ledger::{Center, LedgerError},
};

impl Payers {
    /// Asks for a link to a detainee. What is asked for or approved already is answered with what is there.
    pub async fn request_link(
        &self,
        center: &Center,
        (payer, detainee): (&PayerId, &DetaineeId),
        relationship: Relationship,
        reason: &str,
        actor: &str,
    ) -> Result<PayerLink, LedgerError> {
        let leg = LinkLeg {
            relationship: Some(relationship),
            ..self.leg(LinkState::Requested, reason, actor)
        };
        let mut tx = self.database.lane.begin().await?;
        let link = self.new_or_known(&mut tx, center, payer, detainee).await?;
        if matches!(
            link.state(),
            Some(LinkState::Requested | LinkState::Approved | LinkState::Granted)
        ) {
            return if link.relationship() == relationship {
                Ok(link)
            } else {
                Err(R::AlreadyExists.into())
            };
        }
        let link = add(&mut tx, center, link, leg).await?;
        tx.commit().await?;
        Ok(link)
    }

    /// Makes an approved link in one step, as staff. One that is approved is answered with what is there; every other takes
    /// the long way, so that a repetition does not bring a revoked link back.
    pub async fn grant_link(
        &self,
        center: &Center,
        (payer, detainee): (&PayerId, &DetaineeId),
        relationship: Relationship,
        actor: &str,
    ) -> Result<PayerLink, LedgerError> {
        let leg = LinkLeg {
            relationship: Some(relationship),
            ..self.leg(LinkState::Granted, "linked by staff in one step", actor)
        };
        let mut tx = self.database.lane.begin().await?;
        let link = self.new_or_known(&mut tx, center, payer, detainee).await?;
        if link.state().is_some_and(LinkState::is_approved) {
            return if link.relationship() == relationship {
                Ok(link)
            } else {
                Err(R::AlreadyExists.into())
            };
        }
        let link = add(&mut tx, center, link, leg).await?;
        tx.commit().await?;
        Ok(link)
    }

    /// Decides on a requested link, or ends one: `state` is where it goes. The same by the same once more is answered with
    /// what is there.
    pub async fn move_link(
        &self,
        center: &Center,
        (payer, detainee): (&PayerId, &DetaineeId),
        state: LinkState,
        reason: &str,
        actor: &str,
    ) -> Result<PayerLink, LedgerError> {
        let leg = self.leg(state, reason, actor);
        let mut tx = self.database.lane.begin().await?;
        let registered = locked(&mut tx, center, payer).await?;
        let link = store::link(&mut tx, center.no, payer, detainee).await?;
        let link = link.ok_or_else(|| R::LinkNotFound {
            payer: payer.clone(),
            detainee: detainee.clone(),
        })?;
        let is_same = |last: &LinkLeg| last.state == state && last.actor == actor && last.reason == reason;
        if link.legs.last().is_some_and(is_same) {
            return Ok(link);
        }
        if state == LinkState::Approved {
            registered.require_active()?;
        }
        let link = add(&mut tx, center, link, leg).await?;
        tx.commit().await?;
        Ok(link)
    }

    /// One link.
    pub async fn link(
        &self,
        center: &Center,
        payer: &PayerId,
        detainee: &DetaineeId,
    ) -> Result<PayerLink, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        let link = store::link(&mut conn, center.no, payer, detainee).await?;
        link.ok_or_else(|| {
            R::LinkNotFound {
                payer: payer.clone(),
                detainee: detainee.clone(),
            }
            .into()
        })
    }

    /// Up to `limit` links.
    pub async fn list_links(
        &self,
        center: &Center,
        filter: &LinkFilter,
        limit: i64,
    ) -> Result<Vec<PayerLink>, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        Ok(store::links(&mut conn, center.no, filter, limit).await?)
    }

    /// Whether a payer has an approved link to a detainee, and a registration that has not ended.
    pub async fn is_linked(
        &self,
        center: &Center,
        payer: &PayerId,
        detainee: &DetaineeId,
    ) -> Result<bool, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        let standing = payers::standing(&mut conn, center.no, payer, detainee).await?;
        Ok(standing.is_some_and(super::Standing::is_linked))
    }

    fn leg(&self, state: LinkState, reason: &str, actor: &str) -> LinkLeg {
        LinkLeg {
            state,
            at: self.clock.now(),
            actor: actor.to_owned(),
            reason: reason.to_owned(),
            relationship: None,
        }
    }

    /// A link of an active payer, under the payer's lock; without legs if it was never asked for.
    async fn new_or_known(
        &self,
        tx: &mut Conn,
        center: &Center,
        payer: &PayerId,
        detainee: &DetaineeId,
    ) -> Result<PayerLink, LedgerError> {
        locked(tx, center, payer).await?.require_active()?;
        if let Some(link) = store::link(tx, center.no, payer, detainee).await? {
            return Ok(link);
        }
        // Before it is told who is held here: whoever has asked for so many links learns nothing more by asking.
        if store::count_links(tx, center.no, payer).await? >= LINKS_MAX {
            return Err(R::TooManyLinks { payer: payer.clone() }.into());
        }
        let held = custody::detainee_in_tx(tx, center, detainee).await?;
        held.ok_or_else(|| CustodyRefusal::DetaineeNotFound {
            detainee: detainee.clone(),
        })?;
        Ok(PayerLink {
            payer: payer.clone(),
            detainee: detainee.clone(),
            created_at: self.clock.now(),
            legs: Vec::new(),
        })
    }
}

async fn add(tx: &mut Conn, center: &Center, mut link: PayerLink, leg: LinkLeg) -> Result<PayerLink, LedgerError> {
    link.require(&leg)?;
    store::insert_link_leg(tx, center.no, &link, &leg).await?;
    link.legs.push(leg);
    Ok(link)
}
