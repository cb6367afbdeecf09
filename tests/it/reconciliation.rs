//! The gateway's bill against the ledger: exact matches, every kind of break, fees once, and over the wire.

use std::sync::Arc;

use custody_ledger::{
    access::{Actor, CachedVerifier, Issuer, Role, Scope, TokenKey, Verifier},
    api::{
        grpc::auth::AuthLayer,
        server::{self, Doors},
        status::reason_of,
    },
    clock::Clock,
    distribution::Distributions,
    gateway::{
        BillKind, Channels, Gate,
        bill::BillRecord,
        simulator::{
            Simulator, SimulatorConfig, SimulatorControl,
            control::{BillChange, BillEntry, PayOptions, RefundAnswer},
        },
        webhook::{WebhookChannel, WebhookConfig},
    },
    ids::{CenterId, PayerId, RequestId},
    ledger::{Code, Request, account, balance, chart},
    proto::{
        FetchBillRequest, GetReconciliationRequest, ImportBillHeader, ImportBillRequest, ListBreaksRequest,
        ListReconciliationsRequest, r#break::Kind, import_bill_request::Content,
        reconciliation_service_client::ReconciliationServiceClient,
    },
    reconciliation::{BillOf, Reconciliation, Reconciliations},
    refund::{Refunds, refund_number},
    remittance::{LegState, NewRemittance, Remittance, Remittances, order_number},
    settlement::Settlements,
};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};
use time::{
    Date, OffsetDateTime,
    macros::{date, datetime},
};
use tokio::{net::TcpListener, process::Command};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;
use uuid::Uuid;

use crate::{
    service::with_token,
    world::{Process, World, cny, id, new_center, reason, request},
};

/// Ten in the morning in Shanghai, and the next morning.
const MORNING: OffsetDateTime = datetime!(2031-05-06 02:00:00 UTC);
const NEXT_MORNING: OffsetDateTime = datetime!(2031-05-07 02:00:00 UTC);
const DAY: Date = date!(2031 - 05 - 06);

fn the_bill() -> BillOf {
    BillOf {
        channel: "webhook".into(),
        date: DAY,
    }
}

struct Bench {
    world: World,
    channels: Channels,
    remittances: Remittances,
    refunds: Refunds,
    /// As of the next morning.
    reconciliations: Reconciliations,
    control: SimulatorControl,
    _simulator: Simulator,
}

impl Bench {
    async fn build() -> Bench {
        let clock = Clock::starting_at(MORNING);
        let world = World::build_with(clock.clone(), 4096).await;
        let secret = SecretString::from("shared");
        let config = SimulatorConfig::new(([127, 0, 0, 1], 0).into(), secret.clone());
        let simulator = Simulator::start(config, clock.clone()).await.unwrap();
        let config = WebhookConfig {
            id: "webhook".into(),
            base_url: simulator.base_url(),
            secret,
        };
        let channels = Channels::new([Gate {
            channel: Arc::new(WebhookChannel::try_new(config, clock).unwrap()),
            notify_url: "http://127.0.0.1:9/".into(),
        }]);
        let (lanes, custody) = (world.process.lanes.clone(), world.process.custody.clone());
        let remittances = Remittances::new(lanes.clone(), custody.clone(), channels.clone());
        let center = &world.center;
        let payer = PayerId::parse("P1").unwrap();
        remittances
            .create_payer(center, payer.clone(), "Mother".into(), "acct".into())
            .await
            .unwrap();
        remittances.create_link(center, &payer, &id("D1")).await.unwrap();
        Bench {
            refunds: Refunds::new(lanes, custody, channels.clone()),
            reconciliations: next_morning(&world, &channels),
            control: SimulatorControl::try_new(simulator.base_url()).unwrap(),
            _simulator: simulator,
            channels,
            remittances,
            world,
        }
    }

    /// A remittance that is paid at the gateway and not yet known to be.
    async fn paid(&self, amount: &str) -> Remittance {
        let new = NewRemittance {
            request: Request {
                id: RequestId(Uuid::new_v4()),
                method: "custody.v1.RemittanceService/CreateRemittance",
                body: Vec::new(),
                actor: "payer/P1".into(),
            },
            payer: PayerId::parse("P1").unwrap(),
            detainee: id("D1"),
            amount: cny(amount),
            channel: "webhook".into(),
        };
        let (remittance, _) = self.remittances.create(&self.world.center, new).await.unwrap();
        let lost = PayOptions {
            lose: true,
            ..PayOptions::default()
        };
        self.control.pay(&self.order(&remittance), &lost).await.unwrap();
        remittance
    }

