//! Ids of the service's own that something else has taken, as no caller can: it is told loudly, and nothing is given up.

use custody_ledger::{
    gateway::simulator::control::{NotifyOptions, RefundAnswer},
    ids::RequestId,
    proto::{CreateRefundRequest, GetRefundRequest, RefreshRefundRequest, Refund, refund, remittance},
};
use tonic::Code;
use uuid::Uuid;

use crate::{
    notifications::paid,
    whole_service::{Hall, money},
    world,
};

/// Does what no caller can: buys under an id that the service derives.
async fn take(hall: &Hall, parts: &[&str]) {
    let id = RequestId::derived(parts).0;
    let bought = world::buy(&hall.process, &hall.center, id, "D1", &[("RICE", 1)]).await;
    bought.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_id_is_taken_is_sent_again_and_not_given_up() {
    let hall = Hall::open().await;
    let ordered = hall.order("D1", "50.00").await;
    take(&hall, &["webhook", "pay_1"]).await;
    let seq = hall.seq().await;
    let told = hall.notify(paid(&ordered.order_number, "pay_1", "50.00", "CNY")).await;
    assert_eq!(told, 503, "the gateway is asked to send it again");
    assert_eq!(
        hall.rejected().await,
        [] as [&str; 0],
        "it is not taken for another order's"
    );
    assert_ne!(
        hall.remittance(&ordered.name).await.state(),
        remittance::State::Credited
    );
    assert_eq!(hall.seq().await, seq);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_whose_id_is_taken_is_not_taken_for_recorded() {
    let hall = Hall::open().await;
    let remitted = hall.remit("D3", "50.00").await;
    let asked = CreateRefundRequest {
        by_bank: false,
        consent: Some(custody_ledger::proto::DetaineeConsent::scanned("C-1")),
        parent: "centers/C1".into(),
        remittance: remitted.name,
        amount: money("5.00"),
        reason: "too much".into(),
        request_id: Uuid::new_v4().to_string(),
        suspense_transaction: String::new(),
    };
    let refund: Refund = hall.ask("RefundService/CreateRefund", &asked).await.unwrap();
    take(&hall, &["refund", &refund.refund_number]).await;
    let lose = RefundAnswer {
        notify: NotifyOptions {
            lose: true,
            ..NotifyOptions::default()
        },
        ..RefundAnswer::default()
    };
    hall.control.answer_refund(&refund.refund_number, &lose).await.unwrap();
    let refresh = RefreshRefundRequest { name: refund.name };
    let told: Result<Refund, _> = hall.ask("RefundService/RefreshRefund", &refresh).await;
    assert_eq!(told.unwrap_err().code(), Code::Internal);
    let get = GetRefundRequest { name: refresh.name };
    let open: Refund = hall.ask("RefundService/GetRefund", &get).await.unwrap();
    assert_eq!(open.state(), refund::State::Submitted);
    assert_eq!(hall.balances("D3").await[0], "45.00");
    hall.verified().await;
}
