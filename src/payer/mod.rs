//! Families: who pays is known by a document and a verified phone, and is linked to a detainee by somebody's approval.
//!
//! # Layout
//! - `entity`: what payers and links are, and which way a link may go, pure. `identity`: documents and phones, pure.
//! - `vault`: the keys under which identity numbers are sealed and matched. `sms`: sending one-time codes.
//! - `phone`: telling, verifying and confirming phones. `link`: asking for links, and deciding on them.
//! - `moving`: payers whose detainee moves to another center.
//!
//! # Invariants
//! 1. Everything is only ever added to. What holds now is the last row of its kind; the tables themselves keep their order.
//! 2. An identity number leaves this module masked, or sealed. No request that holds one is stored or logged.
//! 3. One document is registered once in a center: its keyed hash is a key of the table, under every key that was ever used.
//! 4. Whoever writes about a payer holds the payer's lock, so that what was read still holds when it is written.

mod entity;
mod error;
mod identity;
mod link;
mod moving;
mod phone;
mod sms;
mod store;
mod vault;
mod verify;

use std::sync::Arc;

pub use entity::{
    ACCOUNTS_MAX, LinkLeg, LinkState, Payer, PayerLink, PaymentAccount, Phone, Relationship, Revocation, Standing,
    TRIES_MAX,
};
pub use error::PayerRefusal;
pub use identity::{DocumentKind, Identity, IdentityError, PhoneNumber};
pub use link::{LinkFilter, follow_in_tx};
pub use moving::Moving;
pub use phone::CodeSent;
pub use sms::{SECRET_HEADER, SmsError, SmsSender};
pub use vault::{CODE_DIGITS, Sealed, Vault, VaultError};
pub use verify::PayersCheck;

use time::OffsetDateTime;

use crate::{
    clock::Clock,
    db::{self, Conn, Database},
    ids::{DetaineeId, PayerId},
    ledger::{Center, LedgerError},
};
use error::PayerRefusal as R;
use phone::store as phones;
use store::By;

/// The verbs of this domain.
#[derive(Clone)]
pub struct Payers {
    database: Database,
    clock: Clock,
    vault: Arc<Vault>,
    sms: Option<SmsSender>,
}

/// What is told when a payer is registered.
#[derive(Debug, Clone)]
pub struct Registration {
    /// Their id.
    pub id: PayerId,
    /// Their name.
    pub name: String,
    /// Their document.
    pub identity: Option<Identity>,
    /// Their phone.
    pub phone: Option<PhoneNumber>,
    /// How staff confirmed that phone; none if it is still to be verified.
    pub phone_document: Option<String>,
    /// Their payment accounts: channel and account.
    pub accounts: Vec<(String, String)>,
}

/// What a payer may do for a detainee, inside the caller's transaction; none if there is no such payer.
pub async fn standing_in_tx(
    conn: &mut Conn,
    center: &Center,
    payer: &PayerId,
    detainee: &DetaineeId,
) -> db::Result<Option<Standing>> {
    store::standing(conn, center.no, payer, detainee).await
}

/// The name that a payer is registered under, inside the caller's transaction.
pub async fn name_in_tx(conn: &mut Conn, center: &Center, payer: &PayerId) -> db::Result<Option<String>> {
    let found = store::payer(conn, center.no, payer).await?;
    Ok(found.map(|payer| payer.name))
}

/// What was registered could not be sealed. It is logged without saying what it was.
fn broken(error: &VaultError) -> LedgerError {
    tracing::error!(%error, "an identity number or a code cannot be sealed");
    LedgerError::Internal
}

impl Payers {
    /// The domain over a database. Without a sender of short messages staff confirm phones.
    pub fn new(database: Database, clock: Clock, vault: Vault, sms: Option<SmsSender>) -> Payers {
        Payers {
            database,
            clock,
            vault: Arc::new(vault),
            sms,
        }
    }

