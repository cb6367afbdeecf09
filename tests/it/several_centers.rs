//! Centers whose batches are written together stay apart: what holds, overtakes or breaks one does nothing to another.

use custody_ledger::{
    ledger::{Center, LedgerError, Posted},
    verification,
};
use futures::future::join_all;
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use crate::world::{self, Process, World, buy};

const RICE: [(&str, u32); 1] = [("RICE", 1)];

/// Further centers, each with a detainee D1 who has 500.00.
async fn centers(world: &World, count: usize) -> Vec<Center> {
    let mut centers = Vec::new();
    for number in 0..count {
        let center = world::new_center(&world.process, &format!("M{number}")).await;
        world::endow(&world.process, &center, "D1", "500.00").await;
        centers.push(center);
    }
    centers
}

/// Somebody buys RICE (2.50) in every center, `times` times in each, all at once.
async fn buy_everywhere(process: &Process, centers: &[Center], times: usize) -> Vec<Result<Posted, LedgerError>> {
    let purchases = centers
        .iter()
        .flat_map(|center| (0..times).map(move |_| buy(process, center, Uuid::new_v4(), "D1", &RICE)));
    join_all(purchases).await
}

async fn available(process: &Process, center: &Center) -> String {
    let balances = process.custody.balances(center, &world::id("D1")).await.unwrap();
    balances.available.to_string()
}

async fn verified(process: &Process, center: &Center) -> i64 {
    let mut conn = process.database.read.acquire().await.unwrap();
    let verified = verification::verify(&mut conn, center).await.unwrap();
    assert!(verified.proof.holds());
    verified.transactions
}

#[tokio::test(flavor = "multi_thread")]
async fn a_center_that_is_held_holds_no_other() {
    let world = World::build().await;
    world.endow("D1", "50.00").await;
    let others = centers(&world, 6).await;
    buy_everywhere(&world.process, &others, 1).await;

    let mut holder = PgConnection::connect(&world.db.url).await.unwrap();
    sqlx::query("begin").execute(&mut holder).await.unwrap();
    sqlx::query("select from journal_head where center_id = $1 for update")
        .bind(world.center.no.0)
        .execute(&mut holder)
        .await
        .unwrap();
    let (process, center) = (world.process.clone(), world.center.clone());
    let held = tokio::spawn(async move { buy(&process, &center, Uuid::new_v4(), "D1", &RICE).await });
    for _ in 0..10 {
        for bought in buy_everywhere(&world.process, &others, 2).await {
            bought.unwrap();
        }
    }
    assert!(!held.is_finished(), "nobody can write to a journal that is held");
    drop(holder);
    held.await.unwrap().unwrap();
    assert_eq!(world.available("D1").await, "47.50");
    for center in &others {
        assert_eq!(available(&world.process, center).await, "447.50");
        assert_eq!(verified(&world.process, center).await, 22);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_center_that_postgresql_refuses_spoils_no_other() {
    let world = World::build().await;
    let centers = centers(&world, 6).await;
    for bought in buy_everywhere(&world.process, &centers, 2).await {
        bought.unwrap();
    }
    // Behind the lanes' backs one center's account gets a floor above what it will have.
    let mut owner = PgConnection::connect(&world.db.url).await.unwrap();
    sqlx::query("update account_balance set floor = balance where center_id = $1 and balance = 495.00")
        .bind(centers[0].no.0)
        .execute(&mut owner)
        .await
        .unwrap();
    for _ in 0..5 {
        for (index, bought) in buy_everywhere(&world.process, &centers, 3)
            .await
            .into_iter()
            .enumerate()
        {
            match bought {
                Ok(_) => assert!(index >= 3, "below the floor"),
                Err(error) => assert!(index < 3 && matches!(error, LedgerError::Internal), "{error:?}"),
            }
        }
    }
    assert_eq!(available(&world.process, &centers[0]).await, "495.00");
    for center in &centers[1..] {
        assert_eq!(available(&world.process, center).await, "457.50");
        assert_eq!(verified(&world.process, center).await, 18);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_write_the_same_centers_at_once() {
    let world = World::build().await;
    let centers = centers(&world, 8).await;
    let second = world.another_process();
    let rounds = |process: Process, centers: Vec<Center>| async move {
        let mut bought = 0;
        for _ in 0..10 {
            let outcomes = buy_everywhere(&process, &centers, 3).await;
            for outcome in outcomes {
                match outcome {
                    Ok(_) => bought += 1,
                    Err(LedgerError::Unavailable) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
        bought
    };
    let (one, two) = tokio::join!(
        tokio::spawn(rounds(world.process.clone(), centers.clone())),
        tokio::spawn(rounds(second, centers.clone())),
    );
    let mut posted = 0;
    for center in &centers {
        posted += verified(&world.process, center).await - 1;
    }
    // Too many attempts are told as unavailable, which says nothing of the outcome; here nothing of it was done.
    assert_eq!(posted, one.unwrap() + two.unwrap());
}
