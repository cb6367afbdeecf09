//! May a detainee have these goods? The one decision that purchases and orders share.
//!
//! # The order of checks
//! Each check is made of all lines before the next one is; the first that fails is the refusal, and says what would be accepted.
//!
//! 1. The detainee is there and active.
//! 2. No authority has frozen the detainee's money.
//! 3. No line is of a category that the detainee is restricted from.
//! 4. Every product exists and is on sale.
//! 5. The detainee may have it: housing unit, health and diet.
//! 6. There is as much of it as is asked for.
//! 7. The whole is within the limit of one order.
//! 8. What counts of it is within what is left of the day's limit, 9. of the week's, 10. of the month's.
//! 11. The whole is available.
//!
//! # Use
//! A command calls [`want`] in its own `want`, [`decide`] in its `decide`, keeps [`Allowed::spending`] and [`Allowed::lines`] in
//! its facts, and calls [`apply`] with them in its `apply`. What comes back later, wholly or in part, goes through [`give_back`].

mod amount;
mod error;
mod goods;
mod limit;
mod measure;
mod verify;
mod view;
mod window;

use time::{Date, OffsetDateTime};

pub use amount::{check_amount, count_amount, order_limit, want_amount};
pub use error::SpendingRefusal;
pub use limit::Limit;
pub use measure::{
    FREEZE, FREEZE_DAYS_MAX, FREEZE_END, MEASURE_MAX, Measure, MeasureEnd, MeasureKind, MeasureState, NewFreeze,
    NewOverride, NewRestriction, OVERRIDE, require_not_frozen_in_tx,
};
pub(super) use measure::{FreezeEndRunner, MeasureRunner, open_of, restriction};
pub(super) use verify::{SpentCheck, Told};
pub use view::{Spending, WindowView};
pub use window::{Spent, Window};

pub use super::entity::Totals;

use super::{
    CommissaryRefusal,
    buyer::BuyerRoom,
    entity::{OrderLine, totals},
    room::{OfferRoom, SpendingRoom},
    stock,
    store::SpendingRows,
};
use crate::{
    clock,
    custody::room::{DetaineeRoom, SettingsRoom, Standing, want_available},
    ids::{AccountNo, DetaineeId},
    ledger::{Declined, Moment, Rows, State},
    money::Amount,
    proto::{PurchaseLineFacts, SpendingFacts},
};

/// What a detainee asks for.
#[derive(Debug, Clone, Copy)]
pub struct Basket<'a> {
    /// Who.
    pub detainee: &'a DetaineeId,
    /// What; 1 to [`LINES_MAX`](super::LINES_MAX) lines.
    pub lines: &'a [OrderLine],
}

/// What a detainee may have, and what it does to their limits.
#[derive(Debug)]
pub struct Allowed {
    /// Who.
    pub standing: Standing,
    /// The lines, priced.
    pub lines: Vec<PurchaseLineFacts>,
    /// What each vendor gets for them, in the order in which the vendors appear.
    pub vendors: Vec<(AccountNo, Amount)>,
    /// What they cost together.
    pub totals: Totals,
    /// What it spends of the limits, for the record.
    pub spending: SpendingFacts,
}

/// Asks for everything that [`decide`] reads. Called again after each round of loading.
pub fn want(state: &mut State, basket: &Basket<'_>) {
    if let Ok(settings) = state.room_mut::<SettingsRoom>() {
        settings.want();
    }
    if let Ok(spending) = state.room_mut::<SpendingRoom>() {
        spending.want(basket.detainee);
    }
    want_available(state, basket.detainee);
    for line in basket.lines {
        let known = match state.room_mut::<OfferRoom>() {
            Ok(offers) => offers.want(&line.product),
            Err(_) => None,
        };
        let known = known.map(|offer| (offer.payable_no, offer.limits.is_some(), offer.keeps_stock));
        let Some((payable, is_limited, keeps_stock)) = known else {
            continue;
        };
        state.want_account(payable);
        if keeps_stock {
            stock::want(state, &line.product);
        }
        if is_limited && let Ok(buyers) = state.room_mut::<BuyerRoom>() {
            buyers.want(basket.detainee);
        }
    }
}

