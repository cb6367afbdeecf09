//! Calls kept in flight.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use rand::Rng;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    arena::Target,
    cpu::{Meter, PerCall},
};
use crate::proto::{CreatePurchaseLine, CreatePurchaseRequest, commissary_service_client::CommissaryServiceClient};

/// HTTP/2 connections that the calls are spread over.
const CONNECTIONS: usize = 4;
/// Longest latency that is told apart, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;

/// What was measured.
pub struct Measured {
    /// Calls that were answered.
    pub calls: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Latencies in microseconds.
    pub latencies: Histogram<u64>,
    /// What a call cost the processor.
    pub cpu: PerCall,
}

impl Measured {
    /// Calls a second.
    pub fn per_second(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }
}

/// Connections that calls are spread over.
pub async fn connect(address: &str) -> anyhow::Result<Vec<Channel>> {
    let mut channels = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        channels.push(
            Endpoint::from_shared(format!("http://{address}"))?
                .tcp_nodelay(true)
                .connect()
                .await?,
        );
    }
    Ok(channels)
}

/// The call that does nothing: the limit of this machine, this protocol and this load generator.
pub async fn health_checks(
    address: &str,
    meter: Meter,
    in_flight: usize,
    length: Duration,
) -> anyhow::Result<Measured> {
    let channels = connect(address).await?;
    let clients = channels.into_iter().map(HealthClient::new).collect::<Vec<_>>();
    measure(meter, in_flight, length, move |worker| {
        let mut client = clients[worker % clients.len()].clone();
        async move {
            client
                .check(HealthCheckRequest { service: String::new() })
                .await
                .context("health check")?;
            Ok(())
        }
    })
    .await
}

/// Purchases of 3 lines each.
pub async fn purchases(
    address: &str,
    meter: Meter,
    targets: &[Target],
    in_flight: usize,
    length: Duration,
) -> anyhow::Result<Measured> {
    let channels = connect(address).await?;
    let clients = channels
        .into_iter()
        .map(CommissaryServiceClient::new)
        .collect::<Vec<_>>();
    let tokens = targets
        .iter()
        .map(|target| bearer(&target.token))
        .collect::<Result<Vec<_>, _>>()?;
    let targets: Vec<(Names, Token)> = targets.iter().map(names).zip(tokens).collect();
    measure(meter, in_flight, length, move |worker| {
        let mut client = clients[worker % clients.len()].clone();
        let request = request(&targets);
        async move {
            client.create_purchase(request).await.context("purchase")?;
            Ok(())
        }
    })
    .await
}

fn request(targets: &[(Names, Token)]) -> Request<CreatePurchaseRequest> {
    let mut random = rand::rng();
    let (names, token) = &targets[random.random_range(0..targets.len())];
    let mut request = Request::new(purchase(names, &mut random));
    request.metadata_mut().insert("authorization", token.clone());
    request
}

type Token = MetadataValue<Ascii>;

/// What carries a token.
pub fn bearer(token: &str) -> anyhow::Result<Token> {
    Ok(MetadataValue::try_from(format!("Bearer {token}"))?)
}

struct Names {
    parent: String,
    detainees: Vec<String>,
    products: Vec<String>,
}

fn names(target: &Target) -> Names {
    let parent = format!("centers/{}", target.center);
    Names {
        detainees: target
            .detainees
            .iter()
            .map(|id| format!("{parent}/detainees/{id}"))
            .collect(),
        products: target
            .products
            .iter()
            .map(|id| format!("{parent}/products/{id}"))
            .collect(),
        parent,
    }
}

fn purchase(names: &Names, random: &mut impl Rng) -> CreatePurchaseRequest {
    let lines = (0..3)
        .map(|_| CreatePurchaseLine {
            product: names.products[random.random_range(0..names.products.len())].clone(),
            quantity: random.random_range(1..=3),
        })
        .collect();
    CreatePurchaseRequest {
        parent: names.parent.clone(),
        detainee: names.detainees[random.random_range(0..names.detainees.len())].clone(),
        lines,
        request_id: uuid::Builder::from_random_bytes(random.random())
            .into_uuid()
            .to_string(),
    }
}

/// Keeps calls in flight for a time, after a fifth of it to warm up.
pub async fn measure<F, C>(meter: Meter, in_flight: usize, length: Duration, call: C) -> anyhow::Result<Measured>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
    C: Fn(usize) -> F + Send + Sync + 'static,
{
    let call = Arc::new(call);
    // A fifth of the time warms up: connections, caches, prepared statements.
    let start = Instant::now() + length / 5;
    let end = start + length;
    let mut workers = tokio::task::JoinSet::new();
    for worker in 0..in_flight {
        let call = call.clone();
        workers.spawn(async move {
            let mut latencies = Histogram::<u64>::new_with_max(LATENCY_MAX_US, 3)?;
            loop {
                let sent = Instant::now();
                if sent >= end {
                    return anyhow::Ok(latencies);
                }
                call(worker).await?;
                if sent >= start {
                    latencies.saturating_record(u64::try_from(sent.elapsed().as_micros())?);
                }
            }
        });
    }
    tokio::time::sleep_until(start.into()).await;
    let before = meter.read();
    tokio::time::sleep_until(end.into()).await;
    let after = meter.read();
    let mut latencies = Histogram::<u64>::new_with_max(LATENCY_MAX_US, 3)?;
    while let Some(worker) = workers.join_next().await {
        latencies.add(worker??)?;
    }
    Ok(Measured {
        calls: latencies.len(),
        cpu: after.since(before, latencies.len()),
        elapsed: start.elapsed(),
        latencies,
    })
}
