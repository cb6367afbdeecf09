//! Limits, measures and windows, in and out of wire types.

use time::OffsetDateTime;

use super::{
    convert::{amount_in, money, positive_amount_in, timestamp},
    name::{ApprovalName, DetaineeName, MeasureName, format_date},
    product::{category_in, category_out},
};
use crate::{
    api::status::invalid_field,
    commissary::{
        Category, Window,
        spending::{Measure, MeasureKind, MeasureState, WindowView},
    },
    custody::{Settings, SpendingRules, TierWindows},
    ledger::{Center, LedgerError, Refusal},
    money::{Amount, Currency},
    proto::{
        LimitWindow, Money, ProductCategory, SpendingMeasure, SpendingSettings, SpendingWindow, TierWindowLimits,
        spending_measure::{Kind, State},
    },
};

/// The most days that somebody must have had nothing, and that lie between two kits.
const GRANT_DAYS_MAX: i32 = 366;

/// Reads the rules of spending beside the month's.
pub fn spending_in(told: &SpendingSettings, currency: Currency) -> Result<SpendingRules, Refusal> {
    let mut rules = SpendingRules::defaults(currency).map_err(|error| invalid_field("settings", error.to_string()))?;
    rules.exempt = categories_in(
        told.exempt_categories.iter().copied(),
        "settings.spending.exempt_categories",
    )?;
    // In one order, whatever the order they are told in.
    rules.exempt.sort_unstable_by_key(|category| category.name());
    for (index, tier) in told.tiers.iter().enumerate() {
        let field = |name: &str| format!("settings.spending.tiers[{index}].{name}");
        let limit = |money: &Option<Money>, name: &str| match money {
            None => Ok(None),
            some => amount_in(some.as_ref(), currency, &field(name)).map(Some),
        };
        let windows = TierWindows {
            order: match &tier.order_limit {
                None => None,
                some => Some(positive_amount_in(some.as_ref(), currency, &field("order_limit"))?),
            },
            day: limit(&tier.daily_limit, "daily_limit")?,
            week: limit(&tier.weekly_limit, "weekly_limit")?,
        };
        let number = i16::try_from(tier.tier).ok().filter(|tier| *tier > 0);
        let number = number.ok_or_else(|| invalid_field(field("tier"), "tiers are numbered from 1"))?;
        if rules.tiers.insert(number, windows).is_some() {
            return Err(invalid_field(field("tier"), "is told twice"));
        }
    }
    // A tier without limits is as one that is not told.
    rules.tiers.retain(|_, windows| *windows != TierWindows::default());
    rules.grant_below = match &told.grant_below {
        None => Amount::zero(currency),
        some => amount_in(some.as_ref(), currency, "settings.spending.grant_below")?,
    };
    match told.grant_days {
        0 => {}
        days @ 1..=GRANT_DAYS_MAX => rules.grant_days = i16::try_from(days).unwrap_or(rules.grant_days),
        _ => {
            let what = format!("must be 1 to {GRANT_DAYS_MAX}");
            return Err(invalid_field("settings.spending.grant_days", what));
        }
    }
    Ok(rules)
}

/// Refuses limits of a tier that the center does not have.
pub fn require_known_tiers(settings: &Settings) -> Result<(), Refusal> {
    let unknown = settings
        .spending
        .tiers
        .keys()
        .find(|tier| !settings.tier_limits.contains_key(tier));
    match unknown {
        None => Ok(()),
        Some(tier) => Err(invalid_field(
            "settings.spending.tiers",
            format!("tier {tier} has no limit of a month"),
        )),
    }
}

/// Writes the rules of spending beside the month's.
pub fn spending_out(rules: &SpendingRules) -> SpendingSettings {
    let tiers = rules.tiers.iter().map(|(tier, windows)| TierWindowLimits {
        tier: i32::from(*tier),
        order_limit: windows.order.and_then(money),
        daily_limit: windows.day.and_then(money),
        weekly_limit: windows.week.and_then(money),
    });
    SpendingSettings {
        tiers: tiers.collect(),
        exempt_categories: rules
            .exempt
            .iter()
            .map(|category| category_out(*category).into())
            .collect(),
        grant_below: money(rules.grant_below),
        grant_days: i32::from(rules.grant_days),
    }
}

/// Reads categories, none of them twice.
pub fn categories_in(told: impl Iterator<Item = i32>, field: &str) -> Result<Vec<Category>, Refusal> {
    let mut found: Vec<Category> = Vec::new();
    for (index, number) in told.enumerate() {
        let field = format!("{field}[{index}]");
        let wire = ProductCategory::try_from(number).map_err(|_| invalid_field(&field, "is no category"))?;
        let category = category_in(wire, &field)?;
        if found.contains(&category) {
            return Err(invalid_field(field, "is told twice"));
        }
        found.push(category);
    }
    Ok(found)
}

