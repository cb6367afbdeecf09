//! What is spent on which day, and the windows over it: pure.

use std::{collections::BTreeMap, ops::RangeInclusive};

use time::{Date, Duration};

use crate::{
    clock,
    money::{Amount, Currency, MoneyError},
};

/// Over what a limit reckons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Window {
    /// One order.
    Order,
    /// A business day of the center.
    Day,
    /// Monday to Sunday.
    Week,
    /// A month.
    Month,
}

impl Window {
    /// Every window, in the order of checks.
    pub const ALL: [Window; 4] = [Window::Order, Window::Day, Window::Week, Window::Month];

    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            Window::Order => "ORDER",
            Window::Day => "DAY",
            Window::Week => "WEEK",
            Window::Month => "MONTH",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<Window> {
        Window::ALL.into_iter().find(|window| window.name() == name)
    }

    /// The dates of the window that a date is in. An order's is its date, though orders of one date are not added up.
    pub fn dates(self, date: Date) -> RangeInclusive<Date> {
        let (first, days) = match self {
            Window::Order | Window::Day => (date, 1),
            Window::Week => {
                let since_monday = date.weekday().number_days_from_monday();
                (date.saturating_sub(Duration::days(since_monday.into())), 7)
            }
            Window::Month => {
                let first = clock::month_of(date);
                (first, first.month().length(first.year()))
            }
        };
        first..=first.saturating_add(Duration::days(i64::from(days) - 1))
    }
}

/// What a detainee has spent and what came not back of it, by the business date on which it was spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    days: BTreeMap<Date, Amount>,
    currency: Currency,
}

impl Spent {
    /// Nothing yet.
    pub fn none(currency: Currency) -> Spent {
        Spent {
            days: BTreeMap::new(),
            currency,
        }
    }

    /// What was spent in the window that a date is in.
    pub fn within(&self, window: Window, date: Date) -> Result<Amount, MoneyError> {
        if window == Window::Order {
            return Ok(Amount::zero(self.currency));
        }
        Amount::sum(
            self.days.range(window.dates(date)).map(|(_, amount)| *amount),
            self.currency,
        )
    }

    /// Adds to a date, or takes from it.
    pub fn add(&mut self, date: Date, counted: Amount) -> Result<(), MoneyError> {
        let spent = self.days.entry(date).or_insert(Amount::zero(self.currency));
        *spent = spent.checked_add(counted)?;
        Ok(())
    }

    /// Sets what is stored of a date.
    pub fn learn(&mut self, date: Date, spent: Amount) {
        self.days.insert(date, spent);
    }

    /// What was spent on the days of a month on which something was, by the day's number.
    pub fn days_of(&self, date: Date) -> impl Iterator<Item = (u8, Amount)> {
        let days = self.days.range(Window::Month.dates(date));
        days.map(|(date, amount)| (date.day(), *amount))
    }

    /// The dates on which something was spent, oldest first.
    pub fn dates(&self) -> impl DoubleEndedIterator<Item = Date> {
        self.days.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::{Month, macros::date};

    use super::*;

    #[test]
    fn weeks_begin_on_mondays_and_go_over_months() {
        let dates = |window: Window, date| window.dates(date).into_inner();
        for day in 27..=30 {
            let date = Date::from_calendar_date(2026, Month::April, day).unwrap();
            assert_eq!(
                dates(Window::Week, date),
                (date!(2026 - 04 - 27), date!(2026 - 05 - 03))
            );
        }
        assert_eq!(
            dates(Window::Week, date!(2026 - 05 - 03)),
            (date!(2026 - 04 - 27), date!(2026 - 05 - 03))
        );
        assert_eq!(dates(Window::Week, date!(2026 - 05 - 04)).0, date!(2026 - 05 - 04));
        assert_eq!(
            dates(Window::Month, date!(2028 - 02 - 10)),
            (date!(2028 - 02 - 01), date!(2028 - 02 - 29))
        );
    }

    proptest! {
        #[test]
        fn every_window_is_the_sum_of_its_days(
            moves in prop::collection::vec((0_i64..120, 1_i64..500), 1..60),
            asked in 0_i64..120,
        ) {
            let currency = Currency::parse("CNY").unwrap();
            let (first, cents) = (date!(2027 - 12 - 20), |cents| Amount::from_decimal(rust_decimal::Decimal::new(cents, 2), currency).unwrap());
            let mut spent = Spent::none(currency);
            for (index, (day, amount)) in moves.iter().enumerate() {
                spent.add(first + Duration::days(*day), cents(*amount)).unwrap();
                // A third of it comes back.
                if index % 3 == 0 {
                    spent.add(first + Duration::days(*day), cents(*amount).negated()).unwrap();
                }
            }
            let left = || moves.iter().enumerate().filter(|(index, _)| index % 3 != 0).map(|(_, moved)| moved);
            let date = first + Duration::days(asked);
            let same = |window: Window, other: Date| match window {
                Window::Order => false,
                Window::Day => other == date,
                Window::Week => other.to_iso_week_date().0 == date.to_iso_week_date().0 && other.iso_week() == date.iso_week(),
                Window::Month => (other.year(), other.month()) == (date.year(), date.month()),
            };
            for window in Window::ALL {
                let sum: i64 = left()
                    .filter(|(day, _)| same(window, first + Duration::days(*day)))
                    .map(|(_, amount)| amount)
                    .sum();
                prop_assert_eq!(spent.within(window, date).unwrap(), cents(sum));
            }
        }
    }

    #[test]
    fn what_comes_back_changes_only_the_windows_of_its_date() {
        let currency = Currency::parse("CNY").unwrap();
        let yuan = |text: &str| Amount::parse(text, currency).unwrap();
        let mut spent = Spent::none(currency);
        // Thursday and Friday of one week, and two months.
        spent.add(date!(2026 - 04 - 30), yuan("30")).unwrap();
        spent.add(date!(2026 - 05 - 01), yuan("12.50")).unwrap();
        let told = |spent: &Spent, date| {
            [Window::Order, Window::Day, Window::Week, Window::Month]
                .map(|window| spent.within(window, date).unwrap().to_string())
        };
        assert_eq!(told(&spent, date!(2026 - 05 - 01)), ["0.00", "12.50", "42.50", "12.50"]);
        spent.add(date!(2026 - 04 - 30), yuan("30").negated()).unwrap();
        assert_eq!(told(&spent, date!(2026 - 05 - 01)), ["0.00", "12.50", "12.50", "12.50"]);
        assert_eq!(told(&spent, date!(2026 - 04 - 30)), ["0.00", "0.00", "12.50", "0.00"]);
        assert_eq!(spent.days_of(date!(2026 - 04 - 01)).count(), 1);
    }
}
