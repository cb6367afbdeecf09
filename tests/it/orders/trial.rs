//! Random orders, deliveries, disputes, returns and expiries against a small model: every answer and every balance.

use std::collections::BTreeSet;

use custody_ledger::{
    clock::Clock,
    commissary::{MovementKind, OrderVerb, ReturnLine, Verdict},
    ids::Seq,
    ledger::{LedgerError, Posted},
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use time::{Duration, OffsetDateTime, macros::datetime};
use uuid::Uuid;

use super::{change, come, order};
use crate::{
    goods,
    world::{World, id, reason},
};

/// Name, price in fen, and whether it counts.
const SHELF: [(&str, i64, bool); 3] = [("RICE", 250, true), ("SOAP", 400, true), ("BOOK", 3000, false)];
const FIRST: OffsetDateTime = datetime!(2031-05-02 02:00 UTC);
/// All days are in one month, and nothing is too late to go back.
const DAYS_MAX: i64 = 27;

#[derive(Clone, Default)]
struct Line {
    product: usize,
    open: i64,
    delivered: i64,
    released: i64,
    returned: i64,
    disputed: i64,
    is_paused: bool,
}

struct Placed {
    seq: Seq,
    day: i64,
    lines: Vec<Line>,
    is_begun: bool,
}

impl Placed {
    fn is_open(&self, day: i64) -> bool {
        self.lines.iter().any(|line| line.open > 0) && day <= self.day + 7
    }
}

/// Whole fen, lists and additions.
struct Model {
    day: i64,
    available: i64,
    spent: i64,
    owed: i64,
    rice: i64,
    placed: Vec<Placed>,
}

impl Model {
    fn held(&self) -> i64 {
        let lines = self.placed.iter().flat_map(|placed| &placed.lines);
        lines
            .map(|line| SHELF[line.product].1 * (line.open + line.disputed))
            .sum()
    }

    /// Money for some pieces is available again; those that never came are in stock again.
    fn give_back(&mut self, product: usize, pieces: i64, is_stock: bool) {
        let (_, price, counted) = SHELF[product];
        self.available += price * pieces;
        self.spent -= if counted { price * pieces } else { 0 };
        self.rice += if is_stock && product == 0 { pieces } else { 0 };
    }

    fn order(&mut self, seq: Seq, lines: &[(usize, i64)]) -> &'static str {
        let sum = |of: &dyn Fn(usize) -> bool| -> i64 {
            let lines = lines.iter().filter(|(product, _)| of(*product));
            lines.map(|(product, pieces)| SHELF[*product].1 * pieces).sum()
        };
        let (total, counted) = (sum(&|_| true), sum(&|product| SHELF[product].2));
        let rice: i64 = lines.iter().filter(|line| line.0 == 0).map(|line| line.1).sum();
        if rice > self.rice {
            return "OUT_OF_STOCK";
        } else if total > 20_000 {
            return "ORDER_LIMIT_EXCEEDED";
        } else if counted > 0 && self.spent + counted > 40_000 {
            return "MONTHLY_LIMIT_EXCEEDED";
        } else if total > self.available {
            return "INSUFFICIENT_FUNDS";
        }
        self.available -= total;
        self.spent += counted;
        self.rice -= rice;
        let line = |(product, open): &(usize, i64)| Line {
            product: *product,
            open: *open,
            ..Line::default()
        };
        self.placed.push(Placed {
            seq,
            day: self.day,
            lines: lines.iter().map(line).collect(),
            is_begun: false,
        });
        "ok"
    }

    fn deliver(&mut self, at: usize, line: usize, pieces: i64, short: i64) -> &'static str {
        let placed = &mut self.placed[at];
        if !placed.is_open(self.day) {
            return "ORDER_NOT_OPEN";
        } else if placed.lines[line].is_paused {
            return "LINE_DISPUTED";
        } else if pieces + short > placed.lines[line].open {
            return "DELIVERY_EXCEEDS_ORDER";
        }
        placed.is_begun |= pieces > 0;
        let line = &mut placed.lines[line];
        line.open -= pieces + short;
        line.delivered += pieces;
        line.released += short;
        let product = line.product;
        self.owed += SHELF[product].1 * pieces;
        self.give_back(product, short, true);
        "ok"
    }

    fn release(&mut self, at: usize) {
        for line in 0..self.placed[at].lines.len() {
            let line = &mut self.placed[at].lines[line];
            if line.is_paused {
                continue;
            }
            let (product, open) = (line.product, std::mem::take(&mut line.open));
            line.released += open;
            self.give_back(product, open, true);
        }
    }

    fn cancel(&mut self, at: usize) -> &'static str {
        let placed = &self.placed[at];
        if !placed.is_open(self.day) {
            return "ORDER_NOT_OPEN";
        } else if placed.is_begun {
            return "DELIVERY_BEGUN";
        } else if placed.lines.iter().any(|line| line.is_paused) {
            return "LINE_DISPUTED";
        }
        self.release(at);
        "ok"
    }

    fn dispute(&mut self, at: usize, line: usize) -> &'static str {
        let line = &mut self.placed[at].lines[line];
        if line.is_paused {
            return "LINE_DISPUTED";
        } else if line.open + line.delivered == 0 {
            return "NOTHING_TO_DISPUTE";
        }
        line.is_paused = true;
        line.disputed = std::mem::take(&mut line.delivered);
        self.owed -= SHELF[line.product].1 * line.disputed;
        "ok"
    }

    fn resolve(&mut self, at: usize, line: usize, for_vendor: bool) -> &'static str {
        let line = &mut self.placed[at].lines[line];
        if !line.is_paused {
            return "LINE_NOT_DISPUTED";
        }
        line.is_paused = false;
        let (product, disputed) = (line.product, std::mem::take(&mut line.disputed));
        if for_vendor {
            line.delivered = disputed;
            self.owed += SHELF[product].1 * disputed;
        } else {
            line.returned += disputed;
            let open = std::mem::take(&mut line.open);
            line.released += open;
            self.give_back(product, disputed, false);
            self.give_back(product, open, true);
        }
        "ok"
    }

    fn take_back(&mut self, at: usize, line: usize, pieces: i64) -> &'static str {
        let line = &mut self.placed[at].lines[line];
        if line.is_paused {
            return "LINE_DISPUTED";
        } else if pieces > line.delivered {
            return "RETURN_EXCEEDS_PURCHASE";
        }
        line.delivered -= pieces;
        line.returned += pieces;
        let product = line.product;
        self.owed -= SHELF[product].1 * pieces;
        self.give_back(product, pieces, true);
        "ok"
    }

    fn expire(&mut self) -> usize {
        let is_due = |placed: &Placed, day| {
            let waits = placed.lines.iter().any(|line| line.open > 0 && !line.is_paused);
            waits && day > placed.day + 7
        };
        let due: Vec<usize> = (0..self.placed.len())
            .filter(|at| is_due(&self.placed[*at], self.day))
            .collect();
        due.iter().for_each(|at| self.release(*at));
        due.len()
    }
}

