//! Selling without the network: set aside, sold, killed, brought in through cuts, ended.

use std::{fs, time::Duration};

use custody_ledger::{
    access::{Role, Scope},
    proto::{OfflineSettings, UpdateOfflineSettingsRequest, offline_sales_service_client::OfflineSalesServiceClient},
};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    device::{self, Device, kill, transaction},
    house,
    proxy::{Proxy, Weather},
};
use crate::{
    service::{Service, with_token},
    whole_service::money,
};

/// Lets terminals of the center sell without the network.
pub async fn allow(service: &Service, most: &str) {
    let message = UpdateOfflineSettingsRequest {
        settings: Some(OfflineSettings {
            name: "centers/C1/offlineSettings".into(),
            allowance_max: money(most),
            hours_max: 24,
            report_hours: 48,
            ..OfflineSettings::default()
        }),
        reason: "the line breaks".into(),
    };
    let admin = service.token_of("root", Role::Admin, Scope::default());
    let mut client = OfflineSalesServiceClient::new(service.channel().await);
    client
        .update_offline_settings(with_token(&admin, message))
        .await
        .unwrap();
}

fn states(values: &[Value]) -> Vec<(i64, String)> {
    let brought = values.iter().filter(|value| value["outcome"] == "brought_in");
    let state = |value: &Value| {
        let state = value["about"]["state"].as_str().unwrap().to_owned();
        (value["number"].as_i64().unwrap(), state)
    };
    brought.map(state).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sales_without_the_network_are_numbered_printed_and_brought_in() {
    let (_db, mut service, ..) = house().await;
    allow(&service, "200.00").await;
    let proxy = Proxy::to(&service.address).await;
    let device = Device::with_a_key(&service, "T1", &proxy.url()).await;
    assert_eq!(
        fs::metadata(device.path("home/terminal.key"))
            .map(|file| mode(&file))
            .unwrap(),
        0o600
    );

    // More than the center allows is refused, as any request.
    let reserve = |amount: &'static str| ["offline", "reserve", "--detainee", "D1", "--amount", amount];
    let over = device.run(&reserve("200.01")).await.ends_with(1).last();
    assert_eq!(over["refusal"]["reason"], "ALLOWANCE_LIMIT_EXCEEDED");
    device.run(&reserve("nothing")).await.ends_with(2);
    let set_aside = device.run(&reserve("100.00")).await.ends_with(0).last();
    assert_eq!(
        (&set_aside["outcome"], &set_aside["about"]["left"]),
        (&json!("reserved"), &json!("100.00"))
    );

    proxy.is(Weather::Down);
    let sell = ["offline", "sell", "--detainee", "D1"];
    let first = device
        .run(&[&sell[..], &["RICE*4", "SOAP"]].concat())
        .await
        .ends_with(0)
        .last();
    let slip = &first["receipt"]["slip"];
    assert_eq!(
        (&slip["total"], &slip["offline"]["allowance_left"]),
        (&json!("14.00"), &json!("86.00"))
    );
    assert_eq!(
        (&slip["offline"]["number"], &slip["transaction"]),
        (&json!(1), &json!(null))
    );
    assert!(first["receipt"]["text"].as_str().unwrap().contains("离线交易 OFFLINE"));
    device.run(&[&sell[..], &["BOOK*2"]].concat()).await.ends_with(0);
    // 26.00 are left; D2 has nothing here; what is not in the catalogue has no price.
    let over = device.run(&[&sell[..], &["BOOK"]].concat()).await.ends_with(1).last();
    assert_eq!(
        (&over["refusal"]["reason"], &over["refusal"]["facts"]["left"]),
        (&json!("NO_ALLOWANCE"), &json!("26.00"))
    );
    let nobody = device
        .run(&["offline", "sell", "--detainee", "D2", "RICE"])
        .await
        .ends_with(1)
        .last();
    assert_eq!(nobody["refusal"]["reason"], "NO_ALLOWANCE");
    let unknown = device.run(&[&sell[..], &["TEA"]].concat()).await.ends_with(1).last();
    assert_eq!(unknown["refusal"]["reason"], "PRODUCT_NOT_AVAILABLE");
    let still_down = device
        .run(&["--wait", "1", "offline", "upload"])
        .await
        .ends_with(3)
        .last();
    assert_eq!(
        (&still_down["outcome"], &still_down["left"]),
        (&json!("open"), &json!(2))
    );

    // The network cuts every answer for a while.
    proxy.is(Weather::Cutting);
    let upload = device.begin(&["--wait", "60", "offline", "end"]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    proxy.is(Weather::Fair);
    let told = device::told(upload).await.ends_with(0).values();
    assert_eq!(states(&told), [(1, "CAPTURED".into()), (2, "CAPTURED".into())]);
    assert_eq!(told.last().unwrap()["outcome"], "ended");
    let recorded = told.iter().find(|value| value["number"] == 1).unwrap()["about"]["transaction"].clone();
    let recorded = transaction(&service, recorded.as_str().unwrap().rsplit('/').next().unwrap()).await;
    let Some(custody_ledger::proto::journal_record::Facts::OfflineSale(facts)) = recorded.record.unwrap().facts else {
        panic!("another kind of transaction");
    };
    assert_eq!((facts.number, facts.total.as_str()), (1, "14.00"));
    // 1000.00 - 14.00 - 60.00, and nothing is held any more.
    let balance = device.run(&["balance", "--detainee", "D1"]).await.ends_with(0).last();
    assert_eq!(
        (&balance["available"], &balance["held"]),
        (&json!("926.00"), &json!("0.00"))
    );
    device.run(&["offline", "end"]).await.ends_with(0);
    let (holds, text) = service.verify().await;
    assert!(holds, "{text}");
    service.stop().await;
}

fn mode(file: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    file.permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_it_prints_sells_and_uploads_no_number_is_lost_or_used_twice() {
    let (_db, mut service, ..) = house().await;
    allow(&service, "200.00").await;
    let proxy = Proxy::to(&service.address).await;
    let device = Device::with_a_key(&service, "T1", &proxy.url()).await;
    // Killed before the answer to the reservation: the same request is asked for again.
    proxy.is(Weather::Silent);
    let reserve = ["offline", "reserve", "--detainee", "D1", "--amount", "100.00"];
    kill_after(device.begin(&reserve), 1_500).await;
    proxy.is(Weather::Fair);
    device.run(&reserve).await.ends_with(0);
    device.run(&["resume"]).await.ends_with(0);
    let allowances = device.run(&["offline", "list"]).await.ends_with(0).values();
    assert_eq!(allowances.len(), 1, "{allowances:?}");

    // Killed while it prints.
    let printer = device.path("printer");
    assert!(Command::new("mkfifo").arg(&printer).status().await.unwrap().success());
    let sale = ["offline", "sell", "--detainee", "D1", "RICE*2"];
    let printing = [&["--printer", printer.to_str().unwrap()], &sale[..]].concat();
    kill_after(device.begin(&printing), 2_000).await;
    let again = device.run_printing(&sale).await.ends_with(0).values();
    assert_eq!(again[0]["receipt"]["is_copy"], true);
    assert!(again[1]["note"].as_str().unwrap().contains("not sold a second time"));

    // Killed by chance while it sells: each sale is there with its receipt, or is not.
    for round in 0_u64..12 {
        let basket = format!("SOAP*{}", 1 + round % 3);
        kill_after(
            device.begin(&["offline", "sell", "--detainee", "D1", &basket]),
            10 + 15 * round,
        )
        .await;
    }
    device.run_printing(&["resume"]).await.ends_with(0);
    let listed = device.run(&["offline", "list"]).await.ends_with(0).values();
    let sales: Vec<&Value> = listed
        .iter()
        .filter(|value| value["sale"].is_object())
        .map(|value| &value["sale"])
        .collect();
    let numbers: Vec<i64> = sales.iter().map(|sale| sale["number"].as_i64().unwrap()).collect();
    assert_eq!(numbers, (1..=i64::try_from(sales.len()).unwrap()).collect::<Vec<_>>());
    let receipts = device.run(&["receipts"]).await.ends_with(0).values();
    assert_eq!(receipts.len(), sales.len());
    assert!(receipts.iter().all(|receipt| receipt["print"] == "done"));

    // Killed while it brings them in.
    for round in 0..4 {
        proxy.is(if round % 2 == 0 {
            Weather::Cutting
        } else {
            Weather::Fair
        });
        kill_after(device.begin(&["offline", "upload"]), 30 + 40 * round).await;
    }
    proxy.is(Weather::Fair);
    device.run(&["--wait", "60", "offline", "end"]).await.ends_with(0);
    let listed = device.run(&["offline", "list"]).await.ends_with(0).values();
    let mut sold = 0;
    for sale in listed.iter().filter_map(|value| value["sale"].as_object()) {
        assert_eq!(sale["outcome"]["state"], "CAPTURED", "{sale:?}");
        sold += i64::from(sale["total"].as_str().unwrap().replace('.', "").parse::<i32>().unwrap());
    }
    let balance = device.run(&["balance", "--detainee", "D1"]).await.ends_with(0).last();
    let has: i64 = balance["available"].as_str().unwrap().replace('.', "").parse().unwrap();
    assert_eq!((has + sold, &balance["held"]), (100_000, &json!("0.00")));
    let (holds, text) = service.verify().await;
    assert!(holds, "{text}");
    service.stop().await;
}

async fn kill_after(child: tokio::process::Child, milliseconds: u64) {
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    kill(child).await;
}
