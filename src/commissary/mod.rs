//! The commissary: vendors, products and prices, purchases and returns.

mod buyer;
mod catalogue;
mod entity;
mod error;
mod exchange;
pub mod moving;
mod posting;
mod purchase;
mod returns;
mod room;
mod sheet;
mod stock;
mod store;
mod verify;

use std::collections::HashMap;

pub use buyer::Buyer;
pub use catalogue::{
    Barcode, Details, LABEL_CHARS_MAX, LISTING, LabelError, Labels, Match, MatchedBy, NewProduct, PRICE, Prices,
    Product, ProductChange, ProductVersion, name_key, optional_label,
};
pub use entity::{Category, LINES_MAX, OrderLine, QUANTITY_MAX, Vendor};
pub use error::CommissaryRefusal;
pub use exchange::{COLUMNS, Imported, Intent, RowError};
pub use purchase::CreatePurchase;
pub use returns::{CreateReturn, ReturnLine};
pub use sheet::{FILE_BYTES_MAX, Format, SheetError};
pub use stock::{MOVED_MAX, MovementKind, NewMovement, StockMovement};
use time::Date;
pub use verify::CommissaryCheck;

use crate::{
    clock,
    custody::Custody,
    db::{self, Conn},
    ids::{DetaineeId, ProductId, Seq, TerminalId, VendorId},
    ledger::{
        Center, Lanes, LedgerError, Posted, Request, center,
        transaction::{self, Transaction},
    },
    money::Amount,
    proto::{JournalRecord, TransactionKind, journal_record::Facts},
};

/// The verbs of this domain.
#[derive(Clone)]
pub struct Commissary {
    lanes: Lanes,
    custody: Custody,
}

/// What a detainee has spent in a month.
#[derive(Debug, Clone, Copy)]
pub struct Spending {
    /// The first day of the month.
    pub month: Date,
    /// The limit.
    pub limit: Amount,
    /// What is spent of it.
    pub spent: Amount,
}

impl Commissary {
    /// The domain over the lanes.
    pub fn new(lanes: Lanes, custody: Custody) -> Commissary {
        Commissary { lanes, custody }
    }

