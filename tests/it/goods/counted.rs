//! Stock: never below zero, in whatever process, and verified.

use custody_ledger::{
    access::Role,
    commissary::MovementKind,
    proto::{ListStockMovementsRequest, ListStockMovementsResponse, StockMovement},
};
use tonic::Code;
use uuid::Uuid;

use super::{count, moved, receipt, stock};
use crate::{
    service::purchase_of,
    tampering::each_is_named,
    whole_service::{Hall, Refused},
    world::{World, buy, reason},
};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_buyers_of_the_last_ten_in_two_processes() {
    let world = World::build().await;
    for detainee in ["D1", "D2", "D3"] {
        world.endow(detainee, "100.00").await;
    }
    moved(&world.process, &world.center, "RICE", MovementKind::Received, 10)
        .await
        .unwrap();
    let (other, ids) = (world.another_process(), [(); 50].map(|()| Uuid::new_v4()));
    let lines = [("SOAP", 1), ("RICE", 1)];
    let all = || {
        ids.iter().enumerate().map(|(n, id)| {
            let process = if n % 2 == 0 { &world.process } else { &other };
            buy(process, &world.center, *id, ["D1", "D2", "D3"][n % 3], &lines)
        })
    };
    let answers = futures::future::join_all(all()).await;
    let bought = answers.iter().filter(|answer| answer.is_ok()).count();
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(reason(refused), "OUT_OF_STOCK");
    }
    assert_eq!(bought, 10);
    assert_eq!(stock(&world.process, &world.center, "RICE").await, Some(0));
    // The same again, once there are more: whoever was refused stays refused.
    moved(&other, &world.center, "RICE", MovementKind::Received, 50)
        .await
        .unwrap();
    let again = futures::future::join_all(all()).await;
    assert_eq!(
        again
            .iter()
            .filter(|answer| answer.as_ref().is_ok_and(|posted| posted.replayed))
            .count(),
        10
    );
    assert_eq!(again.iter().filter(|answer| answer.is_err()).count(), 40);
    assert_eq!(stock(&world.process, &world.center, "RICE").await, Some(50));
    assert_eq!(world.verified().await, 13);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_killed_while_the_last_ten_are_bought() {
    let mut hall = Hall::open().await;
    moved(&hall.process, &hall.center, "BOOK", MovementKind::Received, 10)
        .await
        .unwrap();
    crate::world::endow(&hall.process, &hall.center, "D1", "2000.00").await;
    let ids: Vec<Uuid> = (0..30).map(|_| Uuid::new_v4()).collect();
    let token = hall.token(Role::Terminal);
    let mut answered = vec![None; ids.len()];
    for round in 0.. {
        assert!(round < 20, "{answered:?}");
        let (mut calls, channel) = (tokio::task::JoinSet::new(), hall.service.channel().await);
        for (at, id) in ids.iter().enumerate().filter(|(at, _)| answered[*at].is_none()) {
            let (channel, token) = (channel.clone(), token.clone());
            let message = prost::Message::encode_to_vec(&purchase_of("C1", "D1", *id, &[("BOOK", 1)]));
            let method = "CommissaryService/CreatePurchase";
            calls.spawn(async move { (at, crate::whole_service::call(channel, method, &token, message).await) });
        }
        if round < 3 {
            tokio::time::sleep(std::time::Duration::from_millis(4 * round)).await;
            hall.service.kill().await;
        }
        for (at, answer) in calls.join_all().await {
            match answer {
                Ok(_) => answered[at] = Some(true),
                Err(status) if status.code() == Code::FailedPrecondition => {
                    assert!(
                        Refused::of(&status, "kill").is(Code::FailedPrecondition, "OUT_OF_STOCK"),
                        "{status:?}"
                    );
                    answered[at] = Some(false);
                }
                Err(_) => {}
            }
        }
        if round < 3 {
            hall.service.restart().await;
        }
        if answered.iter().all(Option::is_some) {
            break;
        }
    }
    assert_eq!(
        answered.iter().filter(|answer| **answer == Some(true)).count(),
        10,
        "{answered:?}"
    );
    assert_eq!(stock(&hall.process, &hall.center, "BOOK").await, Some(0));
    hall.channel = hall.service.channel().await;
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_are_recorded_once_and_listed() {
    let hall = Hall::open().await;
    let method = "CatalogueService/RecordStockMovement";
    let id = Uuid::new_v4().to_string();
    // Not counted yet; and that is what this request is told for ever.
    let refused = hall
        .refused(
            "not counted",
            method,
            prost::Message::encode_to_vec(&receipt(&id, "RICE", 5)),
        )
        .await;
    assert!(refused.is(Code::FailedPrecondition, "STOCK_NOT_KEPT"), "{refused:?}");
    count(&hall.process, &hall.center, "RICE").await;
    let again = hall
        .refused("again", method, prost::Message::encode_to_vec(&receipt(&id, "RICE", 5)))
        .await;
    assert_eq!(again, refused);
    let shop = hall.token(Role::Commissary);
    let id = Uuid::new_v4().to_string();
    for _ in 0..2 {
        let moved: StockMovement = hall.ask_as(method, &shop, &receipt(&id, "RICE", 5)).await.unwrap();
        assert_eq!(
            (moved.number, moved.stock, moved.actor.split('/').next()),
            (1, 5, Some("commissary"))
        );
    }
    let both = [1, 2].map(|n| receipt(&Uuid::new_v4().to_string(), "RICE", n));
    let both = futures::future::join_all(both.iter().map(|one| hall.ask::<StockMovement>(method, one))).await;
    assert!(both.iter().all(Result::is_ok), "{both:?}");
    let list = ListStockMovementsRequest {
        parent: "centers/C1/products/RICE".into(),
        page_size: 2,
        ..Default::default()
    };
    let page: ListStockMovementsResponse = hall.ask("CatalogueService/ListStockMovements", &list).await.unwrap();
    let told: Vec<_> = page.movements.iter().map(|moved| (moved.number, moved.stock)).collect();
    assert!(told == [(3, 8), (2, 6)] || told == [(3, 8), (2, 7)], "{told:?}");
    let next = ListStockMovementsRequest {
        page_token: page.next_page_token,
        ..list
    };
    let page: ListStockMovementsResponse = hall.ask("CatalogueService/ListStockMovements", &next).await.unwrap();
    assert_eq!((page.movements.len(), page.next_page_token.as_str()), (1, ""));
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stock_and_prices_that_the_owner_changes_are_noticed() {
    let world = World::build().await;
    world.endow("D1", "100.00").await;
    moved(&world.process, &world.center, "RICE", MovementKind::Received, 10)
        .await
        .unwrap();
    let bought = world.buy("D1", &[("RICE", 4)]).await.unwrap();
    moved(&world.process, &world.center, "RICE", MovementKind::Corrected, -1)
        .await
        .unwrap();
    super::raise(&world.process, &world.center, "SOAP", "8.00").await;
    assert_eq!(bought.seq().0, 2);
    let changes = [
        (
            "update product_stock set on_hand = 6",
            "product_stock RICE: stored as 6, the records say 5",
        ),
        (
            "update stock_movement set quantity = 11 where number = 1",
            "stock_movement RICE 1: stored as number 1 with 10 left",
        ),
        (
            "delete from stock_movement where number = 2",
            "product_stock RICE: stored as 5, the records say 6",
        ),
        (
            "update stock_movement set after_seq = 1 where number = 2",
            "stock_movement RICE 2: stored as number 2 with 5 left",
        ),
        (
            "update product_price set price = 2 where product_id = 'RICE'",
            "transaction 2: RICE costs 2.50 by its version 2",
        ),
        (
            "update product set price = 1 where product_id = 'BOOK'",
            "product_price BOOK: the product is not as its last",
        ),
        (
            "update product_price set approval_no = null where approval_no is not null",
            "product_price SOAP: two people did not allow version 2",
        ),
        (
            "alter table approval_grant drop constraint approval_grant_checker; delete from approval_decision",
            "product_price SOAP: two people did not allow version 2",
        ),
        (
            "update product_price set version = 3 where product_id = 'BOOK'; update product set version = 3 where product_id = 'BOOK'",
            "product_price BOOK: version 3 is not the next",
        ),
    ];
    each_is_named(&world, &changes).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_keeps_prices_and_stock_in_bounds() {
    let world = World::build().await;
    count(&world.process, &world.center, "RICE").await;
    for (change, constraint) in [
        ("update product_stock set on_hand = -1", "product_stock_never_negative"),
        (
            "update product set price = 2.51 where product_id = 'RICE'",
            "product_shelf_price",
        ),
        ("update product set barcode = '12'", "product_barcode"),
    ] {
        let mut tx = world.process.database.lane.begin().await.unwrap();
        let error = sqlx::raw_sql(change).execute(&mut *tx).await.unwrap_err();
        assert_eq!(custody_ledger::db::constraint::name(&error), Some(constraint));
    }
}
