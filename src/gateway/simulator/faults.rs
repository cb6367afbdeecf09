//! Standing faults: at which rates, and the seeded generator that chooses where they strike.
//!
//! What strikes whom depends on the seed, the fault, the subject's own number and how often it came before, and on nothing else:
//! neither on the time nor on what happens beside it. One seed with the same numbers gives the same faults in every order of
//! events. A fault that is asked for by name, for one call, takes the place of the standing ones for that call.

use std::{collections::BTreeMap, sync::Arc, sync::Mutex, time::Duration};

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    Gateway,
    book::{Face, Refusal},
    control::{NotifyOptions, RefundAnswer},
    locked,
};

/// All of a thousand.
const PER_MILLE_MAX: u16 = 1000;
/// Longest pause of any kind, in milliseconds: a minute.
const PAUSE_MS_MAX: u64 = 60_000;
/// Copies that a duplicated notification may have more.
const COPIES_MAX: u64 = 3;
/// So many subjects are counted; beyond that counting begins anew.
const SUBJECTS_MAX: usize = 1_000_000;

/// When a refund gets its outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum RefundMode {
    /// As the real gateways: Alipay's at once, the others' on command.
    #[default]
    AsUsual,
    /// Every gateway's by itself.
    ByItself,
    /// Every gateway's on command only.
    OnCommand,
}

/// How many of a thousand are struck by which fault. All are 0 unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields)]
pub struct FaultRates {
    /// Chooses where the faults strike: the same seed, the same faults.
    #[arg(long = "faults-seed", value_name = "SEED", default_value_t = 0)]
    pub seed: u64,
    /// Of a thousand notifications so many are never sent.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub lose_per_mille: u16,
    /// Of a thousand notifications so many are sent two to four times.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub duplicate_per_mille: u16,
    /// Of a thousand notifications so many let a later one go first.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub reorder_per_mille: u16,
    /// Of a thousand notifications so many wait before they are sent.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub delay_per_mille: u16,
    /// The longest that a notification waits, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    pub delay_max_ms: u64,
    /// Of a thousand notifications so many tell another amount when they are first sent, under a signature that is wrong by that.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub corrupt_per_mille: u16,
    /// Of a thousand calls so many are turned away before anything is done: 503. With 1000 the gateway is down.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub turn_away_per_mille: u16,
    /// Of a thousand calls so many are carried out, and their answer is lost: 502.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub lose_answer_per_mille: u16,
    /// Of a thousand calls so many are carried out and answered late.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub slow_per_mille: u16,
    /// The latest that an answer comes, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    pub slow_max_ms: u64,
    /// When refunds get their outcome. Only those that get it by themselves are refused, stranded or delayed by rate.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub refunds: RefundMode,
    /// Of a thousand refunds so many are refused.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub refuse_refund_per_mille: u16,
    /// Of a thousand refunds of WeChat Pay's so many become abnormal, until somebody says where the money goes.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub strand_refund_per_mille: u16,
    /// Of a thousand refunds so many get their outcome late.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub delay_refund_per_mille: u16,
    /// The latest that a refund gets its outcome, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    pub refund_delay_max_ms: u64,
}

impl Default for FaultRates {
    fn default() -> Self {
        FaultRates {
            seed: 0,
            lose_per_mille: 0,
            duplicate_per_mille: 0,
            reorder_per_mille: 0,
            delay_per_mille: 0,
            delay_max_ms: 2_000,
            corrupt_per_mille: 0,
            turn_away_per_mille: 0,
            lose_answer_per_mille: 0,
            slow_per_mille: 0,
            slow_max_ms: 2_000,
            refunds: RefundMode::AsUsual,
            refuse_refund_per_mille: 0,
            strand_refund_per_mille: 0,
            delay_refund_per_mille: 0,
            refund_delay_max_ms: 2_000,
        }
    }
}