/// Decides, in the order of checks above.
///
/// Errors: NOT_FOUND, DETAINEE_NOT_ACTIVE, DETAINEE_FROZEN, CATEGORY_RESTRICTED, PRODUCT_NOT_AVAILABLE, PRODUCT_RESTRICTED,
/// OUT_OF_STOCK, ORDER_LIMIT_EXCEEDED, DAILY_LIMIT_EXCEEDED, WEEKLY_LIMIT_EXCEEDED, MONTHLY_LIMIT_EXCEEDED, INSUFFICIENT_FUNDS.
pub fn decide(state: &State, moment: &Moment, basket: &Basket<'_>) -> Result<Allowed, Declined> {
    let standing = state.room::<DetaineeRoom>()?.get_active(basket.detainee)?;
    let settings = state.room::<SettingsRoom>()?.get()?;
    let spender = state.room::<SpendingRoom>()?.get(basket.detainee)?;
    refuse_frozen(basket.detainee, &spender.measures, moment.recorded_at)?;
    goods::require_unrestricted(state, basket, &spender.measures, moment.recorded_at)?;
    let goods = goods::price(state, basket, &settings.spending)?;
    let totals = totals(&goods.amounts, state.center().currency)?;
    let when = (moment.recorded_at, moment.effective_date);
    let limits = limit::in_force(settings, standing.tier, &spender.measures, when)?;
    let spending = limit::check(&limits, &spender.spent, &totals, moment.effective_date)??;
    let available = state.balance(standing.available())?;
    if totals.total.exceeds(available)? {
        return Err(CommissaryRefusal::Funds {
            available,
            required: totals.total,
        }
        .into());
    }
    Ok(Allowed {
        standing,
        lines: goods.facts,
        vendors: goods.vendors,
        totals,
        spending,
    })
}

/// Refuses whose money an authority has frozen.
fn refuse_frozen(detainee: &DetaineeId, measures: &[Measure], at: OffsetDateTime) -> Result<(), SpendingRefusal> {
    match measure::freeze(measures, at) {
        None => Ok(()),
        Some(freeze) => Err(SpendingRefusal::Frozen {
            detainee: detainee.clone(),
            measure: freeze.no,
            document: freeze.document.clone(),
            until: freeze.until(),
        }),
    }
}

/// Enters what was decided: takes the goods off the stock, and counts what counts in the windows of its date.
pub fn apply(
    state: &mut State,
    rows: &mut Rows,
    basket: &Basket<'_>,
    lines: &[PurchaseLineFacts],
    spending: &SpendingFacts,
) -> Result<(), Declined> {
    for (line, facts) in basket.lines.iter().zip(lines) {
        stock::apply(state, rows, &line.product, facts.stock_after)?;
    }
    let counted = Amount::parse(&spending.counted, state.center().currency)?;
    if counted.is_zero() {
        return Ok(());
    }
    count(state, rows, basket.detainee, date_of(spending)?, counted)
}

/// Gives headroom back to the windows of the date on which it was spent, and to no others. The caller has asked for the
/// detainee's spending ([`want_spending`]).
pub fn give_back(
    state: &mut State,
    rows: &mut Rows,
    detainee: &DetaineeId,
    date: Date,
    counted: Amount,
) -> Result<(), Declined> {
    if counted.is_zero() {
        return Ok(());
    }
    count(state, rows, detainee, date, counted.negated())
}

/// Asks for what a detainee has spent.
pub fn want_spending(state: &mut State, detainee: &DetaineeId) {
    if let Ok(spending) = state.room_mut::<SpendingRoom>() {
        spending.want(detainee);
    }
}

/// The date on which something counts.
pub fn date_of(spending: &SpendingFacts) -> Result<Date, Declined> {
    clock::parse_date(&spending.date).ok_or_else(|| Declined::Broken("the date of what was spent".into()))
}

fn count(
    state: &mut State,
    rows: &mut Rows,
    detainee: &DetaineeId,
    date: Date,
    counted: Amount,
) -> Result<(), Declined> {
    let spent = &mut state.room_mut::<SpendingRoom>()?.get_mut(detainee)?.spent;
    spent.add(date, counted)?;
    if let Some(set) = rows.of::<SpendingRows>() {
        set.put(detainee, date, spent)?;
    }
    Ok(())
}
