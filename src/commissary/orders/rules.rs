//! When a center takes orders, and how long it waits for what, pure.

use time::{Duration, OffsetDateTime, Weekday};

use super::OrderRefusal;
use crate::clock::Zone;

/// Most windows of a center.
pub const WINDOWS_MAX: usize = 50;
/// The minutes of a day.
pub const DAY_MINUTES: i16 = 1440;

/// Some hours of a day of the week in which orders are taken. Its end is the cut-off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderingWindow {
    /// The day.
    pub weekday: Weekday,
    /// From when, in minutes of the day.
    pub opens: i16,
    /// Until when; at most [`DAY_MINUTES`].
    pub closes: i16,
}

/// A center's ordering rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderingRules {
    /// Counts the changes; 0 when nothing was ever told.
    pub version: i64,
    /// When orders are taken; none: at any time.
    pub windows: Vec<OrderingWindow>,
    /// After how many days what has not come is available again.
    pub hold_days: i32,
    /// For how many days goods can come back and lines be disputed.
    pub return_days: i32,
    /// How many hours a dispute may wait.
    pub dispute_hours: i32,
}

impl Default for OrderingRules {
    /// Orders at any time; holds of 7 days, returns within 30, disputes within 72 hours.
    fn default() -> OrderingRules {
        OrderingRules {
            version: 0,
            windows: Vec::new(),
            hold_days: 7,
            return_days: 30,
            dispute_hours: 72,
        }
    }
}

impl OrderingRules {
    /// The cut-off of an order placed now; none where orders are taken at any time.
    ///
    /// Errors: ORDERING_CLOSED.
    pub fn cut_off(&self, zone: Zone, now: OffsetDateTime) -> Result<Option<OffsetDateTime>, OrderRefusal> {
        if self.windows.is_empty() {
            return Ok(None);
        }
        let today = zone.business_date(now);
        let (mut cut_off, mut opens_at): (Option<OffsetDateTime>, Option<OffsetDateTime>) = (None, None);
        // The window of today a week from now is the last that can be the next.
        for days in 0..=7 {
            let date = today.saturating_add(Duration::days(days));
            for window in self.windows.iter().filter(|window| window.weekday == date.weekday()) {
                let (opens, closes) = (zone.instant(date, window.opens), zone.instant(date, window.closes));
                if opens > now {
                    opens_at = Some(opens_at.map_or(opens, |known| known.min(opens)));
                } else if now < closes {
                    cut_off = Some(cut_off.map_or(closes, |known| known.max(closes)));
                }
            }
        }
        match (cut_off, opens_at) {
            (Some(cut_off), _) => Ok(Some(cut_off)),
            (None, Some(opens_at)) => Err(OrderRefusal::Closed { opens_at }),
            // A window a week, and its day is today and over: the loop reaches the next one, so this cannot be.
            (None, None) => Err(OrderRefusal::Closed { opens_at: now }),
        }
    }

    /// When the hold of an order placed now ends.
    pub fn expires_at(&self, now: OffsetDateTime) -> OffsetDateTime {
        now.saturating_add(Duration::days(self.hold_days.into()))
    }

    /// When the time for returns of what was handed out then is over.
    pub fn returns_until(&self, at: OffsetDateTime) -> OffsetDateTime {
        at.saturating_add(Duration::days(self.return_days.into()))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn rules(windows: &[(Weekday, i16, i16)]) -> OrderingRules {
        OrderingRules {
            windows: windows
                .iter()
                .map(|(weekday, opens, closes)| OrderingWindow {
                    weekday: *weekday,
                    opens: *opens,
                    closes: *closes,
                })
                .collect(),
            ..OrderingRules::default()
        }
    }

    #[test]
    fn windows_are_of_the_centers_own_days() {
        let zone = Zone::parse("Asia/Shanghai").unwrap();
        // 6 May 2031 is a Tuesday. Mondays 8 to 12 and Tuesdays the whole day.
        let rules = rules(&[(Weekday::Monday, 480, 720), (Weekday::Tuesday, 0, DAY_MINUTES)]);
        for (now, expected) in [
            (datetime!(2031-05-06 00:00 +8), Ok(datetime!(2031-05-07 00:00 +8))),
            (datetime!(2031-05-05 20:00 UTC), Ok(datetime!(2031-05-07 00:00 +8))),
            (datetime!(2031-05-06 23:59:59 +8), Ok(datetime!(2031-05-07 00:00 +8))),
            (datetime!(2031-05-07 00:00 +8), Err(datetime!(2031-05-12 08:00 +8))),
            (datetime!(2031-05-12 07:59 +8), Err(datetime!(2031-05-12 08:00 +8))),
            (datetime!(2031-05-12 08:00 +8), Ok(datetime!(2031-05-12 12:00 +8))),
            (datetime!(2031-05-12 12:00 +8), Err(datetime!(2031-05-13 00:00 +8))),
        ] {
            let found = rules.cut_off(zone, now);
            match expected {
                Ok(at) => assert_eq!(found, Ok(Some(at)), "{now}"),
                Err(opens_at) => assert_eq!(found, Err(OrderRefusal::Closed { opens_at }), "{now}"),
            }
        }
        assert_eq!(
            OrderingRules::default().cut_off(zone, datetime!(2031-05-06 0:00 UTC)),
            Ok(None)
        );
    }

    #[test]
    fn one_window_a_week_opens_a_week_later() {
        let zone = Zone::parse("Europe/Berlin").unwrap();
        let rules = rules(&[(Weekday::Sunday, 120, 240)]);
        // The clocks go forward on 30 March 2031: 02:00 does not exist, and the window opens with the first minute that does.
        let (before, over) = (datetime!(2031-03-23 04:00 +1), datetime!(2031-03-30 04:00 +2));
        let opens_at = datetime!(2031-03-30 03:00 +2);
        assert_eq!(rules.cut_off(zone, before), Err(OrderRefusal::Closed { opens_at }));
        assert_eq!(rules.cut_off(zone, opens_at), Ok(Some(datetime!(2031-03-30 04:00 +2))));
        let opens_at = datetime!(2031-04-06 02:00 +2);
        assert_eq!(rules.cut_off(zone, over), Err(OrderRefusal::Closed { opens_at }));
    }
}
