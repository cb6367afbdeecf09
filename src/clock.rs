//! The clock and the calendar: the only place that reads the time, and the business days of a center.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use time::{Date, Duration, Month, OffsetDateTime, Time, UtcOffset};
use time_tz::{OffsetDateTimeExt, OffsetResult, PrimitiveDateTimeExt, TimeZone, Tz};

/// What tells the time. Cheap to clone; all clones show the same time.
#[derive(Debug, Clone)]
pub struct Clock(Arc<Source>);

#[derive(Debug)]
enum Source {
    /// The clock of the machine.
    System,
    /// A clock that was set, and runs on from there.
    Set(Mutex<Setting>),
}

/// A clock shows `start` at `since`.
#[derive(Debug, Clone, Copy)]
struct Setting {
    start: OffsetDateTime,
    since: Instant,
}

impl Setting {
    fn to(start: OffsetDateTime) -> Setting {
        Setting {
            start: start.to_offset(UtcOffset::UTC),
            since: Instant::now(),
        }
    }
}

impl Clock {
    /// The clock of the machine.
    pub fn system() -> Clock {
        Clock(Arc::new(Source::System))
    }

    /// A clock that shows `start` now and runs on from there, for development and tests.
    pub fn starting_at(start: OffsetDateTime) -> Clock {
        Clock(Arc::new(Source::Set(Mutex::new(Setting::to(start)))))
    }

    /// Turns a clock that was set to another time, for all its clones. The clock of the machine cannot be turned: then
    /// nothing happens, and the answer is false.
    pub fn turn_to(&self, time: OffsetDateTime) -> bool {
        match &*self.0 {
            Source::System => false,
            Source::Set(setting) => {
                *setting.lock().unwrap_or_else(PoisonError::into_inner) = Setting::to(time);
                true
            }
        }
    }

    /// The time in UTC, in whole microseconds: the finest that the database keeps.
    pub fn now(&self) -> OffsetDateTime {
        let now = match &*self.0 {
            Source::System => OffsetDateTime::now_utc(),
            Source::Set(setting) => {
                let Setting { start, since } = *setting.lock().unwrap_or_else(PoisonError::into_inner);
                start.saturating_add(since.elapsed().try_into().unwrap_or(Duration::ZERO))
            }
        };
        now.saturating_sub(Duration::nanoseconds(i64::from(now.nanosecond() % 1_000)))
    }
}

/// The text names no time zone of the IANA database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an IANA time zone")]
pub struct UnknownZone;

/// The time zone of a center, which decides to which business day an instant belongs.
#[derive(Clone, Copy)]
pub struct Zone(&'static Tz);

impl Zone {
    /// Finds a time zone of the IANA database by its name, such as `Asia/Shanghai`.
    ///
    /// # Errors
    /// [`UnknownZone`].
    pub fn parse(name: &str) -> Result<Zone, UnknownZone> {
        time_tz::timezones::get_by_name(name).map(Zone).ok_or(UnknownZone)
    }

    /// The name in the IANA database.
    pub fn name(&self) -> &'static str {
        self.0.name()
    }

    /// An instant as the clocks of the zone show it.
    pub fn local(&self, at: OffsetDateTime) -> OffsetDateTime {
        at.to_timezone(self.0)
    }

    /// The business day to which an instant belongs.
    pub fn business_date(&self, at: OffsetDateTime) -> Date {
        at.to_timezone(self.0).date()
    }

    /// The end of a business day: the first instant that belongs to a later day, in UTC.
    pub fn end_of(&self, date: Date) -> OffsetDateTime {
        let midnight = date.saturating_add(Duration::DAY).with_time(Time::MIDNIGHT);
        match midnight.assume_timezone(self.0) {
            OffsetResult::Some(at) => at.to_offset(UtcOffset::UTC),
            // The clocks change over this midnight, which comes twice or not at all.
            OffsetResult::Ambiguous(..) | OffsetResult::None => self.first_after(date, midnight.assume_utc()),
        }
    }

    /// The instant of a minute of a business day, from 0 on; 1440 is the day's end. Of a minute that comes twice it is the
    /// first, of one that does not exist the first that does.
    pub fn instant(&self, date: Date, minute: i16) -> OffsetDateTime {
        let Ok(time) = u8::try_from(minute / 60)
            .and_then(|hour| Ok((hour, u8::try_from(minute % 60)?)))
            .map(|(hour, minute)| Time::from_hms(hour, minute, 0))
        else {
            return self.end_of(date);
        };
        let Ok(time) = time else {
            return self.end_of(date);
        };
        match date.with_time(time).assume_timezone(self.0) {
            OffsetResult::Some(at) => at.to_offset(UtcOffset::UTC),
            OffsetResult::Ambiguous(one, other) => one.min(other).to_offset(UtcOffset::UTC),
            // No gap is longer than a day, so that this ends.
            OffsetResult::None => self.instant(date, minute + 1),
        }
    }

    /// Searches, to the second, the instant near `around` at which the day after `date` begins.
    fn first_after(&self, date: Date, around: OffsetDateTime) -> OffsetDateTime {
        // No zone is more than 15 hours off UTC.
        let (mut before, mut after) = (around - Duration::hours(16), around + Duration::hours(16));
        while after - before > Duration::SECOND {
            let middle = before + Duration::seconds((after - before).whole_seconds() / 2);
            if self.business_date(middle) > date {
                after = middle;
            } else {
                before = middle;
            }
        }
        after
    }
}

