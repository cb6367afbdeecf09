//! Running the service: database, lanes, domains, doors; and stopping it in the opposite order.

mod banks;
mod channels;

use std::{io::Write as _, sync::Arc};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use tokio::{net::TcpListener, task::JoinHandle};
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
    config::{Config, Server},
    contract::Contracts,
    custody::Custody,
    db::{self, Database, embedded::Embedded},
    distribution::Distributions,
    jobs::{self, status::Watched},
    ledger::Lanes,
    payer::{Payers, SmsSender, Vault},
    payment::Payments,
    reconciliation::Reconciliations,
    refund::{Refunds, Review, ReviewRunner},
    remittance::Remittances,
    settlement::Settlements,
    transfer::Transfers,
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
    let payers = payers(config, &database, &clock).await?;
    let commissary = Commissary::new(lanes.clone(), custody.clone());
    let listener = listen(config).await?;
    let address = listener.local_addr()?;
    let channels = channels::open(config, address, &clock)?;
    let remittances = Remittances::new(lanes.clone(), custody.clone(), channels.clone());
    let refunds = Refunds::new(lanes.clone(), custody.clone(), channels.clone());
    let reconciliations = Reconciliations::new(lanes.clone(), custody.clone(), channels.clone());
    // Who runs what was allowed, kind by kind.
    let unmatched = UnmatchedSums::new(lanes.clone(), custody.clone());
    let transfers = Transfers::new(lanes.clone(), custody.clone(), payers.clone());
    let distributions = Distributions::new(lanes.clone(), custody.clone());
    let following = following(&transfers, &unmatched, &remittances, &refunds);
    let runners = following.into_iter().chain(refunds.runners());
    let runners = runners.chain(distributions.runners()).chain(commissary.runners());
    let (settlements, contracts) = (Settlements::new(lanes.clone()), Contracts::new(lanes.clone()));
    let payments = Payments::new(lanes.clone(), settlements.clone(), banks::open(config)?);
    let runners = runners
        .chain([settlements.runner(), contracts.runner()])
        .chain(transfers.runners());
    let desk = Desk::new(lanes.clone(), runners);
    let watched = Watched::new(database.clone(), clock);
    let router = server::router(Doors {
        lanes: lanes.clone(),
        custody: custody.clone(),
        commissary,
        distributions,
        payers,
        remittances: remittances.clone(),
        settlements,
        contracts,
        payments,
        refunds: refunds.clone(),
        reconciliations,
        desk: desk.clone(),
        transfers: transfers.clone(),
        unmatched,
        work: WorkQueue::new(lanes.clone()),
        auth,
        message_size_max: config.limits.message_size_max_bytes,
        stop: stop.clone(),
    })
    .await?;

    let polling = start_polling((remittances, refunds, transfers), &custody, &watched, &stop);
    let deciding = tokio::spawn(jobs::approvals::run(desk, custody, watched, stop.clone()));
    let keeping = tokio::spawn(jobs::keys::run(channels, stop.clone()));
    announce(&format!("custody ready on {address}"))?;
    let served = server::serve(listener, router, stop.clone()).await;
    stop.cancel();
    for job in polling {
        job.await?;
    }
    deciding.await?;
    keeping.await?;
    lanes.close().await;
    database.close().await;
    Ok(served?)
}

/// Runners of what is for somebody, which follows who has moved.
fn following(
    transfers: &Transfers,
    unmatched: &UnmatchedSums,
    remittances: &Remittances,
    refunds: &Refunds,
) -> Vec<Arc<dyn Runner>> {
    let review = |review| Arc::new(ReviewRunner::new(review, remittances.clone(), refunds.clone())) as Arc<dyn Runner>;
    let of_reviews = [review(Review::Release), review(Review::Reject)];
    let all = unmatched.runners().into_iter().chain(of_reviews);
    all.map(|runner| transfers.following(runner)).collect()
}

/// Starts what asks gateways, and what sends late money after people.
fn start_polling(
    (remittances, refunds, transfers): (Remittances, Refunds, Transfers),
    custody: &Custody,
    watched: &Watched,
    stop: &CancellationToken,
) -> [JoinHandle<()>; 2] {
    let (custody, watched, stop) = (custody.clone(), watched.clone(), stop.clone());
    let follow = jobs::polling::follow(
        remittances.clone(),
        transfers,
        custody.clone(),
        watched.clone(),
        stop.clone(),
    );
    let poll = jobs::polling::run(remittances, refunds, custody, watched, stop);
    [tokio::spawn(poll), tokio::spawn(follow)]
}

async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    let address = config.server.listen;
    let listener = TcpListener::bind(address).await;
    listener.with_context(|| format!("cannot listen on {address}"))
}

/// Payers, with the keys of their identity numbers, of which none may be missing, and the sender of codes if there is one.
async fn payers(config: &Config, database: &Database, clock: &Clock) -> anyhow::Result<Payers> {
    let told = &config.payers;
    let (keys, file) = (told.identity_keys.as_ref(), told.identity_key_file.as_deref());
    let vault = Vault::load(&config.server.data_dir, keys, file).context("the keys of identity numbers")?;
    let sms = match (&told.sms_url, &told.sms_secret) {
        (Some(url), Some(secret)) => Some(SmsSender::try_new(url, secret.clone())?),
        _ => None,
    };
    let payers = Payers::new(database.clone(), clock.clone(), vault, sms);
    let missing = payers.missing_keys().await?;
    anyhow::ensure!(
        missing.is_empty(),
        "identity numbers in the database are sealed with keys that this process does not have ({}): give all processes \
         the same keys, by payers.identity_key_file or payers.identity_keys",
        missing.join(", ")
    );
    Ok(payers)
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
