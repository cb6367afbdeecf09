//! Whoever is cancelled while a transaction begins leaves none open: what others write on that connection stays written.

use std::{future::Future as _, pin::pin, task::Context, time::Duration};

use custody_ledger::db::Database;
use futures::task::noop_waker_ref;
use time::OffsetDateTime;

use crate::world::World;

/// Whether any connection at rest is inside a transaction: the time of one stands still.
async fn is_one_in_transaction(database: &Database) -> bool {
    let mut lent = Vec::new();
    while let Some(conn) = database.lane.try_acquire() {
        lent.push(conn);
    }
    assert!(!lent.is_empty());
    let mut stand_still = false;
    for conn in &mut lent {
        let mut instants = Vec::new();
        for _ in 0..2 {
            let now = sqlx::query_scalar::<_, OffsetDateTime>("select now()").fetch_one(&mut **conn);
            instants.push(now.await.unwrap());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        stand_still |= instants[0] == instants[1];
    }
    stand_still
}

#[tokio::test]
async fn a_begin_that_is_cut_leaves_no_transaction_open() {
    let world = World::build().await;
    let database = &world.process.database;
    // One connection at rest, so that every try has the same.
    drop(database.lane.acquire().await.unwrap());
    for polls in 1..40_usize {
        {
            let mut begin = pin!(database.lane.begin());
            for _ in 0..polls {
                if begin
                    .as_mut()
                    .poll(&mut Context::from_waker(noop_waker_ref()))
                    .is_ready()
                {
                    break;
                }
                tokio::time::sleep(Duration::from_micros(50)).await;
            }
        }
        // It is given back by a task of the pool's.
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!is_one_in_transaction(database).await, "cut after {polls} polls");
    }
}
