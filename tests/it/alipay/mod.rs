//! Alipay: the channel, the domains over it and the door for notifications, against the simulated Alipay over real sockets.

mod certificates;

use std::{
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State, routing::post};
use custody_ledger::{
    api::http::{Notifications, OnRefund},
    clock::Clock,
    gateway::{
        BillError, Channel, Channels, Gate, GatewayError, NewPayment, PaymentMethod, PaymentState, RefundState as Told,
        alipay::{AlipayChannel, AlipayConfig, AlipayError, Mode},
        simulator::{
            Simulator, SimulatorConfig, SimulatorControl,
            alipay::keys::AlipayKeys,
            control::{BillChange, BillEntry, DeliveryState, PayOptions},
        },
    },
    ids::{PayerId, Seq},
    ledger::{Code, account, balance},
    reconciliation::{BillOf, Reconciliations},
    refund::{NewRefund, RefundState, Refunds, refund_number},
    remittance::{LegState, METHOD, NewRemittance, Remittance, Remittances, order_number},
};
use futures::future::FutureExt as _;
use secrecy::SecretString;
use time::{
    Date, OffsetDateTime,
    macros::{date, datetime},
};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::world::{World, cny, id, register_payer, request, request_with};

/// Ten in the morning in Shanghai, and the next morning.
const MORNING: OffsetDateTime = datetime!(2031-05-06 02:00:00 UTC);
const NEXT_MORNING: OffsetDateTime = datetime!(2031-05-07 02:30:00 UTC);
const DAY: Date = date!(2031 - 05 - 06);

/// Made once: RSA keys take their time.
static KEYS: LazyLock<AlipayKeys> = LazyLock::new(|| AlipayKeys::generate().unwrap());

type Caught = Arc<Mutex<Vec<Bytes>>>;

async fn catch(State(caught): State<Caught>, body: Bytes) -> &'static str {
    caught.lock().unwrap().push(body);
    "success"
}

struct Bench {
    world: World,
    clock: Clock,
    channels: Channels,
    remittances: Remittances,
    refunds: Refunds,
    control: SimulatorControl,
    base_url: String,
    door: String,
    _simulator: Simulator,
}

impl Bench {
    /// The channel `alipay`, whose notifications go to the door.
    async fn build() -> Bench {
        Bench::told_at(None).await
    }

    /// The same with notifications that go elsewhere.
    async fn told_at(elsewhere: Option<String>) -> Bench {
        Bench::build_with(|_| {}, elsewhere).await
    }

    /// The same with other settings.
    async fn build_with(change: fn(&mut AlipayConfig), elsewhere: Option<String>) -> Bench {
        let clock = Clock::starting_at(MORNING);
        let world = World::build_with(clock.clone(), 4096).await;
        let mut config = SimulatorConfig::new(([127, 0, 0, 1], 0).into(), SecretString::from("shared"));
        config.alipay = Some(KEYS.clone());
        let simulator = Simulator::start(config, clock.clone()).await.unwrap();
        let base_url = simulator.base_url();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = format!("http://{}/v1/notifications/alipay", listener.local_addr().unwrap());
        let mut config = KEYS.channel("alipay", &base_url).unwrap();
        change(&mut config);
        let alipay = AlipayChannel::try_new(config, clock.clone()).unwrap();
        let notify = elsewhere.unwrap_or_else(|| door.clone());
        let channels = Channels::new([Gate::new(Arc::new(alipay), notify)]);
        let (lanes, custody) = (world.process.lanes.clone(), world.process.custody.clone());
        let remittances = Remittances::new(lanes.clone(), custody.clone(), channels.clone());
        let refunds = Refunds::new(lanes, custody, channels.clone());
        let told = refunds.clone();
        let on_refund: OnRefund = Arc::new(move |channel, notice| {
            let refunds = told.clone();
            async move { refunds.notified(&channel, &notice).await }.boxed()
        });
        let router = Notifications::new(remittances.clone(), Some(on_refund), clock.clone()).router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        register_payer(&world.process, &world.center, "P1", &["D1"]).await;
        Bench {
            control: SimulatorControl::try_new(base_url.clone()).unwrap(),
            _simulator: simulator,
            world,
            clock,
            channels,
            remittances,
            refunds,
            base_url,
            door,
        }
    }

