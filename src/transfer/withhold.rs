//! Money that an authority withholds by a written order: set apart by two people, and given back or paid by two people.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{
    TransferRefusal as R,
    entity::{Withholding, WithholdingEnd, require_until, without_oldest},
    execute::layers_of,
    posting, store,
    store::WithholdingFilter,
};
use crate::{
    approval::{Kind, NewApproval, Question, VALID},
    custody::{self, Detainee},
    db::{self, Conn},
    ids::{CenterNo, DetaineeId, Seq},
    ledger::{Center, Declined, Draft, JournalTx, LedgerError, Moment, RareCommand, Request, balance, record},
    money::Amount,
    proto::{
        ApprovalFacts, EndWithholdingCommand, TransactionKind, WithholdingEndFacts, WithholdingFacts, WithholdingWork,
        WorkFacts, journal_record::Facts, work_facts,
    },
    work::{self, Closing, NewItem, WorkKind},
};

/// The methods that the runs' requests name. No caller can call them.
pub(super) const WITHHOLD_METHOD: &str = "custody.v1.TransferService/RunWithholding";
pub(super) const END_METHOD: &str = "custody.v1.TransferService/RunWithholdingEnd";

/// An authority withholds money.
pub const WITHHOLD: Kind = Kind {
    name: "withholding.begin",
    title: "withhold a sum by an authority's order",
    title_zh: "依令扣留款项",
};
/// It does not any more.
pub const END_WITHHOLDING: Kind = Kind {
    name: "withholding.end",
    title: "end the withholding of a sum",
    title_zh: "结束款项扣留",
};

/// What is told of a sum to withhold.
#[derive(Debug, Clone)]
pub struct NewWithholding {
    /// Whose money.
    pub detainee: DetaineeId,
    /// The written order's number.
    pub document: String,
    /// How much, above zero.
    pub amount: Amount,
    /// Until when the order holds.
    pub until: OffsetDateTime,
}

/// A sum is withheld.
pub(super) struct WithholdSum {
    pub request: Request,
    pub new: NewWithholding,
    pub approval: Option<ApprovalFacts>,
}

impl WithholdSum {
    fn facts(&self) -> WithholdingFacts {
        let new = &self.new;
        WithholdingFacts {
            detainee: new.detainee.to_string(),
            document: new.document.clone(),
            amount: new.amount.to_string(),
            until: Some(record::timestamp(new.until)),
            approval: self.approval.clone(),
        }
    }

    /// The detainee, who must be active and have so much, by an order that does not withhold already.
    async fn owner(&self, conn: &mut Conn, center: &Center, now: OffsetDateTime) -> Result<Detainee, Declined> {
        let new = &self.new;
        require_until(new.until, now)?;
        let detainee = custody::active_detainee_in_tx(conn, center, &new.detainee).await?;
        let filter = WithholdingFilter {
            detainee: Some(new.detainee.clone()),
            open: true,
            ..WithholdingFilter::default()
        };
        let open = store::withholdings(conn, center, &filter, i64::MAX).await?;
        if let Some(same) = open.iter().find(|held| held.document == new.document) {
            return Err(R::WithholdingExists { withholding: same.seq }.into());
        }
        let (balances, _) = balance::now(&mut *conn, center, &[detainee.available()]).await?;
        let available = balances.first().copied().unwrap_or(Amount::zero(center.currency));
        if new.amount.exceeds(available)? {
            let required = new.amount;
            return Err(R::InsufficientFunds { available, required }.into());
        }
        Ok(detainee)
    }

    async fn asked(
        &self,
        conn: &mut Conn,
        center: &Center,
        now: OffsetDateTime,
    ) -> Result<Option<NewApproval>, LedgerError> {
        let new = &self.new;
        self.owner(conn, center, now).await?;
        Ok(Some(NewApproval {
            kind: WITHHOLD.name,
            subject: format!("detainees/{}", new.detainee),
            command: record::canonical(&self.facts()),
            summary: format!(
                "Withhold {} {} of detainee {} by order {}.",
                new.amount, center.currency, new.detainee, new.document
            ),
            amount: Some(new.amount),
            valid: VALID,
        }))
    }

    async fn withhold(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment, new) = (tx.center().clone(), tx.moment(), &self.new);
        let approval = self.approval.as_ref().ok_or(R::NotAllowedAlone)?;
        let detainee = self.owner(tx.conn(), &center, moment.recorded_at).await?;
        let [available, _, _, withheld] = detainee.accounts();
        let row = Withholding {
            seq: moment.seq,
            detainee: new.detainee.clone(),
            document: new.document.clone(),
            amount: new.amount,
            until: new.until,
            recorded_at: moment.recorded_at,
            approval: Some(approval.approval),
            transfer: None,
            end: None,
        };
        store::insert_withholding(tx.conn(), center.no, &row).await?;
        raise_item(tx.conn(), center.no, &row).await?;
        let posting = posting::withheld(available, withheld, new.amount);
        let facts = Facts::Withholding(self.facts());
        Ok(Draft::new(TransactionKind::SumWithheld, vec![posting], facts))
    }
}

