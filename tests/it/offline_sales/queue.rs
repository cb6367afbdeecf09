//! What waits for finance: charged, written off by two people, dismissed; and numbers that never come.

use custody_ledger::proto::{ApproveRequest, approval, approval_service_client::ApprovalServiceClient};
use uuid::Uuid;

use super::*;

/// A till whose three sales of 8.00 each wait for finance, because they are more than was set aside.
async fn short(stall: &Stall) -> (Till, Allowance) {
    let mut till = stall.till("T1").await;
    let allowance = stall.reserve(&till, "D1", "5.00", 8).await.unwrap();
    let sales: Vec<Signed> = (0..3).map(|_| till.sell(&allowance, "D1", &[(SOAP, 2)])).collect();
    let outcomes = stall.upload(&till, &sales).await.unwrap();
    assert!(
        told(&outcomes)
            .iter()
            .all(|told| told.ends_with("SHORTAGE ALLOWANCE_EXCEEDED"))
    );
    (till, allowance)
}

async fn charge(stall: &Stall, name: &str, request_id: Uuid) -> Result<Response<OfflineSale>, Status> {
    let message = ChargeOfflineSaleRequest {
        name: name.into(),
        reason: "he has it".into(),
        request_id: request_id.to_string(),
    };
    let asked = with_token(&stall.token(Role::Finance, "alice"), message);
    stall.client().charge_offline_sale(asked).await
}

#[tokio::test(flavor = "multi_thread")]
async fn finance_ends_what_waits() {
    let stall = Stall::open().await;
    let (till, allowance) = short(&stall).await;
    let name = |number: i64| format!("{}/offlineSales/{number}", till.name());
    let list = ListOfflineSalesRequest {
        parent: "centers/C1".into(),
        ..ListOfflineSalesRequest::default()
    };
    let alice = stall.token(Role::Finance, "alice");
    let waiting = || async {
        let asked = with_token(&alice, list.clone());
        let found = stall.client().list_offline_sales(asked).await.unwrap().into_inner();
        found
            .offline_sales
            .into_iter()
            .map(|sale| sale.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(waiting().await, [name(1), name(2), name(3)]);
    assert_eq!(stall.work(WorkKind::OfflineSale).await.len(), 3);
    stall.verified().await;

    let id = Uuid::new_v4();
    let charged = charge(&stall, &name(1), id).await.unwrap().into_inner();
    assert_eq!(charged.state(), OfflineSaleState::Charged);
    assert!(custody_ledger::api::grpc::is_replay(
        &charge(&stall, &name(1), id).await.unwrap()
    ));
    assert_eq!(
        refused(charge(&stall, &name(1), Uuid::new_v4()).await),
        "OFFLINE_SALE_NOT_WAITING"
    );
    assert_eq!(stall.has("D1").await, ("87.00".into(), "5.00".into()));
    assert_eq!(stall.spent("D1").await, "13.00");

    let propose = ProposeOfflineSaleWriteOffRequest {
        name: name(2),
        reason: "our own fault".into(),
        request_id: Uuid::new_v4().to_string(),
    };
    let asked = stall
        .client()
        .propose_offline_sale_write_off(with_token(&alice, propose))
        .await;
    let asked = asked.unwrap().into_inner();
    let mut desk = ApprovalServiceClient::new(stall.channel.clone());
    let approve = ApproveRequest {
        name: asked.name,
        reason: String::new(),
    };
    let own = desk.approve(with_token(&alice, approve.clone())).await;
    assert_eq!(refused(own), "MAKER_IS_CHECKER");
    let bob = stall.token(Role::Finance, "bob");
    let done = desk.approve(with_token(&bob, approve)).await.unwrap().into_inner();
    assert_eq!(done.state(), approval::State::Executed);
    assert_eq!(stall.has("D1").await, ("87.00".into(), "5.00".into()));

    let dismiss = DismissOfflineSaleRequest {
        name: name(3),
        reason: "never handed out".into(),
        request_id: Uuid::new_v4().to_string(),
    };
    let dismissed = stall.client().dismiss_offline_sale(with_token(&alice, dismiss)).await;
    assert_eq!(dismissed.unwrap().into_inner().state(), OfflineSaleState::Dismissed);
    assert!(waiting().await.is_empty() && stall.work(WorkKind::OfflineSale).await.is_empty());
    stall.end(&till, &allowance, 3).await.unwrap();
    assert_eq!(stall.has("D1").await, ("92.00".into(), "0.00".into()));
    assert_eq!(stall.spent("D1").await, "8.00");
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_charged_what_they_do_not_have() {
    let stall = Stall::open().await;
    let (till, _) = short(&stall).await;
    world::buy(&stall.process, &stall.center, Uuid::new_v4(), "D1", &[("SOAP", 22)])
        .await
        .unwrap();
    let name = format!("{}/offlineSales/1", till.name());
    assert_eq!(
        refused(charge(&stall, &name, Uuid::new_v4()).await),
        "INSUFFICIENT_FUNDS"
    );
    let none = format!("{}/offlineSales/9", till.name());
    assert_eq!(refused(charge(&stall, &none, Uuid::new_v4()).await), "NOT_FOUND");
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_never_come_are_declared_lost() {
    let stall = Stall::open().await;
    let mut till = stall.till("T1").await;
    let allowance = stall.reserve(&till, "D1", "40.00", 8).await.unwrap();
    let sales: Vec<Signed> = (0..5).map(|_| till.sell(&allowance, "D1", &[(SOAP, 1)])).collect();
    let kept = [sales[0].clone(), sales[3].clone(), sales[4].clone()];
    assert_eq!(
        told(&stall.upload(&till, &kept).await.unwrap()),
        ["1 CAPTURED", "4 WAITING", "5 WAITING"]
    );
    let skip = |through_number| {
        let message = SkipOfflineSalesRequest {
            terminal: till.name(),
            through_number,
            reason: "the disk is gone".into(),
            request_id: Uuid::new_v4().to_string(),
        };
        let asked = with_token(&stall.token(Role::Finance, "alice"), message);
        let mut client = stall.client();
        async move { client.skip_offline_sales(asked).await.map(Response::into_inner) }
    };
    assert_eq!(refused(skip(4).await), "OFFLINE_NUMBERS_NOT_MISSING");
    assert_eq!(refused(skip(1).await), "OFFLINE_NUMBERS_NOT_MISSING");
    assert_eq!(skip(3).await.unwrap().last_number, 3);
    let chain = stall.chain(&till).await;
    assert_eq!((chain.last_number, chain.missing.len()), (5, 0));
    assert!(stall.work(WorkKind::OfflineGap).await.is_empty());
    assert_eq!(stall.has("D1").await, ("60.00".into(), "28.00".into()));
    assert_eq!(refused(skip(6).await), "OFFLINE_NUMBERS_NOT_MISSING");
    // What was declared lost and comes after all is kept, and looked at.
    let outcomes = stall.upload(&till, &sales).await.unwrap();
    assert_eq!(
        told(&outcomes),
        [
            "1 CAPTURED again",
            "2 REFUSED CHANGED_REPEAT",
            "3 REFUSED CHANGED_REPEAT",
            "4 CAPTURED again",
            "5 CAPTURED again"
        ]
    );
    stall.end(&till, &allowance, 5).await.unwrap();
    stall.verified().await;
}
