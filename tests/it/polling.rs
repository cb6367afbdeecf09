//! Asking gateways, one of which hangs or is down, beside one that works: only its own orders wait.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use custody_ledger::{
    clock::Clock,
    gateway::{
        Channels, Gate, PaymentMethod,
        simulator::{Simulator, SimulatorConfig, SimulatorControl, control::PayOptions, faults::FaultRates},
        webhook::{WebhookChannel, WebhookConfig},
    },
    ids::PayerId,
    jobs::{polling, status::Watched},
    refund::Refunds,
    remittance::{LegState, METHOD, NewRemittance, Remittance, Remittances, order_number},
};
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::world::{World, cny, id, register_payer, request_with};

/// More orders than are asked about at once.
const ORDERS: usize = 12;

struct Bench {
    world: World,
    clock: Clock,
    remittances: Remittances,
    refunds: Refunds,
    controls: [SimulatorControl; 2],
    _simulators: [Simulator; 2],
}

impl Bench {
    /// Channels `bad` and `good`, each with a gateway of its own.
    async fn build() -> Bench {
        let clock = Clock::system();
        let world = World::build_with(clock.clone(), 4096).await;
        let mut gates = Vec::new();
        let mut simulators = Vec::new();
        for name in ["bad", "good"] {
            let secret = SecretString::from("shared");
            let config = SimulatorConfig::new(([127, 0, 0, 1], 0).into(), secret.clone());
            let simulator = Simulator::start(config, clock.clone()).await.unwrap();
            let config = WebhookConfig {
                id: name.into(),
                base_url: simulator.base_url(),
                secret,
            };
            let channel = WebhookChannel::try_new(config, clock.clone()).unwrap();
            gates.push(Gate::new(Arc::new(channel), String::new()));
            simulators.push(simulator);
        }
        let channels = Channels::new(gates);
        let (lanes, custody) = (world.process.lanes.clone(), world.process.custody.clone());
        register_payer(&world.process, &world.center, "P1", &["D1"]).await;
        let control = |simulator: &Simulator| SimulatorControl::try_new(simulator.base_url()).unwrap();
        Bench {
            remittances: Remittances::new(lanes.clone(), custody.clone(), channels.clone()),
            refunds: Refunds::new(lanes, custody, channels),
            controls: [control(&simulators[0]), control(&simulators[1])],
            _simulators: simulators.try_into().ok().unwrap(),
            world,
            clock,
        }
    }

    async fn paid_unheard(&self, channel: usize) -> Remittance {
        let new = NewRemittance {
            request: request_with(Uuid::new_v4(), METHOD, b"1.00"),
            payer: PayerId::parse("P1").unwrap(),
            detainee: id("D1"),
            amount: cny("1.00"),
            channel: Some(["bad", "good"][channel].into()),
            method: PaymentMethod::Link,
        };
        let (made, _) = self.remittances.create(&self.world.center, new).await.unwrap();
        let lost = PayOptions {
            lose: true,
            ..PayOptions::default()
        };
        let number = order_number(self.world.center.no, &made.id);
        self.controls[channel].pay(&number, &lost).await.unwrap();
        made
    }

    async fn all_due(&self) {
        let mut conn = self.world.process.database.lane.acquire().await.unwrap();
        sqlx::query("update remittance_poll set next_at = now() - interval '1 hour'")
            .execute(&mut *conn)
            .await
            .unwrap();
    }

    async fn state(&self, remittance: &Remittance) -> LegState {
        let found = self.remittances.remittance(&self.world.center, &remittance.id).await;
        found.unwrap().state()
    }

    async fn is_credited_within(&self, remittances: &[Remittance], limit: Duration) -> bool {
        let until = Instant::now() + limit;
        loop {
            let mut open = 0;
            for remittance in remittances {
                open += usize::from(self.state(remittance).await != LegState::Credited);
            }
            if open == 0 || Instant::now() >= until {
                return open == 0;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_hangs_costs_only_its_own_orders() {
    let bench = Bench::build().await;
    // The bad gateway's orders are the older ones, and more than one look asks about at once.
    let (mut bad, mut good) = (Vec::new(), Vec::new());
    for _ in 0..ORDERS {
        bad.push(bench.paid_unheard(0).await);
    }
    for _ in 0..3 {
        good.push(bench.paid_unheard(1).await);
    }
    let hanging = FaultRates {
        slow_per_mille: 1000,
        slow_max_ms: 60_000,
        seed: 1,
        ..FaultRates::default()
    };
    bench.controls[0].set_faults(&hanging).await.unwrap();
    bench.all_due().await;
    let stop = CancellationToken::new();
    let process = &bench.world.process;
    let watched = Watched::new(process.database.clone(), bench.clock.clone());
    let jobs = polling::run(
        bench.remittances.clone(),
        bench.refunds.clone(),
        process.custody.clone(),
        watched,
        stop.clone(),
    );
    let jobs = tokio::spawn(jobs);
    // A call to the hanging one is given up after five seconds.
    assert!(bench.is_credited_within(&good, Duration::from_secs(4)).await);
    let mut waiting = 0;
    for remittance in &bad {
        waiting += usize::from(bench.state(remittance).await == LegState::Pending);
    }
    assert!(waiting > ORDERS / 2, "the gateway does not hang: {waiting}");
    // While it hangs, the working one goes on being asked.
    let later = bench.paid_unheard(1).await;
    bench.all_due().await;
    assert!(bench.is_credited_within(&[later], Duration::from_secs(8)).await);
    // Once it is up again, its own orders are found, too.
    bench.controls[0].set_faults(&FaultRates::default()).await.unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while !bench.is_credited_within(&bad, Duration::from_secs(5)).await {
        assert!(Instant::now() < until, "they are never asked about again");
        bench.all_due().await;
    }
    stop.cancel();
    jobs.await.unwrap();
    assert_eq!(bench.world.available("D1").await, "16.00");
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_a_channel_that_is_no_longer_configured_is_still_looked_at() {
    let bench = Bench::build().await;
    let orders = [bench.paid_unheard(0).await, bench.paid_unheard(1).await];
    bench.all_due().await;
    // The process was started anew without the bad one.
    let good = bench.remittances.channels().get("good").unwrap().clone();
    let process = &bench.world.process;
    let remittances = Remittances::new(process.lanes.clone(), process.custody.clone(), Channels::new([good]));
    let open = polling::Open::Remittances(remittances);
    assert_eq!(polling::look(&open, &process.custody).await, 2);
    assert_eq!(bench.state(&orders[0]).await, LegState::Pending);
    assert_eq!(bench.state(&orders[1]).await, LegState::Credited);
}