/// A withholding ends.
pub(super) struct EndWithholding {
    pub request: Request,
    pub withholding: Seq,
    pub paid: Amount,
    pub document: String,
    pub approval: Option<ApprovalFacts>,
}

impl EndWithholding {
    async fn open(&self, conn: &mut Conn, center: &Center) -> Result<Withholding, Declined> {
        let withholding = self.withholding;
        let held = store::withholding(conn, center, withholding).await?;
        let held = held.ok_or(R::WithholdingNotFound { withholding })?;
        held.require_open()?;
        if self.paid.exceeds(held.amount)? {
            let (amount, paid) = (held.amount, self.paid);
            return Err(R::PaysTooMuch { amount, paid }.into());
        }
        Ok(held)
    }

    async fn asked(&self, conn: &mut Conn, center: &Center) -> Result<Option<NewApproval>, LedgerError> {
        let held = self.open(conn, center).await?;
        let command = EndWithholdingCommand {
            withholding: self.withholding.0,
            paid: self.paid.to_string(),
            document: self.document.clone(),
        };
        Ok(Some(NewApproval {
            kind: END_WITHHOLDING.name,
            subject: held.subject(),
            command: record::canonical(&command),
            summary: format!(
                "End the withholding of {} {} of detainee {}: {} to the authority, the rest back, by document {}.",
                held.amount, center.currency, held.detainee, self.paid, self.document
            ),
            amount: Some(held.amount),
            valid: VALID,
        }))
    }

    async fn end(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let approval = self.approval.as_ref().ok_or(R::NotAllowedAlone)?;
        let held = self.open(tx.conn(), &center).await?;
        let detainee = custody::detainee_in_tx(tx.conn(), &center, &held.detainee).await?;
        let detainee = detainee.ok_or_else(|| Declined::Broken(format!("detainee {} is gone", held.detainee)))?;
        let [available, _, _, withheld] = detainee.accounts();
        let returned = held.amount.checked_sub(self.paid)?;
        let layers = if held.transfer.is_some() {
            let layers = layers_of(tx.conn(), &center, &detainee, &held).await?;
            without_oldest(&layers, self.paid, center.currency)?
        } else {
            Vec::new()
        };
        let end = WithholdingEnd {
            seq: moment.seq,
            has_moved: false,
            paid: self.paid,
            approval: Some(approval.approval),
        };
        store::insert_withholding_end(tx.conn(), center.no, held.seq, &end).await?;
        close_item(tx.conn(), center.no, &held, (&self.request.actor, "ended", moment)).await?;
        let facts = WithholdingEndFacts {
            detainee: held.detainee.to_string(),
            document: self.document.clone(),
            paid: self.paid.to_string(),
            returned: returned.to_string(),
            layers,
            approval: self.approval.clone(),
        };
        let mut postings = Vec::new();
        if self.paid.is_positive() {
            postings.push(posting::paid(withheld, self.paid));
        }
        if returned.is_positive() {
            postings.push(posting::returned(withheld, available, returned));
        }
        let draft = Draft::new(
            TransactionKind::WithholdingEnded,
            postings,
            Facts::WithholdingEnd(facts),
        );
        Ok(draft.reversing(held.seq))
    }
}

/// Raises the work that a withholding is: to be ended, or ordered again, before its order ends.
pub(super) async fn raise_item(conn: &mut Conn, center: CenterNo, held: &Withholding) -> db::Result<()> {
    let known = WithholdingWork {
        detainee: held.detainee.to_string(),
        document: held.document.clone(),
        amount: held.amount.to_string(),
    };
    let facts = WorkFacts {
        facts: Some(work_facts::Facts::Withholding(known)),
    };
    let item = NewItem::new(WorkKind::Withholding, held.subject(), facts, held.recorded_at).due(held.until);
    work::raise_in_tx(conn, center, &item).await
}

/// Closes it.
pub(super) async fn close_item(
    conn: &mut Conn,
    center: CenterNo,
    held: &Withholding,
    (actor, reason, moment): (&str, &str, Moment),
) -> db::Result<()> {
    let closing = Closing {
        kind: WorkKind::Withholding,
        subject: &held.subject(),
        at: moment.recorded_at,
        actor,
        reason,
        seq: Some(moment.seq),
    };
    work::close_in_tx(conn, center, &closing).await
}

impl RareCommand for WithholdSum {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.withhold(tx).boxed()
    }
}

impl Question for WithholdSum {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        self.asked(conn, center, now).boxed()
    }
}

impl RareCommand for EndWithholding {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.end(tx).boxed()
    }
}

impl Question for EndWithholding {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        _: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        self.asked(conn, center).boxed()
    }
}
