//! Random commands against a small pure model: every answer and every balance is compared.

mod pure;

use std::collections::BTreeSet;

use custody_ledger::{
    commissary::ReturnLine,
    custody::Settings,
    distribution::{NewCourtOrder, NewDebt, NewPolicy, parse_percent},
    ids::{CourtOrderId, RemittanceId, Seq},
    ledger::LedgerError,
    refund::RefundState,
    remittance::LegState,
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use time::{Date, Duration, macros::date};
use uuid::Uuid;

use self::pure::{BALANCE_CAP, Model, PEOPLE, SAVINGS_PERCENT, SHELF};
use crate::{
    all_domains::Economy,
    others,
    world::{cny, id, reason, request_with},
};

const FIRST: Date = date!(2031 - 05 - 02);
/// All days are in one month, so that one limit holds.
const DAYS_MAX: u8 = 28;

fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", fen.abs() / 100, fen.abs() % 100)
}

/// What was asked, what is expected, and the numbers under which the ledger knows what happened.
struct Trial {
    economy: Economy,
    model: Model,
    random: SmallRng,
    bought: Vec<Seq>,
    remitted: Vec<RemittanceId>,
    refunding: Vec<Seq>,
    leaving: Vec<Seq>,
    closed: Vec<Seq>,
    at: String,
    seen: BTreeSet<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn random_commands_agree_with_the_model() {
    let seen = futures::future::join_all((0..8).map(|seed| run(seed, 150))).await;
    let seen: BTreeSet<String> = seen.into_iter().flatten().collect();
    // The seeds are chosen so that everything that can be answered is.
    let all = [
        "BALANCE_CAP_EXCEEDED",
        "DETAINEE_NOT_ACTIVE",
        "INSUFFICIENT_FUNDS",
        "MONEY_IN_FLIGHT",
        "MONTHLY_LIMIT_EXCEEDED",
        "NOTHING_TO_PAY",
        "NOT_FOUND",
        "NOT_IN_TRANSIT",
        "ORDER_LIMIT_EXCEEDED",
        "REFUND_EXCEEDS_ORIGINAL",
        "REFUND_EXCEEDS_UNSPENT",
        "REMITTANCE_LIMIT_EXCEEDED",
        "RETURN_EXCEEDS_PURCHASE",
        "SETTLEMENT_EXCEEDS_PAYABLE",
        "credited out of suspense",
        "ok",
        "refunded out of suspense",
        "stays in suspense",
        "suspended",
    ];
    assert_eq!(seen.iter().map(String::as_str).collect::<Vec<_>>(), all);
}

async fn run(seed: u64, steps: usize) -> BTreeSet<String> {
    let mut trial = Trial {
        economy: Economy::on(FIRST).await,
        model: Model::default(),
        random: SmallRng::seed_from_u64(seed),
        bought: Vec::new(),
        remitted: Vec::new(),
        refunding: Vec::new(),
        leaving: Vec::new(),
        closed: Vec::new(),
        at: String::new(),
        seen: BTreeSet::new(),
    };
    trial.begin().await;
    for step in 0..steps {
        trial.at = format!("seed {seed}, step {step}");
        trial.step().await;
        if step % 10 == 0 {
            trial.compare().await;
        }
    }
    trial.compare().await;
    trial.economy.world.verified().await;
    trial.seen
}

impl Trial {
    async fn begin(&mut self) {
        for (who, name) in PEOPLE.iter().enumerate() {
            let fen = self.random.random_range(1..30_000);
            self.economy.world.endow(name, &yuan(fen)).await;
            self.model.endow(who, fen);
        }
        let (world, distributions) = (&self.economy.world, &self.economy.house.distributions);
        let capped = |settings| {
            Ok(Settings {
                balance_cap: cny(&yuan(BALANCE_CAP)),
                ..settings
            })
        };
        world
            .process
            .custody
            .change_settings(&world.center.id, "admin/root", capped)
            .await
            .unwrap();
        let percent = parse_percent(&SAVINGS_PERCENT.to_string()).unwrap();
        let update = distributions.update_policy(&world.center, NewPolicy::saving(percent, None), None, "test");
        update.await.unwrap();
        let fen = self.random.random_range(1..20_000);
        let order = NewCourtOrder {
            id: CourtOrderId::parse("C1").unwrap(),
            detainee: id(PEOPLE[1]),
            document: "C1".into(),
            total: cny(&yuan(fen)),
            rank: None,
        };
        let made = distributions.create_court_order(&world.center, order, "test");
        made.await.unwrap();
        self.model.people[1].court_owed = fen;
    }

