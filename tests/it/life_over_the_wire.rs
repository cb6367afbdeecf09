//! Reviews by two people, a payer's view of the money's way, and whether the jobs run: over the wire.

use std::time::Duration;

use custody_ledger::{
    access::{Role, Scope},
    custody::{Screening, Settings},
    gateway::simulator::control::PayOptions,
    ids::{CenterId, PayerId},
    proto::{
        Approval, ApproveRequest, ListJobsRequest, ListJobsResponse, ListWorkItemsRequest, ListWorkItemsResponse,
        Remittance, ReviewRemittanceRequest, WatchRemittanceRequest, WorkKind, approval, remittance::State,
        remittance_service_client::RemittanceServiceClient,
    },
};
use prost::Message as _;
use tonic::Code;
use uuid::Uuid;

use crate::{bad_requests::RequestRow, service::with_token, whole_service::Hall, world::cny};

/// Of what is not there: refused, for ever.
pub const REQUESTS: [RequestRow; 2] = [
    RequestRow {
        method: "RemittanceService/ReleaseRemittance",
        make: |id| review_of_none(id, "the mother"),
        other: |id| review_of_none(id, "the father"),
        fields: "reason",
    },
    RequestRow {
        method: "RemittanceService/RejectRemittance",
        make: |id| review_of_none(id, "unknown"),
        other: |id| review_of_none(id, "nobody"),
        fields: "reason",
    },
];

fn review_of_none(id: &str, reason: &str) -> Vec<u8> {
    ReviewRemittanceRequest {
        name: "centers/C1/remittances/R0".into(),
        reason: reason.into(),
        request_id: id.into(),
    }
    .encode_to_vec()
}

async fn with(hall: &Hall, change: impl FnOnce(Settings) -> Settings) {
    let changed = hall
        .process
        .custody
        .change_settings(&hall.center.id, "admin/root", |settings| Ok(change(settings)));
    changed.await.unwrap();
}

async fn hold_from_the_second_on(hall: &Hall) {
    let change = |settings: Settings| Settings {
        screening: Screening {
            payment_max: 1,
            ..settings.screening
        },
        ..settings
    };
    with(hall, change).await;
}

fn review(remittance: &Remittance) -> ReviewRemittanceRequest {
    ReviewRemittanceRequest {
        name: remittance.name.clone(),
        reason: "the mother".into(),
        request_id: Uuid::new_v4().to_string(),
    }
}

fn finance(hall: &Hall, subject: &str) -> String {
    let scope = Scope {
        center: Some(CenterId::parse("C1").unwrap()),
        ..Scope::default()
    };
    hall.service.token_of(subject, Role::Finance, scope)
}

/// Orders and pays; where it stands then.
async fn pay(hall: &Hall, amount: &str) -> Remittance {
    let ordered = hall.order("D1", amount).await;
    let paid = hall.control.pay(&ordered.order_number, &PayOptions::default()).await;
    paid.unwrap();
    hall.delivered().await;
    hall.remittance(&ordered.name).await
}

