//! What moves with a detainee from one center's commissary to another's: what is spent of the month, and what they must not have.

use std::collections::BTreeSet;

use time::{Date, OffsetDateTime};

use super::{
    buyer::{Buyer, store as buyers},
    spending::{Spent, Window},
    store::{self, SpendingRows},
};
use crate::{
    clock,
    db::{self, Conn},
    ids::{CenterNo, DetaineeId},
    ledger::{Center, Declined, Rows},
    money::Amount,
    proto::DaySpent,
};

/// The first date whose spending still counts against a limit on a date: its month's first day, or the Monday before.
pub fn counts_since(date: Date) -> Date {
    let firsts = [Window::Month, Window::Week].map(|window| *window.dates(date).start());
    firsts.into_iter().min().unwrap_or(date)
}

/// What a detainee has spent since a date that counts against limits and did not come back, by the day, oldest first.
pub async fn spent_in_tx(
    conn: &mut Conn,
    center: &Center,
    detainee: &DetaineeId,
    since: Date,
) -> Result<Vec<(Date, Amount)>, Declined> {
    let mut found = store::spending(conn, center, std::slice::from_ref(detainee)).await?;
    let Some(spent) = found.remove(detainee.as_str()) else {
        return Ok(Vec::new());
    };
    let mut days = Vec::new();
    for date in spent.dates().filter(|date| *date >= since) {
        let amount = spent.within(Window::Day, date)?;
        if amount.is_positive() {
            days.push((date, amount));
        }
    }
    Ok(days)
}

/// The same as facts tell it.
pub fn told(spent: &[(Date, Amount)]) -> Vec<DaySpent> {
    let day = |(date, amount): &(Date, Amount)| DaySpent {
        date: date.to_string(),
        amount: amount.to_string(),
    };
    spent.iter().map(day).collect()
}

/// What somebody who is received has spent elsewhere counts here: it is written with the transaction. The caller has the rules
/// touched.
pub fn receive_spent(
    rows: &mut Rows,
    center: &Center,
    detainee: &DetaineeId,
    days: &[DaySpent],
) -> Result<(), Declined> {
    let mut spent = Spent::none(center.currency);
    for day in days {
        let date = clock::parse_date(&day.date);
        let date = date.ok_or_else(|| Declined::Broken(format!("{:?} is no date", day.date)))?;
        spent.add(date, Amount::parse(&day.amount, center.currency)?)?;
    }
    let months: BTreeSet<Date> = spent.dates().map(clock::month_of).collect();
    if let Some(set) = rows.of::<SpendingRows>() {
        for month in months {
            set.put(detainee, month, &spent)?;
        }
    }
    Ok(())
}

/// What a detainee must not have is the person's own, wherever they live; where they live here is still to be told. The caller
/// has the rules touched.
pub async fn move_buyer_in_tx(
    conn: &mut Conn,
    (from, before): (CenterNo, &DetaineeId),
    (to, detainee): (CenterNo, &DetaineeId),
    (document, by, at): (&str, &str, OffsetDateTime),
) -> db::Result<()> {
    let known = buyers::buyer(conn, from, before).await?;
    if known.version == 0 {
        return Ok(());
    }
    let buyer = Buyer {
        housing_unit: String::new(),
        version: 1,
        changed_at: Some(at),
        ..known
    };
    buyers::insert(conn, to, detainee, &buyer, (document, by, at)).await
}
