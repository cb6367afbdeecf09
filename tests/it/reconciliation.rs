//! The gateway's bill against the ledger: exact matches, every kind of break, fees once, and over the wire.

use std::sync::Arc;

use custody_ledger::{
    clock::Clock,
    gateway::{
        BillKind, Channels, Gate, PaymentMethod,
        bill::BillRecord,
        simulator::{
            Simulator, SimulatorConfig, SimulatorControl,
            control::{BillChange, BillEntry, PayOptions, RefundAnswer},
        },
        webhook::{WebhookChannel, WebhookConfig},
    },
    ids::{PayerId, RequestId, Seq},
    ledger::{Code, Request, account, balance, chart},
    reconciliation::{BillOf, BreakKind, Reconciliation, Reconciliations},
    refund::{NewRefund, Refunds, refund_number},
    remittance::{Learnt, LegState, NewRemittance, Paid, Remittance, Remittances, order_number},
};
use secrecy::SecretString;
use time::{
    Date, OffsetDateTime,
    macros::{date, datetime},
};
use uuid::Uuid;

use crate::{
    others,
    world::{Process, World, cny, id, new_center, reason, register_payer, request},
};

/// Ten in the morning in Shanghai, and the next morning.
const MORNING: OffsetDateTime = datetime!(2031-05-06 02:00:00 UTC);
pub const NEXT_MORNING: OffsetDateTime = datetime!(2031-05-07 02:00:00 UTC);
pub const DAY: Date = date!(2031 - 05 - 06);

fn the_bill() -> BillOf {
    BillOf {
        channel: "webhook".into(),
        date: DAY,
    }
}

pub struct Bench {
    pub world: World,
    pub channels: Channels,
    pub remittances: Remittances,
    pub refunds: Refunds,
    /// As of the next morning.
    pub reconciliations: Reconciliations,
    pub control: SimulatorControl,
    _simulator: Simulator,
}

impl Bench {
    pub async fn build() -> Bench {
        let clock = Clock::starting_at(MORNING);
        let world = World::build_with(clock.clone(), 4096).await;
        let secret = SecretString::from("shared");
        let config = SimulatorConfig::new(([127, 0, 0, 1], 0).into(), secret.clone());
        let simulator = Simulator::start(config, clock.clone()).await.unwrap();
        let config = WebhookConfig {
            id: "webhook".into(),
            base_url: simulator.base_url(),
            secret,
        };
        let channel = Arc::new(WebhookChannel::try_new(config, clock).unwrap());
        let channels = Channels::new([Gate {
            fee_rate: Some("0.006".parse().unwrap()),
            ..Gate::new(channel, "http://127.0.0.1:9/")
        }]);
        let (lanes, custody) = (world.process.lanes.clone(), world.process.custody.clone());
        let remittances = Remittances::new(lanes.clone(), custody.clone(), channels.clone());
        let center = &world.center;
        register_payer(&world.process, center, "P1", &["D1"]).await;
        Bench {
            refunds: Refunds::new(lanes, custody, channels.clone()),
            reconciliations: next_morning(&world, &channels),
            control: SimulatorControl::try_new(simulator.base_url()).unwrap(),
            _simulator: simulator,
            channels,
            remittances,
            world,
        }
    }

    /// A remittance that is paid at the gateway and not yet known to be.
    async fn paid(&self, amount: &str) -> Remittance {
        let new = NewRemittance {
            request: Request {
                id: RequestId(Uuid::new_v4()),
                method: "custody.v1.RemittanceService/CreateRemittance",
                body: Vec::new(),
                actor: "payer/P1".into(),
            },
            payer: PayerId::parse("P1").unwrap(),
            detainee: id("D1"),
            amount: cny(amount),
            channel: None,
            method: PaymentMethod::Link,
        };
        let (remittance, _) = self.remittances.create(&self.world.center, new).await.unwrap();
        let lost = PayOptions {
            lose: true,
            ..PayOptions::default()
        };
        self.control.pay(&self.order(&remittance), &lost).await.unwrap();
        remittance
    }

    async fn learn(&self, remittance: &Remittance) {
        let learnt = self
            .remittances
            .refresh(&self.world.center, &remittance.id)
            .await
            .unwrap();
        assert_eq!(learnt.state(), LegState::Credited);
    }

    pub async fn credited(&self, amount: &str) -> Remittance {
        let remittance = self.paid(amount).await;
        self.learn(&remittance).await;
        remittance
    }

    async fn refunded(&self, remittance: &Remittance, amount: &str) {
        let center = &self.world.center;
        let refunded = self
            .refunds
            .create(
                center,
                request("test/Refund", b""),
                NewRefund::of(remittance.id.clone(), cny(amount), "r").consented("C-1"),
            )
            .await
            .unwrap();
        let number = refund_number(center.no, refunded.seq());
        self.control
            .answer_refund(&number, &RefundAnswer::default())
            .await
            .unwrap();
        self.refunds.refresh(center, refunded.seq()).await.unwrap();
    }

