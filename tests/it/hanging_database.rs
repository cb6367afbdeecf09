//! A database that is there and does not answer: callers are told so, and what they asked happens once or not at all.

use std::time::Duration;

use custody_ledger::{
    clock::Clock,
    ledger::{Center, LedgerError, outcome},
};
use sqlx::{Connection as _, PgConnection};
use tokio::process::Command;
use tonic::Code;
use uuid::Uuid;

use crate::{
    service::{Service, buy_rice},
    world::{self, Process, World, buy},
};

/// Holds a center's head, as a process does that hangs in a transaction.
async fn hold(world: &World) -> PgConnection {
    let mut conn = PgConnection::connect(&world.db.url).await.unwrap();
    for statement in ["begin", "select from journal_head for update"] {
        sqlx::query(statement).execute(&mut conn).await.unwrap();
    }
    conn
}

async fn is_recorded(process: &Process, center: &Center, request: Uuid) -> bool {
    let mut conn = process.database.read.acquire().await.unwrap();
    let found = outcome::find(&mut conn, center.no, custody_ledger::ids::RequestId(request)).await;
    found.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_center_that_another_session_holds_is_unavailable_and_nothing_is_done() {
    let world = World::build().await;
    world.endow("D1", "50.00").await;
    let holder = hold(&world).await;
    let request = Uuid::new_v4();
    let rice = [("RICE", 1)];
    let refused = buy(&world.process, &world.center, request, "D1", &rice).await;
    assert!(matches!(refused, Err(LedgerError::Unavailable)), "{refused:?}");
    drop(holder);
    assert!(!is_recorded(&world.process, &world.center, request).await);
    let bought = buy(&world.process, &world.center, request, "D1", &rice).await.unwrap();
    assert!(!bought.replayed);
    assert_eq!(world.verified().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_finishes_what_nobody_waits_for_any_more() {
    let world = World::build().await;
    world.endow("D1", "50.00").await;
    let holder = hold(&world).await;
    let request = Uuid::new_v4();
    let (process, center) = (world.process.clone(), world.center.clone());
    let caller = tokio::spawn(async move { buy(&process, &center, request, "D1", &[("RICE", 1)]).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    caller.abort();
    let released = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(holder);
    });
    world.process.lanes.close().await;
    released.await.unwrap();
    assert!(is_recorded(&world.process, &world.center, request).await);
    let late = world.buy("D1", &[("RICE", 1)]).await;
    assert!(matches!(late, Err(LedgerError::Unavailable)), "{late:?}");
}

/// The postmaster of the service's PostgreSQL and all processes that have a session or work behind the scenes.
async fn postgres(service: &Service, process: &Process) -> Vec<String> {
    let pid_file = service.directory.path().join("postgres/data/postmaster.pid");
    let text = std::fs::read_to_string(pid_file).unwrap();
    let mut pids = vec![text.lines().next().unwrap().to_owned()];
    let others: Vec<i32> = sqlx::query_scalar("select pid from pg_stat_activity")
        .fetch_all(&*process.database.read)
        .await
        .unwrap();
    pids.extend(others.iter().map(ToString::to_string));
    pids
}

async fn signal(pids: &[String], signal: &str) {
    let sent = Command::new("kill").arg(format!("-{signal}")).args(pids).status().await;
    assert!(sent.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_stands_still_is_unavailable_until_it_goes_on() {
    let mut service = Service::start(None).await;
    let process = Process::over(&service.private_url(), Clock::system(), 64);
    let center = world::new_center(&process, "C1").await;
    world::endow(&process, &center, "D1", "50.00").await;
    let (token, channel) = (service.terminal_token("C1"), service.channel().await);
    buy_rice(channel.clone(), &token, "D1", Uuid::new_v4()).await.unwrap();

    let pids = postgres(&service, &process).await;
    signal(&pids, "STOP").await;
    let request = Uuid::new_v4();
    let told = tokio::time::timeout(
        Duration::from_secs(60),
        buy_rice(channel.clone(), &token, "D1", request),
    )
    .await;
    signal(&pids, "CONT").await;
    let told = told.expect("an answer").unwrap_err();
    assert_eq!(told.code(), Code::Unavailable, "{told:?}");

    // What was sent may have been done when it went on: the same request tells, and is done once.
    let name = loop {
        match buy_rice(channel.clone(), &token, "D1", request).await {
            Ok(name) => break name,
            Err(status) => assert_eq!(status.code(), Code::Unavailable, "{status:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(buy_rice(channel, &token, "D1", request).await.unwrap(), name);
    let balances = process.custody.balances(&center, &world::id("D1")).await.unwrap();
    assert_eq!(balances.available.to_string(), "45.00");
    service.stop().await;
}