    /// The keys, for whatever else must be sealed.
    pub fn vault(&self) -> Arc<Vault> {
        self.vault.clone()
    }

    /// The ids of keys that something was sealed with, and that this process does not have.
    pub async fn missing_keys(&self) -> db::Result<Vec<String>> {
        let mut conn = self.database.read.acquire().await?;
        let known = store::identity_keys(&mut conn, false).await?;
        Ok(self.lacking(known))
    }

    fn lacking(&self, known: Vec<String>) -> Vec<String> {
        let own = self.vault.ids();
        known.into_iter().filter(|id| !own.contains(&id.as_str())).collect()
    }

    /// Registers a payer. What an earlier registration left out is added; what it told must be the same, and is then answered
    /// with what is there.
    pub async fn register(&self, center: &Center, new: Registration, actor: &str) -> Result<Payer, LedgerError> {
        let by = By {
            actor,
            at: self.clock.now(),
        };
        let mut tx = self.database.lane.begin().await?;
        store::lock(&mut tx, center.no, &new.id).await?;
        let payer = match store::payer(&mut tx, center.no, &new.id).await? {
            Some(payer) => payer,
            None => {
                let payer = Payer {
                    id: new.id.clone(),
                    name: new.name.clone(),
                    created_at: by.at,
                    registered_by: actor.to_owned(),
                    identity: None,
                    phone: None,
                    accounts: Vec::new(),
                    revoked: None,
                };
                store::insert_payer(&mut tx, center.no, &payer).await?;
                payer
            }
        };
        if payer.name != new.name {
            return Err(R::AlreadyExists.into());
        }
        self.add_identity(&mut tx, center, &payer, new.identity.as_ref(), by)
            .await?;
        self.add_phone(&mut tx, center, &payer, &new, by).await?;
        add_accounts(&mut tx, center, &payer, &new.accounts, by).await?;
        let payer = store::payer(&mut tx, center.no, &new.id).await?;
        tx.commit().await?;
        payer.ok_or(LedgerError::Internal)
    }

    async fn add_identity(
        &self,
        tx: &mut Conn,
        center: &Center,
        payer: &Payer,
        told: Option<&Identity>,
        by: By<'_>,
    ) -> Result<(), LedgerError> {
        let Some(told) = told else {
            return Ok(());
        };
        if payer.identity.is_some() {
            let is_same = self.identity(center, payer)?.as_ref() == Some(told);
            return if is_same { Ok(()) } else { Err(R::AlreadyExists.into()) };
        }
        payer.require_active()?;
        self.use_key(tx, by).await?;
        let sealed = self.vault.seal(told, center.id.as_str(), payer.id.as_str());
        let sealed = sealed.map_err(|error| broken(&error))?;
        let hashes = self.vault.hashes(told);
        let done = store::insert_identity(tx, center.no, &payer.id, &sealed, &hashes, by).await;
        if done? {
            Ok(())
        } else {
            Err(R::AlreadyRegistered.into())
        }
    }

    /// Makes sure that whoever registers knows every key there is, and that everybody knows of the one that seals.
    async fn use_key(&self, tx: &mut Conn, by: By<'_>) -> Result<(), LedgerError> {
        let own = self.vault.ids();
        let sealing = own.first().copied().unwrap_or_default();
        let mut known = store::identity_keys(tx, false).await?;
        if !known.iter().any(|id| id == sealing) {
            known = store::identity_keys(tx, true).await?;
        }
        let lacking = self.lacking(known);
        if !lacking.is_empty() {
            tracing::error!(
                keys = lacking.join(","),
                "ALARM: identity numbers are sealed with keys that this process does not have; nobody can be registered"
            );
            return Err(LedgerError::Internal);
        }
        Ok(store::insert_identity_key(tx, sealing, by.at).await?)
    }

