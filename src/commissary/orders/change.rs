//! What becomes of an order: deliveries, cancellation, expiry, disputes, returns, and its end with the detainee's release.

use time::{Duration, OffsetDateTime};

use super::{
    entity::{DeliveredLine, How, LineChanges, Order, Verdict},
    room::{OrderRoom, RulesRoom, want_order},
    store::{self, ChangeRow, ChangeRows, LineRows, OrderRows},
};
use crate::{
    commissary::{
        posting,
        returns::ReturnLine,
        spending, stock,
        store::{ReturnRow, ReturnRows},
    },
    custody::{Detainee, room::DetaineeRoom},
    db::{self, Conn},
    ids::{AccountNo, CenterNo, DetaineeId, Seq},
    ledger::{Command, Declined, Draft, Entry, JournalTx, Moment, Posting, Request, Rows, State, record},
    money::Amount,
    proto::{
        OrderChangeFacts, OrderDisputeWork, ReturnFacts, ReturnLineFacts, TransactionKind, WorkFacts,
        journal_record::Facts, work_facts,
    },
    work::{self, Closing, NewItem, WorkKind},
};

/// What is to become of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verb {
    /// Goods came, or will not; each line at most once.
    Deliver(Vec<DeliveredLine>),
    /// It is given up.
    Cancel,
    /// Its hold is over.
    Expire,
    /// A line is disputed.
    Dispute {
        /// The line, from 1.
        line: i32,
    },
    /// A line's dispute is resolved.
    Resolve {
        /// The line, from 1.
        line: i32,
        /// Whom for.
        verdict: Verdict,
    },
    /// Goods come back; each line at most once.
    TakeBack {
        /// The lines.
        lines: Vec<ReturnLine>,
        /// Who authorised it; empty: whoever asks.
        authorised_by: String,
    },
}

/// Something becomes of an order.
#[derive(Debug)]
pub struct ChangeOrder {
    /// What identifies it.
    pub request: Request,
    /// The order.
    pub order: Seq,
    /// What.
    pub verb: Verb,
    /// Why.
    pub reason: String,
}

fn kind_of(how: How) -> TransactionKind {
    match how {
        How::Delivered => TransactionKind::OrderDelivered,
        How::Cancelled => TransactionKind::OrderCancelled,
        How::Expired => TransactionKind::OrderExpired,
        How::Disputed { .. } => TransactionKind::OrderDisputed,
        How::Resolved => TransactionKind::OrderDisputeResolved,
        How::Ended => TransactionKind::ReleaseOpened,
    }
}

/// How a record changed the order that it names.
pub(super) fn how_of(kind: TransactionKind, seq: Seq) -> Option<How> {
    Some(match kind {
        TransactionKind::OrderDelivered => How::Delivered,
        TransactionKind::OrderCancelled => How::Cancelled,
        TransactionKind::OrderExpired => How::Expired,
        TransactionKind::OrderDisputed => How::Disputed { by: seq },
        TransactionKind::OrderDisputeResolved => How::Resolved,
        TransactionKind::ReleaseOpened => How::Ended,
        _ => return None,
    })
}

/// What the record says of a change, and what it moves.
fn decided(
    state: &State,
    order: &Order,
    mut changes: LineChanges,
    (how, at): (How, OffsetDateTime),
    stock: &mut stock::Moved,
    reason: &str,
) -> Result<(OrderChangeFacts, super::Moves), Declined> {
    for change in changes.iter_mut().filter(|change| change.released > 0) {
        let line = order.line(change.line)?;
        if line.keeps_stock {
            change.stock_after = stock.add(state, &line.product, change.released.into())?.ok();
        }
    }
    let moves = order.moves(&changes, state.center().currency)?;
    let mut after = order.clone();
    after.change(&changes, how, at);
    let sum =
        |parts: &[(AccountNo, Amount)]| Amount::sum(parts.iter().map(|(_, amount)| *amount), state.center().currency);
    let facts = OrderChangeFacts {
        order: order.seq.0,
        detainee: order.detainee.to_string(),
        captured: sum(&moves.captured)?.to_string(),
        released: moves.released.to_string(),
        contested: sum(&moves.contested)?.to_string(),
        counted: moves.counted.to_string(),
        date: order.effective_date.to_string(),
        state: after.state.name().to_owned(),
        reason: reason.to_owned(),
        lines: changes,
    };
    Ok((facts, moves))
}

/// What the work of a dispute is about.
pub(super) fn subject(order: Seq, dispute: Seq) -> String {
    format!("orders/{order}/disputes/{dispute}")
}

