//! Payments that a file of the bank's says failed: owed again as soon as others have allowed it.
//!
//! Whoever uploads a file could have written it. Taken at its word, one person could make payable again what the bank has paid.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{PaymentRefusal as R, Payments, entity::Told, store};
use crate::{
    approval::{
        Approval, ApprovalFilter, ApprovalState, Approved, Asking, Done, Kind, NewApproval, Person, Question, Runner,
        VALID, unreadable,
    },
    bank::PaymentStatus,
    db::Conn,
    ids::RequestId,
    ledger::{Center, LedgerError, Request, center, record},
    money::Amount,
    proto::{FailPaymentsCommand, FailedPayment, PaymentRejectedWork, WorkFacts, work_facts::Facts},
    settlement::End,
    work::{self, Closing, NewItem, WorkKind},
};

/// Payments are taken back.
pub const FAILURE: Kind = Kind {
    name: "payment.fail",
    title: "owe again what a file of the bank's says was not paid",
    title_zh: "确认银行退回的付款",
};

/// The method that asking names. No caller can call it.
const METHOD: &str = "custody.v1.PaymentService/FailPayments";

/// A file of the bank's that was kept.
#[derive(Debug, Clone)]
pub(super) struct Message {
    /// Its number.
    pub no: i64,
    /// SHA-256 of its bytes.
    pub sha256: Vec<u8>,
}

impl Message {
    /// What approvals and work items are about.
    fn subject(&self) -> String {
        subject(self.no)
    }
}

fn subject(message: i64) -> String {
    format!("bankMessages/{message}")
}

/// Are these payments owed again?
struct Failure {
    message: i64,
    count: usize,
    total: Amount,
    command: Vec<u8>,
}

impl Question for Failure {
    fn check<'a>(
        &'a self,
        _: &'a mut Conn,
        center: &'a Center,
        _: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        async move {
            Ok(Some(NewApproval {
                kind: FAILURE.name,
                subject: subject(self.message),
                command: self.command.clone(),
                summary: format!(
                    "Owe {} payments of together {} {} again, which file {} of the bank's says were not paid.",
                    self.count, self.total, center.currency, self.message
                ),
                amount: Some(self.total),
                valid: VALID,
            }))
        }
        .boxed()
    }
}

/// The item that waits until somebody has looked at what failed.
pub(super) fn item(message: i64, failed: &[&Told], total: Amount, at: OffsetDateTime) -> NewItem {
    let facts = PaymentRejectedWork {
        bank_message: message,
        count: i32::try_from(failed.len()).unwrap_or(i32::MAX),
        total: total.to_string(),
    };
    let facts = WorkFacts {
        facts: Some(Facts::PaymentRejected(facts)),
    };
    NewItem::new(WorkKind::PaymentRejected, subject(message), facts, at)
}

impl Payments {
    /// Asks others to allow that payments are owed again; the approval. Whoever brings the same file finds the same approval, until
    /// others have refused it or left it alone.
    pub(super) async fn ask_to_fail(
        &self,
        center: &Center,
        message: &Message,
        failed: &[&Told],
        maker: &Person,
    ) -> Result<i64, LedgerError> {
        let command = FailPaymentsCommand {
            bank_message: message.no,
            sha256: hex::encode(&message.sha256),
            payments: failed.iter().map(|told| failed_payment(told)).collect(),
        };
        let sums = Amount::sum(failed.iter().map(|told| told.payment.amount), center.currency);
        let question = Failure {
            message: message.no,
            count: failed.len(),
            total: sums.map_err(unreadable)?,
            command: record::canonical(&command),
        };
        let last = self.last_about(center, message).await?;
        if let Some(last) = last.as_ref().filter(|last| self.stands(last)) {
            return Ok(last.no);
        }
        let after = last.map_or(0, |last| last.no).to_string();
        let parts = ["bank-failure", center.id.as_str(), &message.no.to_string(), &after];
        let asking = Asking {
            request: Request {
                id: RequestId::derived(&parts),
                method: METHOD,
                body: question.command.clone(),
                actor: maker.actor.clone(),
            },
            maker: maker.clone(),
            reason: format!("file {} of the bank's", message.no),
        };
        match self.approvals.ask(center, &asking, &question).await {
            Ok((approval, _)) => Ok(approval.no),
            // Another brought the same file at the same time.
            Err(error) => match self.last_about(center, message).await? {
                Some(last) if self.stands(&last) => Ok(last.no),
                _ => Err(error),
            },
        }
    }

    async fn last_about(&self, center: &Center, message: &Message) -> Result<Option<Approval>, LedgerError> {
        let filter = ApprovalFilter {
            subject: Some(message.subject()),
            ..ApprovalFilter::default()
        };
        let found = self.approvals.list(center, &filter, 1).await?;
        Ok(found.into_iter().next())
    }

    /// Whether nobody has to be asked again.
    fn stands(&self, approval: &Approval) -> bool {
        let state = approval.state(self.lanes.clock().now());
        !matches!(
            state,
            ApprovalState::Refused | ApprovalState::Expired | ApprovalState::Failed
        )
    }
}

fn failed_payment(told: &Told) -> FailedPayment {
    FailedPayment {
        payment_file: told.payment.file,
        end_to_end_id: told.payment.end_to_end_id.clone(),
        amount: told.payment.amount.to_string(),
        reason: told.reason.clone(),
    }
}

/// Makes payments owed again that others have allowed.
pub(super) struct FailureRunner(pub Payments);

impl FailureRunner {
    async fn fail(&self, center: &Center, approved: &Approved) -> Result<Done, LedgerError> {
        let told: FailPaymentsCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
        let (payments, database) = (&self.0, self.0.lanes.database());
        for failed in &told.payments {
            let mut conn = database.read.acquire().await?;
            let sent = store::payment(&mut conn, center, &failed.end_to_end_id).await?;
            drop(conn);
            let what = failed.end_to_end_id.clone();
            let payment = sent.ok_or(R::Foreign { what })?;
            // What ended so before stands; what was paid meanwhile is a contradiction, which raises its own item.
            let told = Told {
                payment,
                status: PaymentStatus::Rejected,
                reference: String::new(),
                reason: failed.reason.clone(),
            };
            let allowed = Some(approved.facts.clone());
            payments.end(center, &told, End::Failed, allowed).await?;
        }
        let mut tx = database.lane.begin().await?;
        let head = center::head(&mut tx, center.no, true).await?;
        let closing = Closing {
            kind: WorkKind::PaymentRejected,
            subject: &subject(told.bank_message),
            at: payments.lanes.clock().now().max(head.recorded_at),
            actor: &approved.actor,
            reason: "owed again",
            seq: None,
        };
        work::close_in_tx(&mut tx, center.no, &closing).await?;
        tx.commit().await?;
        Ok(Done::NoTransaction)
    }
}

impl Runner for FailureRunner {
    fn kind(&self) -> Kind {
        FAILURE
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        async move { self.fail(center, &approved).await }.boxed()
    }
}
