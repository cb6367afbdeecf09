//! Notifications signed by hand, to a running service: what is not believed changes nothing, and what is, counts once.

use std::collections::BTreeSet;

use custody_ledger::{
    access::Role,
    custody::{DetaineeState, Settings},
    gateway::{
        simulator::control::PayOptions,
        webhook::{
            signature::{SIGNATURE_HEADER, sign_notification},
            wire::{Event, EventBody, MoneyBody, PaidBody, RefundBody, RefundOutcome},
        },
    },
    ledger::{balance, chart},
    proto::{
        ConfirmReleaseRequest, CreateReleaseRequest, GatewayNotification, GetRequestOutcomeRequest,
        ListNotificationsRequest, ListNotificationsResponse, RefreshRemittanceRequest, Release, Remittance,
        RequestOutcome, WorkKind,
        gateway_notification::{Effect, Verdict},
        list_work_items_request,
        remittance::State,
        request_outcome,
    },
};
use secrecy::SecretString;
use time::{Duration, OffsetDateTime};
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    money_without_order::items,
    whole_service::{Hall, Refused, SECRET, remittance_of},
    world::id,
};

pub fn event(event: Event) -> String {
    let body = EventBody {
        event_id: "evt_1".into(),
        created_at: OffsetDateTime::now_utc(),
        event,
    };
    serde_json::to_string(&body).unwrap()
}

/// `payment_succeeded`.
pub fn paid(order_number: &str, gateway_transaction: &str, value: &str, currency: &str) -> String {
    event(Event::PaymentSucceeded {
        order_number: order_number.into(),
        payment: PaidBody {
            gateway_transaction: gateway_transaction.into(),
            amount: MoneyBody {
                value: value.into(),
                currency: currency.into(),
            },
            paid_at: OffsetDateTime::now_utc(),
        },
    })
}

fn signed_at(offset_s: i64, secret: &str, body: &str) -> String {
    let at = OffsetDateTime::now_utc() + Duration::seconds(offset_s);
    sign_notification(&SecretString::from(secret), at, body.as_bytes())
}

fn signed(body: &str) -> Option<String> {
    Some(signed_at(0, SECRET, body))
}

