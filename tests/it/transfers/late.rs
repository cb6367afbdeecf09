//! Money that comes when the detainee has moved: it follows them; and money that has moved and goes back to its payer.

use std::sync::Arc;

use custody_ledger::{
    approval::{Desk, End},
    custody::{DetaineeState, Screening, Settings},
    ids::{RemittanceId, Seq},
    jobs::polling::{self, Open},
    proto::{TransactionKind, journal_record::Facts},
    refund::{Review, ReviewRunner, Stage, ask_for_review},
    remittance::{LegState, Remittance, suspense::FORWARDED},
    transfer::NewBringBack,
    unmatched::{Line, UnmatchedSums},
    work::{ItemFilter, WorkKind, WorkQueue},
};
use time::macros::date;
use uuid::Uuid;

use super::{Road, transfers};
use crate::{
    all_domains::person,
    others,
    world::{self, cny, id, reason, request},
};

/// Sends late money of all centers after its detainees.
async fn follow(road: &Road) {
    let open = Open::Late(road.economy.house.remittances.clone(), transfers(road.near()));
    polling::look(&open, &road.near().custody).await;
}

async fn ordered(road: &Road, detainee: &str, amount: &str) -> RemittanceId {
    let (order, _) = road.economy.order(Uuid::new_v4(), detainee, amount).await.unwrap();
    order.id
}

