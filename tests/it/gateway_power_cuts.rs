//! Power cuts between the gateway and the ledger: every remittance is credited once, every refund is paid back once.

use std::time::Duration;

use custody_ledger::{
    access::{Role, Scope},
    custody::Settings,
    gateway::{
        Channel as _, NewPayment, PaymentMethod,
        simulator::{
            SimulatorControl,
            control::{NotifyOptions, PayOptions, RefundAnswer},
        },
        webhook::wire::OrderState,
    },
    proto::{
        CreateRefundRequest, GetRequestOutcomeRequest, ListRemittancesRequest, ListRemittancesResponse,
        RefreshRefundRequest, RefreshRemittanceRequest, Refund, Remittance, RequestOutcome, refund, remittance,
        request_outcome,
    },
};
use prost::Message;
use time::OffsetDateTime;
use tokio::{sync::watch, time::timeout};
use tonic::{Code, transport::Endpoint};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::{
    messages_from_text::Descriptors,
    service::purchase_of,
    whole_service::{self, Hall, Refused, money, remittance_of},
    world::cny,
};

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
            let call = whole_service::call(channel, method, &self.token, message.encode_to_vec());
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
        let credited = loop {
            let told: Remittance = self.insist("RemittanceService/RefreshRemittance", &refresh).await;
            if told.state() == remittance::State::Credited {
                break told;
            }
            // Whoever asked the gateway died with the answer, and it is not asked again so soon.
            assert_eq!(told.state(), remittance::State::Pending);
            tokio::time::sleep(Duration::from_millis(200)).await;
        };

        let request_id = Uuid::new_v4();
        let asked = CreateRefundRequest {
            parent: "centers/C1".into(),
            remittance: credited.name,
            amount: money("5.00"),
            reason: "too much".into(),
            request_id: request_id.to_string(),
            suspense_transaction: String::new(),
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
    let id = Uuid::new_v4().to_string();
    let release = [
        ("parent", "centers/C1"),
        ("detainee", "centers/C1/detainees/D2"),
        ("destination", "desk"),
        ("request_id", &id),
    ];
    let settlement = [
        ("parent", "centers/C1"),
        ("vendor", "centers/C1/vendors/V1"),
        ("through_date", "2020-01-01"),
        ("request_id", &id),
    ];
    for (method, fields) in [
        ("RefundService/CreateRelease", &release),
        ("SettlementService/CloseSettlement", &settlement),
    ] {
        let message = Descriptors::read().request(method, fields);
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

#[tokio::test(flavor = "multi_thread")]
async fn while_the_gateway_is_away_an_order_waits_and_a_refund_is_set_aside() {
    let mut hall = Hall::open().await;
    let remitted = hall.remit("D3", "50.00").await;
    hall.stop_gateway().await;
    let new = remittance_of("P1", "D1", "20.00", Uuid::new_v4());
    let create = "RemittanceService/CreateRemittance";
    let refused = hall.refused("no gateway", create, new.encode_to_vec()).await;
    assert!(refused.is(Code::Unavailable, "GATEWAY_UNAVAILABLE"), "{refused:?}");
    let asked = CreateRefundRequest {
        parent: "centers/C1".into(),
        remittance: remitted.name,
        amount: money("5.00"),
        reason: "too much".into(),
        request_id: Uuid::new_v4().to_string(),
        suspense_transaction: String::new(),
    };
    let refund: Refund = hall.ask("RefundService/CreateRefund", &asked).await.unwrap();
    assert_eq!(hall.balances("D3").await[0], "45.00");
    let refresh = RefreshRefundRequest { name: refund.name };
    let open: Refund = hall.ask("RefundService/RefreshRefund", &refresh).await.unwrap();
    assert_eq!(open.state(), refund::State::Requested);

    // The same request again is the same remittance.
    hall.start_gateway().await;
    let token = hall.token(Role::Admin);
    let again = hall.call(create, &token, new.encode_to_vec()).await.unwrap();
    assert!(again.replayed);
    let ordered = Remittance::decode(again.message.as_slice()).unwrap();
    assert_eq!(ordered.state(), remittance::State::Pending);
    hall.control
        .pay(&ordered.order_number, &PayOptions::default())
        .await
        .unwrap();
    hall.delivered().await;
    assert_eq!(hall.balances("D1").await[0], "110.00");
    // A gateway that knows nothing of the payment refuses to pay it back: the money is the detainee's again.
    let ended: Refund = hall.ask("RefundService/RefreshRefund", &refresh).await.unwrap();
    assert_eq!(ended.state(), refund::State::Failed);
    assert_eq!(hall.balances("D3").await[0], "50.00");
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_whose_secret_is_wrong_gives_no_order_up() {
    let hall = Hall::open().await;
    let stranger = hall
        .another_service_with(&[("CUSTODY_GATEWAY_SECRET", "not the secret")])
        .await;
    let (channel, token) = (stranger.channel().await, stranger.token(Role::Admin, Scope::default()));
    let quick = |settings| {
        Ok(Settings {
            quote_ttl_s: 2,
            ..settings
        })
    };
    let custody = &hall.process.custody;
    custody
        .change_settings(&hall.center.id, "admin/root", quick)
        .await
        .unwrap();
    let refused = async |method: &str, message: Vec<u8>| {
        let answer = whole_service::call(channel.clone(), method, &token, message).await;
        let refused = Refused::of(&answer.err().unwrap(), method);
        assert!(
            refused.is(Code::Unavailable, "GATEWAY_UNAVAILABLE"),
            "{method}: {refused:?}"
        );
    };

    // Paid, and nobody has told us; it is past its time.
    let paid = hall.order("D1", "20.00").await;
    let lost = PayOptions {
        lose: true,
        ..PayOptions::default()
    };
    hall.control.pay(&paid.order_number, &lost).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let refresh = RefreshRemittanceRequest { name: paid.name };
    refused("RemittanceService/RefreshRemittance", refresh.encode_to_vec()).await;
    let open = hall.remittance(&refresh.name).await;
    assert_eq!(open.state(), remittance::State::Pending, "not taken for closed");
    // And one that the gateway was never told of is not taken for refused.
    let new = remittance_of("P1", "D1", "5.00", Uuid::new_v4());
    refused("RemittanceService/CreateRemittance", new.encode_to_vec()).await;

    // With the secret as it should be, everything is found, a second later.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let found: Remittance = hall.ask("RemittanceService/RefreshRemittance", &refresh).await.unwrap();
    assert_eq!(found.state(), remittance::State::Credited);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_the_gateway_has_otherwise_is_closed_before_it_counts_as_failed() {
    let mut hall = Hall::open().await;
    hall.stop_gateway().await;
    let new = remittance_of("P1", "D1", "20.00", Uuid::new_v4());
    let create = "RemittanceService/CreateRemittance";
    hall.refused("no gateway", create, new.encode_to_vec()).await;
    let list = ListRemittancesRequest {
        parent: "centers/C1".into(),
        ..Default::default()
    };
    let listed: ListRemittancesResponse = hall.ask("RemittanceService/ListRemittances", &list).await.unwrap();
    let number = listed.remittances[0].order_number.clone();

    // An earlier life opened it with another address for notifications.
    hall.start_gateway().await;
    let other = NewPayment {
        order_number: number.clone(),
        amount: cny("20.00"),
        description: "remittance".into(),
        expires_at: OffsetDateTime::now_utc() + time::Duration::HOUR,
        notify_url: "http://127.0.0.1:9/".into(),
        method: PaymentMethod::Link,
    };
    hall.gateway().create_payment(&other).await.unwrap();
    for _ in 0..2 {
        let refused = hall.refused("otherwise", create, new.encode_to_vec()).await;
        assert!(refused.is(Code::FailedPrecondition, "GATEWAY_REFUSED"), "{refused:?}");
    }
    let orders = hall.control.orders().await.unwrap();
    assert_eq!(
        (orders[0].order_number.as_str(), orders[0].state),
        (number.as_str(), OrderState::Closed)
    );
    assert_eq!(
        hall.remittance(&listed.remittances[0].name).await.state(),
        remittance::State::Failed
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_says_when_to_try_again() {
    let hall = Hall::open().await;
    let narrow = hall
        .another_service_with(&[("CUSTODY_LIMITS_LANE_QUEUE_MAX", "2")])
        .await;
    // Whoever holds the journal's head keeps everyone else waiting.
    let mut tx = hall.process.database.lane.begin().await.unwrap();
    sqlx::query("select from journal_head for update")
        .execute(&mut *tx)
        .await
        .unwrap();
    let (channel, token) = (narrow.channel().await, narrow.terminal_token("C1"));
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let order = purchase_of("C1", "D1", Uuid::new_v4(), &[("RICE", 1)]).encode_to_vec();
        let (channel, token) = (channel.clone(), token.clone());
        calls.spawn(
            async move { whole_service::call(channel, "CommissaryService/CreatePurchase", &token, order).await },
        );
    }
    // Who finds no room is answered while the others wait.
    let first = calls
        .join_next()
        .await
        .unwrap()
        .unwrap()
        .err()
        .expect("bought while the journal was held");
    tx.rollback().await.unwrap();
    let (mut bought, mut full) = (0_i64, vec![first]);
    for answer in calls.join_all().await {
        match answer {
            Ok(_) => bought += 1,
            Err(status) => full.push(status),
        }
    }
    for status in full {
        let refused = Refused::of(&status, "full");
        assert!(refused.is(Code::ResourceExhausted, "QUEUE_FULL"), "{refused:?}");
        assert!(
            status
                .get_details_retry_info()
                .is_some_and(|info| info.retry_delay.is_some())
        );
    }
    assert!(bought > 0);
    let left = 9000 - 250 * bought;
    assert_eq!(
        hall.balances("D1").await[0],
        format!("{}.{:02}", left / 100, left % 100)
    );
    hall.verified().await;
}
