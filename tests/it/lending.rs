//! The connections that batches are committed over.

use custody_ledger::db::{Database, Lent, constraint};
use sqlx::Error;

use crate::world::TestDatabase;

async fn pid(lent: &mut Lent) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()")
        .fetch_one(&mut lent.conn)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_last_one_given_back_is_lent_first_and_a_dropped_one_takes_the_others_with_it() {
    let db = TestDatabase::create().await;
    let batch = Database::connect(&db.url).unwrap().batch;
    let (mut first, mut second) = (batch.lend().await.unwrap(), batch.lend().await.unwrap());
    let (first_pid, second_pid) = (pid(&mut first).await, pid(&mut second).await);
    assert_ne!(first_pid, second_pid);
    second.give_back();
    first.give_back();
    let mut again = batch.lend().await.unwrap();
    assert_eq!(pid(&mut again).await, first_pid);

    drop(again);
    let new_pid = pid(&mut batch.lend().await.unwrap()).await;
    assert!(![first_pid, second_pid].contains(&new_pid));
}

#[tokio::test]
async fn they_are_few_and_a_lost_one_is_noticed_by_its_user() {
    let db = TestDatabase::create().await;
    let database = Database::connect(&db.url).unwrap();
    let mut lent = Vec::new();
    let refused = loop {
        match database.batch.lend().await {
            Ok(one) => lent.push(one),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, Error::PoolTimedOut), "{refused:?}");
    assert!(lent.len() < 20, "{}", lent.len());
    lent.drain(..).for_each(Lent::give_back);

    db.cut_connections().await;
    let mut broken = database.batch.lend().await.unwrap();
    let error = sqlx::query("select 1").execute(&mut broken.conn).await.unwrap_err();
    assert!(constraint::is_connection_lost(&error), "{error:?}");
    drop(broken);
    // The others were closed with it.
    pid(&mut database.batch.lend().await.unwrap()).await;
    database.close().await;
    let refused = database.batch.lend().await.err();
    assert!(matches!(refused, Some(Error::PoolClosed)), "{refused:?}");
}
