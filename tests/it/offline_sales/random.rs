//! Random reserving, selling, bringing in, expiring and buying against a small model: no cent is sold twice, and none is lost.

use std::collections::{BTreeMap, BTreeSet};

use custody_ledger::{
    ids::{DetaineeId, RequestId, Seq},
    ledger::{LedgerError, Request},
    offline_sales::{OfflineSales, SaleState, Standing},
};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;

const DETAINEES: [&str; 3] = ["D1", "D2", "D3"];
const STEPS: usize = 60;
const SEEDS: u64 = 4;

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.roll(u64::try_from(len).unwrap())).unwrap()
    }
}

/// An allowance as the model knows it.
struct Known {
    detainee: &'static str,
    till: usize,
    remaining: Decimal,
    /// What the terminal believes is left.
    believed: Decimal,
    releases_at: OffsetDateTime,
    open: bool,
}

/// A sale that a till has made.
struct Made {
    signed: Signed,
    allowance: i64,
    detainee: &'static str,
    total: Decimal,
    received: bool,
}

struct Model {
    available: BTreeMap<&'static str, Decimal>,
    allowances: BTreeMap<i64, Known>,
    /// The sales of each till, by number from 1.
    made: Vec<Vec<Made>>,
    /// How many of them were taken in.
    taken: Vec<usize>,
    states: Vec<Vec<SaleState>>,
    vendor: Decimal,
}

impl Model {
    /// Takes in what can be by now, as the service is to.
    fn settle(&mut self, till: usize) {
        while let Some(made) = self.made[till].get(self.taken[till]).filter(|made| made.received) {
            let known = self.allowances.get_mut(&made.allowance).unwrap();
            let available = self.available.get_mut(made.detainee).unwrap();
            let state = if known.open && made.total <= known.remaining {
                known.remaining -= made.total;
                SaleState::Captured
            } else if !known.open && made.total <= *available {
                *available -= made.total;
                SaleState::SettledLate
            } else {
                SaleState::Shortage
            };
            if state != SaleState::Shortage {
                self.vendor += made.total;
            }
            self.states[till].push(state);
            self.taken[till] += 1;
        }
    }

    fn end(&mut self, seq: i64) {
        let known = self.allowances.get_mut(&seq).unwrap();
        *self.available.get_mut(known.detainee).unwrap() += known.remaining;
        (known.open, known.remaining) = (false, Decimal::ZERO);
    }

    fn held(&self, detainee: &str) -> Decimal {
        let of = self.allowances.values().filter(|known| known.detainee == detainee);
        of.map(|known| known.remaining).sum()
    }
}

fn request(method: &'static str) -> Request {
    Request {
        id: RequestId(Uuid::new_v4()),
        method,
        body: Vec::new(),
        actor: "terminal/T1".into(),
    }
}

struct Run {
    stall: Stall,
    clock: Clock,
    offline: OfflineSales,
    tills: Vec<Till>,
    model: Model,
    dice: Dice,
}

impl Run {
    async fn begin(seed: u64) -> Run {
        let clock = Clock::starting_at(OffsetDateTime::now_utc());
        let stall = Stall::open_at(clock.clone()).await;
        stall.allow("60.00", 24, 4).await;
        let tills = vec![stall.till("T1").await, stall.till("T2").await];
        Run {
            offline: OfflineSales::new(stall.process.lanes.clone()),
            model: Model {
                available: DETAINEES.map(|detainee| (detainee, Decimal::from(100))).into(),
                allowances: BTreeMap::new(),
                made: vec![Vec::new(), Vec::new()],
                taken: vec![0, 0],
                states: vec![Vec::new(), Vec::new()],
                vendor: Decimal::ZERO,
            },
            stall,
            clock,
            tills,
            dice: Dice(seed),
        }
    }

    async fn reserve(&mut self) {
        let (till, detainee) = (self.dice.index(2), DETAINEES[self.dice.index(3)]);
        let amount = Decimal::from(1 + self.dice.roll(40));
        let expires_at = self.clock.now() + time::Duration::hours(1 + i64::try_from(self.dice.roll(8)).unwrap());
        let terminal = TerminalId::parse(&self.tills[till].id).unwrap();
        let asked = (world::cny(&amount.to_string()), expires_at);
        let detainee_id = DetaineeId::parse(detainee).unwrap();
        let done = self.offline.reserve(
            &self.stall.center,
            request("test/Reserve"),
            terminal,
            detainee_id,
            asked,
        );
        let fits = amount <= self.model.available[detainee] && self.model.held(detainee) + amount <= Decimal::from(60);
        match done.await {
            Ok(posted) => {
                assert!(fits, "{amount} of {detainee} were set aside");
                *self.model.available.get_mut(detainee).unwrap() -= amount;
                let known = Known {
                    detainee,
                    till,
                    remaining: amount,
                    believed: amount,
                    releases_at: expires_at + time::Duration::hours(4),
                    open: true,
                };
                self.model.allowances.insert(posted.seq().0, known);
            }
            Err(LedgerError::Refused { .. }) => assert!(!fits, "{amount} of {detainee} were not set aside"),
            Err(error) => panic!("{error}"),
        }
    }

