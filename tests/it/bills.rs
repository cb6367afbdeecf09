//! Reconciliation over the wire, and by the command line.

use std::sync::Arc;

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
    contract::Contracts,
    distribution::Distributions,
    ending::{Endings, statement::StatementKey},
    ids::CenterId,
    offline_sales::OfflineSales,
    payment::Payments,
    proto::{
        FetchBillRequest, GetReconciliationRequest, ImportBillHeader, ImportBillRequest, ListBreaksRequest,
        ListReconciliationsRequest, r#break::Kind, import_bill_request::Content,
        reconciliation_service_client::ReconciliationServiceClient,
    },
    settlement::Settlements,
    unmatched::UnmatchedSums,
    work::WorkQueue,
};
use sha2::{Digest as _, Sha256};
use tokio::{net::TcpListener, process::Command};
use tokio_util::sync::CancellationToken;
use tonic::transport::Endpoint;

use crate::{
    reconciliation::{Bench, DAY, NEXT_MORNING, planted},
    service::with_token,
    world::{Process, terminals},
};

/// The doors as of the next morning, and a token of finance.
async fn doors(bench: &Bench) -> (String, String) {
    let clock = Clock::starting_at(NEXT_MORNING);
    let process = Process::over(&bench.world.db.url, clock.clone(), 4096);
    let (lanes, custody) = (process.lanes.clone(), process.custody.clone());
    let key = TokenKey::generate().unwrap();
    let verifier = CachedVerifier::new(Verifier::new(key.public()));
    let stop = CancellationToken::new();
    let router = server::router(Doors {
        stop: stop.clone(),
        desk: Desk::new(lanes.clone(), []),
        unmatched: UnmatchedSums::new(lanes.clone(), custody.clone()),
        work: WorkQueue::new(lanes.clone()),
        transfers: crate::transfers::transfers(&process),
        commissary: process.commissary.clone(),
        payers: process.payers.clone(),
        endings: Endings::new(lanes.clone(), custody.clone(), process.payers.vault()),
        statement_key: Arc::new(StatementKey::generate().unwrap()),
        distributions: Distributions::new(lanes.clone(), custody.clone()),
        settlements: Settlements::new(lanes.clone()),
        contracts: Contracts::new(lanes.clone()),
        payments: Payments::new(
            lanes.clone(),
            (
                Settlements::new(lanes.clone()),
                bench.refunds.clone(),
                Beneficiaries::new(lanes.clone(), process.payers.clone()),
            ),
            Banks::default(),
        ),
        beneficiaries: Beneficiaries::new(lanes.clone(), process.payers.clone()),
        remittances: bench.remittances.clone(),
        refunds: bench.refunds.clone(),
        reconciliations: bench.reconciliations.clone(),
        auth: AuthLayer::new(verifier, clock.clone()),
        terminals: terminals(&process),
        offline_sales: OfflineSales::new(lanes.clone()),
        message_size_max: 65_536,
        lanes,
        custody,
    })
    .await
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(server::serve(listener, router, stop));
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
    assert_eq!(code, Some(2));
    assert!(text.contains("INVALID_FIELD: the bill's header is"), "{text}");
    let (code, text) = import(&address, "nonsense", &bill).await;
    assert!(code == Some(2) && text.contains("NOT_AUTHENTICATED"), "{text}");
    let (code, text) = import("http://127.0.0.1:1", &token, &bill).await;
    assert!(
        code == Some(2) && text.contains("connecting to http://127.0.0.1:1"),
        "{text}"
    );
}
