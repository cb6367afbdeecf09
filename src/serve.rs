//! Running the service: database, lanes, domains, doors; and stopping it in the opposite order.

use std::{io::Write as _, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    access::{CachedVerifier, TokenKey, Verifier},
    api::{
        grpc::auth::AuthLayer,
        server::{self, Doors},
    },
    approval::{Desk, Runner},
    clock::Clock,
    commissary::Commissary,
    config::{Config, Gateway, Server},
    custody::Custody,
    db::{self, Database, embedded::Embedded},
    distribution::Distributions,
    gateway::{
        Channels, Gate,
        webhook::{WebhookChannel, WebhookConfig},
    },
    jobs::{self, status::Watched},
    ledger::Lanes,
    reconciliation::Reconciliations,
    refund::{Refunds, Review, ReviewRunner},
    remittance::Remittances,
    settlement::Settlements,
    unmatched::UnmatchedSums,
    work::WorkQueue,
};

/// Serves until SIGTERM or Ctrl-C, then lets calls and lanes finish, and stops the private PostgreSQL if there is one.
pub async fn run(config: Config) -> anyhow::Result<()> {
    let clock = config.dev.clock.map_or_else(Clock::system, Clock::starting_at);
    let stop = CancellationToken::new();
    tokio::spawn(cancel_on_signal(stop.clone()));
    let (embedded, url) = open_database(&config.server).await?;
    let served = serve(&config, clock, &url, stop).await;
    let stopped = match embedded {
        Some(embedded) => embedded.stop().await.context("stopping PostgreSQL"),
        None => Ok(()),
    };
    // What went wrong first is what is told.
    served.and(stopped)
}

/// The database that was named, or a private one.
async fn open_database(server: &Server) -> anyhow::Result<(Option<Embedded>, String)> {
    match &server.database_url {
        Some(url) => Ok((None, url.expose_secret().to_owned())),
        None => {
            let (embedded, url) = Embedded::start(&server.data_dir)
                .await
                .context("the private PostgreSQL")?;
            Ok((Some(embedded), url))
        }
    }
}

async fn serve(config: &Config, clock: Clock, url: &str, stop: CancellationToken) -> anyhow::Result<()> {
    // It may wait for another process's.
    let Some(migrated) = stop.run_until_cancelled(db::migrate(url)).await else {
        return Ok(());
    };
    migrated?;
    let database = Database::connect(url)?;
    let lanes = Lanes::new(database.clone(), clock.clone(), config.limits.lane_queue_max);
    let key = TokenKey::load_or_create(&config.server.data_dir)?;
    let auth = AuthLayer::new(CachedVerifier::new(Verifier::new(key.public())), clock.clone());
    let custody = Custody::new(database.clone(), clock.clone());
    let commissary = Commissary::new(lanes.clone(), custody.clone());
    let message_size_max = config.limits.message_size_max_bytes;
    let listen = config.server.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let channels = channels(config.gateway.as_ref(), address, clock.clone())?;
    let remittances = Remittances::new(lanes.clone(), custody.clone(), channels.clone());
    let refunds = Refunds::new(lanes.clone(), custody.clone(), channels.clone());
    let reconciliations = Reconciliations::new(lanes.clone(), custody.clone(), channels);
    // Who runs what was allowed, kind by kind.
    let unmatched = UnmatchedSums::new(lanes.clone(), custody.clone());
    let reviews = [Review::Release, Review::Reject]
        .map(|review| Arc::new(ReviewRunner::new(review, remittances.clone(), refunds.clone())) as Arc<dyn Runner>);
    let desk = Desk::new(lanes.clone(), unmatched.runners().into_iter().chain(reviews));
    let watched = Watched::new(database.clone(), clock);
    let router = server::router(Doors {
        lanes: lanes.clone(),
        custody: custody.clone(),
        commissary,
        distributions: Distributions::new(lanes.clone(), custody.clone()),
        remittances: remittances.clone(),
        settlements: Settlements::new(lanes.clone()),
        refunds: refunds.clone(),
        reconciliations,
        desk: desk.clone(),
        unmatched,
        work: WorkQueue::new(lanes.clone()),
        auth,
        message_size_max,
        stop: stop.clone(),
    })
    .await?;

    let polling = tokio::spawn(jobs::polling::run(
        remittances,
        refunds,
        custody.clone(),
        watched,
        stop.clone(),
    ));
    let deciding = tokio::spawn(jobs::approvals::run(desk, custody, stop.clone()));
    announce(&format!("custody ready on {address}"))?;
    let served = server::serve(listener, router, stop.clone()).await;
    stop.cancel();
    polling.await?;
    deciding.await?;
    lanes.close().await;
    database.close().await;
    Ok(served?)
}

/// The one channel that the configuration names, if it does.
fn channels(gateway: Option<&Gateway>, address: SocketAddr, clock: Clock) -> anyhow::Result<Channels> {
    let Some(gateway) = gateway else {
        return Ok(Channels::default());
    };
    let config = WebhookConfig {
        id: gateway.channel.clone(),
        base_url: gateway.base_url.clone(),
        secret: gateway.secret.clone(),
    };
    let own = || format!("http://{address}/v1/notifications/{}", gateway.channel);
    Ok(Channels::new([Gate {
        channel: Arc::new(WebhookChannel::try_new(config, clock)?),
        notify_url: gateway.notify_url.clone().unwrap_or_else(own),
    }]))
}

/// Standard output may be a pipe that someone reads the address from: written at once.
fn announce(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}

async fn cancel_on_signal(stop: CancellationToken) {
    let terminated = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminated => {}
    }
    tracing::info!("stopping");
    stop.cancel();
}
