//! Refunds that the gateway cannot pay to where the money came from: the payer's account is closed, say.
//!
//! The gateway keeps the money until somebody says where it goes. That is a work item; several people redirect it: the gateway pays
//! it to the center's own bank account, and the center to the verified one of the payer's, by a payment file. It stays in transit,
//! and the payer is owed it, until the bank has paid. Or several people put it back to where it came from.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{
    RefundRefusal as R, Refunds,
    ask::Payout,
    bank,
    end::{EndRefund, EndedBy, Outcome},
    entity::{RefundRow, RefundState},
    store,
};
use crate::{
    approval::{Approval, Approved, Asking, Done, NewApproval, Person, Question, VALID, unreadable},
    beneficiary::{BankAccount, Owner},
    db::Conn,
    gateway::{self, GatewayError, RefundRedirect},
    ids::Seq,
    ledger::{Center, LedgerError, Posted, Request, center, record},
    proto::{
        AbnormalRefundWork, OutcomeFacts, PutRefundBackCommand, RedirectRefundCommand, RefundFacts, WorkFacts,
        work_facts,
    },
    remittance,
    work::{self, NewItem, WorkKind},
};

/// What the work item of a refund is about.
pub(super) fn subject(refund: Seq) -> String {
    format!("refunds/{refund}")
}

/// May a refund go to a bank account?
struct Redirect {
    refund: Seq,
}

impl Redirect {
    async fn asked(&self, conn: &mut Conn, center: &Center) -> Result<NewApproval, LedgerError> {
        let row = store::refund(&mut *conn, center, self.refund).await?;
        let row = row.ok_or(R::RefundNotFound { refund: self.refund })?;
        require_abnormal(conn, center, &row).await?;
        let (owner, account) = account_of(conn, center, &row).await?;
        let destination = format!("{} {} {}", account.bank_name, account.masked, account.holder);
        let command = RedirectRefundCommand {
            refund: self.refund.0,
            destination: destination.clone(),
            owner: owner.to_string(),
            account_version: account.version,
        };
        Ok(NewApproval {
            kind: Payout::Redirect.kind().name,
            subject: subject(self.refund),
            command: record::canonical(&command),
            summary: format!(
                "Pay refund {} of {} {}, of remittance {}, to {} by the bank.",
                self.refund, row.amount, center.currency, row.remittance, destination
            ),
            amount: Some(row.amount),
            valid: VALID,
        })
    }
}

/// The verified account of whoever paid the remittance.
async fn account_of(conn: &mut Conn, center: &Center, row: &RefundRow) -> Result<(Owner, BankAccount), LedgerError> {
    let remittance = remittance::remittance_in_tx(conn, center, &row.remittance).await?;
    let remittance = remittance.ok_or(LedgerError::Internal)?;
    Ok(bank::require_account(conn, center, &remittance.payer).await?)
}

/// Is the money of a refund put back?
struct PutBack {
    refund: Seq,
}

impl PutBack {
    async fn asked(&self, conn: &mut Conn, center: &Center) -> Result<NewApproval, LedgerError> {
        let row = store::refund(&mut *conn, center, self.refund).await?;
        let row = row.ok_or(R::RefundNotFound { refund: self.refund })?;
        require_abnormal(conn, center, &row).await?;
        let place = if row.from_suspense {
            "into suspense".to_owned()
        } else {
            format!("to detainee {}", row.detainee)
        };
        Ok(NewApproval {
            kind: Payout::PutBack.kind().name,
            subject: subject(self.refund),
            command: record::canonical(&PutRefundBackCommand { refund: self.refund.0 }),
            summary: format!(
                "Put {} {} of refund {}, which the gateway cannot pay, back {place}.",
                row.amount, center.currency, self.refund
            ),
            amount: Some(row.amount),
            valid: VALID,
        })
    }
}

impl Question for PutBack {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        _: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        async move { self.asked(conn, center).await.map(Some) }.boxed()
    }
}

/// Refuses what the gateway does not wait for, and what was redirected before.
async fn require_abnormal(conn: &mut Conn, center: &Center, row: &RefundRow) -> Result<(), LedgerError> {
    if row.state.is_end() {
        return Err(R::NotInTransit {
            state: row.state.name(),
        }
        .into());
    }
    let open = work::open_subjects(conn, center.no, WorkKind::AbnormalRefund).await?;
    let redirected = store::redirect(conn, center.no, row.seq).await?;
    if redirected.is_some() || !open.contains(&subject(row.seq)) {
        return Err(R::NotAbnormal { refund: row.seq }.into());
    }
    Ok(())
}

impl Question for Redirect {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        _: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        async move { self.asked(conn, center).await.map(Some) }.boxed()
    }
}

impl Refunds {
    /// Asks others to allow that an abnormal refund is paid to the payer's verified bank account. The second value tells that it is
    /// a repetition.
    ///
    /// Errors: NOT_FOUND, NOT_IN_TRANSIT, REFUND_NOT_ABNORMAL, NO_BANK_ACCOUNT, APPROVAL_PENDING.
    pub async fn request_redirect(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        refund: Seq,
        reason: String,
    ) -> Result<(Approval, bool), LedgerError> {
        let asking = Asking { request, maker, reason };
        self.approvals.ask(center, &asking, &Redirect { refund }).await
    }

