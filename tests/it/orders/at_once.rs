//! The same order in two processes at once, through power cuts, and changed by the database's owner.

use std::time::Duration;

use custody_ledger::{access::Role, clock::Clock, commissary::MovementKind, commissary::OrderVerb, proto::Order};
use futures::future::join_all;
use time::macros::datetime;
use tonic::Code;
use uuid::Uuid;

use super::{change, come, delivery, order, order_of};
use crate::{
    goods,
    tampering::each_is_named,
    whole_service::{self, Hall},
    world::{World, endow, reason},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_delivered_or_cancelled_by_whoever_is_first() {
    let world = World::build().await;
    world.endow("D1", "200.00").await;
    let other = world.another_process();
    let mut orders = Vec::new();
    for _ in 0..24 {
        let placed = order(&world.process, &world, Uuid::new_v4(), "D1", &[("RICE", 3)]).await;
        orders.push(placed.unwrap().seq());
    }
    let (same, cancelled) = (Uuid::new_v4, OrderVerb::Cancel);
    let mut delivered = 0;
    for pair in orders.chunks(8) {
        let ids: Vec<Uuid> = pair.iter().map(|_| same()).collect();
        let both = pair.iter().zip(&ids).map(|(seq, id)| async {
            // The same delivery in both processes, and somebody who gives up.
            let here = change(&world.process, &world, *id, *seq, come(1, 2, 1));
            let there = change(&other, &world, *id, *seq, come(1, 2, 1));
            let given_up = change(&other, &world, Uuid::new_v4(), *seq, cancelled.clone());
            tokio::join!(here, there, given_up)
        });
        for (here, there, given_up) in join_all(both).await {
            match (here, there) {
                (Ok(here), Ok(there)) => {
                    assert_eq!(here.seq(), there.seq());
                    assert!(here.replayed != there.replayed || here.replayed);
                    assert_eq!(reason(&given_up.unwrap_err()), "ORDER_NOT_OPEN");
                    delivered += 1;
                }
                (Err(here), Err(there)) => {
                    assert_eq!([reason(&here), reason(&there)], ["ORDER_NOT_OPEN"; 2]);
                    assert!(given_up.is_ok());
                }
                (here, there) => panic!("{here:?}, {there:?}"),
            }
        }
    }
    let spent = 5 * delivered;
    assert_eq!(world.available("D1").await, format!("{}.00", 200 - spent));
    world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_that_are_over_end_once_in_two_processes() {
    let clock = Clock::starting_at(datetime!(2031-05-06 02:00 UTC));
    let world = World::build_with(clock.clone(), 4096).await;
    world.endow("D1", "100.00").await;
    goods::moved(&world.process, &world.center, "RICE", MovementKind::Received, 100)
        .await
        .unwrap();
    let mut seqs = Vec::new();
    for _ in 0..30 {
        let placed = order(&world.process, &world, Uuid::new_v4(), "D1", &[("RICE", 1)]).await;
        seqs.push(placed.unwrap().seq());
    }
    change(&world.process, &world, Uuid::new_v4(), seqs[0], come(1, 1, 0))
        .await
        .unwrap();
    let other = world.another_process();
    let look = || {
        let (here, there) = (&world.process.commissary, &other.commissary);
        async {
            tokio::join!(
                here.expire_orders(&world.center, 50),
                there.expire_orders(&world.center, 50)
            )
        }
    };
    let (here, there) = look().await;
    assert_eq!((here.unwrap(), there.unwrap()), (0, 0));
    clock.turn_to(datetime!(2031-05-13 02:10 UTC));
    let (here, there) = look().await;
    // Each is answered for every order that it asked about, and nothing is given back twice.
    assert!(here.unwrap() + there.unwrap() >= 29);
    assert_eq!(world.available("D1").await, "97.50");
    assert_eq!(goods::stock(&world.process, &world.center, "RICE").await, Some(99));
    assert_eq!(world.verified().await, 1 + 30 + 1 + 29);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_is_killed_while_orders_are_placed_and_delivered() {
    let mut hall = Hall::open().await;
    endow(&hall.process, &hall.center, "D1", "100.00").await;
    let ids: Vec<[String; 2]> = (0..12)
        .map(|_| [Uuid::new_v4(), Uuid::new_v4()].map(|id| id.to_string()))
        .collect();
    let (terminal, shop) = (hall.token(Role::Terminal), hall.token(Role::Commissary));
    let mut done = vec![false; ids.len()];
    for round in 0.. {
        assert!(round < 20, "{done:?}");
        let (mut calls, channel) = (tokio::task::JoinSet::new(), hall.service.channel().await);
        for (at, [placing, delivering]) in ids.iter().enumerate().filter(|(at, _)| !done[*at]) {
            let (channel, terminal, shop) = (channel.clone(), terminal.clone(), shop.clone());
            let message = prost::Message::encode_to_vec(&order_of(placing, "D1", &[("RICE", 2), ("SOAP", 1)]));
            let delivering = delivering.clone();
            calls.spawn(async move {
                let placed = whole_service::call(channel.clone(), "OrderService/CreateOrder", &terminal, message).await;
                let Ok(placed) = placed else { return (at, placed.err()) };
                let placed: Order = prost::Message::decode(placed.message.as_slice()).unwrap();
                let message = delivery(&delivering, &placed.name, &[(1, 1, 1), (2, 1, 0)]);
                let message = prost::Message::encode_to_vec(&message);
                let came = whole_service::call(channel, "OrderService/ConfirmDelivery", &shop, message).await;
                (at, came.err())
            });
        }
        if round < 3 {
            tokio::time::sleep(Duration::from_millis(8 * round)).await;
            hall.service.kill().await;
        }
        for (at, error) in calls.join_all().await {
            done[at] = error.is_none();
            let is_definite = error.is_some_and(|status| status.code() == Code::FailedPrecondition);
            assert!(!is_definite, "an order is refused");
        }
        if round < 3 {
            hall.service.restart().await;
        }
        if done.iter().all(|done| *done) {
            break;
        }
    }
    // 100.00 and 100.00, less 10.00 of two days ago; each order has paid for one RICE and one SOAP.
    let balances = hall.balances("D1").await;
    assert_eq!(balances[..2], ["112.00".to_owned(), "0.00".to_owned()]);
    hall.channel = hall.service.channel().await;
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_that_the_owner_changes_are_noticed() {
    let world = World::build().await;
    world.endow("D1", "100.00").await;
    let placed = order(
        &world.process,
        &world,
        Uuid::new_v4(),
        "D1",
        &[("RICE", 4), ("SOAP", 1)],
    )
    .await;
    let seq = placed.unwrap().seq();
    change(&world.process, &world, Uuid::new_v4(), seq, come(1, 2, 1))
        .await
        .unwrap();
    change(
        &world.process,
        &world,
        Uuid::new_v4(),
        seq,
        OrderVerb::Dispute { line: 1 },
    )
    .await
    .unwrap();
    let changes = [
        (
            "update placed_order set detainee_id = 'D2'",
            "placed_order 2: stored as",
        ),
        (
            "update placed_order set expires_at = expires_at + interval '1 day'",
            "placed_order 2: stored as",
        ),
        (
            "update placed_order set changes = 3",
            "placed_order 2: its state is not what became of it",
        ),
        (
            "update placed_order set state = 'SHORT'",
            "placed_order 2: its state is not what became of it",
        ),
        (
            "update placed_order_line set unit_price = 2 where line = 1",
            "placed_order_line 2 line 1: stored as",
        ),
        (
            "update placed_order_line set open = 0, released = 2 where line = 1",
            "placed_order_line 2 line 1: what is to come",
        ),
        (
            "update placed_order_line set disputed = 0, delivered = 2, dispute_seq = null where line = 1",
            "placed_order_line 2 line 1: what is to come",
        ),
        (
            "update placed_order_line set payable_no = 17 where line = 1",
            "placed_order_line 2 line 1: account 17",
        ),
        (
            "delete from placed_order_change where seq = 3",
            "placed_order_change 3 order 2 line 1: not stored",
        ),
        (
            "update placed_order_change set delivered = 1, released = 2 where seq = 3",
            "placed_order_change 3 order 2 line 1: stored as",
        ),
        ("delete from work_item_open", "work_item_open"),
    ];
    each_is_named(&world, &changes).await;
}
