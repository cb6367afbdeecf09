//! Money on its way out, asked for twice, by many at once, and told about in every order.

use custody_ledger::{
    access::{Role, Scope},
    custody::DetaineeState,
    gateway::simulator::control::{NotifyOptions, RefundAnswer},
    ids::VendorId,
    proto::{
        Approval, ApproveRequest, CloseSettlementRequest, ConfirmReleaseRequest, ConfirmSettlementRequest,
        CreateRefundRequest, CreateReleaseRequest, CreateReturnLine, CreateReturnRequest, FailSettlementRequest,
        GetRefundRequest, GetReleaseRequest, ProposeSettlementRequest, RefreshRefundRequest, Refund, Release, Return,
        Settlement, WorkItem, WorkKind, approval, list_work_items_request, refund, settlement,
    },
};
use prost::Message;
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tonic::{Status, transport::Channel};
use uuid::Uuid;

use crate::{
    money_without_order::items,
    service::purchase_of,
    whole_service::{self, Answer, Hall, Refused, money},
    world::id,
};

const REFUND: &str = "RefundService/CreateRefund";
const RELEASE: &str = "RefundService/CreateRelease";
const PURCHASE: &str = "CommissaryService/CreatePurchase";

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

fn refund_of(remittance: &str, amount: &str) -> CreateRefundRequest {
    CreateRefundRequest {
        by_bank: false,
        consent: Some(custody_ledger::proto::DetaineeConsent::scanned("C-1")),
        parent: "centers/C1".into(),
        remittance: remittance.into(),
        amount: money(amount),
        reason: "wrong person".into(),
        request_id: new_id(),
        suspense_transaction: String::new(),
    }
}

fn release_of(detainee: &str) -> CreateReleaseRequest {
    CreateReleaseRequest {
        parent: "centers/C1".into(),
        detainee: format!("centers/C1/detainees/{detainee}"),
        destination: "cash desk".into(),
        request_id: new_id(),
    }
}

/// A call under way.
type Calls = JoinSet<Result<Answer, Status>>;

fn spawn(calls: &mut Calls, channel: &Channel, token: &str, method: &'static str, message: &impl Message) {
    let (channel, token, message) = (channel.clone(), token.to_owned(), message.encode_to_vec());
    calls.spawn(async move { whole_service::call(channel, method, &token, message).await });
}

/// How many succeeded; the others must have been refused for one of the reasons.
async fn succeeded(calls: Calls, reasons: &[&str]) -> Vec<Answer> {
    let mut answers = Vec::new();
    for answer in calls.join_all().await {
        match answer {
            Ok(answer) => answers.push(answer),
            Err(status) => {
                let refused = Refused::of(&status, "at once");
                assert!(reasons.contains(&refused.reason.as_str()), "{refused:?}");
            }
        }
    }
    answers
}

fn decode<M: Message + Default>(answer: &Answer) -> M {
    M::decode(answer.message.as_slice()).unwrap()
}

