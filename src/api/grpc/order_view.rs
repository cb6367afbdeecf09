//! Orders and what became of them, as the wire tells them; and the center's ordering rules.

use tonic::Status;

use super::{
    convert::{detainee_name, money, money_text, transaction_name, typed},
    name::{OrderName, OrderingRulesName, ProductName, VendorName},
};
use crate::{
    api::status::{internal, invalid_field},
    commissary::{
        DAY_MINUTES, Order as Placed, OrderState, OrderView, OrderedLine as PlacedLine, OrderingRules, OrderingWindow,
        WINDOWS_MAX,
    },
    ids::Seq,
    ledger::{Center, Refusal},
    money::{Amount, MoneyError},
    proto::{
        self, JournalRecord, Order, OrderChange, OrderChangeFacts, OrderChangeLine, OrderFacts, OrderedLine,
        PurchaseFacts, TransactionKind, journal_record::Facts, order::State, order_change::Kind,
    },
};

/// `centers/{center}/orders/{seq}`.
pub fn order_name(center: &Center, seq: i64) -> String {
    let center = center.id.as_str();
    OrderName { center, seq }.to_string()
}

fn state_out(state: OrderState) -> State {
    match state {
        OrderState::Open => State::Open,
        OrderState::Delivered => State::Delivered,
        OrderState::Short => State::Short,
        OrderState::Cancelled => State::Cancelled,
        OrderState::Expired => State::Expired,
        OrderState::Ended => State::Ended,
    }
}

/// A line as it was ordered, or as it stands.
fn line_out(
    (line, ordered): (i32, &proto::PurchaseLineFacts),
    now: Option<&PlacedLine>,
    center: &Center,
) -> OrderedLine {
    let id = center.id.as_str();
    let pieces = |of: fn(&PlacedLine) -> i32| now.map_or(0, of);
    let product = ProductName {
        center: id,
        product: &ordered.product,
    };
    let vendor = VendorName {
        center: id,
        vendor: &ordered.vendor,
    };
    let dispute = now.and_then(|line| line.dispute);
    OrderedLine {
        line,
        product: product.to_string(),
        product_version: ordered.product_version,
        vendor: vendor.to_string(),
        quantity: ordered.quantity,
        unit_price: money_text(&ordered.unit_price, center),
        amount: money_text(&ordered.amount, center),
        counted: ordered.counted,
        open_quantity: now.map_or(ordered.quantity, |line| line.open),
        delivered_quantity: pieces(|line| line.delivered),
        released_quantity: pieces(|line| line.released),
        returned_quantity: pieces(|line| line.returned),
        disputed_quantity: pieces(|line| line.disputed),
        dispute: dispute.map(|seq| transaction_name(center, seq.0)).unwrap_or_default(),
    }
}

fn captured(order: &Placed, center: &Center) -> Result<Amount, MoneyError> {
    let paid = order.lines.iter().map(|line| line.cost(line.delivered));
    Amount::sum(paid.collect::<Result<Vec<_>, _>>()?, center.currency)
}

/// What an order's record says: its facts, and the goods.
fn facts_of(record: &JournalRecord) -> Option<(&OrderFacts, &PurchaseFacts)> {
    match &record.facts {
        Some(Facts::Order(facts)) => Some((facts, facts.goods.as_ref()?)),
        _ => None,
    }
}

/// The terminal that took an order.
pub fn terminal_of(record: &JournalRecord) -> &str {
    facts_of(record).map_or("", |(_, goods)| goods.terminal.as_str())
}

/// An order right after it was placed, or as it stands.
pub fn order_out(record: &JournalRecord, now: Option<&Placed>, center: &Center) -> Result<Order, Status> {
    let (facts, goods) = facts_of(record).ok_or_else(internal)?;
    let lines = (1..).zip(&goods.lines).zip(0..);
    let lines = lines.map(|(line, index)| line_out(line, now.and_then(|order| order.lines.get(index)), center));
    let zero = Amount::zero(center.currency);
    let (held, captured) = match now {
        Some(order) => {
            let sums = order.held(center.currency).ok().zip(captured(order, center).ok());
            let (held, captured) = sums.ok_or_else(internal)?;
            (money(held), captured)
        }
        None => (money_text(&goods.total, center), zero),
    };
    Ok(Order {
        name: order_name(center, record.seq),
        detainee: detainee_name(center, &goods.detainee),
        terminal: goods.terminal.clone(),
        state: now.map_or(State::Open, |order| state_out(order.state)).into(),
        lines: lines.collect(),
        total: money_text(&goods.total, center),
        held,
        captured: money(captured),
        cut_off_time: facts.cut_off_at,
        expire_time: facts.expires_at,
        available_after: record
            .postings
            .first()
            .and_then(|leg| money_text(&leg.debit_balance, center)),
        create_time: record.recorded_at,
        effective_date: record.effective_date.clone(),
        transaction: transaction_name(center, record.seq),
        request_id: record.request_id.clone(),
        changes: Vec::new(),
    })
}

/// An order as it stands, with what became of it.
pub fn view_out(view: &OrderView, center: &Center) -> Result<Order, Status> {
    let mut order = order_out(&view.placed, Some(&view.order), center)?;
    for record in &view.changes {
        order.changes.push(change_out(record, view.order.seq, center)?);
    }
    Ok(order)
}

fn kind_out(kind: TransactionKind) -> Kind {
    match kind {
        TransactionKind::OrderDelivered => Kind::Delivered,
        TransactionKind::OrderCancelled => Kind::Cancelled,
        TransactionKind::OrderExpired => Kind::Expired,
        TransactionKind::OrderDisputed => Kind::Disputed,
        TransactionKind::OrderDisputeResolved => Kind::Resolved,
        // Whatever else ends orders ends the detainee's stay.
        _ => Kind::Ended,
    }
}

