//! Money in suspense over the wire: a second payment of one order, and one that is credited after all, once.

use custody_ledger::{
    access::Role,
    gateway::simulator::control::{NotifyOptions, PayOptions, RefundAnswer},
    proto::{
        CreateRefundRequest, CreateReleaseRequest, FailReleaseRequest, GetRefundRequest, GetTransactionRequest,
        RefreshRemittanceRequest, Refund, Release, Remittance, Transaction, TransactionKind, refund, remittance::State,
    },
};
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::Code;
use uuid::Uuid;

use crate::whole_service::{self, Hall, money};

fn refund_of(remittance: &str, transaction: &str, amount: &str) -> CreateRefundRequest {
    CreateRefundRequest {
        by_bank: false,
        consent: Some(custody_ledger::proto::DetaineeConsent::scanned("C-1")),
        parent: "centers/C1".into(),
        remittance: remittance.into(),
        amount: money(amount),
        reason: "paid twice".into(),
        request_id: Uuid::new_v4().to_string(),
        suspense_transaction: transaction.into(),
    }
}

async fn end(hall: &Hall, refund: &Refund, failed: bool) -> Refund {
    let answer = RefundAnswer {
        failed: failed.then(|| "account closed".to_owned()),
        abnormal: false,
        notify: NotifyOptions::default(),
    };
    hall.control
        .answer_refund(&refund.refund_number, &answer)
        .await
        .unwrap();
    hall.delivered().await;
    let get = GetRefundRequest {
        name: refund.name.clone(),
    };
    hall.ask("RefundService/GetRefund", &get).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_payment_of_an_order_is_seen_and_goes_back_to_its_payer() {
    let hall = Hall::open().await;
    let paid = hall.remit("D1", "50.00").await;
    let seq = hall.seq().await;
    let again = PayOptions {
        again: true,
        duplicate: 3,
        ..PayOptions::default()
    };
    let second = hall.control.pay(&paid.order_number, &again).await.unwrap();
    hall.delivered().await;
    assert_eq!(hall.seq().await, seq + 1, "booked once");
    assert_eq!(hall.rejected().await, [] as [&str; 0]);
    assert_eq!(hall.balances("D1").await[0], "140.00");

    let told = hall.remittance(&paid.name).await;
    assert_eq!(
        (told.state(), &told.gateway_transaction),
        (State::Credited, &paid.gateway_transaction)
    );
    let [extra] = told.suspended_payments.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(extra.gateway_transaction, second.gateway_transaction);
    assert_eq!(
        (extra.reason.as_str(), &extra.left),
        ("DUPLICATE_PAYMENT", &money("50.00"))
    );
    let get = GetTransactionRequest {
        name: extra.transaction.clone(),
    };
    let booked: Transaction = hall.ask("LedgerService/GetTransaction", &get).await.unwrap();
    assert_eq!(booked.record.unwrap().kind(), TransactionKind::Suspense);
    // Asking again credits nobody with it.
    let refresh = RefreshRemittanceRequest {
        name: paid.name.clone(),
    };
    let _: Remittance = hall.ask("RemittanceService/RefreshRemittance", &refresh).await.unwrap();
    assert_eq!(hall.seq().await, seq + 1);

    let create = "RefundService/CreateRefund";
    for (transaction, amount, reason) in [
        (extra.transaction.as_str(), "50.01", "REFUND_EXCEEDS_ORIGINAL"),
        ("centers/C1/transactions/1", "1.00", "NOT_FOUND"),
        (told.credit_transaction.as_str(), "1.00", "NOT_FOUND"),
        ("centers/C1/refunds/1", "1.00", "INVALID_FIELD"),
    ] {
        let asked = refund_of(&paid.name, transaction, amount).encode_to_vec();
        let refused = hall.refused(amount, create, asked).await;
        assert_eq!(refused.reason, reason);
        if reason == "INVALID_FIELD" {
            assert_eq!(refused.field.as_deref(), Some("suspense_transaction"), "{refused:?}");
        }
    }
    // Fails once: it is in suspense again. The gateway is told of the right payment, or it would refuse.
    for failed in [true, false] {
        let asked = refund_of(&paid.name, &extra.transaction, "50.00");
        let refund: Refund = hall.ask_allowed(create, &asked).await.unwrap();
        assert_eq!(refund.suspense_transaction, extra.transaction);
        let held = hall.remittance(&paid.name).await;
        assert_eq!(held.suspended_payments[0].left, money("0.00"));
        let ended = end(&hall, &refund, failed).await;
        let state = if failed {
            refund::State::Failed
        } else {
            refund::State::Succeeded
        };
        assert_eq!(ended.state(), state, "{ended:?}");
        let left = hall.remittance(&paid.name).await.suspended_payments[0].left.clone();
        assert_eq!(left, money(if failed { "50.00" } else { "0.00" }));
    }
    // The remittance's own money is untouched, and is what a refund without a name takes.
    assert_eq!(hall.balances("D1").await[0], "140.00");
    let own: Refund = hall.ask(create, &refund_of(&paid.name, "", "50.00")).await.unwrap();
    assert_eq!(own.suspense_transaction, "");
    assert_eq!(end(&hall, &own, false).await.state(), refund::State::Succeeded);
    assert_eq!(hall.balances("D1").await[0], "90.00");
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_suspended_is_credited_once_when_the_release_fails() {
    let hall = Hall::open().await;
    hall.remit("D2", "40.00").await;
    let ordered = hall.order("D2", "60.00").await;
    let release = CreateReleaseRequest {
        parent: "centers/C1".into(),
        detainee: "centers/C1/detainees/D2".into(),
        destination: "cash desk".into(),
        request_id: Uuid::new_v4().to_string(),
    };
    let release: Release = hall.ask("RefundService/CreateRelease", &release).await.unwrap();
    hall.control
        .pay(&ordered.order_number, &PayOptions::default())
        .await
        .unwrap();
    hall.delivered().await;
    let held = hall.remittance(&ordered.name).await;
    assert_eq!(held.state(), State::Suspended);
    assert_eq!(held.suspended_payments[0].reason, "DETAINEE_NOT_ACTIVE");
    let fail = FailReleaseRequest {
        name: release.name,
        reason: "no such account".into(),
        request_id: Uuid::new_v4().to_string(),
    };
    let _: Release = hall.ask("RefundService/FailRelease", &fail).await.unwrap();
    let (before, seq) = (hall.balances("D2").await, hall.seq().await);

    // Many ask at once, at two services.
    let other = hall.another_service().await;
    let scope = custody_ledger::access::Scope::default();
    let doors = [
        (hall.channel.clone(), hall.token(Role::Admin)),
        (other.channel().await, other.token(Role::Admin, scope)),
    ];
    let refresh = RefreshRemittanceRequest {
        name: ordered.name.clone(),
    };
    let mut calls = JoinSet::new();
    for (channel, token) in doors.iter().cycle().take(12).cloned() {
        let message = refresh.encode_to_vec();
        calls.spawn(async move {
            whole_service::call(channel, "RemittanceService/RefreshRemittance", &token, message).await
        });
    }
    for answer in calls.join_all().await {
        let found = Remittance::decode(answer.unwrap_or_else(|status| panic!("{status:?}")).message.as_slice());
        assert_eq!(found.unwrap().state(), State::Credited);
    }
    assert_eq!(hall.seq().await, seq + 1);
    let credited = hall.remittance(&ordered.name).await;
    let states: Vec<State> = credited.legs.iter().map(|leg| leg.state()).collect();
    assert_eq!(states[2..], [State::Paid, State::Suspended, State::Credited]);
    assert_eq!(credited.suspended_payments[0].left, money("0.00"));
    let get = GetTransactionRequest {
        name: credited.credit_transaction,
    };
    let record = hall
        .ask::<Transaction>("LedgerService/GetTransaction", &get)
        .await
        .unwrap()
        .record
        .unwrap();
    assert_eq!(record.kind(), TransactionKind::Credit);
    assert_eq!(
        format!("centers/C1/transactions/{}", record.reverses),
        credited.suspended_payments[0].transaction
    );
    let after = hall.balances("D2").await;
    assert_ne!(before, after);
    // Nothing is left there for a refund, but the person's own money is.
    let gone = refund_of(&ordered.name, &credited.suspended_payments[0].transaction, "1.00");
    let refused = hall
        .refused("gone", "RefundService/CreateRefund", gone.encode_to_vec())
        .await;
    assert!(
        refused.is(Code::FailedPrecondition, "REFUND_EXCEEDS_UNSPENT"),
        "{refused:?}"
    );
    let own: Refund = hall
        .ask("RefundService/CreateRefund", &refund_of(&ordered.name, "", "1.00"))
        .await
        .unwrap();
    assert_eq!(end(&hall, &own, false).await.state(), refund::State::Succeeded);
    hall.verified().await;
}
