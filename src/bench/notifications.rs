//! Signed and sealed notifications of WeChat Pay over HTTP/1.1, from kept connections: verified, decrypted, credited and distributed.
//!
//! They are compared, within one run, with a static answer of the same server to the same client.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::{
    arena::Arena,
    cpu::{Meter, PerCall},
    load::Measured,
    orders, store,
};
use crate::{
    clock::Clock, custody::Custody, db::Database, gateway::simulator::wechat::keys::WechatPayKeys, ids::CenterId,
    verification,
};

/// The most detainees that orders are spread over: each needs a link of its own.
const DETAINEES_MAX: usize = 500;
/// Orders made for each second that is measured, unless told: more than can be credited.
const ORDERS_PER_S: usize = 4000;
/// Longest latency that is told apart, in microseconds.
const LATENCY_MAX_US: u64 = 60_000_000;
/// The most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 4096;

/// One run.
#[derive(Debug, Serialize)]
pub struct NotificationsReport {
    in_flight: usize,
    notifications: u64,
    notifications_per_s: f64,
    p50_us: u64,
    p99_us: u64,
    static_per_s: f64,
    ratio_static: f64,
    cpu_us_per_notification: PerCall,
    cpu_us_per_static: PerCall,
    /// Orders credited by the whole run, warming up included: as many as were posted, each once.
    credited: i64,
    proof_holds: bool,
}

/// Measures. `orders` is how many are made; when they run out, the measurement ends.
pub async fn run(
    in_flight: usize,
    detainees: usize,
    orders: Option<usize>,
    length: Duration,
) -> anyhow::Result<NotificationsReport> {
    let detainees = detainees.clamp(1, DETAINEES_MAX);
    let configure = |directory: &Path| {
        let kept = directory.join("gateway");
        let keys = WechatPayKeys::load_or_generate(&kept)?;
        // Nobody is there: nothing that is measured asks the gateway.
        let table = keys.service_table(orders::CHANNEL, &kept, "http://127.0.0.1:9/")?;
        Ok((keys, table))
    };
    let (arena, keys) = Arena::open_with(&[detainees], configure).await?;
    let seconds = usize::try_from(length.as_secs())?.max(1);
    let count = orders.unwrap_or(ORDERS_PER_S * seconds * 6 / 5);
    let made = orders::open(arena.database_url(), arena.data_dir(), detainees, count).await?;
    let meter = arena.meter()?;
    let get = format!("GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n", arena.address());
    let statics = post(
        arena.address(),
        meter,
        in_flight,
        length / 2,
        vec![get.into_bytes()],
        true,
    )
    .await?;
    let letters = orders::letters(&keys, arena.address(), &made)?;
    let told = post(arena.address(), meter, in_flight, length, letters, false).await?;
    let (credited, proof_holds) = check(arena.database_url(), told.sent).await?;
    arena.close().await?;
    let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
    let (told, statics) = (told.measured, statics.measured);
    Ok(NotificationsReport {
        in_flight,
        notifications: told.calls,
        notifications_per_s: told.per_second().round(),
        p50_us: told.latencies.value_at_quantile(0.5),
        p99_us: told.latencies.value_at_quantile(0.99),
        static_per_s: statics.per_second().round(),
        ratio_static: rounded(told.per_second() / statics.per_second()),
        cpu_us_per_notification: told.cpu,
        cpu_us_per_static: statics.cpu,
        credited,
        proof_holds,
    })
}

/// What was sent, and what of it was measured.
struct Sent {
    sent: i64,
    measured: Measured,
}

/// Sends requests one after the other on `in_flight` connections, each once, or the first again and again. A fifth of the time warms
/// up and is not measured.
async fn post(
    address: &str,
    meter: Meter,
    in_flight: usize,
    length: Duration,
    requests: Vec<Vec<u8>>,
    again: bool,
) -> anyhow::Result<Sent> {
    let (requests, next) = (Arc::new(requests), Arc::new(AtomicUsize::new(0)));
    let start = Instant::now() + length / 5;
    let end = start + length;
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..in_flight {
        let mut stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (requests, next) = (requests.clone(), next.clone());
        workers.spawn(async move {
            let mut latencies = Histogram::<u64>::new_with_max(LATENCY_MAX_US, 3)?;
            let mut sent_in_all = 0_i64;
            loop {
                let sent = Instant::now();
                let number = next.fetch_add(1, Ordering::Relaxed);
                let request = if again { requests.first() } else { requests.get(number) };
                let Some(request) = request.filter(|_| sent < end) else {
                    return anyhow::Ok((latencies, sent_in_all, sent));
                };
                stream.write_all(request).await?;
                answer(&mut stream).await?;
                sent_in_all += 1;
                if sent >= start {
                    latencies.saturating_record(u64::try_from(sent.elapsed().as_micros())?);
                }
            }
        });
    }
    tokio::time::sleep_until(start.into()).await;
    let before = meter.read();
    let (mut latencies, mut sent) = (Histogram::<u64>::new_with_max(LATENCY_MAX_US, 3)?, 0);
    let mut last = start;
    while let Some(worker) = workers.join_next().await {
        let (of_worker, sent_by_it, ended) = worker??;
        latencies.add(of_worker)?;
        sent += sent_by_it;
        last = last.max(ended);
    }
    let after = meter.read();
    ensure!(
        !latencies.is_empty(),
        "everything was sent while warming up: make more orders"
    );
    Ok(Sent {
        sent,
        measured: Measured {
            calls: latencies.len(),
            cpu: after.since(before, latencies.len()),
            elapsed: last.duration_since(start),
            latencies,
        },
    })
}

/// Reads one answer, which must be a success.
async fn answer(stream: &mut TcpStream) -> anyhow::Result<()> {
    let mut bytes = Vec::with_capacity(512);
    loop {
        ensure!(bytes.len() < ANSWER_BYTES_MAX, "the answer is too long");
        ensure!(stream.read_buf(&mut bytes).await? > 0, "the service hung up");
        let Some(head) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let text = std::str::from_utf8(&bytes[..head]).context("the answer's head")?;
        let code = text.split(' ').nth(1).unwrap_or_default();
        if code != "200" && code != "204" {
            bail!("answered {text}");
        }
        let length = text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse().ok())?
        });
        let length: usize = if code == "204" { 0 } else { length.context("no length")? };
        if bytes.len() >= head + 4 + length {
            return Ok(());
        }
    }
}

/// Whether every notification that was sent was credited, exactly once, and everything verifies; how many were, and the proof.
async fn check(url: &str, sent: i64) -> anyhow::Result<(i64, bool)> {
    let database = Database::connect(url)?;
    let (credited, kept) = store::credited(url).await?;
    ensure!(
        credited == sent && kept == sent,
        "{sent} notifications were answered, {credited} orders credited, {kept} notifications kept with their credit"
    );
    let custody = Custody::new(database.clone(), Clock::system());
    let center = custody.center(&CenterId::parse("C1")?).await?;
    let verified = verification::verify_snapshot(&database, &center).await?;
    database.close().await;
    ensure!(verified.proof.holds(), "the proof does not hold");
    Ok((credited, verified.proof.holds()))
}
