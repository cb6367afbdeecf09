//! Power cuts: what was acknowledged is there, once; what was not may be asked again.

use std::time::Duration;

use custody_ledger::clock::Clock;
use tokio::process::Command;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use crate::{
    service::{Service, buy_rice},
    world::{self, Process},
};

/// A terminal that stores each request id before it sends, and asks again until it has an answer.
async fn terminal(mut address: tokio::sync::watch::Receiver<String>, token: String, count: usize) -> Vec<String> {
    let mut bought = Vec::with_capacity(count);
    let mut channel = connect(&address.borrow_and_update().clone());
    for _ in 0..count {
        let request_id = Uuid::new_v4();
        loop {
            match tokio::time::timeout(
                Duration::from_secs(5),
                buy_rice(channel.clone(), &token, "D1", request_id),
            )
            .await
            {
                Ok(Ok(name)) => break bought.push(name),
                Ok(Err(status)) => assert!(
                    matches!(
                        status.code(),
                        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
                    ),
                    "{status:?}"
                ),
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
            channel = connect(&address.borrow_and_update().clone());
        }
    }
    bought
}

fn connect(address: &str) -> Channel {
    Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_lazy()
}

async fn filled(url: &str) -> (Process, custody_ledger::ledger::Center) {
    let process = Process::over(url, Clock::system(), 4096);
    let center = world::new_center(&process, "C1").await;
    world::endow(&process, &center, "D1", "5000.00").await;
    (process, center)
}

async fn raise_limits(process: &Process, center: &custody_ledger::ledger::Center) {
    let mut settings = process.custody.profile(&center.id).await.unwrap().settings;
    settings.tier_limits.insert(1, world::cny("100000"));
    process
        .custody
        .update_settings(&center.id, "admin/root", settings)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_service_and_of_postgresql_loses_and_doubles_nothing() {
    const TERMINALS: usize = 8;
    const EACH: usize = 60;
    let mut service = Service::start(None).await;
    let url = service.private_url();
    let (process, center) = filled(&url).await;
    raise_limits(&process, &center).await;
    let token = service.terminal_token("C1");
    let (announce, address) = tokio::sync::watch::channel(service.address.clone());
    let terminals: Vec<_> = (0..TERMINALS)
        .map(|_| tokio::spawn(terminal(address.clone(), token.clone(), EACH)))
        .collect();

    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        if round == 1 {
            let pid_file = service.directory.path().join("postgres/data/postmaster.pid");
            let text = std::fs::read_to_string(pid_file).unwrap();
            let pid = text.lines().next().unwrap().to_owned();
            assert!(
                Command::new("kill")
                    .args(["-9", &pid])
                    .status()
                    .await
                    .unwrap()
                    .success()
            );
        } else {
            service.kill().await;
            service.restart().await;
            announce.send(service.address.clone()).unwrap();
        }
    }
    let mut names: Vec<String> = Vec::new();
    for terminal in terminals {
        names.extend(terminal.await.unwrap());
    }
    let acknowledged = names.len();
    names.sort();
    names.dedup();
    assert_eq!((acknowledged, names.len()), (TERMINALS * EACH, TERMINALS * EACH));
    // Exactly the acknowledged purchases were paid for: 5000.00 - 480 × 2.50.
    let balances = process.custody.balances(&center, &world::id("D1")).await.unwrap();
    assert_eq!(balances.available.to_string(), "3800.00");
    let (holds, text) = service.verify().await;
    assert!(holds, "{text}");
    assert!(text.contains("481 transactions"), "{text}");
    service.stop().await;
    // Stopped, its data can still be verified.
    assert!(service.verify().await.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_service_on_one_directory_is_refused() {
    let mut service = Service::start(None).await;
    let output = Command::new(env!("CARGO_BIN_EXE_custody"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(service.directory.path())
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("another service is using"));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_services_on_one_database_share_a_center() {
    let db = world::TestDatabase::create().await;
    let (mut first, mut second) = (Service::start(Some(&db.url)).await, Service::start(Some(&db.url)).await);
    let (process, center) = filled(&db.url).await;
    raise_limits(&process, &center).await;
    let mut calls = tokio::task::JoinSet::new();
    for service in [&first, &second] {
        let (channel, token) = (service.channel().await, service.terminal_token("C1"));
        for _ in 0..200 {
            let (channel, token) = (channel.clone(), token.clone());
            calls.spawn(async move { buy_rice(channel, &token, "D1", Uuid::new_v4()).await.unwrap() });
        }
    }
    let mut names = calls.join_all().await;
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 400);
    let (holds, text) = first.verify().await;
    assert!(holds && text.contains("401 transactions"), "{text}");
    first.stop().await;
    second.stop().await;
}
