//! What a user types, and is told.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Stdio};

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::{
    device::{self, Device, purchases, transaction},
    house,
    proxy::Proxy,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_is_told_printed_and_kept() {
    let (_db, mut service, ..) = house().await;
    let device = Device::enrolled(&service, "T1", &format!("http://{}", service.address)).await;

    let goods = device.run(&["catalogue"]).await.ends_with(0).values();
    assert_eq!(goods.len(), 3);
    assert_eq!((&goods[1]["id"], &goods[1]["price"]), (&json!("RICE"), &json!("2.50")));
    let balance = device.run(&["balance", "--detainee", "D1"]).await.ends_with(0).last();
    assert_eq!(
        (&balance["available"], &balance["spent"]),
        (&json!("1000.00"), &json!("0.00"))
    );

    let sold = device
        .run(&["sell", "--detainee", "D1", "RICE*3", "SOAP"])
        .await
        .ends_with(0)
        .last();
    assert_eq!(sold["outcome"], "sold");
    let slip = &sold["receipt"]["slip"];
    assert_eq!(slip["total"], "11.50");
    assert_eq!(slip["available_after"], "988.50");
    assert_eq!(
        (&slip["month_spent"], &slip["month_limit"]),
        (&json!("11.50"), &json!("100000.00"))
    );
    assert_eq!(sold["receipt"]["is_copy"], false);
    let recorded = transaction(&service, slip["transaction"].as_str().unwrap()).await;
    assert_eq!(slip["leaf_hash"], hex::encode(&recorded.leaf_hash));
    let text = sold["receipt"]["text"].as_str().unwrap();
    assert!(
        text.contains("RICE  3 × 2.50") && text.contains("11.50 / 100000.00"),
        "{text}"
    );

    // A refusal is definite, and tells what would be accepted.
    let refused = device
        .run(&["sell", "--detainee", "D1", "BOOK*50"])
        .await
        .ends_with(1)
        .last();
    assert_eq!(
        (&refused["outcome"], &refused["refusal"]["reason"]),
        (&json!("refused"), &json!("ORDER_LIMIT_EXCEEDED"))
    );
    assert_eq!(
        device
            .run(&["sell", "--detainee", "D9", "RICE"])
            .await
            .ends_with(1)
            .last()["refusal"]["reason"],
        "NOT_FOUND"
    );

    // On paper, and again as a copy.
    let printed = device
        .run_printing(&["sell", "--detainee", "D2", "BOOK"])
        .await
        .ends_with(0)
        .last();
    assert_eq!(printed["receipt"]["number"], 2);
    device.run_printing(&["receipts", "--copy", "2"]).await.ends_with(0);
    let paper = fs::read_to_string(device.path("paper")).unwrap();
    assert_eq!(
        (
            paper.matches("SALES RECEIPT").count(),
            paper.matches("副本 COPY").count()
        ),
        (2, 1)
    );

    let receipts = device.run(&["receipts"]).await.ends_with(0).values();
    assert_eq!(receipts.len(), 2);
    assert_eq!(
        (&receipts[1]["print"], &receipts[1]["copies"]),
        (&json!("done"), &json!(1))
    );
    let queue = device.run(&["queue"]).await.ends_with(0).values();
    assert_eq!(queue.len(), 4);
    assert_eq!(purchases(&service).await.len(), 2);
    for name in ["home/token", "home/terminal.redb", "home/lock"] {
        assert_eq!(
            fs::metadata(device.path(name)).unwrap().permissions().mode() & 0o777,
            0o600,
            "{name}"
        );
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_keeps_its_request_id_sells_once() {
    let (_db, mut service, ..) = house().await;
    let device = Device::enrolled(&service, "T1", &format!("http://{}", service.address)).await;
    let id = "0190b7e0-0000-7000-8000-000000000001";
    let sale = ["sell", "--detainee", "D1", "--request-id", id, "RICE*2"];
    let first = device.run(&sale).await.ends_with(0).last();
    let again = device.run(&sale).await.ends_with(0).last();
    assert_eq!(first["receipt"]["slip"], again["receipt"]["slip"]);
    assert_eq!(
        (&first["receipt"]["is_copy"], &again["receipt"]["is_copy"]),
        (&json!(false), &json!(true))
    );
    let other = device
        .run(&["sell", "--detainee", "D1", "--request-id", id, "RICE*3"])
        .await
        .ends_with(2)
        .last();
    assert!(other["error"].as_str().unwrap().contains("was used for another sale"));
    // Without an id, the same again is another sale: nothing was open.
    device.run(&["sell", "--detainee", "D1", "RICE*2"]).await.ends_with(0);
    assert_eq!(purchases(&service).await.len(), 2);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_tried_is_told_and_nothing_is_sold() {
    let (_db, mut service, ..) = house().await;
    let proxy = Proxy::to(&service.address).await;
    let device = Device::enrolled(&service, "T1", &proxy.url()).await;
    for wrong in [
        &["sell", "--detainee", "D1"][..],
        &["sell", "--detainee", "D 1", "RICE"],
        &["sell", "--detainee", "D1", "RICE*0"],
        &["sell", "--detainee", "D1", "--request-id", "1", "RICE"],
        &["receipts", "--copy", "7"],
        &[
            "enrol",
            "--server",
            "http://x",
            "--center",
            "C2",
            "--terminal",
            "T1",
            "--token-file",
            "/dev/null",
        ],
        &["--dev-clock", "2031-01-01T00:00:00Z", "queue"],
    ] {
        device.run(wrong).await.ends_with(2);
    }
    // One process has the directory.
    let mut shell = device.command(&["shell"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut typed = shell.stdin.take().unwrap();
    typed
        .write_all(b"# nothing\n\nsell --detainee D1 'RICE*1'\n")
        .await
        .unwrap();
    device::purchases_reach(&service, 1).await;
    let second = device.run(&["queue"]).await.ends_with(2).last();
    assert!(second["error"].as_str().unwrap().contains("another terminal is using"));
    typed
        .write_all(b"sell --detainee D1 'RICE\nfly\nreceipts\n")
        .await
        .unwrap();
    drop(typed);
    let told = device::told(shell).await.ends_with(0);
    let outcomes: Vec<_> = told.values().iter().map(|value| value["outcome"].clone()).collect();
    assert_eq!(outcomes, [json!("sold"), json!("undone"), json!("undone"), json!(null)]);

    // A credential that does not hold is told as that; the sale was never inside.
    let stranger = service.expired_token(custody_ledger::access::Role::Auditor, Default::default());
    fs::write(device.path("home/token"), stranger).unwrap();
    let turned = device
        .run(&["sell", "--detainee", "D1", "RICE"])
        .await
        .ends_with(1)
        .last();
    assert_eq!(turned["refusal"]["reason"], "NOT_AUTHENTICATED");
    device.run(&["balance", "--detainee", "D1"]).await.ends_with(4);
    assert_eq!(purchases(&service).await.len(), 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_wrong_changes_nothing() {
    let (_db, mut service, ..) = house().await;
    let device = Device::enrolled(&service, "T1", &format!("http://{}", service.address)).await;
    for (clock, number) in [("2031-05-06T07:08:09Z", 1), ("1999-01-01T00:00:00Z", 2)] {
        let skewed = ["--dev", "--dev-clock", clock, "sell", "--detainee", "D1", "RICE"];
        let sold = device.run(&skewed).await.ends_with(0).last();
        assert_eq!(sold["receipt"]["number"], number);
        let time = sold["receipt"]["slip"]["time"].as_str().unwrap();
        assert!(
            !time.starts_with(&clock[..4]),
            "a receipt tells the ledger's time: {time}"
        );
    }
    let queue = device.run(&["queue"]).await.ends_with(0).values();
    assert!(queue[0]["asked_at"].as_str().unwrap().starts_with("2031-05-06 15:08:"));
    assert!(queue[1]["asked_at"].as_str().unwrap().starts_with("1999-01-01 08:00:"));
    service.stop().await;
}
