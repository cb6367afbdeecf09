//! Running the service: database, lanes, domains, doors; and stopping it in the opposite order.

mod banks;
mod channels;
mod ports;

use std::sync::Arc;

use anyhow::Context as _;
use futures::future::try_join_all;
use secrecy::ExposeSecret as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::ports::Ports;
use crate::{
    access::{CachedVerifier, TokenKey, Verifier},
    api::{
        grpc::auth::AuthLayer,
        server::{self, Doors},
    },
    approval::{Desk, Runner},
    beneficiary::Beneficiaries,
    clock::Clock,
    commissary::Commissary,
    config::{Config, Server},
    contract::Contracts,
    custody::Custody,
    db::{self, Database, embedded::Embedded},
    distribution::Distributions,
    ending::{Endings, statement::StatementKey},
    gateway::Channels,
    jobs::{self, status::Watched},
    ledger::Lanes,
    offline_sales::OfflineSales,
    payer::{Payers, SmsSender, Vault},
    payment::Payments,
    reconciliation::Reconciliations,
    refund::{Refunds, Review, ReviewRunner},
    remittance::Remittances,
    settlement::Settlements,
    terminal::{Authority, Pins, Terminals},
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
    let (ports, doors, looking) = open(config, &clock, &lanes, &stop).await?;
    let router = server::router(doors).await?;
    let jobs = looking.begin(&Watched::new(database.clone(), clock), &stop);
    ports.announce()?;
    let served = ports.serve(router, stop.clone()).await;
    stop.cancel();
    try_join_all(jobs).await?;
    lanes.close().await;
    database.close().await;
    Ok(served?)
}

/// Opens every room, who comes in by which door, and what the jobs look at.
async fn open(
    config: &Config,
    clock: &Clock,
    lanes: &Lanes,
    stop: &CancellationToken,
) -> anyhow::Result<(Ports, Doors, Looking)> {
    let database = lanes.database().clone();
    let key = TokenKey::load_or_create(&config.server.data_dir)?;
    let verifier = CachedVerifier::new(Verifier::new(key.public()));
    let custody = Custody::new(database.clone(), clock.clone());
    let payers = payers(config, &database, clock).await?;
    let commissary = Commissary::new(lanes.clone(), custody.clone());
    let terminals = terminals(config, &database, clock, key)?;
    let ports = Ports::open(config, &terminals, clock).await?;
    let channels = channels::open(config, ports.address, clock)?;
    let remittances = Remittances::new(lanes.clone(), custody.clone(), channels.clone());
    let refunds = Refunds::new(lanes.clone(), custody.clone(), channels.clone());
    let unmatched = UnmatchedSums::new(lanes.clone(), custody.clone());
    let transfers = Transfers::new(lanes.clone(), custody.clone(), payers.clone());
    let distributions = Distributions::new(lanes.clone(), custody.clone());
    let (settlements, contracts) = (Settlements::new(lanes.clone()), Contracts::new(lanes.clone()));
    let beneficiaries = Beneficiaries::new(lanes.clone(), payers.clone());
    let paid = (settlements.clone(), refunds.clone(), beneficiaries.clone());
    let payments = Payments::new(lanes.clone(), paid, banks::open(config)?);
    let offline_sales = OfflineSales::new(lanes.clone());
    let bank = [settlements.runner(), contracts.runner(), payments.runner()];
    let endings = Endings::new(lanes.clone(), custody.clone(), payers.vault());
    // Who runs what was allowed, kind by kind.
    let of_somebody = unmatched.runners().into_iter().chain(reviews(&remittances, &refunds));
    let runners = of_somebody.map(|runner| transfers.following(runner));
    let runners = runners.chain(refunds.runners()).chain(distributions.runners());
    let runners = runners.chain(commissary.runners()).chain(endings.runners());
    let runners = runners.chain([distributions.write_off_runner(), beneficiaries.runner()]);
    let runners = runners
        .chain(bank)
        .chain([offline_sales.runner()])
        .chain(transfers.runners());
    let statement_key = StatementKey::load_or_create(&config.server.data_dir).context("the key of statements")?;
    let desk = Desk::new(lanes.clone(), runners);
    let doors = Doors {
        lanes: lanes.clone(),
        commissary,
        distributions,
        payers,
        remittances,
        settlements,
        contracts,
        payments,
        beneficiaries,
        refunds,
        endings,
        statement_key: Arc::new(statement_key),
        reconciliations: Reconciliations::new(lanes.clone(), custody.clone(), channels.clone()),
        custody,
        desk,
        transfers,
        unmatched,
        work: WorkQueue::new(lanes.clone()),
        terminals,
        offline_sales,
        auth: AuthLayer::new(verifier, clock.clone()),
        message_size_max: config.limits.message_size_max_bytes,
        stop: stop.clone(),
    };
    let looking = Looking::of(&doors, channels);
    Ok((ports, doors, looking))
}

/// Who ends reviews of payments.
fn reviews(remittances: &Remittances, refunds: &Refunds) -> [Arc<dyn Runner>; 2] {
    [Review::Release, Review::Reject]
        .map(|review| Arc::new(ReviewRunner::new(review, remittances.clone(), refunds.clone())) as Arc<dyn Runner>)
}

/// What the jobs look at.
struct Looking {
    remittances: Remittances,
    refunds: Refunds,
    commissary: Commissary,
    offline_sales: OfflineSales,
    custody: Custody,
    endings: Endings,
    transfers: Transfers,
    desk: Desk,
    channels: Channels,
}

impl Looking {
    fn of(doors: &Doors, channels: Channels) -> Looking {
        Looking {
            remittances: doors.remittances.clone(),
            refunds: doors.refunds.clone(),
            commissary: doors.commissary.clone(),
            offline_sales: doors.offline_sales.clone(),
            custody: doors.custody.clone(),
            endings: doors.endings.clone(),
            transfers: doors.transfers.clone(),
            desk: doors.desk.clone(),
            channels,
        }
    }

    /// Starts every job; each runs until told to stop.
    fn begin(self, watched: &Watched, stop: &CancellationToken) -> [JoinHandle<()>; 7] {
        let (custody, watched, stop) = (|| self.custody.clone(), || watched.clone(), || stop.clone());
        [
            tokio::spawn(jobs::polling::run(
                self.remittances.clone(),
                self.refunds,
                custody(),
                watched(),
                stop(),
            )),
            tokio::spawn(jobs::polling::follow(
                self.remittances,
                self.transfers,
                custody(),
                watched(),
                stop(),
            )),
            tokio::spawn(jobs::holds::run(self.commissary, custody(), watched(), stop())),
            tokio::spawn(jobs::allowances::run(self.offline_sales, custody(), watched(), stop())),
            tokio::spawn(jobs::endings::run(self.endings, custody(), watched(), stop())),
            tokio::spawn(jobs::approvals::run(self.desk, custody(), watched(), stop())),
            tokio::spawn(jobs::keys::run(self.channels, stop())),
        ]
    }
}

/// Terminals, with the authority that signs their certificates.
fn terminals(config: &Config, database: &Database, clock: &Clock, key: TokenKey) -> anyhow::Result<Terminals> {
    let data_dir = &config.server.data_dir;
    let authority = Authority::load(data_dir, config.terminals.authority_files())?;
    let pins = Pins::load(data_dir)?;
    Ok(Terminals::new(database.clone(), clock.clone(), authority, key, pins))
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
