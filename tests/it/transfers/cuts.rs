//! Power cuts in the middle of a move, of either center's process, and a database that goes away: all of it has moved, or nothing.

use std::time::Duration;

use custody_ledger::{
    custody::DetaineeState,
    ledger::{Center, LedgerError},
    proto::{Transfer, approval},
};
use time::macros::date;

use super::{
    Road, clearing,
    over_the_wire::{approve, open, proposal, token},
    transfers,
};
use crate::{
    all_domains::person,
    whole_service::Hall,
    world::{self, Process, id},
};

/// How long after the decision was sent the power is cut, in milliseconds.
const CUTS_MS: [u64; 8] = [0, 1, 3, 6, 10, 15, 25, 60];

/// Whether somebody has moved, whole; fails on anything in between.
async fn has_moved(process: &Process, (c1, c2): (&Center, &Center), before: &str, after: &str) -> bool {
    let left = process.custody.detainee(c1, &id(before)).await.unwrap();
    let received = process.custody.detainee(c2, &id(after)).await;
    let balance = |center: &Center, detainee: &str| {
        let (process, center, detainee) = (process.clone(), center.clone(), id(detainee));
        async move {
            process
                .custody
                .balances(&center, &detainee)
                .await
                .unwrap()
                .available
                .to_string()
        }
    };
    assert_eq!(clearing(process, c1).await, -clearing(process, c2).await);
    match received {
        Ok(received) => {
            assert_eq!(
                (left.state, received.state),
                (DetaineeState::Transferred, DetaineeState::Active)
            );
            assert_eq!([balance(c1, before).await, balance(c2, after).await], ["0.00", "70.00"]);
            true
        }
        Err(_) => {
            assert_eq!(left.state, DetaineeState::Active);
            assert_eq!(balance(c1, before).await, "70.00");
            false
        }
    }
}

async fn admit(hall: &Hall, detainee: &str) {
    let admission = custody_ledger::custody::Admission {
        id: id(detainee),
        name: detainee.into(),
        name_zh: "某".into(),
        tier: 1,
        birth_date: None,
    };
    hall.process.custody.admit(&hall.center, admission).await.unwrap();
    world::endow(&hall.process, &hall.center, detainee, "70.00").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_whole_whenever_the_power_is_cut() {
    let mut hall = Hall::open().await;
    let c2 = world::new_center(&hall.process, "C2").await;
    let (mut cut_before, mut cut_after) = (0, 0);
    for (number, cut) in CUTS_MS.into_iter().enumerate() {
        let (detainee, as_whom) = (format!("K{number}"), format!("X{number}"));
        admit(&hall, &detainee).await;
        hall.channel = hall.service.channel().await;
        let alice = token(&hall, "C1", "alice");
        let asked = proposal(&detainee, &as_whom);
        let proposed: Transfer = hall
            .ask_as("TransferService/ProposeTransfer", &alice, &asked)
            .await
            .unwrap();
        // The power is cut while the center that is left decides, …
        let sent = approve(&hall, &proposed.approval, "C1", "bob");
        let _ = tokio::time::timeout(Duration::from_millis(cut), sent).await;
        hall.service.kill().await;
        assert!(!has_moved(&hall.process, (&hall.center, &c2), &detainee, &as_whom).await);
        hall.service.restart().await;
        hall.channel = hall.service.channel().await;
        approve(&hall, &proposed.approval, "C1", "bob").await.unwrap();
        // … and again while the receiving one does.
        let offered = open(&hall, "C2").await.pop().unwrap();
        let received = approve(&hall, &offered.name, "C2", "carol");
        let _ = tokio::time::timeout(Duration::from_millis(cut), received).await;
        hall.service.kill().await;
        if has_moved(&hall.process, (&hall.center, &c2), &detainee, &as_whom).await {
            cut_after += 1;
        } else {
            cut_before += 1;
        }
        hall.service.restart().await;
        hall.channel = hall.service.channel().await;
        let ended = approve(&hall, &offered.name, "C2", "carol").await.unwrap();
        assert_eq!(ended.state(), approval::State::Executed);
        assert!(has_moved(&hall.process, (&hall.center, &c2), &detainee, &as_whom).await);
    }
    println!("cut before the commit {cut_before} times, after it {cut_after} times");
    for center in [&hall.center, &c2] {
        let side = transfers(&hall.process).list(center, None, 50).await;
        assert_eq!(side.unwrap().len(), CUTS_MS.len());
    }
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_move_is_whole_when_the_database_goes_away() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    world::endow(road.near(), &c1, "D1", "70.00").await;
    let proposal = road.propose((&c1, "D1"), (&c2, "X1")).await.unwrap();
    road.allow(&c1, &proposal.sent, "bob").await;
    let open = road
        .desk(&c2)
        .approvals()
        .open_about(&c2, "detainees/X1")
        .await
        .unwrap()
        .unwrap();
    let desk = road.desk(&c2);
    for pause in 0..12 {
        let cut = async {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            road.economy.world.db.cut_connections().await;
        };
        let carol = person("carol");
        let decided = desk.decide(
            &c2,
            open.no,
            &carol,
            custody_ledger::approval::Verdict::Approved,
            String::new(),
        );
        let (decided, ()) = tokio::join!(decided, cut);
        assert!(matches!(decided, Ok(_) | Err(LedgerError::Unavailable)), "{decided:?}");
        // Connections that were cut are noticed one by one.
        let fresh = road.economy.world.another_process();
        has_moved(&fresh, (&c1, &c2), "D1", "X1").await;
    }
    let fresh = road.economy.world.another_process();
    let desk = super::desk(&fresh, &road.economy);
    let carol = person("carol");
    let ended = desk
        .decide(
            &c2,
            open.no,
            &carol,
            custody_ledger::approval::Verdict::Approved,
            String::new(),
        )
        .await;
    assert!(ended.unwrap().end.is_some());
    assert!(has_moved(&fresh, (&c1, &c2), "D1", "X1").await);
    super::verified(&fresh, &[&c1, &c2]).await;
}