    /// Seals the number of a bank account, and makes sure that every process knows the key: its id, and what it sealed.
    pub async fn seal_number_in_tx(
        &self,
        tx: &mut Conn,
        center: &Center,
        owner: &str,
        number: &str,
        at: OffsetDateTime,
    ) -> Result<(String, Vec<u8>), LedgerError> {
        self.use_key(tx, By { actor: "", at }).await?;
        let sealed = self.vault.seal_number(number, center.id.as_str(), owner);
        sealed.map_err(|error| broken(&error))
    }

    /// The number of a bank account; none if this process does not have the key, or anything was changed.
    pub fn open_number(&self, center: &Center, owner: &str, key_id: &str, sealed: &[u8]) -> Option<String> {
        self.vault.open_number(key_id, sealed, center.id.as_str(), owner)
    }

    /// A keyed hash of a bank account's number, in hexadecimal.
    pub fn number_hash(&self, number: &str) -> Result<String, LedgerError> {
        let hashed = self.vault.number_hash(number).map_err(|error| broken(&error))?;
        Ok(hex::encode(hashed.hash))
    }

    async fn add_phone(
        &self,
        tx: &mut Conn,
        center: &Center,
        payer: &Payer,
        new: &Registration,
        by: By<'_>,
    ) -> Result<(), LedgerError> {
        let Some(told) = &new.phone else {
            return Ok(());
        };
        let document = new.phone_document.as_deref();
        if let Some(phone) = &payer.phone {
            if !phones::has_told_phone(tx, center.no, &payer.id, told).await? {
                return Err(R::AlreadyExists.into());
            }
            if let Some(document) = document
                && phone.number == *told
                && phone.verified_at.is_none()
            {
                payer.require_active()?;
                let how = phones::How::Document(document);
                phones::insert_verification(tx, center.no, &payer.id, phone.position, how, by).await?;
            }
            return Ok(());
        }
        payer.require_active()?;
        phones::insert_phone(tx, center.no, &payer.id, (told, 1), by).await?;
        if let Some(document) = document {
            let how = phones::How::Document(document);
            phones::insert_verification(tx, center.no, &payer.id, 1, how, by).await?;
        }
        Ok(())
    }

    /// A payer's document in clear, for comparing and masking only.
    fn identity(&self, center: &Center, payer: &Payer) -> Result<Option<Identity>, LedgerError> {
        let Some(sealed) = &payer.identity else {
            return Ok(None);
        };
        let opened = self.vault.open(sealed, center.id.as_str(), payer.id.as_str());
        if opened.is_none() {
            tracing::error!(payer = %payer.id, key = sealed.key_id, "ALARM: an identity number cannot be opened");
        }
        opened.map(Some).ok_or(LedgerError::Internal)
    }

    /// A payer's document number as it may be shown to staff who may see it.
    pub fn masked_identity(&self, center: &Center, payer: &Payer) -> Result<Option<String>, LedgerError> {
        Ok(self.identity(center, payer)?.map(|identity| identity.masked()))
    }

