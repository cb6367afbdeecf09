//! What others have to allow before money goes back or out, and what then runs.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};

use super::{Allowed, NewRefund, Refunds, create::CreateRefund, release::OpenRelease, reverse::ReverseCredit};
use crate::{
    approval::{Answered, Approved, Asking, Done, Kind, Person, Runner, unreadable},
    ids::{DetaineeId, RemittanceId, Seq},
    ledger::{Center, LedgerError, Posted, Request, record},
    money::Amount,
    proto::{CreateRefundCommand, ReleaseFacts, ReverseCreditCommand},
};

/// The method of what puts an abnormal refund back. No caller can call it.
pub const PUT_BACK_METHOD: &str = "custody.v1.RefundService/RunPutBack";

/// What others may have to allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payout {
    /// Money goes back to a payer: out of suspense, or much of it.
    Refund,
    /// A person who leaves is paid out much.
    Release,
    /// A credit is taken back into suspense.
    Reversal,
    /// A refund that the gateway cannot pay goes to a bank account.
    Redirect,
    /// A refund that the gateway cannot pay is put back to where its money came from.
    PutBack,
}

impl Payout {
    pub const fn kind(self) -> Kind {
        match self {
            Payout::Refund => Kind {
                name: "refund.create",
                title: "refund a payer",
                title_zh: "向汇款人退款",
            },
            Payout::Release => Kind {
                name: "release.open",
                title: "release a detainee and pay out the balance",
                title_zh: "出所结清",
            },
            Payout::Reversal => Kind {
                name: "credit.reverse",
                title: "take an erroneous credit back",
                title_zh: "冲正错误入账",
            },
            Payout::Redirect => Kind {
                name: "refund.redirect",
                title: "pay an abnormal refund by the bank",
                title_zh: "异常退款改退银行账户",
            },
            Payout::PutBack => Kind {
                name: "refund.put_back",
                title: "put an abnormal refund back to where its money came from",
                title_zh: "异常退款撤回",
            },
        }
    }

    /// The method that the run's request names. No caller can call it.
    pub const fn method(self) -> &'static str {
        match self {
            Payout::Refund => "custody.v1.RefundService/RunRefund",
            Payout::Release => "custody.v1.RefundService/RunRelease",
            Payout::Reversal => "custody.v1.RefundService/RunReversal",
            Payout::Redirect => "custody.v1.RefundService/RunRedirect",
            Payout::PutBack => PUT_BACK_METHOD,
        }
    }
}

impl Refunds {
    /// Sets money of a remittance aside, and asks the gateway to pay it back; of money in suspense, and of much, others are asked
    /// to allow it first. Answered as it was set aside, whatever the gateway says meanwhile.
    ///
    /// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, ALREADY_REVERSED, MAKER_IS_CHECKER, UNDER_REVIEW, REFUND_EXCEEDS_ORIGINAL,
    /// REFUND_EXCEEDS_UNSPENT, APPROVAL_PENDING.
    pub async fn request_refund(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        new: NewRefund,
    ) -> Result<Answered, LedgerError> {
        let asking = Asking {
            request: request.clone(),
            maker,
            reason: new.reason.clone(),
        };
        let question = CreateRefund {
            request: request.clone(),
            new: new.clone(),
            channels: self.channels.clone(),
        };
        let run = self.create(center, request, new);
        self.approvals.ask_or_run(center, &asking, &question, run).await
    }

    /// Blocks a detainee's orders and payments, and sets the whole balance aside; of much, others are asked to allow it first. Who
    /// has nothing is released at once.
    ///
    /// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, MONEY_IN_FLIGHT, APPROVAL_PENDING.
    pub async fn request_release(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        detainee: DetaineeId,
        destination: String,
    ) -> Result<Answered, LedgerError> {
        let command = || OpenRelease {
            request: request.clone(),
            detainee: detainee.clone(),
            destination: destination.clone(),
            allowed: None,
        };
        let asking = Asking {
            request: request.clone(),
            maker,
            reason: destination.clone(),
        };
        let run = self.lanes.submit_rare(center, command());
        self.approvals.ask_or_run(center, &asking, &command(), run).await
    }

