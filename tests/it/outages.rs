//! Power cuts between the gateway and the ledger: every remittance is credited once, every refund is paid back once.

use std::time::Duration;

use custody_ledger::{
    access::Role,
    gateway::simulator::{
        SimulatorControl,
        control::{NotifyOptions, PayOptions, RefundAnswer},
    },
    proto::{
        CreateRefundRequest, GetRequestOutcomeRequest, RefreshRefundRequest, RefreshRemittanceRequest, Refund,
        Remittance, RequestOutcome, refund, remittance, request_outcome,
    },
};
use prost::Message;
use tokio::{sync::watch, time::timeout};
use tonic::{Code, transport::Endpoint};
use uuid::Uuid;

use crate::hall::{self, Hall, money, remittance_of};

/// A caller that stores what it asks before it asks, and asks again until it has an answer.
#[derive(Clone)]
struct Caller {
    address: watch::Receiver<String>,
    token: String,
    control: SimulatorControl,
}

impl Caller {
    async fn insist<R: Message + Default>(&self, method: &str, message: &impl Message) -> R {
        loop {
            let address = format!("http://{}", self.address.borrow().clone());
            let channel = Endpoint::from_shared(address).unwrap().connect_lazy();
            let call = hall::call(channel, method, &self.token, message.encode_to_vec());
            match timeout(Duration::from_secs(5), call).await {
                Ok(Ok(answer)) => return R::decode(answer.message.as_slice()).unwrap(),
                Ok(Err(status)) => {
                    let is_open = matches!(
                        status.code(),
                        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::Internal
                    );
                    assert!(is_open, "{method}: {status:?}");
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// Remits 20.00 and refunds 5.00 of it; the request id of the refund.
    async fn remit_and_refund(self) -> Uuid {
        let new = remittance_of("P1", "D1", "20.00", Uuid::new_v4());
        let ordered: Remittance = self.insist("RemittanceService/CreateRemittance", &new).await;
        let often = PayOptions {
            duplicate: 2,
            ..PayOptions::default()
        };
        self.control.pay(&ordered.order_number, &often).await.unwrap();
        let refresh = RefreshRemittanceRequest { name: ordered.name };
        let credited: Remittance = self.insist("RemittanceService/RefreshRemittance", &refresh).await;
        assert_eq!(credited.state(), remittance::State::Credited);

        let request_id = Uuid::new_v4();
        let asked = CreateRefundRequest {
            parent: "centers/C1".into(),
            remittance: credited.name,
            amount: money("5.00"),
            reason: "too much".into(),
            request_id: request_id.to_string(),
        };
        let refund: Refund = self.insist("RefundService/CreateRefund", &asked).await;
        let refresh = RefreshRefundRequest { name: refund.name };
        // Whoever set it aside may have died before the gateway heard of it.
        let submitted: Refund = self.insist("RefundService/RefreshRefund", &refresh).await;
        assert_eq!(submitted.state(), refund::State::Submitted);
        let lose = RefundAnswer {
            notify: NotifyOptions {
                lose: true,
                ..NotifyOptions::default()
            },
            ..RefundAnswer::default()
        };
        self.control.answer_refund(&refund.refund_number, &lose).await.unwrap();
        let ended: Refund = self.insist("RefundService/RefreshRefund", &refresh).await;
        assert_eq!(ended.state(), refund::State::Succeeded);
        request_id
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_between_gateway_and_ledger_loses_and_doubles_nothing() {
    const CALLERS: usize = 6;
    const EACH: usize = 4;
    let mut hall = Hall::open().await;
    let (announce, address) = watch::channel(hall.service.address.clone());
    let caller = Caller {
        address,
        token: hall.token(Role::Admin),
        control: hall.control.clone(),
    };
    let seq = hall.seq().await;
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move {
                let mut ids = Vec::with_capacity(EACH);
                for _ in 0..EACH {
                    ids.push(caller.clone().remit_and_refund().await);
                }
                ids
            })
        })
        .collect();
    for round in 0..3 {
        tokio::time::sleep(Duration::from_millis(120)).await;
        if round == 1 {
            hall.db.cut_connections().await;
        } else {
            hall.service.kill().await;
            hall.service.restart().await;
            announce.send(hall.service.address.clone()).unwrap();
        }
    }
    let mut ids = Vec::new();
    for caller in callers {
        ids.extend(caller.await.unwrap());
    }
    hall.channel = hall.service.channel().await;

    // Three transactions each: the credit, the refund, its end. 90.00 + 24 × (20.00 - 5.00).
    let count = i64::try_from(CALLERS * EACH).unwrap();
    assert_eq!(hall.seq().await, seq + 3 * count);
    assert_eq!(hall.balances("D1").await[0], format!("{}.00", 90 + 15 * count));
    assert_eq!(hall.control.refunds().await.unwrap().len(), CALLERS * EACH);
    for id in ids {
        let ask = GetRequestOutcomeRequest {
            parent: "centers/C1".into(),
            request_id: id.to_string(),
        };
        let told: RequestOutcome = hall.ask("LedgerService/GetRequestOutcome", &ask).await.unwrap();
        assert_eq!(told.state(), request_outcome::State::Succeeded);
    }
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_database_is_away_the_gateway_is_asked_to_come_again() {
    let hall = Hall::open().await;
    let ordered = hall.order("D1", "20.00").await;
    hall.db.allow_connections(false).await;
    // The notification is sent until it is accepted; nothing is credited meanwhile, and callers are told.
    hall.control
        .pay(&ordered.order_number, &PayOptions::default())
        .await
        .unwrap();
    for method in ["RefundService/CreateRelease", "SettlementService/CloseSettlement"] {
        let message = crate::messages::Descriptors::read().request(
            method,
            &[
                ("parent", "centers/C1"),
                if method.ends_with("Release") {
                    ("detainee", "centers/C1/detainees/D2")
                } else {
                    ("vendor", "centers/C1/vendors/V1")
                },
                if method.ends_with("Release") {
                    ("destination", "desk")
                } else {
                    ("through_date", "2020-01-01")
                },
                ("request_id", &Uuid::new_v4().to_string()),
            ],
        );
        let refused = hall.refused("no database", method, message).await;
        assert!(refused.is(Code::Unavailable, "UNAVAILABLE"), "{method}: {refused:?}");
    }
    hall.db.allow_connections(true).await;
    hall.delivered().await;
    assert_eq!(
        hall.remittance(&ordered.name).await.state(),
        remittance::State::Credited
    );
    assert_eq!(hall.balances("D1").await[0], "110.00");
    let deliveries = hall.control.deliveries().await.unwrap();
    assert!(deliveries[0].attempts.len() > 1, "{deliveries:?}");
    hall.verified().await;
}
