//! Transfers and withholdings over gRPC: who may, what is refused at the door, and what both centers read afterwards.

use custody_ledger::{
    access::{Role, Scope},
    ids::CenterId,
    proto::{
        Approval, ApproveRequest, BringBackRequest, BroughtBack, Detainee, DetaineeConsent, EndWithholdingRequest,
        GetDetaineeRequest, GetTransferRequest, GetWithholdingRequest, ListApprovalsRequest, ListApprovalsResponse,
        ListTransfersRequest, ListTransfersResponse, ListWithholdingsRequest, ListWithholdingsResponse,
        ProposeTransferRequest, Transfer, WithholdSumRequest, Withholding, approval, detainee, detainee_consent::Kind,
        transfer, withholding,
    },
};
use prost::Message;
use prost_types::Timestamp;
use time::OffsetDateTime;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    whole_service::{Hall, money},
    world,
};

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

fn in_days(days: i64) -> Option<Timestamp> {
    let at = OffsetDateTime::now_utc() + time::Duration::days(days);
    Some(Timestamp {
        seconds: at.unix_timestamp(),
        nanos: 123_456_789,
    })
}

/// A token of somebody of a center.
pub fn token(hall: &Hall, center: &str, subject: &str) -> String {
    let scope = Scope {
        center: Some(CenterId::parse(center).unwrap()),
        ..Scope::default()
    };
    hall.service.token_of(subject, Role::Finance, scope)
}

pub fn proposal(detainee: &str, number: &str) -> ProposeTransferRequest {
    ProposeTransferRequest {
        detainee: format!("centers/C1/detainees/{detainee}"),
        to_center: "centers/C2".into(),
        to_detainee_id: number.into(),
        document: "order 7".into(),
        reason: "nearer to the court".into(),
        tier: 0,
        request_id: new_id(),
    }
}

fn sum(detainee: &str, amount: &str) -> WithholdSumRequest {
    WithholdSumRequest {
        detainee: format!("centers/C1/detainees/{detainee}"),
        document: "W-1".into(),
        amount: money(amount),
        until_time: in_days(30),
        reason: "seized".into(),
        request_id: new_id(),
    }
}

pub async fn approve(hall: &Hall, approval: &str, center: &str, subject: &str) -> Result<Approval, Status> {
    let message = ApproveRequest {
        name: approval.into(),
        reason: "seen".into(),
    };
    let token = token(hall, center, subject);
    hall.ask_as("ApprovalService/Approve", &token, &message).await
}

