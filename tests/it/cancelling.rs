//! Remittances that are given up before they are paid, and what callers may ask for how often.

use std::time::Duration;

use custody_ledger::{
    access::Role,
    custody::Settings,
    gateway::{
        simulator::{
            control::{ControlError, PayOptions},
            faults::{FaultRates, RefundMode},
        },
        webhook::wire::OrderState,
    },
    proto::{
        CancelRemittanceRequest, Remittance as Told, WatchRemittanceRequest, remittance::State,
        remittance_service_client::RemittanceServiceClient,
    },
    remittance::{Canceller, LegState, Remittance, order_number},
};
use prost::Message as _;
use sqlx::{Connection as _, PgConnection};
use time::macros::date;
use tokio::task::JoinSet;
use tonic::Code;
use uuid::Uuid;

use crate::{
    all_domains::Economy,
    service::with_token,
    whole_service::{self, Hall},
    world::{buy, cny, reason},
};

const BY_PAYER: Canceller<'_> = Canceller {
    actor: "payer/P1",
    is_payer: true,
};
const CANCEL: &str = "RemittanceService/CancelRemittance";

async fn with(economy: &Economy, change: impl FnOnce(Settings) -> Settings) {
    let custody = &economy.world.process.custody;
    let changed = custody.change_settings(&economy.world.center.id, "admin/root", |settings| Ok(change(settings)));
    changed.await.unwrap();
}

async fn order(economy: &Economy, detainee: &str, amount: &str) -> Remittance {
    economy.order(Uuid::new_v4(), detainee, amount).await.unwrap().0
}

async fn cancel(economy: &Economy, remittance: &Remittance) -> Remittance {
    let remittances = &economy.house.remittances;
    let cancelled = remittances.cancel(&economy.world.center, &remittance.id, BY_PAYER);
    cancelled.await.unwrap()
}

/// As the database's owner, past all rules.
async fn owner(economy: &Economy, statement: &'static str) {
    let mut owner = PgConnection::connect(&economy.world.db.url).await.unwrap();
    sqlx::query(statement).execute(&mut owner).await.unwrap();
}

