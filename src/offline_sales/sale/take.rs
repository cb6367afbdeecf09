//! Taking one sale in, as the next number of its terminal: paid, or put aside for finance, but always recorded.

use futures::future::{BoxFuture, FutureExt as _};
use time::Date;

use super::{
    super::{
        OfflineRefusal as R,
        entity::{Allowance, Bytes, Sale, SaleState, Told, odd_times},
        gap_subject, posting, sale_subject, store as allowances,
    },
    store::{self, Chain},
};
use crate::{
    commissary::{
        Sold, apply_sold, disagreement_in_tx, sold,
        spending::{self, Totals},
        want_sold,
    },
    custody::{self, room::DetaineeRoom},
    ids::TerminalId,
    ledger::{Center, Declined, Draft, JournalTx, Posting, RareCommand, Refusal, Request, State},
    money::Amount,
    proto::{
        OfflineSaleFacts, OfflineSaleStatement, OfflineSaleWork, SpendingFacts, TransactionKind, WorkFacts,
        journal_record::Facts, work_facts,
    },
    terminal,
    work::{self, Closing, NewItem, WorkKind},
};

/// The method that a sale's request names. No caller can call it: what makes it one of a kind is the sale itself.
pub(in crate::offline_sales) const TAKE_METHOD: &str = "custody.v1.OfflineSalesService/TakeOfflineSale";

/// A sale whose signature is the terminal's.
pub(in crate::offline_sales) struct Take {
    pub request: Request,
    pub terminal: TerminalId,
    pub statement: OfflineSaleStatement,
    pub bytes: Bytes,
    /// The key that verified it.
    pub public_key: [u8; 32],
    /// Who sent it.
    pub received_by: String,
}

/// How a sale is paid.
struct Paid {
    state: SaleState,
    sold: Sold,
    postings: Vec<Posting>,
    /// The date in whose windows it counts.
    counted_on: Date,
    /// What it spends of the limits, when it was not reserved.
    spending: Option<SpendingFacts>,
}

/// Why a sale waits for finance.
struct Aside {
    state: SaleState,
    reason: String,
    message: String,
}

impl Aside {
    fn review(reason: &str, message: impl ToString) -> Aside {
        Aside {
            state: SaleState::Review,
            reason: reason.to_owned(),
            message: message.to_string(),
        }
    }

    fn shortage(reason: &str, message: impl ToString) -> Aside {
        Aside {
            state: SaleState::Shortage,
            ..Aside::review(reason, message)
        }
    }

    fn refused(refusal: &Refusal) -> Aside {
        let name = refusal.reason().as_str_name();
        Aside::shortage(name.strip_prefix("REASON_").unwrap_or(name), &refusal.message)
    }
}

type Judged = Result<Result<Paid, Aside>, Declined>;

impl Take {
    async fn take(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let number = self.statement.number;
        let chain = store::chain(tx.conn(), center.no, &self.terminal).await?;
        if number != chain.last + 1 {
            return Err(R::NumberTaken { number }.into());
        }
        let told = Told::read(&self.statement, &center);
        let allowance = match &told {
            Ok(told) => allowances::allowance(tx.conn(), &center, told.allowance).await?,
            Err(_) => None,
        };
        let own = allowance
            .as_ref()
            .filter(|allowance| allowance.terminal == self.terminal);
        let mut flags: Vec<String> = told.as_ref().map_or_else(
            |_| Vec::new(),
            |told| {
                let odd = odd_times(told.sold_at, moment.recorded_at, chain.sold_at, own);
                odd.into_iter().map(ToOwned::to_owned).collect()
            },
        );
        let judged = match &told {
            Ok(told) => self.judge(tx, &center, &chain, told, allowance.as_ref()).await?,
            Err(why) => Err(Aside::review("STATEMENT_INVALID", why)),
        };
        if let Ok(paid) = &judged {
            flags.extend(paid.sold.is_stock_short.then(|| "STOCK_SHORT".to_owned()));
            flags.extend(paid.sold.is_restricted.then(|| "RESTRICTED".to_owned()));
        }
        let (state, reason, message) = match &judged {
            Ok(paid) => (paid.state, String::new(), String::new()),
            Err(aside) => (aside.state, aside.reason.clone(), aside.message.clone()),
        };
        let told = told.ok();
        let sale = Sale {
            terminal: self.terminal.clone(),
            number,
            seq: moment.seq,
            taken: state,
            reason,
            message,
            bytes: Some(self.bytes.clone()),
            detainee: told.as_ref().map(|told| told.detainee.to_string()).unwrap_or_default(),
            allowance: self.statement.allowance,
            total: told.as_ref().map_or(Amount::zero(center.currency), |told| told.total),
            sold_at: told.as_ref().map(|told| told.sold_at),
            flags,
            received_at: moment.recorded_at,
            received_by: self.received_by.clone(),
            end: None,
        };
        store::insert(tx.conn(), center.no, &sale).await?;
        self.close_gap(tx, &center).await?;
        if sale.taken.is_waiting() {
            work::raise(tx.rows(), item(&sale));
        }
        Ok(self.draft(&center, &sale, judged.ok()))
    }