impl FaultRates {
    /// A gateway that turns every call away.
    pub fn down() -> Self {
        FaultRates {
            turn_away_per_mille: PER_MILLE_MAX,
            ..FaultRates::default()
        }
    }

    fn check(&self) -> Result<(), Refusal> {
        let rates = [
            ("lose_per_mille", self.lose_per_mille),
            ("duplicate_per_mille", self.duplicate_per_mille),
            ("reorder_per_mille", self.reorder_per_mille),
            ("delay_per_mille", self.delay_per_mille),
            ("corrupt_per_mille", self.corrupt_per_mille),
            ("turn_away_per_mille", self.turn_away_per_mille),
            ("lose_answer_per_mille", self.lose_answer_per_mille),
            ("slow_per_mille", self.slow_per_mille),
            ("refuse_refund_per_mille", self.refuse_refund_per_mille),
            ("strand_refund_per_mille", self.strand_refund_per_mille),
            ("delay_refund_per_mille", self.delay_refund_per_mille),
        ];
        if let Some((name, rate)) = rates.into_iter().find(|(_, rate)| *rate > PER_MILLE_MAX) {
            return Err(Refusal::Invalid(format!("{name} is {rate}, above {PER_MILLE_MAX}")));
        }
        let pauses = [
            ("delay_max_ms", self.delay_max_ms),
            ("slow_max_ms", self.slow_max_ms),
            ("refund_delay_max_ms", self.refund_delay_max_ms),
        ];
        match pauses
            .into_iter()
            .find(|(_, pause)| !(1..=PAUSE_MS_MAX).contains(pause))
        {
            Some((name, pause)) => Err(Refusal::Invalid(format!("{name} is {pause}, not 1 to {PAUSE_MS_MAX}"))),
            None => Ok(()),
        }
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CallFate {
    turned_away: bool,
    late_by: Duration,
    answer_lost: bool,
}

/// What becomes of a refund that gets its outcome by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RefundFate {
    pub answer: RefundAnswer,
    pub after: Duration,
}

/// The standing faults of a simulator.
pub(super) struct Faults {
    standing: Mutex<Standing>,
    stop: CancellationToken,
}

#[derive(Default)]
struct Standing {
    rates: FaultRates,
    /// How often each subject came.
    turns: BTreeMap<String, u64>,
}

impl Standing {
    /// One subject comes once more.
    fn lot(&mut self, kind: &str, subject: &str) -> (FaultRates, Lot) {
        let subject = format!("{kind} {subject}");
        if self.turns.len() >= SUBJECTS_MAX && !self.turns.contains_key(&subject) {
            self.turns.clear();
        }
        let turn = self.turns.entry(subject.clone()).or_default();
        *turn += 1;
        let lot = Lot(format!("{} {subject} {turn}", self.rates.seed));
        (self.rates, lot)
    }
}

/// What the generator has for one subject.
struct Lot(String);

impl Lot {
    fn draw(&self, name: &str) -> u64 {
        let digest = Sha256::digest(format!("{} {name}", self.0));
        digest
            .iter()
            .take(8)
            .fold(0, |drawn, byte| (drawn << 8) | u64::from(*byte))
    }

    fn strikes(&self, fault: &str, per_mille: u16) -> bool {
        self.draw(fault) % u64::from(PER_MILLE_MAX) < u64::from(per_mille)
    }

    /// From 1 to `max`.
    fn up_to(&self, name: &str, max: u64) -> u64 {
        1 + self.draw(name) % max.max(1)
    }

    /// From a millisecond to `max_ms` if the fault strikes, and nothing if not.
    fn pause_ms(&self, fault: &str, per_mille: u16, max_ms: u64) -> u64 {
        match self.strikes(fault, per_mille) {
            true => self.up_to(&format!("{fault} by"), max_ms),
            false => 0,
        }
    }
}

impl Faults {
    pub(super) fn try_new(rates: FaultRates, stop: CancellationToken) -> Result<Faults, Refusal> {
        rates.check()?;
        let standing = Standing {
            rates,
            turns: BTreeMap::new(),
        };
        Ok(Faults {
            standing: Mutex::new(standing),
            stop,
        })
    }

