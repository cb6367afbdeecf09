//! What a detainee has spent, may spend, and must not, for whoever asks.

use std::collections::BTreeMap;

use time::{Date, OffsetDateTime};

use super::{Limit, MeasureKind, Spent, Window, limit, measure, open_of};
use crate::{
    clock,
    commissary::{Category, Commissary, store},
    custody::settings_in_tx,
    ids::DetaineeId,
    ledger::{Center, LedgerError},
    money::{Amount, MoneyError},
};

/// What is spent in one window, and what may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowView {
    /// Which.
    pub window: Window,
    /// Its first business date.
    pub first: Date,
    /// Its last.
    pub last: Date,
    /// The limit; none if there is none.
    pub limit: Option<Limit>,
    /// What is spent.
    pub spent: Amount,
}

impl WindowView {
    fn of(window: Window, date: Date, limit: Option<Limit>, spent: &Spent) -> Result<WindowView, MoneyError> {
        let (first, last) = window.dates(date).into_inner();
        Ok(WindowView {
            window,
            first,
            last,
            limit,
            spent: spent.within(window, date)?,
        })
    }

    /// What is left, if there is a limit.
    pub fn remaining(&self) -> Result<Option<Amount>, MoneyError> {
        let left = self.limit.map(|limit| limit::remaining(limit.amount, self.spent));
        left.transpose()
    }
}

/// What bounds a detainee's spending.
#[derive(Debug, Clone)]
pub struct Spending {
    /// The first day of the month.
    pub month: Date,
    /// The limit of the month.
    pub limit: Amount,
    /// What is spent of it.
    pub spent: Amount,
    /// Every window of today, in the order of checks; of another month only the month.
    pub windows: Vec<WindowView>,
    /// Until when the money is frozen, if it is.
    pub frozen_until: Option<OffsetDateTime>,
    /// What the detainee is restricted from, and until when.
    pub restricted: BTreeMap<&'static str, (Category, OffsetDateTime)>,
}

impl Spending {
    /// What is left of the month's limit.
    pub fn remaining(&self) -> Result<Option<Amount>, LedgerError> {
        let month = self.windows.iter().find(|view| view.window == Window::Month);
        month.map_or(Ok(None), |month| month.remaining()).map_err(broken)
    }
}

/// A broken invariant: amounts were bounded when they came in.
fn broken(error: MoneyError) -> LedgerError {
    tracing::error!(%error, "what is spent cannot be reckoned");
    LedgerError::Internal
}

impl Commissary {
    /// What a detainee has spent in a month (the current one when none is told), the limit that goes for it, and whatever else
    /// bounds their spending now.
    ///
    /// Errors: NOT_FOUND.
    pub async fn spending(
        &self,
        center: &Center,
        id: &DetaineeId,
        month: Option<Date>,
    ) -> Result<Spending, LedgerError> {
        let detainee = self.custody.detainee(center, id).await?;
        let now = self.lanes.clock().now();
        let today = center.zone.business_date(now);
        let mut conn = self.lanes.database().read.acquire().await?;
        let settings = settings_in_tx(&mut conn, center).await?;
        let ids = std::slice::from_ref(id);
        let spent = store::spending(&mut conn, center, ids).await?.remove(id.as_str());
        let spent = spent.unwrap_or(Spent::none(center.currency));
        let measures = open_of(&mut conn, center, ids).await?.remove(id.as_str());
        let measures = measures.unwrap_or_default();
        let is_now = month.is_none_or(|month| month == clock::month_of(today));
        let (date, held) = match month {
            Some(month) if !is_now => (month, &[][..]),
            _ => (today, &measures[..]),
        };
        let limits = limit::in_force(&settings, detainee.tier, held, (now, date))?;
        let view = |window| {
            let limit = limits.iter().find(|limit| limit.window == window).copied();
            WindowView::of(window, date, limit, &spent).map_err(broken)
        };
        let of_month = view(Window::Month)?;
        let windows = if is_now {
            Window::ALL.into_iter().map(view).collect::<Result<_, _>>()?
        } else {
            vec![of_month]
        };
        Ok(Spending {
            month: of_month.first,
            limit: of_month.limit.ok_or(LedgerError::Internal)?.amount,
            spent: of_month.spent,
            windows,
            frozen_until: measure::freeze(&measures, now).map(measure::Measure::until),
            restricted: restricted(&measures, now),
        })
    }

    /// Up to `limit` windows of a kind in which a detainee has spent something, before a date, newest first.
    ///
    /// Errors: NOT_FOUND.
    pub async fn spending_windows(
        &self,
        center: &Center,
        id: &DetaineeId,
        window: Window,
        before: Option<Date>,
        limit: usize,
    ) -> Result<Vec<WindowView>, LedgerError> {
        self.custody.detainee(center, id).await?;
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::spending(&mut conn, center, std::slice::from_ref(id)).await?;
        let Some(spent) = found.get(id.as_str()) else {
            return Ok(Vec::new());
        };
        let mut firsts: Vec<Date> = spent.dates().rev().map(|date| *window.dates(date).start()).collect();
        firsts.dedup();
        let firsts = firsts
            .into_iter()
            .filter(|first| before.is_none_or(|before| *first < before));
        let views = firsts
            .take(limit)
            .map(|first| WindowView::of(window, first, None, spent));
        views.collect::<Result<_, _>>().map_err(broken)
    }
}

fn restricted(
    measures: &[measure::Measure],
    now: OffsetDateTime,
) -> BTreeMap<&'static str, (Category, OffsetDateTime)> {
    let mut found = BTreeMap::new();
    for measure in measures.iter().filter(|measure| measure.holds(now)) {
        let MeasureKind::Restriction { categories } = &measure.kind else {
            continue;
        };
        for category in categories {
            let (_, until) = found.entry(category.name()).or_insert((*category, measure.until()));
            *until = measure.until().max(*until);
        }
    }
    found
}
