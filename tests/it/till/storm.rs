//! The storm: many terminals at once, with clocks that are wrong, killed by chance, through networks that break by chance, with and
//! without the network, against a service that is killed, too. Every receipt is in the ledger exactly once, every sale of the ledger has
//! its receipt, no receipt has two originals, money adds up, and the proof holds.
//!
//! `CUSTODY_STORM_TERMINALS` says how many (6), `CUSTODY_STORM_STEPS` how much each does (8), `CUSTODY_STORM_SEED` repeats one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
    time::Duration,
};

use custody_ledger::{
    access::{Role, Scope},
    money::Amount,
    proto::{
        GetProofRequest, ListOfflineSalesRequest, ledger_service_client::LedgerServiceClient,
        offline_sales_service_client::OfflineSalesServiceClient,
    },
};
use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    device::{self, Device, purchases},
    house,
    offline::allow,
    proxy::{Proxy, Weather},
};
use crate::{
    service::{Service, with_token},
    world::{self, Process, cny},
};

/// What each detainee has at first.
const ENDOWED: &str = "1000.00";
/// Kills of the service.
const SERVICE_KILLS: usize = 2;

fn told_number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// One terminal in the storm.
struct Stormy {
    device: Device,
    proxy: Proxy,
    /// What its clock is off, in seconds.
    skew_s: i64,
}

impl Stormy {
    /// What is typed, with the flags that make it a quick and stubborn terminal with a wrong clock.
    fn typed(&self, wait_s: u32, verb: &[&str]) -> Vec<String> {
        let now = OffsetDateTime::now_utc() + time::Duration::seconds(self.skew_s);
        let (now, wait) = (now.format(&Rfc3339).unwrap(), wait_s.to_string());
        let paper = self.device.path("paper");
        let flags = [
            "--answer",
            "1",
            "--wait",
            &wait,
            "--printer",
            paper.to_str().unwrap(),
            "--dev",
            "--dev-clock",
            &now,
        ];
        flags.iter().chain(verb).map(|word| (*word).to_owned()).collect()
    }

    async fn run(&self, wait_s: u32, verb: &[&str]) -> device::Told {
        let typed = self.typed(wait_s, verb);
        self.device
            .run(&typed.iter().map(String::as_str).collect::<Vec<_>>())
            .await
    }

    /// One step: something is typed in some weather, and perhaps the power is cut.
    async fn step(&self, chance: &mut SmallRng) {
        self.proxy.is(match chance.random_range(0..8) {
            0 => Weather::Down,
            1 => Weather::Silent,
            2 => Weather::Cutting,
            _ => Weather::Fair,
        });
        let detainee = format!("D{}", chance.random_range(1..=3));
        let (rice, soap) = (
            format!("RICE*{}", chance.random_range(1..=4)),
            format!("SOAP*{}", chance.random_range(1..=2)),
        );
        let (verb, may_be): (Vec<&str>, &[i32]) = match chance.random_range(0..10) {
            0 | 1 => (
                vec!["offline", "reserve", "--detainee", &detainee, "--amount", "40.00"],
                &[0, 1, 2, 3],
            ),
            2..=4 => (vec!["offline", "sell", "--detainee", &detainee, &rice], &[0, 1]),
            5 => (vec!["offline", "upload"], &[0, 3]),
            _ => (vec!["sell", "--detainee", &detainee, &rice, &soap], &[0, 1, 3]),
        };
        if chance.random_bool(0.4) {
            let typed = self.typed(2, &verb);
            let child = self.device.begin(&typed.iter().map(String::as_str).collect::<Vec<_>>());
            tokio::time::sleep(Duration::from_millis(chance.random_range(0..600))).await;
            device::kill(child).await;
        } else {
            let told = self.run(2, &verb).await;
            assert!(may_be.contains(&told.code), "{verb:?}: {told:?}");
        }
    }
}

/// What the terminals say at the end.
#[derive(Default)]
struct Said {
    /// Receipts of sales over the network, by request id: transaction, total, leaf hash.
    online: BTreeMap<String, (String, String, String)>,
    /// Sales without the network, by terminal and number: hash and total.
    offline: BTreeMap<(String, i64), (String, String)>,
    /// What each detainee has spent.
    spent: BTreeMap<String, Amount>,
}

impl Said {
    async fn hear(&mut self, stormy: &Stormy) {
        let device = &stormy.device;
        let receipts = device.run(&["receipts"]).await.ends_with(0).values();
        printed_once(device, &receipts);
        for receipt in &receipts {
            let slip = &receipt["slip"];
            let text = |name: &str| slip[name].as_str().unwrap().to_owned();
            assert_eq!(slip["terminal"], device.id.as_str());
            let spent = self.spent.entry(text("detainee")).or_insert(cny("0.00"));
            *spent = spent.checked_add(cny(&text("total"))).unwrap();
            if slip["offline"].is_null() {
                let row = (text("transaction"), text("total"), text("leaf_hash"));
                assert_eq!(self.online.insert(text("request_id"), row), None);
            } else {
                let number = slip["offline"]["number"].as_i64().unwrap();
                let hash = slip["offline"]["chain_hash"].as_str().unwrap().to_owned();
                let before = self.offline.insert((device.id.clone(), number), (hash, text("total")));
                assert_eq!(before, None);
            }
        }
        let queue = device.run(&["queue"]).await.ends_with(0).values();
        assert!(queue.iter().all(|entry| entry["state"]["open"].is_null()), "{queue:?}");
    }
}