    pub(super) fn rates(&self) -> FaultRates {
        locked(&self.standing).rates
    }

    /// From now on these, and counting begins anew.
    pub(super) fn set(&self, rates: FaultRates) -> Result<(), Refusal> {
        rates.check()?;
        *locked(&self.standing) = Standing {
            rates,
            turns: BTreeMap::new(),
        };
        Ok(())
    }

    /// What becomes of a notification, by what it tells and of what.
    pub(super) fn of_letter(&self, event_type: &str, subject: &str) -> NotifyOptions {
        let (rates, lot) = locked(&self.standing).lot(event_type, subject);
        let duplicate = match lot.strikes("duplicate", rates.duplicate_per_mille) {
            true => lot.up_to("copies", COPIES_MAX),
            false => 0,
        };
        NotifyOptions {
            lose: lot.strikes("lose", rates.lose_per_mille),
            duplicate: u32::try_from(duplicate).unwrap_or_default(),
            reorder: lot.strikes("reorder", rates.reorder_per_mille),
            delay_ms: lot.pause_ms("delay", rates.delay_per_mille, rates.delay_max_ms),
            corrupt: lot.strikes("corrupt", rates.corrupt_per_mille),
            tamper: false,
        }
    }

    /// What becomes of a new refund; `None`: it waits for a command.
    pub(super) fn of_refund(&self, face: &Face, refund_number: &str) -> Option<RefundFate> {
        let (rates, lot) = locked(&self.standing).lot("refund", refund_number);
        let is_by_itself = match rates.refunds {
            RefundMode::AsUsual => *face == Face::Alipay,
            RefundMode::ByItself => true,
            RefundMode::OnCommand => false,
        };
        if !is_by_itself {
            return None;
        }
        let is_refused = lot.strikes("refuse", rates.refuse_refund_per_mille);
        let can_strand = matches!(face, Face::WechatPay(_)) && !is_refused;
        let answer = RefundAnswer {
            failed: is_refused.then(|| "refused by the fault rates".to_owned()),
            abnormal: can_strand && lot.strikes("strand", rates.strand_refund_per_mille),
            notify: NotifyOptions::default(),
        };
        let after = lot.pause_ms("late refund", rates.delay_refund_per_mille, rates.refund_delay_max_ms);
        Some(RefundFate {
            answer,
            after: Duration::from_millis(after),
        })
    }

