//! What a long history costs: purchases before and after it, what is read with it there, and one settlement over all of it.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use rand::Rng as _;
use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use tonic::{Request, transport::Endpoint};

use super::{
    arena::{Arena, PRODUCTS, Target},
    cpu::PerCall,
    load::{self, Measured},
    store,
};
use crate::{
    clock::Clock,
    commissary::{Commissary, OrderLine},
    custody::Custody,
    db::Database,
    ids::{CenterId, DetaineeId, ProductId, RequestId, TerminalId},
    ledger::{self, Lanes},
    proto::{
        CloseSettlementRequest, GetBalancesRequest, ListStatementLinesRequest,
        custody_service_client::CustodyServiceClient, settlement_service_client::SettlementServiceClient,
    },
};

/// Purchases made at the same time while the history is made.
const MADE_IN_FLIGHT: usize = 512;
/// Lines of a statement's page.
const STATEMENT_LINES: i32 = 10;

/// One run.
#[derive(Debug, Serialize)]
pub struct HistoryReport {
    in_flight: usize,
    /// Purchases made before the second measurement, besides those of the first.
    history: usize,
    empty_purchases_per_s: f64,
    full_purchases_per_s: f64,
    /// Purchases a second with the history there, divided by those without.
    ratio_empty: f64,
    noop_per_s: f64,
    balance: Reading,
    /// A page of ten lines.
    statement: Reading,
    settlement: Settled,
}

/// What one kind of reading costs.
#[derive(Debug, Serialize)]
struct Reading {
    per_s: f64,
    p50_us: u64,
    p99_us: u64,
    cpu_us: PerCall,
}

impl Reading {
    fn of(measured: &Measured) -> Reading {
        Reading {
            per_s: measured.per_second().round(),
            p50_us: measured.latencies.value_at_quantile(0.5),
            p99_us: measured.latencies.value_at_quantile(0.99),
            cpu_us: measured.cpu,
        }
    }
}

/// One settlement over everything, by a service that was just started.
#[derive(Debug, Serialize)]
struct Settled {
    /// Sales that it covers.
    sales: u64,
    seconds: f64,
    /// The service's resident memory before and after.
    rss_before_mib: u64,
    rss_after_mib: u64,
}

/// Measures with `history` purchases in one center.
pub async fn run(
    in_flight: usize,
    detainees: usize,
    history: usize,
    length: Duration,
) -> anyhow::Result<HistoryReport> {
    let mut arena = Arena::open(&[detainees]).await?;
    let meter = arena.meter()?;
    let targets = arena.targets(1, detainees)?;
    let noop = load::health_checks(arena.address(), meter, in_flight, length / 2).await?;
    let empty = load::purchases(arena.address(), meter, &targets, in_flight, length).await?;
    make(arena.database_url(), detainees, history)
        .await
        .context("making the history")?;
    let full = load::purchases(arena.address(), meter, &targets, in_flight, length).await?;
    let token = arena.finance(&targets[0].center)?;
    let (balance, statement) = read(&arena, &targets[0], &token, in_flight, length).await?;
    let settlement = settle(&mut arena, &targets[0], &token).await?;
    arena.close().await?;
    let ratio = full.per_second() / empty.per_second();
    Ok(HistoryReport {
        in_flight,
        history,
        empty_purchases_per_s: empty.per_second().round(),
        full_purchases_per_s: full.per_second().round(),
        ratio_empty: (ratio * 100.0).round() / 100.0,
        noop_per_s: noop.per_second().round(),
        balance,
        statement,
        settlement,
    })
}