async fn approve(hall: &Hall, token: &str, asked: &Approval) -> Result<Approval, tonic::Status> {
    let message = ApproveRequest {
        name: asked.name.clone(),
        reason: "looked at".into(),
    };
    hall.ask_as("ApprovalService/Approve", token, &message).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_release_or_reject_what_is_held() {
    let hall = Hall::open().await;
    let (alice, bob) = (finance(&hall, "alice"), finance(&hall, "bob"));
    let release = "RemittanceService/ReleaseRemittance";
    let credited = hall.remit("D1", "50.00").await;
    hold_from_the_second_on(&hall).await;
    let held = pay(&hall, "40.00").await;
    assert_eq!(held.state(), State::Held);
    let leg = held.legs.last().unwrap();
    assert_eq!((leg.reason.as_str(), leg.state()), ("SCREENING_PAYMENTS", State::Held));
    assert!(leg.deadline_time.is_some() && leg.text.contains("checked") && leg.text_zh.contains("审核"));

    for (case, message, code, reason) in [
        (
            "not held",
            review(&credited),
            Code::FailedPrecondition,
            "NOT_UNDER_REVIEW",
        ),
        (
            "no reason",
            ReviewRemittanceRequest {
                reason: " ".into(),
                ..review(&held)
            },
            Code::InvalidArgument,
            "INVALID_FIELD",
        ),
        (
            "no id",
            ReviewRemittanceRequest {
                request_id: "1".into(),
                ..review(&held)
            },
            Code::InvalidArgument,
            "INVALID_FIELD",
        ),
        (
            "no such",
            ReviewRemittanceRequest {
                name: "centers/C1/remittances/R0".into(),
                ..review(&held)
            },
            Code::NotFound,
            "NOT_FOUND",
        ),
    ] {
        let refused = hall.refused_as(case, release, &alice, message.encode_to_vec()).await;
        assert!(refused.is(code, reason), "{case}: {refused:?}");
    }
    let payer = hall.token(Role::Payer);
    let refused = hall
        .refused_as("payer", release, &payer, review(&held).encode_to_vec())
        .await;
    assert_eq!(refused.code, Code::PermissionDenied);

    let message = review(&held);
    let asked: Approval = hall.ask_as(release, &alice, &message).await.unwrap();
    let again: Approval = hall.ask_as(release, &alice, &message).await.unwrap();
    assert_eq!(asked, again);
    let own = approve(&hall, &alice, &asked).await.unwrap_err();
    assert_eq!(own.code(), Code::PermissionDenied, "{own:?}");
    let done = approve(&hall, &bob, &asked).await.unwrap();
    assert_eq!(done.state(), approval::State::Executed, "{done:?}");
    let told = hall.remittance(&held.name).await;
    let states: Vec<State> = told.legs.iter().map(|leg| leg.state()).collect();
    assert_eq!(
        states[2..],
        [State::Paid, State::Held, State::Released, State::Credited]
    );
    assert_eq!(hall.balances("D1").await[0], "180.00");
    assert_eq!(
        approve(&hall, &bob, &asked).await.unwrap().state(),
        approval::State::Executed
    );
    assert_eq!(hall.balances("D1").await[0], "180.00");

    let held = pay(&hall, "30.00").await;
    let reject = "RemittanceService/RejectRemittance";
    let asked: Approval = hall.ask_as(reject, &bob, &review(&held)).await.unwrap();
    let done = approve(&hall, &alice, &asked).await.unwrap();
    assert_eq!(done.state(), approval::State::Executed, "{done:?}");
    let told = hall.remittance(&held.name).await;
    assert_eq!(told.state(), State::Returning);
    let states: Vec<State> = told.legs.iter().map(|leg| leg.state()).collect();
    assert_eq!(
        states[2..],
        [State::Paid, State::Held, State::Rejected, State::Returning]
    );
    assert_eq!(hall.balances("D1").await[0], "180.00");
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_follows_the_money_and_nobody_elses() {
    let hall = Hall::open().await;
    let ordered = hall.order("D1", "60.00").await;
    let cap = |settings| Settings {
        balance_cap: cny("120"),
        ..settings
    };
    with(&hall, cap).await;
    let watch = |token: &str| {
        let message = WatchRemittanceRequest {
            name: ordered.name.clone(),
        };
        let (channel, request) = (hall.channel.clone(), with_token(token, message));
        async move { RemittanceServiceClient::new(channel).watch_remittance(request).await }
    };
    let scope = Scope {
        center: Some(CenterId::parse("C1").unwrap()),
        payer: Some(PayerId::parse("P2").unwrap()),
        terminal: None,
    };
    let other = hall.service.token(Role::Payer, scope);
    assert_eq!(watch(&other).await.unwrap_err().code(), Code::PermissionDenied);
    let mut stream = watch(&hall.token(Role::Payer)).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    assert_eq!(first.state(), State::Pending);

    hall.control
        .pay(&ordered.order_number, &PayOptions::default())
        .await
        .unwrap();
    let mut seen = vec![first];
    let returned = async {
        while !seen
            .last()
            .unwrap()
            .legs
            .iter()
            .any(|leg| leg.state() == State::Returning)
        {
            seen.push(stream.message().await.unwrap().unwrap());
        }
    };
    tokio::time::timeout(Duration::from_secs(30), returned).await.unwrap();
    let last = seen.last().unwrap();
    assert_eq!(last.state(), State::Credited);
    let amounts: Vec<String> = last
        .legs
        .iter()
        .map(|leg| leg.amount.as_ref().unwrap().amount.clone())
        .collect();
    // 90.00 were there: 30.00 are let in, and the rest goes back by itself.
    assert_eq!(amounts, ["60.00", "60.00", "60.00", "30.00", "30.00"]);
    assert_eq!(hall.balances("D1").await[0], "120.00");
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_tell_whether_they_run_and_contradictions_are_work() {
    let hall = Hall::open().await;
    let ordered = hall.order("D1", "60.00").await;
    let wrong = PayOptions {
        wrong_amount: Some("59.99".into()),
        ..PayOptions::default()
    };
    hall.control.pay(&ordered.order_number, &wrong).await.unwrap();
    hall.delivered().await;
    assert_eq!(hall.remittance(&ordered.name).await.state(), State::Pending);
    let list = ListWorkItemsRequest {
        parent: "centers/C1".into(),
        kind: WorkKind::Contradiction.into(),
        ..ListWorkItemsRequest::default()
    };
    let items: ListWorkItemsResponse = hall.ask("WorkService/ListWorkItems", &list).await.unwrap();
    assert_eq!(items.work_items.len(), 1, "{items:?}");
    assert!(
        items.work_items[0]
            .subject
            .ends_with(ordered.name.rsplit('/').next().unwrap())
    );

    let list = ListJobsRequest {
        parent: "centers/C1".into(),
    };
    let auditor = hall.token(Role::Auditor);
    let run = async {
        loop {
            let jobs: ListJobsResponse = hall.ask_as("WorkService/ListJobs", &auditor, &list).await.unwrap();
            let names: Vec<_> = jobs.jobs.iter().map(|job| job.job.as_str()).collect();
            assert_eq!(
                names,
                [
                    "orders",
                    "refunds",
                    "returns",
                    "aged",
                    "approvals",
                    "holds",
                    "allowances",
                    "endings",
                    "late_money"
                ]
            );
            if jobs
                .jobs
                .iter()
                .all(|job| job.last_success_time.is_some() && !job.overdue)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), run).await.unwrap();
    let payer = hall.token(Role::Payer);
    let refused = hall
        .refused_as("payer", "WorkService/ListJobs", &payer, list.encode_to_vec())
        .await;
    assert_eq!(refused.code, Code::PermissionDenied);
    hall.verified().await;
}