/// Each receipt lies on the counter, and one at most is no copy.
fn printed_once(device: &Device, receipts: &[Value]) {
    let paper = fs::read_to_string(device.path("paper")).unwrap_or_default();
    let (mut originals, mut on_paper) = (BTreeSet::new(), BTreeSet::new());
    for slip in paper.split("购物小票").skip(1) {
        let number = slip.lines().find(|line| line.starts_with("小票号")).unwrap();
        let number: u64 = number.split_whitespace().last().unwrap().parse().unwrap();
        on_paper.insert(number);
        assert!(
            slip.contains("副本 COPY") || originals.insert(number),
            "two originals of {number}\n{paper}"
        );
    }
    let kept: BTreeSet<u64> = receipts
        .iter()
        .map(|receipt| receipt["number"].as_u64().unwrap())
        .collect();
    assert_eq!(kept, on_paper, "{}", device.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_receipt_is_in_the_ledger_exactly_once() {
    let seed: u64 = std::env::var("CUSTODY_STORM_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("seed {seed}: CUSTODY_STORM_SEED={seed} repeats it");
    let steps = told_number("CUSTODY_STORM_STEPS", 8);
    let (_db, mut service, process, center) = house().await;
    allow(&service, ENDOWED).await;
    let (mut storm, mut at_work) = (Vec::new(), tokio::task::JoinSet::new());
    for number in 0..told_number("CUSTODY_STORM_TERMINALS", 6) {
        let mut chance = SmallRng::seed_from_u64(seed.wrapping_add(number as u64));
        let proxy = Proxy::to(&service.address).await;
        let stormy = Arc::new(Stormy {
            device: Device::with_a_key(&service, &format!("T{number}"), &proxy.url()).await,
            proxy,
            skew_s: chance.random_range(-3_600..=3_600),
        });
        storm.push(stormy.clone());
        at_work.spawn(async move {
            for _ in 0..steps {
                stormy.step(&mut chance).await;
            }
            stormy.proxy.is(Weather::Fair);
        });
    }
    for _ in 0..SERVICE_KILLS {
        tokio::time::sleep(Duration::from_secs(3)).await;
        service.kill().await;
        service.restart().await;
        storm.iter().for_each(|stormy| stormy.proxy.target(&service.address));
    }
    while let Some(worked) = at_work.join_next().await {
        worked.unwrap();
    }
    let mut said = Said::default();
    for stormy in &storm {
        stormy.run(60, &["resume"]).await.ends_with(0);
        stormy.run(60, &["offline", "end"]).await.ends_with(0);
        said.hear(stormy).await;
    }
    assert!(
        !said.online.is_empty() && !said.offline.is_empty(),
        "a seed without sales: {seed}"
    );
    compare(&service, &process, &center, &said, &storm).await;
    let (holds, text) = service.verify().await;
    assert!(holds, "{text}");
    service.stop().await;
}

/// What the terminals say against what the ledger says.
async fn compare(
    service: &Service,
    process: &Process,
    center: &custody_ledger::ledger::Center,
    said: &Said,
    storm: &[Arc<Stormy>],
) {
    let recorded: BTreeMap<_, _> = purchases(service)
        .await
        .into_iter()
        .map(|purchase| {
            let transaction = purchase.transaction.rsplit('/').next().unwrap().to_owned();
            let total = purchase.total.unwrap().amount;
            (
                purchase.request_id,
                (transaction, total, hex::encode(purchase.leaf_hash)),
            )
        })
        .collect();
    assert_eq!(said.online, recorded);

    let token = service.token_of("eve", Role::Auditor, Scope::default());
    let mut offline = OfflineSalesServiceClient::new(service.channel().await);
    let mut recorded = BTreeMap::new();
    for stormy in storm {
        let message = ListOfflineSalesRequest {
            parent: "centers/C1".into(),
            terminal: format!("centers/C1/terminals/{}", stormy.device.id),
            page_size: 500,
            page_token: String::new(),
        };
        let page = offline
            .list_offline_sales(with_token(&token, message))
            .await
            .unwrap()
            .into_inner();
        for sale in page.offline_sales {
            let number = sale.name.rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!(sale.reason, "", "{sale:?}");
            recorded.insert(
                (stormy.device.id.clone(), number),
                (hex::encode(sale.hash), sale.total.unwrap().amount),
            );
        }
    }
    assert_eq!(said.offline, recorded);

    for detainee in ["D1", "D2", "D3"] {
        let balances = process.custody.balances(center, &world::id(detainee)).await.unwrap();
        let spent = said.spent.get(detainee).copied().unwrap_or(cny("0.00"));
        let all = balances.available.checked_add(spent).unwrap();
        assert_eq!(
            (all.to_string().as_str(), balances.held.to_string().as_str()),
            (ENDOWED, "0.00"),
            "{detainee}"
        );
    }
    let message = GetProofRequest {
        center: "centers/C1".into(),
        as_of: None,
    };
    let mut ledger = LedgerServiceClient::new(service.channel().await);
    let proof = ledger
        .get_proof(with_token(&token, message))
        .await
        .unwrap()
        .into_inner();
    assert!(proof.holds, "{proof:?}");
}
