//! Paying the vendors: what is owed is closed, put in transit, allowed by two people, and paid by the bank or owed again.
//!
//! A settlement covers every posting of the vendor's payable account after the last one's range and up to the end of a
//! business date, so that each posting is in exactly one of them. Its lines have no table: they are those postings.
//!
//! # Layout
//! - `entity`: what a settlement comes to, and where it stands, pure. `command`: closing and ending. `ask`: what two people
//!   decide. `export`: the vendor's statement.
//!
//! # Invariants
//! 1. A business date of a vendor is closed once; closing it again is answered with the same settlement.
//! 2. What comes to nothing or less is not closed: its range goes to the next settlement, and so carries forward what is owed.
//! 3. Commission is taken of net sales, once, rounded down; a settlement that the bank could not pay has paid its own.
//! 4. Nothing is paid that two people have not allowed, three from 5,000.00.

mod ask;
mod command;
mod entity;
mod error;
mod export;
mod posting;
mod store;
mod verify;

use std::sync::Arc;

pub use ask::PAYOUT;
use ask::{PayoutQuestion, PayoutRunner};
pub use command::{CloseSettlement, EndSettlement};
pub use entity::{End, Reckoning, Row, Settlement, SettlementLine, Sums};
pub use error::SettlementRefusal;
use time::{Date, OffsetDateTime};
pub use verify::SettlementsCheck;

use crate::{
    approval::{Approval, Approvals, Asking, Person, Runner},
    commissary,
    db::{self, Conn},
    ids::{Seq, VendorId},
    ledger::{Center, Declined, Lanes, LedgerError, Posted, Reason, Request, statement::Position, transaction},
    money::Amount,
    proto::{ApprovalFacts, JournalRecord},
};

/// The verbs of this domain.
#[derive(Clone)]
pub struct Settlements {
    lanes: Lanes,
    approvals: Approvals,
}

impl Settlements {
    /// The domain over the lanes.
    pub fn new(lanes: Lanes) -> Settlements {
        Settlements {
            approvals: Approvals::new(lanes.clone()),
            lanes,
        }
    }

    /// What runs here when two people have allowed it.
    pub fn runner(&self) -> Arc<dyn Runner> {
        Arc::new(PayoutRunner(self.lanes.clone()))
    }