fn fen(amount: &str) -> i64 {
    amount.replace('.', "").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_asked_for_twice_is_one_and_many_are_never_more_than_was_remitted() {
    let hall = Hall::open().await;
    let remitted = hall.remit("D3", "100.00").await.name;
    let finance = hall.token(Role::Finance);
    let asked = refund_of(&remitted, "20.00");
    let first = hall.call(REFUND, &finance, asked.encode_to_vec()).await.unwrap();
    let again = hall.call(REFUND, &finance, asked.encode_to_vec()).await.unwrap();
    assert!(!first.replayed && again.replayed);
    assert_eq!(first.message, again.message);
    assert_eq!(hall.control.refunds().await.unwrap().len(), 1);
    for (amount, reason) in [
        ("80.01", "REFUND_EXCEEDS_ORIGINAL"),
        ("100.01", "REFUND_EXCEEDS_ORIGINAL"),
    ] {
        let refused = hall
            .refused(amount, REFUND, refund_of(&remitted, amount).encode_to_vec())
            .await;
        assert_eq!(refused.reason, reason);
    }

    let other = hall.another_service().await;
    let (mut calls, foreign) = (Calls::new(), other.channel().await);
    let theirs = other.token(
        Role::Finance,
        custody_ledger::access::Scope {
            center: Some(hall.center.id.clone()),
            ..Default::default()
        },
    );
    for _ in 0..6 {
        spawn(
            &mut calls,
            &hall.channel,
            &finance,
            REFUND,
            &refund_of(&remitted, "30.00"),
        );
        spawn(&mut calls, &foreign, &theirs, REFUND, &refund_of(&remitted, "30.00"));
    }
    let reasons = ["REFUND_EXCEEDS_ORIGINAL", "REFUND_EXCEEDS_UNSPENT"];
    assert_eq!(succeeded(calls, &reasons).await.len(), 2);
    assert_eq!(hall.balances("D3").await[0], "20.00");
    assert_eq!(hall.control.refunds().await.unwrap().len(), 3);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refunds_and_purchases_at_once_never_spend_the_same_money() {
    let hall = Hall::open().await;
    let remitted = hall.remit("D3", "100.00").await.name;
    let (finance, terminal) = (hall.token(Role::Finance), hall.token(Role::Terminal));
    let (mut refunds, mut purchases) = (Calls::new(), Calls::new());
    for number in 0..30 {
        let order = purchase_of("C1", "D3", Uuid::new_v4(), &[("RICE", 1)]);
        spawn(&mut purchases, &hall.channel, &terminal, PURCHASE, &order);
        if number % 5 == 0 {
            spawn(
                &mut refunds,
                &hall.channel,
                &finance,
                REFUND,
                &refund_of(&remitted, "21.00"),
            );
        }
    }
    let bought = succeeded(purchases, &["INSUFFICIENT_FUNDS"]).await.len();
    let refunded = succeeded(refunds, &["REFUND_EXCEEDS_UNSPENT", "REFUND_EXCEEDS_ORIGINAL"])
        .await
        .len();
    let spent = 250 * i64::try_from(bought).unwrap() + 2100 * i64::try_from(refunded).unwrap();
    assert_eq!(fen(&hall.balances("D3").await[0]), 10_000 - spent);
    assert!(bought > 0 && refunded > 0);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_ends_once_however_it_is_told() {
    let hall = Hall::open().await;
    let remitted = hall.remit("D3", "100.00").await.name;
    let told = |failed: Option<&str>, notify: NotifyOptions| RefundAnswer {
        failed: failed.map(ToOwned::to_owned),
        abnormal: false,
        notify,
    };
    let state = async |name: &str| {
        let ask = GetRefundRequest { name: name.to_owned() };
        let refund: Refund = hall.ask("RefundService/GetRefund", &ask).await.unwrap();
        refund.state()
    };

    // Lost: only asking finds it.
    let lost: Refund = hall.ask(REFUND, &refund_of(&remitted, "10.00")).await.unwrap();
    let lose = NotifyOptions {
        lose: true,
        ..Default::default()
    };
    hall.control
        .answer_refund(&lost.refund_number, &told(None, lose))
        .await
        .unwrap();
    assert_eq!(state(&lost.name).await, refund::State::Submitted);
    let refresh = RefreshRefundRequest {
        name: lost.name.clone(),
    };
    for _ in 0..2 {
        let found: Refund = hall.ask("RefundService/RefreshRefund", &refresh).await.unwrap();
        assert_eq!(found.state(), refund::State::Succeeded);
    }

    // Told four times: once.
    let often: Refund = hall.ask(REFUND, &refund_of(&remitted, "10.00")).await.unwrap();
    let seq = hall.seq().await;
    let duplicate = NotifyOptions {
        duplicate: 3,
        ..Default::default()
    };
    let failed = told(Some("account\u{7} closed"), duplicate);
    hall.control.answer_refund(&often.refund_number, &failed).await.unwrap();
    hall.delivered().await;
    assert_eq!(state(&often.name).await, refund::State::Failed);
    assert_eq!(hall.seq().await, seq + 1);
    assert_eq!(hall.balances("D3").await[0], "90.00");

    // And then otherwise: what was told first stands.
    const KEPT: [&str; 4] = ["notification", "rejected_notification", "work_item", "work_item_open"];
    let before = hall.everything_but(&KEPT).await;
    let notice = |outcome: &str| {
        let now = OffsetDateTime::now_utc()
            .format(&time::format_description::well_known::Rfc3339)
            .unwrap();
        format!(
            r#"{{"event_id":"e","created_at":"{now}","event_type":"refund_finished","refund":{{"refund_number":"{}",
            "order_number":"{}","amount":{{"value":"10.00","currency":"CNY"}},"outcome":{outcome}}}}}"#,
            often.refund_number,
            order_number(&remitted),
        )
    };
    let now = OffsetDateTime::now_utc()
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap();
    for outcome in [
        format!(r#"{{"state":"succeeded","gateway_refund":"re_9","at":"{now}"}}"#),
        r#"{"state":"failed","reason":"another reason"}"#.to_owned(),
    ] {
        assert_eq!(hall.notify(notice(&outcome)).await, 200);
    }
    assert_eq!(hall.notify(notice(r#"{"state":"processing"}"#)).await, 400);
    assert_eq!(hall.everything_but(&KEPT).await, before);
    // That the gateway contradicts itself is somebody's work.
    let work = items(&hall, list_work_items_request::View::All, "").await;
    let work: Vec<WorkKind> = work.iter().map(WorkItem::kind).collect();
    assert_eq!(work, [WorkKind::Contradiction]);
    hall.verified().await;
}

fn order_number(remittance: &str) -> String {
    format!("1-{}", remittance.rsplit('/').next().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_with_purchases_in_flight_pays_exactly_what_they_leave() {
    let hall = Hall::open().await;
    let (other, finance) = (hall.another_service().await, hall.token(Role::Finance));
    let (mut purchases, mut releases) = (Calls::new(), Calls::new());
    let foreign = other.channel().await;
    for number in 0..30 {
        let order = purchase_of("C1", "D1", Uuid::new_v4(), &[("RICE", 1)]);
        if number % 2 == 0 {
            spawn(
                &mut purchases,
                &hall.channel,
                &hall.token(Role::Terminal),
                PURCHASE,
                &order,
            );
        } else {
            spawn(&mut purchases, &foreign, &other.terminal_token("C1"), PURCHASE, &order);
        }
        if number % 8 == 7 {
            spawn(&mut releases, &hall.channel, &finance, RELEASE, &release_of("D1"));
        }
    }
    let opened = succeeded(releases, &["DETAINEE_NOT_ACTIVE"]).await;
    let bought = succeeded(purchases, &["DETAINEE_NOT_ACTIVE"]).await.len();
    assert_eq!(opened.len(), 1);
    let release: Release = decode(&opened[0]);
    let paid = fen(&release.amount.unwrap().amount);
    assert_eq!(paid + 250 * i64::try_from(bought).unwrap(), 9000);
    assert_eq!(hall.balances("D1").await, ["0.00"; 4]);

    // Closed: nothing goes in or out, by whichever service.
    let order = purchase_of("C1", "D1", Uuid::new_v4(), &[("RICE", 1)]);
    let torn = CreateReturnRequest {
        parent: "centers/C1".into(),
        purchase: format!("centers/C1/purchases/{}", hall.bought),
        lines: vec![CreateReturnLine { line: 1, quantity: 1 }],
        reason: "torn".into(),
        request_id: new_id(),
        authorised_by: String::new(),
    };
    let (channel, token) = (other.channel().await, other.terminal_token("C1"));
    let refused = [
        hall.refused("later", PURCHASE, order.encode_to_vec()).await,
        hall.refused("later", "CommissaryService/CreateReturn", torn.encode_to_vec())
            .await,
        hall.refused("later", RELEASE, release_of("D1").encode_to_vec()).await,
        Refused::of(
            &whole_service::call(channel, PURCHASE, &token, order.encode_to_vec())
                .await
                .err()
                .unwrap(),
            "elsewhere",
        ),
    ];
    assert!(
        refused.iter().all(|refused| refused.reason == "DETAINEE_NOT_ACTIVE"),
        "{refused:?}"
    );

    // Not by whoever created it, in whatever role and letters.
    let confirm = ConfirmReleaseRequest {
        name: release.name.clone(),
        bank_reference: "B9".into(),
        request_id: new_id(),
    };
    for token in [finance.clone(), hall.token(Role::Admin)] {
        let refused = hall
            .refused_as(
                "own",
                "RefundService/ConfirmRelease",
                &token,
                ConfirmReleaseRequest {
                    request_id: new_id(),
                    ..confirm.clone()
                }
                .encode_to_vec(),
            )
            .await;
        assert_eq!(refused.reason, "MAKER_IS_CHECKER", "{refused:?}");
    }

    // Paid once, by whoever comes first.
    let another = hall.person("bob", Role::Finance);
    let mut calls = Calls::new();
    for number in 0..4 {
        let confirm = ConfirmReleaseRequest {
            name: release.name.clone(),
            bank_reference: format!("B{number}"),
            request_id: new_id(),
        };
        spawn(
            &mut calls,
            &hall.channel,
            &another,
            "RefundService/ConfirmRelease",
            &confirm,
        );
    }
    assert_eq!(succeeded(calls, &["NOT_IN_TRANSIT"]).await.len(), 1);
    let ask = GetReleaseRequest { name: release.name };
    let told: Release = hall.ask("RefundService/GetRelease", &ask).await.unwrap();
    assert_eq!(told.state(), custody_ledger::proto::release::State::Paid);
    let detainee = hall.process.custody.detainee(&hall.center, &id("D1")).await.unwrap();
    assert_eq!(detainee.state, DetaineeState::Released);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_is_closed_once_and_ends_once() {
    let hall = Hall::open().await;
    let finance = hall.token(Role::Finance);
    let yesterday = (OffsetDateTime::now_utc() - time::Duration::days(1)).date().to_string();
    let close = || CloseSettlementRequest {
        parent: "centers/C1".into(),
        vendor: "centers/C1/vendors/V1".into(),
        through_date: yesterday.clone(),
        request_id: new_id(),
    };
    let confirm = |name: &str| ConfirmSettlementRequest {
        name: name.to_owned(),
        bank_reference: "B1".into(),
        request_id: new_id(),
    };
    let fail = |name: &str| FailSettlementRequest {
        name: name.to_owned(),
        reason: "closed".into(),
        request_id: new_id(),
    };
    let (close_method, confirm_method, fail_method) = (
        "SettlementService/CloseSettlement",
        "SettlementService/ConfirmSettlement",
        "SettlementService/FailSettlement",
    );
    let mut calls = Calls::new();
    for _ in 0..6 {
        spawn(&mut calls, &hall.channel, &finance, close_method, &close());
    }
    let closed = succeeded(calls, &[]).await;
    assert_eq!(closed.iter().filter(|answer| !answer.replayed).count(), 1);
    assert!(closed.iter().all(|answer| answer.message == closed[0].message));
    let first: Settlement = decode(&closed[0]);
    assert_eq!(first.total, money("10.00"));
    let unallowed = hall
        .refused("not allowed", confirm_method, confirm(&first.name).encode_to_vec())
        .await;
    assert_eq!(unallowed.reason, "SETTLEMENT_NOT_APPROVED");
    let propose = ProposeSettlementRequest {
        name: first.name.clone(),
        reason: "reviewed".into(),
        request_id: new_id(),
    };
    let asked: Approval = hall.ask("SettlementService/ProposeSettlement", &propose).await.unwrap();
    let approve = ApproveRequest {
        name: asked.name,
        reason: String::new(),
    };
    let scope = Scope {
        center: Some(hall.center.id.clone()),
        ..Scope::default()
    };
    let checker = hall.service.token_of("checker", Role::Finance, scope);
    let allowed: Approval = hall
        .ask_as("ApprovalService/Approve", &checker, &approve)
        .await
        .unwrap();
    assert_eq!(allowed.state(), approval::State::Executed);

    // What comes back meanwhile is not this settlement's business.
    let back = CreateReturnRequest {
        parent: "centers/C1".into(),
        purchase: format!("centers/C1/purchases/{}", hall.bought),
        lines: vec![CreateReturnLine { line: 1, quantity: 1 }],
        reason: "torn".into(),
        request_id: new_id(),
        authorised_by: String::new(),
    };
    let _: Return = hall.ask("CommissaryService/CreateReturn", &back).await.unwrap();

    // Not confirmed by who closed it.
    let own = hall
        .refused("own", confirm_method, confirm(&first.name).encode_to_vec())
        .await;
    assert_eq!(own.reason, "MAKER_IS_CHECKER");

    // Paid and failed by several at once: one of them.
    let mut calls = Calls::new();
    for _ in 0..3 {
        spawn(
            &mut calls,
            &hall.channel,
            &hall.person("erin", Role::Finance),
            confirm_method,
            &confirm(&first.name),
        );
        spawn(&mut calls, &hall.channel, &finance, fail_method, &fail(&first.name));
    }
    let ended = succeeded(calls, &["NOT_IN_TRANSIT"]).await;
    assert_eq!(ended.len(), 1);
    let ended: Settlement = decode(&ended[0]);
    assert_eq!(ended.total, money("10.00"));
    // Confirmed then failed, and the other way round.
    for (method, message) in [
        (fail_method, fail(&first.name).encode_to_vec()),
        (confirm_method, confirm(&first.name).encode_to_vec()),
    ] {
        assert_eq!(hall.refused("ended", method, message).await.reason, "NOT_IN_TRANSIT");
    }
    let vendor = hall
        .process
        .commissary
        .vendor(&hall.center, &VendorId::parse("V1").unwrap())
        .await
        .unwrap();
    let accounts = [vendor.payable_no, vendor.transit_no];
    let (owed, _) = custody_ledger::ledger::balance::now(&*hall.process.database.read, &hall.center, &accounts)
        .await
        .unwrap();
    let owed: Vec<String> = owed.iter().map(ToString::to_string).collect();
    let expected = if ended.state() == settlement::State::Paid {
        "-2.50"
    } else {
        "7.50"
    };
    assert_eq!(owed, [expected, "0.00"]);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_nothing_is_released_without_a_payout() {
    let hall = Hall::open().await;
    let first: Release = hall.ask(RELEASE, &release_of("D2")).await.unwrap();
    let ask = GetReleaseRequest {
        name: first.name.clone(),
    };
    let told: Release = hall.ask("RefundService/GetRelease", &ask).await.unwrap();
    assert_eq!(told, first);
    assert_eq!(told.state(), custody_ledger::proto::release::State::Paid);
    assert_eq!(told.amount, money("0.00"));
    let confirm = ConfirmReleaseRequest {
        name: first.name,
        bank_reference: "B1".into(),
        request_id: new_id(),
    };
    let refused = hall
        .refused("paid", "RefundService/ConfirmRelease", confirm.encode_to_vec())
        .await;
    assert_eq!(refused.reason, "NOT_IN_TRANSIT");
    let order = purchase_of("C1", "D2", Uuid::new_v4(), &[("RICE", 1)]);
    assert_eq!(
        hall.refused("later", PURCHASE, order.encode_to_vec()).await.reason,
        "DETAINEE_NOT_ACTIVE"
    );
    hall.verified().await;
}
