//! The gateway's bill of a day against the ledger: what matches, what does not, and the fees the gateway kept.
//!
//! # Layout
//! - `entity`: the comparison, pure. `fee_rule`: which fees are recorded, pure. `fees`: the transaction that records the fees of what matches.
//!
//! # Invariants
//! 1. A payment or refund matches one row of one bill, by kind, our number, the gateway's number and the amount, all of them.
//! 2. The fee of a payment or refund is recorded once, whichever bills tell it how often.
//! 3. A payment's fee that is not what the channel's rate makes of it is a break. The gateway's own bill has it recorded as it tells
//!    it; one that somebody uploads records no fee that was not agreed.
//! 4. A run of a comparison is never changed. The same bill on the same ledger finds the run that is there.

mod entity;
mod error;
mod fee_rule;
mod fees;
mod posting;
mod store;
mod verify;

use std::collections::HashSet;

use entity::{BillEntry, Compared, Ledger, compare};
pub use entity::{Break, BreakKind, LedgerEntry, Source};
pub use error::ReconciliationRefusal;
use error::ReconciliationRefusal as R;
pub use fee_rule::BroughtBy;
use fee_rule::FeeRule;
use sha2::{Digest as _, Sha256};
pub use store::Cursor;
use time::{Date, OffsetDateTime};
pub use verify::FeesCheck;

use crate::{
    custody::Custody,
    gateway::{BillKind, BillRow, Channels, Gate},
    ids::{CenterNo, Seq},
    ledger::{Center, Lanes, LedgerError, Reason},
    money::Amount,
    refund::{self, parse_refund_number},
    remittance::{self, Learnt, Paid, Remittances, parse_order_number},
};

/// The longest bill that is read, in bytes.
pub const BILL_BYTES_MAX: usize = 32 * 1024 * 1024;

/// How often a run is numbered anew because another process was faster.
const ATTEMPTS_MAX: usize = 5;

/// The bill of one date of one channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillOf {
    /// The gateway channel.
    pub channel: String,
    /// The bill's date, in the center's time zone.
    pub date: Date,
}

/// One date of one channel, compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Reconciliation {
    /// Which bill.
    pub of: BillOf,
    /// Which comparison of it, from 1.
    pub run: i32,
    /// SHA-256 of the bill's bytes.
    pub sha256: Vec<u8>,
    /// Counts and sums.
    pub totals: Totals,
    /// The last transaction that recorded fees of this bill.
    pub fee_seq: Option<Seq>,
    /// When it was compared.
    pub created_at: OffsetDateTime,
}

/// What a comparison counts and sums.
#[derive(Debug, Clone, PartialEq)]
pub struct Totals {
    /// Rows of the bill that are this center's, or no center's.
    pub lines: i32,
    /// Of them, those that match.
    pub matched: i32,
    /// What does not match.
    pub breaks: i32,
    /// Payments in the bill.
    pub bill_paid: Amount,
    /// Refunds in the bill, positive.
    pub bill_refunded: Amount,
    /// Fees in the bill.
    pub bill_fees: Amount,
    /// Payments of the ledger that belong into the bill.
    pub ledger_paid: Amount,
    /// Refunds of the ledger that belong into the bill, positive.
    pub ledger_refunded: Amount,
}

/// The verbs of this domain.
#[derive(Clone)]
pub struct Reconciliations {
    lanes: Lanes,
    custody: Custody,
    channels: Channels,
    remittances: Remittances,
}

impl Reconciliations {
    /// The domain over its journals and the channels there are.
    pub fn new(lanes: Lanes, custody: Custody, channels: Channels) -> Reconciliations {
        Reconciliations {
            remittances: Remittances::new(lanes.clone(), custody.clone(), channels.clone()),
            lanes,
            custody,
            channels,
        }
    }

    /// Fetches a bill from the gateway, brings in what was paid and nobody told us of, and imports it.
    ///
    /// Errors: those of [`Reconciliations::import`], GATEWAY_REFUSED.
    pub async fn fetch(&self, center: &Center, of: BillOf, actor: &str) -> Result<Reconciliation, LedgerError> {
        self.require_over(center, of.date)?;
        let fetched = self.gate(&of)?.channel.fetch_bill(of.date).await;
        let bill = fetched.map_err(|error| R::Gateway {
            channel: of.channel.clone(),
            problem: error.to_string(),
        })?;
        let rows = self.read(center, &of, &bill).await?;
        self.bring_in(center, &of, &rows).await?;
        self.take(center, of, bill, actor, BroughtBy::Gateway).await
    }