    fn alipay(&self) -> Arc<dyn Channel> {
        self.channels.get("alipay").unwrap().channel.clone()
    }

    /// The channel with other settings.
    fn with(&self, change: fn(&mut AlipayConfig)) -> Result<AlipayChannel, AlipayError> {
        let mut config = KEYS.channel("alipay", &self.base_url).unwrap();
        change(&mut config);
        AlipayChannel::try_new(config, self.clock.clone())
    }

    async fn order(&self, amount: &str) -> Remittance {
        let new = NewRemittance {
            request: request_with(Uuid::new_v4(), METHOD, amount.as_bytes()),
            payer: PayerId::parse("P1").unwrap(),
            detainee: id("D1"),
            amount: cny(amount),
            channel: None,
            method: PaymentMethod::Link,
        };
        self.remittances.create(&self.world.center, new).await.unwrap().0
    }

    fn number(&self, remittance: &Remittance) -> String {
        order_number(self.world.center.no, &remittance.id)
    }

    async fn delivered(&self) {
        let delivered = self.control.wait_for_deliveries(Duration::from_secs(30)).await;
        delivered.unwrap();
    }

    async fn pay(&self, remittance: &Remittance, options: PayOptions) {
        self.control.pay(&self.number(remittance), &options).await.unwrap();
        self.delivered().await;
    }

    async fn refresh(&self, remittance: &Remittance) -> LegState {
        let asked = self.remittances.refresh(&self.world.center, &remittance.id).await;
        asked.unwrap().state()
    }

    async fn state(&self, remittance: &Remittance) -> LegState {
        let found = self.remittances.remittance(&self.world.center, &remittance.id).await;
        found.unwrap().state()
    }

    async fn clearing(&self) -> String {
        let (database, center) = (&self.world.process.database, &self.world.center);
        let mut conn = database.read.acquire().await.unwrap();
        let found = account::find(&mut *conn, center.no, Code::GatewayClearing, "channels/alipay").await;
        let no = found.unwrap().unwrap();
        balance::now(&mut *conn, center, &[no]).await.unwrap().0[0].to_string()
    }

    async fn rejected(&self) -> Vec<String> {
        let mut conn = self.world.process.database.lane.acquire().await.unwrap();
        sqlx::query_scalar("select reason from rejected_notification order by reason")
            .fetch_all(&mut *conn)
            .await
            .unwrap()
    }

    async fn refund(&self, remittance: &Remittance, amount: &str) -> Seq {
        let new = NewRefund::of(remittance.id.clone(), cny(amount), "wrong person").consented("C-1");
        let asked = request("test/Refund", amount.as_bytes());
        let posted = self.refunds.create(&self.world.center, asked, new).await.unwrap();
        self.refunds.refresh(&self.world.center, posted.seq()).await.unwrap();
        self.delivered().await;
        posted.seq()
    }

