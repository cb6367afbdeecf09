//! The command line: reads arguments, and hands over to the library.
//!
//! # Layout
//! - `bank`: `custody bank-simulator`.
//! - `catalogue`: `custody catalogue import` and `export`.
//! - `reconcile`: `custody reconcile import`.
//! - `statement`: `custody statement export` and `verify`.
//! - `token`: `custody token issue`.
//! - `verify`: `custody verify`.

mod bank;
mod catalogue;
mod reconcile;
mod statement;
mod token;
mod verify;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use custody_ledger::clock::Clock;
use custody_ledger::config::{Config, ServeFlags};
use custody_ledger::gateway::simulator::{
    self, SimulatorConfig, alipay::keys::AlipayKeys, faults::FaultRates, wechat::keys::WechatPayKeys,
};
use custody_ledger::telemetry;
use secrecy::SecretString;

/// The exit code of a command that could not be carried out, where 1 says something else.
const UNDONE: u8 = 2;

/// A cashless detention-center ledger: remittance, distribution, commissary, settlement and refund over exact double entry.
#[derive(Parser)]
#[command(name = "custody", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the service: gRPC, gRPC-Web, health, reflection and gateway notifications on one port.
    ///
    /// Every setting can also be given in the file of --config, as `key` under `[section]`, and in the environment, as
    /// CUSTODY_SECTION_KEY. A flag wins over the environment, and that over the file.
    Serve(Box<ServeFlags>),
    /// Bearer tokens.
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Replay every journal and compare it with all that is stored beside it.
    ///
    /// Exit code 0: everything agrees. 1: something differs; the first difference is named. 2: it could not be done.
    Verify(verify::VerifyFlags),
    /// The gateways' bills.
    #[command(subcommand)]
    Reconcile(reconcile::ReconcileCommand),
    /// A center's products as a file.
    #[command(subcommand)]
    Catalogue(catalogue::CatalogueCommand),
    /// The signed statement of a whole stay.
    #[command(subcommand)]
    Statement(statement::StatementCommand),
    /// Show the main job end to end, in a service and a gateway of its own: remit, buy, settle, refund, release, prove.
    Demo(custody_ledger::demo::DemoFlags),
    /// Measure purchases against the no-op limit and PostgreSQL's own benchmark.
    Bench(custody_ledger::bench::BenchFlags),
    /// Sell at a terminal: the reference client, which never loses or doubles a sale.
    ///
    /// Exit code 0: done. 1: refused; nothing was sold. 2: it could not be tried (arguments, directory, network). 3: the outcome is
    /// not known; it is in the queue, and `resume` goes on. 4: the same, and somebody has to look first, for example because the
    /// service does not accept the terminal's credentials any more.
    Terminal(custody_ledger::till::TerminalFlags),
    /// Play the payment gateway over HTTP, for demonstrations and tests.
    GatewaySimulator(GatewaySimulatorFlags),
    /// Play the bank: take a payment file (pain.001), and write its status (pain.002) and a statement (camt.053).
    BankSimulator(bank::BankSimulatorFlags),
}

#[derive(clap::Args)]
struct GatewaySimulatorFlags {
    /// Where to listen; port 0 picks a free one. Its control API asks for no credential: keep to a loopback address.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7500")]
    listen: SocketAddr,
    /// The secret shared with the service.
    #[arg(long, value_name = "SECRET", env = "CUSTODY_GATEWAY_SECRET", hide_env_values = true)]
    secret: SecretString,
    /// Play WeChat Pay, too, with the keys in this directory, made there if it has none. Its `custody.toml` is a configuration
    /// for `custody serve --config`.
    #[arg(long, value_name = "DIR")]
    wechat_keys: Option<PathBuf>,
    /// Play Alipay, too, with the keys in this directory, made there if it has none. Its `custody.toml` is a configuration for
    /// `custody serve --config`.
    #[arg(long, value_name = "DIR")]
    alipay_keys: Option<PathBuf>,
    #[command(flatten)]
    faults: FaultRates,
    #[command(flatten)]
    clock: ClockFlags,
}

/// The flags that set the clock, as `custody serve` has them.
#[derive(clap::Args)]
struct ClockFlags {
    /// Allow what only developers may do.
    #[arg(long)]
    dev: bool,
    /// Take this for the time at the start (RFC 3339); only with --dev.
    #[arg(long, value_name = "TIME", requires = "dev", value_parser = custody_ledger::config::parse_time)]
    dev_clock: Option<time::OffsetDateTime>,
}

