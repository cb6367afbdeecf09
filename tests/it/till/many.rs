//! Eight terminals at once, killed by chance, through networks that break by chance, against a service that is killed: every
//! receipt is in the ledger exactly once, every sale of the ledger has its receipt, and no receipt has two originals.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::Arc,
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _, rngs::SmallRng};

use super::{
    device::{self, Device, purchases},
    house,
    proxy::{Proxy, Weather},
};

const TERMINALS: usize = 8;
/// Sales that are typed at each; some are killed before they are written down.
const EACH: usize = 6;

/// Types sales, some of which are killed, until all are typed.
async fn work(device: Arc<Device>, proxy: Arc<Proxy>, seed: u64) {
    let mut chance = SmallRng::seed_from_u64(seed);
    let paper = device.path("paper");
    for sale in 0..EACH {
        proxy.is(match chance.random_range(0..6) {
            0 => Weather::Down,
            1 => Weather::Silent,
            2 => Weather::Cutting,
            _ => Weather::Fair,
        });
        let detainee = format!("D{}", 1 + chance.random_range(0..3));
        // Each is another basket, so that none is the same sale typed again.
        let lines = [
            format!("RICE*{}", 1 + sale),
            format!("SOAP*{}", chance.random_range(1..3)),
        ];
        let arguments = [
            "--answer",
            "1",
            "--wait",
            "2",
            "--printer",
            paper.to_str().unwrap(),
            "sell",
            "--detainee",
        ];
        let arguments = [&arguments[..], &[&detainee, &lines[0], &lines[1]]].concat();
        let child = device.begin(&arguments);
        if chance.random_bool(0.5) {
            tokio::time::sleep(Duration::from_millis(chance.random_range(0..400))).await;
            device::kill(child).await;
        } else {
            let told = device::told(child).await;
            assert!([0, 1, 3].contains(&told.code), "{told:?}");
        }
    }
    proxy.is(Weather::Fair);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_receipt_is_in_the_ledger_exactly_once() {
    let seed: u64 = std::env::var("CUSTODY_STORM_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("seed {seed}: CUSTODY_STORM_SEED={seed} repeats it");
    let (_db, mut service, ..) = house().await;
    let (mut devices, mut at_work) = (Vec::new(), tokio::task::JoinSet::new());
    for number in 0..TERMINALS {
        let proxy = Arc::new(Proxy::to(&service.address).await);
        let device = Arc::new(Device::enrolled(&service, &format!("T{number}"), &proxy.url()).await);
        at_work.spawn(work(device.clone(), proxy.clone(), seed.wrapping_add(number as u64)));
        devices.push((device, proxy));
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    service.kill().await;
    service.restart().await;
    for (_, proxy) in &devices {
        proxy.target(&service.address);
    }
    while let Some(worked) = at_work.join_next().await {
        worked.unwrap();
    }
    let mut receipts = BTreeMap::new();
    for (device, _) in &devices {
        device.run_printing(&["--wait", "60", "resume"]).await.ends_with(0);
        let kept = device.run(&["receipts"]).await.ends_with(0).values();
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
        for receipt in kept {
            let number = receipt["number"].as_u64().unwrap();
            assert!(
                on_paper.contains(&number),
                "receipt {number} of {} was never printed",
                device.id
            );
            let slip = &receipt["slip"];
            assert_eq!(slip["terminal"], device.id.as_str());
            let text = |name: &str| slip[name].as_str().unwrap().to_owned();
            let before = receipts.insert(
                text("request_id"),
                (text("transaction"), text("total"), text("leaf_hash")),
            );
            assert_eq!(before, None);
        }
        let queue = device.run(&["queue"]).await.ends_with(0).values();
        assert!(queue.iter().all(|entry| entry["state"]["open"].is_null()), "{queue:?}");
    }
    let recorded: BTreeMap<_, _> = purchases(&service)
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
    assert!(!recorded.is_empty());
    assert_eq!(receipts, recorded);
    let (holds, text) = service.verify().await;
    assert!(holds, "{text}");
    service.stop().await;
}
