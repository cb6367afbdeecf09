//! Runs the ledgers written as text in `tests/scenarios`.
//!
//! Each line is a step; words are separated by spaces, `#` begins a comment. Every step ends in what is expected: `ok`, a value,
//! or the reason of a refusal; then facts (`available=1.00`). It begins on the morning of 6 May 2031. P1 remits.
//!
//! ```text
//! endow    D1  100.00                    money from the bank
//! buy      P1  D1  RICE*3 SOAP*1   ok    P1 names the purchase for later lines
//! return   R1  P1  1*2             ok    2 pieces of line 1
//! receive  RICE  10  [RECEIVED]          is counted from now on, and 10 came in; or `correct  RICE  -2` by a count; `stock RICE 8`: so many there are
//! price    RICE  3.00                     shelf and approved price, allowed by two people
//! reprice  RICE  2.60  2.70        ok    the same by one; or `PRICE_NEEDS_APPROVAL  most=2.75`
//! terms    3                             what the center keeps of V1's sales, in percent
//! policy   10  15.00                     10 % of every credit are saved, until 15.00 are; `announce 2031-06-01 20` from a date on, without a cap
//! court    C1  D1  30.00  [2]            a court order, of a rank
//! suspend  C1  D1                        it is not collected for now; or `resume`, or `end`; `convict D1`: who is not pays only what they consent to
//! advance  A1  D1  30.00           ok    money from the center, with consent; `damage` likewise, `demand` without consent
//! owes     D1  30.00                     what is still owed of all debts and claims
//! reverse  X1  R1                  ok  amount=100.00  claimed=5.00    a credit is taken back; `return-reversed F1 X1 30.00 ok` refunds it
//! quote    R1  D1  100.00          ok    a remittance is ordered
//! pay      R1                      ok  savings=10.00     and paid: how it is split; or `suspended`, and then `refresh R2 credited savings=1.00`
//! remit    R2  D1  100.00          ok    both
//! refund   F1  R1  30.00           ok    set aside; then it can `succeed F1` or `fail F1` at the gateway
//! close    S1  2031-05-06          ok  total=11.50       V1's settlement; then it is `paid S1` or `failed S1` by the bank
//! release  L1  D1                  ok  amount=88.50      a person leaves; then `paid L1` or `failed L1`
//! again    P1                      ok    the same request once more: the same answer, marked as a replay
//! day      2031-05-07                    the next morning
//! balance  D1  88.50                     savings, spent and state likewise; unspent of a remittance
//! payer    P2                            who remits from here on; registered when first named
//! rules    cap=100.00  monthly=1  payments=3  payers=3  detainees=3    the center's, as far as they are told
//! cancel   R1                            cancelled, or where it stands
//! pay      R2                            held  reason=SCREENING_PAYMENTS
//! ask      A1  release  R2         ok    alice asks others to end a review; or `reject`; then `decide A1 bob executed`, or why not
//! send-back 1                            so many payments go back by themselves
//! back     F2  R2  30.00                 names the refund that did; `stands  R2  rejected`
//! limit    day=60  week=100  month=400  order=200     of tier 1
//! override D1  MONTH  900.00  2031-05-20  ok     two people allow another limit until a date
//! freeze   D1  ORDER-7  30  ok              two people freeze the money by an order; `unfreeze D1 ok` ends it
//! restrict D1  food  2031-05-20  ok         until a date; `lift D1 ok` ends the last restriction or override
//! window   D1  DAY  10.00  60.00            spent and limit, `-` for none
//! kit      RICE*2 SOAP*1                    what a kit is; `grant G1 D1 ok total=9.00` grants one, `cancel-kit G1 ok` takes it back
//! order    O1  D1  RICE*3 SOAP*1    ok    goods are held for; `held D1 11.50`; `stands-at O1 OPEN`, or where else
//! deliver  V1  O1  1*2 2-1          ok    captured=5.00  released=4.00    2 pieces of line 1 come, 1 of line 2 will not
//! give-up  G1  O1                   ok    it is cancelled; `expire 1`: so many holds are over
//! dispute  X1  O1  1                ok    contested=5.00    line 1; then `resolve Y1 O1 1 vendor ok`, or `detainee`
//! bring    B1  O1  1*1              ok    goods of an order come back
//! ordering 2@8-12 3@0-24                 orders are taken on Tuesdays from 8 to 12, and on Wednesdays; without: at any time
//! dies     D1                            ok    and other ends of stays: see `leaving`
//! vendor   11.50  0.00                   owed to V1, in transit to it; `total 2401 30.00` on all accounts of a code
//! ```

