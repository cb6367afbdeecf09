//! The commands that close and end settlements.

use futures::future::{BoxFuture, FutureExt as _};
use time::{Date, Duration};

use super::{
    SettlementRefusal as R,
    entity::{self, End, Row},
    posting, store,
};
use crate::{
    commissary,
    ids::{Seq, VendorId},
    ledger::{Declined, Draft, JournalTx, RareCommand, Request, balance},
    proto::{OutcomeFacts, TransactionKind, journal_record::Facts},
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
        let over_at = center.zone.end_of(self.through_date);
        if over_at > moment.recorded_at {
            return Err(R::DateNotOver {
                date: self.through_date,
            }
            .into());
        }
        // The end of the date belongs to the next one; transactions are recorded in microseconds.
        let through = balance::last_recorded_at(tx.conn(), &center, over_at - Duration::MICROSECOND).await?;
        let after = store::covered(tx.conn(), center.no, &self.vendor).await?;
        let sums = store::sums(tx.conn(), &center, vendor.payable_no, after, through).await?;
        let payable = tx.balance(vendor.payable_no).await?;
        let (facts, total) = entity::facts(&self.vendor, self.through_date, after, through, sums, payable)?;
        let row = Row {
            seq: moment.seq,
            vendor: self.vendor.clone(),
            after,
            through,
            total,
            end: None,
        };
        store::insert(tx.conn(), center.no, &row, self.through_date).await?;
        Ok(Draft::new(
            TransactionKind::SettlementClosed,
            vec![posting::closed(&vendor, total)],
            Facts::Settlement(facts),
        ))
    }
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
}

impl EndSettlement {
    async fn end(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, end_seq) = (tx.center().clone(), tx.moment().seq);
        let row = store::get(tx.conn(), &center, self.settlement).await?;
        let row = row.ok_or(R::NotFound {
            settlement: self.settlement,
        })?;
        row.require_in_transit()?;
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
        let posting = match self.end {
            End::Paid => posting::paid(&vendor, row.total),
            End::Failed => posting::failed(&vendor, row.total),
        };
        let facts = OutcomeFacts {
            reference: self.reference.clone(),
            reason: self.reason.clone(),
        };
        Ok(Draft::new(self.end.kind(), vec![posting], Facts::Outcome(facts)).reversing(row.seq))
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
