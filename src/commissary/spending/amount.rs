//! An amount that counts as spent before it is known what it buys: money set aside for a terminal without the network.

use time::Date;

use super::{
    super::{CommissaryRefusal, room::SpendingRoom},
    Limit, Totals, Window, count, limit, refuse_frozen,
};
use crate::{
    custody::room::{DetaineeRoom, SettingsRoom, Standing, want_available},
    ids::DetaineeId,
    ledger::{Declined, Moment, Rows, State},
    money::Amount,
    proto::SpendingFacts,
};

/// Asks for everything that [`check_amount`] reads.
pub fn want_amount(state: &mut State, detainee: &DetaineeId) {
    if let Ok(settings) = state.room_mut::<SettingsRoom>() {
        settings.want();
    }
    if let Ok(spending) = state.room_mut::<SpendingRoom>() {
        spending.want(detainee);
    }
    want_available(state, detainee);
}

/// Whether a detainee may spend an amount on whatever it is, all of it counted: everything that [`decide`](super::decide) checks
/// but the goods and the limit of one order.
///
/// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, DETAINEE_FROZEN, DAILY_LIMIT_EXCEEDED, WEEKLY_LIMIT_EXCEEDED,
/// MONTHLY_LIMIT_EXCEEDED, INSUFFICIENT_FUNDS.
pub fn check_amount(
    state: &State,
    moment: &Moment,
    detainee: &DetaineeId,
    totals: &Totals,
) -> Result<(Standing, SpendingFacts), Declined> {
    let standing = state.room::<DetaineeRoom>()?.get_active(detainee)?;
    let spender = state.room::<SpendingRoom>()?.get(detainee)?;
    refuse_frozen(detainee, &spender.measures, moment.recorded_at)?;
    let mut limits = limits(state, moment, detainee, &standing)?;
    limits.retain(|limit| limit.window != Window::Order);
    let spending = limit::check(&limits, &spender.spent, totals, moment.effective_date)??;
    let available = state.balance(standing.available())?;
    if totals.total.exceeds(available)? {
        return Err(CommissaryRefusal::Funds {
            available,
            required: totals.total,
        }
        .into());
    }
    Ok((standing, spending))
}

/// The limits that hold for a detainee.
fn limits(state: &State, moment: &Moment, detainee: &DetaineeId, standing: &Standing) -> Result<Vec<Limit>, Declined> {
    let settings = state.room::<SettingsRoom>()?.get()?;
    let measures = &state.room::<SpendingRoom>()?.get(detainee)?.measures;
    let when = (moment.recorded_at, moment.effective_date);
    limit::in_force(settings, standing.tier, measures, when)
}

/// The most that one order of a detainee may cost.
pub fn order_limit(
    state: &State,
    moment: &Moment,
    detainee: &DetaineeId,
    standing: &Standing,
) -> Result<Option<Amount>, Declined> {
    let limits = limits(state, moment, detainee, standing)?;
    let order = limits.into_iter().find(|limit| limit.window == Window::Order);
    Ok(order.map(|limit| limit.amount))
}

/// Counts an amount in the windows of a date, whatever is spent of them. The caller has asked for the detainee's spending.
pub fn count_amount(
    state: &mut State,
    rows: &mut Rows,
    detainee: &DetaineeId,
    date: Date,
    amount: Amount,
) -> Result<(), Declined> {
    if amount.is_zero() {
        return Ok(());
    }
    count(state, rows, detainee, date, amount)
}
