//! The doors over a real socket: the guard, the books, deadlines, gRPC-Web, health and reflection.

use std::sync::Arc;

use std::time::Duration;

use custody_ledger::{
    access::{Actor, CachedVerifier, Issuer, Role, Scope, TokenKey, Verifier},
    api::{
        grpc::auth::AuthLayer,
        server::{self, Doors},
        status::reason_of,
    },
    approval::Desk,
    bank::Banks,
    beneficiary::Beneficiaries,
    clock::Clock,
    commissary::ReturnLine,
    contract::Contracts,
    distribution::Distributions,
    ending::{Endings, statement::StatementKey},
    gateway::Channels,
    ids::{CenterId, TerminalId},
    offline_sales::OfflineSales,
    payment::Payments,
    proto::{
        CenterSettings, GetBalanceRequest, GetCenterRequest, GetProofRequest, GetRequestOutcomeRequest,
        GetReturnRequest, ListPostingsRequest, ListStatementLinesRequest, Money, UpdateCenterSettingsRequest,
        WatchTransactionsRequest, commissary_service_client::CommissaryServiceClient,
        custody_service_client::CustodyServiceClient, ledger_service_client::LedgerServiceClient,
        request_outcome::State,
    },
    reconciliation::Reconciliations,
    refund::Refunds,
    remittance::Remittances,
    settlement::Settlements,
    unmatched::UnmatchedSums,
    work::WorkQueue,
};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;
use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use crate::{
    service::{purchase_of, with_token},
    world::{World, request, terminals},
};

struct House {
    world: World,
    issuer: Issuer,
    address: String,
    stop: CancellationToken,
    served: JoinHandle<std::io::Result<()>>,
}

impl House {
    async fn open() -> House {
        let world = World::build().await;
        let key = TokenKey::generate().unwrap();
        let verifier = CachedVerifier::new(Verifier::new(key.public()));
        let stop = CancellationToken::new();
        let router = server::router(Doors {
            lanes: world.process.lanes.clone(),
            custody: world.process.custody.clone(),
            commissary: world.process.commissary.clone(),
            payers: world.process.payers.clone(),
            endings: Endings::new(
                world.process.lanes.clone(),
                world.process.custody.clone(),
                world.process.payers.vault(),
            ),
            statement_key: Arc::new(StatementKey::generate().unwrap()),
            distributions: Distributions::new(world.process.lanes.clone(), world.process.custody.clone()),
            settlements: Settlements::new(world.process.lanes.clone()),
            contracts: Contracts::new(world.process.lanes.clone()),
            payments: Payments::new(
                world.process.lanes.clone(),
                (
                    Settlements::new(world.process.lanes.clone()),
                    Refunds::new(
                        world.process.lanes.clone(),
                        world.process.custody.clone(),
                        Channels::default(),
                    ),
                    Beneficiaries::new(world.process.lanes.clone(), world.process.payers.clone()),
                ),
                Banks::default(),
            ),
            beneficiaries: Beneficiaries::new(world.process.lanes.clone(), world.process.payers.clone()),
            refunds: Refunds::new(
                world.process.lanes.clone(),
                world.process.custody.clone(),
                Channels::default(),
            ),
            reconciliations: Reconciliations::new(
                world.process.lanes.clone(),
                world.process.custody.clone(),
                Channels::default(),
            ),
            remittances: Remittances::new(
                world.process.lanes.clone(),
                world.process.custody.clone(),
                Channels::default(),
            ),
            auth: AuthLayer::new(verifier, Clock::system()),
            desk: Desk::new(world.process.lanes.clone(), []),
            unmatched: UnmatchedSums::new(world.process.lanes.clone(), world.process.custody.clone()),
            work: WorkQueue::new(world.process.lanes.clone()),
            terminals: terminals(&world.process),
            offline_sales: OfflineSales::new(world.process.lanes.clone()),
            transfers: crate::transfers::transfers(&world.process),
            message_size_max: 65_536,
            stop: stop.clone(),
        })
        .await
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let served = tokio::spawn(server::serve(listener, router, stop.clone()));
        House {
            world,
            issuer: Issuer::new(key),
            address,
            stop,
            served,
        }
    }

