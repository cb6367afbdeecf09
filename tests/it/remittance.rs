//! Remittances against the simulated gateway: paid, lost, late, forged, twice, to somebody who has left.

use std::{sync::Arc, time::Duration};

use custody_ledger::{
    api::http::Notifications,
    clock::Clock,
    custody::Settings,
    distribution::{Distributions, NewCourtOrder, NewPolicy, parse_percent},
    gateway::{
        Channels, Gate, PaymentMethod,
        simulator::{Simulator, SimulatorConfig, SimulatorControl, control::PayOptions},
        webhook::{WebhookChannel, WebhookConfig},
    },
    ids::{CourtOrderId, PayerId, RequestId},
    jobs::polling::{self, Open},
    ledger::Request,
    refund::Refunds,
    remittance::{CreditRemittance, Learnt, LegState, NewRemittance, Remittance, Remittances, order_number},
};
use secrecy::SecretString;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::{
    others,
    world::{World, buy, cny, id, new_center, reason, register_payer, request},
};

struct Bench {
    world: World,
    remittances: Remittances,
    distributions: Distributions,
    control: SimulatorControl,
    _simulator: Simulator,
}

fn payer() -> PayerId {
    PayerId::parse("P1").unwrap()
}

impl Bench {
    async fn build() -> Bench {
        let world = World::build().await;
        let secret = SecretString::from("shared");
        let listen = ([127, 0, 0, 1], 0).into();
        let config = SimulatorConfig::new(listen, secret.clone());
        let simulator = Simulator::start(config, Clock::system()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = WebhookConfig {
            id: "webhook".into(),
            base_url: simulator.base_url(),
            secret,
        };
        let gate = Gate::new(
            Arc::new(WebhookChannel::try_new(config, Clock::system()).unwrap()),
            format!("http://{}/v1/notifications/webhook", listener.local_addr().unwrap()),
        );
        let (lanes, custody) = (world.process.lanes.clone(), world.process.custody.clone());
        let remittances = Remittances::new(lanes.clone(), custody.clone(), Channels::new([gate]));
        let door = Notifications::new(remittances.clone(), None, Clock::system()).router();
        tokio::spawn(async move { axum::serve(listener, door).await });
        let center = &world.center;
        register_payer(&world.process, center, "P1", &["D1", "D2"]).await;
        Bench {
            distributions: Distributions::new(lanes, custody),
            control: SimulatorControl::try_new(simulator.base_url()).unwrap(),
            _simulator: simulator,
            remittances,
            world,
        }
    }

    fn asked(&self, request: Uuid, detainee: &str, amount: &str) -> NewRemittance {
        NewRemittance {
            request: Request {
                id: RequestId(request),
                method: "custody.v1.RemittanceService/CreateRemittance",
                body: Vec::new(),
                actor: "payer/P1".into(),
            },
            payer: payer(),
            detainee: id(detainee),
            amount: cny(amount),
            channel: None,
            method: PaymentMethod::Link,
        }
    }

    async fn create(&self, detainee: &str, amount: &str) -> Remittance {
        let new = self.asked(Uuid::new_v4(), detainee, amount);
        let (remittance, replayed) = self.remittances.create(&self.world.center, new).await.unwrap();
        assert!(!replayed);
        assert_eq!(remittance.state(), LegState::Pending);
        remittance
    }

    async fn pay(&self, remittance: &Remittance, options: PayOptions) {
        let number = order_number(self.world.center.no, &remittance.id);
        self.control.pay(&number, &options).await.unwrap();
        let wait = Duration::from_secs(20);
        // A forged one is never accepted, and so is still being sent.
        let _ = self
            .control
            .wait_for_deliveries(if options.tamper { wait / 20 } else { wait })
            .await;
    }

    async fn state(&self, remittance: &Remittance) -> LegState {
        let found = self.remittances.remittance(&self.world.center, &remittance.id).await;
        found.unwrap().state()
    }

    async fn rejected(&self) -> Vec<String> {
        let mut conn = self.world.process.database.read.acquire().await.unwrap();
        sqlx::query_scalar("select reason from rejected_notification order by reason")
            .fetch_all(&mut *conn)
            .await
            .unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paid_remittance_is_split_once_however_often_it_is_told() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    let percent = parse_percent("10").unwrap();
    bench
        .distributions
        .update_policy(center, NewPolicy::saving(percent, Some(cny("15"))), Some(1), "test")
        .await
        .unwrap();
    let order = NewCourtOrder {
        id: CourtOrderId::parse("C1").unwrap(),
        detainee: id("D1"),
        document: "2031-7".into(),
        total: cny("30"),
        rank: None,
    };
    bench
        .distributions
        .create_court_order(center, order, "test")
        .await
        .unwrap();

    let first = bench.create("D1", "100").await;
    bench
        .pay(
            &first,
            PayOptions {
                duplicate: 3,
                ..PayOptions::default()
            },
        )
        .await;
    assert_eq!(bench.state(&first).await, LegState::Credited);
    let second = bench.create("D1", "100").await;
    bench.pay(&second, PayOptions::default()).await;
    assert_eq!(bench.state(&second).await, LegState::Credited);

    let balances = bench.world.process.custody.balances(center, &id("D1")).await.unwrap();
    assert_eq!((balances.available, balances.savings), (cny("155"), cny("15")));
    let orders = bench.distributions.court_orders(center, &id("D1")).await.unwrap();
    assert_eq!(orders[0].order.collected, cny("30"));
    assert_eq!(bench.world.verified().await, 2);
    assert!(bench.rejected().await.is_empty());
}

/// Whoever learnt of a payment a moment too late asks for the same credit in a later batch, here or in another process. The
/// leg's own key meets the repetition before the journal's does; that is no failure, and no neighbour in the batch has one.
#[tokio::test(flavor = "multi_thread")]
async fn a_credit_asked_for_again_in_a_later_batch_is_a_replay() {
    let bench = Bench::build().await;
    let (center, process) = (&bench.world.center, &bench.world.process);
    let remittance = bench.create("D1", "50").await;
    bench.pay(&remittance, PayOptions::default()).await;
    let paid = bench.remittances.remittance(center, &remittance.id).await.unwrap();
    assert_eq!(paid.state(), LegState::Credited);
    let number = order_number(center.no, &paid.id);
    let (_, order) = bench.remittances.order(&number).await.unwrap().unwrap();
    for lanes in [&process.lanes, &bench.world.another_process().lanes] {
        let command = CreditRemittance::of(&order, paid.payment().unwrap(), Learnt::ByQuery);
        let (again, bought) = tokio::join!(
            lanes.submit(center, command),
            buy(process, center, Uuid::new_v4(), "D1", &[("RICE", 1)])
        );
        let again = again.unwrap();
        assert_eq!((again.replayed, Some(again.seq())), (true, paid.seq()));
        assert!(!bought.unwrap().replayed);
    }
    assert_eq!(bench.world.available("D1").await, "45.00");
    assert_eq!(bench.world.verified().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_notification_is_found_by_asking_and_a_forged_one_changes_nothing() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    let lost = bench.create("D1", "50").await;
    bench
        .pay(
            &lost,
            PayOptions {
                lose: true,
                ..PayOptions::default()
            },
        )
        .await;
    assert_eq!(bench.state(&lost).await, LegState::Pending);
    let found = bench.remittances.refresh(center, &lost.id).await.unwrap();
    assert_eq!(found.state(), LegState::Credited);

    let other = bench.create("D2", "60").await;
    let options = PayOptions {
        wrong_amount: Some("59.99".into()),
        ..PayOptions::default()
    };
    bench.pay(&other, options).await;
    assert_eq!(bench.state(&other).await, LegState::Pending);

    let forged = bench.create("D1", "60").await;
    bench
        .pay(
            &forged,
            PayOptions {
                tamper: true,
                ..PayOptions::default()
            },
        )
        .await;
    assert_eq!(bench.state(&forged).await, LegState::Pending);
    assert_eq!(bench.rejected().await, ["bad_signature", "other_amount"]);
    assert_eq!(bench.world.verified().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn money_for_somebody_who_has_left_waits_in_suspense() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    let remittance = bench.create("D2", "70").await;
    let (lanes, custody) = (bench.world.process.lanes.clone(), bench.world.process.custody.clone());
    let refunds = Refunds::new(lanes, custody, Channels::default());
    let leaves = request("test/Release", b"");
    refunds
        .request_release(center, leaves, others::maker(), id("D2"), "cash desk".into())
        .await
        .unwrap();
    bench.pay(&remittance, PayOptions::default()).await;
    assert_eq!(bench.state(&remittance).await, LegState::Suspended);
    assert_eq!(bench.world.available("D2").await, "0.00");
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_makes_one_remittance_and_the_cap_counts_what_is_in_flight() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    let request = Uuid::new_v4();
    let first = bench
        .remittances
        .create(center, bench.asked(request, "D1", "900"))
        .await;
    let (again, replayed) = bench
        .remittances
        .create(center, bench.asked(request, "D1", "900"))
        .await
        .unwrap();
    assert_eq!((first.unwrap().0.id, true), (again.id, replayed));
    for _ in 0..4 {
        bench.create("D1", "1000").await;
    }
    let refused = |detainee, amount| {
        let new = bench.asked(Uuid::new_v4(), detainee, amount);
        let remittances = bench.remittances.clone();
        async move { reason(&remittances.create(center, new).await.unwrap_err()) }
    };
    assert_eq!(refused("D1", "100.01").await, "BALANCE_CAP_EXCEEDED");
    assert_eq!(refused("D2", "1000.01").await, "REMITTANCE_LIMIT_EXCEEDED");
    assert_eq!(refused("D3", "1").await, "PAYER_NOT_LINKED");
    bench.create("D1", "100").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_paid_in_time_is_closed_and_a_late_payment_is_still_taken() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    let hurry = |settings| {
        Ok(Settings {
            quote_ttl_s: 1,
            ..settings
        })
    };
    bench
        .world
        .process
        .custody
        .change_settings(&center.id, "admin/root", hurry)
        .await
        .unwrap();
    let remittance = bench.create("D1", "80").await;
    assert_eq!(bench.remittances.poll_due(center, 10).await.unwrap(), 0, "not due yet");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut conn = bench.world.process.database.lane.acquire().await.unwrap();
    sqlx::query("update remittance_poll set next_at = now()")
        .execute(&mut *conn)
        .await
        .unwrap();
    drop(conn);
    assert_eq!(bench.remittances.poll_due(center, 10).await.unwrap(), 1);
    assert_eq!(bench.state(&remittance).await, LegState::Expired);
    assert_eq!(bench.remittances.poll_due(center, 10).await.unwrap(), 0);

    let late = PayOptions {
        late: true,
        ..PayOptions::default()
    };
    bench.pay(&remittance, late).await;
    assert_eq!(bench.state(&remittance).await, LegState::Credited);
    assert_eq!(bench.world.available("D1").await, "80.00");
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_in_one_center_or_row_keeps_no_other_from_being_asked() {
    let bench = Bench::build().await;
    let (process, first) = (&bench.world.process, &bench.world.center);
    let second = new_center(process, "C2").await;
    register_payer(process, &second, "P1", &["D1"]).await;
    let new = bench.asked(Uuid::new_v4(), "D1", "80");
    let (remittance, _) = bench.remittances.create(&second, new).await.unwrap();
    let lost = PayOptions {
        lose: true,
        ..PayOptions::default()
    };
    bench
        .control
        .pay(&order_number(second.no, &remittance.id), &lost)
        .await
        .unwrap();
    let mut conn = process.database.lane.acquire().await.unwrap();
    // In the first center what cannot even be read; in the second a row of nothing, asked about before the other.
    for (center, remittance) in [(first.no, "no id!"), (second.no, "R0")] {
        sqlx::query(
            "insert into remittance_poll (center_id, remittance_id, attempts, next_at) values ($1, $2, 0, now())",
        )
        .bind(center.0)
        .bind(remittance)
        .execute(&mut *conn)
        .await
        .unwrap();
    }
    sqlx::query("update remittance_poll set next_at = now() - interval '1 hour'")
        .execute(&mut *conn)
        .await
        .unwrap();
    drop(conn);
    assert!(bench.remittances.poll_due(first, 10).await.is_err());
    sqlx::query("update remittance_poll set next_at = now() - interval '1 hour'")
        .execute(&mut *process.database.lane.acquire().await.unwrap())
        .await
        .unwrap();
    let open = Open::Remittances(bench.remittances.clone());
    assert_eq!(polling::look(&open, &process.custody).await, 2);
    let credited = bench.remittances.remittance(&second, &remittance.id).await.unwrap();
    assert_eq!(credited.state(), LegState::Credited);
}
