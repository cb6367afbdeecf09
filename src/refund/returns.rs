//! Sending back what goes back by itself: what was over the cap, and what nobody released from its review in time.
//!
//! The money is in suspense, with a row that tells when it is due. Setting it aside for the refund takes that row away in the same
//! transaction, so that it is sent once, whoever looks and whatever dies in between. From there on it is a refund like any other;
//! when the gateway cannot pay it, it is in suspense again, for people.

use super::{Allowed, NewRefund, Refunds, entity::next_ask};
use crate::{
    ids::RequestId,
    ledger::{Center, LedgerError, Request},
    remittance::{DueReturn, Remittances},
};

/// The method that such a refund's request names. No caller can call it.
pub const METHOD: &str = "custody.v1.RefundService/ReturnPayment";
/// Why a payment goes back that was held for review.
pub const REVIEW_TIMED_OUT: &str = "REVIEW_TIMED_OUT";

impl Refunds {
    /// Sends back up to `limit` payments of a center that are due; how many. One that fails is tried again later.
    pub async fn return_due(
        &self,
        remittances: &Remittances,
        center: &Center,
        limit: i64,
    ) -> Result<usize, LedgerError> {
        let due = remittances.claim_returns(center, limit).await?;
        for each in &due {
            if let Err(error) = self.send_back(remittances, center, each).await {
                let payment = each.payment;
                tracing::warn!(center = %center.id, %payment, %error, "a payment cannot go back yet");
                let next = next_ask(each.attempts, self.lanes.clock().now());
                remittances.return_again(center, payment, next).await?;
            }
        }
        Ok(due.len())
    }

    async fn send_back(&self, remittances: &Remittances, center: &Center, due: &DueReturn) -> Result<(), LedgerError> {
        let remittance = remittances.remittance(center, &due.remittance).await?;
        let payment = remittance.suspended.iter().find(|payment| payment.seq == due.payment);
        let payment = payment.ok_or(LedgerError::Internal)?;
        let left = payment.left().map_err(|error| {
            tracing::error!(%error, "money in suspense cannot be counted");
            LedgerError::Internal
        })?;
        let is_held = remittance
            .under_review()
            .is_some_and(|held| held.seq == Some(payment.seq));
        let reason = if is_held {
            REVIEW_TIMED_OUT
        } else {
            payment.reason.as_str()
        };
        let [seq, attempt] = [payment.seq.0, due.attempts.into()].map(|number| number.to_string());
        let request = Request {
            // Of each attempt: a refusal does not stand in the way of the next.
            id: RequestId::derived(&["return", &seq, &attempt]),
            method: METHOD,
            body: format!("{seq} {attempt} {left} {reason}").into_bytes(),
            actor: "job/returns".to_owned(),
        };
        let new = NewRefund {
            suspense: Some(payment.seq),
            allowed: Allowed::ByItself,
            ends_review: is_held,
            ..NewRefund::of(remittance.id.clone(), left, reason)
        };
        self.create(center, request, new).await.map(drop)
    }
}
