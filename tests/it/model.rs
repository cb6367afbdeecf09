//! Random commands against a small pure model: every answer and every balance is compared.

use std::collections::HashMap;

use custody_ledger::commissary::ReturnLine;
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use uuid::Uuid;

use crate::world::{World, reason, request_with};

const PEOPLE: [&str; 3] = ["D1", "D2", "D3"];
const SHELF: [(&str, i64, bool); 3] = [("RICE", 250, true), ("SOAP", 400, true), ("BOOK", 3000, false)];
const ORDER_MAX: i64 = 20_000;
const MONTH_MAX: i64 = 40_000;

/// Everything the rules need, in cents.
#[derive(Default)]
struct Model {
    available: HashMap<&'static str, i64>,
    spent: HashMap<&'static str, i64>,
    purchases: Vec<Bought>,
}

struct Bought {
    seq: custody_ledger::ids::Seq,
    who: &'static str,
    lines: Vec<(usize, i64)>,
    returned: Vec<i64>,
}

impl Model {
    fn buy(&mut self, who: &'static str, lines: &[(usize, i64)]) -> &'static str {
        let total: i64 = lines.iter().map(|(product, count)| SHELF[*product].1 * count).sum();
        let counted: i64 = lines
            .iter()
            .filter(|(product, _)| SHELF[*product].2)
            .map(|(product, count)| SHELF[*product].1 * count)
            .sum();
        let spent = self.spent.entry(who).or_default();
        let available = self.available.entry(who).or_default();
        if total > ORDER_MAX {
            "ORDER_LIMIT_EXCEEDED"
        } else if counted > 0 && *spent + counted > MONTH_MAX {
            "MONTHLY_LIMIT_EXCEEDED"
        } else if total > *available {
            "INSUFFICIENT_FUNDS"
        } else {
            *spent += counted;
            *available -= total;
            "ok"
        }
    }

    fn take_back(&mut self, purchase: usize, line: usize, count: i64) -> &'static str {
        let bought = &mut self.purchases[purchase];
        let (product, quantity) = bought.lines[line];
        if bought.returned[line] + count > quantity {
            return "RETURN_EXCEEDS_PURCHASE";
        }
        bought.returned[line] += count;
        let (_, price, counted) = SHELF[product];
        *self.available.entry(bought.who).or_default() += price * count;
        if counted {
            *self.spent.entry(bought.who).or_default() -= price * count;
        }
        "ok"
    }
}

fn yuan(cents: i64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[tokio::test(flavor = "multi_thread")]
async fn random_commands_agree_with_the_model() {
    for seed in 0..4 {
        let mut random = SmallRng::seed_from_u64(seed);
        let world = World::build().await;
        let mut model = Model::default();
        for who in PEOPLE {
            let cents = random.random_range(1..60_000);
            world.endow(who, &yuan(cents)).await;
            model.available.insert(who, cents);
        }
        for step in 0..120 {
            let at = format!("seed {seed}, step {step}");
            if model.purchases.is_empty() || random.random_bool(0.7) {
                buy(&world, &mut model, &mut random, &at).await;
            } else {
                take_back(&world, &mut model, &mut random, &at).await;
            }
        }
        for who in PEOPLE {
            assert_eq!(
                world.available(who).await,
                yuan(model.available[who]),
                "seed {seed}, {who}"
            );
        }
        world.verified().await;
    }
}

async fn buy(world: &World, model: &mut Model, random: &mut SmallRng, at: &str) {
    let who = PEOPLE[random.random_range(0..PEOPLE.len())];
    let count = random.random_range(1..4);
    let lines: Vec<(usize, i64)> = (0..count)
        .map(|_| (random.random_range(0..SHELF.len()), random.random_range(1..20)))
        .collect();
    let named: Vec<(&str, u32)> = lines
        .iter()
        .map(|(product, count)| (SHELF[*product].0, u32::try_from(*count).unwrap()))
        .collect();
    let answer = world.buy(who, &named).await;
    let expected = model.buy(who, &lines);
    match answer {
        Ok(posted) => {
            assert_eq!(expected, "ok", "{at}");
            let returned = vec![0; lines.len()];
            model.purchases.push(Bought {
                seq: posted.seq(),
                who,
                lines,
                returned,
            });
        }
        Err(error) => assert_eq!(reason(&error), expected, "{at}"),
    }
}

async fn take_back(world: &World, model: &mut Model, random: &mut SmallRng, at: &str) {
    let purchase = random.random_range(0..model.purchases.len());
    let line = random.random_range(0..model.purchases[purchase].lines.len());
    let count = random.random_range(1..8);
    let seq = model.purchases[purchase].seq;
    let lines = vec![ReturnLine {
        line: i32::try_from(line + 1).unwrap(),
        quantity: u32::try_from(count).unwrap(),
    }];
    let request = request_with(Uuid::new_v4(), "test/Return", b"return");
    let answer = world
        .process
        .commissary
        .take_back(&world.center, request, seq, lines, String::new())
        .await;
    let expected = model.take_back(purchase, line, count);
    match answer {
        Ok(_) => assert_eq!(expected, "ok", "{at}"),
        Err(error) => assert_eq!(reason(&error), expected, "{at}"),
    }
}