    /// A payer.
    pub async fn payer(&self, center: &Center, id: &PayerId) -> Result<Payer, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        found(store::payer(&mut conn, center.no, id).await?, id)
    }

    /// Up to `limit` payers after an id, in the order of their ids.
    pub async fn list(&self, center: &Center, after: &str, limit: i64) -> Result<Vec<Payer>, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        Ok(store::payers(&mut conn, center.no, after, false, limit).await?)
    }

    /// Adds a payment account.
    pub async fn add_account(
        &self,
        center: &Center,
        id: &PayerId,
        (channel, account): (String, String),
        actor: &str,
    ) -> Result<Payer, LedgerError> {
        let by = By {
            actor,
            at: self.clock.now(),
        };
        let mut tx = self.database.lane.begin().await?;
        let payer = locked(&mut tx, center, id).await?;
        payer.require_active()?;
        if payer.active_account(&channel, &account).is_none() {
            insert_account(&mut tx, center, &payer, (channel, account), by).await?;
        }
        let payer = store::payer(&mut tx, center.no, id).await?;
        tx.commit().await?;
        found(payer, id)
    }

    /// Removes a payment account. One that was removed before is answered with what is there.
    pub async fn remove_account(
        &self,
        center: &Center,
        id: &PayerId,
        (channel, account): (&str, &str),
        reason: &str,
        actor: &str,
    ) -> Result<Payer, LedgerError> {
        let by = By {
            actor,
            at: self.clock.now(),
        };
        let mut tx = self.database.lane.begin().await?;
        let payer = locked(&mut tx, center, id).await?;
        payer.require_active()?;
        if let Some(active) = payer.active_account(channel, account) {
            let removed = PaymentAccount {
                is_removed: true,
                ..active.clone()
            };
            store::insert_account_leg(&mut tx, center.no, id, &removed, reason, by).await?;
        } else if !has_had(&payer, channel, account) {
            return Err(R::AccountNotFound { payer: id.clone() }.into());
        }
        let payer = store::payer(&mut tx, center.no, id).await?;
        tx.commit().await?;
        found(payer, id)
    }

    /// Ends a registration for ever. One that has ended is answered with what is there.
    pub async fn revoke(&self, center: &Center, id: &PayerId, reason: &str, actor: &str) -> Result<Payer, LedgerError> {
        let by = By {
            actor,
            at: self.clock.now(),
        };
        let mut tx = self.database.lane.begin().await?;
        let payer = locked(&mut tx, center, id).await?;
        if payer.revoked.is_none() {
            store::insert_revocation(&mut tx, center.no, id, reason, by).await?;
        }
        let payer = store::payer(&mut tx, center.no, id).await?;
        tx.commit().await?;
        found(payer, id)
    }
}

/// A payer, whom nobody else writes about until the transaction ends.
async fn locked(tx: &mut Conn, center: &Center, id: &PayerId) -> Result<Payer, LedgerError> {
    store::lock(tx, center.no, id).await?;
    found(store::payer(tx, center.no, id).await?, id)
}

fn found(payer: Option<Payer>, id: &PayerId) -> Result<Payer, LedgerError> {
    payer.ok_or_else(|| R::NotFound { payer: id.clone() }.into())
}

fn has_had(payer: &Payer, channel: &str, account: &str) -> bool {
    let is_it = |told: &PaymentAccount| told.channel == channel && told.account == account;
    payer.accounts.iter().any(is_it)
}

/// Adds the accounts that a registration tells to a payer who has told none; later ones take their own way.
async fn add_accounts(
    tx: &mut Conn,
    center: &Center,
    payer: &Payer,
    told: &[(String, String)],
    by: By<'_>,
) -> Result<(), LedgerError> {
    if !payer.accounts.is_empty() {
        let is_same = told.iter().all(|(channel, account)| has_had(payer, channel, account));
        return if is_same { Ok(()) } else { Err(R::AlreadyExists.into()) };
    }
    if told.is_empty() {
        return Ok(());
    }
    payer.require_active()?;
    let mut payer = payer.clone();
    for account in told {
        if !has_had(&payer, &account.0, &account.1) {
            let added = insert_account(tx, center, &payer, account.clone(), by).await?;
            payer.accounts.push(added);
        }
    }
    Ok(())
}

async fn insert_account(
    tx: &mut Conn,
    center: &Center,
    payer: &Payer,
    (channel, account): (String, String),
    by: By<'_>,
) -> Result<PaymentAccount, LedgerError> {
    let (slot, turn) = payer.free_slot().ok_or_else(|| R::TooManyAccounts {
        payer: payer.id.clone(),
        max: ACCOUNTS_MAX,
    })?;
    let added = PaymentAccount {
        slot,
        turn,
        channel,
        account,
        added_at: by.at,
        is_removed: false,
    };
    store::insert_account_leg(tx, center.no, &payer.id, &added, "", by).await?;
    Ok(added)
}
