//! What is agreed with vendors: what the center keeps of their sales, when they are paid, and to which bank account.
//!
//! # Layout
//! - `entity`: terms, accounts and when an account is paid to, pure. `ask`: what two people decide.
//!
//! # Invariants
//! 1. Terms and accounts are only ever inserted; the latest terms hold.
//! 2. An account is allowed by another than who asked for it. The first is paid to at once, every other after 24 hours.
//! 3. A number leaves this module masked, in a person's eyes or in a payment file: `Debug` shows its last four characters.

mod ask;
mod entity;
mod error;
mod store;
mod verify;

use std::sync::Arc;

use time::OffsetDateTime;

pub use ask::ACCOUNT;
use ask::{AccountQuestion, AccountRunner};
pub use entity::{Account, AskedAccount, CHANGE_WAITS, CYCLE_DAYS_MAX, Terms, VendorAccount};
pub use error::ContractRefusal;
pub use verify::ContractsCheck;

use crate::{
    approval::{Approval, ApprovalFilter, Approvals, Asking, Person, Runner},
    commissary,
    db::{self, Conn},
    ids::{RequestId, VendorId},
    ledger::{Center, Lanes, LedgerError, Request, center},
};

/// The verbs of this domain.
#[derive(Clone)]
pub struct Contracts {
    lanes: Lanes,
    approvals: Approvals,
}

/// What is agreed with a vendor now.
#[derive(Debug, Clone)]
pub struct Contract {
    /// Whom with.
    pub vendor: VendorId,
    /// Commission and cycle.
    pub terms: Terms,
    /// Where it is paid to.
    pub account: Option<VendorAccount>,
    /// An account that is allowed and waits.
    pub next: Option<VendorAccount>,
    /// Accounts that nobody has decided on.
    pub asked: Vec<AskedAccount>,
}

/// What is agreed anew.
#[derive(Debug, Clone)]
pub struct NewTerms {
    /// What the center keeps of net sales.
    pub commission_percent: rust_decimal::Decimal,
    /// How many days after a business date it can be settled.
    pub cycle_days: i16,
    /// The version that was read, if told.
    pub version: Option<i64>,
}

impl Contracts {
    /// The domain over its journals.
    pub fn new(lanes: Lanes) -> Contracts {
        Contracts {
            approvals: Approvals::new(lanes.clone()),
            lanes,
        }
    }

    /// What runs here when two people have allowed it.
    pub fn runner(&self) -> Arc<dyn Runner> {
        Arc::new(AccountRunner(self.lanes.clone()))
    }

    /// A vendor's contract as it holds now.
    ///
    /// Errors: NOT_FOUND.
    pub async fn get(&self, center: &Center, vendor: &VendorId) -> Result<Contract, LedgerError> {
        let now = self.lanes.clock().now();
        let filter = ApprovalFilter {
            open: true,
            subject: Some(subject(vendor)),
            before: None,
        };
        // Before a connection is taken: whoever holds one and waits for another stops everybody.
        let open = self.approvals.list(center, &filter, 1).await?;
        let mut conn = self.lanes.database().read.acquire().await?;
        require_vendor(&mut conn, center, vendor).await?;
        let accounts = store::accounts(&mut conn, center.no, vendor, None, ACCOUNTS_WAITING_MAX).await?;
        let mut asked = Vec::new();
        for approval in open {
            if let Some(account) = store::asked(&mut conn, center.no, approval.request_id).await? {
                asked.push(AskedAccount {
                    account: account.account,
                    approval: approval.no,
                });
            }
        }
        Ok(Contract {
            vendor: vendor.clone(),
            terms: store::terms_in_force(&mut conn, center.no, vendor).await?,
            next: accounts.first().filter(|account| !account.is_paid_to(now)).cloned(),
            account: accounts.into_iter().find(|account| account.is_paid_to(now)),
            asked,
        })
    }

    /// Agrees on other terms. The same as hold already change nothing.
    ///
    /// Errors: NOT_FOUND, STALE_ETAG.
    pub async fn update_terms(
        &self,
        center: &Center,
        vendor: &VendorId,
        new: NewTerms,
        by: &str,
    ) -> Result<(), LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        require_vendor(&mut tx, center, vendor).await?;
        let old = store::terms_in_force(&mut tx, center.no, vendor).await?;
        if old.version > 0 && old.is_same(new.commission_percent, new.cycle_days) {
            return Ok(());
        }
        if new.version.is_some_and(|read| read != old.version) {
            return Err(ContractRefusal::Stale { version: old.version }.into());
        }
        let terms = Terms {
            version: old.version.saturating_add(1),
            commission_percent: new.commission_percent,
            cycle_days: new.cycle_days,
            changed: Some((self.lanes.clock().now().max(head.recorded_at), by.to_owned())),
        };
        store::insert_terms(&mut tx, center.no, vendor, &terms).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Asks others to allow a bank account. The same request again is answered with the approval as it stands.
    ///
    /// Errors: NOT_FOUND, ALREADY_EXISTS when it is the latest already, APPROVAL_PENDING.
    pub async fn ask_for_account(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        vendor: VendorId,
        account: Account,
        reason: String,
    ) -> Result<(Approval, bool), LedgerError> {
        let question = AccountQuestion {
            request: request.id,
            vendor,
            account,
        };
        let asking = Asking { request, maker, reason };
        self.approvals.ask(center, &asking, &question).await
    }

    /// Up to `limit` terms before a version, newest first.
    pub async fn list_terms(
        &self,
        center: &Center,
        vendor: &VendorId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Terms>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        require_vendor(&mut conn, center, vendor).await?;
        Ok(store::terms(&mut conn, center.no, vendor, before, limit).await?)
    }

    /// Up to `limit` accounts that were allowed, before a version, newest first.
    pub async fn list_accounts(
        &self,
        center: &Center,
        vendor: &VendorId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<VendorAccount>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        require_vendor(&mut conn, center, vendor).await?;
        Ok(store::accounts(&mut conn, center.no, vendor, before, limit).await?)
    }
}

/// The terms that hold with a vendor.
pub async fn terms_in_tx(conn: &mut Conn, center: &Center, vendor: &VendorId) -> db::Result<Terms> {
    store::terms_in_force(conn, center.no, vendor).await
}

/// The account that a vendor is paid to at an instant.
pub async fn account_in_tx(
    conn: &mut Conn,
    center: &Center,
    vendor: &VendorId,
    at: OffsetDateTime,
) -> db::Result<Option<VendorAccount>> {
    let latest = store::accounts(conn, center.no, vendor, None, ACCOUNTS_WAITING_MAX).await?;
    Ok(latest.into_iter().find(|account| account.is_paid_to(at)))
}

/// The most accounts of one vendor that can wait at once: somebody may change it again every hour of the day it waits, and more.
const ACCOUNTS_WAITING_MAX: i64 = 1000;

/// What approvals are about.
fn subject(vendor: &VendorId) -> String {
    format!("vendors/{vendor}")
}

async fn require_vendor(conn: &mut Conn, center: &Center, vendor: &VendorId) -> Result<(), LedgerError> {
    let found = commissary::vendor_in_tx(conn, center, vendor).await?;
    match found {
        Some(_) => Ok(()),
        None => Err(ContractRefusal::VendorNotFound { vendor: vendor.clone() }.into()),
    }
}

/// The request that a stored account was asked for by.
fn request_of(text: &str) -> Result<RequestId, LedgerError> {
    RequestId::parse(text).map_err(|error| {
        tracing::error!(%error, "what was allowed names no request");
        LedgerError::Internal
    })
}
