//! Opening a payout: all there is, in parts, to a person who leaves, to heirs, or to whoever claims it.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{
    change::{detainee, holdings},
    entity::{Part, Purpose, SumState, sum_of},
    error::EndingRefusal as R,
    item::{self, detainee_subject, payout_subject, sum_subject},
    posting,
    secret::{Account, Secrets},
    store,
};
use crate::{
    approval::{NewApproval, Question, VALID, is_large_payout, person_of, relation},
    commissary::held_order_in_tx,
    custody::{self, DetaineeState},
    db::Conn,
    ids::{AccountNo, DetaineeId, Seq},
    ledger::{Center, Declined, Draft, JournalTx, LedgerError, RareCommand, Request, chart, record},
    money::Amount,
    offline_sales,
    proto::{ApprovalFacts, PayoutFacts, PayoutPartFacts, TransactionKind, journal_record::Facts},
    work::{self, WorkKind},
};

/// What is told of a payout.
#[derive(Debug, Clone)]
pub struct NewPayout {
    /// Whose money it is.
    pub detainee: DetaineeId,
    /// Whom it is for.
    pub purpose: Purpose,
    /// Of a claim, the transaction that made it unclaimed.
    pub unclaimed: Option<Seq>,
    /// 1 to 10 parts.
    pub parts: Vec<Part>,
    /// The document's number.
    pub document: String,
    /// Why.
    pub reason: String,
}

/// A payout is opened.
pub(super) struct OpenPayout {
    pub request: Request,
    pub new: NewPayout,
    /// What of it is to be sealed, and what seals; nothing when that was done as it was asked for.
    pub sealing: Option<(Secrets, Vec<Account>)>,
    pub approval: Option<ApprovalFacts>,
}

/// Where the money is, and what of it there is.
struct Source {
    from: Vec<(AccountNo, Amount)>,
    total: Amount,
    from_treasury: bool,
}

/// Refuses while money is set aside for an order, or for a terminal that may have sold for it: what becomes of these would find
/// nothing there.
pub(super) async fn require_nothing_held(conn: &mut Conn, center: &Center, id: &DetaineeId) -> Result<(), Declined> {
    if let Some(order) = held_order_in_tx(conn, center.no, id).await? {
        return Err(R::OrdersOpen { order }.into());
    }
    offline_sales::require_none_open_in_tx(conn, center, id).await
}

/// What somebody has who leaves or died: nothing of it on its way, nothing withheld.
pub(super) async fn free_holdings(
    conn: &mut Conn,
    center: &Center,
    id: &DetaineeId,
    states: &[DetaineeState],
) -> Result<(Vec<(AccountNo, Amount)>, Amount), Declined> {
    let detainee = detainee(conn, center, id).await?;
    if !states.contains(&detainee.state) {
        let state = detainee.state.name();
        return Err(R::CustodyState {
            detainee: id.clone(),
            state,
        }
        .into());
    }
    let refunds = store::open_refunds(conn, center.no, id).await?;
    if refunds > 0 {
        return Err(R::InFlight { refunds }.into());
    }
    require_nothing_held(conn, center, id).await?;
    let from = holdings(conn, center, &detainee).await?;
    if let Some((_, withheld)) = from.last().filter(|(_, withheld)| !withheld.is_zero()) {
        return Err(R::Withheld { withheld: *withheld }.into());
    }
    let total = Amount::sum(from.iter().map(|(_, amount)| *amount), center.currency)?;
    if total.is_zero() {
        return Err(R::NoBalance.into());
    }
    Ok((from, total))
}

impl OpenPayout {
    async fn source(&self, conn: &mut Conn, center: &Center) -> Result<Source, Declined> {
        let id = &self.new.detainee;
        relation::require_unrelated(conn, center.no, &self.request.actor, id).await?;
        let source = match self.new.purpose {
            Purpose::Release => self.accounts(conn, center, DetaineeState::Active).await?,
            Purpose::Heirs => {
                self.require_heirs(conn, center).await?;
                self.accounts(conn, center, DetaineeState::Deceased).await?
            }
            Purpose::Claim => self.unclaimed(conn, center).await?,
        };
        let parts = sum_of(&self.new.parts, center.currency)?;
        if parts != source.total {
            let balance = source.total;
            return Err(R::PartsDiffer { parts, balance }.into());
        }
        Ok(source)
    }

    async fn accounts(&self, conn: &mut Conn, center: &Center, state: DetaineeState) -> Result<Source, Declined> {
        let (from, total) = free_holdings(conn, center, &self.new.detainee, &[state]).await?;
        Ok(Source {
            from,
            total,
            from_treasury: false,
        })
    }

    async fn require_heirs(&self, conn: &mut Conn, center: &Center) -> Result<(), Declined> {
        let heirs = store::heirs(conn, center.no, &self.new.detainee).await?;
        let mut parts = self.new.parts.iter();
        match parts.find(|part| !heirs.iter().any(|heir| heir.id == part.heir)) {
            Some(part) => Err(R::HeirNotProven {
                heir: part.heir.clone(),
            }
            .into()),
            None => Ok(()),
        }
    }

