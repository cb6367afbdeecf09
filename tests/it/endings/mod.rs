//! How stays end, over the wire.

mod cuts;
mod doors;
mod statements;

use custody_ledger::{
    access::Role,
    proto::{
        AddHeirRequest, Approval, BankAccount, ChangeCustodyRequest, ConfirmPayoutPartRequest, CreatePayoutRequest,
        Custody, Debt, DeclareRelationRequest, Detainee, FailPayoutPartRequest, GetDebtRequest, GetStayRequest, Heir,
        ListJobsRequest, ListJobsResponse, ListPayerLinksRequest, ListPayerLinksResponse, ListRelationsRequest,
        ListRelationsResponse, ListUnclaimedSumsRequest, ListUnclaimedSumsResponse, ListWorkItemsRequest,
        ListWorkItemsResponse, Payout, PayoutPart, ReadmitDetaineeRequest, RevealPayeeRequest, StaffRelation, Stay,
        WorkKind, approval, detainee, payout, payout_part, unclaimed_sum,
    },
};
pub use doors::{REQUESTS, SHEET};
use prost::Message as _;
use tonic::Code;
use uuid::Uuid;

use self::doors::{merge, part, write_off};
use crate::{
    debts::debt_of,
    whole_service::{Hall, Refused},
    world,
};

const CREATE: &str = "EndingService/CreatePayout";
const CONFIRM: &str = "EndingService/ConfirmPayoutPart";
const NUMBER: &str = "6222020200011234567";

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

fn payout_of(detainee: &str, purpose: payout::Purpose, parts: Vec<PayoutPart>) -> CreatePayoutRequest {
    CreatePayoutRequest {
        parent: format!("centers/C1/detainees/{detainee}"),
        purpose: purpose.into(),
        parts,
        document: "Z-1".into(),
        reason: "as the document says".into(),
        request_id: new_id(),
        ..CreatePayoutRequest::default()
    }
}

fn paid(payout: &str, part: i32) -> ConfirmPayoutPartRequest {
    ConfirmPayoutPartRequest {
        name: payout.into(),
        part,
        bank_reference: "B1".into(),
        request_id: new_id(),
    }
}

async fn change(hall: &Hall, detainee: &str, custody: Custody) -> Stay {
    let message = ChangeCustodyRequest {
        name: format!("centers/C1/detainees/{detainee}"),
        custody: custody.into(),
        document: "Z-1".into(),
        reason: "as the document says".into(),
        request_id: new_id(),
    };
    hall.ask("EndingService/ChangeCustody", &message).await.unwrap()
}

async fn stay(hall: &Hall, detainee: &str) -> Stay {
    let name = format!("centers/C1/detainees/{detainee}");
    hall.ask("EndingService/GetStay", &GetStayRequest { name })
        .await
        .unwrap()
}

async fn items(hall: &Hall, kind: WorkKind) -> usize {
    let list = ListWorkItemsRequest {
        parent: "centers/C1".into(),
        kind: kind.into(),
        ..ListWorkItemsRequest::default()
    };
    let found: ListWorkItemsResponse = hall.ask("WorkService/ListWorkItems", &list).await.unwrap();
    found.work_items.len()
}

async fn add_heir(hall: &Hall, detainee: &str, heir: &str) -> String {
    let message = AddHeirRequest {
        parent: format!("centers/C1/detainees/{detainee}"),
        heir_id: heir.into(),
        heir: Some(Heir {
            display_name: "李小红".into(),
            identity_number: "11010519491231002X".into(),
            relationship: "daughter".into(),
            document: "notary 7".into(),
            ..Heir::default()
        }),
    };
    let first: Heir = hall.ask("EndingService/AddHeir", &message).await.unwrap();
    let again: Heir = hall.ask("EndingService/AddHeir", &message).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(
        (first.display_name.as_str(), first.identity_number.as_str()),
        ("李**", "")
    );
    first.name
}

