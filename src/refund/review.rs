//! Two people end the review that a payment is held for: they release it to the detainee, or reject it, and it goes back.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{Allowed, NewRefund, Refunds};
use crate::{
    approval::{Approval, Approvals, Approved, Asking, Done, Kind, NewApproval, Person, Question, Runner},
    db::Conn,
    ids::RemittanceId,
    ledger::{Center, LedgerError, Request},
    remittance::{self, RemittanceRefusal, Remittances},
};

/// Which way a review is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Review {
    /// The detainee has the money.
    Release,
    /// The payer has it back.
    Reject,
}

impl Review {
    /// What approvals call it.
    pub const fn kind(self) -> Kind {
        match self {
            Review::Release => Kind {
                name: "remittance.release",
                title: "release a remittance from review",
                title_zh: "放行待审汇款",
            },
            Review::Reject => Kind {
                name: "remittance.reject",
                title: "reject a remittance under review",
                title_zh: "拒绝待审汇款",
            },
        }
    }

    /// The method that the run's request names. No caller can call it.
    const fn method(self) -> &'static str {
        match self {
            Review::Release => "custody.v1.RemittanceService/RunRelease",
            Review::Reject => "custody.v1.RemittanceService/RunRejection",
        }
    }
}

/// Somebody asks others to allow the end of a review.
struct EndReview {
    review: Review,
    remittance: RemittanceId,
}

impl EndReview {
    async fn asked(
        &self,
        conn: &mut Conn,
        center: &Center,
        now: OffsetDateTime,
    ) -> Result<Option<NewApproval>, LedgerError> {
        let id = &self.remittance;
        let found = remittance::remittance_in_tx(conn, center, id).await?;
        let remittance = found.ok_or_else(|| RemittanceRefusal::RemittanceNotFound { remittance: id.clone() })?;
        let deadline = remittance.under_review().and_then(|leg| leg.deadline);
        // Past it, it goes back by itself.
        let deadline = deadline.filter(|deadline| *deadline > now);
        let deadline = deadline.ok_or_else(|| RemittanceRefusal::NotUnderReview { remittance: id.clone() })?;
        let verb = match self.review {
            Review::Release => "release",
            Review::Reject => "reject",
        };
        let amount = remittance.amount;
        Ok(Some(NewApproval {
            kind: self.review.kind().name,
            subject: format!("remittances/{id}"),
            command: id.as_str().as_bytes().to_vec(),
            summary: format!(
                "{verb} remittance {id} of {amount} by {} for {}",
                remittance.payer, remittance.detainee
            ),
            amount: Some(amount),
            valid: deadline - now,
        }))
    }
}

impl Question for EndReview {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        self.asked(conn, center, now).boxed()
    }
}

/// Asks for the end of a review. The same request again is answered with the approval as it stands; the second value tells that.
///
/// Errors: NOT_FOUND, NOT_UNDER_REVIEW, APPROVAL_PENDING.
pub async fn ask(
    approvals: &Approvals,
    center: &Center,
    (request, maker): (Request, Person),
    review: Review,
    remittance: RemittanceId,
    reason: String,
) -> Result<(Approval, bool), LedgerError> {
    let asking = Asking { request, maker, reason };
    approvals.ask(center, &asking, &EndReview { review, remittance }).await
}

/// Runs what two people have decided of a review.
pub struct ReviewRunner {
    review: Review,
    remittances: Remittances,
    refunds: Refunds,
}

impl ReviewRunner {
    /// The runner of one of the two ends.
    pub fn new(review: Review, remittances: Remittances, refunds: Refunds) -> ReviewRunner {
        ReviewRunner {
            review,
            remittances,
            refunds,
        }
    }

    async fn end(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        let request = approved.request(self.review.method());
        let id = std::str::from_utf8(&approved.command).map(RemittanceId::parse);
        let Ok(Ok(id)) = id else {
            tracing::error!(center = %center.id, approval = approved.facts.approval, "an approval names no remittance");
            return Err(LedgerError::Internal);
        };
        let posted = match self.review {
            Review::Release => self.remittances.release(center, request, &id, approved.facts).await?,
            Review::Reject => {
                let remittance = self.remittances.remittance(center, &id).await?;
                let held = remittance.leg(remittance::LegState::Held).and_then(|leg| leg.seq);
                let held = held.ok_or_else(|| RemittanceRefusal::NotUnderReview { remittance: id.clone() })?;
                let reason = approved.facts.reason.clone();
                let new = NewRefund {
                    suspense: Some(held),
                    allowed: Allowed::By(approved.facts),
                    ends_review: true,
                    ..NewRefund::of(id, remittance.amount, reason)
                };
                self.refunds.create(center, request, new).await?
            }
        };
        Ok(Done::Transaction(posted.seq()))
    }
}

impl Runner for ReviewRunner {
    fn kind(&self) -> Kind {
        self.review.kind()
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        self.end(center, approved).boxed()
    }
}