    /// A till sells within what it believes to have, and sometimes more. It does not know of what was released meanwhile.
    fn sell(&mut self) {
        let Some(seq) = self.any_allowance() else { return };
        let known = self.model.allowances.get_mut(&seq).unwrap();
        let lines: Vec<Line<'_>> = match self.dice.roll(3) {
            0 => vec![(RICE, 1 + i32::try_from(self.dice.roll(4)).unwrap())],
            1 => vec![(SOAP, 1), (RICE, 1)],
            _ => vec![(BOOK, 1)],
        };
        let till = &mut self.tills[known.till];
        let allowance = Allowance {
            name: format!("centers/C1/allowances/{seq}"),
            ..Allowance::default()
        };
        let statement = till.statement(&allowance, known.detainee, &lines);
        let total: Decimal = statement.total.parse().unwrap();
        if total > known.believed && self.dice.roll(8) > 0 {
            return;
        }
        known.believed -= total;
        self.model.made[known.till].push(Made {
            signed: till.enter(&statement),
            allowance: seq,
            detainee: known.detainee,
            total,
            received: false,
        });
    }

    fn any_allowance(&mut self) -> Option<i64> {
        let all: Vec<i64> = self.model.allowances.keys().copied().collect();
        (!all.is_empty()).then(|| all[self.dice.index(all.len())])
    }

    /// Brings some sales in, in any order, some of them again.
    async fn upload(&mut self) {
        let till = self.dice.index(2);
        let terminal = TerminalId::parse(&self.tills[till].id).unwrap();
        for _ in 0..=self.dice.roll(6) {
            if self.model.made[till].is_empty() {
                return;
            }
            // Mostly the next, which is what a till sends.
            let next = self.model.taken[till].min(self.model.made[till].len() - 1);
            let which = if self.dice.roll(4) > 0 {
                next
            } else {
                self.dice.index(self.model.made[till].len())
            };
            let Signed { statement, signature } = self.model.made[till][which].signed.clone();
            let taken = self
                .offline
                .take_in(&self.stall.center, &terminal, statement, signature, "terminal/T");
            let outcome = taken.await.unwrap();
            assert_eq!(outcome.replayed, self.model.made[till][which].received);
            self.model.made[till][which].received = true;
            self.model.settle(till);
            match outcome.standing {
                Standing::Taken(sale) => assert_eq!(sale.state(), self.model.states[till][which]),
                Standing::Waiting(missing) => {
                    assert!(which >= self.model.taken[till]);
                    assert_eq!(missing[0].0, i64::try_from(self.model.taken[till]).unwrap() + 1);
                }
                Standing::Refused(why, message) => panic!("{why:?}: {message}"),
            }
        }
    }

    async fn end(&mut self) {
        let Some(seq) = self.any_allowance() else { return };
        let known = &self.model.allowances[&seq];
        let till = known.till;
        let last = i64::try_from(self.model.made[till].len()).unwrap();
        let terminal = TerminalId::parse(&self.tills[till].id).unwrap();
        let ended = self
            .offline
            .end_allowance(&self.stall.center, request("test/End"), terminal, Seq(seq), last);
        let is_due = known.open && self.model.taken[till] == self.model.made[till].len();
        match ended.await {
            Ok(_) => {
                assert!(is_due);
                self.model.end(seq);
            }
            Err(LedgerError::Refused { .. }) => assert!(!is_due),
            Err(error) => panic!("{error}"),
        }
    }

    async fn pass_time(&mut self) {
        let hours = i64::try_from(self.dice.roll(5)).unwrap();
        self.clock.turn_to(self.clock.now() + time::Duration::hours(hours));
        let now = self.clock.now();
        self.offline.look(&self.stall.center).await.unwrap();
        let due = self
            .model
            .allowances
            .iter()
            .filter(|(_, known)| known.open && known.releases_at <= now);
        for seq in due.map(|(seq, _)| *seq).collect::<Vec<_>>() {
            self.model.end(seq);
        }
    }

    async fn buy(&mut self) {
        let detainee = DETAINEES[self.dice.index(3)];
        let bought = world::buy(
            &self.stall.process,
            &self.stall.center,
            Uuid::new_v4(),
            detainee,
            &[("SOAP", 2)],
        );
        let price = Decimal::from(8);
        let available = self.model.available.get_mut(detainee).unwrap();
        if bought.await.is_ok() {
            *available -= price;
            self.model.vendor += price;
            assert!(!available.is_sign_negative());
        } else {
            assert!(*available < price);
        }
    }

    async fn compare(&self) {
        for detainee in DETAINEES {
            let (available, held) = self.stall.has(detainee).await;
            assert_eq!(
                available.parse::<Decimal>().unwrap(),
                self.model.available[detainee],
                "{detainee}"
            );
            assert_eq!(
                held.parse::<Decimal>().unwrap(),
                self.model.held(detainee),
                "{detainee}"
            );
        }
    }

    /// What vendors are owed is what was sold, once.
    async fn owed(&self) -> Decimal {
        let mut conn = self.stall.process.database.read.acquire().await.unwrap();
        let owed =
            "select coalesce(sum(b.balance), 0) from account_balance b join account a using (center_id, account_no)
                    where a.code = 2201";
        sqlx::query_scalar(owed).fetch_one(&mut *conn).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_cent_is_sold_twice() {
    let mut met = BTreeSet::new();
    for seed in 0..SEEDS {
        let mut run = Run::begin(seed).await;
        for _ in 0..STEPS {
            match run.dice.roll(12) {
                0..=2 => run.reserve().await,
                3..=6 => run.sell(),
                7..=8 => run.upload().await,
                9 => run.end().await,
                10 => run.pass_time().await,
                _ => run.buy().await,
            }
            run.compare().await;
        }
        assert_eq!(run.owed().await, run.model.vendor, "seed {seed}");
        run.stall.verified().await;
        met.extend(run.model.states.concat().into_iter().map(SaleState::name));
    }
    assert_eq!(
        met.into_iter().collect::<Vec<_>>(),
        ["CAPTURED", "SETTLED_LATE", "SHORTAGE"]
    );
}
