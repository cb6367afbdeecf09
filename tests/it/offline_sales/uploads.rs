//! Streams of sales: repeats, gaps, any order, two processes, and a service that is killed between two sales.

use custody_ledger::{commissary::MovementKind, ids::ProductId};
use futures::future::join_all;

use super::*;
use crate::goods;

/// A till with some sales of 4.00 each within an allowance of D1's.
async fn sold(stall: &Stall, count: usize, most: &str) -> (Till, Allowance, Vec<Signed>) {
    let mut till = stall.till("T1").await;
    let allowance = stall.reserve(&till, "D1", most, 8).await.unwrap();
    let sales = (0..count).map(|_| till.sell(&allowance, "D1", &[(SOAP, 1)])).collect();
    (till, allowance, sales)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_answered_and_changes_nothing() {
    let stall = Stall::open().await;
    let (till, _, sales) = sold(&stall, 3, "40.00").await;
    let first = stall.upload(&till, &sales[..2]).await.unwrap();
    let again = stall.upload(&till, &sales).await.unwrap();
    assert_eq!(told(&again), ["1 CAPTURED again", "2 CAPTURED again", "3 CAPTURED"]);
    assert_eq!(first[1].transaction, again[1].transaction);
    assert_eq!(stall.has("D1").await, ("60.00".into(), "28.00".into()));
    // Staff send what the terminal's storage holds.
    let finance = stall.token(Role::Finance, "alice");
    let outcomes = upload(stall.channel.clone(), &finance, &till.name(), &sales)
        .await
        .unwrap();
    assert!(outcomes.iter().all(|outcome| outcome.replayed));
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gaps_are_named_and_what_comes_after_waits_for_them() {
    let stall = Stall::open().await;
    let (till, allowance, sales) = sold(&stall, 6, "40.00").await;
    let late = [&sales[1], &sales[5], &sales[3]].map(Clone::clone);
    let outcomes = stall.upload(&till, &late).await.unwrap();
    assert_eq!(told(&outcomes), ["2 WAITING", "6 WAITING", "4 WAITING"]);
    let gaps = |ranges: &[NumberRange]| ranges.iter().map(|range| (range.first, range.last)).collect::<Vec<_>>();
    assert_eq!(gaps(&outcomes[1].missing), [(1, 1), (3, 5)]);
    assert_eq!(gaps(&outcomes[2].missing), [(1, 1), (3, 3)]);
    assert_eq!(gaps(&stall.chain(&till).await.missing), [(1, 1), (3, 3), (5, 5)]);
    assert_eq!(stall.has("D1").await, ("60.00".into(), "40.00".into()));
    assert_eq!(stall.work(WorkKind::OfflineGap).await.len(), 1);
    stall.verified().await;

    let outcomes = stall
        .upload(&till, &[sales[3].clone(), sales[0].clone()])
        .await
        .unwrap();
    assert_eq!(told(&outcomes), ["4 WAITING again", "1 CAPTURED"]);
    assert_eq!(stall.chain(&till).await.last_number, 2);
    assert_eq!(refused(stall.end(&till, &allowance, 6).await), "SALES_MISSING");
    let outcomes = stall
        .upload(&till, &[sales[4].clone(), sales[2].clone()])
        .await
        .unwrap();
    assert_eq!(told(&outcomes), ["5 WAITING", "3 CAPTURED"]);
    let chain = stall.chain(&till).await;
    assert_eq!(
        (chain.last_number, chain.last_hash.as_slice()),
        (6, till.hash.as_slice())
    );
    assert!(chain.missing.is_empty() && stall.work(WorkKind::OfflineGap).await.is_empty());
    let ended = stall.end(&till, &allowance, 6).await.unwrap();
    assert_eq!((amount(&ended.captured), amount(&ended.released)), ("24.00", "16.00"));
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_terminals_never_sell_the_same_cent() {
    let stall = Stall::open().await;
    let (mut one, mut other) = (stall.till("T1").await, stall.till("T2").await);
    let first = stall.reserve(&one, "D1", "30.00", 8).await.unwrap();
    let second = stall.reserve(&other, "D1", "30.00", 8).await.unwrap();
    // A terminal that sells more than it has, or within another's, is not paid for it.
    let sales = [
        one.sell(&first, "D1", &[(SOAP, 7)]),
        one.sell(&first, "D1", &[(SOAP, 1)]),
        one.sell(&second, "D1", &[(SOAP, 1)]),
        one.sell(&first, "D2", &[(RICE, 1)]),
    ];
    assert_eq!(
        told(&stall.upload(&one, &sales).await.unwrap()),
        [
            "1 CAPTURED",
            "2 SHORTAGE ALLOWANCE_EXCEEDED",
            "3 REVIEW ALLOWANCE_UNKNOWN",
            "4 REVIEW ALLOWANCE_UNKNOWN"
        ]
    );
    let sale = other.sell(&second, "D1", &[(BOOK, 1)]);
    assert_eq!(told(&stall.upload(&other, &[sale]).await.unwrap()), ["1 CAPTURED"]);
    assert_eq!(stall.has("D1").await, ("40.00".into(), "2.00".into()));
    assert_eq!(stall.has("D2").await, ("100.00".into(), "0.00".into()));
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_take_the_same_sales_once() {
    let stall = Stall::open().await;
    let (till, _, sales) = sold(&stall, 12, "60.00").await;
    let mut second = Service::start(Some(&stall.db.url)).await;
    let terminal = Scope {
        center: Some(CenterId::parse("C1").unwrap()),
        payer: None,
        terminal: Some(TerminalId::parse("T1").unwrap()),
    };
    let elsewhere = second.token_of("T1", Role::Terminal, terminal);
    let here = stall.token(Role::Terminal, "T1");
    let (name, there) = (till.name(), second.channel().await);
    let backwards: Vec<Signed> = sales.iter().rev().cloned().collect();
    let streams = join_all([
        upload(stall.channel.clone(), &here, &name, &sales),
        upload(there.clone(), &elsewhere, &name, &sales),
        upload(there, &elsewhere, &name, &backwards),
    ]);
    for outcomes in streams.await {
        assert_eq!(outcomes.unwrap().len(), 12);
    }
    let all = stall.upload(&till, &sales).await.unwrap();
    assert!(
        all.iter()
            .all(|outcome| outcome.replayed && outcome.state() == OfflineSaleState::Captured)
    );
    assert_eq!(stall.has("D1").await, ("40.00".into(), "12.00".into()));
    assert!(stall.work(WorkKind::OfflineEvidence).await.is_empty());
    second.kill().await;
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_killed_between_two_sales_loses_none() {
    let mut stall = Stall::open().await;
    let (till, allowance, sales) = sold(&stall, 20, "80.00").await;
    let mut answered = 0;
    for life in 0..4 {
        // Answers are read one by one until the power goes.
        let token = stall.token(Role::Terminal, "T1");
        let messages: Vec<_> = sales[answered..]
            .iter()
            .map(|sale| message_of(&till.name(), sale))
            .collect();
        let asked = with_token(&token, tokio_stream::iter(messages));
        let mut answers = stall.client().upload_offline_sales(asked).await.unwrap().into_inner();
        for _ in 0..(3 + life) {
            let outcome = answers.message().await.unwrap().unwrap();
            assert_eq!(outcome.state(), OfflineSaleState::Captured, "{outcome:?}");
            answered += 1;
            assert_eq!(outcome.number, i64::try_from(answered).unwrap());
        }
        stall.service.kill().await;
        drop(answers);
        stall.service.restart().await;
        stall.channel = stall.service.channel().await;
        stall.verified().await;
    }
    let outcomes = stall.upload(&till, &sales).await.unwrap();
    assert!(
        outcomes
            .iter()
            .all(|outcome| outcome.state() == OfflineSaleState::Captured)
    );
    assert!(outcomes[..answered].iter().all(|outcome| outcome.replayed));
    let ended = stall.end(&till, &allowance, 20).await.unwrap();
    assert_eq!((amount(&ended.captured), amount(&ended.released)), ("80.00", "0.00"));
    assert_eq!(stall.has("D1").await, ("20.00".into(), "0.00".into()));
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn goods_that_are_gone_are_gone_whatever_the_books_say() {
    let stall = Stall::open().await;
    let (process, center) = (&stall.process, &stall.center);
    goods::moved(process, center, "RICE", MovementKind::Received, 3)
        .await
        .unwrap();
    let product = process
        .commissary
        .product(center, &ProductId::parse("RICE").unwrap())
        .await
        .unwrap();
    let rice = ("RICE", product.version, "2.50");
    let mut till = stall.till("T1").await;
    let allowance = stall.reserve(&till, "D1", "40.00", 8).await.unwrap();
    let sales = [
        till.sell(&allowance, "D1", &[(rice, 1)]),
        till.sell(&allowance, "D1", &[(rice, 1), (rice, 4)]),
    ];
    let outcomes = stall.upload(&till, &sales).await.unwrap();
    assert_eq!(told(&outcomes), ["1 CAPTURED", "2 CAPTURED"]);
    assert!(outcomes[0].flags.is_empty());
    assert_eq!(outcomes[1].flags, ["STOCK_SHORT"]);
    assert_eq!(goods::stock(process, center, "RICE").await, Some(0));
    assert_eq!(stall.has("D1").await, ("60.00".into(), "25.00".into()));
    stall.verified().await;
}