    /// Asks others to allow that an erroneous credit is taken back into suspense, once.
    ///
    /// Errors: NOT_FOUND for what is no credit of a remittance, DETAINEE_NOT_ACTIVE, ALREADY_REVERSED, MONEY_IN_FLIGHT while a
    /// refund of it has no outcome, NOTHING_TO_REVERSE when all of it was refunded, APPROVAL_PENDING.
    pub async fn request_reversal(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        credit: Seq,
        reason: String,
    ) -> Result<Answered, LedgerError> {
        let question = ReverseCredit {
            request: request.clone(),
            credit,
            reason: reason.clone(),
            approval: None,
        };
        let asking = Asking { request, maker, reason };
        let asked = self.approvals.ask(center, &asking, &question).await?;
        self.approvals.answered(center, asked).await
    }

    /// What runs here when others have allowed it.
    pub fn runners(&self) -> [Arc<dyn Runner>; 5] {
        let kinds = [
            Payout::Refund,
            Payout::Release,
            Payout::Reversal,
            Payout::Redirect,
            Payout::PutBack,
        ];
        kinds.map(|payout| {
            let refunds = self.clone();
            Arc::new(PayoutRunner { payout, refunds }) as Arc<dyn Runner>
        })
    }
}

/// Runs what others have allowed.
struct PayoutRunner {
    payout: Payout,
    refunds: Refunds,
}

impl PayoutRunner {
    async fn refund(&self, center: &Center, request: Request, approved: Approved) -> Result<Posted, LedgerError> {
        let told: CreateRefundCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
        let new = NewRefund {
            remittance: RemittanceId::parse(&told.remittance).map_err(unreadable)?,
            suspense: (told.suspense != 0).then_some(Seq(told.suspense)),
            amount: Amount::parse(&told.amount, center.currency).map_err(unreadable)?,
            reason: told.reason,
            allowed: Allowed::By(approved.facts),
            ends_review: false,
            by_bank: told.by_bank,
            consent: Some(told.consent_document).filter(|document| !document.is_empty()),
        };
        self.refunds.create(center, request, new).await
    }

    async fn release(&self, center: &Center, request: Request, approved: Approved) -> Result<Posted, LedgerError> {
        let told: ReleaseFacts = record::read_canonical(&approved.command).map_err(unreadable)?;
        let allowed = Amount::parse(&told.amount, center.currency).map_err(unreadable)?;
        let command = OpenRelease {
            request,
            detainee: DetaineeId::parse(&told.detainee).map_err(unreadable)?,
            destination: told.destination,
            allowed: Some((allowed, approved.facts)),
        };
        self.refunds.lanes.submit_rare(center, command).await
    }

    async fn reverse(&self, center: &Center, request: Request, approved: Approved) -> Result<Posted, LedgerError> {
        let told: ReverseCreditCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
        let command = ReverseCredit {
            request,
            credit: Seq(told.credit),
            reason: told.reason,
            approval: Some(approved.facts),
        };
        self.refunds.lanes.submit_rare(center, command).await
    }

    async fn run(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        let request = approved.request(self.payout.method());
        let posted = match self.payout {
            Payout::Refund => self.refund(center, request, approved).await?,
            Payout::Release => self.release(center, request, approved).await?,
            Payout::Reversal => self.reverse(center, request, approved).await?,
            Payout::Redirect => return self.refunds.redirect(center, &approved).await,
            Payout::PutBack => self.refunds.put_back(center, approved).await?,
        };
        Ok(Done::Transaction(posted.seq()))
    }
}

impl Runner for PayoutRunner {
    fn kind(&self) -> Kind {
        self.payout.kind()
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        PayoutRunner::run(self, center, approved).boxed()
    }
}
