//! Where an order stands and what may become of it, pure.

use time::{Date, OffsetDateTime};

use super::OrderRefusal as R;
use crate::{
    ids::{AccountNo, DetaineeId, ProductId, Seq},
    money::{Amount, Currency, MoneyError},
    proto::OrderLineChangeFacts,
};

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderState {
    /// Something is still to come.
    Open,
    /// Everything has come.
    Delivered,
    /// Something will not come.
    Short,
    /// Given up before its cut-off.
    Cancelled,
    /// The hold's time was over before all had come.
    Expired,
    /// The detainee left.
    Ended,
}

impl OrderState {
    /// Every state.
    pub const ALL: [OrderState; 6] = [
        OrderState::Open,
        OrderState::Delivered,
        OrderState::Short,
        OrderState::Cancelled,
        OrderState::Expired,
        OrderState::Ended,
    ];

    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            OrderState::Open => "OPEN",
            OrderState::Delivered => "DELIVERED",
            OrderState::Short => "SHORT",
            OrderState::Cancelled => "CANCELLED",
            OrderState::Expired => "EXPIRED",
            OrderState::Ended => "ENDED",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<OrderState> {
        OrderState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// One line of an order. What is ordered is always the sum of the five others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The product.
    pub product: ProductId,
    /// What is owed to its vendor.
    pub payable_no: AccountNo,
    /// How many were ordered.
    pub quantity: i32,
    /// Price of one.
    pub unit_price: Amount,
    /// Whether it counts against the spending limits.
    pub counted: bool,
    /// Whether it was counted in stock when it was ordered.
    pub keeps_stock: bool,
    /// How many are to come.
    pub open: i32,
    /// How many have come and are paid for.
    pub delivered: i32,
    /// How many will not come.
    pub released: i32,
    /// How many came back, or were paid back after a dispute.
    pub returned: i32,
    /// How many have come and are in dispute.
    pub disputed: i32,
    /// The transaction that opened the dispute; none when there is none.
    pub dispute: Option<Seq>,
}

impl Line {
    /// What some pieces of it cost.
    pub fn cost(&self, pieces: i32) -> Result<Amount, MoneyError> {
        // Pieces are bounded by what was ordered, and that is positive.
        self.unit_price.checked_mul(pieces.unsigned_abs())
    }

    /// What of it is held.
    pub fn held(&self) -> Result<Amount, MoneyError> {
        self.cost(self.open + self.disputed)
    }

    fn require_undisputed(&self, line: i32) -> Result<(), R> {
        match self.dispute {
            None => Ok(()),
            Some(_) => Err(R::LineDisputed { line }),
        }
    }
}

/// An order as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The transaction that ordered it.
    pub seq: Seq,
    /// For whom.
    pub detainee: DetaineeId,
    /// Its business date: the spending limits got it then.
    pub effective_date: Date,
    /// When.
    pub placed_at: OffsetDateTime,
    /// Until when it can be cancelled; none where orders are taken at any time.
    pub cut_off_at: Option<OffsetDateTime>,
    /// When its hold ends.
    pub expires_at: OffsetDateTime,
    /// When something of it came last.
    pub delivered_at: Option<OffsetDateTime>,
    /// Where it stands.
    pub state: OrderState,
    /// How much became of it.
    pub changes: i64,
    /// Its lines, line 1 first.
    pub lines: Vec<Line>,
}

/// What is told of one line of a delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveredLine {
    /// The order's line, from 1.
    pub line: i32,
    /// How many came.
    pub quantity: i32,
    /// How many will not come.
    pub short: i32,
    /// Which product came; none: the ordered one.
    pub product: Option<ProductId>,
}

/// Whom a dispute is resolved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The vendor is paid.
    ForVendor,
    /// The detainee gets the money back.
    ForDetainee,
}

/// What becomes of some lines, in pieces; lines without a change are left out.
pub type LineChanges = Vec<OrderLineChangeFacts>;

/// What a change moves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moves {
    /// Held to each vendor's payable.
    pub captured: Vec<(AccountNo, Amount)>,
    /// Held to available.
    pub released: Amount,
    /// Each vendor's payable to held.
    pub contested: Vec<(AccountNo, Amount)>,
    /// What the spending limits get back.
    pub counted: Amount,
}

fn add_to(sums: &mut Vec<(AccountNo, Amount)>, no: AccountNo, amount: Amount) -> Result<(), MoneyError> {
    if amount.is_zero() {
        return Ok(());
    }
    match sums.iter_mut().find(|(known, _)| *known == no) {
        Some((_, sum)) => *sum = sum.checked_add(amount)?,
        None => sums.push((no, amount)),
    }
    Ok(())
}

impl Order {
    /// A line, from 1.
    pub fn line(&self, line: i32) -> Result<&Line, R> {
        let index = usize::try_from(line).ok().and_then(|line| line.checked_sub(1));
        index
            .and_then(|index| self.lines.get(index))
            .ok_or(R::LineNotFound { line })
    }

