//! A terminal as a process: `custody terminal`, over its directory.

use std::{path::PathBuf, process::Stdio};

use custody_ledger::{
    access::{Role, Scope},
    ids::{CenterId, TerminalId},
    proto::{
        CreateEnrolmentCodeRequest, CreateTerminalRequest, EnrolmentCode, GetTransactionRequest, ListPurchasesRequest,
        Purchase, Transaction, commissary_service_client::CommissaryServiceClient,
        ledger_service_client::LedgerServiceClient, terminal_service_client::TerminalServiceClient,
    },
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::AsyncWriteExt as _,
    process::{Child, Command},
};

use crate::service::{Service, with_token};

/// A terminal's directory, and what its printer has printed.
pub struct Device {
    directory: TempDir,
    pub id: String,
}

/// What a verb told.
#[derive(Debug)]
pub struct Told {
    pub code: i32,
    pub text: String,
    pub errors: String,
}

impl Told {
    /// The lines of JSON.
    pub fn values(&self) -> Vec<Value> {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {self:?}"));
        self.text.lines().map(read).collect()
    }

    /// The last of them.
    pub fn last(&self) -> Value {
        self.values()
            .pop()
            .unwrap_or_else(|| panic!("nothing was told: {self:?}"))
    }

    #[track_caller]
    pub fn ends_with(self, code: i32) -> Told {
        assert_eq!(self.code, code, "{self:?}");
        assert!(code != 0 || self.errors.is_empty(), "{self:?}");
        self
    }
}

impl Device {
    /// A terminal that is enrolled with a token.
    pub async fn enrolled(service: &Service, id: &str, url: &str) -> Device {
        Device::enrolled_with(service, id, url, &[]).await
    }

    /// A terminal that was never enrolled.
    pub fn new(id: &str) -> Device {
        Device {
            directory: tempfile::tempdir().unwrap(),
            id: id.to_owned(),
        }
    }

    /// A terminal that is known by its certificate, and calls the port for such.
    pub async fn with_a_certificate(service: &Service, id: &str, terminals: &str) -> Device {
        let (device, code) = (Device::new(id), enrolment_code(service, id).await);
        let url = format!("http://{}", service.address);
        let place = [
            "enrol",
            "--server",
            &url,
            "--terminal-server",
            terminals,
            "--center",
            "C1",
            "--terminal",
            id,
        ];
        let credential = ["--code", &code.code, "--authority", &code.authority_sha256];
        device.run(&[&place[..], &credential].concat()).await.ends_with(0);
        device
    }

    /// A terminal that has a token, and a key that was certified for a code.
    pub async fn with_a_key(service: &Service, id: &str, url: &str) -> Device {
        let code = enrolment_code(service, id).await;
        Device::enrolled_with(
            service,
            id,
            url,
            &["--code", &code.code, "--authority", &code.authority_sha256],
        )
        .await
    }

    async fn enrolled_with(service: &Service, id: &str, url: &str, more: &[&str]) -> Device {
        let device = Device::new(id);
        let scope = Scope {
            center: Some(CenterId::parse("C1").unwrap()),
            payer: None,
            terminal: Some(TerminalId::parse(id).unwrap()),
        };
        std::fs::write(device.path("token.in"), service.token_of(id, Role::Terminal, scope)).unwrap();
        let token = device.path("token.in");
        let arguments = [
            "enrol",
            "--server",
            url,
            "--center",
            "C1",
            "--terminal",
            id,
            "--token-file",
        ];
        let arguments = [&arguments[..], &[token.to_str().unwrap()], more].concat();
        device.run(&arguments).await.ends_with(0);
        device
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
        command
            .args(["terminal", "--json", "--dir"])
            .arg(self.path("home"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs a verb to its end.
    pub async fn run(&self, arguments: &[&str]) -> Told {
        told(self.command(arguments).spawn().unwrap()).await
    }

    /// Runs a verb that reads standard input.
    pub async fn run_told(&self, arguments: &[&str], input: &str) -> Told {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).await.unwrap();
        told(child).await
    }

    /// Runs a verb that prints on paper.
    pub async fn run_printing(&self, arguments: &[&str]) -> Told {
        let paper = self.path("paper");
        let arguments = [&["--printer", paper.to_str().unwrap()], arguments].concat();
        self.run(&arguments).await
    }

    /// Begins a verb.
    pub fn begin(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }
}

/// Waits for a process's end.
pub async fn told(child: Child) -> Told {
    let output = child.wait_with_output().await.unwrap();
    Told {
        code: output.status.code().unwrap_or(-1),
        text: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Ends a process as a power cut does.
pub async fn kill(mut child: Child) {
    child.kill().await.unwrap();
}

/// A code for a terminal of the center, made by an administrator.
pub async fn enrolment_code(service: &Service, id: &str) -> EnrolmentCode {
    let admin = service.token_of("root", Role::Admin, Scope::default());
    let mut client = TerminalServiceClient::new(service.channel().await);
    let create = CreateTerminalRequest {
        parent: "centers/C1".into(),
        terminal_id: id.into(),
        display_name: "Wing A".into(),
    };
    client.create_terminal(with_token(&admin, create)).await.unwrap();
    let name = format!("centers/C1/terminals/{id}");
    let asked = with_token(&admin, CreateEnrolmentCodeRequest { name });
    client.create_enrolment_code(asked).await.unwrap().into_inner()
}

/// All purchases of the center, newest first.
pub async fn purchases(service: &Service) -> Vec<Purchase> {
    let token = service.token(Role::Auditor, Scope::default());
    let mut client = CommissaryServiceClient::new(service.channel().await);
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListPurchasesRequest {
            parent: "centers/C1".into(),
            page_size: 500,
            page_token,
            ..ListPurchasesRequest::default()
        };
        let page = client
            .list_purchases(with_token(&token, request))
            .await
            .unwrap()
            .into_inner();
        found.extend(page.purchases);
        if page.next_page_token.is_empty() {
            return found;
        }
        page_token = page.next_page_token;
    }
}

/// Waits until the ledger has so many purchases.
pub async fn purchases_reach(service: &Service, count: usize) -> Vec<Purchase> {
    for _ in 0..600 {
        let found = purchases(service).await;
        if found.len() >= count {
            return found;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the ledger does not have {count} purchases");
}

/// A transaction, as the ledger tells it.
pub async fn transaction(service: &Service, seq: &str) -> Transaction {
    let token = service.token(Role::Auditor, Scope::default());
    let name = format!("centers/C1/transactions/{seq}");
    let mut client = LedgerServiceClient::new(service.channel().await);
    let answer = client
        .get_transaction(with_token(&token, GetTransactionRequest { name }))
        .await;
    answer.unwrap().into_inner()
}
