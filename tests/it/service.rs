//! The program itself, in a process of its own, over a real socket.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use custody_ledger::{
    access::{Actor, Issuer, Role, Scope, TokenKey},
    clock::Clock,
    db::embedded,
    ids::{CenterId, TerminalId},
    proto::{CreatePurchaseLine, CreatePurchaseRequest, commissary_service_client::CommissaryServiceClient},
};
use tempfile::TempDir;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};
use uuid::Uuid;

use crate::world;

/// A service over a private PostgreSQL, or over a database that was named.
pub struct Service {
    pub directory: TempDir,
    pub address: String,
    /// Where enrolled terminals call, if there is such a port.
    pub terminal_address: Option<String>,
    child: Child,
    database_url: Option<String>,
    environment: Vec<(String, String)>,
    /// What it goes by.
    clock: Clock,
}

impl Service {
    pub async fn start(database_url: Option<&str>) -> Service {
        Service::start_with(database_url, &[]).await
    }

    /// Starts it with further environment variables.
    pub async fn start_with(database_url: Option<&str>, environment: &[(&str, &str)]) -> Service {
        Service::start_in(Service::directory(), database_url, environment).await
    }

    /// A directory for a service that is to be started.
    pub fn directory() -> TempDir {
        let mut new = tempfile::Builder::new();
        new.prefix("custody-it-").tempdir_in("/tmp").unwrap()
    }

    /// Starts it in a directory, with the settings that stand there as `custody.toml`, if they do.
    pub async fn start_in(directory: TempDir, database_url: Option<&str>, environment: &[(&str, &str)]) -> Service {
        let (child, (address, terminal_address)) =
            launch(directory.path(), database_url, environment, "127.0.0.1:0").await;
        Service {
            directory,
            address,
            terminal_address,
            child,
            clock: Clock::system(),
            database_url: database_url.map(str::to_owned),
            environment: environment
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    /// A service that was started otherwise, once it is ready.
    pub async fn over(directory: TempDir, mut child: Child, database_url: Option<&str>) -> Service {
        Service {
            address: ready(&mut child).await.0,
            terminal_address: None,
            directory,
            child,
            database_url: database_url.map(str::to_owned),
            environment: Vec::new(),
            clock: Clock::system(),
        }
    }

    /// The URL of its private PostgreSQL.
    pub fn private_url(&self) -> String {
        embedded::running_url(self.directory.path()).unwrap()
    }

    /// Ends it as a power cut does, as far as it is concerned.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// Starts it again on what it left behind.
    pub async fn restart(&mut self) {
        let environment: Vec<(&str, &str)> = self
            .environment
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        // Where it was before, as the gateway expects it to be.
        let (path, url) = (self.directory.path(), self.database_url.as_deref());
        let (child, (address, terminal_address)) = launch(path, url, &environment, &self.address).await;
        (self.child, self.address, self.terminal_address) = (child, address, terminal_address);
    }

    /// Starts it again with another time on its clock, by which its tokens go, too.
    pub async fn restart_at(&mut self, time: OffsetDateTime) {
        let told = time.format(&Rfc3339).unwrap();
        self.environment.retain(|(name, _)| !name.starts_with("CUSTODY_DEV_"));
        self.environment.push(("CUSTODY_DEV_ENABLED".into(), "true".into()));
        self.environment.push(("CUSTODY_DEV_CLOCK".into(), told));
        self.clock = Clock::starting_at(time);
        self.restart().await;
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(&mut self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &pid])
                .status()
                .await
                .unwrap()
                .success()
        );
        let exit = tokio::time::timeout(Duration::from_secs(30), self.child.wait())
            .await
            .unwrap()
            .unwrap();
        assert!(exit.success());
    }

    pub fn token(&self, role: Role, scope: Scope) -> String {
        self.token_of("T1", role, scope)
    }

    /// The same for somebody else.
    pub fn token_of(&self, subject: &str, role: Role, scope: Scope) -> String {
        let key = TokenKey::load_or_create(self.directory.path()).unwrap();
        let actor = Actor::new(subject, role, scope).unwrap();
        Issuer::new(key)
            .issue(&actor, time::Duration::hours(1), self.clock.now())
            .unwrap()
    }

