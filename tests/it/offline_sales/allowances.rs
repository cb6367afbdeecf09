//! Money set aside and released: limits, two terminals, repeats, expiry, release of the detainee.

use custody_ledger::proto::{CreateReleaseRequest, allowance::State, refund_service_client::RefundServiceClient};
use uuid::Uuid;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn money_is_set_aside_sold_and_given_back() {
    let stall = Stall::open().await;
    let mut till = stall.till("T1").await;
    let allowance = stall.reserve(&till, "D1", "50.00", 8).await.unwrap();
    assert_eq!(allowance.state(), State::Open);
    assert_eq!(stall.has("D1").await, ("50.00".into(), "50.00".into()));
    assert_eq!(stall.spent("D1").await, "50.00");

    let sales = [
        till.sell(&allowance, "D1", &[(RICE, 2), (SOAP, 1)]),
        till.sell(&allowance, "D1", &[(BOOK, 1)]),
    ];
    let outcomes = stall.upload(&till, &sales).await.unwrap();
    assert_eq!(told(&outcomes), ["1 CAPTURED", "2 CAPTURED"]);
    assert_eq!(outcomes[1].position, 2);
    assert_eq!(stall.has("D1").await, ("50.00".into(), "11.00".into()));
    // Books do not count.
    assert_eq!(stall.spent("D1").await, "20.00");

    assert_eq!(refused(stall.end(&till, &allowance, 3).await), "SALES_MISSING");
    assert_eq!(refused(stall.end(&till, &allowance, 1).await), "INVALID_FIELD");
    let ended = stall.end(&till, &allowance, 2).await.unwrap();
    assert_eq!(ended.state(), State::Ended);
    assert_eq!(
        (
            amount(&ended.captured),
            amount(&ended.released),
            amount(&ended.remaining)
        ),
        ("39.00", "11.00", "0.00")
    );
    assert_eq!(ended.end_reason, "REPORTED");
    assert_eq!(stall.has("D1").await, ("61.00".into(), "0.00".into()));
    assert_eq!(stall.spent("D1").await, "9.00");
    assert_eq!(refused(stall.end(&till, &allowance, 2).await), "ALLOWANCE_ENDED");
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_set_aside_that_is_not_allowed() {
    let stall = Stall::open_at(Clock::system()).await;
    let till = stall.till("T1").await;
    assert_eq!(
        refused(stall.reserve(&till, "D1", "10.00", 8).await),
        "OFFLINE_NOT_ALLOWED"
    );
    stall.allow("80.00", 24, 48).await;
    assert_eq!(
        refused(stall.reserve(&till, "D1", "10.00", 25).await),
        "ALLOWANCE_TOO_LONG"
    );
    assert_eq!(
        refused(stall.reserve(&till, "D1", "10.00", -1).await),
        "ALLOWANCE_TOO_LONG"
    );
    assert_eq!(
        refused(stall.reserve(&till, "D1", "80.01", 8).await),
        "ALLOWANCE_LIMIT_EXCEEDED"
    );
    assert_eq!(refused(stall.reserve(&till, "D9", "10.00", 8).await), "NOT_FOUND");
    // Two terminals share what one detainee may have set aside.
    let other = stall.till("T2").await;
    stall.reserve(&till, "D1", "50.00", 8).await.unwrap();
    assert_eq!(
        refused(stall.reserve(&other, "D1", "30.01", 8).await),
        "ALLOWANCE_LIMIT_EXCEEDED"
    );
    stall.reserve(&other, "D1", "30.00", 8).await.unwrap();
    assert_eq!(stall.has("D1").await, ("20.00".into(), "80.00".into()));
    // What nobody has enrolled has no key.
    let stranger = Till {
        id: "T3".into(),
        key: Ed25519KeyPair::generate().unwrap(),
        number: 0,
        hash: NO_HASH,
    };
    assert_eq!(
        refused(stall.reserve(&stranger, "D2", "1.00", 8).await),
        "TERMINAL_NOT_ENROLLED"
    );
    stall.allow("500.00", 24, 48).await;
    assert_eq!(
        refused(stall.reserve(&till, "D2", "100.01", 8).await),
        "INSUFFICIENT_FUNDS"
    );
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_sets_aside_once() {
    let stall = Stall::open().await;
    let till = stall.till("T1").await;
    let message = reserve_of("D1", "20.00", 8, Uuid::new_v4());
    let first = stall.reserve_again(&till, message.clone()).await.unwrap();
    let again = stall.reserve_again(&till, message.clone()).await.unwrap();
    assert!(!custody_ledger::api::grpc::is_replay(&first) && custody_ledger::api::grpc::is_replay(&again));
    assert_eq!(first.get_ref().name, again.get_ref().name);
    let other = ReserveAllowanceRequest {
        amount: money("30.00"),
        ..message.clone()
    };
    assert_eq!(refused(stall.reserve_again(&till, other).await), "REQUEST_REUSED");
    let many = (0..8).map(|_| stall.reserve_again(&till, reserve_of("D2", "20.00", 8, Uuid::new_v4())));
    let done = futures::future::join_all(many).await;
    assert_eq!(
        done.iter().filter(|answer| answer.is_ok()).count(),
        4,
        "80.00 is the most"
    );
    assert_eq!(stall.has("D2").await, ("20.00".into(), "80.00".into()));
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_over_what_is_bought_and_what_is_set_aside() {
    let stall = Stall::open().await;
    let custody = &stall.process.custody;
    let limited = custody.change_settings(&stall.center.id, "admin/root", |settings| {
        let tiers = settings
            .tier_limits
            .keys()
            .map(|tier| (*tier, world::cny("60")))
            .collect();
        Ok(custody_ledger::custody::Settings {
            tier_limits: tiers,
            ..settings
        })
    });
    limited.await.unwrap();
    let mut till = stall.till("T1").await;
    let buy = async |quantity| {
        let lines = [("SOAP", quantity)];
        world::buy(&stall.process, &stall.center, Uuid::new_v4(), "D1", &lines).await
    };
    buy(5).await.unwrap();
    assert_eq!(
        refused(stall.reserve(&till, "D1", "40.01", 8).await),
        "MONTHLY_LIMIT_EXCEEDED"
    );
    let allowance = stall.reserve(&till, "D1", "36.00", 8).await.unwrap();
    assert!(buy(2).await.is_err(), "60.00 less 20.00 less 36.00");
    buy(1).await.unwrap();
    // What does not count, and what is not sold, is room again.
    let sale = till.sell(&allowance, "D1", &[(BOOK, 1)]);
    assert_eq!(told(&stall.upload(&till, &[sale]).await.unwrap()), ["1 CAPTURED"]);
    assert_eq!(stall.spent("D1").await, "30.00");
    stall.end(&till, &allowance, 1).await.unwrap();
    assert_eq!(stall.spent("D1").await, "24.00");
    buy(9).await.unwrap();
    assert_eq!(stall.spent("D1").await, "60.00");
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_reported_is_released_and_sold_from_what_is_there() {
    let mut stall = Stall::open().await;
    let mut till = stall.till("T1").await;
    let allowance = stall.reserve(&till, "D1", "40.00", 2).await.unwrap();
    let sales: Vec<Signed> = (0..4).map(|_| till.sell(&allowance, "D1", &[(SOAP, 2)])).collect();
    assert_eq!(told(&stall.upload(&till, &sales[..1]).await.unwrap()), ["1 CAPTURED"]);
    // Its time is over, but not that to report.
    stall.restart_in(20).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(stall.allowance(&allowance.name).await.state(), State::Expired);
    assert_eq!(told(&stall.upload(&till, &sales[1..2]).await.unwrap()), ["2 CAPTURED"]);
    // Two processes look for what is over.
    let at = OffsetDateTime::now_utc() + time::Duration::hours(51);
    let mut other = Service::start(Some(&stall.db.url)).await;
    other.kill().await;
    other.restart_at(at).await;
    stall.restart_in(51).await;
    let ended = stall.ended(&allowance.name).await;
    assert_eq!(
        (amount(&ended.released), ended.end_reason.as_str()),
        ("24.00", "EXPIRED")
    );
    assert_eq!(stall.has("D1").await, ("84.00".into(), "0.00".into()));
    // Late sales take what is available, while there is some.
    let taken = stall.reserve(&till, "D1", "1.00", 52).await.unwrap();
    stall.end(&till, &taken, 2).await.unwrap();
    assert_eq!(
        told(&stall.upload(&till, &sales[2..3]).await.unwrap()),
        ["3 SETTLED_LATE"]
    );
    assert_eq!(stall.has("D1").await, ("76.00".into(), "0.00".into()));
    world::buy(&stall.process, &stall.center, Uuid::new_v4(), "D1", &[("SOAP", 18)])
        .await
        .unwrap();
    assert_eq!(
        told(&stall.upload(&till, &sales[3..]).await.unwrap()),
        ["4 SHORTAGE INSUFFICIENT_FUNDS"]
    );
    assert_eq!(stall.work(WorkKind::OfflineSale).await.len(), 1);
    other.kill().await;
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_leaves_with_money_that_may_be_spent() {
    let stall = Stall::open().await;
    let mut till = stall.till("T1").await;
    let allowance = stall.reserve(&till, "D1", "40.00", 2).await.unwrap();
    let sale = till.sell(&allowance, "D1", &[(SOAP, 2)]);
    let release = || async {
        let message = CreateReleaseRequest {
            parent: "centers/C1".into(),
            detainee: "centers/C1/detainees/D1".into(),
            destination: "own account".into(),
            request_id: Uuid::new_v4().to_string(),
        };
        let asked = with_token(&stall.token(Role::Finance, "alice"), message);
        RefundServiceClient::new(stall.channel.clone())
            .create_release(asked)
            .await
    };
    assert_eq!(refused(release().await), "ALLOWANCE_OPEN");
    stall.upload(&till, &[sale]).await.unwrap();
    assert_eq!(refused(release().await), "ALLOWANCE_OPEN");
    stall.end(&till, &allowance, 1).await.unwrap();
    release().await.unwrap();
    assert_eq!(
        refused(stall.reserve(&till, "D1", "1.00", 2).await),
        "DETAINEE_NOT_ACTIVE"
    );
    stall.verified().await;
}