async fn refused_order(economy: &Economy, request: Uuid, detainee: &str, amount: &str) -> String {
    reason(&economy.order(request, detainee, amount).await.unwrap_err())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_or_repeated_makes_no_lane_forget() {
    let economy = Economy::on(date!(2031 - 05 - 06)).await;
    let (world, process) = (&economy.world, &economy.world.process);
    world.endow("D1", "100").await;
    let price = async || {
        let bought = buy(process, &world.center, Uuid::new_v4(), "D1", &[("RICE", 1)])
            .await
            .unwrap();
        bought.record.postings[0].amount.clone()
    };
    assert_eq!(price().await, "2.50");
    let accepted = Uuid::new_v4();
    economy.order(accepted, "D2", "10").await.unwrap();
    assert_eq!(price().await, "2.50");
    // What lanes know now is not what stands there: who loads it again finds another price.
    owner(
        &economy,
        "update product set price = 3.00, approved_price = 3.00 where product_id = 'RICE'",
    )
    .await;
    let refused = Uuid::new_v4();
    assert_eq!(
        refused_order(&economy, refused, "D2", "1000.01").await,
        "REMITTANCE_LIMIT_EXCEEDED"
    );
    assert_eq!(
        refused_order(&economy, refused, "D2", "1000.01").await,
        "REMITTANCE_LIMIT_EXCEEDED"
    );
    for amount in ["1000.02", "1000.03"] {
        assert_eq!(
            refused_order(&economy, Uuid::new_v4(), "D2", amount).await,
            "REMITTANCE_LIMIT_EXCEEDED"
        );
    }
    assert!(economy.order(accepted, "D2", "10").await.unwrap().1, "a repetition");
    assert_eq!(price().await, "2.50");
    // What is accepted takes headroom, which lanes have read.
    economy.order(Uuid::new_v4(), "D2", "10").await.unwrap();
    assert_eq!(price().await, "3.00");
}

/// One request has one outcome, whoever asks at the same time, and however the decision turns in between.
#[tokio::test(flavor = "multi_thread")]
async fn one_request_at_two_processes_has_one_outcome_at_the_edge_of_the_cap() {
    let economy = Economy::on(date!(2031 - 05 - 06)).await;
    let there = economy.world.another_process();
    let channels = economy.house.remittances.channels().clone();
    let there = custody_ledger::remittance::Remittances::new(there.lanes, there.custody, channels);
    let doors = [economy.house.remittances.clone(), there];
    for _ in 0..4 {
        order(&economy, "D1", "1000").await;
    }
    // Of these ten, one fits.
    let mut asked = JoinSet::new();
    for number in 0..40_u128 {
        let (door, center) = (
            doors[usize::try_from(number % 2).unwrap()].clone(),
            economy.world.center.clone(),
        );
        let new = economy.asked(Uuid::from_u128((4 << 76) | (2 << 62) | (number / 4)), "D1", "600");
        asked.spawn(async move {
            let answer = door.create(&center, new).await;
            (
                number / 4,
                answer
                    .map(|(remittance, _)| remittance.id)
                    .map_err(|error| reason(&error)),
            )
        });
    }
    let mut outcomes = asked.join_all().await;
    outcomes.sort_by_key(|(number, _)| *number);
    for same in outcomes.chunks(4) {
        assert!(same.iter().all(|outcome| outcome == &same[0]), "{same:?}");
    }
    let accepted = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count();
    assert_eq!(accepted, 4, "one request, asked four times: {outcomes:?}");
    economy.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_quote_gives_headroom_and_the_months_count_back() {
    let economy = Economy::on(date!(2031 - 05 - 06)).await;
    with(&economy, |settings| Settings {
        payment_count_max: 1,
        balance_cap: cny("100"),
        ..settings
    })
    .await;
    let first = order(&economy, "D1", "60").await;
    assert_eq!(
        refused_order(&economy, Uuid::new_v4(), "D2", "10").await,
        "PAYMENT_COUNT_EXCEEDED"
    );
    let cancelled = cancel(&economy, &first).await;
    assert_eq!(cancelled.state(), LegState::Cancelled);
    assert_eq!(cancelled.leg(LegState::Cancelled).unwrap().detail, "by the payer");
    assert_eq!(cancel(&economy, &first).await, cancelled, "the same again");
    assert_eq!(economy.look_again(&first.id).await, cancelled);
    let number = order_number(economy.world.center.no, &first.id);
    let refused = economy.control.pay(&number, &PayOptions::default()).await.unwrap_err();
    assert!(
        matches!(&refused, ControlError::Refused { code, .. } if code == "ORDER_CLOSED"),
        "{refused:?}"
    );
    // Whoever asks for it again is told that it is cancelled, and no order is opened.
    let asked = economy.asked(first.request_id.0, "D1", "60");
    let (again, replayed) = economy
        .house
        .remittances
        .create(&economy.world.center, asked)
        .await
        .unwrap();
    assert!(replayed && again == cancelled);

    let second = order(&economy, "D1", "100").await;
    assert_eq!(economy.pay(&second.id).await.state(), LegState::Credited);
    // Money that comes all the same is one payment too many, and over the cap: it goes back.
    let late = economy.pay_late(&first.id).await;
    assert_eq!(late.state(), LegState::Suspended);
    assert_eq!(late.suspended[0].reason, "PAYMENT_COUNT_EXCEEDED");
    assert_eq!(economy.world.available("D1").await, "100.00");
    economy.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_before_is_credited_and_what_has_ended_stays() {
    let mut economy = Economy::on(date!(2031 - 05 - 06)).await;
    let paid = order(&economy, "D1", "60").await;
    let lost = PayOptions {
        lose: true,
        ..PayOptions::default()
    };
    let number = order_number(economy.world.center.no, &paid.id);
    economy.control.pay(&number, &lost).await.unwrap();
    let told = cancel(&economy, &paid).await;
    assert_eq!(told.state(), LegState::Credited);
    assert_eq!(cancel(&economy, &paid).await, told);
    assert_eq!(economy.world.available("D1").await, "60.00");

    let unpaid = order(&economy, "D1", "10").await;
    economy.move_to(date!(2031 - 05 - 07));
    let expired = economy.look_again(&unpaid.id).await;
    assert_eq!(expired.state(), LegState::Expired);
    assert_eq!(cancel(&economy, &unpaid).await, expired);
    let center = &economy.world.center;
    let none = custody_ledger::ids::RemittanceId::parse("R0").unwrap();
    let refused = economy
        .house
        .remittances
        .cancel(center, &none, BY_PAYER)
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "NOT_FOUND");

    // Somebody who orders and cancels in a loop is stopped.
    owner(&economy, "update remittance_question set closings = 20").await;
    let tried = order(&economy, "D1", "10").await;
    owner(
        &economy,
        "insert into remittance_question select center_id, remittance_id, now(), 20 from remittance
                     on conflict do nothing",
    )
    .await;
    let refused = economy
        .house
        .remittances
        .cancel(&economy.world.center, &tried.id, BY_PAYER)
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), "TOO_MANY_TRIES");
    for _ in 0..50 {
        let given_up = order(&economy, "D1", "10").await;
        cancel(&economy, &given_up).await;
    }
    assert_eq!(
        refused_order(&economy, Uuid::new_v4(), "D1", "10").await,
        "TOO_MANY_VAIN_ORDERS"
    );
    economy.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_payment_and_cancellations_at_once_one_wins() {
    let hall = Hall::open().await;
    let mut credited = 0;
    for round in 0..12_u64 {
        let ordered = hall.order("D1", "10.00").await;
        let ask = CancelRemittanceRequest {
            name: ordered.name.clone(),
        };
        let pay = async {
            tokio::time::sleep(Duration::from_micros(round * 700)).await;
            hall.control.pay(&ordered.order_number, &PayOptions::default()).await
        };
        let payer = hall.token(Role::Payer);
        let (paid, one, other) = tokio::join!(
            pay,
            hall.ask::<Told>(CANCEL, &ask),
            hall.ask_as::<Told>(CANCEL, &payer, &ask)
        );
        let states = [one.unwrap().state(), other.unwrap().state()];
        hall.delivered().await;
        let state = hall.remittance(&ordered.name).await.state();
        let expected = if paid.is_ok() {
            State::Credited
        } else {
            State::Cancelled
        };
        assert_eq!((state, states), (expected, [expected; 2]), "{paid:?}");
        credited += i64::from(paid.is_ok());
    }
    assert_eq!(hall.balances("D1").await[0], format!("{}.00", 90 + 10 * credited));
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_gateway_is_away_nothing_is_cancelled_and_a_kill_in_between_loses_nothing() {
    let mut hall = Hall::open().await;
    let other = hall.order("D3", "10.00").await;
    let ordered = hall.order("D1", "20.00").await;
    let ask = CancelRemittanceRequest {
        name: ordered.name.clone(),
    };
    // Not one's own, and not by whoever only looks.
    let stranger = CancelRemittanceRequest { name: other.name };
    let payer = hall.token(Role::Payer);
    let refused = hall
        .refused_as("another's", CANCEL, &payer, stranger.encode_to_vec())
        .await;
    assert!(refused.is(Code::PermissionDenied, "NOT_ALLOWED"), "{refused:?}");
    let refused = hall
        .refused_as("auditor", CANCEL, &hall.token(Role::Auditor), ask.encode_to_vec())
        .await;
    assert_eq!(refused.code, Code::PermissionDenied);

    // The gateway closes it, and its answer is slow: the service dies meanwhile.
    let slow = FaultRates {
        slow_per_mille: 1000,
        slow_max_ms: 60_000,
        lose_answer_per_mille: 1000,
        refunds: RefundMode::ByItself,
        ..FaultRates::default()
    };
    hall.control.set_faults(&slow).await.unwrap();
    let (channel, token, message) = (hall.channel.clone(), payer.clone(), ask.encode_to_vec());
    let call = tokio::spawn(async move { whole_service::call(channel, CANCEL, &token, message).await.map(drop) });
    let closed = async {
        loop {
            let orders = hall.control.orders().await.unwrap();
            let own = orders
                .iter()
                .find(|each| each.order_number == ordered.order_number)
                .unwrap();
            if own.state == OrderState::Closed || call.is_finished() {
                return own.state;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let state = tokio::time::timeout(Duration::from_secs(70), closed).await.unwrap();
    hall.service.kill().await;
    assert_eq!(state, OrderState::Closed);
    assert!(
        call.await.unwrap().is_err(),
        "it had an answer although the gateway gave none"
    );
    hall.control.set_faults(&FaultRates::default()).await.unwrap();
    hall.service.restart().await;
    hall.channel = hall.service.channel().await;
    assert_eq!(hall.remittance(&ordered.name).await.state(), State::Pending);
    let told: Told = hall.ask_as(CANCEL, &payer, &ask).await.unwrap();
    assert_eq!(told.state(), State::Cancelled);
    let last = told.legs.last().unwrap();
    assert!(
        last.text.contains("cancelled") && last.text_zh.contains("取消"),
        "{last:?}"
    );

    let away = hall.order("D1", "30.00").await;
    hall.stop_gateway().await;
    let before = hall.everything().await;
    let ask = CancelRemittanceRequest { name: away.name };
    let refused = hall.refused("no gateway", CANCEL, ask.encode_to_vec()).await;
    assert!(refused.is(Code::Unavailable, "GATEWAY_UNAVAILABLE"), "{refused:?}");
    assert_eq!(hall.everything().await, before);
    // A gateway that does not know the order lets nobody pay it.
    hall.start_gateway().await;
    let told: Told = hall.ask(CANCEL, &ask).await.unwrap();
    assert_eq!(told.state(), State::Cancelled);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_is_asked_about_one_remittance_once_in_ten_seconds() {
    let economy = Economy::on(date!(2031 - 05 - 06)).await;
    let ordered = order(&economy, "D1", "60").await;
    assert_eq!(economy.look_again(&ordered.id).await.state(), LegState::Pending);
    let lost = PayOptions {
        lose: true,
        ..PayOptions::default()
    };
    let number = order_number(economy.world.center.no, &ordered.id);
    economy.control.pay(&number, &lost).await.unwrap();
    for _ in 0..3 {
        assert_eq!(
            economy.look_again(&ordered.id).await.state(),
            LegState::Pending,
            "as it is known"
        );
    }
    owner(
        &economy,
        "update remittance_question set free_at = free_at - interval '9 seconds'",
    )
    .await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(economy.look_again(&ordered.id).await.state(), LegState::Credited);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_caller_follows_so_many_remittances_at_once() {
    let hall = Hall::open().await;
    let (own, other) = (hall.order("D1", "10.00").await, hall.order("D3", "10.00").await);
    let watch = |token: &str, name: &str| {
        let request = with_token(token, WatchRemittanceRequest { name: name.into() });
        let channel = hall.channel.clone();
        async move { RemittanceServiceClient::new(channel).watch_remittance(request).await }
    };
    let (payer, second) = (hall.token(Role::Payer), hall.token_of(Role::Payer, "P2"));
    let mut open = Vec::new();
    for _ in 0..5 {
        let mut stream = watch(&payer, &own.name).await.unwrap().into_inner();
        assert_eq!(stream.message().await.unwrap().unwrap().state(), State::Pending);
        open.push(stream);
    }
    let refused = whole_service::Refused::of(&watch(&payer, &own.name).await.unwrap_err(), "watch");
    assert!(refused.is(Code::ResourceExhausted, "TOO_MANY_WATCHES"), "{refused:?}");
    assert!(watch(&second, &other.name).await.is_ok(), "each has their own");
    // Whoever goes makes room.
    open.pop();
    let room = async {
        while watch(&payer, &own.name).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), room).await.unwrap();
}
