//! Payers whose detainee moves to another center: they are registered there with what is known of them, and linked.
//!
//! Whoever is registered there already, under the same document, is linked as who they are. Everybody else is registered: their
//! number is opened here and sealed again for the other center, their phone and accounts are told again.

use super::{
    LinkFilter, LinkLeg, LinkState, Payer, PayerLink, Payers, PaymentAccount, broken,
    error::PayerRefusal as R,
    link::store as links,
    phone::store as phones,
    store::{self, By},
};
use crate::{
    db::Conn,
    ids::{DetaineeId, PayerId},
    ledger::{Center, LedgerError},
    proto::MovedPayer,
};

/// The most ids that are tried for somebody whose own is another payer's there.
const IDS_MAX: u32 = 100;
/// The most payers that move with a detainee: as many as can be linked, by far.
const PAYERS_MAX: i64 = 1000;
/// The longest beginning of an id that another one is made of, in characters.
const ID_BEGINNING_MAX: usize = 55;

/// Who moves, and where to.
#[derive(Debug, Clone, Copy)]
pub struct Moving<'a> {
    /// The center that is left.
    pub from: &'a Center,
    /// The detainee there.
    pub before: &'a DetaineeId,
    /// The receiving center.
    pub to: &'a Center,
    /// The detainee there, who is written down already.
    pub detainee: &'a DetaineeId,
}

impl Payers {
    /// Registers and links the payers of a detainee in the center that receives them; whose link is not approved, or whose
    /// registration has ended here or there, stays where they are. The caller holds both journals' heads and commits.
    ///
    /// Errors: ALREADY_REGISTERED when somebody registers one of the same documents there at the same moment.
    pub async fn move_in_tx(
        &self,
        conn: &mut Conn,
        moving: Moving<'_>,
        actor: &str,
        at: time::OffsetDateTime,
    ) -> Result<Vec<MovedPayer>, LedgerError> {
        let by = By { actor, at };
        let filter = LinkFilter {
            detainee: Some(moving.before.clone()),
            states: vec![LinkState::Approved, LinkState::Granted],
            ..LinkFilter::default()
        };
        let mut moved = Vec::new();
        for link in links::links(conn, moving.from.no, &filter, PAYERS_MAX).await? {
            let payer = store::payer(conn, moving.from.no, &link.payer).await?;
            let payer = payer.ok_or(LedgerError::Internal)?;
            if payer.revoked.is_some() {
                continue;
            }
            let Some(there) = self.settle_in_tx(conn, moving, &payer, by).await? else {
                continue;
            };
            let relationship = Some(link.relationship());
            let link = PayerLink {
                payer: there.clone(),
                detainee: moving.detainee.clone(),
                created_at: at,
                legs: Vec::new(),
            };
            let leg = LinkLeg {
                state: LinkState::Granted,
                at,
                actor: actor.to_owned(),
                reason: format!("approved in center {}", moving.from.id),
                relationship,
            };
            links::insert_link_leg(conn, moving.to.no, &link, &leg).await?;
            moved.push(MovedPayer {
                from: payer.id.to_string(),
                to: there.to_string(),
            });
        }
        Ok(moved)
    }

    /// Who a payer is in the receiving center, where they are registered unless they are; nobody whose registration has ended there.
    async fn settle_in_tx(
        &self,
        conn: &mut Conn,
        moving: Moving<'_>,
        payer: &Payer,
        by: By<'_>,
    ) -> Result<Option<PayerId>, LedgerError> {
        let to = moving.to;
        let identity = self.identity(moving.from, payer)?;
        let hashes = identity
            .as_ref()
            .map(|told| self.vault.hashes(told))
            .unwrap_or_default();
        if let Some(known) = store::payer_of_hashes(conn, to.no, &hashes).await? {
            let registered = store::payer(conn, to.no, &known).await?.ok_or(LedgerError::Internal)?;
            return Ok(registered.revoked.is_none().then_some(known));
        }
        let id = free_id(conn, moving, &payer.id).await?;
        store::lock(conn, to.no, &id).await?;
        let there = Payer {
            id: id.clone(),
            name: payer.name.clone(),
            created_at: by.at,
            registered_by: by.actor.to_owned(),
            identity: None,
            phone: None,
            accounts: Vec::new(),
            revoked: None,
        };
        if !store::insert_payer(conn, to.no, &there).await? {
            return Err(R::AlreadyExists.into());
        }
        if let Some(told) = &identity {
            self.use_key(conn, by).await?;
            let sealed = self.vault.seal(told, to.id.as_str(), id.as_str());
            let sealed = sealed.map_err(|error| broken(&error))?;
            if !store::insert_identity(conn, to.no, &id, &sealed, &hashes, by).await? {
                return Err(R::AlreadyRegistered.into());
            }
        }
        tell_again(conn, moving, payer, &id, by).await?;
        Ok(Some(id))
    }
}

/// The payer's own id, or one made of it, that nobody has in the receiving center.
async fn free_id(conn: &mut Conn, moving: Moving<'_>, id: &PayerId) -> Result<PayerId, LedgerError> {
    if store::payer(conn, moving.to.no, id).await?.is_none() {
        return Ok(id.clone());
    }
    let beginning = id.as_str().get(..ID_BEGINNING_MAX).unwrap_or(id.as_str());
    for number in 2..IDS_MAX {
        let other = PayerId::parse(&format!("{beginning}-{number}")).map_err(|_| LedgerError::Internal)?;
        if store::payer(conn, moving.to.no, &other).await?.is_none() {
            return Ok(other);
        }
    }
    Err(R::AlreadyExists.into())
}

/// Tells a payer's phone and accounts in the receiving center. A phone that was verified stays it: by the other center's word.
async fn tell_again(
    conn: &mut Conn,
    moving: Moving<'_>,
    payer: &Payer,
    id: &PayerId,
    by: By<'_>,
) -> Result<(), LedgerError> {
    let to = moving.to.no;
    if let Some(phone) = &payer.phone {
        phones::insert_phone(conn, to, id, (&phone.number, 1), by).await?;
        if phone.verified_at.is_some() {
            let document = format!("verified in center {}", moving.from.id);
            phones::insert_verification(conn, to, id, 1, phones::How::Document(&document), by).await?;
        }
    }
    for (slot, account) in (1..).zip(payer.active_accounts()) {
        let added = PaymentAccount {
            slot,
            turn: 1,
            added_at: by.at,
            ..account.clone()
        };
        store::insert_account_leg(conn, to, id, &added, "", by).await?;
    }
    Ok(())
}