/// Buys by the domain's own way, in this process, without waiting for the disk.
async fn make(url: &str, detainees: usize, history: usize) -> anyhow::Result<()> {
    store::wait_for_disk(url, false).await?;
    let (database, clock) = (Database::connect(url)?, Clock::system());
    let lanes = Lanes::new(database.clone(), clock.clone(), MADE_IN_FLIGHT);
    let custody = Custody::new(database.clone(), clock);
    let center = custody.center(&CenterId::parse("C1")?).await?;
    let commissary = Commissary::new(lanes.clone(), custody);
    let terminal = TerminalId::parse("T1")?;
    let purchase = |number: usize| {
        let body = number.to_string();
        let request = ledger::Request {
            id: RequestId::derived(&["bench", "history", &body]),
            method: "custody.v1.CommissaryService/CreatePurchase",
            body: body.into_bytes(),
            actor: "bench".into(),
        };
        let line = |which: usize| {
            let product = ProductId::parse(&format!("P{}", 1 + (number + which * 7) % PRODUCTS))?;
            anyhow::Ok(OrderLine { product, quantity: 1 })
        };
        let lines = (0..3).map(line).collect::<Result<Vec<_>, _>>()?;
        let detainee = DetaineeId::parse(&format!("D{}", 1 + number % detainees))?;
        anyhow::Ok((request, detainee, lines))
    };
    stream::iter(0..history)
        .map(|number| {
            let (commissary, center, terminal) = (&commissary, &center, terminal.clone());
            async move {
                let (request, detainee, lines) = purchase(number)?;
                commissary.purchase(center, request, detainee, terminal, lines).await?;
                anyhow::Ok(())
            }
        })
        .buffer_unordered(MADE_IN_FLIGHT)
        .try_for_each(|()| std::future::ready(Ok(())))
        .await?;
    lanes.close().await;
    database.close().await;
    store::wait_for_disk(url, true).await?;
    Ok(())
}

/// Reads balances, then pages of statements, of detainees at random.
async fn read(
    arena: &Arena,
    target: &Target,
    token: &str,
    in_flight: usize,
    length: Duration,
) -> anyhow::Result<(Reading, Reading)> {
    let meter = arena.meter()?;
    let bearer = load::bearer(token)?;
    let parent = format!("centers/{}", target.center);
    let names: Vec<String> = target
        .detainees
        .iter()
        .map(|id| format!("{parent}/detainees/{id}"))
        .collect();
    let channels = load::connect(arena.address()).await?;
    let clients: Vec<_> = channels.into_iter().map(CustodyServiceClient::new).collect();
    let asked = {
        let (clients, names, bearer) = (clients.clone(), names.clone(), bearer.clone());
        move |worker: usize| {
            let mut client = clients[worker % clients.len()].clone();
            let detainee = names[rand::rng().random_range(0..names.len())].clone();
            let mut request = Request::new(GetBalancesRequest { detainee });
            request.metadata_mut().insert("authorization", bearer.clone());
            async move {
                client.get_balances(request).await.context("balances")?;
                Ok(())
            }
        }
    };
    let balance = load::measure(meter, in_flight, length, asked).await?;
    let asked = move |worker: usize| {
        let mut client = clients[worker % clients.len()].clone();
        let mut request = Request::new(ListStatementLinesRequest {
            parent: names[rand::rng().random_range(0..names.len())].clone(),
            page_size: STATEMENT_LINES,
            ..ListStatementLinesRequest::default()
        });
        request.metadata_mut().insert("authorization", bearer.clone());
        async move {
            client.list_statement_lines(request).await.context("statement")?;
            Ok(())
        }
    };
    let statement = load::measure(meter, in_flight, length, asked).await?;
    Ok((Reading::of(&balance), Reading::of(&statement)))
}

/// Closes the vendor's settlement over all that was sold until today, by a service whose clock is two days on.
async fn settle(arena: &mut Arena, target: &Target, token: &str) -> anyhow::Result<Settled> {
    let today = Clock::system().now();
    let later = (today + time::Duration::days(2)).format(&Rfc3339)?;
    arena.restart(&["--dev", "--dev-clock", &later]).await?;
    let channel = Endpoint::from_shared(format!("http://{}", arena.address()))?
        .connect()
        .await?;
    let parent = format!("centers/{}", target.center);
    let mut request = Request::new(CloseSettlementRequest {
        vendor: format!("{parent}/vendors/V1"),
        parent,
        through_date: (today + time::Duration::days(1)).date().to_string(),
        request_id: uuid::Uuid::new_v4().to_string(),
    });
    request.metadata_mut().insert("authorization", load::bearer(token)?);
    let rss_before_mib = arena.server_rss_mib()?;
    let start = Instant::now();
    let settlement = SettlementServiceClient::new(channel)
        .close_settlement(request)
        .await?
        .into_inner();
    Ok(Settled {
        seconds: (start.elapsed().as_secs_f64() * 100.0).round() / 100.0,
        sales: u64::try_from(settlement.line_count)?,
        rss_before_mib,
        rss_after_mib: arena.server_rss_mib()?,
    })
}
