//! When to ask again: longer and longer, and never all terminals at once.

use std::time::Duration;

/// The first pause, in milliseconds.
const FIRST_MS: u64 = 100;
/// The longest pause, in milliseconds.
const LONGEST_MS: u64 = 10_000;

/// The pauses between attempts: each up to twice the one before, half of it by chance, so that terminals that were cut off
/// together do not come back together.
#[derive(Debug)]
pub struct Pace {
    step_ms: u64,
}

impl Pace {
    /// Starts with the shortest pause.
    pub fn new() -> Pace {
        Pace { step_ms: FIRST_MS }
    }

    /// The next pause; at least what the service asks for.
    pub fn next(&mut self, least: Option<Duration>) -> Duration {
        let step_ms = self.step_ms;
        self.step_ms = step_ms.saturating_mul(2).min(LONGEST_MS);
        let pause = Duration::from_millis(rand::random_range(step_ms / 2..=step_ms));
        // What a service asks for is no reason to sleep for a day.
        pause.max(least.unwrap_or_default().min(Duration::from_millis(LONGEST_MS)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let mut pace = Pace::new();
        let mut step_ms = FIRST_MS;
        for _ in 0..20 {
            let pause = pace.next(None);
            assert!(pause >= Duration::from_millis(step_ms / 2) && pause <= Duration::from_millis(step_ms));
            step_ms = (step_ms * 2).min(LONGEST_MS);
        }
        assert_eq!(step_ms, LONGEST_MS);
    }

    #[test]
    fn the_service_can_ask_for_patience() {
        assert!(Pace::new().next(Some(Duration::from_secs(1))) >= Duration::from_secs(1));
        assert_eq!(
            Pace::new().next(Some(Duration::from_secs(86_400))),
            Duration::from_millis(LONGEST_MS)
        );
    }
}