    /// What closing a date would be now, and from when on it can be closed.
    ///
    /// Errors: NOT_FOUND.
    pub async fn preview(
        &self,
        center: &Center,
        vendor: &VendorId,
        date: Date,
    ) -> Result<(Reckoning, OffsetDateTime), LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = commissary::vendor_in_tx(&mut conn, center, vendor).await?;
        let found = found.ok_or_else(|| SettlementRefusal::VendorNotFound { vendor: vendor.clone() })?;
        let reckoned = command::reckon(&mut conn, center, &found, date).await;
        reckoned.map_err(|declined| match declined {
            Declined::Refused(refusal) => refusal.into(),
            Declined::Database(error) => error.into(),
            Declined::Broken(what) => {
                tracing::error!(center = %center.id, what, "a settlement cannot be reckoned");
                LedgerError::Internal
            }
        })
    }

    /// Asks others to allow that a settlement is paid. The same request again is answered with the approval as it stands.
    ///
    /// Errors: NOT_FOUND, NOT_IN_TRANSIT, SETTLEMENT_APPROVED, APPROVAL_PENDING.
    pub async fn propose(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        settlement: Seq,
        reason: String,
    ) -> Result<(Approval, bool), LedgerError> {
        let asking = Asking { request, maker, reason };
        self.approvals
            .ask(center, &asking, &PayoutQuestion { settlement })
            .await
    }

    /// Puts what a vendor is owed up to the end of a business date in transit, less commission. A date that is closed already is
    /// answered with its settlement, as a repetition.
    ///
    /// Errors: NOT_FOUND, DATE_NOT_OVER, NOTHING_TO_PAY, SETTLEMENT_EXCEEDS_PAYABLE, COMMISSION_NOT_COVERED.
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
        let closed = self.lanes.submit_rare(center, command).await;
        let Err(LedgerError::Refused { refusal, .. }) = &closed else {
            return closed;
        };
        let settled_by = refusal.fact(error::SETTLED_BY).and_then(|seq| seq.parse().ok());
        match settled_by.filter(|_| refusal.reason() == Reason::AlreadyExists) {
            None => closed,
            Some(seq) => Ok(Posted {
                record: Arc::new(self.record(center, Seq(seq)).await?),
                replayed: true,
            }),
        }
    }

    /// The bank has paid it, under its own reference.
    ///
    /// Errors: NOT_FOUND, NOT_IN_TRANSIT, SETTLEMENT_NOT_APPROVED, IN_PAYMENT_FILE, MAKER_IS_CHECKER for whoever closed or proposed it.
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
            by_bank: false,
            approval: None,
        };
        self.lanes.submit_rare(center, command).await
    }

    /// It is not paid: the vendor is owed the money again.
    ///
    /// Errors: NOT_FOUND, NOT_IN_TRANSIT, IN_PAYMENT_FILE.
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
            by_bank: false,
            approval: None,
        };
        self.lanes.submit_rare(center, command).await
    }

    /// The bank itself says how it ended; that it failed, with those who looked at what the bank is said to say.
    ///
    /// Errors: NOT_FOUND, NOT_IN_TRANSIT, SETTLEMENT_NOT_APPROVED.
    pub async fn end_by_bank(
        &self,
        center: &Center,
        request: Request,
        settlement: Seq,
        end: End,
        (reference, reason): (String, String),
        approval: Option<ApprovalFacts>,
    ) -> Result<Posted, LedgerError> {
        let command = EndSettlement {
            request,
            settlement,
            end,
            reference,
            reason,
            by_bank: true,
            approval,
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
                approval: None,
                file: None,
            });
        }
        Ok(Settlement {
            closed: self.record(center, Seq(record.reverses)).await?,
            end: Some(record.clone()),
            approval: None,
            file: None,
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
        let rows = store::list(&*self.lanes.database().read, center, vendor, from, limit).await?;
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
        let row = store::get(&*self.lanes.database().read, center, settlement).await?;
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
            approval: row.approval,
            file: row.file,
        })
    }

    async fn record(&self, center: &Center, seq: Seq) -> Result<JournalRecord, LedgerError> {
        let found = transaction::get(&*self.lanes.database().read, center.no, seq).await?;
        found.map(|found| found.record).ok_or(LedgerError::Internal)
    }
}

/// What approvals are about.
fn subject(settlement: Seq) -> String {
    format!("settlements/{settlement}")
}

/// Settlements for payment files, in the caller's transaction.
pub mod payouts {
    use super::{Amount, Center, Conn, Row, Seq, VendorId, db, store};

    /// Up to `limit` settlements that are allowed to be paid and in no file, oldest first.
    pub async fn waiting(conn: &mut Conn, center: &Center, limit: i64) -> db::Result<Vec<Row>> {
        let mut rows = Vec::new();
        for seq in store::payable(conn, center, limit).await? {
            rows.extend(store::get(&mut *conn, center, seq).await?);
        }
        Ok(rows)
    }

    /// One settlement as it stands.
    pub async fn get(conn: &mut Conn, center: &Center, seq: Seq) -> db::Result<Option<Row>> {
        store::get(conn, center, seq).await
    }

    /// What of a vendor is in transit by the settlements that have not ended.
    pub async fn in_transit(conn: &mut Conn, center: &Center, vendor: &VendorId) -> db::Result<Amount> {
        store::in_transit(conn, center, vendor).await
    }

    /// What a settlement's lines come to, reckoned again from them: what is sold less what came back and commission.
    pub async fn of_lines(conn: &mut Conn, center: &Center, row: &Row) -> db::Result<Option<Amount>> {
        let Some(vendor) = crate::commissary::vendor_in_tx(conn, center, &row.vendor).await? else {
            return Ok(None);
        };
        let sums = store::sums(conn, center, &vendor, row.after, row.through).await?;
        let net = sums.gross().and_then(|gross| gross.checked_sub(row.commission));
        Ok(net.ok())
    }
}