mod leaving;
mod limiting;
mod ordering;
mod reading;
mod reviewing;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::PathBuf,
};

use custody_ledger::{
    approval::Person,
    commissary::{MovementKind, OrderVerb, ReturnLine},
    contract::NewTerms,
    distribution::{CourtOrderState, NewCourtOrder, NewDebt, NewPolicy, parse_percent},
    ids::{CourtOrderId, ProductId, RemittanceId, Seq, VendorId},
    ledger::{LedgerError, Posted, Request},
    refund::NewRefund,
    remittance::LegState,
};
use time::{Date, macros::date};
use uuid::Uuid;

use self::reading::{day, expect, facts, split};
use crate::{
    all_domains::Economy,
    goods, others,
    world::{buy, cny, id, request_with},
};

#[tokio::test(flavor = "multi_thread")]
async fn every_scenario_holds() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty());
    futures::future::join_all(paths.into_iter().map(run)).await;
}

async fn run(path: PathBuf) {
    let text = fs::read_to_string(&path).unwrap();
    let mut scenario = Scenario {
        economy: Economy::on(date!(2031 - 05 - 06)).await,
        asked: HashMap::new(),
        remittances: HashMap::new(),
        approvals: HashMap::new(),
        ended: leaving::Ended::new(),
    };
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        if !words.is_empty() {
            let at = format!("{}:{number}: {line}", path.display());
            scenario.step(&words, &at).await;
        }
    }
    scenario.economy.world.verified().await;
}

/// A request that a later line names.
struct Asked {
    request: Uuid,
    what: What,
    seq: Option<Seq>,
}

#[derive(Clone)]
enum What {
    Purchase {
        detainee: String,
        lines: Vec<(String, u32)>,
    },
    Remittance {
        detainee: String,
        amount: String,
    },
    Refund {
        remittance: String,
        amount: String,
    },
    Settlement {
        date: Date,
    },
    Release {
        detainee: String,
    },
    Debt {
        detainee: String,
        document: String,
        amount: String,
        kind: String,
    },
    Reversal {
        remittance: String,
    },
    GiveBack {
        remittance: String,
        reversal: Seq,
        amount: String,
    },
    Order {
        detainee: String,
        lines: Vec<(String, u32)>,
    },
    Change {
        order: Seq,
        verb: OrderVerb,
    },
}