/// Enters a change: the order's rows, the stock, what the limits get back, and the work that it makes or ends.
fn keep(
    state: &mut State,
    rows: &mut Rows,
    facts: &OrderChangeFacts,
    (how, seq, at): (How, Seq, OffsetDateTime),
    actor: &str,
) -> Result<(), Declined> {
    let before = state.room::<OrderRoom>()?.get(Seq(facts.order))?.clone();
    let mut order = before.clone();
    order.change(&facts.lines, how, at);
    for change in &facts.lines {
        let line = before.line(change.line)?;
        stock::apply(state, rows, &line.product, change.stock_after)?;
        if let Some(set) = rows.of::<ChangeRows>() {
            set.0.push(ChangeRow {
                seq,
                order: order.seq,
                change: *change,
                state: order.state,
            });
        }
        match (how, line.dispute) {
            (How::Disputed { .. }, _) => {
                let hours = state.room::<RulesRoom>()?.get()?.dispute_hours;
                let held = order.line(change.line)?.held()?;
                let work = OrderDisputeWork {
                    order: order.seq.0,
                    line: change.line,
                    detainee: facts.detainee.clone(),
                    product: line.product.to_string(),
                    amount: held.to_string(),
                    reason: facts.reason.clone(),
                };
                let work = WorkFacts {
                    facts: Some(work_facts::Facts::OrderDispute(work)),
                };
                let item = NewItem::new(WorkKind::OrderDispute, subject(order.seq, seq), work, at);
                work::raise(rows, item.due(at + Duration::hours(hours.into())));
            }
            (How::Resolved | How::Ended, Some(dispute)) => work::close(
                rows,
                &Closing {
                    kind: WorkKind::OrderDispute,
                    subject: &subject(order.seq, dispute),
                    at,
                    actor,
                    reason: if how == How::Ended { "released" } else { "resolved" },
                    seq: Some(seq),
                },
            ),
            _ => {}
        }
    }
    put(state, rows, &order)?;
    let counted = Amount::parse(&facts.counted, state.center().currency)?;
    spending::give_back(state, rows, &order.detainee, order.effective_date, counted)
}

/// Keeps an order as it is now.
fn put(state: &mut State, rows: &mut Rows, order: &Order) -> Result<(), Declined> {
    if let Some(set) = rows.of::<OrderRows>() {
        set.put(order);
    }
    if let Some(set) = rows.of::<LineRows>() {
        set.put(order);
    }
    state.room_mut::<OrderRoom>()?.set(order);
    Ok(())
}

impl ChangeOrder {
    fn change(&self, state: &State, order: &Order, moment: &Moment) -> Result<(How, LineChanges), Declined> {
        let now = moment.recorded_at;
        let days = state.room::<RulesRoom>()?.get()?.return_days;
        Ok(match &self.verb {
            Verb::Deliver(lines) => (How::Delivered, order.deliver(lines, now)?),
            Verb::Cancel => (How::Cancelled, order.cancel(now)?),
            Verb::Expire => (How::Expired, order.expire(now)?),
            Verb::Dispute { line } => (How::Disputed { by: moment.seq }, order.dispute(*line, days, now)?),
            Verb::Resolve { line, verdict } => (How::Resolved, order.resolve(*line, *verdict)?),
            Verb::TakeBack { .. } => return Err(Declined::Broken("a return is no change of what is held".into())),
        })
    }

    fn take_back(
        &self,
        state: &State,
        order: &Order,
        (lines, authorised_by): (&[ReturnLine], &str),
        moment: &Moment,
    ) -> Result<Draft, Declined> {
        let standing = state.room::<DetaineeRoom>()?.get_active(&order.detainee)?;
        let days = state.room::<RulesRoom>()?.get()?.return_days;
        let zero = Amount::zero(state.center().currency);
        let (mut total, mut counted, mut moved) = (zero, zero, stock::Moved::default());
        let (mut told, mut postings) = (Vec::with_capacity(lines.len()), Vec::with_capacity(lines.len()));
        for back in lines {
            let pieces = i32::try_from(back.quantity).map_err(|_| Declined::Broken("quantity".into()))?;
            let line = order.take_back(back.line, pieces, days, moment.recorded_at)?;
            let amount = line.cost(pieces)?;
            total = total.checked_add(amount)?;
            if line.counted {
                counted = counted.checked_add(amount)?;
            }
            let stock_after = if line.keeps_stock {
                moved.add(state, &line.product, pieces.into())?.ok()
            } else {
                None
            };
            postings.push(posting::came_back(line.payable_no, standing.available(), amount));
            told.push(ReturnLineFacts {
                line: back.line,
                quantity: pieces,
                amount: amount.to_string(),
                stock_after,
            });
        }
        let facts = ReturnFacts {
            purchase: order.seq.0,
            detainee: order.detainee.to_string(),
            lines: told,
            total: total.to_string(),
            counted: counted.to_string(),
            reason: self.reason.clone(),
            date: order.effective_date.to_string(),
            authorised_by: authorised_by.to_owned(),
            of_order: true,
        };
        Ok(Draft::new(TransactionKind::Return, postings, Facts::Return(facts)).reversing(order.seq))
    }

