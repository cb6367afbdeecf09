//! The simulated gateways break as they are told: on every face the same way, and by one seed always in the same places.

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use custody_ledger::{
    clock::Clock,
    gateway::{
        Channel, GatewayError, NewPayment, NewRefund, Notification, NotificationVerdict, PaymentMethod, PaymentState,
        RefundState,
        alipay::AlipayChannel,
        simulator::{
            RetryPolicy, Simulator, SimulatorConfig, SimulatorControl,
            alipay::keys::AlipayKeys,
            books::Played,
            control::{Delivery, DeliveryState, PayOptions, RefundAnswer},
            faults::{FaultRates, RefundMode},
            wechat::keys::WechatPayKeys,
        },
        webhook::{WebhookChannel, WebhookConfig},
        wechat_pay::WechatPayChannel,
    },
};
use secrecy::SecretString;
use tokio::net::TcpListener;

use crate::world::cny;

/// Made once: RSA keys take their time.
static WECHAT: LazyLock<WechatPayKeys> = LazyLock::new(|| WechatPayKeys::generate().unwrap());
static ALIPAY: LazyLock<AlipayKeys> = LazyLock::new(|| AlipayKeys::generate().unwrap());

const FACES: [Played; 3] = [Played::Webhook, Played::WechatPay, Played::Alipay];

/// What the service would be: believes what is signed, and writes down of what it was told.
struct Receiver {
    channels: [Arc<dyn Channel>; 3],
    clock: Clock,
    believed: Mutex<Vec<String>>,
}

async fn receive(
    State(receiver): State<Arc<Receiver>>,
    Path(face): Path<usize>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let channel = &receiver.channels[face];
    let told = channel.parse_notification(&headers, &body, receiver.clock.now());
    let verdict = match told {
        Ok(Notification::Payment(notice)) => {
            receiver.believed.lock().unwrap().push(notice.order_number);
            NotificationVerdict::Accepted
        }
        Ok(_) => NotificationVerdict::Accepted,
        Err(_) => NotificationVerdict::Rejected,
    };
    let answer = channel.notification_answer(verdict);
    (StatusCode::from_u16(answer.code).unwrap(), answer.body)
}

struct Bench {
    control: SimulatorControl,
    receiver: Arc<Receiver>,
    notify_url: String,
    _simulator: Simulator,
}