fn change_of(record: &JournalRecord, order: Seq) -> Option<&OrderChangeFacts> {
    crate::commissary::order_changes_of(record)
        .iter()
        .find(|facts| facts.order == order.0)
}

/// What a transaction made of an order.
pub fn change_out(record: &JournalRecord, order: Seq, center: &Center) -> Result<OrderChange, Status> {
    let facts = change_of(record, order).ok_or_else(internal)?;
    let state = OrderState::from_name(&facts.state).ok_or_else(internal)?;
    let lines = facts.lines.iter().map(|line| OrderChangeLine {
        line: line.line,
        delivered: line.delivered,
        released: line.released,
        contested: line.contested,
        upheld: line.upheld,
        conceded: line.conceded,
    });
    Ok(OrderChange {
        order: order_name(center, facts.order),
        kind: kind_out(record.kind()).into(),
        lines: lines.collect(),
        captured: money_text(&facts.captured, center),
        released: money_text(&facts.released, center),
        contested: money_text(&facts.contested, center),
        counted: money_text(&facts.counted, center),
        state: state_out(state).into(),
        reason: facts.reason.clone(),
        actor: record.actor.clone(),
        create_time: record.recorded_at,
        transaction: transaction_name(center, record.seq),
        request_id: record.request_id.clone(),
    })
}

/// The order that a change is of.
pub fn changed_order(record: &JournalRecord) -> Seq {
    Seq(record.reverses)
}

/// Writes minutes of a day as HH:MM.
fn clock_text(minute: i16) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

/// Reads HH:MM, up to 24:00.
fn minute_in(text: &str, field: &str) -> Result<i16, Refusal> {
    let bad = || invalid_field(field, "must be a time like 08:30");
    let (hour, minute) = text.split_once(':').ok_or_else(bad)?;
    if hour.len() != 2 || minute.len() != 2 || !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':') {
        return Err(bad());
    }
    let (hour, minute): (i16, i16) = hour.parse().ok().zip(minute.parse().ok()).ok_or_else(bad)?;
    let minutes = hour * 60 + minute;
    if minute < 60 && minutes <= DAY_MINUTES {
        Ok(minutes)
    } else {
        Err(bad())
    }
}

/// Writes the rules.
pub fn rules_out(rules: &OrderingRules, center: &Center) -> proto::OrderingRules {
    let name = OrderingRulesName {
        center: center.id.as_str(),
    };
    let windows = rules.windows.iter().map(|window| proto::OrderingWindow {
        weekday: window.weekday.number_from_monday().into(),
        open_time: clock_text(window.opens),
        cut_off_time: clock_text(window.closes),
    });
    proto::OrderingRules {
        name: name.to_string(),
        windows: windows.collect(),
        hold_days: rules.hold_days,
        return_days: rules.return_days,
        dispute_hours: rules.dispute_hours,
        etag: rules.version.to_string(),
    }
}

fn number_in(told: i32, default: i32, most: i32, field: &str) -> Result<i32, Refusal> {
    match told {
        0 => Ok(default),
        told if (1..=most).contains(&told) => Ok(told),
        _ => Err(invalid_field(field, format!("1 to {most}, not {told}"))),
    }
}

/// Reads the rules; their version is the store's to say.
pub fn rules_in(rules: &proto::OrderingRules) -> Result<OrderingRules, Refusal> {
    if rules.windows.len() > WINDOWS_MAX {
        return Err(invalid_field("rules.windows", format!("at most {WINDOWS_MAX}")));
    }
    let mut windows = Vec::with_capacity(rules.windows.len());
    for (index, window) in rules.windows.iter().enumerate() {
        let field = |name: &str| format!("rules.windows[{index}].{name}");
        let day = u8::try_from(window.weekday).ok().filter(|day| (1..=7).contains(day));
        let day = day.ok_or_else(|| invalid_field(field("weekday"), "1 to 7"))?;
        let opens = minute_in(&window.open_time, &field("open_time"))?;
        let closes = minute_in(&window.cut_off_time, &field("cut_off_time"))?;
        if closes <= opens {
            return Err(invalid_field(field("cut_off_time"), "must be later than it opens"));
        }
        windows.push(OrderingWindow {
            weekday: time::Weekday::Monday.nth_next(day - 1),
            opens,
            closes,
        });
    }
    let defaults = OrderingRules::default();
    Ok(OrderingRules {
        version: defaults.version,
        windows,
        hold_days: number_in(rules.hold_days, defaults.hold_days, 90, "rules.hold_days")?,
        return_days: number_in(rules.return_days, defaults.return_days, 365, "rules.return_days")?,
        dispute_hours: number_in(rules.dispute_hours, defaults.dispute_hours, 720, "rules.dispute_hours")?,
    })
}

/// Reads the etag that the rules were read with; none is not checked.
pub fn etag_in(etag: &str) -> Result<Option<i64>, Refusal> {
    match etag {
        "" => Ok(None),
        etag => typed(etag.parse::<i64>(), "rules.etag").map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_the_day_come_back() {
        for text in ["00:00", "08:30", "23:59", "24:00"] {
            assert_eq!(clock_text(minute_in(text, "t").unwrap()), text);
        }
        for text in ["", "8:30", "24:01", "25:00", "08:60", "+8:30", "08-30", "08:3"] {
            assert_eq!(minute_in(text, "t").unwrap_err().field, "t", "{text}");
        }
    }
}
