//! Bank accounts of payers and detainees: where money goes that no gateway can take back.
//!
//! # Layout
//! - `entity`: whose an account is, and what of it may be seen, pure. `ask`: what two people decide.
//!
//! # Invariants
//! 1. An account is verified by another than who asked for it, and is its owner's: the holder is who was registered.
//! 2. Accounts are only ever inserted; the latest that was verified is paid to.
//! 3. A number is stored sealed, leaves this module masked or into a payment file, and no request that holds one is stored.

mod ask;
mod entity;
mod error;
mod store;
mod verify;

use std::sync::Arc;

pub use ask::ACCOUNT;
use ask::{AccountQuestion, AccountRunner};
pub use entity::{BankAccount, Owner};
pub use error::BeneficiaryRefusal;
pub use verify::BeneficiariesCheck;

use crate::{
    approval::{Approval, Approvals, Asking, Person, Runner},
    bank::Party,
    contract::Account,
    db::{self, Conn},
    ledger::{Center, Lanes, LedgerError, Request},
    payer::Payers,
};

/// The verbs of this domain.
#[derive(Clone)]
pub struct Beneficiaries {
    lanes: Lanes,
    approvals: Approvals,
    payers: Payers,
}

impl Beneficiaries {
    /// The domain over its journals; `payers` have the keys under which numbers are sealed.
    pub fn new(lanes: Lanes, payers: Payers) -> Beneficiaries {
        Beneficiaries {
            approvals: Approvals::new(lanes.clone()),
            lanes,
            payers,
        }
    }

    /// What runs here when another has verified an account.
    pub fn runner(&self) -> Arc<dyn Runner> {
        Arc::new(AccountRunner(self.lanes.clone()))
    }

    /// A keyed hash of a number, by which requests that hold one are compared without being stored with it.
    pub fn number_hash(&self, number: &str) -> Result<String, LedgerError> {
        self.payers.number_hash(number)
    }

    /// Asks another to verify a bank account. The same request again is answered with the approval as it stands.
    ///
    /// Errors: NOT_FOUND, HOLDER_DIFFERS, APPROVAL_PENDING.
    pub async fn ask(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        (owner, account): (Owner, Account),
        reason: String,
    ) -> Result<(Approval, bool), LedgerError> {
        let question = AccountQuestion {
            request: request.id,
            payers: self.payers.clone(),
            owner,
            account,
        };
        let asking = Asking { request, maker, reason };
        self.approvals.ask(center, &asking, &question).await
    }

    /// The accounts of an owner that were verified, the latest first.
    ///
    /// Errors: NOT_FOUND.
    pub async fn list(&self, center: &Center, owner: &Owner) -> Result<Vec<BankAccount>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        ask::names_of(&mut conn, center, owner).await?;
        Ok(store::accounts(&mut conn, center.no, &owner.to_string(), None).await?)
    }

    /// An account as a payment file names it.
    ///
    /// Errors: `Internal`, logged, when it cannot be opened.
    pub async fn party_in_tx(
        &self,
        conn: &mut Conn,
        center: &Center,
        owner: &str,
        version: i64,
    ) -> Result<Party, LedgerError> {
        let found = store::sealed(conn, center.no, owner, version).await?;
        let found = found.ok_or(LedgerError::Internal)?;
        let number = self.payers.open_number(center, owner, &found.key_id, &found.bytes);
        let Some(number) = number else {
            tracing::error!(center = %center.id, owner, version, "ALARM: the number of a bank account cannot be opened");
            return Err(LedgerError::Internal);
        };
        Ok(Party {
            holder: found.holder,
            number,
            bank_code: found.bank_code,
            bank_name: found.bank_name,
        })
    }
}

/// The account that an owner is paid to, in the caller's transaction.
pub async fn account_in_tx(conn: &mut Conn, center: &Center, owner: &Owner) -> db::Result<Option<BankAccount>> {
    let found = store::accounts(conn, center.no, &owner.to_string(), None).await?;
    Ok(found.into_iter().next())
}