    async fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..36 => self.buy().await,
            36..38 => self.advance().await,
            38..40 => self.look_again().await,
            40..50 => self.take_back().await,
            50..62 => self.order().await,
            62..72 => self.pay().await,
            72..80 => self.refund().await,
            80..86 => self.end_refund().await,
            86..90 => self.close().await,
            90..92 => self.end_settlement().await,
            92..96 => self.release().await,
            96..98 => self.end_release().await,
            _ => self.next_day(),
        }
    }

    fn pick(&mut self, count: usize) -> Option<usize> {
        (count > 0).then(|| self.random.random_range(0..count))
    }

    fn agrees<T>(&mut self, came: Result<T, LedgerError>, expected: &str) -> Option<T> {
        self.seen.insert(expected.to_owned());
        match came {
            Ok(came) => {
                assert_eq!(expected, "ok", "{}", self.at);
                Some(came)
            }
            Err(error) => {
                assert_eq!(reason(&error), expected, "{}", self.at);
                None
            }
        }
    }

    async fn buy(&mut self) {
        let who = self.random.random_range(0..PEOPLE.len());
        let count = self.random.random_range(1..4);
        let lines: Vec<(usize, i64)> = (0..count)
            .map(|_| {
                (
                    self.random.random_range(0..SHELF.len()),
                    self.random.random_range(1..16),
                )
            })
            .collect();
        let named: Vec<(&str, u32)> = lines
            .iter()
            .map(|(product, count)| (SHELF[*product].0, u32::try_from(*count).unwrap()))
            .collect();
        let came = self.economy.world.buy(PEOPLE[who], &named).await;
        let expected = self.model.buy(who, &lines);
        let posted = self.agrees(came, expected);
        self.bought.extend(posted.map(|posted| posted.seq()));
    }

    async fn advance(&mut self) {
        let who = self.random.random_range(0..PEOPLE.len());
        if self.model.people[who].debt_owed > 0 {
            return;
        }
        let fen = self.random.random_range(1..20_000);
        let new = NewDebt {
            detainee: id(PEOPLE[who]),
            is_advance: true,
            document: self.at.clone(),
            amount: cny(&yuan(fen)),
            is_consented: true,
        };
        let (center, request) = (
            &self.economy.world.center,
            request_with(Uuid::new_v4(), "test/Debt", b"debt"),
        );
        let distributions = &self.economy.house.distributions;
        let answered = distributions.create_debt(center, request, others::maker(), new).await;
        let came = self.economy.allowed(answered).await;
        let expected = self.model.advance(who, fen);
        self.agrees(came, expected);
    }

    async fn take_back(&mut self) {
        let Some(purchase) = self.pick(self.bought.len()) else {
            return;
        };
        let line = self.random.random_range(0..self.model.bought[purchase].lines.len());
        let count = self.random.random_range(1..8);
        let lines = vec![ReturnLine {
            line: i32::try_from(line + 1).unwrap(),
            quantity: u32::try_from(count).unwrap(),
        }];
        let (world, request) = (
            &self.economy.world,
            request_with(Uuid::new_v4(), "test/Return", b"return"),
        );
        let commissary = &world.process.commissary;
        let came = commissary.take_back(&world.center, request, self.bought[purchase], lines, String::new());
        let came = came.await;
        let expected = self.model.take_back(purchase, line, count);
        self.agrees(came, expected);
    }

    async fn order(&mut self) {
        let who = self.random.random_range(0..PEOPLE.len());
        // A tenth can be split without rounding; now and then over the limit.
        let fen = 10 * self.random.random_range(1..10_500);
        let came = self.economy.order(Uuid::new_v4(), PEOPLE[who], &yuan(fen)).await;
        let expected = self.model.order(who, fen);
        let ordered = self.agrees(came, expected);
        self.remitted.extend(ordered.map(|(remittance, _)| remittance.id));
    }

    async fn pay(&mut self) {
        let unpaid: Vec<usize> = (0..self.remitted.len())
            .filter(|index| !self.model.remitted[*index].is_paid)
            .collect();
        let Some(index) = self.pick(unpaid.len()) else { return };
        let paid = self.economy.pay(&self.remitted[unpaid[index]]).await;
        let is_credited = self.model.pay(unpaid[index]);
        let expected = if is_credited {
            LegState::Credited
        } else {
            LegState::Suspended
        };
        assert_eq!(paid.state(), expected, "{}", self.at);
        if !is_credited {
            self.seen.insert("suspended".to_owned());
        }
    }

    async fn look_again(&mut self) {
        let suspended: Vec<usize> = (0..self.remitted.len())
            .filter(|index| self.model.is_suspended(*index))
            .collect();
        let Some(index) = self.pick(suspended.len()) else {
            return;
        };
        let remittance = suspended[index];
        let found = self.economy.look_again(&self.remitted[remittance]).await;
        let is_credited = self.model.look_again(remittance);
        let (expected, word) = if is_credited {
            (LegState::Credited, "credited out of suspense")
        } else {
            (LegState::Suspended, "stays in suspense")
        };
        assert_eq!(found.state(), expected, "{}", self.at);
        self.seen.insert(word.to_owned());
    }

    async fn refund(&mut self) {
        let Some(remittance) = self.pick(self.remitted.len()) else {
            return;
        };
        let most = self.model.remitted[remittance].amount;
        let mut fen = self.random.random_range(1..=most + most / 10);
        if self.model.is_suspended(remittance) {
            // What is left can be split without rounding.
            fen = 10 * (fen / 10).max(1);
            self.seen.insert("refunded out of suspense".to_owned());
        }
        let named = self.remitted[remittance].to_string();
        let came = self.economy.refund(Uuid::new_v4(), &named, &yuan(fen)).await;
        let expected = self.model.refund(remittance, fen);
        let posted = self.agrees(came, expected);
        self.refunding.extend(posted.map(|posted| posted.seq()));
    }

    async fn end_refund(&mut self) {
        let open: Vec<usize> = (0..self.refunding.len())
            .filter(|index| self.model.refunding[*index].is_open)
            .collect();
        let Some(index) = self.pick(open.len()) else { return };
        let failed = self.random.random_bool(0.5);
        let ended = self.economy.end_refund(self.refunding[open[index]], failed).await;
        self.model.end_refund(open[index], failed);
        let expected = if failed {
            RefundState::Failed
        } else {
            RefundState::Succeeded
        };
        assert_eq!(ended.state, expected, "{}", self.at);
    }

    async fn close(&mut self) {
        let yesterday = FIRST + Duration::days(i64::from(self.model.day) - 1);
        let came = self.economy.close(Uuid::new_v4(), yesterday).await;
        let expected = self.model.close();
        let posted = self.agrees(came, expected);
        let closed = posted.map(|posted| posted.seq());
        self.closed.extend(closed.filter(|seq| !self.closed.contains(seq)));
    }

    async fn end_settlement(&mut self) {
        let Some(settlement) = self.pick(self.closed.len()) else {
            return;
        };
        let failed = self.random.random_bool(0.4);
        let came = self.economy.end_settlement(self.closed[settlement], failed).await;
        let expected = self.model.end_settlement(settlement, failed);
        self.agrees(came, expected);
    }

    async fn release(&mut self) {
        let who = self.random.random_range(0..PEOPLE.len());
        let came = self.economy.release(Uuid::new_v4(), PEOPLE[who]).await;
        let expected = self.model.release(who);
        let posted = self.agrees(came, expected);
        self.leaving.extend(posted.map(|posted| posted.seq()));
    }

    async fn end_release(&mut self) {
        let Some(release) = self.pick(self.leaving.len()) else {
            return;
        };
        // Mostly they come back, or soon nobody would be left.
        let failed = self.random.random_bool(0.8);
        let came = self.economy.end_release(self.leaving[release], failed).await;
        let expected = self.model.end_release(release, failed);
        if self.agrees(came, expected).is_some() && failed {
            // Who is here again may have money in suspense.
            for _ in 0..4 {
                self.look_again().await;
            }
        }
    }

    fn next_day(&mut self) {
        if self.model.day < DAYS_MAX {
            self.model.day += 1;
            self.economy.move_to(FIRST + Duration::days(i64::from(self.model.day)));
        }
    }

    async fn compare(&self) {
        let (economy, model) = (&self.economy, &self.model);
        assert_eq!(model.imbalance(), 0, "{}", self.at);
        let custody = &economy.world.process.custody;
        for (name, person) in PEOPLE.iter().zip(&model.people) {
            let found = custody.balances(&economy.world.center, &id(name)).await.unwrap();
            let found = [found.available, found.held, found.savings, found.withheld].map(|amount| amount.to_string());
            let expected = [yuan(person.available()), yuan(0), yuan(person.savings), yuan(0)];
            assert_eq!(found, expected, "{}, {name}", self.at);
        }
        let vendor = economy.vendor().await.map(|amount| amount.to_string());
        assert_eq!(vendor, [yuan(model.owed), yuan(model.transit)], "{}", self.at);
        for (code, fen) in &model.totals {
            assert_eq!(economy.total(*code).await, yuan(*fen), "{}, {code}", self.at);
        }
    }
}
