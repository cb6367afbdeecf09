//! The wire: who may call what, what is refused at the door, and how a refusal reads.

use custody_ledger::{
    access::{Actor, Issuer, METHODS, Role, Scope, Session, TokenKey, is_open, permission_for},
    api::{grpc::is_replay, status::reason_of},
    clock::Clock,
    ids::{CenterId, PayerId, TerminalId},
    proto::{
        self, AdmitDetaineeRequest, CreateCenterRequest, GetBalancesRequest, GetProofRequest, GetRequestOutcomeRequest,
        ListStatementLinesRequest, WatchTransactionsRequest, commissary_service_client::CommissaryServiceClient,
        custody_service_client::CustodyServiceClient, ledger_service_client::LedgerServiceClient,
    },
};
use prost::Message as _;
use tonic::{Code, Request, Status, transport::Channel};
use uuid::Uuid;

use crate::{
    service::{Service, buy_rice, purchase_of, with_token},
    world::{self, Process, TestDatabase},
};

struct Open {
    service: Service,
    channel: Channel,
    terminal: String,
    _db: TestDatabase,
    process: Process,
    center: custody_ledger::ledger::Center,
}

impl Open {
    /// A service with the center that `world` makes, in which D1 has 100.00.
    async fn start() -> Open {
        let db = TestDatabase::create().await;
        let service = Service::start(Some(&db.url)).await;
        let process = Process::over(&db.url, Clock::system(), 64);
        let center = world::new_center(&process, "C1").await;
        world::endow(&process, &center, "D1", "100.00").await;
        let (channel, terminal) = (service.channel().await, service.terminal_token("C1"));
        Open {
            service,
            channel,
            terminal,
            _db: db,
            process,
            center,
        }
    }

    fn token(&self, role: Role) -> String {
        let center = CenterId::parse("C1").unwrap();
        if role == Role::Detainee {
            return self.session_token(center);
        }
        let payer = (role == Role::Payer).then(|| PayerId::parse("P1").unwrap());
        let terminal = (role == Role::Terminal).then(|| TerminalId::parse("T1").unwrap());
        self.service.token(
            role,
            Scope {
                center: Some(center),
                payer,
                terminal,
            },
        )
    }

    /// A token of a session that the database does not know, which is enough for what the role alone decides.
    fn session_token(&self, center: CenterId) -> String {
        let session = Session {
            id: Uuid::new_v4(),
            detainee: world::id("D1"),
            is_bound: false,
            is_limited: false,
        };
        let actor = Actor::in_session(center, TerminalId::parse("T1").unwrap(), session);
        let key = TokenKey::load_or_create(self.service.directory.path()).unwrap();
        let issuer = Issuer::new(key);
        issuer
            .issue(&actor, time::Duration::hours(1), Clock::system().now())
            .unwrap()
    }

    async fn buy(&self, lines: &[(&str, i32)]) -> Result<proto::Purchase, Status> {
        self.send(purchase_of("C1", "D1", Uuid::new_v4(), lines)).await
    }

    async fn send(&self, message: proto::CreatePurchaseRequest) -> Result<proto::Purchase, Status> {
        let mut client = CommissaryServiceClient::new(self.channel.clone());
        client
            .create_purchase(with_token(&self.terminal, message))
            .await
            .map(tonic::Response::into_inner)
    }

    async fn unchanged(&self) {
        let balances = self
            .process
            .custody
            .balances(&self.center, &world::id("D1"))
            .await
            .unwrap();
        assert_eq!(balances.available.to_string(), "100.00");
    }
}

fn reason(status: &Status) -> String {
    reason_of(status)
        .map(|(reason, _)| reason)
        .unwrap_or_else(|| format!("{status:?}"))
}

