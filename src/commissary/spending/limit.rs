//! The limits that hold, and what is left of them: pure.

use time::Date;

use super::{Spent, Window};
use crate::{
    commissary::{CommissaryRefusal, entity::Totals},
    custody::Settings,
    ledger::{Declined, Moment},
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
}

/// The limits that hold for a detainee of a tier, in the order of checks.
pub(super) fn in_force(settings: &Settings, tier: i16, moment: &Moment) -> Result<Vec<Limit>, Declined> {
    let month = settings.monthly_limit(tier, moment.effective_date)?;
    let month = month.ok_or_else(|| Declined::Broken("a detainee's tier does not exist".into()))?;
    Ok(vec![
        Limit {
            window: Window::Order,
            amount: settings.purchase_amount_max,
        },
        Limit {
            window: Window::Month,
            amount: month,
        },
    ])
}

/// Checks a priced basket against the limits, in their order, and tells what is spent of them with it. All of it is checked
/// against the limit of one order, what counts against the others; what does not count is not refused by a window that is full.
pub(super) fn check(
    limits: &[Limit],
    spent: &Spent,
    totals: &Totals,
    date: Date,
) -> Result<Result<SpendingFacts, CommissaryRefusal>, MoneyError> {
    let mut windows = Vec::with_capacity(limits.len());
    for limit in limits {
        if limit.window == Window::Order {
            if totals.total.exceeds(limit.amount)? {
                return Ok(Err(CommissaryRefusal::OrderLimit {
                    total: totals.total,
                    limit: limit.amount,
                }));
            }
            continue;
        }
        let before = spent.within(limit.window, date)?;
        let after = before.checked_add(totals.counted)?;
        if totals.counted.is_positive() && after.exceeds(limit.amount)? {
            return Ok(Err(CommissaryRefusal::MonthlyLimit {
                limit: limit.amount,
                spent: before,
                counted: totals.counted,
            }));
        }
        windows.push(WindowFacts {
            window: limit.window.name().into(),
            spent: after.to_string(),
            limit: limit.amount.to_string(),
        });
    }
    Ok(Ok(SpendingFacts {
        date: date.to_string(),
        counted: totals.counted.to_string(),
        windows,
    }))
}
