//! The terminal is killed at each point of a sale, and the service, too; a sale is made once, and has one receipt.

use std::{fs, time::Duration};

use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    device::{self, Device, kill, purchases, purchases_reach},
    house,
    proxy::{Proxy, Weather},
};
use crate::service::Service;

/// The one sale, by the ledger and by the terminal.
async fn sold_once(service: &Service, told: &Value, is_copy: bool) {
    let purchases = purchases(service).await;
    assert_eq!(purchases.len(), 1, "{purchases:?}");
    assert_eq!(told["receipt"]["slip"]["request_id"], json!(purchases[0].request_id));
    assert_eq!(told["receipt"]["number"], 1);
    assert_eq!(told["receipt"]["is_copy"], is_copy);
}

fn printed(values: &[Value]) -> Value {
    let receipts: Vec<&Value> = values.iter().filter(|value| value["receipt"].is_object()).collect();
    assert_eq!(receipts.len(), 1, "{values:#?}");
    receipts[0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_anything_was_sent() {
    let (_db, mut service, ..) = house().await;
    let proxy = Proxy::to(&service.address).await;
    let device = Device::enrolled(&service, "T1", &proxy.url()).await;
    device.run(&["catalogue"]).await.ends_with(0);
    proxy.is(Weather::Down);
    let sale = device.begin(&["sell", "--detainee", "D1", "RICE*2"]);
    // The first connection was for the catalogue; a sale is written down before it reaches for the service.
    proxy.reached(3).await;
    kill(sale).await;
    assert_eq!(purchases(&service).await.len(), 0);
    let queue = device.run(&["queue"]).await.values();
    assert!(queue.len() == 1 && queue[0]["state"]["open"].is_object(), "{queue:?}");

    // Without the network it stays open; with it, it is finished. Nothing else is sold before.
    let open = device.run(&["--wait", "1", "resume"]).await.ends_with(3).last();
    assert_eq!(open["outcome"], "open");
    let other = device
        .run(&["--wait", "1", "sell", "--detainee", "D1", "SOAP"])
        .await
        .ends_with(3)
        .last();
    assert_eq!(other["outcome"], "not_taken");
    proxy.is(Weather::Fair);
    let told = device.run(&["resume"]).await.ends_with(0).values();
    sold_once(&service, &printed(&told), false).await;
    device.run(&["resume"]).await.ends_with(0);
    assert_eq!(purchases(&service).await[0].lines[0].quantity, 2);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_it_was_sent_and_before_the_answer() {
    let (_db, mut service, ..) = house().await;
    let proxy = Proxy::to(&service.address).await;
    let device = Device::enrolled(&service, "T1", &proxy.url()).await;
    device.run(&["catalogue"]).await.ends_with(0);
    proxy.is(Weather::Silent);
    let sale = device.begin(&["sell", "--detainee", "D1", "RICE*2"]);
    purchases_reach(&service, 1).await;
    kill(sale).await;
    proxy.is(Weather::Fair);
    // The person types the same again instead of `resume`: it is the same sale.
    let told = device
        .run(&["sell", "--detainee", "D1", "RICE*2"])
        .await
        .ends_with(0)
        .values();
    sold_once(&service, &printed(&told), false).await;
    // And once more is once more.
    device.run(&["sell", "--detainee", "D1", "RICE*2"]).await.ends_with(0);
    assert_eq!(purchases(&service).await.len(), 2);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_receipt_is_printed() {
    let (_db, mut service, ..) = house().await;
    let device = Device::enrolled(&service, "T1", &format!("http://{}", service.address)).await;
    // A printer that nobody reads from: whoever opens it waits.
    let printer = device.path("printer");
    assert!(Command::new("mkfifo").arg(&printer).status().await.unwrap().success());
    let printer = printer.to_str().unwrap();
    let sale = device.begin(&["--printer", printer, "sell", "--detainee", "D1", "RICE*2"]);
    purchases_reach(&service, 1).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    kill(sale).await;
    // The person does not know either, and types it again.
    let told = device.run_printing(&["sell", "--detainee", "D1", "RICE*2"]).await;
    sold_once(&service, &printed(&told.ends_with(0).values()), true).await;
    let paper = fs::read_to_string(device.path("paper")).unwrap();
    assert_eq!(paper.matches("副本 COPY").count(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_cut_off_are_asked_for_again() {
    let (_db, mut service, ..) = house().await;
    let proxy = Proxy::to(&service.address).await;
    let device = Device::enrolled(&service, "T1", &proxy.url()).await;
    device.run(&["catalogue"]).await.ends_with(0);
    proxy.is(Weather::Cutting);
    let sale = device.begin(&["sell", "--detainee", "D1", "RICE*2"]);
    purchases_reach(&service, 1).await;
    proxy.reached(4).await;
    proxy.is(Weather::Fair);
    let told = device::told(sale).await.ends_with(0).values();
    sold_once(&service, &printed(&told), false).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_killed_and_comes_back() {
    let (_db, mut service, ..) = house().await;
    let device = Device::enrolled(&service, "T1", &format!("http://{}", service.address)).await;
    service.kill().await;
    let gone = device
        .run(&["--wait", "1", "sell", "--detainee", "D1", "RICE*2"])
        .await
        .ends_with(3)
        .last();
    assert_eq!((&gone["outcome"], &gone["attention"]), (&json!("open"), &json!(false)));
    let sale = device.begin(&["resume"]);
    service.restart().await;
    let told = device::told(sale).await.ends_with(0).values();
    sold_once(&service, &printed(&told), false).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_that_ends_in_between_does_not_end_the_sale() {
    let (_db, mut service, ..) = house().await;
    let proxy = Proxy::to(&service.address).await;
    let device = Device::enrolled(&service, "T1", &proxy.url()).await;
    device.run(&["catalogue"]).await.ends_with(0);
    proxy.is(Weather::Silent);
    let lost = ["--answer", "1", "--wait", "1", "sell", "--detainee", "D1", "RICE*2"];
    device.run(&lost).await.ends_with(3);
    assert_eq!(purchases(&service).await.len(), 1);
    proxy.is(Weather::Fair);
    let good = fs::read_to_string(device.path("home/token")).unwrap();
    let expired = service.expired_token(custody_ledger::access::Role::Auditor, Default::default());
    fs::write(device.path("home/token"), expired).unwrap();
    let told = device.run(&["resume"]).await.ends_with(4).last();
    assert_eq!((&told["outcome"], &told["attention"]), (&json!("open"), &json!(true)));
    fs::write(device.path("home/token"), good).unwrap();
    let told = device.run(&["resume"]).await.ends_with(0).values();
    sold_once(&service, &printed(&told), false).await;
    service.stop().await;
}
