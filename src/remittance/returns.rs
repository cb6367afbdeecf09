//! What goes back by itself, and what two people release.

use time::{Duration, OffsetDateTime};

pub use super::suspense::DueReturn;
use super::{Remittances, error::RemittanceRefusal as R, store, suspense, suspense::CreditSuspended};
use crate::{
    ids::{RemittanceId, Seq},
    ledger::{Center, LedgerError, Posted, Request},
    proto::ApprovalFacts,
};

/// How long a claimed return is left alone by other processes.
const LEASE: Duration = Duration::minutes(2);

impl Remittances {
    /// Takes up to `limit` payments in suspense that are due to go back. Other processes leave them alone for a while; whoever
    /// dies with one leaves it to them.
    pub async fn claim_returns(&self, center: &Center, limit: i64) -> Result<Vec<DueReturn>, LedgerError> {
        let now = self.lanes.clock().now();
        let mut conn = self.lanes.database().lane.acquire().await?;
        Ok(suspense::claim_returns(&mut conn, center.no, now, now + LEASE, limit).await?)
    }

    /// Takes up to `limit` payments in suspense that are to follow somebody who moved, as [`Remittances::claim_returns`] does.
    pub async fn claim_late(&self, center: &Center, limit: i64) -> Result<Vec<DueReturn>, LedgerError> {
        let now = self.lanes.clock().now();
        let mut conn = self.lanes.database().lane.acquire().await?;
        Ok(suspense::claim_late(&mut conn, center.no, now, now + LEASE, limit).await?)
    }

    /// When money that could not follow is sent after the detainee next.
    pub async fn late_again(&self, center: &Center, payment: Seq, at: OffsetDateTime) -> Result<(), LedgerError> {
        let mut conn = self.lanes.database().lane.acquire().await?;
        Ok(suspense::late_again(&mut conn, center.no, payment, at).await?)
    }

    /// When a return that did not come about is tried next.
    pub async fn return_again(&self, center: &Center, payment: Seq, at: OffsetDateTime) -> Result<(), LedgerError> {
        let mut conn = self.lanes.database().lane.acquire().await?;
        Ok(suspense::return_again(&mut conn, center.no, payment, at).await?)
    }

    /// Credits a payment that is held for review: two people have released it.
    ///
    /// Errors: NOT_FOUND, NOT_UNDER_REVIEW, DETAINEE_NOT_ACTIVE, BALANCE_CAP_EXCEEDED.
    pub async fn release(
        &self,
        center: &Center,
        request: Request,
        id: &RemittanceId,
        release: ApprovalFacts,
    ) -> Result<Posted, LedgerError> {
        let mut conn = self.lanes.database().lane.acquire().await?;
        let found = store::remittance(&mut conn, center, id).await?;
        drop(conn);
        let remittance = found.ok_or_else(|| R::RemittanceNotFound { remittance: id.clone() })?;
        let payment = remittance
            .own_suspended()
            .ok_or_else(|| R::NotUnderReview { remittance: id.clone() })?;
        let command = CreditSuspended::released(&remittance, payment, request, release).map_err(|error| {
            tracing::error!(%error, "money in suspense cannot be counted");
            LedgerError::Internal
        })?;
        self.lanes.submit(center, command).await
    }
}