    /// Whether something of it is held.
    pub fn is_held(&self) -> bool {
        self.lines.iter().any(|line| line.open + line.disputed > 0)
    }

    /// What of it is held.
    pub fn held(&self, currency: Currency) -> Result<Amount, MoneyError> {
        let held = self.lines.iter().map(Line::held).collect::<Result<Vec<_>, _>>()?;
        Amount::sum(held, currency)
    }

    /// Lines with their numbers.
    fn numbered(&self) -> impl Iterator<Item = (i32, &Line)> {
        (1..).zip(&self.lines)
    }

    fn require_open(&self, now: OffsetDateTime) -> Result<(), R> {
        let state = match self.state {
            // Its hold is over; that the job has not come yet changes nothing.
            OrderState::Open if now >= self.expires_at => OrderState::Expired,
            OrderState::Open => return Ok(()),
            other => other,
        };
        Err(R::NotOpen { state: state.name() })
    }

    /// Goods come, or it is said that they will not.
    ///
    /// Errors: ORDER_NOT_OPEN, NOT_FOUND, SUBSTITUTION_REFUSED, LINE_DISPUTED, DELIVERY_EXCEEDS_ORDER.
    pub fn deliver(&self, told: &[DeliveredLine], now: OffsetDateTime) -> Result<LineChanges, R> {
        self.require_open(now)?;
        let mut changes = LineChanges::with_capacity(told.len());
        for told in told {
            let line = self.line(told.line)?;
            if let Some(product) = told.product.as_ref().filter(|product| **product != line.product) {
                return Err(R::Substitution {
                    line: told.line,
                    ordered: line.product.clone(),
                    told: product.clone(),
                });
            }
            line.require_undisputed(told.line)?;
            let asked = told.quantity.saturating_add(told.short);
            if asked > line.open {
                return Err(R::DeliveryExceeds {
                    line: told.line,
                    asked,
                    left: line.open,
                });
            }
            changes.push(OrderLineChangeFacts {
                line: told.line,
                delivered: told.quantity,
                released: told.short,
                ..OrderLineChangeFacts::default()
            });
        }
        Ok(changes)
    }

    fn release(&self, of: impl Fn(&Line) -> bool) -> LineChanges {
        let open = self.numbered().filter(|(_, line)| line.open > 0 && of(line));
        open.map(|(number, line)| OrderLineChangeFacts {
            line: number,
            released: line.open,
            ..OrderLineChangeFacts::default()
        })
        .collect()
    }

    /// It is given up.
    ///
    /// Errors: ORDER_NOT_OPEN, CUT_OFF_OVER, DELIVERY_BEGUN, LINE_DISPUTED.
    pub fn cancel(&self, now: OffsetDateTime) -> Result<LineChanges, R> {
        self.require_open(now)?;
        if let Some(cut_off_at) = self.cut_off_at.filter(|cut_off_at| now >= *cut_off_at) {
            return Err(R::CutOffOver { cut_off_at });
        }
        if self.delivered_at.is_some() {
            return Err(R::DeliveryBegun);
        }
        for (number, line) in self.numbered() {
            line.require_undisputed(number)?;
        }
        Ok(self.release(|_| true))
    }

    /// Its hold is over. Lines in dispute wait.
    ///
    /// Errors: ORDER_NOT_OPEN, HOLD_NOT_OVER, LINE_DISPUTED when there is nothing else to release.
    pub fn expire(&self, now: OffsetDateTime) -> Result<LineChanges, R> {
        if self.state != OrderState::Open {
            return Err(R::NotOpen {
                state: self.state.name(),
            });
        }
        if now < self.expires_at {
            return Err(R::HoldNotOver {
                expires_at: self.expires_at,
            });
        }
        let changes = self.release(|line| line.dispute.is_none());
        match changes.first() {
            Some(_) => Ok(changes),
            None => Err(R::LineDisputed {
                line: self.first_disputed().unwrap_or_default(),
            }),
        }
    }

    /// The detainee leaves: what was to come will not.
    ///
    /// Errors: ORDER_DISPUTED when goods that have come are in dispute.
    pub fn end(&self) -> Result<LineChanges, R> {
        if let Some((line, _)) = self.numbered().find(|(_, line)| line.disputed > 0) {
            return Err(R::OrderDisputed { order: self.seq, line });
        }
        Ok(self.release(|_| true))
    }

    fn first_disputed(&self) -> Option<i32> {
        let mut disputed = self.numbered().filter(|(_, line)| line.dispute.is_some());
        disputed.next().map(|(number, _)| number)
    }

    /// Until when goods can come back and lines be disputed.
    fn closes_at(&self, return_days: i32) -> Option<OffsetDateTime> {
        self.delivered_at
            .map(|at| at.saturating_add(time::Duration::days(return_days.into())))
    }

    fn require_in_time(&self, return_days: i32, now: OffsetDateTime) -> Result<(), R> {
        match self.closes_at(return_days) {
            Some(until) if now >= until => Err(R::TooLate { until }),
            _ => Ok(()),
        }
    }