    /// Takes the payments of our orders that the bill tells and the ledger does not have. A further payment of an order is told by
    /// no query, so that one whose notification was lost is found here only. What contradicts its order stays a break.
    ///
    /// Only of a bill that was fetched: one that somebody uploads is that one person's word, and moves no money.
    async fn bring_in(&self, center: &Center, of: &BillOf, rows: &[BillRow]) -> Result<(), LedgerError> {
        let compared = self.compare(center, of, rows, BroughtBy::Gateway).await?;
        let missing = compared
            .breaks
            .iter()
            .filter(|found| found.kind == BreakKind::OnlyInBill)
            .filter_map(|found| found.bill.as_ref())
            .filter(|row| row.kind == BillKind::Payment && center_of(row) == Some(center.no));
        for row in missing {
            let paid = Paid {
                order_number: row.order_number.clone(),
                gateway_transaction: row.gateway_id.clone(),
                amount: row.amount,
                paid_at: row.time,
            };
            if let Err(rejected) = self.remittances.confirm(&of.channel, &paid, Learnt::ByBill).await? {
                tracing::warn!(center = %center.id, order = row.order_number, %rejected, "a bill tells a payment that is not taken");
            }
        }
        Ok(())
    }

    /// The rows of a bill that this center has to explain.
    async fn read(&self, center: &Center, of: &BillOf, bill: &[u8]) -> Result<Vec<BillRow>, LedgerError> {
        let rows = self.gate(of)?.channel.parse_bill(bill).map_err(R::Bill)?;
        let rows = self.rows_of(center, rows).await?;
        if let Some(row) = rows.iter().find(|row| row.amount.currency() != center.currency) {
            return Err(R::Currency {
                row: row.row,
                found: row.amount.currency(),
                expected: center.currency,
            }
            .into());
        }
        Ok(rows)
    }

    /// Compares a bill that somebody brings with the ledger, records those fees of what matches that were agreed with the gateway,
    /// and keeps what came of it.
    ///
    /// A bill that cannot be read changes nothing. Imported again it is compared again: what was found meanwhile is no break
    /// any more, and if nothing changed, the answer is the run that is there.
    ///
    /// Errors: NOT_FOUND, DATE_NOT_OVER, INVALID_FIELD.
    pub async fn import(
        &self,
        center: &Center,
        of: BillOf,
        bill: Vec<u8>,
        actor: &str,
    ) -> Result<Reconciliation, LedgerError> {
        self.take(center, of, bill, actor, BroughtBy::Person).await
    }

    async fn take(
        &self,
        center: &Center,
        of: BillOf,
        bill: Vec<u8>,
        actor: &str,
        brought_by: BroughtBy,
    ) -> Result<Reconciliation, LedgerError> {
        self.require_over(center, of.date)?;
        let rows = self.read(center, &of, &bill).await?;
        for _ in 0..ATTEMPTS_MAX {
            let compared = self.compare(center, &of, &rows, brought_by).await?;
            if compared.new_entries.is_empty() {
                return self.keep(center, of, &bill, &compared, actor).await;
            }
            self.record(center, &of, &compared.new_entries, actor).await?;
        }
        // Others have been importing bills of this channel all the time.
        Err(LedgerError::Unavailable)
    }

