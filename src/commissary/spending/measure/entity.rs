//! What is decided of one detainee's spending for a time: pure.

use time::{Duration, OffsetDateTime};

use super::super::Window;
use crate::{commissary::Category, ids::DetaineeId, money::Amount};

/// The longest a freeze lasts without being renewed, in days.
pub const FREEZE_DAYS_MAX: i32 = 30;
/// The longest an override or a restriction lasts.
pub const MEASURE_MAX: Duration = Duration::days(366);

/// What a measure does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MeasureKind {
    /// Another limit for a window.
    Override {
        /// The window.
        window: Window,
        /// The limit.
        amount: Amount,
    },
    /// Nothing is spent.
    Freeze {
        /// The freeze it goes on with.
        renews: Option<i64>,
    },
    /// No goods of some categories.
    Restriction {
        /// The categories; at least one.
        categories: Vec<Category>,
    },
}

impl MeasureKind {
    /// As it is stored.
    pub const fn name(&self) -> &'static str {
        match self {
            MeasureKind::Override { .. } => "OVERRIDE",
            MeasureKind::Freeze { .. } => "FREEZE",
            MeasureKind::Restriction { .. } => "RESTRICTION",
        }
    }
}

/// What is decided of one detainee's spending for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measure {
    /// Its number in the center, from 1.
    pub no: i64,
    /// Whose spending.
    pub detainee: DetaineeId,
    /// What it does.
    pub kind: MeasureKind,
    /// The document or written order.
    pub document: String,
    /// Why.
    pub reason: String,
    /// From when on.
    pub starts_at: OffsetDateTime,
    /// Until when, if it is not ended before.
    pub ends_at: OffsetDateTime,
    /// When it was entered.
    pub created_at: OffsetDateTime,
    /// Who asked for it.
    pub created_by: String,
    /// What allowed it; none for a restriction.
    pub approval: Option<i64>,
    /// How it ended before its time, if it did.
    pub end: Option<MeasureEnd>,
}

/// The end of a measure before its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeasureEnd {
    /// When.
    pub at: OffsetDateTime,
    /// Who ended it, or asked for the end.
    pub by: String,
    /// Why.
    pub reason: String,
    /// What allowed it; of a freeze.
    pub approval: Option<i64>,
}

/// Where a measure stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MeasureState {
    /// It has not begun.
    Coming,
    /// It holds.
    InForce,
    /// Its time is over.
    Expired,
    /// It was ended before.
    Ended,
}

impl Measure {
    /// The first instant at which it does not hold any more.
    pub fn until(&self) -> OffsetDateTime {
        self.end.as_ref().map_or(self.ends_at, |end| end.at.min(self.ends_at))
    }

    /// Whether it holds at an instant.
    pub fn holds(&self, at: OffsetDateTime) -> bool {
        self.starts_at <= at && at < self.until()
    }

    /// Where it stands at an instant. What ends by itself is not written anywhere.
    pub fn state(&self, at: OffsetDateTime) -> MeasureState {
        match &self.end {
            Some(_) => MeasureState::Ended,
            None if at < self.starts_at => MeasureState::Coming,
            None if at < self.ends_at => MeasureState::InForce,
            None => MeasureState::Expired,
        }
    }
}

/// The freeze that holds longest of those in force.
pub fn freeze(measures: &[Measure], at: OffsetDateTime) -> Option<&Measure> {
    let freezes = measures
        .iter()
        .filter(|measure| matches!(measure.kind, MeasureKind::Freeze { .. }) && measure.holds(at));
    freezes.max_by_key(|measure| measure.until())
}

/// The restriction in force of a category that holds longest.
pub fn restriction(measures: &[Measure], category: Category, at: OffsetDateTime) -> Option<&Measure> {
    let restrictions = measures.iter().filter(|measure| match &measure.kind {
        MeasureKind::Restriction { categories } => categories.contains(&category) && measure.holds(at),
        _ => false,
    });
    restrictions.max_by_key(|measure| measure.until())
}

/// The latest override of a window in force, and its limit.
pub fn limit_override(measures: &[Measure], window: Window, at: OffsetDateTime) -> Option<(&Measure, Amount)> {
    let overrides = measures.iter().filter_map(|measure| match measure.kind {
        MeasureKind::Override { window: its, amount } if its == window && measure.holds(at) => Some((measure, amount)),
        _ => None,
    });
    overrides.max_by_key(|(measure, _)| measure.no)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::money::Currency;

    fn measure(no: i64, kind: MeasureKind) -> Measure {
        let at = datetime!(2031-05-06 08:00 UTC);
        Measure {
            no,
            detainee: DetaineeId::parse("D1").unwrap(),
            kind,
            document: "A1".into(),
            reason: "why".into(),
            starts_at: at,
            ends_at: at + Duration::days(2),
            created_at: at,
            created_by: "admin/alice".into(),
            approval: None,
            end: None,
        }
    }

    #[test]
    fn a_measure_holds_from_its_beginning_until_its_end() {
        let mut freeze = measure(1, MeasureKind::Freeze { renews: None });
        let instants = [
            datetime!(2031-05-06 07:59:59.999999 UTC),
            datetime!(2031-05-06 08:00 UTC),
            datetime!(2031-05-08 07:59:59.999999 UTC),
            datetime!(2031-05-08 08:00 UTC),
        ];
        assert_eq!(instants.map(|at| freeze.holds(at)), [false, true, true, false]);
        use MeasureState::*;
        assert_eq!(instants.map(|at| freeze.state(at)), [Coming, InForce, InForce, Expired]);
        freeze.end = Some(MeasureEnd {
            at: datetime!(2031-05-07 08:00 UTC),
            by: "admin/alice".into(),
            reason: "lifted".into(),
            approval: Some(2),
        });
        assert_eq!(instants.map(|at| freeze.holds(at)), [false, true, false, false]);
        assert_eq!(freeze.state(instants[0]), Ended);
    }

    #[test]
    fn the_latest_override_of_a_window_is_the_limit() {
        let yuan = |text: &str| Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap();
        let over = |no, window, amount: &str| {
            let amount = yuan(amount);
            measure(no, MeasureKind::Override { window, amount })
        };
        let measures = [
            over(1, Window::Month, "900"),
            over(3, Window::Month, "100"),
            over(4, Window::Week, "70"),
        ];
        let at = measures[0].starts_at;
        let found = |window, at| limit_override(&measures, window, at).map(|(measure, amount)| (measure.no, amount));
        assert_eq!(found(Window::Month, at), Some((3, yuan("100"))));
        assert_eq!(found(Window::Day, at), None);
        assert_eq!(found(Window::Month, measures[0].ends_at), None);
    }
}