    fn token(&self, role: Role, terminal: Option<&str>) -> String {
        let scope = Scope {
            center: Some(CenterId::parse("C1").unwrap()),
            payer: None,
            terminal: terminal.map(|id| TerminalId::parse(id).unwrap()),
        };
        let actor = Actor::new("someone", role, scope).unwrap();
        self.issuer
            .issue(&actor, time::Duration::HOUR, Clock::system().now())
            .unwrap()
    }

    async fn channel(&self) -> Channel {
        Endpoint::from_shared(self.address.clone())
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    /// A call as a browser makes it: status from the headers or from the trailer in the body.
    async fn web(&self, method: &str, headers: &[(&str, &str)], message: &[u8]) -> String {
        let mut body = vec![0u8];
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message);
        let mut request = reqwest::Client::new()
            .post(format!("{}/{method}", self.address))
            .header("content-type", "application/grpc-web+proto")
            .body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        if let Some(status) = response.headers().get("grpc-status") {
            return status.to_str().unwrap().to_owned();
        }
        let body = response.bytes().await.unwrap();
        let text = String::from_utf8_lossy(&body).into_owned();
        let (_, rest) = text.split_once("grpc-status:").expect("a trailer");
        rest.trim().chars().take_while(char::is_ascii_digit).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_tell_what_happened() {
    let house = House::open().await;
    house.world.endow("D1", "100").await;
    let channel = house.channel().await;
    let (terminal, auditor) = (
        house.token(Role::Terminal, Some("T1")),
        house.token(Role::Auditor, None),
    );
    let mut shop = CommissaryServiceClient::new(channel.clone());
    let (bought, refused) = (Uuid::new_v4(), Uuid::new_v4());
    let order = |request_id, quantity| purchase_of("C1", "D1", request_id, &[("RICE", quantity)]);
    shop.create_purchase(with_token(&terminal, order(bought, 2)))
        .await
        .unwrap();
    let too_much = shop.create_purchase(with_token(&terminal, order(refused, 60))).await;
    assert_eq!(too_much.unwrap_err().code(), Code::FailedPrecondition);

    let mut custody = CustodyServiceClient::new(channel.clone());
    let parent = "centers/C1/detainees/D1".to_owned();
    let asked = |page_token| ListStatementLinesRequest {
        parent: parent.clone(),
        page_size: 1,
        page_token,
        ..Default::default()
    };
    let first = custody
        .list_statement_lines(with_token(&auditor, asked(String::new())))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(first.statement_lines[0].counterparty, "bank");
    let second = custody
        .list_statement_lines(with_token(&auditor, asked(first.next_page_token)))
        .await
        .unwrap()
        .into_inner();
    let line = &second.statement_lines[0];
    assert_eq!(line.counterparty, "vendor payable V1");
    assert_eq!(line.amount.as_ref().unwrap().amount, "-5.00");
    assert_eq!(second.next_page_token, "");

    let mut ledger = LedgerServiceClient::new(channel);
    let outcome = |id: Uuid| GetRequestOutcomeRequest {
        parent: "centers/C1".into(),
        request_id: id.to_string(),
    };
    for (token, id, state) in [
        (&terminal, bought, State::Succeeded),
        (&auditor, refused, State::Refused),
        (&house.token(Role::Terminal, Some("T2")), bought, State::NotRecorded),
        (&auditor, Uuid::new_v4(), State::NotRecorded),
    ] {
        let told = ledger
            .get_request_outcome(with_token(token, outcome(id)))
            .await
            .unwrap();
        let told = told.into_inner();
        assert_eq!(told.state(), state);
        assert_eq!(told.record_time.is_some(), state != State::NotRecorded);
    }

    let request = GetProofRequest {
        center: "centers/C1".into(),
        as_of: None,
    };
    let proof = ledger
        .get_proof(with_token(&auditor, request))
        .await
        .unwrap()
        .into_inner();
    assert!(proof.holds);
    assert!(proof.terms.iter().any(|term| term.code_name == "detainee available"));

    let nobody = "centers/C1/accounts/9999".to_owned();
    let request = GetBalanceRequest {
        account: nobody.clone(),
        as_of: None,
    };
    let unknown = ledger.get_balance(with_token(&auditor, request)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let request = ListPostingsRequest {
        parent: nobody,
        ..Default::default()
    };
    let unknown = ledger.list_postings(with_token(&auditor, request)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);

    let request = WatchTransactionsRequest {
        parent: "centers/C1".into(),
        after_seq: 1,
    };
    let mut watched = ledger
        .watch_transactions(with_token(&auditor, request))
        .await
        .unwrap()
        .into_inner();
    let seen = watched.message().await.unwrap().unwrap();
    assert_eq!(seen.name, "centers/C1/transactions/2");
    house.world.buy("D1", &[("SOAP", 1)]).await.unwrap();
    let seen = timeout(Duration::from_secs(5), watched.message()).await.unwrap();
    assert_eq!(seen.unwrap().unwrap().name, "centers/C1/transactions/3");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_is_sent_away_when_its_token_ends() {
    let house = House::open().await;
    house.world.endow("D1", "10.00").await;
    let scope = Scope {
        center: Some(CenterId::parse("C1").unwrap()),
        ..Scope::default()
    };
    let actor = Actor::new("someone", Role::Auditor, scope).unwrap();
    let now = Clock::system().now();
    let token = house.issuer.issue(&actor, time::Duration::seconds(3), now).unwrap();
    let mut ledger = LedgerServiceClient::new(house.channel().await);
    let request = WatchTransactionsRequest {
        parent: "centers/C1".into(),
        after_seq: 0,
    };
    let watched = ledger.watch_transactions(with_token(&token, request)).await;
    let mut watched = watched.unwrap().into_inner();
    assert!(watched.message().await.unwrap().is_some());
    let ended = timeout(Duration::from_secs(10), watched.message()).await.unwrap();
    let ended = ended.unwrap_err();
    assert_eq!(ended.code(), Code::Unauthenticated);
    assert_eq!(reason_of(&ended).unwrap().0, "NOT_AUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_reads_what_it_sold_and_took_back_itself() {
    let house = House::open().await;
    house.world.endow("D1", "10.00").await;
    let bought = house.world.buy("D1", &[("RICE", 2)]).await.unwrap();
    let lines = vec![ReturnLine { line: 1, quantity: 1 }];
    let back = request("test/Return", b"");
    let commissary = &house.world.process.commissary;
    let returned = commissary.take_back(&house.world.center, back, bought.seq(), lines, "torn".into());
    let name = format!("centers/C1/returns/{}", returned.await.unwrap().seq());
    let mut client = CommissaryServiceClient::new(house.channel().await);
    for (token, is_allowed) in [
        (house.token(Role::Terminal, Some("T1")), true),
        (house.token(Role::Terminal, Some("T2")), false),
        (house.token(Role::Finance, None), true),
    ] {
        let name = name.clone();
        let read = client.get_return(with_token(&token, GetReturnRequest { name })).await;
        assert_eq!(
            read.err().map(|status| status.code()),
            (!is_allowed).then_some(Code::PermissionDenied)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_are_changed_only_as_they_were_read() {
    let house = House::open().await;
    let admin = house.token(Role::Admin, None);
    let mut custody = CustodyServiceClient::new(house.channel().await);
    let request = GetCenterRequest {
        name: "centers/C1".into(),
    };
    let center = custody
        .get_center(with_token(&admin, request))
        .await
        .unwrap()
        .into_inner();
    let told = CenterSettings {
        balance_cap: Some(Money {
            currency_code: "CNY".into(),
            amount: "6000".into(),
        }),
        ..center.settings.unwrap()
    };
    let as_read = told.clone();
    let request = UpdateCenterSettingsRequest { settings: Some(told) };
    let changed = custody
        .update_center_settings(with_token(&admin, request.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(changed.balance_cap.unwrap().amount, "6000.00");
    let stale = custody
        .update_center_settings(with_token(&admin, request))
        .await
        .unwrap_err();
    assert_eq!(reason_of(&stale).unwrap().0, "STALE_ETAG");

    // They are replaced whole: what is left out is not taken for what was there.
    let whole = CenterSettings {
        festival_months: vec![2],
        etag: String::new(),
        ..as_read
    };
    let leave_out: [fn(&mut CenterSettings); 6] = [
        |settings| settings.purchase_amount_max = None,
        |settings| settings.festival_bonus = None,
        |settings| settings.balance_cap = None,
        |settings| settings.quote_ttl = 0,
        |settings| drop(settings.tier_limits.pop()),
        |settings| settings.tier_limits.push(settings.tier_limits[0].clone()),
    ];
    for spoil in leave_out {
        let mut settings = whole.clone();
        spoil(&mut settings);
        let request = UpdateCenterSettingsRequest {
            settings: Some(settings),
        };
        let refused = custody
            .update_center_settings(with_token(&admin, request))
            .await
            .unwrap_err();
        assert_eq!(reason_of(&refused).unwrap().0, "INVALID_FIELD");
    }
    let request = UpdateCenterSettingsRequest { settings: Some(whole) };
    let changed = custody
        .update_center_settings(with_token(&admin, request))
        .await
        .unwrap()
        .into_inner();
    assert_eq!((changed.festival_months, changed.tier_limits.len()), (vec![2], 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_deadlines_and_the_open_services_are_served() {
    const CHECK: &str = "grpc.health.v1.Health/Check";
    const UPDATE: &str = "custody.v1.CustodyService/UpdateCenterSettings";
    let house = House::open().await;
    assert_eq!(house.web(CHECK, &[], &[]).await, "0");
    assert_eq!(house.web(UPDATE, &[], &[]).await, "16", "no token");
    let mut health = tonic_health::pb::health_client::HealthClient::new(house.channel().await);
    health
        .check(tonic_health::pb::HealthCheckRequest::default())
        .await
        .unwrap();

    // Whoever holds the journal's head keeps everyone else waiting.
    let mut tx = house.world.process.database.lane.begin().await.unwrap();
    sqlx::query("select from journal_head for update")
        .execute(&mut *tx)
        .await
        .unwrap();
    let admin = house.token(Role::Admin, None);
    let bearer = format!("Bearer {admin}");
    let name = "centers/C1".into();
    let center = CustodyServiceClient::new(house.channel().await)
        .get_center(with_token(&admin, GetCenterRequest { name }))
        .await
        .unwrap()
        .into_inner();
    let message = prost::Message::encode_to_vec(&UpdateCenterSettingsRequest {
        settings: center.settings,
    });
    let headers = [("authorization", bearer.as_str()), ("grpc-timeout", "300m")];
    let waited = timeout(Duration::from_secs(5), house.web(UPDATE, &headers, &message)).await;
    assert_eq!(waited.unwrap(), "4", "DEADLINE_EXCEEDED");
    tx.rollback().await.unwrap();
    assert_eq!(house.web(UPDATE, &headers[..1], &message).await, "0");

    house.stop.cancel();
    let served = timeout(Duration::from_secs(15), house.served).await.unwrap();
    served.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_told_and_ends_what_has_no_end() {
    let house = House::open().await;
    house.world.endow("D1", "100").await;
    let channel = house.channel().await;
    let mut health = tonic_health::pb::health_client::HealthClient::new(channel.clone());
    let mut states = health
        .watch(tonic_health::pb::HealthCheckRequest::default())
        .await
        .unwrap()
        .into_inner();
    let first = states.message().await.unwrap().unwrap();
    assert_eq!(
        first.status(),
        tonic_health::pb::health_check_response::ServingStatus::Serving
    );
    let watch = WatchTransactionsRequest {
        parent: "centers/C1".into(),
        after_seq: 0,
    };
    let mut transactions = LedgerServiceClient::new(channel)
        .watch_transactions(with_token(&house.token(Role::Auditor, None), watch))
        .await
        .unwrap()
        .into_inner();
    assert!(transactions.message().await.unwrap().is_some());

    house.stop.cancel();
    let told = states.message().await.unwrap().unwrap();
    assert_eq!(
        told.status(),
        tonic_health::pb::health_check_response::ServingStatus::NotServing
    );
    let ended = transactions.message().await.unwrap_err();
    assert_eq!(ended.code(), tonic::Code::Unavailable);
    let served = timeout(Duration::from_secs(3), house.served).await;
    served.expect("nothing is waited for").unwrap().unwrap();
}