    async fn unclaimed(&self, conn: &mut Conn, center: &Center) -> Result<Source, Declined> {
        let seq = self.new.unclaimed.unwrap_or(Seq::ZERO);
        let found = store::sum(conn, center, seq).await?;
        let sum = found.filter(|sum| sum.detainee == self.new.detainee);
        let sum = sum.ok_or(R::SumNotFound { sum: seq })?;
        let account = match sum.state {
            SumState::Waiting => chart::UNCLAIMED,
            // The treasury gives it back: it comes in at the bank.
            SumState::Treasury => chart::BANK,
            SumState::Claimed => {
                let state = sum.state.name();
                return Err(R::NotUnclaimed { sum: seq, state }.into());
            }
        };
        Ok(Source {
            from: vec![(account, sum.amount)],
            total: sum.amount,
            from_treasury: sum.state == SumState::Treasury,
        })
    }

    /// Seals the accounts: last of all, so that nothing is written when it is refused.
    async fn seal(&self, conn: &mut Conn, center: &Center, at: OffsetDateTime) -> Result<(), LedgerError> {
        if let Some((secrets, accounts)) = &self.sealing {
            for account in accounts {
                let by = (at, self.request.actor.as_str());
                secrets.keep_in_tx(conn, center, account, by).await?;
            }
        }
        Ok(())
    }

    fn needs_others(&self, total: Amount) -> bool {
        self.new.purpose != Purpose::Release || is_large_payout(total)
    }

    fn facts(&self, amount: Amount, from_treasury: bool) -> PayoutFacts {
        let new = &self.new;
        let part = |part: &Part| PayoutPartFacts {
            amount: part.amount.to_string(),
            payee: part.payee.clone(),
            heir: part.heir.clone(),
            secret: part.secret.clone(),
        };
        PayoutFacts {
            detainee: new.detainee.to_string(),
            purpose: new.purpose.name().to_owned(),
            unclaimed: new.unclaimed.map_or(0, |seq| seq.0),
            amount: amount.to_string(),
            parts: new.parts.iter().map(part).collect(),
            document: new.document.clone(),
            reason: new.reason.clone(),
            approval: self.approval.clone(),
            from_treasury,
        }
    }

    fn subject(&self) -> String {
        match self.new.unclaimed {
            Some(sum) => sum_subject(sum),
            None => detainee_subject(&self.new.detainee),
        }
    }

    async fn asked(
        &self,
        conn: &mut Conn,
        center: &Center,
        now: OffsetDateTime,
    ) -> Result<Option<NewApproval>, LedgerError> {
        let source = self.source(conn, center).await?;
        if !self.needs_others(source.total) {
            return Ok(None);
        }
        self.seal(conn, center, now).await?;
        let whom = match self.new.purpose {
            Purpose::Release => "to the person who leaves",
            Purpose::Heirs => "to the heirs",
            Purpose::Claim => "to whoever claims it",
        };
        let payees: Vec<String> = self
            .new
            .parts
            .iter()
            .map(|part| format!("{} to {}", part.amount, part.payee))
            .collect();
        Ok(Some(NewApproval {
            kind: super::ask::PAYOUT.name,
            subject: self.subject(),
            command: record::canonical(&self.facts(source.total, source.from_treasury)),
            summary: format!(
                "Pay {} {} of detainee {} {whom} under document {}: {}.",
                source.total,
                center.currency,
                self.new.detainee,
                self.new.document,
                payees.join(", ")
            ),
            amount: Some(source.total),
            valid: VALID,
        }))
    }

    async fn open(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment, new) = (tx.center().clone(), tx.moment(), &self.new);
        let source = self.source(tx.conn(), &center).await?;
        if self.approval.is_none() && self.needs_others(source.total) {
            return Err(R::NotAllowedAlone.into());
        }
        let sealed = self.seal(tx.conn(), &center, moment.recorded_at).await;
        sealed.map_err(|error| Declined::Broken(format!("an account cannot be sealed: {error}")))?;
        let row = store::NewRow {
            seq: moment.seq,
            detainee: &new.detainee,
            purpose: new.purpose,
            unclaimed: new.unclaimed,
            amount: source.total,
            parts: &new.parts,
            opened_by: &person_of(&self.request.actor),
            approval: self.approval.as_ref().map(|approval| approval.approval),
        };
        store::insert_payout(tx.conn(), center.no, &row).await?;
        if let Some(sum) = new.unclaimed {
            store::insert_sum_end(tx.conn(), center.no, sum, "PAYOUT", moment.seq).await?;
        }
        if new.purpose == Purpose::Release {
            custody::set_state_in_tx(tx.conn(), &center, &new.detainee, DetaineeState::Releasing).await?;
        }
        item::close(tx, &self.subject(), &self.request.actor, "paid out").await?;
        let (subject, id) = (payout_subject(moment.seq), new.detainee.as_str());
        let (total, at) = (Some(source.total), moment.recorded_at);
        let waits = item::new(WorkKind::PayoutInTransit, subject, id, total, new.purpose.name(), at);
        work::raise_in_tx(tx.conn(), center.no, &waits).await?;
        tx.touch_rules();
        let facts = Facts::Payout(self.facts(source.total, source.from_treasury));
        let postings = posting::opened(&source.from);
        Ok(Draft::new(TransactionKind::PayoutOpened, postings, facts))
    }
}

impl RareCommand for OpenPayout {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.open(tx).boxed()
    }
}

impl Question for OpenPayout {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        self.asked(conn, center, now).boxed()
    }
}
