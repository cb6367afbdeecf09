//! The life of a remittance, domain by domain: what the cap does not let in, what is held for review, what is too much in a month.

use std::time::Duration;

use custody_ledger::{
    clock::Clock,
    custody::{Screening, Settings},
    ids::Seq,
    ledger::LedgerError,
    refund::{RefundState, Refunds},
    remittance::{LegState, Remittance, Remittances},
};
use time::macros::date;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    all_domains::Economy,
    world::{Process, cny, id, reason},
};

const SUSPENSE: i16 = 2301;
const IN_TRANSIT: i16 = 2302;

async fn with(economy: &Economy, change: impl FnOnce(Settings) -> Settings) {
    let custody = &economy.world.process.custody;
    let changed = custody.change_settings(&economy.world.center.id, "admin/root", |settings| Ok(change(settings)));
    changed.await.unwrap();
}

async fn order(economy: &Economy, detainee: &str, amount: &str) -> Remittance {
    economy.order(Uuid::new_v4(), detainee, amount).await.unwrap().0
}

/// The refunds of a remittance: number, amount, state.
async fn refunds(economy: &Economy, remittance: &Remittance) -> Vec<(Seq, RefundState)> {
    let (center, refunds) = (&economy.world.center, &economy.house.refunds);
    let found = refunds.list(center, None, Some(&remittance.id), None, None, 10).await;
    let found = found.unwrap().into_iter();
    found.map(|refund| (Seq(refund.requested.seq), refund.state)).collect()
}

async fn send_back(economy: &Economy) -> usize {
    let house = &economy.house;
    let sent = house.refunds.return_due(&house.remittances, &economy.world.center, 10);
    sent.await.unwrap()
}

