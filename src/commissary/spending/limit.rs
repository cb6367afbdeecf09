//! The limits that hold, and what is left of them: pure.

use time::{Date, OffsetDateTime};

use super::{Measure, SpendingRefusal, Spent, Window, measure::limit_override};
use crate::{
    commissary::entity::Totals,
    custody::Settings,
    ledger::Declined,
    money::{Amount, MoneyError},
    proto::{SpendingFacts, WindowFacts},
};

/// A limit that holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Over what it reckons.
    pub window: Window,
    /// The most that may be spent in it.
    pub amount: Amount,
    /// The measure that it comes from, and until when; none when it is the center's rules.
    pub by: Option<(i64, OffsetDateTime)>,
}

/// The limits that hold for a detainee of a tier, in the order of checks. An override takes the place of the center's limit, and of
/// the bonus of a festival month, too.
pub(super) fn in_force(
    settings: &Settings,
    tier: i16,
    measures: &[Measure],
    (at, date): (OffsetDateTime, Date),
) -> Result<Vec<Limit>, Declined> {
    let month = settings.monthly_limit(tier, date)?;
    let month = month.ok_or_else(|| Declined::Broken("a detainee's tier does not exist".into()))?;
    let of_tier = settings.spending.of(tier);
    let mut limits = Vec::with_capacity(Window::ALL.len());
    for window in Window::ALL {
        let ruled = match window {
            Window::Order => Some(of_tier.order.unwrap_or(settings.purchase_amount_max)),
            Window::Day => of_tier.day,
            Window::Week => of_tier.week,
            Window::Month => Some(month),
        };
        if let Some((measure, amount)) = limit_override(measures, window, at) {
            let by = Some((measure.no, measure.until()));
            limits.push(Limit { window, amount, by });
        } else if let Some(amount) = ruled {
            limits.push(Limit {
                window,
                amount,
                by: None,
            });
        }
    }
    Ok(limits)
}

/// Checks a priced basket against the limits, in their order, and tells what is spent of them with it. All of it is checked
/// against the limit of one order, what counts against the others; what does not count is not refused by a window that is full.
pub(super) fn check(
    limits: &[Limit],
    spent: &Spent,
    totals: &Totals,
    date: Date,
) -> Result<Result<SpendingFacts, SpendingRefusal>, MoneyError> {
    let mut windows = Vec::with_capacity(limits.len());
    for limit in limits {
        let (window, amount) = (limit.window, limit.amount);
        if window == Window::Order {
            if totals.total.exceeds(amount)? {
                return Ok(Err(SpendingRefusal::OrderLimit {
                    total: totals.total,
                    limit: amount,
                }));
            }
            continue;
        }
        let before = spent.within(window, date)?;
        let after = before.checked_add(totals.counted)?;
        if totals.counted.is_positive() && after.exceeds(amount)? {
            return Ok(Err(SpendingRefusal::WindowLimit {
                window,
                limit: amount,
                spent: before,
                remaining: remaining(amount, before)?,
                counted: totals.counted,
                last: *window.dates(date).end(),
            }));
        }
        windows.push(WindowFacts {
            window: window.name().into(),
            spent: after.to_string(),
            limit: amount.to_string(),
            r#override: limit.by.map_or(0, |(measure, _)| measure),
        });
    }
    Ok(Ok(SpendingFacts {
        date: date.to_string(),
        counted: totals.counted.to_string(),
        windows,
    }))
}

/// What is left of a limit: nothing when more is spent than it is by now.
pub(super) fn remaining(limit: Amount, spent: Amount) -> Result<Amount, MoneyError> {
    if spent.exceeds(limit)? {
        Ok(Amount::zero(limit.currency()))
    } else {
        limit.checked_sub(spent)
    }
}