    async fn refund_state(&self, refund: Seq) -> RefundState {
        self.refunds.get(&self.world.center, refund).await.unwrap().state
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remittance_is_paid_by_qr_code_and_credited_once() {
    let bench = Bench::build().await;
    let (alipay, ordered) = (bench.alipay(), bench.order("100.00").await);
    let number = bench.number(&ordered);
    assert!(ordered.leg(LegState::Pending).unwrap().payment_url.is_some());
    // Not scanned, Alipay has not heard of it; it can be paid all the same.
    assert_eq!(alipay.query_payment(&number).await, Ok(PaymentState::Unpaid));
    bench.control.scan(&number).await.unwrap();
    assert_eq!(alipay.query_payment(&number).await, Ok(PaymentState::Unpaid));
    let often = PayOptions {
        duplicate: 3,
        ..PayOptions::default()
    };
    bench.pay(&ordered, often).await;
    assert_eq!(bench.state(&ordered).await, LegState::Credited);
    assert_eq!(bench.world.available("D1").await, "100.00");
    assert_eq!(bench.clearing().await, "100.00");
    let deliveries = bench.control.deliveries().await.unwrap();
    let is_taken = |delivery: &custody_ledger::gateway::simulator::control::Delivery| {
        delivery.state == DeliveryState::Accepted && delivery.attempts.len() == 1
    };
    assert!(
        deliveries.len() == 4 && deliveries.iter().all(is_taken),
        "{deliveries:?}"
    );
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forged_altered_or_of_others_changes_nothing() {
    let caught = Caught::default();
    let catcher = Router::new().route("/", post(catch)).with_state(caught.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, catcher).await });
    let bench = Bench::told_at(Some(elsewhere)).await;
    let ordered = bench.order("100.00").await;
    bench.pay(&ordered, PayOptions::default()).await;
    let good = String::from_utf8(caught.lock().unwrap()[0].to_vec()).unwrap();
    let http = reqwest::Client::new();
    let send = |body: String| {
        let request = http.post(&bench.door).body(body);
        async move {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        }
    };
    let without = |name: &str| {
        let kept = good.split('&').filter(|pair| !pair.starts_with(&format!("{name}=")));
        kept.collect::<Vec<_>>().join("&")
    };
    let altered = |from: &str, to: &str| {
        assert!(good.contains(from), "{good}");
        good.replace(from, to)
    };
    let cases = [
        (without("sign"), "missing_signature"),
        (without("buyer_id"), "bad_signature"),
        (without("sign_type"), "bad_signature"),
        (altered("sign_type=RSA2", "sign_type=RSA"), "bad_signature"),
        (altered("total_amount=100.00", "total_amount=900.00"), "bad_signature"),
        (altered("TRADE_SUCCESS", "TRADE_FINISHED"), "bad_signature"),
        (format!("{good}&refund_fee=1"), "bad_signature"),
        (format!("{good}&total_amount=100.00"), "malformed"),
        (format!("{good}%"), "malformed"),
        (String::new(), "missing_signature"),
    ];
    for (body, expected) in cases {
        let before = bench.rejected().await.len();
        assert_eq!(send(body).await, (400, "failure".to_owned()), "{expected}");
        let rejected = bench.rejected().await;
        assert!(
            rejected.contains(&expected.to_owned()) && rejected.len() >= before,
            "{rejected:?}"
        );
    }
    assert_eq!(bench.state(&ordered).await, LegState::Pending);
    assert_eq!(bench.world.available("D1").await, "0.00");
    // However old, what is genuine is what was paid; told again it changes nothing.
    assert!(bench.clock.turn_to(NEXT_MORNING));
    for _ in 0..2 {
        assert_eq!(send(good.clone()).await, (200, "success".to_owned()));
        assert_eq!(bench.world.available("D1").await, "100.00");
    }
    // Genuine, and another application's or merchant's: none of ours.
    for change in [
        (|config| config.app_id = "2021000000000002".into()) as fn(&mut AlipayConfig),
        |config| config.seller_id = "2088000000000002".into(),
    ] {
        let other = bench.with(change).unwrap();
        let read = other.parse_notification(&http::HeaderMap::new(), good.as_bytes(), bench.clock.now());
        let error = read.unwrap_err().to_string();
        assert!(error.contains("of another merchant or app"), "{error}");
    }
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_amount_or_an_altered_one_is_not_credited() {
    let bench = Bench::build().await;
    let ordered = bench.order("100.00").await;
    let wrong = PayOptions {
        wrong_amount: Some("99.99".into()),
        ..PayOptions::default()
    };
    bench.pay(&ordered, wrong).await;
    assert_eq!(bench.rejected().await, ["other_amount"]);
    let ordered = bench.order("70.00").await;
    let tamper = PayOptions {
        tamper: true,
        ..PayOptions::default()
    };
    bench.control.pay(&bench.number(&ordered), &tamper).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), async {
        while !bench.rejected().await.contains(&"bad_signature".to_owned()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(bench.world.available("D1").await, "0.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_is_found_late_money_is_credited_and_the_unpaid_is_closed() {
    let bench = Bench::build().await;
    let alipay = bench.alipay();
    let (lost, late) = (bench.order("100.00").await, bench.order("20.00").await);
    let (scanned, unscanned) = (bench.order("10.00").await, bench.order("11.00").await);
    let lose = PayOptions {
        lose: true,
        ..PayOptions::default()
    };
    bench.pay(&lost, lose).await;
    assert_eq!(bench.state(&lost).await, LegState::Pending);
    assert_eq!(bench.refresh(&lost).await, LegState::Credited);
    // The payer was faster than the close.
    let paid = alipay.close_payment(&bench.number(&lost)).await.unwrap();
    assert!(
        matches!(paid, PaymentState::Paid { amount, paid_at, .. } if amount == cny("100.00") && paid_at >= MORNING),
        "{paid:?}"
    );

    bench.control.scan(&bench.number(&scanned)).await.unwrap();
    assert!(bench.clock.turn_to(MORNING + Duration::from_secs(86_400)));
    for unpaid in [&scanned, &unscanned, &late] {
        assert_eq!(bench.refresh(unpaid).await, LegState::Expired);
    }
    let number = bench.number(&scanned);
    assert_eq!(alipay.close_payment(&number).await, Ok(PaymentState::Closed), "again");
    assert_eq!(alipay.query_payment(&number).await, Ok(PaymentState::Closed));
    let unknown = alipay.close_payment(&bench.number(&unscanned)).await;
    assert_eq!(unknown, Ok(PaymentState::Unknown));
    assert_eq!(alipay.query_refund(&number, "F1-000099").await, Ok(Told::Unknown));
    let after = PayOptions {
        late: true,
        ..PayOptions::default()
    };
    bench.pay(&late, after).await;
    assert_eq!(bench.state(&late).await, LegState::Credited);
    assert_eq!(bench.world.available("D1").await, "120.00");
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_are_told_by_number_and_paid_once() {
    let bench = Bench::build().await;
    let alipay = bench.alipay();
    let remittance = bench.order("100.00").await;
    bench.pay(&remittance, PayOptions::default()).await;
    let (first, second) = (
        bench.refund(&remittance, "30.00").await,
        bench.refund(&remittance, "70.00").await,
    );
    for refund in [first, second] {
        assert_eq!(bench.refund_state(refund).await, RefundState::Succeeded);
    }
    assert_eq!(bench.clearing().await, "0.00");
    assert_eq!(bench.world.available("D1").await, "0.00");
    // Its notices told sums, which fit; nothing was rejected.
    assert_eq!(bench.rejected().await, Vec::<String>::new());
    // Paid back in full, the trade is closed, and was paid.
    let (order, number) = (bench.number(&remittance), refund_number(bench.world.center.no, first));
    let paid = alipay.query_payment(&order).await.unwrap();
    let PaymentState::Paid {
        gateway_transaction, ..
    } = paid
    else {
        panic!("{paid:?}")
    };
    let told = alipay.query_refund(&order, &number).await.unwrap();
    assert!(
        matches!(&told, Told::Succeeded { gateway_refund, .. } if *gateway_refund == format!("{gateway_transaction}-{number}")),
        "{told:?}"
    );
    // The same again moves nothing; one more is refused.
    let mut again = custody_ledger::gateway::NewRefund {
        refund_number: number,
        order_number: order,
        gateway_transaction,
        amount: cny("30.00"),
        total: cny("100.00"),
        notify_url: bench.door.clone(),
    };
    assert_eq!(alipay.create_refund(&again).await, Ok(told));
    again.refund_number = "F1-000099".into();
    let refused = alipay.create_refund(&again).await;
    assert!(
        matches!(&refused, Err(GatewayError::Refused { code, .. }) if code == "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"),
        "{refused:?}"
    );
    assert_eq!(bench.control.refunds().await.unwrap().len(), 2);
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_days_bill_is_fetched_and_compared() {
    let bench = Bench::build().await;
    let (first, second) = (bench.order("100.00").await, bench.order("50.00").await);
    for remittance in [&first, &second] {
        bench.pay(remittance, PayOptions::default()).await;
    }
    bench.refund(&first, "40.00").await;
    assert!(bench.clock.turn_to(NEXT_MORNING));
    let packed = bench.alipay().fetch_bill(DAY).await.unwrap();
    assert!(packed.starts_with(b"PK"));
    let rows = bench.alipay().parse_bill(&packed).unwrap();
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.number().to_owned(), row.amount.to_string(), row.fee.to_string()))
        .collect();
    assert!(
        told.contains(&(bench.number(&first), "100.00".into(), "0.60".into())),
        "{told:?}"
    );
    let half = bench.alipay().parse_bill(&packed[..packed.len() / 2]);
    assert!(matches!(half, Err(BillError::File { .. })), "{half:?}");

    let (lanes, custody) = (bench.world.process.lanes.clone(), bench.world.process.custody.clone());
    let reconciliations = Reconciliations::new(lanes, custody, bench.channels.clone());
    let of = BillOf {
        channel: "alipay".into(),
        date: DAY,
    };
    let compare = || reconciliations.fetch(&bench.world.center, of.clone(), "finance");
    let found = compare().await.unwrap();
    let totals = &found.totals;
    assert_eq!((totals.lines, totals.matched, totals.breaks), (3, 3, 0), "{found:?}");
    assert_eq!(bench.clearing().await, "109.10");
    // A bill that tells another amount does not match, and says so.
    let change = BillChange {
        entry: BillEntry::payment(bench.number(&second)),
        amount: "50.01".into(),
    };
    bench.control.change_bill_amount(&change).await.unwrap();
    let found = compare().await.unwrap();
    let totals = &found.totals;
    assert_eq!((totals.lines, totals.matched, totals.breaks), (3, 2, 1), "{found:?}");
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_numbers_that_do_not_fit_are_noticed() {
    let bench = Bench::build().await;
    let refused = |change| bench.with(change).err().unwrap().to_string();
    let error = refused(|config| config.private_key = SecretString::from("hunter2!"));
    assert_eq!(error, "the application's private key: it is neither PEM nor base64");
    let error = refused(|config| {
        let Mode::PublicKey(text) = &config.mode else { return };
        config.private_key = text.clone().into();
    });
    assert!(
        error.starts_with("the application's private key: it is a public key"),
        "{error}"
    );
    let error = refused(|config| config.mode = Mode::PublicKey(String::new()));
    assert_eq!(error, "Alipay's public key: it is empty");
    let error = refused(|config| config.mode = Mode::PublicKey(KEYS.app_public_key().unwrap()));
    assert!(error.contains("the application's own"), "{error}");
    assert_eq!(
        refused(|config| config.app_id = "x".into()),
        "app_id must be up to 32 digits"
    );
    assert_eq!(
        refused(|config| config.seller_id = String::new()),
        "seller_id must be up to 32 digits"
    );
    assert!(refused(|config| config.gateway_url = "ftp://x".into()).contains("not http or https"));

    let ordered = bench.order("10.00").await;
    let number = bench.number(&ordered);
    let stranger = |config: &mut AlipayConfig| {
        config.private_key = AlipayKeys::generate()
            .unwrap()
            .channel("x", "http://x")
            .unwrap()
            .private_key;
    };
    // A stranger is not let in, which says nothing of the order; nor is another application.
    for change in [stranger as fn(&mut AlipayConfig), |config| {
        config.app_id = "2021000000000002".into()
    }] {
        let answer = bench.with(change).unwrap().query_payment(&number).await;
        assert!(matches!(answer, Err(GatewayError::NotLetIn { .. })), "{answer:?}");
    }
    // An answer signed with another key is not believed.
    let other_alipay = |config: &mut AlipayConfig| {
        config.mode = Mode::PublicKey(AlipayKeys::generate().unwrap().app_public_key().unwrap());
    };
    let answer = bench.with(other_alipay).unwrap().query_payment(&number).await;
    assert!(
        matches!(&answer, Err(GatewayError::Malformed { reason }) if reason.contains("signature is wrong")),
        "{answer:?}"
    );
    let payment = NewPayment {
        order_number: "1-R0000000000000001".into(),
        amount: cny("1.00"),
        description: "汇款 / a=b & ".repeat(100),
        expires_at: MORNING + Duration::from_secs(1800),
        notify_url: bench.door.clone(),
        method: PaymentMethod::Link,
    };
    let alipay = bench.alipay();
    let opened = alipay.create_payment(&payment).await.unwrap();
    assert_eq!(alipay.create_payment(&payment).await, Ok(opened), "the same again");
    let other = NewPayment {
        amount: cny("2.00"),
        ..payment
    };
    let refused = alipay.create_payment(&other).await;
    assert!(matches!(refused, Err(GatewayError::Refused { .. })), "{refused:?}");
}