    pub fn order(&self, remittance: &Remittance) -> String {
        order_number(self.world.center.no, &remittance.id)
    }

    pub async fn fetch(&self) -> Reconciliation {
        let center = &self.world.center;
        self.reconciliations
            .fetch(center, the_bill(), "finance/f")
            .await
            .unwrap()
    }

    /// Somebody brings the bill as it is at the gateway.
    async fn upload(&self) -> Reconciliation {
        let (center, gate) = (&self.world.center, self.channels.get("webhook").unwrap());
        let bill = gate.channel.fetch_bill(the_bill().date).await.unwrap();
        let imported = self.reconciliations.import(center, the_bill(), bill, "finance/f");
        imported.await.unwrap()
    }

    /// Kind, and our number of each break.
    async fn breaks(&self) -> Vec<(String, String)> {
        let (_, found) = self
            .reconciliations
            .breaks(&self.world.center, &the_bill(), None, 0, 100)
            .await
            .unwrap();
        found
            .iter()
            .map(|found| {
                let bill = found.bill.as_ref().map(|row| row.number().to_owned());
                let ledger = found.ledger.as_ref().map(|entry| entry.number.clone());
                (found.kind.name().to_owned(), bill.or(ledger).unwrap())
            })
            .collect()
    }

    /// What the fees and the channel's clearing account are at.
    async fn balances(&self) -> Vec<String> {
        let (database, center) = (&self.world.process.database, &self.world.center);
        let clearing = account::find(&*database.read, center.no, Code::GatewayClearing, "channels/webhook").await;
        let accounts = [chart::GATEWAY_FEES, clearing.unwrap().unwrap()];
        let now = balance::now(&*database.read, center, &accounts).await.unwrap();
        now.0.iter().map(ToString::to_string).collect()
    }
}

fn next_morning(world: &World, channels: &Channels) -> Reconciliations {
    let process = Process::over(&world.db.url, Clock::starting_at(NEXT_MORNING), 4096);
    Reconciliations::new(process.lanes, process.custody, channels.clone())
}