/// Where a remittance stands, and the last word of it.
async fn told(road: &Road, remittance: &RemittanceId) -> (Stage, [&'static str; 2]) {
    let found = remittance_of(road, remittance).await;
    let journey = road
        .economy
        .house
        .refunds
        .journeys(road.c1(), &[found])
        .await
        .unwrap()
        .remove(0);
    (journey.stage, journey.steps.last().unwrap().words())
}

async fn remittance_of(road: &Road, remittance: &RemittanceId) -> Remittance {
    road.economy
        .house
        .remittances
        .remittance(road.c1(), remittance)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_is_paid_late_follows_however_far() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    let (first, second, third) = (
        ordered(&road, "D1", "50.00").await,
        ordered(&road, "D1", "70.00").await,
        ordered(&road, "D1", "90.00").await,
    );
    road.transfer((&c1, "D1"), (&c2, "X1")).await;
    let paid = road.economy.pay_late(&first).await;
    assert_eq!(paid.state(), LegState::Suspended);
    assert!(told(&road, &first).await.1[0].contains("on its way after them"));
    road.verified().await;

    follow(&road).await;
    assert_eq!(road.balances(&c2, "X1").await[0], "50.00");
    assert_eq!(road.balances(&c1, "D1").await, ["0.00"; 4]);
    assert_eq!(road.clearing(&c2).await, cny("50").value());
    let found = remittance_of(&road, &first).await;
    assert_eq!(found.leg(LegState::Credited).unwrap().detail, FORWARDED);
    let (stage, words) = told(&road, &first).await;
    assert_eq!(stage, Stage::Of(LegState::Credited));
    assert!(words[0].contains("in their account there"), "{words:?}");
    // The family sees it where they are now.
    let unspent = road.economy.house.refunds.unspent(&c2, &id("X1"), None).await.unwrap();
    assert_eq!(
        (unspent.remittances[0].payer.as_str(), unspent.total),
        ("P1", cny("50"))
    );
    // Looked at once more, it is not there twice.
    road.economy.look_again(&first).await;
    follow(&road).await;
    assert_eq!(road.balances(&c2, "X1").await[0], "50.00");
    road.verified().await;

    // Back where it was ordered, under another number: it need not leave the center.
    road.transfer((&c2, "X1"), (&c1, "D1-2")).await;
    road.economy.pay_late(&second).await;
    follow(&road).await;
    assert_eq!(road.balances(&c1, "D1-2").await[0], "120.00");
    assert_eq!(road.clearing(&c1).await, cny("0").value());
    // And gone again.
    road.transfer((&c1, "D1-2"), (&c2, "X1-2")).await;
    road.economy.pay_late(&third).await;
    follow(&road).await;
    assert_eq!(road.balances(&c2, "X1-2").await[0], "210.00");
    road.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_follow_waits_with_an_item_and_then_goes_back() {
    let mut road = Road::on(date!(2031 - 05 - 06)).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    let late = ordered(&road, "D1", "50.00").await;
    road.transfer((&c1, "D1"), (&c2, "X1")).await;
    // They have left from there with nothing.
    let refunds = road.economy.house.refunds.clone();
    let gone = refunds.request_release(
        &c2,
        request("test/Release", b"X1"),
        person("alice"),
        id("X1"),
        "none".into(),
    );
    others::allowed(road.near(), &road.desk(&c2), &c2, gone.await)
        .await
        .unwrap();
    assert_eq!(road.state(&c2, "X1").await, DetaineeState::Released);
    road.economy.pay_late(&late).await;
    follow(&road).await;
    follow(&road).await;
    let items = |kind| {
        let (queue, c1) = (WorkQueue::new(road.near().lanes.clone()), c1.clone());
        let filter = ItemFilter {
            open: true,
            kind: Some(kind),
            ..ItemFilter::default()
        };
        async move { queue.list(&c1, &filter, 10).await.unwrap().len() }
    };
    assert_eq!(items(WorkKind::LateMoney).await, 1);
    road.verified().await;
    // After seven days in suspense it goes back to who paid, and nothing of it is left to do.
    road.economy.move_to(date!(2031 - 05 - 14));
    road.far = road.economy.world.another_process();
    let aged = Open::Aged(
        road.economy.house.remittances.clone(),
        road.economy.house.refunds.clone(),
    );
    assert_eq!(polling::look(&aged, &road.near().custody).await, 1);
    follow(&road).await;
    let queue = WorkQueue::new(road.near().lanes.clone());
    let open = ItemFilter {
        open: true,
        ..ItemFilter::default()
    };
    assert!(queue.list(&c1, &open, 10).await.unwrap().is_empty());
    assert_eq!(told(&road, &late).await.0, Stage::Returning);
    road.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn moved_money_goes_back_to_its_payer_the_way_it_came() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    let paid = ordered(&road, "D1", "300.00").await;
    road.economy.pay(&paid).await;
    world::buy(road.near(), &c1, Uuid::new_v4(), "D1", &[("SOAP", 5)])
        .await
        .unwrap();
    road.transfer((&c1, "D1"), (&c2, "X1")).await;

    // Where it was paid they say where it is.
    let moved = road
        .economy
        .refund(Uuid::new_v4(), paid.as_str(), "10.00")
        .await
        .unwrap_err();
    assert_eq!(reason(&moved), "MONEY_MOVED");
    let bring = |name: String, amount: &'static str| {
        let (road, c1, c2) = (&road, c1.clone(), &c2);
        async move {
            let new = NewBringBack {
                detainee: id("X1"),
                remittance: name.clone(),
                amount: cny(amount),
                reason: "the family needs it".into(),
                consent: Some("K-1".into()),
            };
            let body = format!("{name} {amount}");
            let request = request("test/BringBack", body.as_bytes());
            let asked = transfers(&road.far)
                .bring_back(c2, request, person("alice"), (c1, new))
                .await;
            others::allowed(&road.far, &road.desk(c2), c2, asked).await
        }
    };
    let name = format!("centers/C1/remittances/{paid}");
    let new = NewBringBack {
        detainee: id("X1"),
        remittance: name.clone(),
        amount: cny("1"),
        reason: "the family needs it".into(),
        consent: None,
    };
    let asked = request("test/BringBack", b"without consent");
    let alone = transfers(&road.far)
        .bring_back(&c2, asked, person("alice"), (c1.clone(), new))
        .await;
    assert_eq!(reason(&alone.unwrap_err()), "CONSENT_REQUIRED");
    assert_eq!(
        reason(&bring(name.clone(), "280.01").await.unwrap_err()),
        "REFUND_EXCEEDS_UNSPENT"
    );
    let other = bring("centers/C1/remittances/R0".into(), "1.00").await.unwrap_err();
    assert_eq!(reason(&other), "NOT_BROUGHT_HERE");
    let back = bring(name.clone(), "200.00").await.unwrap();
    assert_eq!(back.record.kind(), TransactionKind::BroughtBackOut);
    assert_eq!(road.balances(&c2, "X1").await[0], "80.00");
    assert_eq!(road.clearing(&c2).await, cny("80").value());
    road.verified().await;

    // From suspense there it goes back by itself.
    let (remittances, refunds) = (&road.economy.house.remittances, &road.economy.house.refunds);
    assert_eq!(refunds.return_due(remittances, &c1, 10).await.unwrap(), 1);
    let sent = refunds
        .list(&c1, None, Some(&paid), None, None, 10)
        .await
        .unwrap()
        .remove(0);
    let seq = Seq(sent.requested.seq);
    // The gateway cannot: it is in suspense, for people, and refunded by two of them.
    road.economy.end_refund(seq, true).await;
    let suspended = remittance_of(&road, &paid).await.suspended.remove(0);
    assert_eq!(suspended.left().unwrap(), cny("200"));
    road.verified().await;
    let new = custody_ledger::refund::NewRefund {
        suspense: Some(suspended.seq),
        ..custody_ledger::refund::NewRefund::of(paid.clone(), cny("200"), "once more")
    };
    let asked = refunds
        .request_refund(&c1, request("test/Refund", b"again"), person("alice"), new)
        .await;
    let again = others::allowed(road.near(), &road.desk(&c1), &c1, asked).await.unwrap();
    road.economy.end_refund(again.seq(), false).await;
    let (stage, _) = told(&road, &paid).await;
    assert_eq!(stage, Stage::PartRefunded);
    // What is left of it is still known, and no more.
    assert_eq!(
        reason(&bring(name.clone(), "80.01").await.unwrap_err()),
        "REFUND_EXCEEDS_UNSPENT"
    );
    bring(name.clone(), "80.00").await.unwrap();
    assert_eq!(road.balances(&c2, "X1").await[0], "0.00");
    assert_eq!(road.clearing(&c1).await, cny("0").value());
    road.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_of_an_earlier_stay_in_the_same_center_goes_back_from_there() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    let paid = ordered(&road, "D1", "100.00").await;
    road.economy.pay(&paid).await;
    road.transfer((&c1, "D1"), (&c2, "X1")).await;
    road.transfer((&c2, "X1"), (&c1, "D1-2")).await;
    let new = NewBringBack {
        detainee: id("D1-2"),
        remittance: format!("centers/C1/remittances/{paid}"),
        amount: cny("60"),
        reason: "the family needs it".into(),
        consent: Some("K-1".into()),
    };
    let request = request("test/BringBack", b"home");
    let asked = transfers(road.near())
        .bring_back(&c1, request, person("alice"), (c1.clone(), new))
        .await;
    let done = others::allowed(road.near(), &road.desk(&c1), &c1, asked).await.unwrap();
    let Some(Facts::BroughtBack(facts)) = &done.record.facts else {
        panic!("{done:?}")
    };
    assert_eq!(facts.other.as_ref().unwrap().seq, 0);
    assert_eq!(road.balances(&c1, "D1-2").await[0], "40.00");
    road.verified().await;
    let (remittances, refunds) = (&road.economy.house.remittances, &road.economy.house.refunds);
    assert_eq!(refunds.return_due(remittances, &c1, 10).await.unwrap(), 1);
    road.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_line_that_names_the_old_number_follows_when_two_people_say_so() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    road.transfer((&c1, "D1"), (&c2, "X1")).await;
    let unmatched = UnmatchedSums::new(road.near().lanes.clone(), road.near().custody.clone());
    let line = Line {
        bank_reference: "B-1".into(),
        amount: cny("45"),
        value_date: date!(2031 - 05 - 06),
        payer_name: "Mother".into(),
        payer_account: "6222".into(),
        custody_number: "D1".into(),
        detainee_name: "D1".into(),
        birth_date: None,
        remark: String::new(),
    };
    let (sum, _) = unmatched.record(&c1, request("test/Line", b"B-1"), line).await.unwrap();
    let asked = unmatched.propose_credit(
        &c1,
        request("test/Match", b"B-1"),
        person("alice"),
        sum.seq,
        id("D1"),
        "is D1".into(),
    );
    let (approval, _) = asked.await.unwrap();
    let ended = others::decided(&road.desk(&c1), &c1, &approval).await;
    assert!(matches!(ended.end, Some((End::Executed(Some(_)), _))), "{ended:?}");
    assert_eq!(road.balances(&c2, "X1").await[0], "45.00");
    assert_eq!(road.clearing(&c2).await, cny("45").value());
    assert!(unmatched.get(&c1, sum.seq).await.unwrap().end.is_some());
    road.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_released_from_review_follows() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    let strict = |settings: Settings| {
        Ok(Settings {
            screening: Screening {
                payment_max: 1,
                ..settings.screening
            },
            ..settings
        })
    };
    road.near()
        .custody
        .change_settings(&c1.id, "test", strict)
        .await
        .unwrap();
    for (amount, state) in [("10.00", LegState::Credited), ("20.00", LegState::Held)] {
        let order = ordered(&road, "D1", amount).await;
        assert_eq!(road.economy.pay(&order).await.state(), state);
        if state == LegState::Credited {
            continue;
        }
        road.transfer((&c1, "D1"), (&c2, "X1")).await;
        let (house, lanes) = (&road.economy.house, &road.near().lanes);
        let runner = ReviewRunner::new(Review::Release, house.remittances.clone(), house.refunds.clone());
        let desk = Desk::new(lanes.clone(), [transfers(road.near()).following(Arc::new(runner))]);
        let asked = (request("test/Review", b"release"), person("alice"));
        let asked = ask_for_review(
            desk.approvals(),
            &c1,
            asked,
            Review::Release,
            order.clone(),
            "is the aunt".into(),
        );
        let (approval, _) = asked.await.unwrap();
        let ended = others::decided(&desk, &c1, &approval).await;
        assert!(matches!(ended.end, Some((End::Executed(Some(_)), _))), "{ended:?}");
        let found = remittance_of(&road, &order).await;
        assert!(found.leg(LegState::Released).is_some());
        assert_eq!(found.leg(LegState::Credited).unwrap().detail, FORWARDED);
    }
    assert_eq!(road.balances(&c2, "X1").await[0], "30.00");
    road.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_could_not_run_any_more_says_so() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    let proposal = road.propose((&c1, "D1"), (&c2, "X1")).await.unwrap();
    road.allow(&c1, &proposal.sent, "bob").await;
    road.economy.release(Uuid::new_v4(), "D1").await.unwrap();
    let open = road
        .desk(&c2)
        .approvals()
        .open_about(&c2, "detainees/X1")
        .await
        .unwrap()
        .unwrap();
    let ended = road.allow(&c2, &open, "carol").await;
    let Some((End::Failed(refusal), _)) = ended.end else {
        panic!("{ended:?}")
    };
    assert_eq!(refusal.reason().as_str_name(), "REASON_DETAINEE_NOT_ACTIVE");
    assert!(road.near().custody.detainee(&c2, &id("X1")).await.is_err());
    road.verified().await;
}