/// Nothing that anybody stored tells a number or a name in clear.
async fn sealed(hall: &Hall) {
    let kept = hall.everything().await.join("\n");
    for secret in [NUMBER, "11010519491231002X", "李小红", "Zhang San"] {
        assert!(
            !kept.contains(secret) && !kept.contains(&hex::encode(secret)),
            "{secret}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_leaves_in_parts_and_the_bank_rejects_one() {
    let hall = Hall::open().await;
    let alice = hall.person("alice", Role::Finance);
    let parts = vec![part("60.00", NUMBER), part("30.00", "62220202")];
    let asked = payout_of("D1", payout::Purpose::Release, parts);
    // At once, many times: once.
    let calls = (0..4).map(|_| hall.call(CREATE, &alice, asked.encode_to_vec()));
    let answers = futures::future::join_all(calls).await;
    let opened: Vec<Payout> = answers
        .into_iter()
        .map(|answer| Payout::decode(answer.unwrap().message.as_slice()).unwrap())
        .collect();
    assert!(opened.iter().all(|payout| *payout == opened[0]), "{opened:?}");
    let opened = &opened[0];
    assert_eq!(opened.approval, "");
    assert_eq!(opened.parts[0].payee, "ICBC ****4567 Z**");
    assert_eq!(hall.balances("D1").await[0], "0.00");
    sealed(&hall).await;

    // Its maker does not say that it was paid, in whatever role; and finance alone is told where it goes.
    let own = hall.person("ALICE", Role::Admin);
    let refused = hall
        .refused_as("own", CONFIRM, &own, paid(&opened.name, 1).encode_to_vec())
        .await;
    assert!(refused.is(Code::PermissionDenied, "MAKER_IS_CHECKER"), "{refused:?}");
    let reveal = RevealPayeeRequest {
        name: opened.name.clone(),
        part: 1,
    };
    let account: BankAccount = hall.ask("EndingService/RevealPayee", &reveal).await.unwrap();
    assert_eq!(account.number, NUMBER);
    let auditor = hall.token(Role::Auditor);
    let denied = hall
        .refused_as("auditor", "EndingService/RevealPayee", &auditor, reveal.encode_to_vec())
        .await;
    assert!(denied.is(Code::PermissionDenied, "NOT_ALLOWED"), "{denied:?}");

    // Two say that a part was paid, at once: one of them is told that it was.
    let (bob, carol) = (hall.person("bob", Role::Finance), hall.person("carol", Role::Finance));
    let (one, other) = tokio::join!(
        hall.call(CONFIRM, &bob, paid(&opened.name, 1).encode_to_vec()),
        hall.call(CONFIRM, &carol, paid(&opened.name, 1).encode_to_vec())
    );
    let ends = [one, other].map(|answer| {
        answer
            .map(|_| ())
            .map_err(|status| Refused::of(&status, "twice").reason)
    });
    assert!(
        ends.contains(&Ok(())) && ends.contains(&Err("NOT_IN_TRANSIT".into())),
        "{ends:?}"
    );
    let fail = FailPayoutPartRequest {
        name: opened.name.clone(),
        part: 2,
        reason: "no such account".into(),
        request_id: new_id(),
    };
    let failed: Payout = hall.ask("EndingService/FailPayoutPart", &fail).await.unwrap();
    assert_eq!(failed.parts[0].state(), payout_part::State::Paid);
    assert_eq!(failed.parts[1].state(), payout_part::State::Failed);
    let now = stay(&hall, "D1").await;
    assert_eq!(now.detainee.unwrap().state(), detainee::State::Released);
    assert_eq!(now.unclaimed_sums[0].state(), unclaimed_sum::State::Waiting);
    assert_eq!(items(&hall, WorkKind::ReleaseRejected).await, 1);
    assert_eq!(items(&hall, WorkKind::UnclaimedSum).await, 1);
    hall.verified().await;

    // It is claimed, by two people, under the same name of the stay.
    let mut claim = payout_of("D1", payout::Purpose::Claim, vec![part("30.00", NUMBER)]);
    claim.unclaimed_sum = now.unclaimed_sums[0].name.clone();
    let claimed: Payout = hall.ask_allowed(CREATE, &claim).await.unwrap();
    assert!(!claimed.approval.is_empty() && !claimed.from_treasury);
    let again: Payout = hall.ask(CREATE, &claim).await.unwrap();
    assert_eq!(again, claimed);
    let _: Payout = hall.ask_as(CONFIRM, &bob, &paid(&claimed.name, 1)).await.unwrap();
    let list = ListUnclaimedSumsRequest {
        parent: "centers/C1".into(),
        ..ListUnclaimedSumsRequest::default()
    };
    let sums: ListUnclaimedSumsResponse = hall.ask("EndingService/ListUnclaimedSums", &list).await.unwrap();
    assert_eq!(sums.unclaimed_sums[0].state(), unclaimed_sum::State::Claimed);
    for kind in [
        WorkKind::ReleaseRejected,
        WorkKind::UnclaimedSum,
        WorkKind::PayoutInTransit,
    ] {
        assert_eq!(items(&hall, kind).await, 0, "{kind:?}");
    }
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heirs_are_paid_in_shares_and_late_money_goes_back() {
    let hall = Hall::open().await;
    let ordered = hall.order("D1", "40.00").await;
    assert_eq!(change(&hall, "D1", Custody::Deceased).await.document, "Z-1");
    assert_eq!(items(&hall, WorkKind::Estate).await, 1);
    hall.control
        .pay(&ordered.order_number, &Default::default())
        .await
        .unwrap();
    hall.delivered().await;
    // The job sends it back the way it came.
    let gone = async {
        while hall.control.refunds().await.unwrap().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), gone)
        .await
        .unwrap();
    let heirs = [add_heir(&hall, "D1", "H1").await, add_heir(&hall, "D1", "H2").await];
    let share = |heir: &str, amount: &str| PayoutPart {
        heir: heir.into(),
        ..part(amount, NUMBER)
    };
    let parts = vec![share(&heirs[0], "33.34"), share(&heirs[1], "56.66")];
    let asked = payout_of("D1", payout::Purpose::Heirs, parts);
    let first: Payout = hall.ask(CREATE, &asked).await.unwrap();
    assert!(first.name.is_empty() && !first.approval.is_empty());
    assert_eq!(
        hall.balances("D1").await[0],
        "90.00",
        "nothing moves before others allow it"
    );
    sealed(&hall).await;
    hall.allow_all().await;
    let opened: Payout = hall.ask(CREATE, &asked).await.unwrap();
    assert_eq!(
        (opened.parts.len(), opened.amount),
        (2, crate::whole_service::money("90.00"))
    );
    let bob = hall.person("bob", Role::Finance);
    for part in [1, 2] {
        let _: Payout = hall.ask_as(CONFIRM, &bob, &paid(&opened.name, part)).await.unwrap();
    }
    assert_eq!(items(&hall, WorkKind::Estate).await, 0);
    sealed(&hall).await;
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_related_neither_asks_nor_decides_nor_pays() {
    let hall = Hall::open().await;
    let admin = hall.person("root", Role::Admin);
    let declare = |person: &str, related: bool| DeclareRelationRequest {
        parent: "centers/C1".into(),
        relation: Some(StaffRelation {
            detainee: "centers/C1/detainees/D1".into(),
            person: person.into(),
            related,
            relationship: "brother".into(),
            document: "R-1".into(),
            ..StaffRelation::default()
        }),
    };
    let method = "EndingService/DeclareRelation";
    for _ in 0..2 {
        let told: StaffRelation = hall.ask_as(method, &admin, &declare("Bob", true)).await.unwrap();
        assert_eq!(told.person, "bob");
    }
    let bob = hall.person("BOB", Role::Finance);
    let denied = hall
        .refused_as("finance", method, &bob, declare("carol", true).encode_to_vec())
        .await;
    assert!(denied.is(Code::PermissionDenied, "NOT_ALLOWED"), "{denied:?}");
    let related = |refused: Refused| assert!(refused.is(Code::PermissionDenied, "STAFF_RELATED"), "{refused:?}");
    // Neither an advance, nor a payout, nor a death; nor another's advance.
    let advance = debt_of(&new_id(), "D1", "60.00");
    let create = "DistributionService/CreateDebt";
    related(
        hall.refused_as(
            "advance",
            create,
            &bob,
            debt_of(&new_id(), "D1", "1.00").encode_to_vec(),
        )
        .await,
    );
    let parts = vec![part("90.00", NUMBER)];
    let payout = payout_of("D1", payout::Purpose::Release, parts).encode_to_vec();
    related(hall.refused_as("payout", CREATE, &bob, payout).await);
    let _: Debt = hall.ask(create, &advance).await.unwrap();
    let approval = hall.open_approvals().await[0].name.clone();
    related(Refused::of(&hall.approve(&approval, "bob").await.unwrap_err(), "bob"));
    assert_eq!(hall.open_approvals().await.len(), 1, "it is still open");
    // Of somebody else's money they may.
    let other = debt_of(&new_id(), "D2", "60.00");
    let _: Debt = hall.ask(create, &other).await.unwrap();
    let of_other = hall.open_approvals().await;
    let of_other = of_other.iter().find(|asked| asked.name != approval).unwrap();
    assert_eq!(
        hall.approve(&of_other.name, "bob").await.unwrap().state(),
        approval::State::Executed
    );
    // Until it is declared that they are not any more.
    let _: StaffRelation = hall.ask_as(method, &admin, &declare("bob", false)).await.unwrap();
    let list = ListRelationsRequest {
        parent: "centers/C1".into(),
        ..ListRelationsRequest::default()
    };
    let held: ListRelationsResponse = hall.ask("EndingService/ListRelations", &list).await.unwrap();
    assert!(held.relations.is_empty());
    assert_eq!(
        hall.approve(&approval, "bob").await.unwrap().state(),
        approval::State::Executed
    );
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bookings_are_merged_debts_written_off_and_people_come_back() {
    let hall = Hall::open().await;
    hall.remit("D2", "20.00").await;
    let _: Debt = hall
        .ask_allowed("DistributionService/CreateDebt", &debt_of(&new_id(), "D3", "5000.00"))
        .await
        .unwrap();
    let debt = hall.seq().await;
    let debt = format!("centers/C1/debts/{debt}");
    // Three people from 5,000.00.
    let asked = write_off(&new_id(), &debt, "5000.00", "Z-9");
    let first: Approval = hall.ask("EndingService/ProposeWriteOff", &asked).await.unwrap();
    assert_eq!(first.checkers_needed, 2);
    hall.allow_all().await;
    let read: Debt = hall
        .ask("DistributionService/GetDebt", &GetDebtRequest { name: debt.clone() })
        .await
        .unwrap();
    let sums = [read.written_off, read.still_owed].map(|money| money.unwrap().amount);
    assert_eq!(sums, ["5000.00", "0.00"]);
    let more = write_off(&new_id(), &debt, "0.01", "Z-9").encode_to_vec();
    let refused = hall.refused("more", "EndingService/ProposeWriteOff", more).await;
    assert!(
        refused.is(Code::FailedPrecondition, "WRITE_OFF_EXCEEDS_DEBT"),
        "{refused:?}"
    );

    // D2's court order would be lost.
    let refused = hall
        .refused(
            "court",
            "EndingService/ProposeMerge",
            merge(&new_id(), "D2", "D1", "twice").encode_to_vec(),
        )
        .await;
    assert!(refused.is(Code::FailedPrecondition, "STILL_OWING"), "{refused:?}");
    let _: Approval = hall
        .ask("EndingService/ProposeMerge", &merge(&new_id(), "D3", "D1", "twice"))
        .await
        .unwrap();
    hall.allow_all().await;
    assert_eq!(hall.balances("D1").await[0], "5090.00");
    let merged = stay(&hall, "D3").await;
    assert_eq!(merged.merged_into, "centers/C1/detainees/D1");
    let links = ListPayerLinksRequest {
        parent: "centers/C1/payers/P2".into(),
        ..ListPayerLinksRequest::default()
    };
    let links: ListPayerLinksResponse = hall.ask("RemittanceService/ListPayerLinks", &links).await.unwrap();
    assert_eq!(links.payer_links.len(), 2, "P2 may remit to D1 now");
    hall.verified().await;

    // Who is released comes back under another number, once; the old stay is readable.
    let readmit = |id: &str| ReadmitDetaineeRequest {
        former: "centers/C1/detainees/D1".into(),
        detainee_id: id.into(),
        detainee: Some(Detainee {
            display_name: "Back".into(),
            tier: 1,
            ..Detainee::default()
        }),
        document: "Z-5".into(),
    };
    let method = "EndingService/ReadmitDetainee";
    let early = hall.refused("early", method, readmit("D9").encode_to_vec()).await;
    assert!(early.is(Code::FailedPrecondition, "STAY_NOT_OVER"), "{early:?}");
    let asked = payout_of("D1", payout::Purpose::Release, vec![part("5090.00", NUMBER)]);
    let opened: Payout = hall.ask_allowed(CREATE, &asked).await.unwrap();
    let bob = hall.person("bob", Role::Finance);
    let _: Payout = hall.ask_as(CONFIRM, &bob, &paid(&opened.name, 1)).await.unwrap();
    let (one, other) = (readmit("D9"), readmit("D9"));
    let (one, other) = tokio::join!(hall.ask::<Stay>(method, &one), hall.ask::<Stay>(method, &other));
    assert_eq!(one.unwrap(), other.unwrap());
    let twice = hall.refused("twice", method, readmit("D8").encode_to_vec()).await;
    assert!(twice.is(Code::FailedPrecondition, "STAY_NOT_OVER"), "{twice:?}");
    assert_eq!(stay(&hall, "D9").await.former, "centers/C1/detainees/D1");
    let old = stay(&hall, "D1").await;
    assert_eq!((old.later.as_str(), old.payouts.len()), ("centers/C1/detainees/D9", 1));
    hall.remit("D2", "10.00").await;
    world::endow(&hall.process, &hall.center, "D9", "5.00").await;
    assert_eq!(hall.balances("D9").await[0], "5.00");
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_is_listed_and_alive() {
    let hall = Hall::open().await;
    let list = ListJobsRequest {
        parent: "centers/C1".into(),
    };
    let alive = async {
        loop {
            let jobs: ListJobsResponse = hall.ask("WorkService/ListJobs", &list).await.unwrap();
            let job = jobs.jobs.into_iter().find(|job| job.job == "endings").unwrap();
            if !job.overdue && job.last_error.is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), alive)
        .await
        .unwrap();
}