struct Trial {
    world: World,
    clock: Clock,
    model: Model,
    random: SmallRng,
    at: String,
    seen: BTreeSet<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn random_orders_agree_with_the_model() {
    let seen = futures::future::join_all((0..6).map(|seed| run(seed, 140))).await;
    let seen: BTreeSet<String> = seen.into_iter().flatten().collect();
    let all = [
        "DELIVERY_BEGUN",
        "DELIVERY_EXCEEDS_ORDER",
        "INSUFFICIENT_FUNDS",
        "LINE_DISPUTED",
        "LINE_NOT_DISPUTED",
        "NOTHING_TO_DISPUTE",
        "ORDER_NOT_OPEN",
        "OUT_OF_STOCK",
        "RETURN_EXCEEDS_PURCHASE",
        "expired",
        "ok",
    ];
    let missing: Vec<_> = all.iter().filter(|word| !seen.contains(**word)).collect();
    assert!(missing.is_empty(), "never answered: {missing:?}");
}

async fn run(seed: u64, steps: usize) -> BTreeSet<String> {
    let clock = Clock::starting_at(FIRST);
    let world = World::build_with(clock.clone(), 4096).await;
    let mut random = SmallRng::seed_from_u64(seed);
    let fen = random.random_range(10_000..150_000);
    world.endow("D1", &yuan(fen)).await;
    goods::moved(&world.process, &world.center, "RICE", MovementKind::Received, 40)
        .await
        .unwrap();
    let model = Model {
        day: 0,
        available: fen,
        spent: 0,
        owed: 0,
        rice: 40,
        placed: Vec::new(),
    };
    let mut trial = Trial {
        world,
        clock,
        model,
        random,
        at: String::new(),
        seen: BTreeSet::new(),
    };
    for step in 0..steps {
        trial.at = format!("seed {seed}, step {step}");
        trial.step().await;
        if step % 10 == 0 {
            trial.compare().await;
        }
    }
    trial.compare().await;
    trial.world.verified().await;
    trial.seen
}

fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", fen.abs() / 100, fen.abs() % 100)
}