impl ClockFlags {
    fn clock(&self) -> Clock {
        self.dev_clock.map_or_else(Clock::system, Clock::starting_at)
    }
}

/// Runs a command to its end.
///
/// # Errors
/// Whatever keeps it from doing its work. A command that worked and has bad news, as a proof that does not hold,
/// answers with a failing exit code instead.
pub fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Token(command) => {
            token::run(command)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve(flags) => in_runtime("custody", async {
            let config = Config::load(*flags).context("configuration")?;
            custody_ledger::serve::run(config).await?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Verify(flags) => or_undone(in_runtime("custody", verify::run(flags))),
        Command::Reconcile(command) => or_undone(in_runtime("custody", reconcile::run(command))),
        Command::Catalogue(command) => or_undone(in_runtime("custody", catalogue::run(command))),
        Command::Statement(command) => or_undone(in_runtime("custody", statement::run(command))),
        Command::Demo(flags) => in_runtime("custody-demo", custody_ledger::demo::run(flags)),
        Command::Bench(flags) => in_runtime("custody-bench", async {
            custody_ledger::bench::run(flags).await?;
            Ok(ExitCode::SUCCESS)
        }),
        Command::Terminal(flags) => or_undone(custody_ledger::till::run(flags)),
        Command::BankSimulator(flags) => {
            bank::run(&flags)?;
            Ok(ExitCode::SUCCESS)
        }
        Command::GatewaySimulator(flags) => in_runtime("custody-gateway-simulator", async {
            let clock = flags.clock.clock();
            let mut config = SimulatorConfig::new(flags.listen, flags.secret);
            config.faults = flags.faults;
            let mut tables = BTreeMap::new();
            if let Some(directory) = &flags.wechat_keys {
                config.wechat_pay = Some(wechat_keys(directory, flags.listen, &mut tables)?);
            }
            if let Some(directory) = &flags.alipay_keys {
                config.alipay = Some(alipay_keys(directory, flags.listen, &mut tables)?);
            }
            for (path, text) in tables {
                std::fs::write(&path, text).with_context(|| path.display().to_string())?;
            }
            simulator::run(config, clock).await.context("gateway simulator")?;
            Ok(ExitCode::SUCCESS)
        }),
    }
}

/// Configurations for the service by their paths: one for each directory of keys, whether of one gateway or of both.
type Tables = BTreeMap<PathBuf, String>;

/// The keys of a simulated application of Alipay's, and beside them a configuration that makes it a channel of the service.
fn alipay_keys(directory: &Path, listen: SocketAddr, tables: &mut Tables) -> anyhow::Result<AlipayKeys> {
    let keys = AlipayKeys::load_or_generate(directory).context("keys of Alipay")?;
    let directory = directory.canonicalize().context("keys of Alipay")?;
    let table = keys.service_table("alipay", &directory, &format!("http://{listen}"));
    tables
        .entry(directory.join("custody.toml"))
        .or_default()
        .push_str(&table);
    Ok(keys)
}

/// The keys of a simulated merchant of WeChat Pay, and beside them a configuration that makes it a channel of the service.
fn wechat_keys(directory: &Path, listen: SocketAddr, tables: &mut Tables) -> anyhow::Result<WechatPayKeys> {
    let keys = WechatPayKeys::load_or_generate(directory).context("keys of WeChat Pay")?;
    let directory = directory.canonicalize().context("keys of WeChat Pay")?;
    let table = keys.service_table("wechat", &directory, &format!("http://{listen}"));
    let table = table.context("keys of WeChat Pay")?;
    tables
        .entry(directory.join("custody.toml"))
        .or_default()
        .push_str(&table);
    Ok(keys)
}

/// Tells "could not do it" from "did it, and has bad news", which is 1. Wrong arguments have the same code.
fn or_undone(done: anyhow::Result<ExitCode>) -> anyhow::Result<ExitCode> {
    done.or_else(|error| {
        eprintln!("custody: {error:#}");
        Ok(ExitCode::from(UNDONE))
    })
}

/// Starts the runtime and telemetry, and sends what telemetry still holds before the runtime ends.
fn in_runtime(service: &str, work: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the runtime")?;
    runtime.block_on(async {
        let _telemetry = telemetry::init(service)?;
        work.await
    })
}
