//! A past that cannot be changed, and a verification that notices when it was.

use custody_ledger::ledger::{
    balance::{self, AsOf},
    proof,
    verify::{self, VerifyError},
};
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};
use std::str::FromStr as _;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn the_service_s_role_cannot_change_the_journal() {
    let world = World::build().await;
    world.endow("D1", "10.00").await;
    for table in ["journal_transaction", "posting", "refused_request", "account", "center"] {
        let statements = [
            format!("update {table} set center_id = 2"),
            format!("delete from {table}"),
            format!("truncate {table}"),
            format!("alter table {table} add column x int"),
            format!("drop table {table}"),
        ];
        for statement in statements {
            let error = sqlx::raw_sql(sqlx::AssertSqlSafe(statement.clone()))
                .execute(&world.process.database.lane)
                .await
                .unwrap_err();
            // 42501: insufficient privilege.
            assert_eq!(
                error.as_database_error().unwrap().code().unwrap(),
                "42501",
                "{statement}"
            );
        }
    }
    assert_eq!(world.verified().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_owner_changes_is_noticed_and_named() {
    let changes = [
        (
            "update posting set amount = amount + 1 where seq = 2",
            "transaction 2: posting 1 is stored as",
        ),
        (
            "update account_balance set balance = balance + 1 where account_no = 1",
            "account 1 stands at",
        ),
        (
            "update journal_transaction set record = record || '\\x00'::bytea where seq = 2",
            "transaction 2: the leaf hash is not that of the record",
        ),
        (
            "update journal_transaction set kind = 'RETURN' where seq = 2",
            "transaction 2: kind of the row",
        ),
        (
            "delete from posting where seq = 2",
            "transaction 2: 1 postings recorded, 0 stored",
        ),
        (
            "delete from journal_transaction where seq = 2",
            "transaction 2: the next transaction is numbered 3",
        ),
        ("update journal_head set seq = seq + 1", "the journal's head says 4"),
    ];
    for (change, expected) in changes {
        let world = World::build().await;
        world.endow("D1", "10.00").await;
        for _ in 0..2 {
            world.buy("D1", &[("RICE", 1)]).await.unwrap();
        }
        assert_eq!(world.verified().await, 3);
        let mut owner = PgConnectOptions::from_str(&world.db.url)
            .unwrap()
            .connect()
            .await
            .unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(change))
            .execute(&mut owner)
            .await
            .unwrap();
        let verified = verify::verify_snapshot(&world.process.database, &world.center).await;
        match verified {
            Err(error @ VerifyError::Differs { .. }) => {
                assert!(error.to_string().contains(expected), "{change}: {error}");
            }
            other => panic!("{change}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proof_holds_at_every_moment_of_the_past() {
    let world = World::build().await;
    world.endow("D1", "50.00").await;
    world.endow("D2", "30.00").await;
    for _ in 0..5 {
        world.buy("D1", &[("RICE", 2)]).await.unwrap();
    }
    let mut conn = world.process.database.read.acquire().await.unwrap();
    for seq in 0..=7 {
        let as_of = AsOf::Seq(custody_ledger::ids::Seq(seq));
        let proof = proof::prove(&mut conn, &world.center, as_of).await.unwrap();
        assert!(proof.holds(), "{seq}: {proof:?}");
        assert_eq!(proof.as_of.0, seq);
        let expected = ["0.00", "50.00", "80.00"][usize::try_from(seq.min(2)).unwrap()];
        assert_eq!(proof.debits.to_string(), expected);
    }
    let now = proof::prove(&mut conn, &world.center, AsOf::Now).await.unwrap();
    let end = proof::prove(&mut conn, &world.center, AsOf::Seq(now.as_of))
        .await
        .unwrap();
    assert_eq!(now, end);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instant_is_found_between_transactions() {
    let world = World::build().await;
    let mut conn = world.process.database.read.acquire().await.unwrap();
    let long_ago = time::macros::datetime!(2001-01-01 00:00 UTC);
    let mut resolved = async |at| {
        let seq = balance::resolve(&mut conn, &world.center, AsOf::Instant(at)).await;
        seq.unwrap().0
    };
    assert_eq!(resolved(long_ago).await, 0, "an empty journal");
    world.endow("D1", "50.00").await;
    for _ in 0..6 {
        world.buy("D1", &[("RICE", 1)]).await.unwrap();
    }
    let recorded: Vec<time::OffsetDateTime> =
        sqlx::query_scalar("select recorded_at from journal_transaction where center_id = $1 order by seq")
            .bind(world.center.no.0)
            .fetch_all(&world.process.database.read)
            .await
            .unwrap();
    assert_eq!(recorded.len(), 7);
    for (seq, at) in (1..).zip(&recorded) {
        assert_eq!(resolved(*at).await, seq);
        assert_eq!(resolved(*at - time::Duration::MICROSECOND).await, seq - 1);
    }
    assert_eq!(resolved(long_ago).await, 0);
    assert_eq!(resolved(recorded[6] + time::Duration::DAY).await, 7);
}
