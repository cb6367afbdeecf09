//! Purchases through the lane, against a real PostgreSQL.

use custody_ledger::ledger::LedgerError;
use uuid::Uuid;

use crate::world::{World, buy, reason};

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_moves_exactly_what_the_catalogue_says() {
    let world = World::build().await;
    world.endow("D1", "100.00").await;
    let posted = world.buy("D1", &[("RICE", 3), ("SOAP", 1)]).await.unwrap();
    assert!(!posted.replayed);
    assert_eq!(world.available("D1").await, "88.50");
    assert_eq!(world.verified().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_come_in_the_order_of_precedence_and_change_nothing() {
    let world = World::build().await;
    world.endow("D1", "450.00").await;
    let refused = [
        ("D9", vec![("RICE", 1)], "NOT_FOUND"),
        ("D1", vec![("GOLD", 1)], "NOT_FOUND"),
        ("D1", vec![("RICE", 81)], "ORDER_LIMIT_EXCEEDED"),
        ("D2", vec![("RICE", 1)], "INSUFFICIENT_FUNDS"),
    ];
    for (detainee, lines, expected) in refused {
        let error = world.buy(detainee, &lines).await.unwrap_err();
        assert_eq!(reason(&error), expected);
    }
    for _ in 0..2 {
        world.buy("D1", &[("RICE", 80)]).await.unwrap();
    }
    assert_eq!(
        reason(&world.buy("D1", &[("RICE", 1)]).await.unwrap_err()),
        "MONTHLY_LIMIT_EXCEEDED"
    );
    // Books do not count against the month.
    world.buy("D1", &[("BOOK", 1)]).await.unwrap();
    assert_eq!(world.available("D1").await, "20.00");
    assert_eq!(world.verified().await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_answered_the_same_and_another_body_is_named() {
    let world = World::build().await;
    world.endow("D1", "10.00").await;
    let (request, refused) = (Uuid::new_v4(), Uuid::new_v4());
    let first = buy(&world.process, &world.center, request, "D1", &[("RICE", 1)])
        .await
        .unwrap();
    let other = world.another_process();
    for process in [&world.process, &other] {
        let again = buy(process, &world.center, request, "D1", &[("RICE", 1)])
            .await
            .unwrap();
        assert!(again.replayed);
        assert_eq!(again.record, first.record);
        let error = buy(process, &world.center, request, "D1", &[("RICE", 2)])
            .await
            .unwrap_err();
        assert!(matches!(error, LedgerError::RequestReused { .. }), "{error:?}");
    }
    // A refusal is final too: money that arrives later does not change it.
    let error = buy(&world.process, &world.center, refused, "D1", &[("RICE", 10)])
        .await
        .unwrap_err();
    assert_eq!(reason(&error), "INSUFFICIENT_FUNDS");
    world.endow("D1", "100.00").await;
    for process in [&other, &world.process] {
        let error = buy(process, &world.center, refused, "D1", &[("RICE", 10)])
            .await
            .unwrap_err();
        assert!(
            matches!(error, LedgerError::Refused { replayed: true, .. }),
            "{error:?}"
        );
    }
    assert_eq!(world.verified().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_in_flight_join_the_first() {
    let world = World::build().await;
    world.endow("D1", "100.00").await;
    let request = Uuid::new_v4();
    let lines = [("RICE", 1)];
    let calls = (0..50).map(|_| buy(&world.process, &world.center, request, "D1", &lines));
    let answers = futures::future::join_all(calls).await;
    assert_eq!(
        answers
            .iter()
            .filter(|answer| answer.as_ref().is_ok_and(|posted| !posted.replayed))
            .count(),
        1
    );
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(world.available("D1").await, "97.50");
    assert_eq!(world.verified().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_never_spend_the_same_money_twice() {
    let world = World::build().await;
    for detainee in ["D1", "D2", "D3"] {
        world.endow(detainee, "50.00").await;
    }
    let other = world.another_process();
    let lines = [("RICE", 1)];
    let mut calls = Vec::new();
    for n in 0..120 {
        let process = if n % 2 == 0 { &world.process } else { &other };
        let detainee = ["D1", "D2", "D3"][n % 3];
        calls.push(buy(process, &world.center, Uuid::new_v4(), detainee, &lines));
    }
    let answers = futures::future::join_all(calls).await;
    let bought = answers.iter().filter(|answer| answer.is_ok()).count();
    let refused = answers.iter().filter_map(|answer| answer.as_ref().err()).map(reason);
    for reason in refused {
        assert_eq!(reason, "INSUFFICIENT_FUNDS");
    }
    assert_eq!(bought, 60);
    for detainee in ["D1", "D2", "D3"] {
        assert_eq!(world.available(detainee).await, "0.00");
    }
    assert_eq!(world.verified().await, 63);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_refuses_at_once_and_forgets() {
    let world = World::build_with(custody_ledger::clock::Clock::system(), 4).await;
    world.endow("D1", "100.00").await;
    let lines = [("RICE", 1)];
    let calls = (0..64).map(|_| buy(&world.process, &world.center, Uuid::new_v4(), "D1", &lines));
    let answers = futures::future::join_all(calls).await;
    assert!(
        answers
            .iter()
            .any(|answer| matches!(answer, Err(LedgerError::QueueFull)))
    );
    let bought = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!(bought >= 4);
    assert_eq!(world.verified().await, 1 + i64::try_from(bought).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_goes_away_and_comes_back() {
    let world = World::build().await;
    world.endow("D1", "100.00").await;
    world.buy("D1", &[("RICE", 1)]).await.unwrap();
    world.db.allow_connections(false).await;
    let request = Uuid::new_v4();
    let error = buy(&world.process, &world.center, request, "D1", &[("RICE", 1)])
        .await
        .unwrap_err();
    assert!(matches!(error, LedgerError::Unavailable), "{error:?}");
    world.db.allow_connections(true).await;
    buy(&world.process, &world.center, request, "D1", &[("RICE", 1)])
        .await
        .unwrap();
    assert_eq!(world.available("D1").await, "95.00");
    assert_eq!(world.verified().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_cut_under_load_lose_and_double_nothing() {
    let world = World::build().await;
    world.endow("D1", "200.00").await;
    let lines = [("RICE", 1)];
    let cutting = async {
        for _ in 0..10 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            world.db.cut_connections().await;
        }
    };
    let buying = async {
        let mut bought = 0;
        for _ in 0..70 {
            let request = Uuid::new_v4();
            loop {
                match buy(&world.process, &world.center, request, "D1", &lines).await {
                    Ok(_) => break bought += 1,
                    Err(LedgerError::Unavailable) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
        bought
    };
    let ((), bought) = futures::future::join(cutting, buying).await;
    assert_eq!(bought, 70);
    assert_eq!(world.available("D1").await, "25.00");
    assert_eq!(world.verified().await, 71);
}