    /// Compares a sale with all that is known, in this order: its chain, its terminal, whose money it is, prices, the limit of one
    /// order, and the money.
    async fn judge(
        &self,
        tx: &mut JournalTx,
        center: &Center,
        chain: &Chain,
        told: &Told,
        allowance: Option<&Allowance>,
    ) -> Judged {
        let first = chain.last == 0 && self.statement.previous_hash.iter().any(|byte| *byte != 0);
        if first || chain.hash.is_some_and(|hash| self.statement.previous_hash != hash) {
            return Ok(Err(Aside::review(
                "CHAIN_BROKEN",
                "it is not chained to the sale before",
            )));
        }
        let found = terminal::terminal_in_tx(tx.conn(), center, &self.terminal).await?;
        if found.is_none_or(|found| found.revoked.is_some()) {
            return Ok(Err(Aside::review("TERMINAL_REVOKED", "the terminal was revoked")));
        }
        if custody::detainee_in_tx(tx.conn(), center, &told.detainee)
            .await?
            .is_none()
        {
            return Ok(Err(Aside::review("DETAINEE_UNKNOWN", "there is no such detainee")));
        }
        let own = allowance.filter(|known| known.terminal == self.terminal && known.detainee == told.detainee);
        let Some(allowance) = own else {
            let message = format!("the terminal has no allowance {} of the detainee", told.allowance);
            return Ok(Err(Aside::review("ALLOWANCE_UNKNOWN", message)));
        };
        let since = allowance.reserved_at;
        if let Some(disagreement) = disagreement_in_tx(tx.conn(), center, &told.lines, since).await? {
            return Ok(Err(Aside::review(disagreement.name(), disagreement)));
        }
        let mut state = tx.known(|state| want(state, told)).await?;
        let sold = sold(&state, &tx.moment(), &told.detainee, &told.lines)?;
        let standing = state.room::<DetaineeRoom>()?.get(&told.detainee)?;
        if let Some(limit) = spending::order_limit(&state, &tx.moment(), &told.detainee, &standing)?
            && told.total.exceeds(limit)?
        {
            let message = format!("it costs {}, more than {limit}", told.total);
            return Ok(Err(Aside::shortage("ORDER_LIMIT_EXCEEDED", message)));
        }
        let paid = if allowance.end.is_some() {
            pay_late(tx, &mut state, told, sold)?
        } else {
            self.capture(tx, &mut state, allowance, told, sold).await?
        };
        if let Ok(paid) = &paid {
            apply_sold(&mut state, tx.rows(), &told.lines, &paid.sold.lines)?;
        }
        Ok(paid)
    }

    /// Pays out of the allowance. What does not count against limits is given back to them.
    async fn capture(
        &self,
        tx: &mut JournalTx,
        state: &mut State,
        allowance: &Allowance,
        told: &Told,
        sold: Sold,
    ) -> Judged {
        if told.total.exceeds(allowance.remaining)? {
            let message = format!("it costs {}, more than the {} left", told.total, allowance.remaining);
            return Ok(Err(Aside::shortage("ALLOWANCE_EXCEEDED", message)));
        }
        let remaining = allowance.remaining.checked_sub(told.total)?;
        let center = tx.center().no;
        allowances::set_remaining(tx.conn(), center, allowance.seq, remaining).await?;
        let uncounted = sold.totals.total.checked_sub(sold.totals.counted)?;
        spending::count_amount(
            state,
            tx.rows(),
            &told.detainee,
            allowance.counted_on,
            uncounted.negated(),
        )?;
        let held = state.room::<DetaineeRoom>()?.get(&told.detainee)?.held();
        Ok(Ok(Paid {
            state: SaleState::Captured,
            postings: posting::sold(held, &sold.vendors),
            sold,
            counted_on: allowance.counted_on,
            spending: None,
        }))
    }

