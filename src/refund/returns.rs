//! Sending back what goes back by itself: what was over the cap, what nobody released from its review in time, and what has been
//! in suspense for as long as people had to find out whose it is.
//!
//! The money is in suspense, with a row that tells when it is due. Setting it aside for the refund takes that row away in the same
//! transaction, so that it is sent once, whoever looks and whatever dies in between. From there on it is a refund like any other;
//! when the gateway cannot pay it, it is in suspense again, for people.

use time::OffsetDateTime;

use super::{Allowed, NewRefund, Refunds, entity::next_ask};
use crate::{
    ids::{RemittanceId, RequestId},
    ledger::{Center, Declined, LedgerError, Request},
    proto::{SuspendedPaymentWork, work_facts},
    remittance::{self, DueReturn, Remittances},
    work::{Item, ItemFilter, WorkKind, WorkQueue},
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

    /// Sends back up to `limit` payments of a center whose time in suspense is over, and that can go back the way they came; how
    /// many. The others stay with their work items, which are overdue. What comes back has an item with a deadline of its own.
    ///
    /// The request is made of the item and the day: several processes that look do it once, and what was refused today is tried
    /// again tomorrow.
    pub async fn return_aged(
        &self,
        remittances: &Remittances,
        center: &Center,
        limit: i64,
    ) -> Result<usize, LedgerError> {
        let now = self.lanes.clock().now();
        let queue = WorkQueue::new(self.lanes.clone());
        let mut due = ItemFilter {
            open: true,
            due_before: Some(now),
            kind: Some(WorkKind::SuspendedPayment),
            ..ItemFilter::default()
        };
        let mut sent = 0;
        // Those that cannot go back stay due; they must not keep the others from their turn.
        loop {
            let items = queue.list(center, &due, limit).await?;
            for item in &items {
                sent += usize::from(self.send_if_possible(remittances, center, item, now).await);
            }
            match items.last() {
                Some(last) if i64::try_from(sent).unwrap_or(i64::MAX) < limit => {
                    due.after = Some((last.deadline_at, last.id.to_string()));
                }
                _ => return Ok(sent),
            }
        }
    }

    /// Whether a payment was sent back.
    async fn send_if_possible(
        &self,
        remittances: &Remittances,
        center: &Center,
        item: &Item,
        now: OffsetDateTime,
    ) -> bool {
        let Some(work_facts::Facts::SuspendedPayment(facts)) = &item.facts.facts else {
            return false;
        };
        if self.channels.get(&facts.channel).is_none() {
            return false;
        }
        let sent = self.send_aged(remittances, center, item, facts, now).await;
        if let Err(error) = &sent {
            tracing::warn!(center = %center.id, item = %item.id, %error, "what is due in suspense cannot go back yet");
        }
        sent.is_ok()
    }

    async fn send_aged(
        &self,
        remittances: &Remittances,
        center: &Center,
        item: &Item,
        facts: &SuspendedPaymentWork,
        now: OffsetDateTime,
    ) -> Result<(), LedgerError> {
        let remittance = RemittanceId::parse(&facts.remittance).map_err(|_| LedgerError::Internal)?;
        let remittance = remittances.remittance(center, &remittance).await?;
        let mut payments = remittance.suspended.iter();
        let payment = payments.find(|payment| remittance::suspense::subject(payment.seq) == item.subject);
        let payment = payment.ok_or(LedgerError::Internal)?;
        let left = payment.left().map_err(Declined::from)?;
        let day = center.zone.business_date(now).to_string();
        let request = Request {
            id: RequestId::derived(&["aged", item.id.as_str(), &day]),
            method: METHOD,
            body: format!("{} {left} {}", item.id, payment.reason).into_bytes(),
            actor: "job/aged".to_owned(),
        };
        let new = NewRefund {
            suspense: Some(payment.seq),
            allowed: Allowed::ByItself,
            ..NewRefund::of(remittance.id.clone(), left, payment.reason.as_str())
        };
        self.create(center, request, new).await.map(drop)
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
