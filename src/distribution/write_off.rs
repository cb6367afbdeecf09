//! Debts that will never be repaid are written off, by two people, or three from 5,000.00; never more than is owed.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{Debt, DistributionRefusal as R, Distributions, posting, store};
use crate::{
    approval::{
        Approval, Approved, Asking, Done, Kind, NewApproval, Person, Question, Runner, VALID, relation, unreadable,
    },
    db::{self, Conn},
    ids::{DetaineeId, Seq},
    ledger::{Center, Declined, Draft, JournalTx, Lanes, LedgerError, RareCommand, Request, record},
    money::Amount,
    proto::{ApprovalFacts, EndingWork, TransactionKind, WorkFacts, WriteOffFacts, journal_record::Facts, work_facts},
    work::{self, Closing, NewItem, WorkKind},
};

/// The method that the run's request names. No caller can call it.
const METHOD: &str = "custody.v1.EndingService/RunWriteOff";

/// A debt is written off.
pub const WRITE_OFF: Kind = Kind {
    name: "debt.write_off",
    title: "write off what a detainee owes",
    title_zh: "核销在押人员欠款",
};

/// What is told of a write-off.
#[derive(Debug, Clone)]
pub struct NewWriteOff {
    /// The debt.
    pub debt: Seq,
    /// How much of it, above zero.
    pub amount: Amount,
    /// The document's number.
    pub document: String,
    /// Why.
    pub reason: String,
}

struct WriteOff {
    request: Request,
    new: NewWriteOff,
    approval: Option<ApprovalFacts>,
}

impl WriteOff {
    /// The debt, and what is still owed of it after this.
    async fn left(&self, conn: &mut Conn, center: &Center) -> Result<(Debt, Amount), Declined> {
        let debt = self.new.debt;
        let found = store::debt(conn, center, debt).await?;
        let found = found.ok_or(R::DebtNotFound { debt })?;
        relation::require_unrelated(conn, center.no, &self.request.actor, &found.detainee).await?;
        let owed = found.owed()?;
        if self.new.amount.exceeds(owed)? {
            return Err(R::MoreThanOwed { owed }.into());
        }
        Ok((found, owed.checked_sub(self.new.amount)?))
    }

    fn facts(&self, detainee: &DetaineeId, left: Amount) -> WriteOffFacts {
        let new = &self.new;
        WriteOffFacts {
            debt: new.debt.0,
            detainee: detainee.to_string(),
            amount: new.amount.to_string(),
            still_owed: left.to_string(),
            document: new.document.clone(),
            reason: new.reason.clone(),
            approval: self.approval.clone(),
        }
    }

    async fn asked(&self, conn: &mut Conn, center: &Center) -> Result<Option<NewApproval>, LedgerError> {
        let (debt, left) = self.left(conn, center).await?;
        let new = &self.new;
        Ok(Some(NewApproval {
            kind: WRITE_OFF.name,
            subject: format!("debts/{}", new.debt),
            command: record::canonical(&self.facts(&debt.detainee, left)),
            summary: format!(
                "Write off {} {} of debt {} of detainee {} under document {}; {left} is still owed then.",
                new.amount, center.currency, new.debt, debt.detainee, new.document
            ),
            amount: Some(new.amount),
            valid: VALID,
        }))
    }

    async fn write_off(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment, new) = (tx.center().clone(), tx.moment(), &self.new);
        let Some(approval) = self.approval.as_ref().map(|approval| approval.approval) else {
            return Err(R::WriteOffNotAllowed.into());
        };
        let (debt, left) = self.left(tx.conn(), &center).await?;
        store::insert_write_off(tx.conn(), center.no, moment.seq, new, approval).await?;
        if store::first_owed(tx.conn(), &center, &debt.detainee).await?.is_none() {
            let closing = Closing {
                kind: WorkKind::LeftOwing,
                subject: &owing_subject(&debt.detainee),
                at: moment.recorded_at,
                actor: &self.request.actor,
                reason: "written off",
                seq: Some(moment.seq),
            };
            work::close_in_tx(tx.conn(), center.no, &closing).await?;
        }
        tx.touch_rules();
        let facts = Facts::WriteOff(self.facts(&debt.detainee, left));
        let postings = vec![posting::written_off(new.amount)];
        Ok(Draft::new(TransactionKind::DebtWrittenOff, postings, facts).reversing(new.debt))
    }
}

fn owing_subject(detainee: &DetaineeId) -> String {
    format!("detainees/{detainee}")
}

/// Somebody has left: if they owe the center, an item says so until it is written off. The caller commits.
pub async fn raise_left_owing_in_tx(
    conn: &mut Conn,
    center: &Center,
    detainee: &DetaineeId,
    at: OffsetDateTime,
) -> db::Result<()> {
    let Some(debt) = store::first_owed(conn, center, detainee).await? else {
        return Ok(());
    };
    let known = EndingWork {
        detainee: detainee.to_string(),
        amount: String::new(),
        reason: format!("debt {debt} is not repaid"),
    };
    let facts = WorkFacts {
        facts: Some(work_facts::Facts::Ending(known)),
    };
    let item = NewItem::new(WorkKind::LeftOwing, owing_subject(detainee), facts, at);
    work::raise_in_tx(conn, center.no, &item).await
}

impl RareCommand for WriteOff {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.write_off(tx).boxed()
    }
}

impl Question for WriteOff {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        _: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        self.asked(conn, center).boxed()
    }
}

impl Distributions {
    /// Asks others to allow that a debt, or a part of it, is written off.
    ///
    /// Errors: NOT_FOUND, STAFF_RELATED, WRITE_OFF_EXCEEDS_DEBT, APPROVAL_PENDING.
    pub async fn propose_write_off(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        new: NewWriteOff,
    ) -> Result<(Approval, bool), LedgerError> {
        let asking = Asking {
            request: request.clone(),
            maker,
            reason: new.reason.clone(),
        };
        let question = WriteOff {
            request,
            new,
            approval: None,
        };
        self.approvals.ask(center, &asking, &question).await
    }

    /// What runs write-offs that others have allowed.
    pub fn write_off_runner(&self) -> Arc<dyn Runner> {
        Arc::new(WriteOffRunner(self.lanes.clone()))
    }
}

/// Runs write-offs that were allowed.
struct WriteOffRunner(Lanes);

impl WriteOffRunner {
    async fn write_off(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        let told: WriteOffFacts = record::read_canonical(&approved.command).map_err(unreadable)?;
        let command = WriteOff {
            request: approved.request(METHOD),
            new: NewWriteOff {
                debt: Seq(told.debt),
                amount: Amount::parse(&told.amount, center.currency).map_err(unreadable)?,
                document: told.document,
                reason: told.reason,
            },
            approval: Some(approved.facts),
        };
        let posted = self.0.submit_rare(center, command).await?;
        Ok(Done::Transaction(posted.seq()))
    }
}

impl Runner for WriteOffRunner {
    fn kind(&self) -> Kind {
        WRITE_OFF
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        self.write_off(center, approved).boxed()
    }
}