    /// Asks others to allow that the money of an abnormal refund goes back to where it came from. The second value tells that it is a
    /// repetition.
    ///
    /// Errors: NOT_FOUND, NOT_IN_TRANSIT, REFUND_NOT_ABNORMAL, APPROVAL_PENDING.
    pub async fn request_put_back(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        refund: Seq,
        reason: String,
    ) -> Result<(Approval, bool), LedgerError> {
        let asking = Asking { request, maker, reason };
        self.approvals.ask(center, &asking, &PutBack { refund }).await
    }

    /// Ends an abnormal refund as failed, on the word of several people.
    pub(super) async fn put_back(&self, center: &Center, approved: Approved) -> Result<Posted, LedgerError> {
        let told: PutRefundBackCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
        let refund = Seq(told.refund);
        let command = EndRefund {
            request: approved.request(Payout::PutBack.method()),
            refund,
            outcome: Outcome {
                end: RefundState::Failed,
                by: EndedBy::People,
                facts: OutcomeFacts {
                    reference: String::new(),
                    reason: approved.facts.reason.clone(),
                    approval: Some(approved.facts),
                },
            },
        };
        self.lanes.submit_rare(center, command).await
    }

    /// Writes down where the money goes, and tells the gateway. What the gateway did not hear it is told again when it is asked
    /// what became of the refund.
    pub(super) async fn redirect(&self, center: &Center, approved: &Approved) -> Result<Done, LedgerError> {
        let told: RedirectRefundCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
        let refund = Seq(told.refund);
        let mut tx = self.lanes.database().lane.begin().await?;
        let head = center::head(&mut tx, center.no, true).await?;
        let approval = approved.facts.approval;
        let known = store::redirect(&mut tx, center.no, refund).await?;
        if known.as_ref().is_none_or(|known| known.approval != approval) {
            let row = store::refund(&mut *tx, center, refund).await?;
            let row = row.ok_or(R::RefundNotFound { refund })?;
            require_abnormal(&mut tx, center, &row).await?;
            let at = self.lanes.clock().now().max(head.recorded_at);
            store::insert_redirect(&mut tx, center.no, refund, (&told.destination, approval), at).await?;
            let account = (told.owner.as_str(), told.account_version);
            bank::insert_payout(&mut tx, center.no, refund, account, approval).await?;
            tx.commit().await?;
        } else {
            drop(tx);
        }
        // It is redirected, which is the answer; a gateway that does not listen now is told again by `poll_due`.
        if let Err(error) = self.refresh(center, refund).await {
            tracing::warn!(center = %center.id, %refund, %error, "the gateway is told later where a refund goes");
        }
        Ok(Done::NoTransaction)
    }

    /// The gateway says that it cannot pay a refund. Told where the money goes, if people have said; otherwise they have to.
    pub(super) async fn abnormal(
        &self,
        center: &Center,
        row: &RefundRow,
        facts: &RefundFacts,
        (gateway_refund, reason): (&str, &str),
    ) -> Result<Option<gateway::RefundState>, LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        let head = center::head(&mut tx, center.no, true).await?;
        if store::redirect(&mut tx, center.no, row.seq).await?.is_some() {
            drop(tx);
            return self.tell(center, row, facts, gateway_refund).await;
        }
        let now = store::refund(&mut *tx, center, row.seq).await?;
        if now.is_some_and(|now| !now.state.is_end()) {
            let at = self.lanes.clock().now().max(head.recorded_at);
            let known = AbnormalRefundWork {
                refund: row.seq.0,
                remittance: facts.remittance.clone(),
                payer: facts.payer.clone(),
                channel: facts.channel.clone(),
                refund_number: facts.refund_number.clone(),
                gateway_refund: gateway_refund.to_owned(),
                amount: row.amount.to_string(),
                reason: reason.to_owned(),
            };
            let facts = WorkFacts {
                facts: Some(work_facts::Facts::AbnormalRefund(known)),
            };
            let item = NewItem::new(WorkKind::AbnormalRefund, subject(row.seq), facts, at);
            work::raise_in_tx(&mut tx, center.no, &item).await?;
            store::insert_leg(&mut tx, center.no, row.seq, RefundState::Abnormal, at, reason, None).await?;
            tx.commit().await?;
        }
        Ok(None)
    }

    async fn tell(
        &self,
        center: &Center,
        row: &RefundRow,
        facts: &RefundFacts,
        gateway_refund: &str,
    ) -> Result<Option<gateway::RefundState>, LedgerError> {
        let Some(gate) = self.channels.get(&facts.channel) else {
            return Ok(None);
        };
        let redirect = RefundRedirect {
            refund_number: facts.refund_number.clone(),
            gateway_refund: gateway_refund.to_owned(),
        };
        match gate.channel.redirect_refund(&redirect).await {
            Ok(gateway::RefundState::Abnormal { .. }) => Ok(None),
            Ok(state) => Ok(Some(state)),
            // An earlier attempt whose answer was lost may have been heard: asking tells.
            Err(error @ GatewayError::Refused { .. }) => {
                tracing::error!(center = %center.id, refund = %row.seq, %error, "the gateway does not redirect a refund");
                Ok(None)
            }
            Err(error) => {
                tracing::warn!(center = %center.id, refund = %row.seq, %error, "the gateway is told again later");
                Ok(None)
            }
        }
    }

    /// The bank account that a refund goes to instead, masked, if people have said.
    pub(super) async fn redirected_to(&self, center: &Center, refund: Seq) -> Result<Option<String>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::paid_to(&mut conn, center.no, refund).await?)
    }
}
