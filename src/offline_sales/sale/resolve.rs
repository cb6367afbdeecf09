//! How finance ends sales that wait, and numbers that never come.

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    super::{
        OfflineRefusal as R,
        entity::{Sale, SaleState, Told, missing},
        posting, sale_subject, store as rest,
    },
    store,
    take::want,
};
use crate::{
    commissary::{Disagreement, Sold, apply_sold, disagreement_in_tx, sold, spending},
    custody::{self, room::DetaineeRoom},
    db::Conn,
    ids::TerminalId,
    ledger::{Center, Declined, Draft, JournalTx, RareCommand, Request, record},
    money::Amount,
    proto::{ApprovalFacts, OfflineSaleEndFacts, OfflineSkipFacts, TransactionKind, journal_record::Facts},
    work::{self, Closing, WorkKind},
};

/// How many sales that wait are looked at to find the numbers before them.
const WAITING_MAX: i64 = 1;

/// How a sale ends.
#[derive(Debug, Clone)]
pub(in crate::offline_sales) enum Way {
    /// The detainee pays from what is available.
    Charge,
    /// The center pays, as others have allowed.
    WriteOff(ApprovalFacts),
    /// Nobody pays.
    Dismiss,
}

impl Way {
    fn state(&self) -> SaleState {
        match self {
            Way::Charge => SaleState::Charged,
            Way::WriteOff(_) => SaleState::WrittenOff,
            Way::Dismiss => SaleState::Dismissed,
        }
    }

    fn kind(&self) -> TransactionKind {
        match self {
            Way::Charge => TransactionKind::OfflineSaleCharged,
            Way::WriteOff(_) => TransactionKind::OfflineSaleWrittenOff,
            Way::Dismiss => TransactionKind::OfflineSaleDismissed,
        }
    }

    fn approval(&self) -> Option<&ApprovalFacts> {
        match self {
            Way::WriteOff(approval) => Some(approval),
            Way::Charge | Way::Dismiss => None,
        }
    }
}

/// A sale that waits for finance, inside the caller's transaction.
///
/// Errors: NOT_FOUND, OFFLINE_SALE_NOT_WAITING.
pub(in crate::offline_sales) async fn waiting_in_tx(
    conn: &mut Conn,
    center: &Center,
    terminal: &TerminalId,
    number: i64,
) -> Result<Sale, Declined> {
    let found = store::get(conn, center, terminal, number).await?;
    let sale = found.ok_or(R::SaleNotFound { number })?;
    if sale.state().is_waiting() {
        return Ok(sale);
    }
    let state = sale.state().name();
    Err(R::NotWaiting { number, state }.into())
}

/// What a sale that waits says, if it can be paid at all: its products are there, and so is its detainee.
///
/// Errors: NOT_FOUND, OFFLINE_SALE_NOT_WAITING, OFFLINE_SALE_NOT_PRICED.
pub(in crate::offline_sales) async fn payable_in_tx(
    conn: &mut Conn,
    center: &Center,
    terminal: &TerminalId,
    number: i64,
) -> Result<(Sale, Told), Declined> {
    let sale = waiting_in_tx(conn, center, terminal, number).await?;
    let not_priced = |why: String| R::NotPriced { number, why };
    let bytes = sale.bytes.as_ref().map(|bytes| bytes.statement.as_slice());
    let statement = record::read_canonical(bytes.unwrap_or_default())?;
    let told = Told::read(&statement, center).map_err(not_priced)?;
    if custody::detainee_in_tx(conn, center, &told.detainee).await?.is_none() {
        return Err(not_priced(format!("detainee {} does not exist", told.detainee)).into());
    }
    // Whether the prices were right is for finance to judge; but only what is there can be owed to somebody.
    let disagreement = disagreement_in_tx(conn, center, &told.lines, sale.received_at).await?;
    if let Some(unknown @ Disagreement::ProductUnknown { .. }) = disagreement {
        return Err(not_priced(unknown.to_string()).into());
    }
    Ok((sale, told))
}

/// Ends a sale that waits for finance.
pub(in crate::offline_sales) struct Resolve {
    pub request: Request,
    pub terminal: TerminalId,
    pub number: i64,
    pub way: Way,
    pub reason: String,
}

