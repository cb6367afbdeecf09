//! The stage: the service with its private PostgreSQL and the gateway's simulator, each in a process of its own.

use std::{
    fs::{self, File, OpenOptions},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use secrecy::{ExposeSecret as _, SecretString};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use super::{cast::BANKS, desk::Desk};
use crate::{
    access::{Actor, Issuer, Role, Scope, TokenKey},
    clock::Clock,
    db::embedded::{self, Embedded},
    gateway::simulator::{SimulatorControl, alipay::keys::AlipayKeys, wechat::keys::WechatPayKeys},
    ids::{CenterId, PayerId, TerminalId},
    launch::{self, Program},
};

/// How many of the service's last words are told when the demonstration fails.
const LAST_WORDS: usize = 20;
/// How long the demonstration's tokens hold.
const TOKEN_TTL: Duration = Duration::days(3);

/// Where everything is kept.
enum Home {
    /// Removed at the end.
    Scratch(TempDir),
    /// Stays.
    Kept(PathBuf),
}

impl Home {
    fn path(&self) -> &Path {
        match self {
            Home::Scratch(directory) => directory.path(),
            Home::Kept(path) => path,
        }
    }
}

/// The processes, the clock that they agree on, and who may speak to them.
pub struct Stage {
    home: Home,
    clock: Clock,
    secret: SecretString,
    simulator: Option<Program>,
    service: Option<Program>,
    /// Where the service listens, or did last.
    address: String,
}

impl Stage {
    /// Makes room, in `keep` or in a directory that is removed at the end. Nothing is started yet.
    ///
    /// # Errors
    /// There is something in `keep` already.
    pub fn prepare(keep: Option<PathBuf>, time: OffsetDateTime) -> anyhow::Result<Stage> {
        let home = match keep {
            None => Home::Scratch(tempfile::Builder::new().prefix("custody-demo-").tempdir()?),
            Some(path) => {
                fs::create_dir_all(&path).with_context(|| format!("{} cannot be made", path.display()))?;
                if fs::read_dir(&path)?.next().is_some() {
                    bail!("--keep {}: the directory must be empty", path.display());
                }
                Home::Kept(path)
            }
        };
        Ok(Stage {
            home,
            clock: Clock::starting_at(time),
            secret: SecretString::from(Uuid::new_v4().simple().to_string()),
            simulator: None,
            service: None,
            address: String::new(),
        })
    }

    /// The directory of the service's data.
    pub fn directory(&self) -> &Path {
        self.home.path()
    }

    /// Starts the simulator with all its faces, and writes down the keys and channels for the service. Its first clock is the
    /// stage's; later it is turned with it.
    pub async fn start_simulator(&mut self) -> anyhow::Result<&str> {
        let (wechat, alipay) = (self.keys("wechat")?, self.keys("alipay")?);
        let wechat_keys = WechatPayKeys::load_or_generate(&wechat).context("keys of WeChat Pay")?;
        let alipay_keys = AlipayKeys::load_or_generate(&alipay).context("keys of Alipay")?;
        let mut command = launch::own("gateway-simulator")?;
        command
            .args(["--listen", "127.0.0.1:0", "--dev", "--dev-clock", &self.now()?])
            .arg("--wechat-keys")
            .arg(&wechat)
            .arg("--alipay-keys")
            .arg(&alipay)
            .env("CUSTODY_GATEWAY_SECRET", self.secret.expose_secret())
            .stderr(self.log()?);
        let simulator = Program::start(command, "gateway simulator ready on ")
            .await
            .context("the gateway's simulator")?;
        // Where it listens is known only now.
        let url = format!("http://{}", simulator.address());
        let channels = [
            wechat_keys.service_table("wechat", &wechat, &url)?,
            alipay_keys.service_table("alipay", &alipay, &url),
            // What finance uploads of this one brings the fees that were agreed.
            "[gateway]\nfee_rate = \"0.006\"\n".to_owned(),
            BANKS.to_owned(),
        ];
        fs::write(self.channels_path(), channels.join("\n")).context("the channels")?;
        Ok(self.simulator.insert(simulator).address())
    }

    /// Starts the service, or starts it again on what it left behind.
    pub async fn start_service(&mut self) -> anyhow::Result<&str> {
        self.start_service_on("127.0.0.1:0").await
    }

    /// Starts it again where it was, because somebody out there looks for it.
    pub async fn start_service_again(&mut self) -> anyhow::Result<&str> {
        let address = self.address.clone();
        self.start_service_on(&address).await
    }

    async fn start_service_on(&mut self, listen: &str) -> anyhow::Result<&str> {
        let gateway = self.gateway_url()?;
        let mut command = launch::own("serve")?;
        command
            .args(["--listen", listen, "--dev", "--dev-clock", &self.now()?])
            .args(["--gateway-url", &gateway, "--data-dir"])
            .arg(self.directory())
            .arg("--config")
            .arg(self.channels_path())
            .env("CUSTODY_GATEWAY_SECRET", self.secret.expose_secret())
            .stderr(self.log()?);
        let service = Program::start(command, "custody ready on ")
            .await
            .context("the service")?;
        service.address().clone_into(&mut self.address);
        Ok(self.service.insert(service).address())
    }

    /// Asks the service to stop, as an operator does.
    pub async fn stop_service(&mut self) -> anyhow::Result<()> {
        let service = self.service.take().context("the service is not running")?;
        service.stop().await.context("the service")
    }

    /// Kills the service in the midst of whatever it does, and tells which process it was. Its PostgreSQL goes on.
    pub async fn kill_service(&mut self) -> anyhow::Result<u32> {
        let service = self.service.take().context("the service is not running")?;
        let process = service.id().context("the service has ended by itself")?;
        service.kill().await.context("the service")?;
        Ok(process)
    }

    /// Turns the clock, here and at the gateway. The service has to be stopped: it reads the time when it starts.
    pub async fn turn_clock(&mut self, time: OffsetDateTime) -> anyhow::Result<()> {
        self.clock.turn_to(time);
        self.gateway()?.turn_clock(time).await?;
        Ok(())
    }

    /// What plays the payers at the gateway.
    pub fn gateway(&self) -> anyhow::Result<SimulatorControl> {
        Ok(SimulatorControl::try_new(self.gateway_url()?)?)
    }

    /// Where the gateway is.
    pub fn gateway_url(&self) -> anyhow::Result<String> {
        let simulator = self
            .simulator
            .as_ref()
            .context("the gateway's simulator is not running")?;
        Ok(format!("http://{}", simulator.address()))
    }

    /// What the service and the gateway share.
    pub fn secret(&self) -> SecretString {
        self.secret.clone()
    }

    /// The clock that everything on the stage agrees on.
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// A desk for an admin of all centers.
    pub fn admin(&self) -> anyhow::Result<Desk> {
        self.desk("admin", Role::Admin, Scope::default())
    }

    /// A desk for an auditor of all centers.
    pub fn auditor(&self) -> anyhow::Result<Desk> {
        self.desk("auditor", Role::Auditor, Scope::default())
    }

    /// A desk in a center's finance office.
    pub fn finance(&self, center: &str) -> anyhow::Result<Desk> {
        self.desk("finance", Role::Finance, scope(center)?)
    }

    /// Somebody else's desk in a center's finance office.
    pub fn cashier(&self, center: &str) -> anyhow::Result<Desk> {
        self.finance_of("cashier", center)
    }

    /// The desk of one of a center's finance office.
    pub fn finance_of(&self, subject: &str, center: &str) -> anyhow::Result<Desk> {
        self.desk(subject, Role::Finance, scope(center)?)
    }

    /// A desk in a center's commissary.
    pub fn commissary(&self, center: &str) -> anyhow::Result<Desk> {
        self.desk("commissary", Role::Commissary, scope(center)?)
    }

    /// A terminal.
    pub fn terminal(&self, center: &str, terminal: &str) -> anyhow::Result<Desk> {
        let scope = Scope {
            terminal: Some(TerminalId::parse(terminal)?),
            ..scope(center)?
        };
        self.desk(terminal, Role::Terminal, scope)
    }

    /// A token for a terminal that is a program of its own.
    pub fn terminal_token(&self, center: &str, terminal: &str) -> anyhow::Result<String> {
        let scope = Scope {
            terminal: Some(TerminalId::parse(terminal)?),
            ..scope(center)?
        };
        self.token(terminal, Role::Terminal, scope)
    }

    /// Where the service is.
    pub fn service_url(&self) -> anyhow::Result<String> {
        let service = self.service.as_ref().context("the service is not running")?;
        Ok(format!("http://{}", service.address()))
    }

    /// A payer's telephone.
    pub fn payer(&self, center: &str, payer: &str) -> anyhow::Result<Desk> {
        let scope = Scope {
            payer: Some(PayerId::parse(payer)?),
            ..scope(center)?
        };
        self.desk(payer, Role::Payer, scope)
    }

    fn desk(&self, subject: &str, role: Role, scope: Scope) -> anyhow::Result<Desk> {
        let service = self.service.as_ref().context("the service is not running")?;
        Desk::at(service.address(), &self.token(subject, role, scope)?)
    }

    fn token(&self, subject: &str, role: Role, scope: Scope) -> anyhow::Result<String> {
        let key = TokenKey::load_or_create(self.directory())?;
        let actor = Actor::new(subject, role, scope)?;
        Ok(Issuer::new(key).issue(&actor, TOKEN_TTL, self.clock.now())?)
    }

    fn now(&self) -> anyhow::Result<String> {
        Ok(self.clock.now().format(&Rfc3339)?)
    }

    /// A directory for the keys of a gateway, with its whole path.
    fn keys(&self, gateway: &str) -> anyhow::Result<PathBuf> {
        let path = self.directory().join("gateways").join(gateway);
        fs::create_dir_all(&path)?;
        Ok(path.canonicalize()?)
    }

    /// The configuration of the channels beside the webhook's.
    fn channels_path(&self) -> PathBuf {
        self.directory().join("channels.toml")
    }

    fn log_path(&self) -> PathBuf {
        self.directory().join("demo.log")
    }

    fn log(&self) -> anyhow::Result<File> {
        Ok(OpenOptions::new().create(true).append(true).open(self.log_path())?)
    }

    /// What the processes logged last.
    pub fn last_words(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS)..].join("\n")
    }

    /// The errors that the processes logged: there should be none.
    pub fn errors(&self) -> anyhow::Result<Vec<String>> {
        let log = fs::read_to_string(self.log_path())?;
        let is_error = |line: &&str| {
            let entry: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
            // What is no entry is a panic, or the like.
            !matches!(entry["level"].as_str(), Some("WARN" | "INFO"))
        };
        Ok(log.lines().filter(is_error).map(str::to_owned).collect())
    }

    /// Gives the simulated bank a payment file; its status and its statement. It rejects payments to accounts that end so.
    pub async fn bank(&self, name: &str, file: &[u8], reject_ending: &str) -> anyhow::Result<[Vec<u8>; 2]> {
        let out = self.directory().join("bank");
        fs::create_dir_all(&out)?;
        let path = out.join(name);
        fs::write(&path, file)?;
        let mut command = launch::own("bank-simulator")?;
        command.arg(&path).arg("--out").arg(&out).args([
            "--reject-ending",
            reject_ending,
            "--dev",
            "--dev-clock",
            &self.now()?,
        ]);
        let done = command.output().await.context("the simulated bank")?;
        if !done.status.success() {
            bail!("the simulated bank: {}", String::from_utf8_lossy(&done.stderr));
        }
        Ok([fs::read(out.join("status.xml"))?, fs::read(out.join("statement.xml"))?])
    }

    /// Ends every process, PostgreSQL too, and removes what need not stay.
    ///
    /// # Errors
    /// What could not be ended; everything is tried all the same.
    pub async fn close(mut self) -> anyhow::Result<()> {
        let service = match self.service.take() {
            Some(service) => service.stop().await.context("the service"),
            None => self.stop_orphan().await.context("the service's PostgreSQL"),
        };
        let simulator = match self.simulator.take() {
            Some(simulator) => simulator.stop().await.context("the gateway's simulator"),
            None => Ok(()),
        };
        let removed = match self.home {
            Home::Scratch(directory) => directory.close().context("the scratch directory"),
            Home::Kept(_) => Ok(()),
        };
        service.and(simulator).and(removed)
    }

    /// Stops the PostgreSQL of a service that was killed.
    async fn stop_orphan(&self) -> anyhow::Result<()> {
        if !self.directory().join("postgres").exists() || embedded::running_url(self.directory()).is_err() {
            return Ok(());
        }
        let (orphan, _) = Embedded::start(self.directory()).await?;
        orphan.stop().await
    }
}

fn scope(center: &str) -> anyhow::Result<Scope> {
    Ok(Scope {
        center: Some(CenterId::parse(center)?),
        ..Scope::default()
    })
}
