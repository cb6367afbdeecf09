//! The steps about orders.

use custody_ledger::{
    commissary::{DeliveredLine, OrderLine, OrderVerb, OrderingRules, OrderingWindow, ReturnLine, Verdict},
    ids::{ProductId, TerminalId},
    ledger::{LedgerError, Posted},
};
use time::Weekday;

use super::{Asked, Scenario, What, reading::split};
use crate::world::{id, request_with};

/// `1*2` of a line come, `1-2` of it will not, in either order.
fn delivered(words: &[&str]) -> Vec<DeliveredLine> {
    let mut lines: Vec<DeliveredLine> = Vec::new();
    for word in words {
        let (sign, split) = match word.split_once('*') {
            Some(split) => ('*', split),
            None => ('-', word.split_once('-').unwrap()),
        };
        let (line, pieces): (i32, i32) = (split.0.parse().unwrap(), split.1.parse().unwrap());
        let known = lines.iter().position(|known| known.line == line);
        let index = known.unwrap_or_else(|| {
            lines.push(DeliveredLine {
                line,
                quantity: 0,
                short: 0,
                product: None,
            });
            lines.len() - 1
        });
        match sign {
            '*' => lines[index].quantity = pieces,
            _ => lines[index].short = pieces,
        }
    }
    lines
}

fn window(word: &str) -> OrderingWindow {
    let (day, hours) = word.split_once('@').unwrap();
    let (opens, closes) = hours.split_once('-').unwrap();
    let minutes = |hours: &str| hours.parse::<i16>().unwrap() * 60;
    OrderingWindow {
        weekday: Weekday::Monday.nth_next(day.parse::<u8>().unwrap() - 1),
        opens: minutes(opens),
        closes: minutes(closes),
    }
}

impl Scenario {
    /// Takes a step if it is one of these.
    pub(super) async fn order_step(&mut self, words: &[&str], at: &str) -> bool {
        match words {
            ["order", name, detainee, rest @ ..] => {
                let (lines, expected) = split(rest);
                let detainee = (*detainee).to_owned();
                self.ask(name, What::Order { detainee, lines }, expected, at).await;
            }
            ["deliver", name, order, rest @ ..] => {
                let told = rest
                    .iter()
                    .take_while(|word| word.starts_with(|first: char| first.is_ascii_digit()));
                let (lines, expected) = rest.split_at(told.count());
                let verb = OrderVerb::Deliver(delivered(lines));
                self.change(name, order, verb, expected, at).await;
            }
            ["deliver-instead", name, order, product, expected @ ..] => {
                let line = DeliveredLine {
                    product: Some(ProductId::parse(product).unwrap()),
                    ..delivered(&["1*1"]).remove(0)
                };
                self.change(name, order, OrderVerb::Deliver(vec![line]), expected, at)
                    .await;
            }
            ["give-up", name, order, expected @ ..] => self.change(name, order, OrderVerb::Cancel, expected, at).await,
            ["dispute", name, order, line, expected @ ..] => {
                let line = line.parse().unwrap();
                self.change(name, order, OrderVerb::Dispute { line }, expected, at)
                    .await;
            }
            ["resolve", name, order, line, whom, expected @ ..] => {
                let verdict = match *whom {
                    "vendor" => Verdict::ForVendor,
                    "detainee" => Verdict::ForDetainee,
                    _ => panic!("{at}: for the vendor or for the detainee"),
                };
                let line = line.parse().unwrap();
                self.change(name, order, OrderVerb::Resolve { line, verdict }, expected, at)
                    .await;
            }
            ["bring", name, order, rest @ ..] => {
                let (lines, expected) = split(rest);
                let lines = lines.iter().map(|(line, quantity)| ReturnLine {
                    line: line.parse().unwrap(),
                    quantity: *quantity,
                });
                let verb = OrderVerb::TakeBack {
                    lines: lines.collect(),
                    authorised_by: "staff 7".into(),
                };
                self.change(name, order, verb, expected, at).await;
            }
            ["expire", expected] => {
                let world = &self.economy.world;
                let expired = world.process.commissary.expire_orders(&world.center, 100).await;
                assert_eq!(&expired.unwrap().to_string(), expected, "{at}");
            }
            ["ordering", windows @ ..] => {
                let rules = OrderingRules {
                    windows: windows.iter().map(|word| window(word)).collect(),
                    ..OrderingRules::default()
                };
                let world = &self.economy.world;
                let update = world.process.commissary.update_ordering_rules(
                    &world.center,
                    rules,
                    None,
                    "the season",
                    "admin/alice",
                );
                update.await.unwrap();
            }
            ["held", detainee, expected] => {
                let world = &self.economy.world;
                let balances = world.process.custody.balances(&world.center, &id(detainee)).await;
                assert_eq!(&balances.unwrap().held.to_string(), expected, "{at}");
            }
            ["stands-at", order, expected] => {
                let world = &self.economy.world;
                let view = world.process.commissary.ordered(&world.center, self.seq(order)).await;
                assert_eq!(&view.unwrap().order.state.name(), expected, "{at}");
            }
            _ => return false,
        }
        true
    }

    async fn change(&mut self, name: &str, order: &str, verb: OrderVerb, expected: &[&str], at: &str) {
        let order = self.seq(order);
        self.ask(name, What::Change { order, verb }, expected, at).await;
    }

    pub(super) async fn send_order(&self, asked: &Asked) -> Result<Posted, LedgerError> {
        let world = &self.economy.world;
        let (commissary, center) = (&world.process.commissary, &world.center);
        match &asked.what {
            What::Order { detainee, lines } => {
                let body = format!("{detainee}{lines:?}");
                let request = request_with(asked.request, "test/Order", body.as_bytes());
                let lines = lines.iter().map(|(product, quantity)| OrderLine {
                    product: ProductId::parse(product).unwrap(),
                    quantity: *quantity,
                });
                let terminal = TerminalId::parse("T1").unwrap();
                commissary
                    .order(center, request, id(detainee), terminal, lines.collect())
                    .await
            }
            What::Change { order, verb } => {
                let request = request_with(asked.request, "test/ChangeOrder", format!("{order}{verb:?}").as_bytes());
                commissary
                    .change_order(center, request, *order, verb.clone(), "told".into())
                    .await
            }
            _ => panic!("request {} is about no order", asked.request),
        }
    }
}