/// The first day of the month of a day.
pub fn month_of(date: Date) -> Date {
    date.replace_day(1).unwrap_or(date)
}

/// A month as `YYYY-MM`.
pub fn month_text(month: Date) -> String {
    format!("{:04}-{:02}", month.year(), u8::from(month.month()))
}

/// Reads `YYYY-MM` as the month's first day.
pub fn parse_month(text: &str) -> Option<Date> {
    let (year, month) = text.split_once('-')?;
    if year.len() != 4 || month.len() != 2 {
        return None;
    }
    let month = Month::try_from(month.parse::<u8>().ok()?).ok()?;
    Date::from_calendar_date(year.parse().ok()?, month, 1).ok()
}

/// Reads `YYYY-MM-DD`.
pub fn parse_date(text: &str) -> Option<Date> {
    let (month, day) = text.split_at_checked(7)?;
    let day = day.strip_prefix('-').filter(|day| day.len() == 2)?.parse().ok()?;
    parse_month(month)?.replace_day(day).ok()
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        self.name() == other.name()
    }
}

impl Eq for Zone {}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::{date, datetime};

    use super::*;

    #[test]
    fn a_set_clock_runs_on() {
        let start = datetime!(2031-05-06 07:08:09.123456789 +8);
        let clock = Clock::starting_at(start);
        let (first, second) = (clock.now(), clock.clone().now());
        assert!(first >= datetime!(2031-05-05 23:08:09.123456 UTC) && first < start + Duration::MINUTE);
        assert!(second >= first);
        assert_eq!((first.offset(), first.nanosecond() % 1_000), (UtcOffset::UTC, 0));
        assert_eq!(Clock::system().now().nanosecond() % 1_000, 0);
    }

    #[test]
    fn a_set_clock_can_be_turned_and_the_machines_cannot() {
        let clock = Clock::starting_at(datetime!(2031-05-06 07:00 UTC));
        let other = clock.clone();
        let tomorrow = datetime!(2031-05-07 07:00 UTC);
        assert!(clock.turn_to(tomorrow));
        assert!(other.now() >= tomorrow && other.now() < tomorrow + Duration::MINUTE);
        assert!(!Clock::system().turn_to(tomorrow));
        assert!(Clock::system().now() < tomorrow);
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let zone = Zone::parse("Asia/Shanghai").unwrap();
        assert_eq!(
            zone.business_date(datetime!(2026-01-31 15:59:59.999999 UTC)),
            date!(2026 - 01 - 31)
        );
        assert_eq!(
            zone.business_date(datetime!(2026-01-31 16:00 UTC)),
            date!(2026 - 02 - 01)
        );
        assert_eq!(zone.end_of(date!(2026 - 01 - 31)), datetime!(2026-01-31 16:00 UTC));
        assert_eq!(month_of(date!(2026 - 02 - 28)), date!(2026 - 02 - 01));
        assert_eq!(zone.to_string(), "Asia/Shanghai");
    }

    #[test]
    fn a_midnight_that_does_not_come_is_passed_over() {
        // In São Paulo the clocks went from 24:00 on 3 November 2018 to 01:00 on 4 November.
        let zone = Zone::parse("America/Sao_Paulo").unwrap();
        assert_eq!(zone.end_of(date!(2018 - 11 - 03)), datetime!(2018-11-04 03:00 UTC));
        // And on 17 February 2018 from 24:00 back to 23:00.
        assert_eq!(zone.end_of(date!(2018 - 02 - 17)), datetime!(2018-02-18 03:00 UTC));
    }

    #[test]
    fn refuses_what_is_no_zone() {
        for name in ["", "Shanghai", "Asia/Nowhere", "+08:00", "../etc"] {
            assert_eq!(Zone::parse(name), Err(UnknownZone), "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn a_day_ends_where_the_next_begins(
            name in prop::sample::select(vec!["Asia/Shanghai", "America/Sao_Paulo", "Europe/Paris", "Pacific/Apia", "Asia/Kathmandu"]),
            seconds in 946_684_800_i64..2_000_000_000,
        ) {
            let zone = Zone::parse(name).unwrap();
            let date = zone.business_date(OffsetDateTime::from_unix_timestamp(seconds).unwrap());
            let end = zone.end_of(date);
            prop_assert!(end.unix_timestamp() > seconds);
            prop_assert!(zone.business_date(end) > date);
            prop_assert_eq!(zone.business_date(end - Duration::SECOND), date);
            prop_assert_eq!(month_of(month_of(date)), month_of(date));
        }
    }
}