    /// Up to `limit` reconciliations after a position, newest bill first; the last run of each.
    pub async fn list(
        &self,
        center: &Center,
        after: Option<&Cursor>,
        limit: i64,
    ) -> Result<Vec<Reconciliation>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::list(&mut conn, center, after, limit).await?)
    }

    /// The last run of a bill.
    ///
    /// Errors: NOT_FOUND.
    pub async fn get(&self, center: &Center, of: &BillOf) -> Result<Reconciliation, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::latest(&mut conn, center, of).await?;
        found.ok_or_else(|| R::NotFound { of: of.clone() }.into())
    }

    /// Up to `limit` breaks after a number, of the last run or of the one that is named; with the run they are of.
    ///
    /// Errors: NOT_FOUND.
    pub async fn breaks(
        &self,
        center: &Center,
        of: &BillOf,
        run: Option<i32>,
        after: i32,
        limit: i64,
    ) -> Result<(i32, Vec<Break>), LedgerError> {
        let run = match run {
            Some(run) => run,
            None => self.get(center, of).await?.run,
        };
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok((run, store::breaks(&mut conn, center, of, run, after, limit).await?))
    }

    fn gate(&self, of: &BillOf) -> Result<&Gate, R> {
        self.channels.get(&of.channel).ok_or_else(|| R::ChannelNotFound {
            channel: of.channel.clone(),
        })
    }

    /// A day that goes on would show breaks that are none.
    fn require_over(&self, center: &Center, date: Date) -> Result<(), R> {
        if center.zone.end_of(date) > self.lanes.clock().now() {
            return Err(R::DateNotOver { date });
        }
        Ok(())
    }

    /// The rows that this center has to explain: its own, and those that name no center at all. Others' are not its business.
    async fn rows_of(&self, center: &Center, rows: Vec<BillRow>) -> Result<Vec<BillRow>, LedgerError> {
        let centers: HashSet<CenterNo> = self
            .custody
            .all_centers()
            .await?
            .iter()
            .map(|center| center.no)
            .collect();
        let keeps = |row: &BillRow| match center_of(row) {
            Some(no) => no == center.no || !centers.contains(&no),
            None => true,
        };
        Ok(rows.into_iter().filter(keeps).collect())
    }

    async fn compare(
        &self,
        center: &Center,
        of: &BillOf,
        rows: &[BillRow],
        brought_by: BroughtBy,
    ) -> Result<Compared, LedgerError> {
        let mut tx = self.lanes.database().read.begin().await?;
        let day_before = of.date.previous_day().unwrap_or(of.date);
        let day = (center.zone.end_of(day_before), center.zone.end_of(of.date));
        let orders: Vec<_> = numbers(rows, BillKind::Payment)
            .filter_map(parse_order_number)
            .collect();
        let ids: Vec<_> = orders
            .into_iter()
            .filter(|(no, _)| *no == center.no)
            .map(|(_, id)| id)
            .collect();
        let refunds: Vec<_> = numbers(rows, BillKind::Refund)
            .filter_map(parse_refund_number)
            .collect();
        let seqs: Vec<_> = refunds
            .into_iter()
            .filter(|(no, _)| *no == center.no)
            .map(|(_, seq)| seq)
            .collect();
        let payments = remittance::posted_in_tx(&mut tx, center, &of.channel, &ids, day).await?;
        let refunds = refund::succeeded_in_tx(&mut tx, center, &of.channel, &seqs, day).await?;
        let entries = payments
            .into_iter()
            .map(|payment| LedgerEntry::payment(center.no, payment));
        let entries: Vec<_> = entries
            .chain(refunds.into_iter().map(|refund| LedgerEntry::refund(center.no, refund)))
            .collect();
        let told = store::told(&mut tx, center, &of.channel, &entries).await?;
        tx.commit().await?;
        let ledger = Ledger { entries, told };
        let rate = self.gate(of)?.fee_rate;
        let fees = FeeRule { rate, brought_by };
        compare(of.date, rows, &ledger, center.currency, fees).map_err(broken)
    }

    /// Remembers what matches, and records its fees.
    async fn record(
        &self,
        center: &Center,
        of: &BillOf,
        entries: &[BillEntry],
        actor: &str,
    ) -> Result<(), LedgerError> {
        if let Some(command) = fees::RecordFees::of(center, of, entries, actor) {
            match self.lanes.submit_rare(center, command).await {
                Ok(_) => {}
                // Another import has just recorded some or all of them: comparing again tells what is left.
                Err(LedgerError::RequestReused { .. }) => return Ok(()),
                Err(LedgerError::Refused { refusal, .. }) if refusal.reason() == Reason::AlreadyExists => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let free: Vec<&BillEntry> = entries.iter().filter(|entry| entry.fee.is_zero()).collect();
        let mut conn = self.lanes.database().lane.acquire().await?;
        store::insert_entries(&mut conn, center.no, of, &free, None).await?;
        Ok(())
    }

    /// Keeps the bill and the run, unless the last run found the same.
    async fn keep(
        &self,
        center: &Center,
        of: BillOf,
        bill: &[u8],
        compared: &Compared,
        actor: &str,
    ) -> Result<Reconciliation, LedgerError> {
        let sha256 = Sha256::digest(bill).to_vec();
        for _ in 0..ATTEMPTS_MAX {
            let mut tx = self.lanes.database().lane.begin().await?;
            let last = store::latest(&mut tx, center, &of).await?;
            if let Some(last) = &last
                && last.sha256 == sha256
                && last.totals == compared.totals
                && store::breaks(&mut tx, center, &of, last.run, 0, i64::MAX).await? == compared.breaks
            {
                return Ok(last.clone());
            }
            let new = Reconciliation {
                run: last.map_or(1, |last| last.run + 1),
                of: of.clone(),
                sha256: sha256.clone(),
                totals: compared.totals.clone(),
                fee_seq: None,
                created_at: self.lanes.clock().now(),
            };
            store::insert_bill(&mut tx, center.no, &sha256, bill).await?;
            if store::insert_run(&mut tx, center.no, &new, actor).await? {
                store::insert_breaks(&mut tx, center.no, &new, &compared.breaks).await?;
                tx.commit().await?;
                return self.get(center, &of).await;
            }
        }
        Err(LedgerError::Unavailable)
    }
}

fn numbers(rows: &[BillRow], kind: BillKind) -> impl Iterator<Item = &str> {
    let of_kind = rows.iter().filter(move |row| row.kind == kind);
    of_kind.map(BillRow::number)
}

/// The center that a row's numbers name.
fn center_of(row: &BillRow) -> Option<CenterNo> {
    match row.kind {
        BillKind::Payment => parse_order_number(row.number()).map(|(no, _)| no),
        BillKind::Refund => parse_refund_number(row.number()).map(|(no, _)| no),
    }
}

fn broken(error: crate::money::MoneyError) -> LedgerError {
    tracing::error!(%error, "a bill cannot be summed");
    LedgerError::Internal
}