impl Bench {
    async fn build(faults: FaultRates) -> Bench {
        let (clock, secret) = (Clock::system(), SecretString::from("shared"));
        let mut config = SimulatorConfig::new(([127, 0, 0, 1], 0).into(), secret.clone());
        config.wechat_pay = Some(WECHAT.clone());
        config.alipay = Some(ALIPAY.clone());
        config.faults = faults;
        config.retry = RetryPolicy {
            pause_first: Duration::from_millis(5),
            ..RetryPolicy::default()
        };
        let simulator = Simulator::start(config, clock.clone()).await.unwrap();
        let base_url = simulator.base_url();
        let webhook = WebhookConfig {
            id: "webhook".into(),
            base_url: base_url.clone(),
            secret,
        };
        let wechat = WECHAT.config("wechat", &base_url).unwrap();
        let alipay = ALIPAY.channel("alipay", &base_url).unwrap();
        let receiver = Arc::new(Receiver {
            channels: [
                Arc::new(WebhookChannel::try_new(webhook, clock.clone()).unwrap()),
                Arc::new(WechatPayChannel::try_new(&wechat, clock.clone()).unwrap()),
                Arc::new(AlipayChannel::try_new(alipay, clock.clone()).unwrap()),
            ],
            clock,
            believed: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let notify_url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/{face}", post(receive))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Bench {
            control: SimulatorControl::try_new(base_url).unwrap(),
            receiver,
            notify_url,
            _simulator: simulator,
        }
    }

    fn channel(&self, face: usize) -> &dyn Channel {
        self.receiver.channels[face].as_ref()
    }

    fn order(&self, face: usize, number: &str) -> NewPayment {
        NewPayment {
            order_number: number.into(),
            amount: cny("100.00"),
            description: "remittance".into(),
            expires_at: self.receiver.clock.now() + Duration::from_secs(1800),
            notify_url: format!("{}/{face}", self.notify_url),
            method: PaymentMethod::Link,
        }
    }

    async fn open(&self, face: usize, number: &str) {
        let order = self.order(face, number);
        self.channel(face).create_payment(&order).await.unwrap();
    }

    async fn pay(&self, number: &str, options: PayOptions) {
        self.control.pay(number, &options).await.unwrap();
    }

    async fn delivered(&self) -> Vec<Delivery> {
        let delivered = self.control.wait_for_deliveries(Duration::from_secs(60)).await;
        delivered.unwrap()
    }

    /// An order that is paid, and the refund of 30.00 of it.
    async fn to_refund(&self, face: usize, number: &str) -> NewRefund {
        let order = format!("1-R{face}{number}");
        self.open(face, &order).await;
        self.pay(&order, PayOptions::default()).await;
        let paid = self.channel(face).query_payment(&order).await.unwrap();
        let PaymentState::Paid {
            gateway_transaction, ..
        } = paid
        else {
            panic!("{paid:?}")
        };
        NewRefund {
            refund_number: format!("F{face}-{number}"),
            order_number: order,
            gateway_transaction,
            amount: cny("30.00"),
            total: cny("100.00"),
            notify_url: format!("{}/{face}", self.notify_url),
        }
    }

    async fn refund_state(&self, face: usize, refund: &NewRefund) -> RefundState {
        let channel = self.channel(face);
        let state = channel.query_refund(&refund.order_number, &refund.refund_number).await;
        state.unwrap()
    }

    /// Waits until a refund has an outcome, or is abnormal.
    async fn ended(&self, face: usize, refund: &NewRefund) -> RefundState {
        for _ in 0..500 {
            let state = self.refund_state(face, refund).await;
            if !matches!(state, RefundState::Processing | RefundState::Unknown) {
                return state;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("refund {} has no outcome", refund.refund_number)
    }
}

/// Of what a delivery is, and what has befallen it.
fn fate(delivery: &Delivery) -> (String, bool, bool) {
    let is_lost = delivery.state == DeliveryState::Lost;
    (delivery.subject.clone(), is_lost, delivery.corrupted)
}

async fn storm(seed: u64) -> Vec<(String, bool, bool)> {
    let bench = Bench::build(FaultRates {
        seed,
        lose_per_mille: 200,
        duplicate_per_mille: 300,
        reorder_per_mille: 200,
        delay_per_mille: 200,
        delay_max_ms: 50,
        corrupt_per_mille: 300,
        ..FaultRates::default()
    })
    .await;
    for face in 0..FACES.len() {
        for number in 0..20 {
            let order = format!("1-R{face}{number:06}");
            bench.open(face, &order).await;
            bench.pay(&order, PayOptions::default()).await;
        }
    }
    let deliveries = bench.delivered().await;
    let believed: BTreeSet<String> = bench.receiver.believed.lock().unwrap().iter().cloned().collect();
    let lost = deliveries
        .iter()
        .filter(|delivery| delivery.state == DeliveryState::Lost);
    assert_eq!(
        believed.len() + lost.count(),
        60,
        "each is lost, or believed in the end"
    );
    for delivery in deliveries
        .iter()
        .filter(|delivery| delivery.state != DeliveryState::Lost)
    {
        assert_eq!(delivery.state, DeliveryState::Accepted);
        // What was corrupted is refused once, and believed when it is repeated.
        assert_eq!(
            delivery.attempts.len(),
            1 + usize::from(delivery.corrupted),
            "{delivery:?}"
        );
    }
    let mut fates: Vec<_> = deliveries.iter().map(fate).collect();
    fates.sort();
    fates
}

#[tokio::test(flavor = "multi_thread")]
async fn one_seed_breaks_the_same_notifications_of_every_gateway() {
    let first = storm(1).await;
    for face in ["1_R2", "1-R1", "1-R0"] {
        let of = |is: fn(&&(String, bool, bool)) -> bool| {
            let own = first.iter().filter(|fate| fate.0.starts_with(face) && is(fate));
            own.count()
        };
        assert!(of(|fate| fate.1) > 0 && of(|fate| fate.2) > 0, "{face}: {first:?}");
        assert!(of(|_| true) > 20, "{face}: some are sent oftener");
    }
    assert_eq!(storm(1).await, first);
    assert_ne!(storm(2).await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_lets_a_later_one_go_first() {
    let bench = Bench::build(FaultRates::default()).await;
    for face in 0..FACES.len() {
        for number in ["1", "2"] {
            bench.open(face, &format!("1-R{face}00000{number}")).await;
        }
        let behind = PayOptions {
            reorder: true,
            ..PayOptions::default()
        };
        bench.pay(&format!("1-R{face}000001"), behind).await;
        bench.pay(&format!("1-R{face}000002"), PayOptions::default()).await;
        bench.delivered().await;
        let believed = std::mem::take(&mut *bench.receiver.believed.lock().unwrap());
        assert_eq!(believed, [format!("1-R{face}000002"), format!("1-R{face}000001")]);
    }
    // Without a later one it goes all the same.
    let alone = PayOptions {
        reorder: true,
        again: true,
        ..PayOptions::default()
    };
    bench.pay("1-R0000001", alone).await;
    bench.delivered().await;
    assert_eq!(*bench.receiver.believed.lock().unwrap(), ["1-R0000001"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_is_down_loses_answers_or_is_slow() {
    let bench = Bench::build(FaultRates::down()).await;
    for face in 0..FACES.len() {
        let order = bench.order(face, &format!("1-R{face}000001"));
        let down = bench.channel(face).create_payment(&order).await;
        assert!(matches!(down, Err(GatewayError::Unreachable { .. })), "{down:?}");
    }
    assert_eq!(bench.control.orders().await.unwrap(), [], "nothing was done");
    let deaf = FaultRates {
        lose_answer_per_mille: 1000,
        ..FaultRates::default()
    };
    bench.control.set_faults(&deaf).await.unwrap();
    assert_eq!(bench.control.faults().await.unwrap(), deaf);
    for face in 0..FACES.len() {
        let order = bench.order(face, &format!("1-R{face}000001"));
        let lost = bench.channel(face).create_payment(&order).await;
        assert!(matches!(lost, Err(GatewayError::Unreachable { .. })), "{lost:?}");
    }
    assert_eq!(bench.control.orders().await.unwrap().len(), 3, "each was done");
    let slow = FaultRates {
        seed: 3,
        slow_per_mille: 1000,
        slow_max_ms: 200,
        ..FaultRates::default()
    };
    bench.control.set_faults(&slow).await.unwrap();
    for face in 0..FACES.len() {
        let begun = Instant::now();
        for _ in 0..5 {
            bench
                .channel(face)
                .query_payment(&format!("1-R{face}000001"))
                .await
                .unwrap();
        }
        assert!(begun.elapsed() > Duration::from_millis(100), "{:?}", begun.elapsed());
    }
    let wrong = FaultRates {
        lose_per_mille: 1001,
        ..slow
    };
    let refused = bench.control.set_faults(&wrong).await.unwrap_err();
    assert!(refused.to_string().contains("lose_per_mille is 1001"), "{refused}");
    assert_eq!(bench.control.faults().await.unwrap(), slow);
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_of_every_gateway_wait_for_a_command_or_come_by_themselves() {
    let on_command = FaultRates {
        refunds: RefundMode::OnCommand,
        ..FaultRates::default()
    };
    let bench = Bench::build(on_command).await;
    let refused = RefundAnswer {
        failed: Some("no money".into()),
        ..RefundAnswer::default()
    };
    for face in 0..FACES.len() {
        let channel = bench.channel(face);
        for (number, answer) in [("000001", RefundAnswer::default()), ("000002", refused.clone())] {
            let refund = bench.to_refund(face, number).await;
            assert_eq!(channel.create_refund(&refund).await, Ok(RefundState::Processing));
            assert_eq!(
                channel.create_refund(&refund).await,
                Ok(RefundState::Processing),
                "again"
            );
            bench
                .control
                .answer_refund(&refund.refund_number, &answer)
                .await
                .unwrap();
            let again = channel.create_refund(&refund).await;
            match (answer.failed.is_some(), again) {
                (false, Ok(RefundState::Succeeded { .. })) | (true, Ok(RefundState::Failed { .. })) => {}
                // Alipay refuses a refund that does not work, and tells nothing of it afterwards.
                (true, Err(GatewayError::Refused { .. })) if face == 2 => {}
                other => panic!("{face}: {other:?}"),
            }
        }
    }
    let by_itself = FaultRates {
        refunds: RefundMode::ByItself,
        delay_refund_per_mille: 1000,
        refund_delay_max_ms: 300,
        ..FaultRates::default()
    };
    bench.control.set_faults(&by_itself).await.unwrap();
    for face in 0..FACES.len() {
        let refund = bench.to_refund(face, "000003").await;
        let taken = bench.channel(face).create_refund(&refund).await;
        assert_eq!(taken, Ok(RefundState::Processing), "late");
        let ended = bench.ended(face, &refund).await;
        assert!(matches!(ended, RefundState::Succeeded { .. }), "{ended:?}");
    }
    let refused = FaultRates {
        refuse_refund_per_mille: 1000,
        ..by_itself
    };
    bench.control.set_faults(&refused).await.unwrap();
    for face in 0..2 {
        let refund = bench.to_refund(face, "000004").await;
        bench.channel(face).create_refund(&refund).await.unwrap();
        let ended = bench.ended(face, &refund).await;
        assert!(matches!(ended, RefundState::Failed { .. }), "{ended:?}");
    }
    let stranded = FaultRates {
        refuse_refund_per_mille: 0,
        strand_refund_per_mille: 1000,
        ..refused
    };
    bench.control.set_faults(&stranded).await.unwrap();
    let refund = bench.to_refund(1, "000005").await;
    bench.channel(1).create_refund(&refund).await.unwrap();
    let ended = bench.ended(1, &refund).await;
    assert!(matches!(ended, RefundState::Abnormal { .. }), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_tell_every_payment_and_refund_of_every_gateway() {
    let bench = Bench::build(FaultRates {
        refunds: RefundMode::OnCommand,
        ..FaultRates::default()
    })
    .await;
    for (face, played) in FACES.into_iter().enumerate() {
        let options = |change: fn(&mut PayOptions)| {
            let mut options = PayOptions::default();
            change(&mut options);
            options
        };
        for (number, how) in [
            ("000011", options(|how| how.wrong_amount = Some("99.00".into()))),
            ("000012", options(|how| how.late = true)),
            ("000013", options(|how| how.payer = Some("payer-7".into()))),
        ] {
            let order = format!("1-R{face}{number}");
            bench.open(face, &order).await;
            bench.pay(&order, how).await;
        }
        bench
            .pay(&format!("1-R{face}000013"), options(|how| how.again = true))
            .await;
        bench.open(face, &format!("1-R{face}000014")).await;
        let done = bench.to_refund(face, "000015").await;
        let open = bench.to_refund(face, "000016").await;
        for refund in [&done, &open] {
            bench.channel(face).create_refund(refund).await.unwrap();
        }
        let succeeded = RefundAnswer::default();
        bench
            .control
            .answer_refund(&done.refund_number, &succeeded)
            .await
            .unwrap();

        let books = bench.control.books().await.unwrap();
        let books = &books.gateways[&played];
        let numbers: Vec<&str> = books.orders.iter().map(|order| &order.order_number[4..]).collect();
        assert_eq!(numbers, ["000011", "000012", "000013", "000014", "000015", "000016"]);
        assert!(books.orders.iter().all(|order| order.order_number.starts_with("1-R")));
        let payments: Vec<usize> = books.orders.iter().map(|order| order.payments.len()).collect();
        assert_eq!(payments, [1, 1, 2, 0, 1, 1]);
        let refunds: Vec<&str> = books
            .refunds
            .iter()
            .map(|refund| refund.refund_number.as_str())
            .collect();
        assert_eq!(refunds, [&done.refund_number, &open.refund_number]);
        let totals = &books.totals["CNY"];
        let told = [&totals.paid, &totals.refunded, &totals.on_the_way_back, &totals.held];
        assert_eq!(told, ["599.00", "30.00", "30.00", "569.00"]);
    }
    assert_eq!(bench.control.books().await.unwrap().gateways.len(), 3);
}