    fn keep_return(
        &self,
        entry: &Entry,
        facts: &ReturnFacts,
        state: &mut State,
        rows: &mut Rows,
    ) -> Result<(), Declined> {
        let mut order = state.room::<OrderRoom>()?.get(self.order)?.clone();
        let currency = state.center().currency;
        for back in &facts.lines {
            order.came_back(back.line, back.quantity);
            stock::apply(state, rows, &order.line(back.line)?.product, back.stock_after)?;
            if let Some(set) = rows.of::<ReturnRows>() {
                set.0.push(ReturnRow {
                    seq: entry.seq,
                    purchase: self.order,
                    line: i16::try_from(back.line).map_err(|_| Declined::Broken("line".into()))?,
                    quantity: back.quantity,
                    amount: Amount::parse(&back.amount, currency)?,
                });
            }
        }
        put(state, rows, &order)?;
        let counted = Amount::parse(&facts.counted, currency)?;
        spending::give_back(state, rows, &order.detainee, order.effective_date, counted)
    }
}

impl Command for ChangeOrder {
    fn request(&self) -> &Request {
        &self.request
    }

    fn want(&self, state: &mut State) {
        want_order(state, self.order);
    }

    fn decide(&self, state: &State, moment: &Moment) -> Result<Draft, Declined> {
        let order = state.room::<OrderRoom>()?.get(self.order)?;
        if let Verb::TakeBack { lines, authorised_by } = &self.verb {
            return self.take_back(state, order, (lines, authorised_by), moment);
        }
        let (how, changes) = self.change(state, order, moment)?;
        let standing = state.room::<DetaineeRoom>()?.get(&order.detainee)?;
        let (mut stock, at) = (stock::Moved::default(), moment.recorded_at);
        let (facts, moves) = decided(state, order, changes, (how, at), &mut stock, &self.reason)?;
        let postings = posting::order_changed((standing.available(), standing.held()), &moves);
        Ok(Draft::new(kind_of(how), postings, Facts::OrderChange(facts)).reversing(order.seq))
    }

    fn apply(&self, entry: &Entry, state: &mut State, rows: &mut Rows) -> Result<(), Declined> {
        let broken = || Declined::Broken("a change of an order without its facts".into());
        let at = entry.record.recorded_at.as_ref().and_then(record::instant);
        let at = at.ok_or_else(broken)?;
        match &entry.record.facts {
            Some(Facts::Return(facts)) => self.keep_return(entry, facts, state, rows),
            Some(Facts::OrderChange(facts)) => {
                let how = how_of(entry.record.kind(), entry.seq).ok_or_else(broken)?;
                keep(state, rows, facts, (how, entry.seq, at), &self.request.actor)
            }
            _ => Err(broken()),
        }
    }
}

/// The orders that end with a detainee's stay.
#[derive(Debug, Default)]
pub struct EndedOrders {
    /// What becomes of each, for the record.
    pub facts: Vec<OrderChangeFacts>,
    /// What was held for each is available again: one posting for each, in the same order.
    pub postings: Vec<Posting>,
}

/// Ends all orders of a detainee, within the caller's transaction: what is held for them is available again by the postings, which
/// the caller puts before its own; stock and limits get back what they gave. The caller keeps the facts in its record.
///
/// Errors: ORDER_DISPUTED when goods that have come are in dispute.
pub async fn end_orders_in_tx(
    tx: &mut JournalTx,
    detainee: &Detainee,
    (actor, reason): (&str, &str),
) -> Result<EndedOrders, Declined> {
    let (no, moment) = (tx.center().no, tx.moment());
    let seqs = store::held_of(tx.conn(), no, &detainee.id).await?;
    let mut ended = EndedOrders::default();
    if seqs.is_empty() {
        return Ok(ended);
    }
    tx.load(|state| seqs.iter().for_each(|seq| want_order(state, *seq)))
        .await?;
    let [available, held, ..] = detainee.accounts();
    let (state, rows) = tx.state_and_rows();
    let at = moment.recorded_at;
    for seq in seqs {
        let order = state.room::<OrderRoom>()?.get(seq)?;
        let changes = order.end()?;
        // What one order gives back is in the rooms before the next is decided.
        let mut stock = stock::Moved::default();
        let (facts, moves) = decided(state, order, changes, (How::Ended, at), &mut stock, reason)?;
        keep(state, rows, &facts, (How::Ended, moment.seq, at), actor)?;
        ended.postings.extend(posting::order_changed((available, held), &moves));
        ended.facts.push(facts);
    }
    Ok(ended)
}

/// The oldest order of a detainee of which something is held, if there is one, within the caller's transaction.
pub async fn held_order_in_tx(conn: &mut Conn, center: CenterNo, detainee: &DetaineeId) -> db::Result<Option<Seq>> {
    Ok(store::held_of(conn, center, detainee).await?.first().copied())
}