/// The approvals that somebody in a center has still to decide.
pub async fn open(hall: &Hall, center: &str) -> Vec<Approval> {
    let list = ListApprovalsRequest {
        parent: format!("centers/{center}"),
        open: true,
        ..ListApprovalsRequest::default()
    };
    let token = token(hall, center, "alice");
    let open: ListApprovalsResponse = hall
        .ask_as("ApprovalService/ListApprovals", &token, &list)
        .await
        .unwrap();
    open.approvals
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_seen_by_both_centers() {
    let hall = Hall::open().await;
    world::new_center(&hall.process, "C2").await;
    let remitted = hall.remit("D1", "200.00").await;
    let held: Withholding = hall
        .ask_allowed("TransferService/WithholdSum", &sum("D1", "120.00"))
        .await
        .unwrap();
    assert_eq!(held.state(), withholding::State::Withheld);
    assert!(held.until_time.as_ref().is_some_and(|at| at.nanos == 123_456_000));

    let asked = proposal("D1", "X1");
    let alice = token(&hall, "C1", "alice");
    let proposed: Transfer = hall
        .ask_as("TransferService/ProposeTransfer", &alice, &asked)
        .await
        .unwrap();
    assert_eq!(proposed.state(), transfer::State::Proposed);
    // Whoever belongs to the receiving center decides there, and not here.
    let strangers = approve(&hall, &proposed.approval, "C2", "carol").await.unwrap_err();
    assert_eq!(strangers.code(), Code::PermissionDenied);
    approve(&hall, &proposed.approval, "C1", "bob").await.unwrap();
    let offered: Transfer = hall
        .ask_as("TransferService/ProposeTransfer", &alice, &asked)
        .await
        .unwrap();
    assert_eq!(offered.state(), transfer::State::Offered);
    assert_eq!(open(&hall, "C2").await[0].name, offered.receiving_approval);
    assert_eq!(hall.balances("D1").await, ["170.00", "0.00", "0.00", "120.00"]);
    let done = approve(&hall, &offered.receiving_approval, "C2", "carol")
        .await
        .unwrap();
    assert_eq!(done.state(), approval::State::Executed);

    let moved: Transfer = hall
        .ask_as("TransferService/ProposeTransfer", &alice, &asked)
        .await
        .unwrap();
    assert_eq!((moved.state(), moved.amount), (transfer::State::Done, money("290.00")));
    let there = token(&hall, "C2", "carol");
    let get = |name: &str| GetTransferRequest { name: name.into() };
    let own: Transfer = hall
        .ask_as("TransferService/GetTransfer", &alice, &get(&moved.name))
        .await
        .unwrap();
    assert_eq!((&own.from, &own.to), (&moved.from, &moved.to));
    let list = ListTransfersRequest {
        parent: "centers/C2".into(),
        ..ListTransfersRequest::default()
    };
    let listed: ListTransfersResponse = hall
        .ask_as("TransferService/ListTransfers", &there, &list)
        .await
        .unwrap();
    let [received] = &listed.transfers[..] else {
        panic!("{listed:?}")
    };
    assert_eq!(
        (&received.out_transaction, &received.in_transaction),
        (&own.out_transaction, &own.in_transaction)
    );
    assert_eq!(received.receiving_approval, offered.receiving_approval);

    let find = |name: &str| GetDetaineeRequest { name: name.into() };
    let before: Detainee = hall
        .ask_as("CustodyService/GetDetainee", &alice, &find(&moved.from))
        .await
        .unwrap();
    assert_eq!(
        (before.state(), before.went_to),
        (detainee::State::Transferred, moved.to.clone())
    );
    let after: Detainee = hall
        .ask_as("CustodyService/GetDetainee", &there, &find(&moved.to))
        .await
        .unwrap();
    assert_eq!(
        (after.state(), after.came_from),
        (detainee::State::Active, moved.from.clone())
    );

    let list = ListWithholdingsRequest {
        parent: "centers/C2".into(),
        detainee: moved.to.clone(),
        ..ListWithholdingsRequest::default()
    };
    let listed: ListWithholdingsResponse = hall
        .ask_as("TransferService/ListWithholdings", &there, &list)
        .await
        .unwrap();
    let get = GetWithholdingRequest {
        name: listed.withholdings[0].name.clone(),
    };
    let held: Withholding = hall
        .ask_as("TransferService/GetWithholding", &there, &get)
        .await
        .unwrap();
    assert_eq!(
        (held.state(), held.until_time),
        (withholding::State::Withheld, in_until(&listed))
    );

    // The family wants some of it back.
    let back = BringBackRequest {
        detainee: moved.to.clone(),
        remittance: remitted.name.clone(),
        amount: money("30.00"),
        reason: "rent".into(),
        consent: Some(DetaineeConsent {
            kind: Some(Kind::Document("K-1".into())),
        }),
        request_id: new_id(),
    };
    let asked: BroughtBack = hall.ask_as("TransferService/BringBack", &there, &back).await.unwrap();
    assert!(asked.transaction.is_empty());
    approve(&hall, &asked.approval, "C2", "dan").await.unwrap();
    let told: BroughtBack = hall.ask_as("TransferService/BringBack", &there, &back).await.unwrap();
    assert!(told.suspense_transaction.starts_with("centers/C1/"), "{told:?}");
    let end = EndWithholdingRequest {
        name: held.name.clone(),
        paid: money("120.00"),
        document: "W-2".into(),
        reason: String::new(),
        request_id: new_id(),
    };
    let asked: Withholding = hall
        .ask_as("TransferService/EndWithholding", &there, &end)
        .await
        .unwrap();
    assert_eq!(asked.state(), withholding::State::Withheld);
    approve(&hall, &asked.approval, "C2", "dan").await.unwrap();
    let ended: Withholding = hall
        .ask_as("TransferService/EndWithholding", &there, &end)
        .await
        .unwrap();
    assert_eq!(
        (ended.state(), ended.paid),
        (withholding::State::Ended, money("120.00"))
    );
    hall.verified().await;
}

fn in_until(listed: &ListWithholdingsResponse) -> Option<Timestamp> {
    listed.withholdings[0].until_time
}

/// A field, and what makes a message wrong in it.
type Spoilt<'a, M> = (&'a str, &'a dyn Fn(&mut M));

/// Each of these is refused, names the field, and changes nothing.
async fn refused<M: Message>(hall: &Hall, method: &str, good: impl Fn() -> M, bad: &[Spoilt<'_, M>]) {
    for (field, spoil) in bad {
        let mut message = good();
        spoil(&mut message);
        let before = hall.everything().await;
        let at = format!("{method} {field}");
        let told = hall.refused(&at, method, message.encode_to_vec()).await;
        assert_eq!(told.code, Code::InvalidArgument, "{at}: {told:?}");
        assert_eq!(told.field.as_deref(), Some(*field), "{at}");
        assert!(hall.everything().await == before, "{at} changed something");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_is_refused_and_changes_nothing() {
    let hall = Hall::open().await;
    world::new_center(&hall.process, "C2").await;
    refused::<ProposeTransferRequest>(
        &hall,
        "TransferService/ProposeTransfer",
        || proposal("D1", "X1"),
        &[
            ("detainee", &|told| told.detainee.clear()),
            ("detainee", &|told| told.detainee = "centers/C1/payers/P1".into()),
            ("to_center", &|told| told.to_center = "C2".into()),
            ("to_center", &|told| told.to_center = "centers/C1".into()),
            ("to_detainee_id", &|told| told.to_detainee_id = "no number".into()),
            ("document", &|told| told.document = " ".into()),
            ("reason", &|told| told.reason = "a\u{0}b".into()),
            ("tier", &|told| told.tier = -1),
            ("tier", &|told| told.tier = 99),
            ("tier", &|told| told.tier = 70_000),
            ("request_id", &|told| told.request_id = "x".into()),
        ],
    )
    .await;
    refused::<WithholdSumRequest>(
        &hall,
        "TransferService/WithholdSum",
        || sum("D1", "10.00"),
        &[
            ("detainee", &|told| told.detainee = "D1".into()),
            ("document", &|told| told.document.clear()),
            ("amount", &|told| told.amount = None),
            ("amount.amount", &|told| told.amount = money("0")),
            ("amount.amount", &|told| told.amount = money("1.005")),
            ("until_time", &|told| told.until_time = None),
            ("until_time", &|told| told.until_time = in_days(-1)),
            ("until_time", &|told| told.until_time = in_days(400)),
            ("until_time", &|told| {
                told.until_time = Some(Timestamp {
                    seconds: i64::MAX,
                    nanos: 0,
                })
            }),
            ("request_id", &|told| told.request_id.clear()),
        ],
    )
    .await;
    let end = || EndWithholdingRequest {
        name: "centers/C1/withholdings/1".into(),
        paid: money("0"),
        document: "W-2".into(),
        reason: String::new(),
        request_id: new_id(),
    };
    refused::<EndWithholdingRequest>(
        &hall,
        "TransferService/EndWithholding",
        end,
        &[
            ("name", &|told| told.name = "centers/C1/withholdings/x".into()),
            ("paid", &|told| told.paid = None),
            ("paid.amount", &|told| told.paid = money("-1")),
            ("document", &|told| told.document.clear()),
            ("request_id", &|told| told.request_id = Uuid::nil().to_string()),
        ],
    )
    .await;
    let back = || BringBackRequest {
        detainee: "centers/C1/detainees/D1".into(),
        remittance: "centers/C2/remittances/R1".into(),
        amount: money("1.00"),
        reason: "rent".into(),
        consent: Some(DetaineeConsent {
            kind: Some(Kind::Document("K-1".into())),
        }),
        request_id: new_id(),
    };
    refused::<BringBackRequest>(
        &hall,
        "TransferService/BringBack",
        back,
        &[
            ("detainee", &|told| told.detainee.clear()),
            ("remittance", &|told| told.remittance = "R1".into()),
            ("amount.amount", &|told| told.amount = money("x")),
            ("reason", &|told| told.reason.clear()),
            ("request_id", &|told| told.request_id.clear()),
        ],
    )
    .await;
    let missing = |method: &'static str, message: Vec<u8>, code: Code, reason: &'static str| {
        let hall = &hall;
        async move {
            let told = hall.refused(method, method, message).await;
            assert!(told.is(code, reason), "{method}: {told:?}");
        }
    };
    missing(
        "TransferService/EndWithholding",
        end().encode_to_vec(),
        Code::NotFound,
        "NOT_FOUND",
    )
    .await;
    missing(
        "TransferService/BringBack",
        back().encode_to_vec(),
        Code::FailedPrecondition,
        "NOT_BROUGHT_HERE",
    )
    .await;
    let get = GetTransferRequest {
        name: "centers/C1/transfers/9".into(),
    };
    missing(
        "TransferService/GetTransfer",
        get.encode_to_vec(),
        Code::NotFound,
        "NOT_FOUND",
    )
    .await;
    let much = sum("D1", "1000.00").encode_to_vec();
    missing(
        "TransferService/WithholdSum",
        much,
        Code::FailedPrecondition,
        "INSUFFICIENT_FUNDS",
    )
    .await;
    let nowhere = ProposeTransferRequest {
        to_center: "centers/C9".into(),
        ..proposal("D1", "X1")
    };
    missing(
        "TransferService/ProposeTransfer",
        nowhere.encode_to_vec(),
        Code::NotFound,
        "NOT_FOUND",
    )
    .await;
    // Of another center, and of a role that may not.
    let carol = token(&hall, "C2", "carol");
    let message = proposal("D1", "X1").encode_to_vec();
    let strangers = hall
        .refused_as("a stranger", "TransferService/ProposeTransfer", &carol, message.clone())
        .await;
    assert_eq!(strangers.code, Code::PermissionDenied);
    let terminal = hall.token(Role::Terminal);
    let role = hall
        .refused_as("a terminal", "TransferService/ProposeTransfer", &terminal, message)
        .await;
    assert_eq!(role.code, Code::PermissionDenied);
}
