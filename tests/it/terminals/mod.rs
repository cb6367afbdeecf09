//! Terminals over real sockets: enrolment, certificates, and the people in front of them.

mod certificates;
mod clock;
mod enrolment;
mod sessions;

use std::os::unix::fs::PermissionsExt as _;

use custody_ledger::{
    access::{Role, Scope},
    api::status::reason_of,
    clock::Clock,
    ids::CenterId,
    proto::{
        CreateEnrolmentCodeRequest, CreateTerminalRequest, EnrolTerminalRequest, Enrolment, EnrolmentCode, Terminal,
        session_service_client::SessionServiceClient, terminal_service_client::TerminalServiceClient,
    },
};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use tempfile::TempDir;
use tonic::{Status, transport::Channel};

use crate::{
    service::{Service, with_token},
    world::{self, Process, TestDatabase},
};

/// A service with the center that `world` makes, in which D1 and D2 have 100.00 each.
struct Post {
    service: Service,
    channel: Channel,
    db: TestDatabase,
}

/// Has a service listen for enrolled terminals, too.
const TERMINAL_PORT: (&str, &str) = ("CUSTODY_TERMINALS_LISTEN", "127.0.0.1:0");

impl Post {
    async fn open() -> Post {
        Post::open_with(&[]).await
    }

    /// The same with a port for enrolled terminals.
    async fn open_to_terminals() -> Post {
        Post::open_with(&[TERMINAL_PORT]).await
    }

    async fn open_with(environment: &[(&str, &str)]) -> Post {
        let db = TestDatabase::create().await;
        let process = Process::over(&db.url, Clock::system(), 64);
        let center = world::new_center(&process, "C1").await;
        world::endow(&process, &center, "D1", "100.00").await;
        world::endow(&process, &center, "D2", "100.00").await;
        let service = Service::start_with(Some(&db.url), environment).await;
        Post {
            channel: service.channel().await,
            service,
            db,
        }
    }

    /// A directory with the same keys, for another process.
    fn keys_again(&self) -> TempDir {
        let directory = Service::directory();
        let (from, to) = (
            self.service.directory.path().join("keys"),
            directory.path().join("keys"),
        );
        std::fs::create_dir(&to).unwrap();
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o700)).unwrap();
        for file in std::fs::read_dir(from).unwrap() {
            let file = file.unwrap();
            // The permissions go with it.
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
        directory
    }

    fn sessions(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel.clone())
    }

    fn token(&self, role: Role) -> String {
        let center = Some(CenterId::parse("C1").unwrap());
        let scope = Scope {
            center,
            ..Scope::default()
        };
        self.service.token_of("alice", role, scope)
    }

    fn terminals(&self) -> TerminalServiceClient<Channel> {
        TerminalServiceClient::new(self.channel.clone())
    }

    async fn create(&self, terminal: &str) -> Result<Terminal, Status> {
        let message = CreateTerminalRequest {
            parent: "centers/C1".into(),
            terminal_id: terminal.into(),
            display_name: "Wing A".into(),
        };
        let asked = with_token(&self.token(Role::Admin), message);
        self.terminals()
            .create_terminal(asked)
            .await
            .map(tonic::Response::into_inner)
    }

    async fn code(&self, terminal: &str) -> Result<EnrolmentCode, Status> {
        let message = CreateEnrolmentCodeRequest { name: name(terminal) };
        let asked = with_token(&self.token(Role::Admin), message);
        self.terminals()
            .create_enrolment_code(asked)
            .await
            .map(tonic::Response::into_inner)
    }

    async fn enrol(&self, terminal: &str, code: &str, request: &str) -> Result<Enrolment, Status> {
        enrol(&self.channel, terminal, code, request).await
    }
}

async fn enrol(channel: &Channel, terminal: &str, code: &str, request: &str) -> Result<Enrolment, Status> {
    let message = EnrolTerminalRequest {
        name: name(terminal),
        code: code.into(),
        certificate_request: request.into(),
    };
    let mut client = TerminalServiceClient::new(channel.clone());
    client.enrol_terminal(message).await.map(tonic::Response::into_inner)
}

fn name(terminal: &str) -> String {
    format!("centers/C1/terminals/{terminal}")
}

/// A terminal's key, and its certificate request.
fn new_key() -> (KeyPair, String) {
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap();
    (key, request.pem().unwrap())
}

fn reason(status: &Status) -> String {
    let told = reason_of(status).map(|(reason, _)| reason);
    told.unwrap_or_else(|| format!("{status:?}"))
}

/// The reason for which something was refused.
fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    reason(&answer.unwrap_err())
}