impl Resolve {
    async fn resolve(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let (terminal, number) = (&self.terminal, self.number);
        let mut facts = OfflineSaleEndFacts {
            terminal: terminal.to_string(),
            number,
            counted: Amount::zero(center.currency).to_string(),
            reason: self.reason.clone(),
            approval: self.way.approval().cloned(),
            ..OfflineSaleEndFacts::default()
        };
        let (sale, postings) = match &self.way {
            Way::Dismiss => {
                let sale = waiting_in_tx(tx.conn(), &center, terminal, number).await?;
                (sale, Vec::new())
            }
            Way::Charge | Way::WriteOff(_) => {
                let (sale, told) = payable_in_tx(tx.conn(), &center, terminal, number).await?;
                let mut state = tx.known(|state| want(state, &told)).await?;
                let sold = sold(&state, &moment, &told.detainee, &told.lines)?;
                apply_sold(&mut state, tx.rows(), &told.lines, &sold.lines)?;
                let postings = if matches!(self.way, Way::Charge) {
                    let standing = state.room::<DetaineeRoom>()?.get(&told.detainee)?;
                    let available = state.balance(standing.available())?;
                    if told.total.exceeds(available)? {
                        let required = told.total;
                        return Err(R::Funds { available, required }.into());
                    }
                    let date = moment.effective_date;
                    spending::count_amount(&mut state, tx.rows(), &told.detainee, date, sold.totals.counted)?;
                    facts.counted = sold.totals.counted.to_string();
                    facts.counted_on = date.to_string();
                    posting::sold(standing.available(), &sold.vendors)
                } else {
                    posting::written_off(&sold.vendors)
                };
                let Sold { lines, .. } = sold;
                facts.lines = lines;
                (sale, postings)
            }
        };
        facts.detainee = sale.detainee.clone();
        facts.total = sale.total.to_string();
        let end = (self.way.state(), moment.seq);
        let approval = self.way.approval().map(|approval| approval.approval);
        store::end(tx.conn(), center.no, &sale, end, approval).await?;
        let closing = Closing {
            kind: WorkKind::OfflineSale,
            subject: &sale_subject(terminal, number),
            at: moment.recorded_at,
            actor: &self.request.actor,
            reason: &self.reason,
            seq: Some(moment.seq),
        };
        work::close_in_tx(tx.conn(), center.no, &closing).await?;
        Ok(Draft::new(self.way.kind(), postings, Facts::OfflineSaleEnd(facts)).reversing(sale.seq))
    }
}

impl RareCommand for Resolve {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.resolve(tx).boxed()
    }
}

/// Declares numbers lost, from the one after the last that was taken in.
pub(in crate::offline_sales) struct Skip {
    pub request: Request,
    pub terminal: TerminalId,
    pub through: i64,
    pub reason: String,
}

impl Skip {
    async fn skip(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let chain = store::chain(tx.conn(), center.no, &self.terminal).await?;
        let waiting = rest::waiting_numbers(tx.conn(), center.no, &self.terminal, WAITING_MAX).await?;
        let gap = missing(chain.last, &waiting).into_iter().next();
        // Without a sale that waits there is no telling whether anything is missing.
        let (first, last) = gap.unwrap_or((chain.last + 1, chain.last));
        if self.through < first || self.through > last {
            return Err(R::NotMissing { first, last }.into());
        }
        for number in first..=self.through {
            let lost = Sale {
                terminal: self.terminal.clone(),
                number,
                seq: moment.seq,
                taken: SaleState::Skipped,
                reason: String::new(),
                message: self.reason.clone(),
                bytes: None,
                detainee: String::new(),
                allowance: 0,
                total: Amount::zero(center.currency),
                sold_at: None,
                flags: Vec::new(),
                received_at: moment.recorded_at,
                received_by: self.request.actor.clone(),
                end: None,
            };
            store::insert(tx.conn(), center.no, &lost).await?;
        }
        let facts = OfflineSkipFacts {
            terminal: self.terminal.to_string(),
            first_number: first,
            last_number: self.through,
            reason: self.reason.clone(),
        };
        let kind = TransactionKind::OfflineNumbersSkipped;
        Ok(Draft::new(kind, Vec::new(), Facts::OfflineSkip(facts)))
    }
}

impl RareCommand for Skip {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.skip(tx).boxed()
    }
}
