//! `gateway-simulator`: plays the webhook gateway, WeChat Pay and Alipay over real HTTP, with faults on command, for demonstrations and tests.
//!
//! It keeps everything in memory. The payment API of `webhook::wire` asks for signed requests; the control API under
//! `/control` asks for nothing, so listen on a loopback address only.
//!
//! # Layout
//! - `book`: orders and refunds, and what may be done to them; no I/O.
//! - `bill`: the day's bill, and the mistakes planted in it.
//! - `books`: what the gateways' own books say, to compare a ledger with.
//! - `faults`: standing fault rates, and the seeded generator that chooses where they strike.
//! - `refunding`: how a refund gets its outcome.
//! - `courier`: sends notifications: signed, repeated until accepted, held, lost or forged on command.
//! - `letters`: notifications, in the words of the gateway whose face an order has.
//! - `payment_api`, `control_api`: the webhook gateway's face, and the one that plays the payers and breaks things.
//! - `wechat`: WeChat Pay's face. `alipay`: Alipay's.
//! - `control`: bodies of the control API, and `SimulatorControl`, its client.

pub mod alipay;
mod bill;
mod book;
pub mod books;
pub mod control;
mod control_api;
mod courier;
pub mod faults;
mod letters;
mod payment_api;
mod refunding;
#[cfg(test)]
mod tests;
pub mod wechat;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    http::StatusCode,
    middleware,
    response::{IntoResponse, Response},
};
use secrecy::SecretString;
use time::{UtcOffset, macros::offset};
use tokio::net::TcpListener;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use uuid::Uuid;

pub use self::control::SimulatorControl;
use self::{
    alipay::{Alipay, keys::AlipayKeys},
    book::{Book, Refusal},
    courier::Courier,
    faults::{FaultRates, Faults},
    wechat::{WechatPay, keys::WechatPayKeys},
};
use super::webhook::wire::RefusalBody;
use crate::clock::Clock;

/// How often and how long a notification is tried.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// The pause after the first failed attempt; each later one is twice as long.
    pub pause_first: Duration,
    /// No pause is longer.
    pub pause_max: Duration,
    /// After so many attempts the simulator gives up.
    pub attempts_max: u32,
    /// How long it waits for an answer.
    pub answer_timeout: Duration,
}

impl Default for RetryPolicy {
    /// Half a second to a minute, 15 attempts: about 7 minutes in all.
    fn default() -> Self {
        RetryPolicy {
            pause_first: Duration::from_millis(500),
            pause_max: Duration::from_secs(60),
            attempts_max: 15,
            answer_timeout: Duration::from_secs(5),
        }
    }
}

/// The simulator's settings.
#[derive(Debug, Clone)]
pub struct SimulatorConfig {
    /// Where to listen; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Shared with the service.
    pub secret: SecretString,
    pub retry: RetryPolicy,
    /// Where the gateway's business day begins: the bill of a date covers that date at this offset.
    pub bill_offset: UtcOffset,
    /// The keys of a merchant of WeChat Pay. Without them only the webhook gateway is played.
    pub wechat_pay: Option<WechatPayKeys>,
    /// The keys of an application of Alipay's. Without them Alipay is not played.
    pub alipay: Option<AlipayKeys>,
    /// The standing faults at the start.
    pub faults: FaultRates,
}

impl SimulatorConfig {
    /// The usual settings: default retries, and days as in Beijing (+08:00).
    pub fn new(listen: SocketAddr, secret: SecretString) -> Self {
        SimulatorConfig {
            listen,
            secret,
            retry: RetryPolicy::default(),
            bill_offset: offset!(+8),
            wechat_pay: None,
            alipay: None,
            faults: FaultRates::default(),
        }
    }
}

/// A running simulator. Dropping it stops it.
pub struct Simulator {
    address: SocketAddr,
    tasks: TaskTracker,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Simulator {
    /// Starts to listen; it serves once this returns.
    pub async fn start(config: SimulatorConfig, clock: Clock) -> std::io::Result<Simulator> {
        let listener = TcpListener::bind(config.listen).await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let faults = Faults::try_new(config.faults, stop.clone()).map_err(std::io::Error::other)?;
        let faults = Arc::new(faults);
        let courier = Courier::new(clock.clone(), config.retry, tasks.clone(), stop.clone(), faults.clone())
            .map_err(std::io::Error::other)?;
        // Numbers begin with the run, so that a simulator started anew never repeats an old one's.
        let run = Uuid::new_v4().simple().to_string()[..8].to_owned();
        let wechat_pay = config.wechat_pay.as_ref().map(WechatPay::of);
        let alipay = config.alipay.as_ref().map(Alipay::of).transpose();
        let gateway = Arc::new(Gateway {
            alipay: alipay.map_err(std::io::Error::other)?.map(Arc::new),
            secret: config.secret,
            clock,
            base_url: format!("http://{address}"),
            bill_offset: config.bill_offset,
            book: Mutex::new(Book::new(run)),
            courier: Arc::new(courier),
            faults,
            wechat_pay: wechat_pay.transpose().map_err(std::io::Error::other)?.map(Arc::new),
        });
        let mut router = Router::new().merge(payment_api::router(gateway.clone()));
        if gateway.wechat_pay.is_some() {
            router = router.merge(wechat::router(gateway.clone()));
        }
        if gateway.alipay.is_some() {
            router = router.merge(alipay::router());
        }
        let router = router.layer(middleware::from_fn_with_state(gateway.clone(), faults::strike));
        let router = router.nest("/control", control_api::router()).with_state(gateway);
        let stopped = stop.clone().cancelled_owned();
        tasks.spawn(async move {
            if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
                tracing::error!(%error, "gateway simulator stopped serving");
            }
        });
        Ok(Simulator {
            address,
            tasks,
            _stop_on_drop: stop.clone().drop_guard(),
            stop,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The base URL for `WebhookConfig` and `SimulatorControl`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops serving and sending, and waits until both have ended.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

/// The command `gateway-simulator`: serves until SIGTERM or Ctrl-C, and prints
/// `gateway simulator ready on ADDRESS` once it can.
pub async fn run(config: SimulatorConfig, clock: Clock) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let simulator = Simulator::start(config, clock).await?;
    println!("gateway simulator ready on {}", simulator.address());
    tokio::select! {
        _ = terminate.recv() => {}
        outcome = tokio::signal::ctrl_c() => outcome?,
    }
    simulator.stop().await;
    Ok(())
}

/// What both HTTP faces share.
struct Gateway {
    secret: SecretString,
    clock: Clock,
    base_url: String,
    bill_offset: UtcOffset,
    book: Mutex<Book>,
    courier: Arc<Courier>,
    faults: Arc<Faults>,
    alipay: Option<Arc<Alipay>>,
    wechat_pay: Option<Arc<WechatPay>>,
}

impl Gateway {
    fn wechat_pay(&self) -> Result<&Arc<WechatPay>, Refusal> {
        let none = || Refusal::Invalid("there is no merchant of WeChat Pay".to_owned());
        self.wechat_pay.as_ref().ok_or_else(none)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        locked(&self.book)
    }
}

/// Locks. A panic elsewhere cannot leave our plain maps half-changed in a way that matters to a simulator.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.http_code()).unwrap_or(StatusCode::BAD_REQUEST);
        (
            code,
            Json(RefusalBody {
                code: self.code().to_owned(),
                message: self.to_string(),
            }),
        )
            .into_response()
    }
}

/// Reads a JSON body; an empty one reads as `{}`.
fn read_json<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| Refusal::Invalid(error.to_string()))
}