    /// Adds a vendor with its two accounts. The same vendor again is answered with what is there.
    pub async fn create_vendor(
        &self,
        center: &Center,
        id: VendorId,
        name: String,
        name_zh: String,
    ) -> Result<Vendor, LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        if let Some(existing) = store::vendor(&mut tx, center.no, &id).await? {
            let same = existing.name == name && existing.name_zh == name_zh;
            return if same {
                Ok(existing)
            } else {
                Err(CommissaryRefusal::AlreadyExists.into())
            };
        }
        let vendor = store::insert_vendor(&mut tx, center.no, id, name, name_zh, self.lanes.clock().now()).await?;
        tx.commit().await?;
        Ok(vendor)
    }

    /// A vendor.
    pub async fn vendor(&self, center: &Center, id: &VendorId) -> Result<Vendor, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let vendor = store::vendor(&mut conn, center.no, id).await?;
        vendor.ok_or_else(|| CommissaryRefusal::VendorNotFound { vendor: id.clone() }.into())
    }

    /// Up to `limit` vendors after an id.
    pub async fn list_vendors(&self, center: &Center, after: &str, limit: i64) -> Result<Vec<Vendor>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::list_vendors(&mut conn, center.no, after, limit).await?)
    }

    /// A detainee buys. Answered once it is committed.
    pub async fn purchase(
        &self,
        center: &Center,
        request: Request,
        detainee: DetaineeId,
        terminal: TerminalId,
        lines: Vec<OrderLine>,
    ) -> Result<Posted, LedgerError> {
        self.lanes
            .submit(
                center,
                CreatePurchase {
                    request,
                    detainee,
                    terminal,
                    lines,
                },
            )
            .await
    }

    /// Goods of a purchase come back. Answered once it is committed.
    pub async fn take_back(
        &self,
        center: &Center,
        request: Request,
        purchase: Seq,
        lines: Vec<ReturnLine>,
        reason: String,
    ) -> Result<Posted, LedgerError> {
        let found = self.transaction(center, purchase, TransactionKind::Purchase).await?;
        let Some(Facts::Purchase(bought)) = found.record.facts else {
            return Err(LedgerError::Internal);
        };
        let parsed = DetaineeId::parse(&bought.detainee).ok().zip(
            bought
                .lines
                .iter()
                .map(|line| ProductId::parse(&line.product))
                .collect::<Result<Vec<_>, _>>()
                .ok(),
        );
        let Some((detainee, products)) = parsed else {
            return Err(LedgerError::Internal);
        };
        let command = CreateReturn {
            request,
            purchase,
            bought,
            detainee,
            products,
            lines,
            reason,
        };
        self.lanes.submit(center, command).await
    }

    /// A purchase's or a return's transaction.
    pub async fn transaction(
        &self,
        center: &Center,
        seq: Seq,
        kind: TransactionKind,
    ) -> Result<Transaction, LedgerError> {
        let found = transaction::get(&*self.lanes.database().read, center.no, seq).await?;
        match found {
            Some(transaction) if transaction.record.kind() == kind => Ok(transaction),
            _ => Err(CommissaryRefusal::PurchaseNotFound { purchase: seq }.into()),
        }
    }

    /// Up to `limit` purchases or returns before a number, latest first; of one detainee or of all.
    pub async fn list(
        &self,
        center: &Center,
        kind: TransactionKind,
        detainee: Option<&DetaineeId>,
        before: Option<Seq>,
        limit: i64,
    ) -> Result<Vec<JournalRecord>, LedgerError> {
        let read = &*self.lanes.database().read;
        let found = match detainee {
            Some(id) => {
                let account = self.custody.detainee(center, id).await?.available();
                transaction::of_account_before(read, center.no, account, kind, before, limit).await?
            }
            None => transaction::of_kind_before(read, center.no, kind, before, limit).await?,
        };
        Ok(found.into_iter().map(|transaction| transaction.record).collect())
    }

    /// Up to `limit` returns of one purchase before a number, latest first.
    pub async fn list_returns_of(
        &self,
        center: &Center,
        purchase: Seq,
        before: Option<Seq>,
        limit: i64,
    ) -> Result<Vec<JournalRecord>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let seqs = store::returns_of(&mut conn, center, purchase, before, limit).await?;
        let mut records = Vec::with_capacity(seqs.len());
        for seq in seqs {
            records.extend(
                transaction::get(&mut *conn, center.no, seq)
                    .await?
                    .map(|found| found.record),
            );
        }
        Ok(records)
    }

    /// How many pieces of each line of a purchase have come back.
    pub async fn returned(&self, center: &Center, purchase: Seq) -> Result<HashMap<i32, i64>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::returned(&mut conn, center, &[purchase])
            .await?
            .remove(&purchase)
            .unwrap_or_default())
    }

    /// What a detainee has spent in a month (the current one when none is told), and the limit that goes for it.
    pub async fn spending(
        &self,
        center: &Center,
        id: &DetaineeId,
        month: Option<Date>,
    ) -> Result<Spending, LedgerError> {
        let detainee = self.custody.detainee(center, id).await?;
        let month = month.unwrap_or_else(|| clock::month_of(center.zone.business_date(self.lanes.clock().now())));
        let mut conn = self.lanes.database().read.acquire().await?;
        let settings = crate::custody::settings_in_tx(&mut conn, center).await?;
        let limit = settings
            .monthly_limit(detainee.tier, month)
            .ok()
            .flatten()
            .ok_or(LedgerError::Internal)?;
        let mut months = store::spending(&mut conn, center, std::slice::from_ref(id)).await?;
        let spent = months
            .remove(id.as_str())
            .and_then(|months| months.get(&month).copied());
        Ok(Spending {
            month,
            limit,
            spent: spent.unwrap_or(Amount::zero(center.currency)),
        })
    }
}

/// A vendor, inside the caller's transaction.
pub async fn vendor_in_tx(conn: &mut Conn, center: &Center, id: &VendorId) -> db::Result<Option<Vendor>> {
    store::vendor(conn, center.no, id).await
}