/// What came of a step: its facts and whether it is a repetition, or why not.
type Came = Result<(BTreeMap<&'static str, String>, bool), LedgerError>;

struct Scenario {
    economy: Economy,
    asked: HashMap<String, Asked>,
    remittances: HashMap<String, RemittanceId>,
    approvals: HashMap<String, i64>,
    /// The transactions that ended stays, by their names.
    ended: leaving::Ended,
}

impl Scenario {
    async fn step(&mut self, words: &[&str], at: &str) {
        match words {
            ["buy", name, detainee, rest @ ..] => {
                let (lines, expected) = split(rest);
                let detainee = (*detainee).to_owned();
                self.ask(name, What::Purchase { detainee, lines }, expected, at).await;
            }
            ["quote", name, detainee, amount, expected @ ..] => self.quote(name, detainee, amount, expected, at).await,
            ["pay", name, expected @ ..] => self.pay(name, expected, at).await,
            ["remit", name, detainee, amount, expected @ ..] => {
                self.quote(name, detainee, amount, &["ok"], at).await;
                self.pay(name, expected, at).await;
            }
            ["refund", name, remittance, amount, expected @ ..] => {
                let (remittance, amount) = ((*remittance).to_owned(), (*amount).to_owned());
                self.ask(name, What::Refund { remittance, amount }, expected, at).await;
            }
            [
                kind @ ("advance" | "damage" | "demand"),
                name,
                detainee,
                amount,
                expected @ ..,
            ] => {
                let what = What::Debt {
                    detainee: (*detainee).to_owned(),
                    document: (*name).to_owned(),
                    amount: (*amount).to_owned(),
                    kind: (*kind).to_owned(),
                };
                self.ask(name, what, expected, at).await;
            }
            ["reverse", name, remittance, expected @ ..] => {
                let remittance = (*remittance).to_owned();
                self.ask(name, What::Reversal { remittance }, expected, at).await;
            }
            ["return-reversed", name, reversal, amount, expected @ ..] => {
                let What::Reversal { remittance } = &self.asked[*reversal].what else {
                    panic!("{at}: no reversal");
                };
                let (remittance, reversal) = (remittance.clone(), self.seq(reversal));
                let amount = (*amount).to_owned();
                let what = What::GiveBack {
                    remittance,
                    reversal,
                    amount,
                };
                self.ask(name, what, expected, at).await;
            }
            ["close", name, date, expected @ ..] => {
                let what = What::Settlement { date: day(date) };
                self.ask(name, what, expected, at).await;
            }
            ["release", name, detainee, expected @ ..] => {
                let detainee = (*detainee).to_owned();
                self.ask(name, What::Release { detainee }, expected, at).await;
            }
            ["again", name, expected @ ..] => {
                let asked = &self.asked[*name];
                let came = self.send(asked).await;
                let is_replay = match &came {
                    Ok((_, replayed)) => *replayed,
                    Err(LedgerError::Refused { replayed, .. }) => *replayed,
                    Err(_) => false,
                };
                assert!(is_replay, "{at}: not marked as a replay");
                expect(&came, expected, at);
            }
            ["return", _, purchase, rest @ ..] => self.take_back(purchase, rest, at).await,
            [outcome @ ("succeed" | "fail"), name, expected @ ..] => {
                let refund = self.economy.end_refund(self.seq(name), *outcome == "fail").await;
                expect(
                    &Ok((BTreeMap::from([("state", refund.state.name().to_owned())]), false)),
                    expected,
                    at,
                );
            }
            [outcome @ ("paid" | "failed"), name, expected @ ..] => {
                self.end(name, *outcome == "failed", expected, at).await
            }
            _ if self.review_step(words, at).await || self.order_step(words, at).await => {}
            _ if self.limit_step(words, at).await => {}
            _ if self.leaving_step(words, at).await => {}
            _ => self.look_or_arrange(words, at).await,
        }
    }

    async fn look_or_arrange(&mut self, words: &[&str], at: &str) {
        let (world, house) = (&self.economy.world, &self.economy.house);
        match words {
            ["endow", detainee, amount] => world.endow(detainee, amount).await,
            ["price", product, price] => goods::raise(&world.process, &world.center, product, price).await,
            ["reprice", product, price, approved, expected @ ..] => {
                let (product, commissary) = (ProductId::parse(product).unwrap(), &world.process.commissary);
                let told = goods::costing(price, approved);
                let changed = commissary
                    .update_product(&world.center, &product, told, None, "test")
                    .await;
                let changed = changed.map(|_| (BTreeMap::new(), false));
                expect(&changed, expected, at);
            }
            [kind @ ("receive" | "correct"), product, quantity, expected @ ..] => {
                let kind = match *kind {
                    "receive" => MovementKind::Received,
                    _ => MovementKind::Corrected,
                };
                let moved = goods::moved(&world.process, &world.center, product, kind, quantity.parse().unwrap()).await;
                let expected = if expected.is_empty() { &["ok"] } else { expected };
                expect(&moved.map(|_| (BTreeMap::new(), false)), expected, at);
            }
            ["stock", product, expected] => {
                let found = goods::stock(&world.process, &world.center, product).await;
                assert_eq!(&found.unwrap().to_string(), expected, "{at}");
            }
            ["terms", percent] => {
                let new = NewTerms {
                    commission_percent: parse_percent(percent).unwrap(),
                    cycle_days: 1,
                    version: None,
                };
                let vendor = VendorId::parse("V1").unwrap();
                let update = house.contracts.update_terms(&world.center, &vendor, new, "test");
                update.await.unwrap();
            }
            ["policy", percent, cap @ ..] => {
                let (percent, cap) = (parse_percent(percent).unwrap(), cap.first().map(|cap| cny(cap)));
                let new = NewPolicy::saving(percent, cap);
                let update = house.distributions.update_policy(&world.center, new, None, "test");
                update.await.unwrap();
            }
            ["announce", date, percent] => {
                let new = NewPolicy {
                    effective_from: Some(day(date)),
                    ..NewPolicy::saving(parse_percent(percent).unwrap(), None)
                };
                let update = house.distributions.update_policy(&world.center, new, None, "test");
                update.await.unwrap();
            }
            [change @ ("suspend" | "resume" | "end"), order, detainee] => {
                let state = match *change {
                    "suspend" => CourtOrderState::Suspended,
                    "resume" => CourtOrderState::Active,
                    _ => CourtOrderState::Ended,
                };
                let (center, detainee, order) = (&world.center, id(detainee), CourtOrderId::parse(order).unwrap());
                let document = "2031-9".to_owned();
                let changed = house
                    .distributions
                    .change_court_order(center, &detainee, &order, state, document, "test");
                changed.await.unwrap();
            }
            ["convict", detainee] => {
                let (custody, center, detainee) = (&world.process.custody, &world.center, id(detainee));
                let changed = custody.change_legal_status(center, &detainee, true, "2031-9", "test");
                changed.await.unwrap();
            }
            ["owes", detainee, expected] => {
                let debts = house.distributions.debts(&world.center, &id(detainee)).await.unwrap();
                let owed = debts.iter().map(|debt| debt.owed().unwrap());
                let owed = owed.fold(cny("0"), |sum, owed| sum.checked_add(owed).unwrap());
                assert_eq!(&owed.to_string(), expected, "{at}");
            }
            ["court", order, detainee, total, rank @ ..] => {
                let new = NewCourtOrder {
                    id: CourtOrderId::parse(order).unwrap(),
                    detainee: id(detainee),
                    document: (*order).to_owned(),
                    total: cny(total),
                    rank: rank.first().map(|rank| rank.parse().unwrap()),
                };
                let made = house.distributions.create_court_order(&world.center, new, "test");
                made.await.unwrap();
            }
            ["day", date] => self.economy.move_to(day(date)),
            ["balance", detainee, expected] => assert_eq!(&world.available(detainee).await, expected, "{at}"),
            ["savings", detainee, expected] => {
                let balances = world
                    .process
                    .custody
                    .balances(&world.center, &id(detainee))
                    .await
                    .unwrap();
                assert_eq!(&balances.savings.to_string(), expected, "{at}");
            }
            ["spent", detainee, expected] => {
                let commissary = &world.process.commissary;
                let spending = commissary.spending(&world.center, &id(detainee), None).await.unwrap();
                assert_eq!(&spending.spent.to_string(), expected, "{at}");
            }
            ["state", detainee, expected] => {
                let detainee = world
                    .process
                    .custody
                    .detainee(&world.center, &id(detainee))
                    .await
                    .unwrap();
                assert_eq!(&detainee.state.name(), expected, "{at}");
            }
            ["refresh", name, expected @ ..] => {
                let found = self.economy.look_again(&self.remittances[*name]).await;
                assert_eq!(
                    Some(&found.state().name().to_lowercase().as_str()),
                    expected.first(),
                    "{at}"
                );
                if found.state() == LegState::Credited {
                    let credit = house.remittances.credit_of(&world.center, &found).await.unwrap();
                    let expected = [&["ok"], &expected[1..]].concat();
                    expect(&Ok((facts(&credit.record), false)), &expected, at);
                }
            }
            ["unspent", name, expected] => {
                let remittance = format!("centers/{}/remittances/{}", world.center.id, self.remittances[*name]);
                let mut left = None;
                for detainee in ["D1", "D2", "D3"] {
                    let told = house.refunds.unspent(&world.center, &id(detainee), None).await.unwrap();
                    let found = told
                        .remittances
                        .into_iter()
                        .find(|layer| layer.remittance == remittance);
                    left = left.or(found.map(|layer| layer.unspent.to_string()));
                }
                assert_eq!(left.as_deref(), Some(*expected), "{at}");
            }
            ["vendor", owed, transit] => {
                let balances = self.economy.vendor().await.map(|balance| balance.to_string());
                assert_eq!(balances, [*owed, *transit], "{at}");
            }
            ["total", code, expected] => {
                assert_eq!(&self.economy.total(code.parse().unwrap()).await, expected, "{at}");
            }
            _ => panic!("{at}: not a step"),
        }
    }

    fn seq(&self, name: &str) -> Seq {
        self.asked[name].seq.expect("it was not refused")
    }

    async fn ask(&mut self, name: &str, what: What, expected: &[&str], at: &str) {
        let mut asked = Asked {
            request: Uuid::new_v4(),
            what,
            seq: None,
        };
        let came = self.send(&asked).await;
        expect(&came, expected, at);
        asked.seq = came
            .ok()
            .and_then(|(facts, _)| Some(Seq(facts.get("seq")?.parse().unwrap())));
        self.asked.insert(name.to_owned(), asked);
    }

    async fn send(&self, asked: &Asked) -> Came {
        let (economy, request) = (&self.economy, asked.request);
        let posted = match &asked.what {
            What::Purchase { detainee, lines } => {
                let lines: Vec<(&str, u32)> = lines
                    .iter()
                    .map(|(product, count)| (product.as_str(), *count))
                    .collect();
                let world = &economy.world;
                buy(&world.process, &world.center, request, detainee, &lines).await
            }
            What::Remittance { detainee, amount } => {
                let (_, replayed) = economy.order(request, detainee, amount).await?;
                return Ok((BTreeMap::new(), replayed));
            }
            What::Refund { remittance, amount } => {
                let id = self.remittances[remittance].as_str();
                economy.refund(request, id, amount).await
            }
            What::Order { .. } | What::Change { .. } => self.send_order(asked).await,
            What::Settlement { date } => economy.close(request, *date).await,
            What::Release { detainee } => economy.release(request, detainee).await,
            What::Debt {
                detainee,
                document,
                amount,
                kind,
            } => {
                let new = NewDebt {
                    detainee: id(detainee),
                    is_advance: kind != "damage",
                    document: document.clone(),
                    amount: cny(amount),
                    is_consented: kind != "demand",
                };
                let request = request_with(request, "test/Debt", document.as_bytes());
                let distributions = &economy.house.distributions;
                let asked = distributions.create_debt(&economy.world.center, request, others::maker(), new);
                economy.allowed(asked.await).await
            }
            What::Reversal { remittance } => {
                let center = &economy.world.center;
                let found = economy
                    .house
                    .remittances
                    .remittance(center, &self.remittances[remittance]);
                let credit = found.await.unwrap().seq().unwrap();
                let request = request_with(request, "test/Reverse", remittance.as_bytes());
                let reason = "wrong person".to_owned();
                let refunds = &economy.house.refunds;
                let asked = refunds.request_reversal(center, request, others::maker(), credit, reason);
                economy.allowed(asked.await).await
            }
            What::GiveBack {
                remittance,
                reversal,
                amount,
            } => {
                let new = NewRefund {
                    suspense: Some(*reversal),
                    ..NewRefund::of(self.remittances[remittance].clone(), cny(amount), "wrong person").consented("C-1")
                };
                // By somebody else than who took it back.
                let request = Request {
                    actor: "finance/bob".into(),
                    ..request_with(request, "test/GiveBack", amount.as_bytes())
                };
                let (refunds, center) = (&economy.house.refunds, &economy.world.center);
                let bob = Person::named("finance/bob");
                let asked = refunds.request_refund(center, request, bob, new).await;
                economy.allowed(asked).await
            }
        };
        let posted = posted?;
        Ok((facts(&posted.record), posted.replayed))
    }

    async fn quote(&mut self, name: &str, detainee: &str, amount: &str, expected: &[&str], at: &str) {
        let asked = Asked {
            request: Uuid::new_v4(),
            what: What::Remittance {
                detainee: detainee.to_owned(),
                amount: amount.to_owned(),
            },
            seq: None,
        };
        let ordered = self.economy.order(asked.request, detainee, amount).await;
        if let Ok((remittance, _)) = &ordered {
            self.remittances.insert(name.to_owned(), remittance.id.clone());
        }
        expect(&ordered.map(|(_, replayed)| (BTreeMap::new(), replayed)), expected, at);
        self.asked.insert(name.to_owned(), asked);
    }

    async fn pay(&self, name: &str, expected: &[&str], at: &str) {
        let remittance = self.economy.pay(&self.remittances[name]).await;
        let (economy, center) = (&self.economy, &self.economy.world.center);
        if let state @ (LegState::Suspended | LegState::Held) = remittance.state() {
            let reason = &remittance.leg(state).unwrap().detail;
            let came = [state.name().to_lowercase(), format!("reason={reason}")];
            assert_eq!(expected, came, "{at}");
            return;
        }
        let credit = economy.house.remittances.credit_of(center, &remittance).await.unwrap();
        expect(&Ok((facts(&credit.record), false)), expected, at);
    }

    async fn end(&self, name: &str, failed: bool, expected: &[&str], at: &str) {
        let (economy, seq) = (&self.economy, self.seq(name));
        let ended: Result<Posted, LedgerError> = match self.asked[name].what {
            What::Settlement { .. } => economy.end_settlement(seq, failed).await,
            What::Release { .. } => economy.end_release(seq, failed).await,
            _ => panic!("{at}: the bank does not pay this"),
        };
        expect(&ended.map(|posted| (BTreeMap::new(), posted.replayed)), expected, at);
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
        let (world, reason) = (&self.economy.world, "spoilt".to_owned());
        let commissary = &world.process.commissary;
        let answer = commissary.take_back(&world.center, request, self.seq(purchase), lines, reason);
        expect(&answer.await.map(|posted| (facts(&posted.record), false)), expected, at);
    }
}
