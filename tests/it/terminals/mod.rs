//! Terminals over real sockets: enrolment, certificates, and the people in front of them.

mod enrolment;

use custody_ledger::{
    access::{Role, Scope},
    api::status::reason_of,
    clock::Clock,
    ids::CenterId,
    ledger::Center,
    proto::{
        CreateEnrolmentCodeRequest, CreateTerminalRequest, EnrolTerminalRequest, Enrolment, EnrolmentCode, Terminal,
        terminal_service_client::TerminalServiceClient,
    },
};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
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
    process: Process,
    center: Center,
}

impl Post {
    async fn open() -> Post {
        let db = TestDatabase::create().await;
        let process = Process::over(&db.url, Clock::system(), 64);
        let center = world::new_center(&process, "C1").await;
        world::endow(&process, &center, "D1", "100.00").await;
        world::endow(&process, &center, "D2", "100.00").await;
        let service = Service::start(Some(&db.url)).await;
        Post {
            channel: service.channel().await,
            service,
            db,
            process,
            center,
        }
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
