//! How many may do something in a second, whoever they are: for what asks no credential.

use std::sync::{Mutex, PoisonError};

use time::OffsetDateTime;

/// Counts within each second, in this process.
#[derive(Debug)]
pub struct Limiter {
    most: u32,
    /// The second, and how many there were in it.
    counted: Mutex<(i64, u32)>,
}

impl Limiter {
    /// At most so many in a second.
    pub fn new(most: u32) -> Limiter {
        Limiter {
            most,
            counted: Mutex::default(),
        }
    }

    /// Whether one more may.
    pub fn admits(&self, now: OffsetDateTime) -> bool {
        let second = now.unix_timestamp();
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if counted.0 != second {
            *counted = (second, 0);
        }
        counted.1 = counted.1.saturating_add(1);
        counted.1 <= self.most
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn each_second_has_its_own_count() {
        let limiter = Limiter::new(2);
        let now = datetime!(2031-05-06 07:08:09.5 UTC);
        assert_eq!([(); 3].map(|()| limiter.admits(now)), [true, true, false]);
        assert!(limiter.admits(now + time::Duration::SECOND));
    }
}
