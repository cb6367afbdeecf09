//! What two people decide of one detainee's spending, over the wire.

use custody_ledger::{
    access::Role,
    clock::Clock,
    proto::{
        Approval, EndSpendingMeasureRequest, GetSpendingRequest, LimitWindow, ListSpendingMeasuresRequest,
        ListSpendingMeasuresResponse, ListSpendingVersionsRequest, ListSpendingVersionsResponse, ProductCategory,
        ProposeFreezeRequest, Spending, SpendingMeasure,
        approval::State,
        spending_measure::{self, Kind},
    },
};
use time::{Duration, macros::datetime};
use tonic::Code;
use uuid::Uuid;

use super::{freeze_of, frozen, override_of, restriction_of, thawed};
use crate::{
    whole_service::{Hall, Refused},
    world::{World, reason},
};

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

async fn spending(hall: &Hall) -> Spending {
    let ask = GetSpendingRequest {
        detainee: "centers/C1/detainees/D1".into(),
        month: String::new(),
    };
    let terminal = hall.token(Role::Terminal);
    let told = hall.ask_as("CommissaryService/GetSpending", &terminal, &ask).await;
    told.unwrap()
}

async fn measures(hall: &Hall) -> Vec<SpendingMeasure> {
    let list = ListSpendingMeasuresRequest {
        parent: "centers/C1".into(),
        ..ListSpendingMeasuresRequest::default()
    };
    let found: ListSpendingMeasuresResponse = hall.ask("SpendingService/ListSpendingMeasures", &list).await.unwrap();
    found.measures
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_is_asked_for_by_one_and_allowed_by_another_and_is_seen() {
    let hall = Hall::open().await;
    let asked = override_of(&new_id(), LimitWindow::Month, "30");
    let alice = hall.person("alice", Role::Admin);
    let method = "SpendingService/ProposeLimitOverride";
    let approval: Approval = hall.ask_as(method, &alice, &asked).await.unwrap();
    assert!(measures(&hall).await.is_empty());
    let own = custody_ledger::proto::ApproveRequest {
        name: approval.name.clone(),
        reason: String::new(),
    };
    let own = hall.ask_as::<Approval>("ApprovalService/Approve", &alice, &own).await;
    let own = Refused::of(&own.unwrap_err(), method);
    assert!(own.is(Code::PermissionDenied, "MAKER_IS_CHECKER"), "{own:?}");
    assert_eq!(
        hall.approve(&approval.name, "bob").await.unwrap().state(),
        State::Executed
    );
    assert_eq!(
        hall.approve(&approval.name, "bob").await.unwrap().state(),
        State::Executed
    );
    let [measure] = &measures(&hall).await[..] else {
        panic!("one measure")
    };
    assert_eq!(
        (measure.kind(), measure.state()),
        (Kind::Override, spending_measure::State::InForce)
    );
    assert_eq!(
        (measure.created_by.as_str(), &measure.approval),
        ("admin/alice", &approval.name)
    );
    // As the detainee sees it at the terminal. 10.00 were spent two days ago.
    let told = spending(&hall).await;
    let month = told
        .windows
        .iter()
        .find(|window| window.window() == LimitWindow::Month)
        .unwrap();
    assert_eq!(month.limit.as_ref().unwrap().amount, "30.00");
    assert_eq!(
        (&month.r#override, month.override_end_time),
        (&measure.name, asked.end_time)
    );
    assert!(month.summary.ends_with("of 30.00 this month"), "{}", month.summary);
    // One person ends it, twice the same.
    let end = EndSpendingMeasureRequest {
        name: measure.name.clone(),
        reason: "well again".into(),
    };
    let ended: SpendingMeasure = hall.ask("SpendingService/EndSpendingMeasure", &end).await.unwrap();
    assert_eq!(ended.state(), spending_measure::State::Ended);
    let again: SpendingMeasure = hall.ask("SpendingService/EndSpendingMeasure", &end).await.unwrap();
    assert_eq!(ended, again);
    let told = spending(&hall).await;
    assert!(told.windows.iter().all(|window| window.r#override.is_empty()));
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_stops_what_goes_out_and_lets_in_what_comes() {
    let hall = Hall::open().await;
    let frozen: Approval = hall
        .ask_allowed("SpendingService/ProposeFreeze", &freeze_of(&new_id(), "F1"))
        .await
        .unwrap();
    assert_eq!(frozen.state(), State::Executed);
    let bought = crate::service::purchase_of("C1", "D1", Uuid::new_v4(), &[("RICE", 1)]);
    let terminal = hall.token(Role::Terminal);
    let refused = hall
        .ask_as::<custody_ledger::proto::Purchase>("CommissaryService/CreatePurchase", &terminal, &bought)
        .await
        .unwrap_err();
    let refused = Refused::of(&refused, "a purchase");
    assert!(refused.is(Code::FailedPrecondition, "DETAINEE_FROZEN"), "{refused:?}");
    assert!(spending(&hall).await.frozen_until.is_some());
    let before = hall.balances("D1").await;
    hall.remit("D1", "20.00").await;
    assert_ne!(hall.balances("D1").await, before);
    // Nor is anything refunded or paid out.
    let release = custody_ledger::proto::CreateReleaseRequest {
        parent: "centers/C1".into(),
        detainee: "centers/C1/detainees/D1".into(),
        destination: "cash desk".into(),
        request_id: new_id(),
    };
    let release = hall
        .ask::<custody_ledger::proto::Release>("RefundService/CreateRelease", &release)
        .await
        .unwrap_err();
    let release = Refused::of(&release, "a release");
    assert!(release.is(Code::FailedPrecondition, "DETAINEE_FROZEN"), "{release:?}");
    // One person cannot end it.
    let end = EndSpendingMeasureRequest {
        name: "centers/C1/spendingMeasures/1".into(),
        reason: "over".into(),
    };
    let one = hall
        .ask::<SpendingMeasure>("SpendingService/EndSpendingMeasure", &end)
        .await
        .unwrap_err();
    let one = Refused::of(&one, "the end");
    assert!(one.is(Code::FailedPrecondition, "FREEZE_NEEDS_APPROVAL"), "{one:?}");
    // Another freeze that goes on with one of somebody else is none.
    let other = ProposeFreezeRequest {
        detainee: "centers/C1/detainees/D2".into(),
        renews: "centers/C1/spendingMeasures/1".into(),
        ..freeze_of(&new_id(), "F2")
    };
    let other = hall
        .ask::<Approval>("SpendingService/ProposeFreeze", &other)
        .await
        .unwrap_err();
    assert!(Refused::of(&other, "another's").is(Code::NotFound, "NOT_FOUND"));
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restriction_names_goods_that_may_be_withheld() {
    let hall = Hall::open().await;
    for category in [
        ProductCategory::Medical,
        ProductCategory::Legal,
        ProductCategory::Unspecified,
    ] {
        let asked = restriction_of(&new_id(), category);
        let refused = hall
            .ask::<SpendingMeasure>("SpendingService/RestrictCategories", &asked)
            .await;
        let refused = Refused::of(&refused.unwrap_err(), "a restriction");
        assert!(refused.is(Code::InvalidArgument, "INVALID_FIELD"), "{refused:?}");
    }
    let asked = restriction_of(&new_id(), ProductCategory::Food);
    let made: SpendingMeasure = hall.ask("SpendingService/RestrictCategories", &asked).await.unwrap();
    assert_eq!(made.kind(), Kind::Restriction);
    let told = spending(&hall).await;
    assert_eq!(told.restricted.len(), 1);
    assert_eq!(told.restricted[0].category(), ProductCategory::Food);
    let bought = crate::service::purchase_of("C1", "D1", Uuid::new_v4(), &[("SOAP", 1)]);
    let terminal = hall.token(Role::Terminal);
    let purchase = hall
        .ask_as::<custody_ledger::proto::Purchase>("CommissaryService/CreatePurchase", &terminal, &bought)
        .await;
    purchase.unwrap();
    // Every version of the rules is told, with who made it.
    let list = ListSpendingVersionsRequest {
        parent: "centers/C1".into(),
        ..ListSpendingVersionsRequest::default()
    };
    let versions: ListSpendingVersionsResponse = hall.ask("SpendingService/ListSpendingVersions", &list).await.unwrap();
    assert_eq!(versions.versions[0].changed_by, "admin/root");
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_freeze_lasts_thirty_days_and_is_renewed_from_its_end() {
    let start = datetime!(2031-05-06 02:00 UTC);
    let clock = Clock::starting_at(start);
    let world = World::build_with(clock.clone(), 4096).await;
    let (process, center) = (&world.process, &world.center);
    world.endow("D1", "100.00").await;
    let first = frozen(process, center, "D1", ("F1", 30, None)).await.unwrap();
    assert!(clock.turn_to(start + Duration::days(20)));
    let second = frozen(process, center, "D1", ("F2", 30, Some(first.no))).await.unwrap();
    assert_eq!(
        (second.starts_at, second.ends_at),
        (first.ends_at, first.ends_at + Duration::days(30))
    );
    assert!(clock.turn_to(start + Duration::days(45)));
    let refused = world.buy("D1", &[("RICE", 1)]).await.unwrap_err();
    assert_eq!(reason(&refused), "DETAINEE_FROZEN");
    let over = frozen(process, center, "D1", ("F3", 30, Some(first.no)))
        .await
        .unwrap_err();
    assert_eq!(reason(&over), "MEASURE_OVER");
    assert!(clock.turn_to(start + Duration::days(60) + Duration::MINUTE));
    world.buy("D1", &[("RICE", 1)]).await.unwrap();
    let ended = thawed(process, center, second.no).await.unwrap_err();
    assert_eq!(reason(&ended), "MEASURE_OVER");
    world.verified().await;
}