impl Trial {
    async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..28 => self.order().await,
            28..94 => self.change().await,
            94..97 if self.model.day < DAYS_MAX => {
                self.model.day += 1 + self.random.random_range(0..3).min(DAYS_MAX - self.model.day - 1);
                // A little earlier each day, so that no hold ends in the middle of what is tried.
                let earlier = Duration::minutes(5 * self.model.day);
                self.clock.turn_to(FIRST + Duration::days(self.model.day) - earlier);
            }
            _ => self.expire().await,
        }
    }

    fn agrees(&mut self, came: Result<Posted, LedgerError>, expected: &str) {
        self.seen.insert(expected.to_owned());
        let came = came.map_or_else(|error| reason(&error), |_| "ok".to_owned());
        assert_eq!(came, expected, "{}", self.at);
    }

    async fn order(&mut self) {
        let count = self.random.random_range(1..4);
        let lines: Vec<(usize, i64)> = (0..count)
            .map(|_| (self.random.random_range(0..SHELF.len()), self.random.random_range(1..7)))
            .collect();
        let named: Vec<(&str, u32)> = lines
            .iter()
            .map(|(product, count)| (SHELF[*product].0, u32::try_from(*count).unwrap()))
            .collect();
        let came = order(&self.world.process, &self.world, Uuid::new_v4(), "D1", &named).await;
        let seq = came.as_ref().map_or(Seq::ZERO, Posted::seq);
        let expected = self.model.order(seq, &lines);
        self.agrees(came, expected);
    }

    async fn change(&mut self) {
        if self.model.placed.is_empty() {
            return;
        }
        // Mostly one of the last, of which something may still become.
        let count = self.model.placed.len();
        let at = count - 1 - self.random.random_range(0..count.min(5));
        let line = self.random.random_range(0..self.model.placed[at].lines.len());
        let number = i32::try_from(line + 1).unwrap();
        let (pieces, short) = (self.random.random_range(0..4_i32), self.random.random_range(0..2_i32));
        let model = &mut self.model;
        let (verb, expected) = match self.random.random_range(0..20) {
            0..9 if pieces + short > 0 => (
                come(number, pieces, short),
                model.deliver(at, line, pieces.into(), short.into()),
            ),
            0..11 => (OrderVerb::Cancel, model.cancel(at)),
            11..14 => (OrderVerb::Dispute { line: number }, model.dispute(at, line)),
            14..17 => {
                let verdict = [Verdict::ForVendor, Verdict::ForDetainee][usize::from(short == 1)];
                let expected = model.resolve(at, line, short == 0);
                (OrderVerb::Resolve { line: number, verdict }, expected)
            }
            _ => {
                let lines = vec![ReturnLine {
                    line: number,
                    quantity: u32::try_from(pieces + 1).unwrap(),
                }];
                let authorised_by = String::new();
                let expected = model.take_back(at, line, i64::from(pieces) + 1);
                (OrderVerb::TakeBack { lines, authorised_by }, expected)
            }
        };
        let seq = self.model.placed[at].seq;
        let came = change(&self.world.process, &self.world, Uuid::new_v4(), seq, verb).await;
        self.agrees(came, expected);
    }

    async fn expire(&mut self) {
        let (commissary, center) = (&self.world.process.commissary, &self.world.center);
        let expired = commissary.expire_orders(center, 100).await.unwrap();
        let expected = self.model.expire();
        assert_eq!(expired, expected, "{}", self.at);
        if expired > 0 {
            self.seen.insert("expired".to_owned());
        }
    }

    async fn compare(&self) {
        let (world, model) = (&self.world, &self.model);
        let balances = world.process.custody.balances(&world.center, &id("D1")).await.unwrap();
        let found = [balances.available, balances.held].map(|amount| amount.to_string());
        assert_eq!(found, [yuan(model.available), yuan(model.held())], "{}", self.at);
        let spending = world.process.commissary.spending(&world.center, &id("D1"), None).await;
        assert_eq!(spending.unwrap().spent.to_string(), yuan(model.spent), "{}", self.at);
        let stock = goods::stock(&world.process, &world.center, "RICE").await;
        assert_eq!(stock, Some(model.rice), "{}", self.at);
        for placed in &model.placed {
            let view = world
                .process
                .commissary
                .ordered(&world.center, placed.seq)
                .await
                .unwrap();
            for (line, found) in placed.lines.iter().zip(&view.order.lines) {
                let found = [
                    found.open,
                    found.delivered,
                    found.released,
                    found.returned,
                    found.disputed,
                ];
                let expected = [line.open, line.delivered, line.released, line.returned, line.disputed];
                assert_eq!(found.map(i64::from), expected, "{}, {}", self.at, placed.seq);
            }
        }
    }
}
