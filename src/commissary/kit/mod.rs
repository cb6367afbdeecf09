//! Kits: goods granted to detainees who have nothing.
//!
//! A kit is a grant, never a debt, and never money: the center owes the vendors for the goods, and the detainee's accounts do not
//! move. Credited to the detainee instead, it could be taken by courts and debts, spent on something else, refunded to a payer or
//! paid out at release, each of which would need a rule of its own.
//!
//! # Invariants
//! 1. Whoever gets a kit has less than the center's sum in all, has had less for the center's number of days, and was credited
//!    nothing in that time ([`entity`]).
//! 2. As many days lie between two kits of one detainee, unless the first was taken back.
//! 3. A kit is taken back once, whole, by a transaction that undoes the grant's.

mod cancel;
mod entity;
mod error;
mod grant;
mod store;
mod verify;

use cancel::CancelKit;
pub use entity::{Kit, KitGrant, KitLine};
pub use error::KitRefusal;
use grant::GrantKit;
use time::Duration;
pub(super) use verify::KitCheck;

use super::{Commissary, CommissaryRefusal as R, store as shelf};
use crate::{
    ids::{DetaineeId, Seq},
    ledger::{Center, LedgerError, Posted, Request, center, transaction},
    proto::{TransactionKind, journal_record::Facts},
};

impl Commissary {
    /// What a kit is; nothing of version 0 as long as nobody has said.
    pub async fn kit(&self, center: &Center) -> Result<Kit, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::kit(&mut conn, center.no).await?.unwrap_or_default())
    }

    /// Says what a kit is from now on. The same again changes nothing.
    ///
    /// Errors: NOT_FOUND for a product, STALE_ETAG when it is not of the version that was read.
    pub async fn update_kit(
        &self,
        center: &Center,
        (lines, version): (Vec<KitLine>, Option<i64>),
        reason: &str,
        by: &str,
    ) -> Result<Kit, LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        let known = store::kit(&mut tx, center.no).await?.unwrap_or_default();
        if version.is_some_and(|read| read != known.version) {
            return Err(R::Stale { version: known.version }.into());
        }
        if known.lines == lines {
            return Ok(known);
        }
        let ids: Vec<_> = lines.iter().map(|line| line.product.clone()).collect();
        let offers = shelf::offers(&mut tx, center, &ids).await?;
        if let Some(product) = ids.into_iter().find(|id| !offers.contains_key(id.as_str())) {
            return Err(R::ProductNotFound { product }.into());
        }
        let now = self.lanes.clock().now().max(head.recorded_at + Duration::MICROSECOND);
        let kit = Kit {
            version: known.version + 1,
            lines,
            changed: Some((now, by.to_owned(), reason.to_owned())),
        };
        store::insert_kit(&mut tx, center.no, &kit).await?;
        tx.commit().await?;
        Ok(kit)
    }

    /// Grants a kit. Answered once it is committed.
    ///
    /// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, NO_KIT, KIT_GRANTED, NOT_INDIGENT, PRODUCT_NOT_AVAILABLE, PRODUCT_RESTRICTED,
    /// OUT_OF_STOCK.
    pub async fn grant_kit(
        &self,
        center: &Center,
        request: Request,
        detainee: DetaineeId,
    ) -> Result<Posted, LedgerError> {
        self.lanes.submit_rare(center, GrantKit { request, detainee }).await
    }

    /// Takes a kit back. Answered once it is committed.
    ///
    /// Errors: NOT_FOUND, KIT_CANCELLED.
    pub async fn cancel_kit_grant(
        &self,
        center: &Center,
        request: Request,
        grant: Seq,
        reason: String,
    ) -> Result<Posted, LedgerError> {
        let command = CancelKit { request, grant, reason };
        self.lanes.submit_rare(center, command).await
    }

    /// A grant.
    ///
    /// Errors: NOT_FOUND.
    pub async fn kit_grant(&self, center: &Center, seq: Seq) -> Result<KitGrant, LedgerError> {
        let found = transaction::get(&*self.lanes.database().read, center.no, seq).await?;
        let found = found.filter(|found| found.record.kind() == TransactionKind::KitGranted);
        let found = found.ok_or(KitRefusal::GrantNotFound { grant: seq })?;
        let mut conn = self.lanes.database().read.acquire().await?;
        let cancelled = store::cancelled(&mut conn, center.no, &[seq]).await?;
        Ok(KitGrant {
            record: found.record,
            cancelled: cancelled.get(&seq).copied(),
        })
    }

    /// Up to `limit` grants before a number, latest first; of one detainee or of all.
    ///
    /// Errors: NOT_FOUND.
    pub async fn kit_grants(
        &self,
        center: &Center,
        detainee: Option<&DetaineeId>,
        before: Option<Seq>,
        limit: i64,
    ) -> Result<Vec<KitGrant>, LedgerError> {
        if let Some(id) = detainee {
            self.custody.detainee(center, id).await?;
        }
        let mut conn = self.lanes.database().read.acquire().await?;
        let seqs = store::grants(&mut conn, center.no, detainee, before, limit).await?;
        let cancelled = store::cancelled(&mut conn, center.no, &seqs).await?;
        let mut found = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let granted = transaction::get(&mut *conn, center.no, seq).await?;
            found.extend(granted.map(|granted| KitGrant {
                record: granted.record,
                cancelled: cancelled.get(&seq).copied(),
            }));
        }
        Ok(found)
    }
}

/// The facts of a grant.
fn facts_of(facts: Option<Facts>) -> Option<crate::proto::KitGrantFacts> {
    match facts {
        Some(Facts::KitGrant(facts)) => Some(facts),
        _ => None,
    }
}