    async fn learn(&self, remittance: &Remittance) {
        let learnt = self
            .remittances
            .refresh(&self.world.center, &remittance.id)
            .await
            .unwrap();
        assert_eq!(learnt.state(), LegState::Credited);
    }

    async fn credited(&self, amount: &str) -> Remittance {
        let remittance = self.paid(amount).await;
        self.learn(&remittance).await;
        remittance
    }

    async fn refunded(&self, remittance: &Remittance, amount: &str) {
        let center = &self.world.center;
        let refunded = self
            .refunds
            .create(
                center,
                request("test/Refund", b""),
                remittance.id.clone(),
                cny(amount),
                "r".into(),
            )
            .await
            .unwrap();
        let number = refund_number(center.no, refunded.seq());
        self.control
            .answer_refund(&number, &RefundAnswer::default())
            .await
            .unwrap();
        self.refunds.refresh(center, refunded.seq()).await.unwrap();
    }

    fn order(&self, remittance: &Remittance) -> String {
        order_number(self.world.center.no, &remittance.id)
    }

    async fn fetch(&self) -> Reconciliation {
        let center = &self.world.center;
        self.reconciliations
            .fetch(center, the_bill(), "finance/f")
            .await
            .unwrap()
    }

    /// Kind, and our number of each break.
    async fn breaks(&self) -> Vec<(String, String)> {
        let (_, found) = self
            .reconciliations
            .breaks(&self.world.center, &the_bill(), None, 0, 100)
            .await
            .unwrap();
        found
            .iter()
            .map(|found| {
                let bill = found.bill.as_ref().map(|row| row.number().to_owned());
                let ledger = found.ledger.as_ref().map(|entry| entry.number.clone());
                (found.kind.name().to_owned(), bill.or(ledger).unwrap())
            })
            .collect()
    }

    /// What the fees and the channel's clearing account are at.
    async fn balances(&self) -> Vec<String> {
        let (database, center) = (&self.world.process.database, &self.world.center);
        let clearing = account::find(&database.read, center.no, Code::GatewayClearing, "channels/webhook").await;
        let accounts = [chart::GATEWAY_FEES, clearing.unwrap().unwrap()];
        let now = balance::now(&database.read, center, &accounts).await.unwrap();
        now.0.iter().map(ToString::to_string).collect()
    }
}

fn next_morning(world: &World, channels: &Channels) -> Reconciliations {
    let process = Process::over(&world.db.url, Clock::starting_at(NEXT_MORNING), 4096);
    Reconciliations::new(process.lanes, process.custody, channels.clone())
}