pub fn planted(order_number: &str) -> BillRecord {
    BillRecord {
        kind: BillKind::Payment,
        order_number: order_number.into(),
        refund_number: String::new(),
        gateway_id: format!("pay_{order_number}"),
        amount: "33.00".into(),
        fee: "0.19".into(),
        currency: "CNY".into(),
        time: "2031-05-06T12:00:00+08:00".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_that_tells_what_the_ledger_has_matches_and_its_fees_are_recorded_once() {
    let bench = Bench::build().await;
    let first = bench.credited("100").await;
    bench.credited("50").await;
    bench.refunded(&first, "30").await;
    assert_eq!(bench.balances().await, ["0.00", "120.00"]);

    let found = bench.fetch().await;
    let totals = &found.totals;
    assert_eq!((totals.lines, totals.matched, totals.breaks), (3, 3, 0));
    assert_eq!((totals.bill_paid, totals.ledger_paid), (cny("150"), cny("150")));
    assert_eq!((totals.bill_refunded, totals.ledger_refunded), (cny("30"), cny("30")));
    assert_eq!(totals.bill_fees, cny("0.90"));
    assert_eq!(bench.balances().await, ["0.90", "119.10"]);
    assert_eq!(found.run, 1);
    assert!(found.fee_seq.is_some());

    // The same bill again, by another process, and by two at once: the same.
    let other = next_morning(&bench.world, &bench.channels);
    let center = &bench.world.center;
    let (a, b) = tokio::join!(
        other.fetch(center, the_bill(), "finance/g"),
        bench.reconciliations.fetch(center, the_bill(), "finance/f"),
    );
    assert_eq!((a.unwrap(), b.unwrap()), (found.clone(), found.clone()));
    assert_eq!(bench.reconciliations.list(center, None, 10).await.unwrap(), [found]);
    assert_eq!(bench.balances().await, ["0.90", "119.10"]);
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_twice_or_came_through_suspense_is_told_once_each() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    let first = bench.credited("100").await;
    // Paid once more; and one that was paid while the person was about to leave.
    let again = PayOptions {
        lose: true,
        again: true,
        ..PayOptions::default()
    };
    let paid = bench.control.pay(&bench.order(&first), &again).await.unwrap();
    let told = Paid {
        order_number: bench.order(&first),
        gateway_transaction: paid.gateway_transaction,
        amount: cny("100"),
        paid_at: paid.paid_at,
    };
    for _ in 0..2 {
        let taken = bench
            .remittances
            .confirm("webhook", &told, Learnt::ByNotification)
            .await;
        assert_eq!(taken.unwrap().unwrap().suspended.len(), 1);
    }
    let second = bench.paid("50").await;
    let opened = bench
        .refunds
        .request_release(
            center,
            request("test/Release", b""),
            others::maker(),
            id("D1"),
            "desk".into(),
        )
        .await
        .unwrap();
    let held = bench.remittances.refresh(center, &second.id).await.unwrap();
    assert_eq!(held.state(), LegState::Suspended);
    assert_eq!((bench.fetch().await.totals.matched, bench.breaks().await.len()), (3, 0));
    bench
        .refunds
        .fail_release(
            center,
            request("test/Fail", b""),
            Seq(opened.record.unwrap().seq),
            "closed".into(),
        )
        .await
        .unwrap();
    bench.learn(&second).await;
    let found = bench.fetch().await;
    let totals = &found.totals;
    assert_eq!((totals.lines, totals.matched, totals.breaks), (3, 3, 0));
    assert_eq!((totals.bill_paid, totals.ledger_paid), (cny("250"), cny("250")));
    assert_eq!(bench.balances().await, ["1.50", "248.50"]);
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fee_that_the_channels_rate_does_not_make_is_a_break_and_recorded_once() {
    let bench = Bench::build().await;
    // The gateway keeps 0.6 %, and 0.59 % was agreed: 0.59 of 100, and 0.12 of 20, as of both rates.
    let dear = bench.credited("100").await;
    bench.credited("20").await;
    let with = |rate: Option<&str>| {
        let gate = Gate {
            fee_rate: rate.map(|rate| rate.parse().unwrap()),
            ..bench.channels.get("webhook").unwrap().clone()
        };
        next_morning(&bench.world, &Channels::new([gate]))
    };
    let center = &bench.world.center;
    let found = with(Some("0.0059"))
        .fetch(center, the_bill(), "finance/f")
        .await
        .unwrap();
    assert_eq!(
        (found.totals.lines, found.totals.matched, found.totals.breaks),
        (2, 1, 1)
    );
    let told = || async {
        bench
            .reconciliations
            .breaks(center, &the_bill(), None, 0, 10)
            .await
            .unwrap()
            .1
    };
    let breaks = told().await;
    assert_eq!((breaks.len(), breaks[0].kind), (1, BreakKind::FeeDiffers));
    let (bill, ledger) = (breaks[0].bill.as_ref().unwrap(), breaks[0].ledger.as_ref().unwrap());
    assert_eq!((bill.order_number.clone(), bill.fee), (bench.order(&dear), cny("0.60")));
    assert_eq!(
        (ledger.fee, ledger.expected_fee),
        (Some(cny("0.60")), Some(cny("0.59")))
    );
    // The gateway has kept it: it is recorded, and once.
    assert_eq!(bench.balances().await, ["0.72", "119.28"]);
    let again = with(Some("0.0059"))
        .fetch(center, the_bill(), "finance/f")
        .await
        .unwrap();
    assert_eq!(again, found, "the run that is there");
    // By the rate that was agreed after all, and without one, there is no break.
    for (rate, run) in [(Some("0.006"), 2), (None, 2)] {
        let found = with(rate).fetch(center, the_bill(), "finance/f").await.unwrap();
        assert_eq!((found.run, found.totals.matched, found.totals.breaks), (run, 2, 0));
    }
    assert_eq!(bench.balances().await, ["0.72", "119.28"]);
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_import_a_new_bill_at_once_record_each_fee_once() {
    let bench = Bench::build().await;
    for _ in 0..5 {
        bench.credited("100").await;
    }
    let others: Vec<Reconciliations> = (0..6).map(|_| next_morning(&bench.world, &bench.channels)).collect();
    let center = &bench.world.center;
    let imports = others.iter().map(|other| other.fetch(center, the_bill(), "finance/f"));
    let found: Vec<_> = futures::future::join_all(imports)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(found.iter().all(|each| each == &found[0]), "{found:?}");
    assert_eq!((found[0].run, found[0].totals.matched), (1, 5));
    assert_eq!(bench.balances().await, ["3.00", "497.00"]);
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_is_a_break_until_it_is_explained() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    let other = new_center(&bench.world.process, "C2").await;
    let good = bench.credited("100").await;
    let changed = bench.credited("20").await;
    let dropped = bench.credited("30").await;
    let twice = bench.credited("40").await;
    let unknown = bench.paid("50").await;
    let changes = BillChange {
        entry: BillEntry::payment(bench.order(&changed)),
        amount: "20.01".into(),
    };
    bench.control.change_bill_amount(&changes).await.unwrap();
    let drops = BillEntry::payment(bench.order(&dropped));
    bench.control.drop_bill_row(&drops).await.unwrap();
    let doubles = BillEntry::payment(bench.order(&twice));
    bench.control.duplicate_bill_row(&doubles).await.unwrap();
    let others = format!("{}-R0", other.no);
    for order in [others.as_str(), "77-RNOBODYS", "SHOP1"] {
        bench.control.plant_bill_row(&planted(order)).await.unwrap();
    }

    // What somebody uploads moves no money.
    let found = bench.upload().await;
    // Rows: good, changed, twice and twice again, unknown, two of nobody; the other center's is its own business.
    assert_eq!((found.totals.lines, found.totals.matched), (7, 2));
    let told = |kind: &str, number: &str| (kind.to_owned(), number.to_owned());
    let mut breaks = bench.breaks().await;
    breaks.sort();
    let mut expected = vec![
        told("AMOUNT_DIFFERS", &bench.order(&changed)),
        told("DUPLICATE", &bench.order(&twice)),
        told("ONLY_IN_BILL", "77-RNOBODYS"),
        told("ONLY_IN_BILL", "SHOP1"),
        told("ONLY_IN_BILL", &bench.order(&unknown)),
        told("ONLY_IN_LEDGER", &bench.order(&dropped)),
    ];
    expected.sort();
    assert_eq!(breaks, expected);
    // Only what matches brings its fee: 0.60 and 0.24.
    assert_eq!(bench.balances().await, ["0.84", "189.16"]);
    let theirs = bench
        .reconciliations
        .fetch(&other, the_bill(), "finance/f")
        .await
        .unwrap();
    assert_eq!((theirs.totals.lines, theirs.totals.breaks), (3, 3));

    // The bill that the gateway hands out itself is believed: the payment is credited, and its fee is recorded too.
    let again = bench.fetch().await;
    let learnt = bench.remittances.remittance(center, &unknown.id).await.unwrap();
    let paid = learnt.leg(LegState::Paid).unwrap();
    assert_eq!(
        (learnt.state(), paid.detail.as_str()),
        (LegState::Credited, "by the gateway's bill")
    );
    bench.learn(&unknown).await;
    assert_eq!((again.run, again.totals.matched, again.totals.breaks), (2, 3, 5));
    assert!(
        !bench
            .breaks()
            .await
            .contains(&told("ONLY_IN_BILL", &bench.order(&unknown)))
    );
    assert_eq!(bench.balances().await, ["1.14", "238.86"]);
    assert_ne!(again.fee_seq, found.fee_seq);
    // What the first run found can still be read.
    let (_, before) = bench
        .reconciliations
        .breaks(center, &the_bill(), Some(1), 0, 100)
        .await
        .unwrap();
    assert_eq!(before.len(), 6);
    assert_eq!(bench.fetch().await, again);
    assert!(
        bench
            .remittances
            .remittance(center, &good.id)
            .await
            .unwrap()
            .is_posted()
    );
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_that_cannot_be_read_changes_nothing() {
    let bench = Bench::build().await;
    bench.credited("100").await;
    let center = &bench.world.center;
    let head = "kind,order_number,refund_number,gateway_id,amount,fee,currency,time\n";
    let row = "payment,R1,,pay_1,100.00,0.60,CNY,2031-05-06T10:00:00+08:00\n";
    let import = |channel: &str, date, bill: String| {
        let of = BillOf {
            channel: channel.into(),
            date,
        };
        let reconciliations = bench.reconciliations.clone();
        async move {
            let refused = reconciliations.import(center, of, bill.into_bytes(), "finance/f").await;
            reason(&refused.unwrap_err())
        }
    };
    let whole = format!("{head}{row}");
    assert_eq!(import("webhook", DAY, "not a bill".into()).await, "INVALID_FIELD");
    assert_eq!(
        import("webhook", DAY, format!("{whole}half,a\n")).await,
        "INVALID_FIELD"
    );
    assert_eq!(
        import("webhook", DAY, whole.replace("100.00", "100.001")).await,
        "INVALID_FIELD"
    );
    assert_eq!(
        import("webhook", DAY, whole.replace("CNY", "USD")).await,
        "CURRENCY_MISMATCH"
    );
    assert_eq!(import("cash", DAY, whole.clone()).await, "NOT_FOUND");
    assert_eq!(import("webhook", date!(2031 - 05 - 07), whole).await, "DATE_NOT_OVER");
    let missing = bench.reconciliations.get(center, &the_bill()).await.unwrap_err();
    assert_eq!(reason(&missing), "NOT_FOUND");
    assert_eq!(bench.balances().await, ["0.00", "100.00"]);
    assert_eq!(bench.world.verified().await, 1);
}
