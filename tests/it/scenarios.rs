//! Runs the ledgers written as text in `tests/scenarios`.
//!
//! Each line is a step; words are separated by spaces, `#` begins a comment. Every step ends in what is expected: `ok`, a value,
//! or the reason of a refusal with facts (`available=1.00`).
//!
//! ```text
//! endow    D1  100.00                    money from the bank
//! buy      P1  D1  RICE*3 SOAP*1   ok    P1 names the purchase for later lines
//! again    P1                      ok    the same request once more: the same answer, marked as a replay
//! return   R1  P1  1*2             ok    2 pieces of line 1
//! price    RICE  3.00
//! balance  D1  88.50
//! spent    D1  11.50
//! ```

use std::{collections::HashMap, fs, path::PathBuf};

use custody_ledger::{
    commissary::ReturnLine,
    ids::{ProductId, Seq},
    ledger::{LedgerError, Posted},
};
use uuid::Uuid;

use crate::world::{World, buy, cny, id, request_with};

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_holds() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let mut scenario = Scenario {
            world: World::build().await,
            purchases: HashMap::new(),
        };
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<&str> = line.split_whitespace().collect();
            if !words.is_empty() {
                let at = format!("{}:{number}: {line}", path.display());
                scenario.step(&words, &at).await;
            }
        }
        scenario.world.verified().await;
    }
}

struct Bought {
    request: Uuid,
    detainee: String,
    lines: Vec<(String, u32)>,
    seq: Option<Seq>,
}

struct Scenario {
    world: World,
    purchases: HashMap<String, Bought>,
}

impl Scenario {
    async fn step(&mut self, words: &[&str], at: &str) {
        match words {
            ["endow", detainee, amount] => self.world.endow(detainee, amount).await,
            ["buy", name, detainee, rest @ ..] => self.buy(name, detainee, rest, at).await,
            ["again", name, expected @ ..] => {
                let bought = &self.purchases[*name];
                let answer = self.send(bought).await;
                assert!(replayed(&answer), "{at}: not marked as a replay");
                expect(&answer, expected, at);
            }
            ["return", _, purchase, rest @ ..] => self.take_back(purchase, rest, at).await,
            ["price", product, price] => {
                let product = ProductId::parse(product).unwrap();
                let world = &self.world;
                world
                    .process
                    .commissary
                    .update_product(&world.center, &product, cny(price), true, None, "test")
                    .await
                    .unwrap();
            }
            ["balance", detainee, expected] => assert_eq!(&self.world.available(detainee).await, expected, "{at}"),
            ["spent", detainee, expected] => {
                let world = &self.world;
                let spending = world
                    .process
                    .commissary
                    .spending(&world.center, &id(detainee), None)
                    .await
                    .unwrap();
                assert_eq!(&spending.spent.to_string(), expected, "{at}");
            }
            _ => panic!("{at}: not a step"),
        }
    }

    async fn buy(&mut self, name: &str, detainee: &str, rest: &[&str], at: &str) {
        let (lines, expected) = split(rest);
        let mut bought = Bought {
            request: Uuid::new_v4(),
            detainee: detainee.into(),
            lines,
            seq: None,
        };
        let answer = self.send(&bought).await;
        expect(&answer, expected, at);
        bought.seq = answer.ok().map(|posted| posted.seq());
        self.purchases.insert(name.to_owned(), bought);
    }

    async fn send(&self, bought: &Bought) -> Result<Posted, LedgerError> {
        let lines: Vec<(&str, u32)> = bought
            .lines
            .iter()
            .map(|(product, count)| (product.as_str(), *count))
            .collect();
        buy(
            &self.world.process,
            &self.world.center,
            bought.request,
            &bought.detainee,
            &lines,
        )
        .await
    }

    async fn take_back(&self, purchase: &str, rest: &[&str], at: &str) {
        let (lines, expected) = split(rest);
        let lines: Vec<ReturnLine> = lines
            .iter()
            .map(|(line, count)| ReturnLine {
                line: line.parse().unwrap(),
                quantity: *count,
            })
            .collect();
        let request = request_with(Uuid::new_v4(), "test/Return", purchase.as_bytes());
        let seq = self.purchases[purchase].seq.expect("it was bought");
        let (world, reason) = (&self.world, "spoilt".to_owned());
        let answer = world
            .process
            .commissary
            .take_back(&world.center, request, seq, lines, reason)
            .await;
        expect(&answer, expected, at);
    }
}

/// `RICE*3 SOAP*1 ok …` into the counted words and what is expected.
fn split<'a>(words: &'a [&'a str]) -> (Vec<(String, u32)>, &'a [&'a str]) {
    let counted = words.iter().take_while(|word| word.contains('*')).count();
    let (lines, expected) = words.split_at(counted);
    let read = |word: &&str| {
        let (what, count) = word.split_once('*').unwrap();
        (what.to_owned(), count.parse().unwrap())
    };
    (lines.iter().map(read).collect(), expected)
}

fn replayed(answer: &Result<Posted, LedgerError>) -> bool {
    match answer {
        Ok(posted) => posted.replayed,
        Err(LedgerError::Refused { replayed, .. }) => *replayed,
        Err(_) => false,
    }
}

fn expect(answer: &Result<Posted, LedgerError>, expected: &[&str], at: &str) {
    match answer {
        Ok(_) => assert_eq!(expected, ["ok"], "{at}"),
        Err(error) => {
            assert_eq!(Some(&crate::world::reason(error).as_str()), expected.first(), "{at}");
            let LedgerError::Refused { refusal, .. } = error else {
                return;
            };
            for fact in &expected[1..] {
                let (name, value) = fact.split_once('=').unwrap();
                assert_eq!(refusal.fact(name), Some(value), "{at}: {refusal:?}");
            }
        }
    }
}