fn planted(order_number: &str) -> BillRecord {
    BillRecord {
        kind: BillKind::Payment,
        order_number: order_number.into(),
        refund_number: String::new(),
        gateway_id: format!("pay_{order_number}"),
        amount: "33.00".into(),
        fee: "0.19".into(),
        currency: "CNY".into(),
        time: "2031-05-06T12:00:00+08:00".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_that_tells_what_the_ledger_has_matches_and_its_fees_are_recorded_once() {
    let bench = Bench::build().await;
    let first = bench.credited("100").await;
    bench.credited("50").await;
    bench.refunded(&first, "30").await;
    assert_eq!(bench.balances().await, ["0.00", "120.00"]);

    let found = bench.fetch().await;
    let totals = &found.totals;
    assert_eq!((totals.lines, totals.matched, totals.breaks), (3, 3, 0));
    assert_eq!((totals.bill_paid, totals.ledger_paid), (cny("150"), cny("150")));
    assert_eq!((totals.bill_refunded, totals.ledger_refunded), (cny("30"), cny("30")));
    assert_eq!(totals.bill_fees, cny("0.90"));
    assert_eq!(bench.balances().await, ["0.90", "119.10"]);
    assert_eq!(found.run, 1);
    assert!(found.fee_seq.is_some());

    // The same bill again, by another process, and by two at once: the same.
    let other = next_morning(&bench.world, &bench.channels);
    let center = &bench.world.center;
    let (a, b) = tokio::join!(
        other.fetch(center, the_bill(), "finance/g"),
        bench.reconciliations.fetch(center, the_bill(), "finance/f"),
    );
    assert_eq!((a.unwrap(), b.unwrap()), (found.clone(), found.clone()));
    assert_eq!(bench.reconciliations.list(center, None, 10).await.unwrap(), [found]);
    assert_eq!(bench.balances().await, ["0.90", "119.10"]);
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_that_import_a_new_bill_at_once_record_each_fee_once() {
    let bench = Bench::build().await;
    for _ in 0..5 {
        bench.credited("100").await;
    }
    let others: Vec<Reconciliations> = (0..6).map(|_| next_morning(&bench.world, &bench.channels)).collect();
    let center = &bench.world.center;
    let imports = others.iter().map(|other| other.fetch(center, the_bill(), "finance/f"));
    let found: Vec<_> = futures::future::join_all(imports)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert!(found.iter().all(|each| each == &found[0]), "{found:?}");
    assert_eq!((found[0].run, found[0].totals.matched), (1, 5));
    assert_eq!(bench.balances().await, ["3.00", "497.00"]);
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_is_a_break_until_it_is_explained() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    let other = new_center(&bench.world.process, "C2").await;
    let good = bench.credited("100").await;
    let changed = bench.credited("20").await;
    let dropped = bench.credited("30").await;
    let twice = bench.credited("40").await;
    let unknown = bench.paid("50").await;
    let changes = BillChange {
        entry: BillEntry::payment(bench.order(&changed)),
        amount: "20.01".into(),
    };
    bench.control.change_bill_amount(&changes).await.unwrap();
    let drops = BillEntry::payment(bench.order(&dropped));
    bench.control.drop_bill_row(&drops).await.unwrap();
    let doubles = BillEntry::payment(bench.order(&twice));
    bench.control.duplicate_bill_row(&doubles).await.unwrap();
    let others = format!("{}-R0", other.no);
    for order in [others.as_str(), "77-RNOBODYS", "SHOP1"] {
        bench.control.plant_bill_row(&planted(order)).await.unwrap();
    }

    let found = bench.fetch().await;
    // Rows: good, changed, twice and twice again, unknown, two of nobody; the other center's is its own business.
    assert_eq!((found.totals.lines, found.totals.matched), (7, 2));
    let told = |kind: &str, number: &str| (kind.to_owned(), number.to_owned());
    let mut breaks = bench.breaks().await;
    breaks.sort();
    let mut expected = vec![
        told("AMOUNT_DIFFERS", &bench.order(&changed)),
        told("DUPLICATE", &bench.order(&twice)),
        told("ONLY_IN_BILL", "77-RNOBODYS"),
        told("ONLY_IN_BILL", "SHOP1"),
        told("ONLY_IN_BILL", &bench.order(&unknown)),
        told("ONLY_IN_LEDGER", &bench.order(&dropped)),
    ];
    expected.sort();
    assert_eq!(breaks, expected);
    // Only what matches brings its fee: 0.60 and 0.24.
    assert_eq!(bench.balances().await, ["0.84", "189.16"]);
    let theirs = bench
        .reconciliations
        .fetch(&other, the_bill(), "finance/f")
        .await
        .unwrap();
    assert_eq!((theirs.totals.lines, theirs.totals.breaks), (3, 3));

    // The payment is learnt of: no break any more, and its fee is recorded too.
    bench.learn(&unknown).await;
    let again = bench.fetch().await;
    assert_eq!((again.run, again.totals.matched, again.totals.breaks), (2, 3, 5));
    assert!(
        !bench
            .breaks()
            .await
            .contains(&told("ONLY_IN_BILL", &bench.order(&unknown)))
    );
    assert_eq!(bench.balances().await, ["1.14", "238.86"]);
    assert_ne!(again.fee_seq, found.fee_seq);
    // What the first run found can still be read.
    let (_, before) = bench
        .reconciliations
        .breaks(center, &the_bill(), Some(1), 0, 100)
        .await
        .unwrap();
    assert_eq!(before.len(), 6);
    assert_eq!(bench.fetch().await, again);
    assert!(
        bench
            .remittances
            .remittance(center, &good.id)
            .await
            .unwrap()
            .is_posted()
    );
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_that_cannot_be_read_changes_nothing() {
    let bench = Bench::build().await;
    bench.credited("100").await;
    let center = &bench.world.center;
    let head = "kind,order_number,refund_number,gateway_id,amount,fee,currency,time\n";
    let row = "payment,R1,,pay_1,100.00,0.60,CNY,2031-05-06T10:00:00+08:00\n";
    let import = |channel: &str, date, bill: String| {
        let of = BillOf {
            channel: channel.into(),
            date,
        };
        let reconciliations = bench.reconciliations.clone();
        async move {
            let refused = reconciliations.import(center, of, bill.into_bytes(), "finance/f").await;
            reason(&refused.unwrap_err())
        }
    };
    let whole = format!("{head}{row}");
    assert_eq!(import("webhook", DAY, "not a bill".into()).await, "INVALID_FIELD");
    assert_eq!(
        import("webhook", DAY, format!("{whole}half,a\n")).await,
        "INVALID_FIELD"
    );
    assert_eq!(
        import("webhook", DAY, whole.replace("100.00", "100.001")).await,
        "INVALID_FIELD"
    );
    assert_eq!(
        import("webhook", DAY, whole.replace("CNY", "USD")).await,
        "CURRENCY_MISMATCH"
    );
    assert_eq!(import("cash", DAY, whole.clone()).await, "NOT_FOUND");
    assert_eq!(import("webhook", date!(2031 - 05 - 07), whole).await, "DATE_NOT_OVER");
    let missing = bench.reconciliations.get(center, &the_bill()).await.unwrap_err();
    assert_eq!(reason(&missing), "NOT_FOUND");
    assert_eq!(bench.balances().await, ["0.00", "100.00"]);
    assert_eq!(bench.world.verified().await, 1);
}

/// The doors as of the next morning, and a token of finance.
async fn doors(bench: &Bench) -> (String, String) {
    let clock = Clock::starting_at(NEXT_MORNING);
    let process = Process::over(&bench.world.db.url, clock.clone(), 4096);
    let (lanes, custody) = (process.lanes.clone(), process.custody.clone());
    let key = TokenKey::generate().unwrap();
    let verifier = CachedVerifier::new(Verifier::new(key.public()));
    let router = server::router(Doors {
        commissary: process.commissary.clone(),
        distributions: Distributions::new(lanes.clone(), custody.clone()),
        settlements: Settlements::new(lanes.clone()),
        remittances: bench.remittances.clone(),
        refunds: bench.refunds.clone(),
        reconciliations: bench.reconciliations.clone(),
        auth: AuthLayer::new(verifier, clock.clone()),
        message_size_max: 65_536,
        lanes,
        custody,
    })
    .await
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(server::serve(listener, router, CancellationToken::new()));
    let scope = Scope {
        center: Some(CenterId::parse("C1").unwrap()),
        payer: None,
        terminal: None,
    };
    let actor = Actor::new("f", Role::Finance, scope).unwrap();
    let token = Issuer::new(key)
        .issue(&actor, time::Duration::HOUR, clock.now())
        .unwrap();
    (address, token)
}

fn header() -> Content {
    Content::Header(ImportBillHeader {
        parent: "centers/C1".into(),
        channel: "webhook".into(),
        bill_date: "2031-05-06".into(),
    })
}

fn messages(contents: Vec<Content>) -> impl futures::Stream<Item = ImportBillRequest> {
    futures::stream::iter(
        contents
            .into_iter()
            .map(|content| ImportBillRequest { content: Some(content) }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bill_is_streamed_fetched_and_read_over_the_wire() {
    let bench = Bench::build().await;
    bench.credited("100").await;
    for order in ["SHOP1", "SHOP2", "SHOP3"] {
        bench.control.plant_bill_row(&planted(order)).await.unwrap();
    }
    let (address, token) = doors(&bench).await;
    let channel = Endpoint::from_shared(address).unwrap().connect().await.unwrap();
    let mut client = ReconciliationServiceClient::new(channel);
    let bill = bench
        .channels
        .get("webhook")
        .unwrap()
        .channel
        .fetch_bill(DAY)
        .await
        .unwrap();

    let refused = |contents: Vec<Content>| {
        let (mut client, call) = (client.clone(), with_token(&token, messages(contents)));
        async move { reason_of(&client.import_bill(call).await.unwrap_err()).unwrap().0 }
    };
    assert_eq!(refused(vec![]).await, "INVALID_FIELD");
    assert_eq!(refused(vec![Content::Chunk(bill.clone())]).await, "INVALID_FIELD");
    assert_eq!(refused(vec![header(), header()]).await, "INVALID_FIELD");
    assert_eq!(
        refused(vec![header(), Content::Chunk(b"kind,a".to_vec())]).await,
        "INVALID_FIELD"
    );

    let mut contents = vec![header()];
    contents.extend(bill.chunks(7).map(|chunk| Content::Chunk(chunk.to_vec())));
    let call = with_token(&token, messages(contents));
    let imported = client.import_bill(call).await.unwrap().into_inner();
    assert_eq!(imported.name, "centers/C1/reconciliations/webhook.2031-05-06");
    assert_eq!((imported.matched_count, imported.break_count), (1, 3));
    assert_eq!(imported.bill_sha256, Sha256::digest(&bill).to_vec());
    assert_eq!(imported.fee_transaction, "centers/C1/transactions/2");

    let asked = FetchBillRequest {
        parent: "centers/C1".into(),
        channel: "webhook".into(),
        bill_date: "2031-05-06".into(),
    };
    let fetched = client.fetch_bill(with_token(&token, asked)).await.unwrap().into_inner();
    assert_eq!(fetched, imported);
    let asked = GetReconciliationRequest {
        name: imported.name.clone(),
    };
    let read = client
        .get_reconciliation(with_token(&token, asked))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(read, imported);
    let asked = ListReconciliationsRequest {
        parent: "centers/C1".into(),
        ..ListReconciliationsRequest::default()
    };
    let listed = client
        .list_reconciliations(with_token(&token, asked))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (listed.reconciliations, listed.next_page_token.as_str()),
        (vec![imported.clone()], "")
    );

    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let asked = ListBreaksRequest {
            parent: imported.name.clone(),
            page_size: 2,
            page_token,
        };
        let page = client
            .list_breaks(with_token(&token, asked))
            .await
            .unwrap()
            .into_inner();
        found.extend(page.breaks);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    let numbers: Vec<i32> = found.iter().map(|found| found.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(
        found
            .iter()
            .all(|found| found.kind() == Kind::OnlyInBill && found.ledger.is_none())
    );
    assert_eq!(found[0].bill.as_ref().unwrap().order_number, "SHOP1");
}

/// `custody reconcile import`: its exit code, and what it prints.
async fn import(address: &str, token: &str, bill: &[u8]) -> (Option<i32>, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bill).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command
        .args([
            "reconcile",
            "import",
            "--center",
            "C1",
            "--date",
            "2031-05-06",
            "--service",
            address,
        ])
        .env("CUSTODY_TOKEN", token)
        .arg(file.path());
    let output = command.output().await.unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_imports_a_bill_and_names_what_does_not_match() {
    let bench = Bench::build().await;
    let remittance = bench.credited("100").await;
    let (address, token) = doors(&bench).await;
    let bill = bench
        .channels
        .get("webhook")
        .unwrap()
        .channel
        .fetch_bill(DAY)
        .await
        .unwrap();

    let (code, text) = import(&address, &token, &bill).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("lines 1, matched 1") && text.ends_with("no breaks\n"),
        "{text}"
    );

    let wrong = String::from_utf8(bill.clone()).unwrap().replace("100.00", "100.01");
    let (code, text) = import(&address, &token, wrong.as_bytes()).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.contains("1. AMOUNT_DIFFERS\n") && text.contains(&bench.order(&remittance)),
        "{text}"
    );

    let (code, text) = import(&address, &token, b"half a bill").await;
    assert_eq!(code, Some(1));
    assert!(text.contains("INVALID_FIELD: the bill's header is"), "{text}");
    let (_, text) = import(&address, "nonsense", &bill).await;
    assert!(text.contains("NOT_AUTHENTICATED"), "{text}");
}