    fn of_call(&self, target: &str) -> CallFate {
        let (rates, lot) = locked(&self.standing).lot("call", target);
        CallFate {
            turned_away: lot.strikes("turn away", rates.turn_away_per_mille),
            late_by: Duration::from_millis(lot.pause_ms("slow", rates.slow_per_mille, rates.slow_max_ms)),
            answer_lost: lot.strikes("lose answer", rates.lose_answer_per_mille),
        }
    }
}

/// Turns a call away, answers it late, or loses the answer, in the words of the balancer before every gateway.
pub(super) async fn strike(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let target = format!("{} {}", request.method(), request.uri().path());
    let fate = gateway.faults.of_call(&target);
    if fate.turned_away {
        return (StatusCode::SERVICE_UNAVAILABLE, "the gateway is down\n").into_response();
    }
    let response = next.run(request).await;
    if !fate.late_by.is_zero() {
        tokio::select! {
            () = gateway.faults.stop.cancelled() => {}
            () = sleep(fate.late_by) => {}
        }
    }
    match fate.answer_lost {
        true => (StatusCode::BAD_GATEWAY, "the gateway's answer was lost\n").into_response(),
        false => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(rates: FaultRates) -> Faults {
        Faults::try_new(rates, CancellationToken::new()).unwrap()
    }

    fn letters(faults: &Faults, numbers: impl Iterator<Item = u32>) -> BTreeMap<u32, NotifyOptions> {
        numbers
            .map(|number| {
                (
                    number,
                    faults.of_letter("payment_succeeded", &format!("ORDER-{number}")),
                )
            })
            .collect()
    }

    fn stormy(seed: u64) -> FaultRates {
        FaultRates {
            seed,
            lose_per_mille: 100,
            duplicate_per_mille: 200,
            reorder_per_mille: 300,
            delay_per_mille: 400,
            corrupt_per_mille: 50,
            ..FaultRates::default()
        }
    }

    #[test]
    fn one_seed_strikes_the_same_in_every_order_of_events() {
        let forward = letters(&faults(stormy(7)), 0..1000);
        assert_eq!(letters(&faults(stormy(7)), (0..1000).rev()), forward);
        assert_ne!(letters(&faults(stormy(8)), 0..1000), forward);
        let again = faults(stormy(7));
        letters(&again, 0..1000);
        assert_ne!(
            letters(&again, 0..1000),
            forward,
            "the second notification has a lot of its own"
        );
        again.set(stormy(7)).unwrap();
        assert_eq!(letters(&again, 0..1000), forward, "set again, it begins anew");
    }

    #[test]
    fn rates_are_kept_about() {
        let struck = letters(&faults(stormy(7)), 0..10_000);
        let of = |is_struck: fn(&NotifyOptions) -> bool| struck.values().filter(|options| is_struck(options)).count();
        for (count, rate) in [
            (of(|options| options.lose), 1000),
            (of(|options| options.duplicate > 0), 2000),
            (of(|options| options.reorder), 3000),
            (of(|options| options.delay_ms > 0), 4000),
            (of(|options| options.corrupt), 500),
        ] {
            assert!(count.abs_diff(rate) < 200, "{count} of 10,000, not about {rate}");
        }
        assert!(
            struck
                .values()
                .all(|options| options.duplicate <= 3 && options.delay_ms <= 2000)
        );
        let none = letters(&faults(FaultRates::default()), 0..1000);
        assert!(none.values().all(|options| *options == NotifyOptions::default()));
    }

    #[test]
    fn refunds_wait_or_are_answered_as_the_mode_says() {
        let with = |refunds| {
            faults(FaultRates {
                refunds,
                refuse_refund_per_mille: 1000,
                delay_refund_per_mille: 1000,
                ..FaultRates::default()
            })
        };
        let is_answered = |refunds, face: &Face| with(refunds).of_refund(face, "F1-000001").is_some();
        assert!(is_answered(RefundMode::AsUsual, &Face::Alipay) && !is_answered(RefundMode::AsUsual, &Face::Webhook));
        assert!(
            is_answered(RefundMode::ByItself, &Face::Webhook) && !is_answered(RefundMode::OnCommand, &Face::Alipay)
        );
        let fate = with(RefundMode::ByItself)
            .of_refund(&Face::Webhook, "F1-000001")
            .unwrap();
        assert!(fate.answer.failed.is_some() && !fate.answer.abnormal);
        assert!((1..=2000).contains(&fate.after.as_millis()));
    }

    #[test]
    fn a_rate_above_all_of_them_and_a_pause_without_an_end_are_refused() {
        let above = FaultRates {
            slow_per_mille: 1001,
            ..FaultRates::default()
        };
        let endless = FaultRates {
            slow_max_ms: 60_001,
            ..FaultRates::default()
        };
        let never = FaultRates {
            delay_max_ms: 0,
            ..FaultRates::default()
        };
        let faults = faults(stormy(1));
        for (rates, told) in [
            (above, "slow_per_mille is 1001, above 1000"),
            (endless, "slow_max_ms is 60001, not 1 to 60000"),
            (never, "delay_max_ms is 0, not 1 to 60000"),
        ] {
            assert_eq!(faults.set(rates), Err(Refusal::Invalid(told.to_owned())));
        }
        assert_eq!(faults.rates(), stormy(1), "what was refused changes nothing");
    }
}
