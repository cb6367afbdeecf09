//! Paying the vendors: what is owed is closed, put in transit, and paid by the bank or owed again.
//!
//! A settlement covers every posting of the vendor's payable account after the last one's range and up to the end of a
//! business date, so that each posting is in exactly one of them.

mod command;
mod entity;
mod error;
mod posting;
mod store;
mod verify;

pub use command::{CloseSettlement, EndSettlement};
use entity::Row;
pub use entity::{End, Settlement, SettlementLine};
pub use error::SettlementRefusal;
use time::Date;
pub use verify::SettlementsCheck;

use crate::{
    commissary,
    ids::{Seq, VendorId},
    ledger::{Center, Lanes, LedgerError, Posted, Request, statement::Position, transaction},
    proto::JournalRecord,
};

/// The verbs of this domain.
#[derive(Clone)]
pub struct Settlements {
    lanes: Lanes,
}

impl Settlements {
    /// The domain over the lanes.
    pub fn new(lanes: Lanes) -> Settlements {
        Settlements { lanes }
    }

    /// Puts what a vendor is owed up to the end of a business date in transit.
    ///
    /// Errors: NOT_FOUND, DATE_NOT_OVER, NOTHING_TO_PAY, SETTLEMENT_EXCEEDS_PAYABLE.
    pub async fn close(
        &self,
        center: &Center,
        request: Request,
        vendor: VendorId,
        through_date: Date,
    ) -> Result<Posted, LedgerError> {
        let command = CloseSettlement {
            request,
            vendor,
            through_date,
        };
        self.lanes.submit_rare(center, command).await
    }

    /// The bank has paid it, under its own reference.
    ///
    /// Errors: NOT_FOUND, NOT_IN_TRANSIT.
    pub async fn confirm(
        &self,
        center: &Center,
        request: Request,
        settlement: Seq,
        reference: String,
    ) -> Result<Posted, LedgerError> {
        let command = EndSettlement {
            request,
            settlement,
            end: End::Paid,
            reference,
            reason: String::new(),
        };
        self.lanes.submit_rare(center, command).await
    }

    /// The bank could not pay it: the vendor is owed the money again.
    ///
    /// Errors: NOT_FOUND, NOT_IN_TRANSIT.
    pub async fn fail(
        &self,
        center: &Center,
        request: Request,
        settlement: Seq,
        reason: String,
    ) -> Result<Posted, LedgerError> {
        let command = EndSettlement {
            request,
            settlement,
            end: End::Failed,
            reference: String::new(),
            reason,
        };
        self.lanes.submit_rare(center, command).await
    }

    /// A settlement as it stands.
    pub async fn get(&self, center: &Center, settlement: Seq) -> Result<Settlement, LedgerError> {
        let row = self.row(center, settlement).await?;
        self.read(center, &row).await
    }

    /// The settlement that a transaction closed or ended, as it was right after that transaction.
    pub async fn as_of(&self, center: &Center, record: &JournalRecord) -> Result<Settlement, LedgerError> {
        if record.reverses == 0 {
            return Ok(Settlement {
                closed: record.clone(),
                end: None,
            });
        }
        Ok(Settlement {
            closed: self.record(center, Seq(record.reverses)).await?,
            end: Some(record.clone()),
        })
    }

    /// Up to `limit` settlements before a number, newest first; of one vendor or of all.
    pub async fn list(
        &self,
        center: &Center,
        vendor: Option<&VendorId>,
        before: Option<Seq>,
        limit: i64,
    ) -> Result<Vec<Settlement>, LedgerError> {
        let from = before.map_or(Seq(i64::MAX), |seq| Seq(seq.0.saturating_sub(1)));
        let rows = store::list(&self.lanes.database().read, center, vendor, from, limit).await?;
        let mut settlements = Vec::with_capacity(rows.len());
        for row in &rows {
            settlements.push(self.read(center, row).await?);
        }
        Ok(settlements)
    }

    /// Up to `limit` of the postings a settlement covers after a position, oldest first.
    pub async fn lines(
        &self,
        center: &Center,
        settlement: Seq,
        after: Option<Position>,
        limit: i64,
    ) -> Result<Vec<SettlementLine>, LedgerError> {
        let row = self.row(center, settlement).await?;
        let mut conn = self.lanes.database().read.acquire().await?;
        let vendor = commissary::vendor_in_tx(&mut conn, center, &row.vendor).await?;
        let payable = vendor.ok_or(LedgerError::Internal)?.payable_no;
        let from = after.unwrap_or(Position { seq: Seq::ZERO, leg: 0 });
        Ok(store::lines(&mut conn, center, payable, (row.after, row.through), from, limit).await?)
    }

    async fn row(&self, center: &Center, settlement: Seq) -> Result<Row, LedgerError> {
        let row = store::get(&self.lanes.database().read, center, settlement).await?;
        row.ok_or_else(|| SettlementRefusal::NotFound { settlement }.into())
    }

    async fn read(&self, center: &Center, row: &Row) -> Result<Settlement, LedgerError> {
        let end = match row.end {
            Some((seq, _)) => Some(self.record(center, seq).await?),
            None => None,
        };
        Ok(Settlement {
            closed: self.record(center, row.seq).await?,
            end,
        })
    }

    async fn record(&self, center: &Center, seq: Seq) -> Result<JournalRecord, LedgerError> {
        let found = transaction::get(&self.lanes.database().read, center.no, seq).await?;
        found.map(|found| found.record).ok_or(LedgerError::Internal)
    }
}
