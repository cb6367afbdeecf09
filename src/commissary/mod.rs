//! The commissary: vendors, products and prices, purchases, orders and returns.

mod buyer;
mod catalogue;
mod entity;
mod error;
mod exchange;
mod kit;
pub mod moving;
mod orders;
mod posting;
mod purchase;
mod returns;
mod room;
mod sheet;
mod sold;
pub mod spending;
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
pub use kit::{Kit, KitGrant, KitLine};
pub use orders::{
    ChangeOrder, CreateOrder, DAY_MINUTES, DeliveredLine, EndedOrders, Order, OrderRefusal, OrderState, OrderView,
    OrderedLine, OrderingRules, OrderingWindow, Verb as OrderVerb, Verdict, WINDOWS_MAX, end_orders_in_tx,
    held_order_in_tx, verify::changes_of as order_changes_of,
};
pub use purchase::CreatePurchase;
pub use returns::{CreateReturn, ReturnLine};
pub use sheet::{FILE_BYTES_MAX, Format, SheetError};
pub use sold::{Disagreement, Sold, SoldLine, apply_sold, disagreement_in_tx, sold, want_sold};
pub use spending::{Spending, Window};
pub use stock::{MOVED_MAX, MovementKind, NewMovement, StockMovement};
pub use verify::CommissaryCheck;

use crate::{
    custody::Custody,
    db::{self, Conn},
    ids::{DetaineeId, ProductId, Seq, VendorId},
    ledger::{
        Center, Lanes, LedgerError, Posted, Request, center, record,
        transaction::{self, Transaction},
    },
    proto::{JournalRecord, TransactionKind, journal_record::Facts},
    terminal::Seller,
};

/// The verbs of this domain.
#[derive(Clone)]
pub struct Commissary {
    lanes: Lanes,
    custody: Custody,
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
        seller: impl Into<Seller>,
        lines: Vec<OrderLine>,
    ) -> Result<Posted, LedgerError> {
        self.lanes
            .submit(
                center,
                CreatePurchase {
                    request,
                    detainee,
                    seller: seller.into(),
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
        let told = (lines, String::new());
        self.take_back_authorised(center, request, purchase, told, reason).await
    }

    /// The same, and somebody else than whoever asks authorised it, unless the text is empty.
    ///
    /// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, RETURN_EXCEEDS_PURCHASE, TOO_LATE.
    pub async fn take_back_authorised(
        &self,
        center: &Center,
        request: Request,
        purchase: Seq,
        (lines, authorised_by): (Vec<ReturnLine>, String),
        reason: String,
    ) -> Result<Posted, LedgerError> {
        let found = self.transaction(center, purchase, TransactionKind::Purchase).await?;
        let bought_at = found.record.recorded_at.as_ref().and_then(record::instant);
        let Some((Facts::Purchase(bought), bought_at)) = found.record.facts.zip(bought_at) else {
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
            bought_at,
            authorised_by,
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
}

/// A vendor, inside the caller's transaction.
pub async fn vendor_in_tx(conn: &mut Conn, center: &Center, id: &VendorId) -> db::Result<Option<Vendor>> {
    store::vendor(conn, center.no, id).await
}