async fn money(economy: &Economy, detainee: &str) -> [String; 3] {
    let available = economy.world.available(detainee).await;
    [
        available,
        economy.total(SUSPENSE).await,
        economy.total(IN_TRANSIT).await,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_the_cap_at_capture_goes_back_once_whoever_looks() {
    let economy = Economy::on(date!(2031 - 05 - 06)).await;
    with(&economy, |settings| Settings {
        balance_cap: cny("100"),
        ..settings
    })
    .await;
    let paid = order(&economy, "D1", "60").await;
    // Then the balance changed.
    economy.world.endow("D1", "70").await;
    let told = economy.pay(&paid.id).await;
    assert_eq!(told.state(), LegState::Credited);
    assert_eq!(money(&economy, "D1").await, ["100.00", "30.00", "0.00"]);
    assert_eq!(
        economy.world.verified().await,
        2,
        "one transaction credits and puts aside"
    );
    let again = economy.look_again(&paid.id).await;
    assert_eq!(again, told);

    // Two processes look at the same time.
    let (center, lanes) = (&economy.world.center, economy.world.another_process());
    let (remittances, refunds_there) = domains(&economy, &lanes);
    let (here, there) = tokio::join!(
        economy.house.refunds.return_due(&economy.house.remittances, center, 10),
        refunds_there.return_due(&remittances, center, 10)
    );
    assert_eq!(here.unwrap() + there.unwrap(), 1);
    assert_eq!(money(&economy, "D1").await, ["100.00", "0.00", "30.00"]);
    let [(refund, _)] = refunds(&economy, &paid).await[..] else {
        panic!()
    };
    economy.end_refund(refund, false).await;
    assert_eq!(money(&economy, "D1").await, ["100.00", "0.00", "0.00"]);
    assert_eq!(
        economy.total(1101).await,
        "30.00",
        "what the gateway kept is what was credited"
    );
    assert_eq!(send_back(&economy).await, 0);
    // Of the payment no more than what is left can be refunded.
    let refused = economy
        .refund(Uuid::new_v4(), paid.id.as_str(), "30.01")
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "REFUND_EXCEEDS_ORIGINAL");
    economy.world.verified().await;
}

fn domains(economy: &Economy, process: &Process) -> (Remittances, Refunds) {
    let (lanes, custody) = (process.lanes.clone(), process.custody.clone());
    let channels = economy.house.remittances.channels().clone();
    (
        Remittances::new(lanes.clone(), custody.clone(), channels.clone()),
        Refunds::new(lanes, custody, channels),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_that_the_gateway_refuses_waits_in_suspense_for_people() {
    let economy = Economy::on(date!(2031 - 05 - 06)).await;
    let paid = order(&economy, "D1", "60").await;
    with(&economy, |settings| Settings {
        balance_cap: cny("10"),
        ..settings
    })
    .await;
    economy.world.endow("D1", "10").await;
    let told = economy.pay(&paid.id).await;
    assert_eq!(told.state(), LegState::Suspended);
    assert_eq!(told.suspended[0].reason, "BALANCE_CAP_EXCEEDED");
    assert_eq!(send_back(&economy).await, 1);
    let [(refund, _)] = refunds(&economy, &paid).await[..] else {
        panic!()
    };
    economy.end_refund(refund, true).await;
    assert_eq!(money(&economy, "D1").await, ["10.00", "60.00", "0.00"]);
    assert_eq!(send_back(&economy).await, 0, "people look after it now");
    economy.world.verified().await;
    let by_hand = economy.refund(Uuid::new_v4(), paid.id.as_str(), "60").await.unwrap();
    economy.end_refund(by_hand.seq(), false).await;
    assert_eq!(money(&economy, "D1").await, ["10.00", "0.00", "0.00"]);
    economy.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_and_not_decided_goes_back_after_72_hours() {
    let mut economy = Economy::on(date!(2031 - 05 - 06)).await;
    with(&economy, |settings| Settings {
        screening: Screening {
            payment_max: 1,
            ..settings.screening
        },
        ..settings
    })
    .await;
    let first = order(&economy, "D1", "50").await;
    assert_eq!(economy.pay(&first.id).await.state(), LegState::Credited);
    let second = order(&economy, "D1", "40").await;
    let held = economy.pay(&second.id).await;
    assert_eq!(held.state(), LegState::Held);
    let leg = held.leg(LegState::Held).unwrap();
    assert_eq!(leg.detail, "SCREENING_PAYMENTS");
    assert_eq!(leg.deadline, Some(leg.at + time::Duration::hours(72)));
    assert_eq!(money(&economy, "D1").await, ["50.00", "40.00", "0.00"]);
    // Nothing but the review moves it.
    assert_eq!(economy.look_again(&second.id).await.state(), LegState::Held);
    let refused = economy
        .refund(Uuid::new_v4(), second.id.as_str(), "40")
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "UNDER_REVIEW");
    assert_eq!(send_back(&economy).await, 0, "its time is not over");
    // It counts against the cap.
    with(&economy, |settings| Settings {
        balance_cap: cny("100"),
        ..settings
    })
    .await;
    let over = economy.order(Uuid::new_v4(), "D1", "10.01").await.unwrap_err();
    assert_eq!(reason(&over), "BALANCE_CAP_EXCEEDED");
    economy.world.verified().await;

    // On the ninth the clock begins a moment before the 72 hours are over.
    economy.move_to(date!(2031 - 05 - 10));
    assert_eq!(send_back(&economy).await, 1);
    let back = economy.look_again(&second.id).await;
    assert_eq!(back.state(), LegState::Rejected);
    assert_eq!(back.leg(LegState::Rejected).unwrap().detail, "REVIEW_TIMED_OUT");
    assert_eq!(money(&economy, "D1").await, ["50.00", "0.00", "40.00"]);
    let [(refund, _)] = refunds(&economy, &second).await[..] else {
        panic!()
    };
    economy.end_refund(refund, false).await;
    assert_eq!(money(&economy, "D1").await, ["50.00", "0.00", "0.00"]);
    economy.world.verified().await;
    // What was rejected counts neither against the cap nor as accepted.
    order(&economy, "D1", "50").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_has_so_many_payments_a_month() {
    let mut economy = Economy::on(date!(2031 - 05 - 06)).await;
    with(&economy, |settings| Settings {
        payment_count_max: 1,
        ..settings
    })
    .await;
    let first = order(&economy, "D1", "50").await;
    let refused = economy.order(Uuid::new_v4(), "D2", "10").await.unwrap_err();
    assert_eq!(reason(&refused), "PAYMENT_COUNT_EXCEEDED");
    // It expires, another is paid, and then its money comes after all.
    economy.move_to(date!(2031 - 05 - 07));
    let second = order(&economy, "D2", "20").await;
    assert_eq!(economy.pay(&second.id).await.state(), LegState::Credited);
    let late = economy.pay(&first.id).await;
    assert_eq!(late.state(), LegState::Suspended);
    assert_eq!(late.suspended[0].reason, "PAYMENT_COUNT_EXCEEDED");
    // Whoever asks again before it is sent back does not get it credited.
    assert_eq!(economy.look_again(&first.id).await.state(), LegState::Suspended);
    assert_eq!(money(&economy, "D1").await, ["0.00", "50.00", "0.00"]);
    assert_eq!(send_back(&economy).await, 1);
    assert_eq!(money(&economy, "D1").await, ["0.00", "0.00", "50.00"]);
    let refused = economy.order(Uuid::new_v4(), "D2", "10").await.unwrap_err();
    assert_eq!(reason(&refused), "PAYMENT_COUNT_EXCEEDED");
    economy.world.verified().await;
    economy.move_to(date!(2031 - 06 - 01));
    order(&economy, "D2", "10").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_quotes_at_once_at_two_processes_never_exceed_the_cap() {
    let economy = Economy::on(date!(2031 - 05 - 06)).await;
    let there = Process::over(
        &economy.world.db.url,
        Clock::starting_at(economy.world.process.lanes.clock().now()),
        4096,
    );
    let doors = [economy.house.remittances.clone(), domains(&economy, &there).0];
    let mut quotes = JoinSet::new();
    for number in 0..100_usize {
        let (door, center) = (doors[number % 2].clone(), economy.world.center.clone());
        let new = economy.asked(Uuid::new_v4(), "D1", "300");
        quotes.spawn(async move {
            loop {
                // On a busy machine a call may be told to come again, with the same request.
                match door.create(&center, new.clone()).await {
                    Err(LedgerError::Unavailable) => tokio::time::sleep(Duration::from_millis(50)).await,
                    answer => return answer,
                }
            }
        });
    }
    let answers = quotes.join_all().await;
    let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
    // 16 times 300 are 4,800; the cap is 5,000.
    assert_eq!(accepted, 16);
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert!(
            matches!(refused, LedgerError::Refused { .. }) && reason(refused) == "BALANCE_CAP_EXCEEDED",
            "{refused:?}"
        );
    }
    let detainee = economy
        .world
        .process
        .custody
        .detainee(&economy.world.center, &id("D1"))
        .await;
    assert!(detainee.is_ok());
    economy.world.verified().await;
}