    /// The next number that waits is what the terminal's gap is about; without one there is none.
    async fn close_gap(&self, tx: &mut JournalTx, center: &Center) -> Result<(), Declined> {
        let number = self.statement.number;
        allowances::delete_waiting(tx.conn(), center.no, &self.terminal, number).await?;
        if allowances::waiting_numbers(tx.conn(), center.no, &self.terminal, 1)
            .await?
            .is_empty()
        {
            let moment = tx.moment();
            let closing = Closing {
                kind: WorkKind::OfflineGap,
                subject: &gap_subject(&self.terminal),
                at: moment.recorded_at,
                actor: &self.request.actor,
                reason: "brought in",
                seq: Some(moment.seq),
            };
            work::close_in_tx(tx.conn(), center.no, &closing).await?;
        }
        Ok(())
    }

    fn draft(&self, center: &Center, sale: &Sale, paid: Option<Paid>) -> Draft {
        let business_date = |at| center.zone.business_date(at).to_string();
        let mut facts = OfflineSaleFacts {
            terminal: sale.terminal.to_string(),
            number: sale.number,
            statement: self.bytes.statement.clone(),
            signature: self.bytes.signature.clone(),
            public_key: self.public_key.to_vec(),
            state: sale.taken.name().to_owned(),
            reason: sale.reason.clone(),
            detainee: sale.detainee.clone(),
            allowance: sale.allowance,
            total: sale.total.to_string(),
            sold_on: sale.sold_at.map(business_date).unwrap_or_default(),
            flags: sale.flags.clone(),
            ..OfflineSaleFacts::default()
        };
        let Some(paid) = paid else {
            let kind = TransactionKind::OfflineSalePutAside;
            return Draft::new(kind, Vec::new(), Facts::OfflineSale(facts));
        };
        facts.counted = paid.sold.totals.counted.to_string();
        facts.counted_on = paid.counted_on.to_string();
        facts.lines = paid.sold.lines;
        facts.spending = paid.spending;
        Draft::new(TransactionKind::OfflineSale, paid.postings, Facts::OfflineSale(facts))
    }
}

/// Asks for what a decision reads.
pub(super) fn want(state: &mut State, told: &Told) {
    spending::want_amount(state, &told.detainee);
    want_sold(state, &told.detainee, &told.lines);
}

/// Pays from what is available, as a purchase of today.
fn pay_late(tx: &mut JournalTx, state: &mut State, told: &Told, sold: Sold) -> Judged {
    let Totals { counted, .. } = sold.totals;
    let (standing, facts) = match spending::check_amount(state, &tx.moment(), &told.detainee, &sold.totals) {
        Ok(checked) => checked,
        Err(Declined::Refused(refusal)) => return Ok(Err(Aside::refused(&refusal))),
        Err(error) => return Err(error),
    };
    let counted_on = spending::date_of(&facts)?;
    spending::count_amount(state, tx.rows(), &told.detainee, counted_on, counted)?;
    Ok(Ok(Paid {
        state: SaleState::SettledLate,
        postings: posting::sold(standing.available(), &sold.vendors),
        sold,
        counted_on,
        spending: Some(facts),
    }))
}

fn item(sale: &Sale) -> NewItem {
    let facts = OfflineSaleWork {
        terminal: sale.terminal.to_string(),
        number: sale.number,
        detainee: sale.detainee.clone(),
        allowance: sale.allowance,
        total: sale.total.to_string(),
        state: sale.taken.name().to_owned(),
        reason: sale.reason.clone(),
        message: sale.message.clone(),
    };
    let facts = WorkFacts {
        facts: Some(work_facts::Facts::OfflineSale(facts)),
    };
    let subject = sale_subject(&sale.terminal, sale.number);
    NewItem::new(WorkKind::OfflineSale, subject, facts, sale.received_at)
}

impl RareCommand for Take {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.take(tx).boxed()
    }
}