    /// Issues tokens of an administrator of everything, without the service.
    pub fn issuer(&self) -> impl Fn() -> String + Send + 'static {
        let (path, clock) = (self.directory.path().to_owned(), self.clock.clone());
        move || {
            let key = TokenKey::load_or_create(&path).unwrap();
            let actor = Actor::new("T1", Role::Admin, Scope::default()).unwrap();
            Issuer::new(key)
                .issue(&actor, time::Duration::hours(1), clock.now())
                .unwrap()
        }
    }

    /// A token whose hour was over an hour ago.
    pub fn expired_token(&self, role: Role, scope: Scope) -> String {
        let key = TokenKey::load_or_create(self.directory.path()).unwrap();
        let actor = Actor::new("T1", role, scope).unwrap();
        let issued_at = Clock::system().now() - time::Duration::hours(2);
        Issuer::new(key)
            .issue(&actor, time::Duration::hours(1), issued_at)
            .unwrap()
    }

    pub fn terminal_token(&self, center: &str) -> String {
        let terminal = Some(TerminalId::parse("T1").unwrap());
        let scope = Scope {
            center: Some(CenterId::parse(center).unwrap()),
            payer: None,
            terminal,
        };
        self.token(Role::Terminal, scope)
    }

    pub async fn channel(&self) -> Channel {
        Endpoint::from_shared(format!("http://{}", self.address))
            .unwrap()
            .connect()
            .await
            .unwrap()
    }

    /// The exit code of `custody verify`, and what it said.
    pub async fn verify(&self) -> (bool, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
        command.arg("verify").arg("--data-dir").arg(self.directory.path());
        if let Some(url) = &self.database_url {
            command.arg("--database-url").arg(url);
        }
        let output = command.output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    }
}

/// The service as a command that is still to be started.
pub fn command(directory: &Path, database_url: Option<&str>, listen: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
    command.args(["serve", "--listen", listen, "--data-dir"]).arg(directory);
    if let Some(url) = database_url {
        command.args(["--database-url", url]);
    }
    command.env("CUSTODY_PAYERS_IDENTITY_KEYS", world::IDENTITY_KEYS);
    command
}

async fn launch(
    directory: &Path,
    database_url: Option<&str>,
    environment: &[(&str, &str)],
    listen: &str,
) -> (Child, (String, Option<String>)) {
    let mut command = command(directory, database_url, listen);
    let settings = directory.join("custody.toml");
    if settings.exists() {
        command.arg("--config").arg(settings);
    }
    let mut child = command
        .stdout(Stdio::piped())
        .env("RUST_LOG", "warn")
        .envs(environment.iter().copied())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let address = ready(&mut child).await;
    (child, address)
}

/// Waits until a service is ready; where it listens, and where for enrolled terminals.
async fn ready(child: &mut Child) -> (String, Option<String>) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut terminals = None;
    loop {
        let line = tokio::time::timeout_at(deadline.into(), lines.next_line())
            .await
            .expect("it starts in time")
            .unwrap();
        let line = line.expect("the service ended before it was ready");
        if let Some(address) = line.strip_prefix("custody ready on ") {
            return (address.to_owned(), terminals);
        }
        if let Some(address) = line.strip_prefix("terminals on ") {
            terminals = Some(address.to_owned());
        }
    }
}

/// A bearer token on a message.
pub fn with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request
        .metadata_mut()
        .insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

pub fn purchase_of(center: &str, detainee: &str, request_id: Uuid, lines: &[(&str, i32)]) -> CreatePurchaseRequest {
    let parent = format!("centers/{center}");
    CreatePurchaseRequest {
        detainee: format!("{parent}/detainees/{detainee}"),
        lines: lines
            .iter()
            .map(|(product, quantity)| CreatePurchaseLine {
                product: format!("{parent}/products/{product}"),
                quantity: *quantity,
            })
            .collect(),
        request_id: request_id.to_string(),
        parent,
    }
}

/// One piece of RICE.
pub async fn buy_rice(channel: Channel, token: &str, detainee: &str, request_id: Uuid) -> Result<String, Status> {
    let request = with_token(token, purchase_of("C1", detainee, request_id, &[("RICE", 1)]));
    CommissaryServiceClient::new(channel)
        .create_purchase(request)
        .await
        .map(|response| response.into_inner().name)
}