/// Posts a notification; the code of the answer.
async fn post(address: &str, channel: &str, signature: Option<String>, body: String) -> u16 {
    let mut request = reqwest::Client::new()
        .post(format!("http://{address}/v1/notifications/{channel}"))
        .body(body);
    if let Some(signature) = signature {
        request = request.header(SIGNATURE_HEADER, signature);
    }
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forged_stale_or_altered_changes_nothing() {
    let hall = Hall::open().await;
    let ordered = hall.order("D1", "50.00").await;
    let order = ordered.order_number.as_str();
    let good = paid(order, "pay_1", "50.00", "CNY");
    // What is kept of them, and the work they make, is looked at by itself.
    const KEPT: [&str; 4] = ["notification", "rejected_notification", "work_item", "work_item_open"];
    let (before, seq) = (hall.everything_but(&KEPT).await, hall.seq().await);
    let refund = event(Event::RefundFinished {
        refund: RefundBody {
            refund_number: "F1-000009".into(),
            order_number: order.into(),
            amount: MoneyBody {
                value: "50.00".into(),
                currency: "CNY".into(),
            },
            outcome: RefundOutcome::Failed { reason: "no".into() },
        },
    });
    let altered = |from: &str, to: &str| {
        let body = good.replace(from, to);
        assert_ne!(body, good);
        body
    };
    // The signature, the body, the answer, and what is kept of it.
    let cases: Vec<(Option<String>, String, u16, &str)> = vec![
        (None, good.clone(), 400, "missing_signature"),
        (Some(signed_at(0, "guessed", &good)), good.clone(), 400, "bad_signature"),
        (Some(signed_at(0, "", &good)), good.clone(), 400, "bad_signature"),
        (Some("t=1,v1=zz".into()), good.clone(), 400, "malformed"),
        (
            Some(signed_at(-310, SECRET, &good)),
            good.clone(),
            400,
            "outside_window",
        ),
        (Some(signed_at(310, SECRET, &good)), good.clone(), 400, "outside_window"),
        (signed(&good), altered("50.00", "5000.00"), 400, "bad_signature"),
        (signed(&good), altered(order, "1-R0"), 400, "bad_signature"),
        (signed("{"), "{".into(), 400, "malformed"),
        (signed(""), String::new(), 400, "malformed"),
        (signed(&refund), altered("pay_1", "pay_2"), 400, "bad_signature"),
    ];
    let signed_cases = [
        (altered("50.00", "50.001"), 400, "malformed"),
        (altered("50.00", "-50.00"), 400, "malformed"),
        (altered("50.00", "0"), 400, "malformed"),
        (altered("50.00", "999999999999999999999999999999"), 400, "malformed"),
        (altered("pay_1", ""), 400, "malformed"),
        (altered("pay_1", "pay\\u00001"), 400, "malformed"),
        (altered("pay_1", &"9".repeat(129)), 400, "malformed"),
        (altered("payment_succeeded", "payment_dreamt"), 400, "malformed"),
        (altered("50.00", "49.99"), 200, "other_amount"),
        (altered("50.00", "5000.00"), 200, "other_amount"),
        (altered("CNY", "USD"), 200, "other_amount"),
        (altered(order, &order.replacen('1', "9", 1)), 200, "unknown_order"),
        (altered(order, "; drop table remittance"), 200, "unknown_order"),
        (altered(order, ""), 200, "unknown_order"),
        (refund, 200, "unknown_refund"),
    ];
    let signed_cases = signed_cases
        .into_iter()
        .map(|(body, code, reason)| (signed(&body), body, code, reason));
    let mut kept = BTreeSet::new();
    let mut codes = Vec::new();
    for (signature, body, code, reason) in cases.into_iter().chain(signed_cases) {
        let answer = post(&hall.service.address, "webhook", signature, body.clone()).await;
        assert_eq!(answer, code, "{reason}: {body}");
        assert_eq!(hall.seq().await, seq, "{reason}: {body}");
        kept.insert((reason, body));
        codes.push((answer, reason));
    }
    // What nobody believed is kept too, the same for the same reason once.
    let kept: Vec<&str> = kept.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(hall.rejected().await, kept);

    let address = &hall.service.address;
    let long = good.replacen('{', &format!("{{\"padding\":\"{}\",", "x".repeat(70_000)), 1);
    assert_eq!(post(address, "webhook", signed(&long), long).await, 413);
    for (channel, code) in [("bank", 404), ("%77ebhook%20", 404), ("", 400), ("webhook/x", 400)] {
        let answer = post(address, channel, signed(&good), good.clone()).await;
        assert_eq!(answer, code, "{channel}");
    }
    let url = format!("http://{address}/v1/notifications/webhook");
    assert_eq!(reqwest::get(url).await.unwrap().status().as_u16(), 405);
    assert_eq!(hall.everything_but(&KEPT).await, before);
    let work = items(&hall, list_work_items_request::View::All, "").await;
    let work: Vec<(WorkKind, bool)> = work
        .iter()
        .map(|item| (item.kind(), item.subject == ordered.name))
        .collect();
    assert_eq!(
        work,
        [(WorkKind::Contradiction, true)],
        "one, however often it is contradicted"
    );

    // The same order, told truly, is credited.
    assert_eq!(post(address, "webhook", signed(&good), good.clone()).await, 200);
    assert_eq!(hall.remittance(&ordered.name).await.state(), State::Credited);
    every_delivery_is_kept(&hall, &ordered, &good, codes).await;
    assert_eq!(hall.balances("D1").await[0], "140.00");
    hall.verified().await;
}

async fn listed(hall: &Hall, token: &str, parent: &str) -> Result<Vec<GatewayNotification>, Status> {
    let mut all = Vec::new();
    let mut ask = ListNotificationsRequest {
        parent: parent.into(),
        page_size: 3,
        ..ListNotificationsRequest::default()
    };
    loop {
        let page: ListNotificationsResponse = hall.ask_as("RemittanceService/ListNotifications", token, &ask).await?;
        all.extend(page.notifications);
        if page.next_page_token.is_empty() {
            return Ok(all);
        }
        ask.page_token = page.next_page_token;
    }
}

/// The good and the bad, each as often as it was posted, with what it brought about.
async fn every_delivery_is_kept(hall: &Hall, ordered: &Remittance, good: &str, mut codes: Vec<(u16, &str)>) {
    let address = &hall.service.address;
    assert_eq!(post(address, "webhook", signed(good), good.to_owned()).await, 200);
    let told = listed(hall, &hall.token(Role::Auditor), "centers/C1").await.unwrap();
    let told: Vec<_> = told.iter().filter(|one| one.verdict() == Verdict::Believed).collect();
    let transaction = hall.remittance(&ordered.name).await.credit_transaction;
    assert_eq!(told.len(), 2);
    for (one, effect) in told.iter().zip([Effect::Repeated, Effect::Credited]) {
        assert_eq!((one.effect(), one.transaction.as_str()), (effect, transaction.as_str()));
        assert!(ordered.name.ends_with(&one.subject) && one.reason.is_empty());
        assert_eq!((one.channel.as_str(), one.digest.len()), ("webhook", 64));
        assert_eq!(usize::try_from(one.body_size).unwrap(), good.len());
        assert!(one.headers.contains("custody-signature: t="), "{}", one.headers);
    }
    assert_eq!(told[0].digest, told[1].digest);
    // What tells no center of ours, and what tells this one: together everything that was refused before.
    let mut refused = listed(hall, &hall.everywhere(), "centers/-").await.unwrap();
    refused.extend(listed(hall, &hall.token(Role::Finance), "centers/C1").await.unwrap());
    let mut reasons: Vec<(u16, &str)> = refused
        .iter()
        .filter(|one| one.verdict() != Verdict::Believed)
        .map(|one| {
            let code = if one.verdict() == Verdict::Rejected { 200 } else { 400 };
            assert_eq!((one.effect(), one.transaction.as_str()), (Effect::Unspecified, ""));
            (code, one.reason.as_str())
        })
        .collect();
    reasons.sort_unstable();
    codes.sort_unstable();
    assert_eq!(reasons, codes);
    // Whoever sees one center does not see what tells none, and payers see none at all.
    for (token, parent) in [
        (hall.token(Role::Auditor), "centers/-"),
        (hall.token(Role::Payer), "centers/C1"),
        (hall.token(Role::Terminal), "centers/C1"),
    ] {
        let denied = listed(hall, &token, parent).await.unwrap_err();
        assert_eq!(denied.code(), Code::PermissionDenied, "{parent}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_told_often_and_to_two_services_is_credited_once() {
    let hall = Hall::open().await;
    let other = hall.another_service().await;
    let ordered = hall.order("D1", "50.00").await;
    let seq = hall.seq().await;
    let body = paid(&ordered.order_number, "pay_1", "50.00", "CNY");
    let mut calls = tokio::task::JoinSet::new();
    for service in [&hall.service, &other] {
        for _ in 0..12 {
            let (address, body) = (service.address.clone(), body.clone());
            calls.spawn(async move { post(&address, "webhook", signed(&body), body).await });
        }
    }
    let refresh = RefreshRemittanceRequest {
        name: ordered.name.clone(),
    };
    let asked: Result<Remittance, _> = hall.ask("RemittanceService/RefreshRemittance", &refresh).await;
    asked.unwrap();
    assert_eq!(calls.join_all().await, [200; 24]);
    assert_eq!(hall.seq().await, seq + 1);
    assert_eq!(hall.balances("D1").await[0], "140.00");

    // The order's own request has an outcome too: the order.
    let ask = GetRequestOutcomeRequest {
        parent: "centers/C1".into(),
        request_id: ordered.request_id.clone(),
    };
    for (token, state) in [
        (hall.token(Role::Auditor), request_outcome::State::Succeeded),
        (hall.token(Role::Payer), request_outcome::State::NotRecorded),
    ] {
        let told: RequestOutcome = hall
            .ask_as("LedgerService/GetRequestOutcome", &token, &ask)
            .await
            .unwrap();
        assert_eq!(told.state(), state);
        let is_known = state == request_outcome::State::Succeeded;
        assert_eq!(told.resource == ordered.name, is_known);
    }

    // What is told to have paid two orders pays the first; the second's own payment is taken all the same, before or after.
    let second = hall.order("D1", "50.00").await;
    let wrong = paid(&second.order_number, "pay_1", "50.00", "CNY");
    let right = paid(&second.order_number, "pay_3", "50.00", "CNY");
    for (body, state) in [
        (&wrong, State::Pending),
        (&right, State::Credited),
        (&wrong, State::Credited),
    ] {
        assert_eq!(post(&other.address, "webhook", signed(body), body.clone()).await, 200);
        assert_eq!(hall.remittance(&second.name).await.state(), state);
    }
    assert_eq!(hall.rejected().await, ["other_order"]);
    assert_eq!(hall.seq().await, seq + 2);
    assert_eq!(hall.balances("D1").await[0], "190.00");
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_after_the_expiry_is_credited_and_after_the_release_is_in_suspense() {
    let hall = Hall::open().await;
    let hurry = |settings| {
        Ok(Settings {
            quote_ttl_s: 1,
            ..settings
        })
    };
    let late = PayOptions {
        late: true,
        ..PayOptions::default()
    };
    hall.process
        .custody
        .change_settings(&hall.center.id, "admin/root", hurry)
        .await
        .unwrap();
    hall.remit("D3", "5.00").await;
    let (first, second) = (hall.order("D1", "50.00").await, hall.order("D3", "60.00").await);
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    hall.control.pay(&first.order_number, &late).await.unwrap();
    hall.delivered().await;
    assert_eq!(hall.remittance(&first.name).await.state(), State::Credited);
    assert_eq!(hall.balances("D1").await[0], "140.00");

    // An order of before does not keep anybody here, and its money is not lost.
    let release = CreateReleaseRequest {
        parent: "centers/C1".into(),
        detainee: "centers/C1/detainees/D3".into(),
        destination: "cash desk".into(),
        request_id: Uuid::new_v4().to_string(),
    };
    let opened: Release = hall.ask("RefundService/CreateRelease", &release).await.unwrap();
    assert_eq!(opened.amount.unwrap().amount, "5.00");
    let confirm = ConfirmReleaseRequest {
        name: opened.name,
        bank_reference: "B1".into(),
        request_id: Uuid::new_v4().to_string(),
    };
    let bob = hall.person("bob", Role::Finance);
    let _: Release = hall
        .ask_as("RefundService/ConfirmRelease", &bob, &confirm)
        .await
        .unwrap();
    hall.control.pay(&second.order_number, &late).await.unwrap();
    hall.delivered().await;
    assert_eq!(hall.remittance(&second.name).await.state(), State::Suspended);
    assert_eq!(hall.balances("D3").await, ["0.00"; 4]);
    let (held, _) = balance::now(&*hall.process.database.read, &hall.center, &[chart::SUSPENSE])
        .await
        .unwrap();
    assert_eq!(held[0].to_string(), "60.00");
    let detainee = hall.process.custody.detainee(&hall.center, &id("D3")).await.unwrap();
    assert_eq!(detainee.state, DetaineeState::Released);

    // And nobody can be asked to pay for them any more.
    let new = remittance_of("P2", "D3", "1", Uuid::new_v4());
    let answer: Result<Remittance, _> = hall.ask("RemittanceService/CreateRemittance", &new).await;
    let refused = Refused::of(&answer.unwrap_err(), "a quote");
    assert!(
        refused.is(Code::FailedPrecondition, "DETAINEE_NOT_ACTIVE"),
        "{refused:?}"
    );
    hall.verified().await;
}