fn facts(status: &Status) -> std::collections::BTreeMap<String, String> {
    reason_of(status).map(|(_, facts)| facts).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_purchases_are_refused_by_field_and_change_nothing() {
    let open = Open::start().await;
    let good = purchase_of("C1", "D1", Uuid::new_v4(), &[("RICE", 1)]);
    type Spoil = Box<dyn Fn(&mut proto::CreatePurchaseRequest)>;
    let cases: Vec<(&str, Spoil)> = vec![
        ("no lines", Box::new(|message| message.lines.clear())),
        (
            "51 lines",
            Box::new(|message| message.lines = vec![message.lines[0].clone(); 51]),
        ),
        ("quantity 0", Box::new(|message| message.lines[0].quantity = 0)),
        ("negative quantity", Box::new(|message| message.lines[0].quantity = -1)),
        (
            "huge quantity",
            Box::new(|message| message.lines[0].quantity = i32::MAX),
        ),
        ("no request id", Box::new(|message| message.request_id.clear())),
        ("not a UUID", Box::new(|message| message.request_id = "42".into())),
        (
            "nil UUID",
            Box::new(|message| message.request_id = Uuid::nil().to_string()),
        ),
        ("no detainee", Box::new(|message| message.detainee.clear())),
        (
            "another center's detainee",
            Box::new(|message| message.detainee = "centers/C2/detainees/D1".into()),
        ),
        (
            "another center's product",
            Box::new(|message| message.lines[0].product = "centers/C2/products/RICE".into()),
        ),
        (
            "a name with a quote",
            Box::new(|message| message.detainee = "centers/C1/detainees/D1'; drop".into()),
        ),
        ("no parent", Box::new(|message| message.parent.clear())),
    ];
    for (case, spoil) in cases {
        let mut message = good.clone();
        spoil(&mut message);
        let status = open.send(message).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, "INVALID_FIELD"),
            "{case}"
        );
    }
    let mut oversized = good.clone();
    oversized.detainee = "x".repeat(2 * 1024 * 1024);
    let status = open.send(oversized).await.unwrap_err();
    assert!(
        matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted),
        "{status:?}"
    );
    open.unchanged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_carry_reasons_and_facts() {
    let open = Open::start().await;
    let status = open.buy(&[("RICE", 41)]).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "INSUFFICIENT_FUNDS")
    );
    assert_eq!(facts(&status)["available"], "100.00");
    assert_eq!(facts(&status)["required"], "102.50");
    let status = open.buy(&[("GOLD", 1)]).await.unwrap_err();
    assert_eq!((status.code(), reason(&status).as_str()), (Code::NotFound, "NOT_FOUND"));
    open.unchanged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_request_is_marked_and_a_changed_one_named() {
    let open = Open::start().await;
    let message = purchase_of("C1", "D1", Uuid::new_v4(), &[("RICE", 2)]);
    let mut client = CommissaryServiceClient::new(open.channel.clone());
    let first = client
        .create_purchase(with_token(&open.terminal, message.clone()))
        .await
        .unwrap();
    let again = client
        .create_purchase(with_token(&open.terminal, message.clone()))
        .await
        .unwrap();
    assert!(!is_replay(&first) && is_replay(&again));
    assert_eq!(first.into_inner(), again.into_inner());
    let mut changed = message.clone();
    changed.detainee = "centers/C1/detainees/D2".into();
    changed.lines[0].quantity = 3;
    let status = open.send(changed).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::InvalidArgument, "REQUEST_REUSED")
    );
    assert_eq!(facts(&status)["fields"], "detainee,lines");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_can_be_read_after_the_deadline() {
    let open = Open::start().await;
    let request_id = Uuid::new_v4();
    let mut request = with_token(&open.terminal, purchase_of("C1", "D1", request_id, &[("RICE", 1)]));
    request.set_timeout(std::time::Duration::from_micros(1));
    let status = CommissaryServiceClient::new(open.channel.clone())
        .create_purchase(request)
        .await
        .unwrap_err();
    assert!(
        matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled),
        "{status:?}"
    );
    // The same request again ends in one purchase, whether or not the first was sent in time.
    let name = buy_rice(open.channel.clone(), &open.terminal, "D1", request_id)
        .await
        .unwrap();
    let ask = GetRequestOutcomeRequest {
        parent: "centers/C1".into(),
        request_id: request_id.to_string(),
    };
    let mut ledger = LedgerServiceClient::new(open.channel.clone());
    let outcome = ledger
        .get_request_outcome(with_token(&open.terminal, ask))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(outcome.resource, name);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_s_and_an_auditor_s_view_agree() {
    let open = Open::start().await;
    for _ in 0..3 {
        open.buy(&[("RICE", 1), ("BOOK", 1)]).await.unwrap_or_default();
    }
    let auditor = open.token(Role::Auditor);
    let mut custody = CustodyServiceClient::new(open.channel.clone());
    let mut lines = Vec::new();
    let mut page_token = String::new();
    loop {
        let ask = ListStatementLinesRequest {
            parent: "centers/C1/detainees/D1".into(),
            page_size: 2,
            page_token: std::mem::take(&mut page_token),
            ..Default::default()
        };
        let page = custody
            .list_statement_lines(with_token(&auditor, ask))
            .await
            .unwrap()
            .into_inner();
        lines.extend(page.statement_lines);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let amounts: Vec<_> = lines.iter().map(|line| line.amount.clone().unwrap().amount).collect();
    assert_eq!(amounts, ["100.00", "-32.50", "-32.50", "-32.50"]);
    let ask = GetBalancesRequest {
        detainee: "centers/C1/detainees/D1".into(),
    };
    let balances = custody
        .get_balances(with_token(&auditor, ask))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(balances.available, lines.last().unwrap().balance);

    let mut ledger = LedgerServiceClient::new(open.channel.clone());
    for seq in [None, Some(2)] {
        let as_of = seq.map(|seq| proto::AsOf {
            point: Some(proto::as_of::Point::Seq(seq)),
        });
        let ask = GetProofRequest {
            center: "centers/C1".into(),
            as_of,
        };
        let proof = ledger.get_proof(with_token(&auditor, ask)).await.unwrap().into_inner();
        assert!(proof.holds);
        assert_eq!(
            (proof.as_of_seq, proof.left_total),
            (seq.unwrap_or(4), proof.right_total)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_skips_and_repeats_nothing_across_processes() {
    let open = Open::start().await;
    let auditor = open.token(Role::Auditor);
    let mut ledger = LedgerServiceClient::new(open.channel.clone());
    let watch = WatchTransactionsRequest {
        parent: "centers/C1".into(),
        after_seq: 0,
    };
    let mut stream = ledger
        .watch_transactions(with_token(&auditor, watch))
        .await
        .unwrap()
        .into_inner();
    let lines = [("RICE", 1)];
    for n in 0..20 {
        if n % 2 == 0 {
            open.buy(&lines.map(|(product, _)| (product, 1))).await.unwrap();
        } else {
            world::buy(&open.process, &open.center, Uuid::new_v4(), "D1", &lines)
                .await
                .unwrap();
        }
    }
    for expected in 1..=21 {
        let next = tokio::time::timeout(std::time::Duration::from_secs(10), stream.message())
            .await
            .unwrap();
        assert_eq!(next.unwrap().unwrap().record.unwrap().seq, expected);
    }
}

/// Every method of every service, as the descriptors have it.
fn methods() -> Vec<String> {
    let set = prost_types::FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut methods = Vec::new();
    for file in set.file {
        for service in &file.service {
            let method = |method: &prost_types::MethodDescriptorProto| {
                format!("{}.{}/{}", file.package(), service.name(), method.name())
            };
            methods.extend(service.method.iter().map(method));
        }
    }
    methods
}

/// The one method that needs no token.
const ENROL: &str = "custody.v1.TerminalService/EnrolTerminal";

#[test]
fn every_method_is_in_the_table_and_nothing_else_is() {
    let methods = methods();
    for method in &methods {
        let is_open = is_open(method);
        assert_eq!(is_open, method == ENROL, "{method} is open to all");
        assert!(
            is_open || permission_for(method).is_some(),
            "{method} is in no one's permission"
        );
    }
    for (method, _) in METHODS {
        assert!(methods.iter().any(|known| known == method), "{method} does not exist");
    }
}

/// Calls a method with an empty message.
async fn call(channel: &Channel, method: &str, token: Option<&str>) -> Status {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let mut request = Request::new(());
    if let Some(token) = token {
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    let path = http::uri::PathAndQuery::try_from(format!("/{method}")).unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    match grpc.unary(request, path, codec).await {
        Ok(_) => Status::ok(""),
        Err(status) => status,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_may_call_what_the_table_says_and_nothing_more() {
    let open = Open::start().await;
    let everywhere = open.service.token(
        Role::Admin,
        Scope {
            center: None,
            payer: None,
            terminal: None,
        },
    );
    let token = |role| {
        if role == Role::Admin {
            everywhere.clone()
        } else {
            open.token(role)
        }
    };
    let roles = Role::ALL.map(|role| (role, token(role)));
    for method in methods().into_iter().filter(|method| method != ENROL) {
        let none = call(&open.channel, &method, None).await;
        assert_eq!(none.code(), Code::Unauthenticated, "{method} without a credential");
        for (role, token) in &roles {
            let status = call(&open.channel, &method, Some(token)).await;
            let allowed = permission_for(&method).unwrap().is_given_to(*role);
            assert_eq!(
                status.code() == Code::PermissionDenied,
                !allowed,
                "{method} as {role}: {status:?}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_forged_and_foreign_tokens_open_nothing() {
    let open = Open::start().await;
    let other = Service::start(Some(&open._db.url)).await;
    let forged = other.terminal_token("C1");
    let foreign = open.service.terminal_token("C2");
    let mut tampered = open.terminal.clone();
    tampered.replace_range(tampered.len() - 4.., "AAAA");
    let scope = Scope {
        center: Some(CenterId::parse("C1").unwrap()),
        payer: None,
        terminal: Some(TerminalId::parse("T1").unwrap()),
    };
    let expired = open.service.expired_token(Role::Terminal, scope);
    for (token, expected) in [
        (expired.as_str(), Code::Unauthenticated),
        (forged.as_str(), Code::Unauthenticated),
        (tampered.as_str(), Code::Unauthenticated),
        ("", Code::Unauthenticated),
        (foreign.as_str(), Code::PermissionDenied),
    ] {
        let status = buy_rice(open.channel.clone(), token, "D1", Uuid::new_v4())
            .await
            .unwrap_err();
        assert_eq!(status.code(), expected, "{status:?}");
    }
    open.unchanged().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn centers_are_made_and_people_admitted_over_the_wire() {
    let open = Open::start().await;
    let admin = open.service.token(
        Role::Admin,
        Scope {
            center: None,
            payer: None,
            terminal: None,
        },
    );
    let mut custody = CustodyServiceClient::new(open.channel.clone());
    let center = proto::Center {
        display_name: "Second".into(),
        display_name_zh: "第二看守所".into(),
        time_zone: "Asia/Shanghai".into(),
        currency_code: "CNY".into(),
        ..Default::default()
    };
    let ask = CreateCenterRequest {
        center_id: "C2".into(),
        center: Some(center),
    };
    let made = custody
        .create_center(with_token(&admin, ask.clone()))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        made.settings.as_ref().unwrap().balance_cap.as_ref().unwrap().amount,
        "5000.00"
    );
    assert_eq!(
        custody
            .create_center(with_token(&admin, ask.clone()))
            .await
            .unwrap()
            .into_inner(),
        made
    );
    let mut other = ask;
    other.center.as_mut().unwrap().display_name = "Other".into();
    let status = custody.create_center(with_token(&admin, other)).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists);
    // A center's own admin makes no centers.
    let own = open.token(Role::Admin);
    let ask = CreateCenterRequest {
        center_id: "C3".into(),
        center: Some(made.clone()),
    };
    assert_eq!(
        custody.create_center(with_token(&own, ask)).await.unwrap_err().code(),
        Code::PermissionDenied
    );

    let person = proto::Detainee {
        display_name: "A".into(),
        tier: 2,
        ..Default::default()
    };
    let ask = AdmitDetaineeRequest {
        parent: "centers/C2".into(),
        detainee_id: "D7".into(),
        detainee: Some(person),
    };
    let admitted = custody
        .admit_detainee(with_token(&admin, ask))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(admitted.state(), proto::detainee::State::Active);
}