    /// A line is disputed.
    ///
    /// Errors: NOT_FOUND, LINE_DISPUTED, NOTHING_TO_DISPUTE, TOO_LATE.
    pub fn dispute(&self, number: i32, return_days: i32, now: OffsetDateTime) -> Result<LineChanges, R> {
        let line = self.line(number)?;
        line.require_undisputed(number)?;
        if line.open + line.delivered == 0 {
            return Err(R::NothingToDispute { line: number });
        }
        if line.open == 0 {
            self.require_in_time(return_days, now)?;
        }
        Ok(vec![OrderLineChangeFacts {
            line: number,
            contested: line.delivered,
            ..OrderLineChangeFacts::default()
        }])
    }

    /// A line's dispute is resolved.
    ///
    /// Errors: NOT_FOUND, LINE_NOT_DISPUTED.
    pub fn resolve(&self, number: i32, verdict: Verdict) -> Result<LineChanges, R> {
        let line = self.line(number)?;
        if line.dispute.is_none() {
            return Err(R::LineNotDisputed { line: number });
        }
        let mut change = OrderLineChangeFacts {
            line: number,
            ..OrderLineChangeFacts::default()
        };
        match verdict {
            Verdict::ForVendor => change.upheld = line.disputed,
            Verdict::ForDetainee => (change.conceded, change.released) = (line.disputed, line.open),
        }
        Ok(vec![change])
    }

    /// Pieces of a line come back.
    ///
    /// Errors: NOT_FOUND, LINE_DISPUTED, RETURN_EXCEEDS_PURCHASE, TOO_LATE.
    pub fn take_back(&self, number: i32, pieces: i32, return_days: i32, now: OffsetDateTime) -> Result<&Line, R> {
        let line = self.line(number)?;
        line.require_undisputed(number)?;
        if pieces > line.delivered {
            return Err(R::ReturnExceeds {
                line: number,
                asked: pieces,
                left: line.delivered,
            });
        }
        self.require_in_time(return_days, now)?;
        Ok(line)
    }

    /// What changes of lines move.
    pub fn moves(&self, changes: &[OrderLineChangeFacts], currency: Currency) -> Result<Moves, MoneyError> {
        let zero = Amount::zero(currency);
        let mut moves = Moves {
            captured: Vec::new(),
            released: zero,
            contested: Vec::new(),
            counted: zero,
        };
        for change in changes {
            let Ok(line) = self.line(change.line) else { continue };
            add_to(
                &mut moves.captured,
                line.payable_no,
                line.cost(change.delivered + change.upheld)?,
            )?;
            add_to(&mut moves.contested, line.payable_no, line.cost(change.contested)?)?;
            let back = line.cost(change.released + change.conceded)?;
            moves.released = moves.released.checked_add(back)?;
            if line.counted {
                moves.counted = moves.counted.checked_add(back)?;
            }
        }
        Ok(moves)
    }

    /// Takes changes of lines over. A dispute begins with the transaction `begun`, or ends by `ended`.
    pub fn change(&mut self, changes: &[OrderLineChangeFacts], how: How, at: OffsetDateTime) {
        for change in changes {
            let index = usize::try_from(change.line).ok().and_then(|line| line.checked_sub(1));
            let Some(line) = index.and_then(|index| self.lines.get_mut(index)) else {
                continue;
            };
            line.open -= change.delivered + change.released;
            line.delivered += change.delivered + change.upheld - change.contested;
            line.released += change.released;
            line.disputed += change.contested - change.upheld - change.conceded;
            line.returned += change.conceded;
            match how {
                How::Disputed { by } => line.dispute = Some(by),
                How::Resolved | How::Ended => line.dispute = None,
                How::Delivered | How::Cancelled | How::Expired => {}
            }
            if change.delivered > 0 {
                self.delivered_at = Some(at);
            }
        }
        self.changes += 1;
        if self.state == OrderState::Open && self.lines.iter().all(|line| line.open == 0) {
            let is_whole = self.lines.iter().all(|line| line.released == 0);
            self.state = match how {
                How::Cancelled => OrderState::Cancelled,
                How::Expired => OrderState::Expired,
                How::Ended => OrderState::Ended,
                How::Delivered | How::Disputed { .. } | How::Resolved if is_whole => OrderState::Delivered,
                How::Delivered | How::Disputed { .. } | How::Resolved => OrderState::Short,
            };
        }
    }

    /// Pieces of a line came back.
    pub fn came_back(&mut self, number: i32, pieces: i32) {
        let index = usize::try_from(number).ok().and_then(|line| line.checked_sub(1));
        if let Some(line) = index.and_then(|index| self.lines.get_mut(index)) {
            line.delivered -= pieces;
            line.returned += pieces;
        }
    }
}

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Goods came, or will not.
    Delivered,
    /// Given up.
    Cancelled,
    /// The hold is over.
    Expired,
    /// A line is disputed, by this transaction.
    Disputed {
        /// The transaction.
        by: Seq,
    },
    /// The dispute is resolved.
    Resolved,
    /// The detainee leaves.
    Ended,
}
