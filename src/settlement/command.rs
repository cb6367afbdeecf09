//! The commands that close and end settlements.

use futures::future::{BoxFuture, FutureExt as _};
use time::{Date, Duration, OffsetDateTime};

use super::{
    SettlementRefusal as R,
    entity::{self, End, Reckoning, Row},
    posting, store,
};
use crate::{
    approval::{self, is_one_person},
    commissary::{self, Vendor},
    contract,
    db::Conn,
    ids::{Seq, VendorId},
    ledger::{Center, Declined, Draft, JournalTx, RareCommand, Request, balance, chart, transaction},
    proto::{ApprovalFacts, OutcomeFacts, TransactionKind, journal_record::Facts},
};

/// What a vendor is owed goes in transit.
#[derive(Debug)]
pub struct CloseSettlement {
    /// What identifies it.
    pub request: Request,
    /// Whom it pays.
    pub vendor: VendorId,
    /// The last business date it covers.
    pub through_date: Date,
}

impl CloseSettlement {
    async fn close(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let vendor = commissary::vendor_in_tx(tx.conn(), &center, &self.vendor).await?;
        let vendor = vendor.ok_or_else(|| R::VendorNotFound {
            vendor: self.vendor.clone(),
        })?;
        if let Some(settlement) = store::of_date(tx.conn(), center.no, &self.vendor, self.through_date).await? {
            return Err(R::AlreadyClosed { settlement }.into());
        }
        let (reckoning, due) = reckon(tx.conn(), &center, &vendor, self.through_date).await?;
        let date = self.through_date;
        if center.zone.end_of(date) > moment.recorded_at {
            return Err(R::DateNotOver { date }.into());
        }
        if due > moment.recorded_at {
            return Err(R::NotDue { date, due }.into());
        }
        let payable = tx.balance(vendor.payable_no).await?;
        reckoning.require_payable(payable, tx.balance(chart::OTHER_INCOME).await?)?;
        let row = Row {
            seq: moment.seq,
            vendor: self.vendor.clone(),
            after: reckoning.after,
            through: reckoning.through,
            commission: reckoning.commission,
            total: reckoning.total,
            approval: None,
            file: None,
            end_to_end_id: None,
            end: None,
        };
        store::insert(tx.conn(), center.no, &row, date).await?;
        Ok(Draft::new(
            TransactionKind::SettlementClosed,
            posting::closed(&vendor, reckoning.commission, reckoning.total),
            Facts::Settlement(reckoning.facts(&self.vendor, date)),
        ))
    }
}

/// What closing a date would be, and from when on it can be closed.
pub(super) async fn reckon(
    conn: &mut Conn,
    center: &Center,
    vendor: &Vendor,
    date: Date,
) -> Result<(Reckoning, OffsetDateTime), Declined> {
    let over_at = center.zone.end_of(date);
    let terms = contract::terms_in_tx(&mut *conn, center, &vendor.id).await?;
    let due = entity::due_at(over_at, &terms);
    // The end of the date belongs to the next one; transactions are recorded in microseconds.
    let through = balance::last_recorded_at(&mut *conn, center, over_at - Duration::MICROSECOND).await?;
    let after = store::covered(&mut *conn, center.no, &vendor.id).await?;
    let sums = store::sums(conn, center, vendor, after, through).await?;
    Ok((Reckoning::new(after, through, sums, terms)?, due))
}

impl RareCommand for CloseSettlement {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.close(tx).boxed()
    }
}

/// A settlement in transit was paid, or could not be.
#[derive(Debug)]
pub struct EndSettlement {
    /// What identifies it.
    pub request: Request,
    /// Which one.
    pub settlement: Seq,
    /// How it ended.
    pub end: End,
    /// The bank's reference; of a paid one.
    pub reference: String,
    /// Why not; of a failed one.
    pub reason: String,
    /// Whether the bank itself says so.
    pub by_bank: bool,
    /// Who else allowed it, of what the bank is said to have rejected.
    pub approval: Option<ApprovalFacts>,
}

impl EndSettlement {
    async fn end(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, end_seq) = (tx.center().clone(), tx.moment().seq);
        let row = store::get(tx.conn(), &center, self.settlement).await?;
        let row = row.ok_or(R::NotFound {
            settlement: self.settlement,
        })?;
        row.require_endable(self.end, self.by_bank, self.approval.is_some())?;
        if self.end == End::Paid && !self.by_bank {
            self.require_another(tx, &center, &row).await?;
        }
        let vendor = commissary::vendor_in_tx(tx.conn(), &center, &row.vendor).await?;
        let vendor = vendor.ok_or_else(|| Declined::Broken(format!("vendor {} is gone", row.vendor)))?;
        store::insert_end(
            tx.conn(),
            center.no,
            row.seq,
            end_seq,
            self.end,
            &self.reference,
            &self.reason,
        )
        .await?;
        if let (Some(approval), Some(id)) = (&self.approval, &row.end_to_end_id) {
            store::insert_failure(tx.conn(), center.no, id, approval.approval, end_seq).await?;
        }
        let posting = match self.end {
            End::Paid => posting::paid(&vendor, row.total),
            End::Failed => posting::failed(&vendor, row.total),
        };
        let facts = OutcomeFacts {
            reference: self.reference.clone(),
            reason: self.reason.clone(),
            approval: self.approval.clone(),
        };
        Ok(Draft::new(self.end.kind(), vec![posting], Facts::Outcome(facts)).reversing(row.seq))
    }

    /// Nobody says that the bank has paid what they closed or proposed themselves.
    async fn require_another(&self, tx: &mut JournalTx, center: &Center, row: &Row) -> Result<(), Declined> {
        let closed = transaction::get(tx.conn(), center.no, row.seq).await?;
        let closed = closed.ok_or_else(|| Declined::Broken(format!("transaction {} is gone", row.seq)))?;
        let proposed = match row.approval {
            Some(no) => approval::find_in_tx(tx.conn(), center, no).await?,
            None => None,
        };
        let actor = &self.request.actor;
        let proposed = proposed.is_some_and(|approval| is_one_person(&approval.maker.actor, actor));
        if proposed || is_one_person(&closed.record.actor, actor) {
            return Err(R::OwnSettlement { settlement: row.seq }.into());
        }
        Ok(())
    }
}

impl RareCommand for EndSettlement {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.end(tx).boxed()
    }
}
