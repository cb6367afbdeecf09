//! The channel against the simulator, over real HTTP on loopback.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use secrecy::SecretString;
use time::{UtcOffset, macros::offset};
use tokio::net::TcpListener;

use super::{
    RetryPolicy, Simulator, SimulatorConfig, SimulatorControl,
    control::{BillChange, BillEntry, ControlError, Delivery, DeliveryState, NotifyOptions, PayOptions, RefundAnswer},
};
use crate::{
    clock::Clock,
    gateway::{
        BillKind, BillRow, Channel, GatewayError, NewPayment, NewRefund, Notification, NotificationError,
        NotificationVerdict, PaymentMethod, PaymentState, RefundState,
        bill::BillRecord,
        webhook::{WebhookChannel, WebhookConfig},
    },
    money::{Amount, Currency},
};

const BEIJING: UtcOffset = offset!(+8);

/// What the service would be: takes notifications, answers as the channel says, or fails so many times first.
struct Receiver {
    channel: WebhookChannel,
    clock: Clock,
    failures: AtomicU32,
    seen: Mutex<Vec<Result<Notification, NotificationError>>>,
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> (StatusCode, &'static str) {
    if receiver
        .failures
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
        .is_ok()
    {
        return (StatusCode::INTERNAL_SERVER_ERROR, "");
    }
    let outcome = receiver
        .channel
        .parse_notification(&headers, &body, receiver.clock.now());
    let verdict = if outcome.is_ok() {
        NotificationVerdict::Accepted
    } else {
        NotificationVerdict::Rejected
    };
    receiver.seen.lock().unwrap().push(outcome);
    let answer = receiver.channel.notification_answer(verdict);
    (StatusCode::from_u16(answer.code).unwrap(), answer.body)
}

struct World {
    simulator: Simulator,
    control: SimulatorControl,
    channel: Arc<dyn Channel>,
    receiver: Arc<Receiver>,
    notify_url: String,
    clock: Clock,
}

fn yuan(text: &str) -> Amount {
    Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap()
}

impl World {
    async fn start() -> World {
        let secret = SecretString::from("a secret of the tests");
        let clock = Clock::system();
        let mut config = SimulatorConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), secret.clone());
        config.retry = RetryPolicy {
            pause_first: Duration::from_millis(5),
            pause_max: Duration::from_millis(20),
            attempts_max: 4,
            answer_timeout: Duration::from_secs(2),
        };
        let simulator = Simulator::start(config, clock.clone()).await.unwrap();
        let channel = |secret| {
            let config = WebhookConfig {
                id: "webhook".into(),
                base_url: simulator.base_url(),
                secret,
            };
            WebhookChannel::try_new(config, clock.clone()).unwrap()
        };
        let receiver = Arc::new(Receiver {
            channel: channel(secret.clone()),
            clock: clock.clone(),
            failures: AtomicU32::new(0),
            seen: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let notify_url = format!("http://{}/notify", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/notify", post(receive))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let control = SimulatorControl::try_new(simulator.base_url()).unwrap();
        World {
            control,
            channel: Arc::new(channel(secret)),
            receiver,
            notify_url,
            clock,
            simulator,
        }
    }

    fn order(&self, number: &str, amount: &str) -> NewPayment {
        NewPayment {
            order_number: number.into(),
            amount: yuan(amount),
            description: "remittance".into(),
            expires_at: self.clock.now() + Duration::from_secs(1800),
            notify_url: self.notify_url.clone(),
            method: PaymentMethod::Link,
        }
    }

    async fn open(&self, number: &str, amount: &str) {
        self.channel.create_payment(&self.order(number, amount)).await.unwrap();
    }

    async fn deliveries(&self) -> Vec<Delivery> {
        self.control.wait_for_deliveries(Duration::from_secs(10)).await.unwrap()
    }

    fn seen(&self) -> Vec<Result<Notification, NotificationError>> {
        self.receiver.seen.lock().unwrap().clone()
    }

    fn seen_orders(&self) -> Vec<String> {
        let order = |outcome| match outcome {
            Ok(Notification::Payment(notice)) => notice.order_number,
            other => panic!("{other:?}"),
        };
        self.seen().into_iter().map(order).collect()
    }

    async fn bill(&self) -> Vec<BillRow> {
        let today = self.clock.now().to_offset(BEIJING).date();
        let mut rows = Vec::new();
        // The day may have ended while the test ran.
        for date in [today.previous_day().unwrap(), today] {
            rows.extend(
                self.channel
                    .parse_bill(&self.channel.fetch_bill(date).await.unwrap())
                    .unwrap(),
            );
        }
        rows
    }
}

fn refused(error: GatewayError) -> String {
    match error {
        GatewayError::Refused { code, .. } => code,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn an_order_is_opened_paid_notified_and_found() {
    let world = World::start().await;
    let order = world.order("ORDER-1", "100.00");
    let payment = world.channel.create_payment(&order).await.unwrap();
    assert_eq!(
        world.channel.create_payment(&order).await.unwrap(),
        payment,
        "repeating changes nothing"
    );
    assert_eq!(
        world.channel.query_payment("ORDER-1").await.unwrap(),
        PaymentState::Unpaid
    );
    let mut other = order.clone();
    other.amount = yuan("100.01");
    assert_eq!(
        refused(world.channel.create_payment(&other).await.unwrap_err()),
        "NUMBER_REUSED"
    );

    let paid = world.control.pay("ORDER-1", &PayOptions::default()).await.unwrap();
    let deliveries = world.deliveries().await;
    assert_eq!(deliveries.len(), 1);
    assert_eq!(
        (deliveries[0].state, deliveries[0].attempts[0].code),
        (DeliveryState::Accepted, Some(200))
    );
    let seen = world.seen();
    let [Ok(Notification::Payment(notice))] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(
        (notice.order_number.as_str(), notice.amount),
        ("ORDER-1", yuan("100.00"))
    );
    assert_eq!(
        (&notice.gateway_transaction, notice.paid_at),
        (&paid.gateway_transaction, paid.paid_at)
    );
    let state = world.channel.query_payment("ORDER-1").await.unwrap();
    let gateway_transaction = paid.gateway_transaction.clone();
    assert_eq!(
        state,
        PaymentState::Paid {
            gateway_transaction,
            amount: yuan("100.00"),
            paid_at: paid.paid_at
        }
    );
    assert_eq!(
        world.channel.close_payment("ORDER-1").await.unwrap(),
        state,
        "a paid order stays paid"
    );
    let again = world.control.pay("ORDER-1", &PayOptions::default()).await;
    assert!(matches!(again, Err(ControlError::Refused { code, .. }) if code == "ALREADY_PAID"));
    let again = PayOptions {
        again: true,
        lose: true,
        ..PayOptions::default()
    };
    let second = world.control.pay("ORDER-1", &again).await.unwrap();
    assert_ne!(second.gateway_transaction, paid.gateway_transaction);
    let page = reqwest::get(&payment.payment_url).await.unwrap().text().await.unwrap();
    assert!(page.starts_with("Order ORDER-1: 100.00 CNY, Paid."), "{page}");
    world.simulator.stop().await;
}

#[tokio::test]
async fn duplicates_carry_the_same_event_and_failures_are_repeated() {
    let world = World::start().await;
    world.open("ORDER-1", "10.00").await;
    world.receiver.failures.store(2, Ordering::SeqCst);
    let options = PayOptions {
        duplicate: 2,
        delay_ms: 10,
        ..PayOptions::default()
    };
    world.control.pay("ORDER-1", &options).await.unwrap();
    let deliveries = world.deliveries().await;
    assert_eq!(deliveries.len(), 3);
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.state == DeliveryState::Accepted)
    );
    let codes = deliveries
        .iter()
        .flat_map(|delivery| &delivery.attempts)
        .filter_map(|attempt| attempt.code);
    let (failed, accepted): (Vec<_>, Vec<_>) = codes.partition(|code| *code == 500);
    assert_eq!((failed.len(), accepted), (2, vec![200; 3]));
    let events: Vec<_> = world
        .seen()
        .into_iter()
        .map(|outcome| outcome.unwrap().event_id().to_owned())
        .collect();
    assert_eq!(events, vec![deliveries[0].event_id.clone(); 3]);
}

#[tokio::test]
async fn a_tampered_notification_is_refused_and_given_up() {
    let world = World::start().await;
    world.open("ORDER-1", "10.00").await;
    world
        .control
        .pay(
            "ORDER-1",
            &PayOptions {
                tamper: true,
                ..PayOptions::default()
            },
        )
        .await
        .unwrap();
    let deliveries = world.deliveries().await;
    assert_eq!(
        (deliveries[0].state, deliveries[0].tampered),
        (DeliveryState::GivenUp, true)
    );
    assert_eq!(
        deliveries[0]
            .attempts
            .iter()
            .map(|attempt| attempt.code)
            .collect::<Vec<_>>(),
        vec![Some(400); 4]
    );
    assert_eq!(world.seen(), vec![Err(NotificationError::BadSignature); 4]);
    // The genuine one is still to be had.
    world
        .control
        .notify("ORDER-1", &NotifyOptions::default())
        .await
        .unwrap();
    world.deliveries().await;
    assert!(matches!(world.seen().last(), Some(Ok(Notification::Payment(_)))));
}

#[tokio::test]
async fn a_lost_notification_is_found_by_query() {
    let world = World::start().await;
    world.open("ORDER-1", "10.00").await;
    world
        .control
        .pay(
            "ORDER-1",
            &PayOptions {
                lose: true,
                ..PayOptions::default()
            },
        )
        .await
        .unwrap();
    assert_eq!(world.deliveries().await[0].state, DeliveryState::Lost);
    assert_eq!(world.seen(), vec![]);
    let state = world.channel.query_payment("ORDER-1").await.unwrap();
    assert!(matches!(state, PaymentState::Paid { amount, .. } if amount == yuan("10.00")));
    let unknown = world.channel.query_payment("ORDER-2/../ORDER-1").await.unwrap();
    assert_eq!(unknown, PaymentState::Unknown);
    let unknown = world.channel.close_payment("ORDER-2").await.unwrap();
    assert_eq!(unknown, PaymentState::Unknown);
}

#[tokio::test]
async fn held_notifications_are_released_in_reverse() {
    let world = World::start().await;
    world.control.hold().await.unwrap();
    for number in ["ORDER-1", "ORDER-2", "ORDER-3"] {
        world.open(number, "10.00").await;
        world.control.pay(number, &PayOptions::default()).await.unwrap();
    }
    assert!(
        world
            .deliveries()
            .await
            .iter()
            .all(|delivery| delivery.state == DeliveryState::Held)
    );
    assert_eq!(world.control.release(true).await.unwrap(), 3);
    world.deliveries().await;
    assert_eq!(world.seen_orders(), ["ORDER-3", "ORDER-2", "ORDER-1"]);
}

#[tokio::test]
async fn a_payer_may_pay_late_or_another_amount() {
    let world = World::start().await;
    let order = world.order("ORDER-1", "10.00");
    world.channel.create_payment(&order).await.unwrap();
    assert_eq!(
        world.channel.close_payment("ORDER-1").await.unwrap(),
        PaymentState::Closed
    );
    let closed = world.control.pay("ORDER-1", &PayOptions::default()).await;
    assert!(matches!(closed, Err(ControlError::Refused { code, .. }) if code == "ORDER_CLOSED"));
    let late = PayOptions {
        late: true,
        wrong_amount: Some("9.00".into()),
        ..PayOptions::default()
    };
    let paid = world.control.pay("ORDER-1", &late).await.unwrap();
    assert!(paid.paid_at > order.expires_at);
    world.deliveries().await;
    let seen = world.seen();
    let [Ok(Notification::Payment(notice))] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(notice.amount, yuan("9.00"));
}

#[tokio::test]
async fn a_refund_is_answered_later() {
    let world = World::start().await;
    world.open("ORDER-1", "10.00").await;
    let paid = world.control.pay("ORDER-1", &PayOptions::default()).await.unwrap();
    let refund = |number: &str, amount: &str| NewRefund {
        refund_number: number.into(),
        order_number: "ORDER-1".into(),
        gateway_transaction: paid.gateway_transaction.clone(),
        amount: yuan(amount),
        total: yuan("10.00"),
        notify_url: world.notify_url.clone(),
    };
    assert_eq!(
        world.channel.query_refund("ORDER-1", "REFUND-1").await.unwrap(),
        RefundState::Unknown
    );
    for _ in 0..2 {
        let state = world.channel.create_refund(&refund("REFUND-1", "6.00")).await.unwrap();
        assert_eq!(state, RefundState::Processing);
    }
    let too_much = world
        .channel
        .create_refund(&refund("REFUND-2", "4.01"))
        .await
        .unwrap_err();
    assert_eq!(refused(too_much), "REFUND_TOO_LARGE");
    world.channel.create_refund(&refund("REFUND-2", "4.00")).await.unwrap();

    world
        .control
        .answer_refund("REFUND-1", &RefundAnswer::default())
        .await
        .unwrap();
    let failed = RefundAnswer {
        failed: Some("card closed".into()),
        ..RefundAnswer::default()
    };
    world.control.answer_refund("REFUND-2", &failed).await.unwrap();
    world.deliveries().await;
    let first = world.channel.query_refund("ORDER-1", "REFUND-1").await.unwrap();
    assert!(matches!(first, RefundState::Succeeded { .. }));
    let second = world.channel.query_refund("ORDER-1", "REFUND-2").await.unwrap();
    assert_eq!(
        second,
        RefundState::Failed {
            reason: "card closed".into()
        }
    );
    let notices = world.seen().into_iter().filter_map(|outcome| match outcome {
        Ok(Notification::Refund(notice)) => Some((notice.refund_number, notice.state)),
        _ => None,
    });
    let mut notices: Vec<_> = notices.collect();
    notices.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        notices,
        [("REFUND-1".to_owned(), first), ("REFUND-2".to_owned(), second)]
    );
    let rows = world.bill().await;
    let kinds: Vec<_> = rows.iter().map(|row| (row.kind, row.amount, row.fee)).collect();
    let expected = [
        (BillKind::Payment, yuan("10.00"), yuan("0.06")),
        (BillKind::Refund, yuan("6.00"), yuan("0.00")),
    ];
    assert_eq!(kinds, expected, "a failed refund is not billed");
}

#[tokio::test]
async fn the_bill_shows_what_is_planted_in_it() {
    let world = World::start().await;
    for (number, amount) in [
        ("ORDER-1", "1.66"),
        ("ORDER-2", "200.00"),
        ("ORDER-3", "3.00"),
        ("ORDER-4", "4.00"),
    ] {
        world.open(number, amount).await;
        world
            .control
            .pay(
                number,
                &PayOptions {
                    lose: true,
                    ..PayOptions::default()
                },
            )
            .await
            .unwrap();
    }
    world.open("ORDER-5", "5.00").await;
    let plain = world.bill().await;
    assert_eq!(
        plain.iter().map(|row| row.fee).collect::<Vec<_>>(),
        ["0.01", "1.20", "0.02", "0.02"].map(yuan)
    );

    let planted = BillRecord {
        kind: BillKind::Payment,
        order_number: "STRANGER".into(),
        refund_number: String::new(),
        gateway_id: "pay_planted".into(),
        amount: "66.00".into(),
        fee: "0.39".into(),
        currency: "CNY".into(),
        time: plain[0]
            .time
            .format(&time::format_description::well_known::Rfc3339)
            .unwrap(),
    };
    world.control.plant_bill_row(&planted).await.unwrap();
    world
        .control
        .drop_bill_row(&BillEntry::payment("ORDER-2"))
        .await
        .unwrap();
    let change = BillChange {
        entry: BillEntry::payment("ORDER-3"),
        amount: "3.50".into(),
    };
    world.control.change_bill_amount(&change).await.unwrap();
    world
        .control
        .duplicate_bill_row(&BillEntry::payment("ORDER-4"))
        .await
        .unwrap();
    let mut rows: Vec<_> = world
        .bill()
        .await
        .into_iter()
        .map(|row| (row.order_number, row.amount.to_string()))
        .collect();
    rows.sort();
    let expected = [
        ("ORDER-1", "1.66"),
        ("ORDER-3", "3.50"),
        ("ORDER-4", "4.00"),
        ("ORDER-4", "4.00"),
        ("STRANGER", "66.00"),
    ];
    assert_eq!(
        rows,
        expected.map(|(number, amount)| (number.to_owned(), amount.to_owned()))
    );
    assert!(world.control.drop_bill_row(&BillEntry::refund("NOBODY")).await.is_err());
}

#[tokio::test]
async fn a_clock_of_its_own_can_be_turned() {
    let world = World::start().await;
    let tomorrow = world.clock.now() + Duration::from_secs(86_400);
    let refused = world.control.turn_clock(tomorrow).await.unwrap_err();
    assert!(matches!(refused, ControlError::Refused { .. }), "{refused}");

    let clock = Clock::starting_at(world.clock.now());
    let config = SimulatorConfig::new(SocketAddr::from(([127, 0, 0, 1], 0)), SecretString::from("s"));
    let simulator = Simulator::start(config, clock.clone()).await.unwrap();
    let control = SimulatorControl::try_new(simulator.base_url()).unwrap();
    control.turn_clock(tomorrow).await.unwrap();
    assert!(clock.now() >= tomorrow);
}

#[tokio::test]
async fn a_gateway_that_is_away_or_does_not_know_us_is_told_apart() {
    let world = World::start().await;
    let channel_by = |base_url: String, secret: &str, clock: Clock| {
        let config = WebhookConfig {
            id: "webhook".into(),
            base_url,
            secret: SecretString::from(secret),
        };
        WebhookChannel::try_new(config, clock)
    };
    let channel = |base_url: String, secret: &str| channel_by(base_url, secret, world.clock.clone());
    // Neither a wrong secret nor a wrong clock says anything about an order.
    let an_hour_ahead = Clock::starting_at(world.clock.now() + Duration::from_secs(3600));
    for stranger in [
        channel(world.simulator.base_url(), "another secret").unwrap(),
        channel_by(world.simulator.base_url(), "a secret of the tests", an_hour_ahead).unwrap(),
    ] {
        for error in [
            stranger.query_payment("ORDER-1").await.unwrap_err(),
            stranger.close_payment("ORDER-1").await.unwrap_err(),
            stranger
                .create_payment(&world.order("ORDER-1", "1.00"))
                .await
                .unwrap_err(),
        ] {
            let told = error.to_string();
            assert!(matches!(error, GatewayError::NotLetIn { .. }), "{told}");
            assert!(told.contains("UNSIGNED"), "{told}");
        }
    }
    let away = channel("http://127.0.0.1:1".into(), "s").unwrap();
    let error = away.create_payment(&world.order("ORDER-1", "1.00")).await.unwrap_err();
    assert!(matches!(error, GatewayError::Unreachable { .. }), "{error}");
    let html = channel(world.notify_url.clone(), "s").unwrap();
    let error = html.query_payment("ORDER-1").await.unwrap_err();
    assert!(matches!(error, GatewayError::Malformed { .. }), "{error}");
    assert!(channel("ftp://gateway".into(), "s").is_err());
}