/// Reads a window.
pub fn window_in(window: LimitWindow, field: &str) -> Result<Window, Refusal> {
    match window {
        LimitWindow::Unspecified => Err(invalid_field(field, "is required")),
        LimitWindow::Order => Ok(Window::Order),
        LimitWindow::Day => Ok(Window::Day),
        LimitWindow::Week => Ok(Window::Week),
        LimitWindow::Month => Ok(Window::Month),
    }
}

fn window_out(window: Window) -> LimitWindow {
    match window {
        Window::Order => LimitWindow::Order,
        Window::Day => LimitWindow::Day,
        Window::Week => LimitWindow::Week,
        Window::Month => LimitWindow::Month,
    }
}

/// What people are told of a window, in English and in Chinese. A window that is not told to be the current one is told by its
/// first date.
fn summary(view: &WindowView, is_now: bool) -> (String, String) {
    let (spent, first) = (view.spent, format_date(view.first));
    let (when, when_zh) = match (view.window, is_now) {
        (Window::Order, _) => {
            let Some(limit) = view.limit else {
                return Default::default();
            };
            return (
                format!("up to {} an order", limit.amount),
                format!("每单最多 {}", limit.amount),
            );
        }
        (Window::Day, true) => ("today".to_owned(), "今日".to_owned()),
        (Window::Week, true) => ("this week".to_owned(), "本周".to_owned()),
        (Window::Month, true) => ("this month".to_owned(), "本月".to_owned()),
        (Window::Day, false) => (format!("on {first}"), first),
        (Window::Week, false) => (format!("in the week from {first}"), format!("{first} 起一周")),
        (Window::Month, false) => (format!("in the month from {first}"), format!("{first} 起一月")),
    };
    match view.limit {
        Some(limit) => (
            format!("spent {spent} of {} {when}", limit.amount),
            format!("{when_zh}已消费 {spent}，限额 {}", limit.amount),
        ),
        None => (format!("spent {spent} {when}"), format!("{when_zh}已消费 {spent}")),
    }
}

/// Writes a window.
pub fn window_view_out(view: &WindowView, is_now: bool, center: &Center) -> Result<SpendingWindow, LedgerError> {
    let (summary, summary_zh) = summary(view, is_now);
    let by = view.limit.and_then(|limit| limit.by);
    let remaining = view.remaining().map_err(|error| {
        tracing::error!(%error, "what remains cannot be reckoned");
        LedgerError::Internal
    })?;
    Ok(SpendingWindow {
        window: window_out(view.window).into(),
        start_date: format_date(view.first),
        end_date: format_date(view.last),
        limit: view.limit.and_then(|limit| money(limit.amount)),
        spent: money(view.spent),
        remaining: remaining.and_then(money),
        r#override: by.map(|(measure, _)| measure_name(center, measure)).unwrap_or_default(),
        override_end_time: by.and_then(|(_, until)| timestamp(until)),
        summary,
        summary_zh,
    })
}

/// The name of a measure.
pub fn measure_name(center: &Center, measure: i64) -> String {
    let center = center.id.as_str();
    MeasureName { center, measure }.to_string()
}

/// Writes a measure as it stands at an instant.
pub fn measure_out(measure: &Measure, at: OffsetDateTime, center: &Center) -> SpendingMeasure {
    let id = center.id.as_str();
    let approval_name = |approval: Option<i64>| {
        let name = approval.map(|approval| ApprovalName { center: id, approval }.to_string());
        name.unwrap_or_default()
    };
    let state = match measure.state(at) {
        MeasureState::Coming => State::Coming,
        MeasureState::InForce => State::InForce,
        MeasureState::Expired => State::Expired,
        MeasureState::Ended => State::Ended,
    };
    let detainee = measure.detainee.as_str();
    let mut out = SpendingMeasure {
        name: measure_name(center, measure.no),
        detainee: DetaineeName { center: id, detainee }.to_string(),
        state: state.into(),
        document: measure.document.clone(),
        start_time: timestamp(measure.starts_at),
        end_time: timestamp(measure.ends_at),
        reason: measure.reason.clone(),
        created_by: measure.created_by.clone(),
        create_time: timestamp(measure.created_at),
        approval: approval_name(measure.approval),
        ..SpendingMeasure::default()
    };
    match &measure.kind {
        MeasureKind::Override { window, amount } => {
            out.kind = Kind::Override.into();
            out.window = window_out(*window).into();
            out.amount = money(*amount);
        }
        MeasureKind::Freeze { renews } => {
            out.kind = Kind::Freeze.into();
            out.renews = renews.map(|measure| measure_name(center, measure)).unwrap_or_default();
        }
        MeasureKind::Restriction { categories } => {
            out.kind = Kind::Restriction.into();
            out.categories = categories
                .iter()
                .map(|category| category_out(*category).into())
                .collect();
        }
    }
    if let Some(end) = &measure.end {
        out.ended_time = timestamp(end.at);
        out.ended_by.clone_from(&end.by);
        out.end_reason.clone_from(&end.reason);
        out.end_approval = approval_name(end.approval);
    }
    out
}
