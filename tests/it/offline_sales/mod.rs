//! Selling without the network, over real sockets: a service, and terminals whose tills sign and chain what they sell.

mod allowances;
mod bad_calls;
mod noticed;
mod queue;
mod random;
mod tampered;
mod uploads;

pub use bad_calls::REQUESTS;

use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use custody_ledger::{
    access::{Role, Scope},
    api::status::reason_of,
    clock::Clock,
    ids::{CenterId, TerminalId},
    ledger::{Center, record},
    offline_sales::{Hash, NO_HASH, hash, signed_bytes},
    proto::*,
};
use offline_sales_service_client::OfflineSalesServiceClient;
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use terminal_service_client::TerminalServiceClient;
use time::OffsetDateTime;
use tonic::{Response, Status, transport::Channel};
use uuid::Uuid;

use crate::{
    service::{Service, with_token},
    whole_service::money,
    world::{self, Process, TestDatabase, id},
};

/// Prices of the shelf of `world`.
const RICE: (&str, i64, &str) = ("RICE", 1, "2.50");
const SOAP: (&str, i64, &str) = ("SOAP", 1, "4.00");
const BOOK: (&str, i64, &str) = ("BOOK", 1, "30.00");

/// A service with the center of `world`, in which D1 to D3 have 100.00 each, that lets terminals sell without the network.
struct Stall {
    service: Service,
    channel: Channel,
    db: TestDatabase,
    process: Process,
    center: Center,
}

/// What a terminal has in its storage: its key, and where its numbers stand.
struct Till {
    id: String,
    key: Ed25519KeyPair,
    number: i64,
    hash: Hash,
}

/// One sale as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Signed {
    statement: Vec<u8>,
    signature: Vec<u8>,
}

/// A line: product, version, price, and how many.
type Line<'a> = ((&'a str, i64, &'a str), i32);

impl Till {
    /// The statement of the next sale, which is not entered yet.
    fn statement(&self, allowance: &Allowance, detainee: &str, lines: &[Line<'_>]) -> OfflineSaleStatement {
        let total = lines
            .iter()
            .map(|((_, _, price), quantity)| world::cny(price).value() * rust_decimal::Decimal::from(*quantity))
            .sum::<rust_decimal::Decimal>();
        OfflineSaleStatement {
            center: "C1".into(),
            terminal: self.id.clone(),
            number: self.number + 1,
            previous_hash: self.hash.to_vec(),
            allowance: number_of(&allowance.name),
            detainee: detainee.into(),
            lines: lines
                .iter()
                .map(|((product, version, price), quantity)| OfflineSaleStatementLine {
                    product: (*product).into(),
                    product_version: *version,
                    quantity: *quantity,
                    unit_price: (*price).into(),
                })
                .collect(),
            currency_code: "CNY".into(),
            total: format!("{total:.2}"),
            sold_at_s: OffsetDateTime::now_utc().unix_timestamp(),
        }
    }

    /// Signs a statement as it is.
    fn sign(&self, statement: &OfflineSaleStatement) -> Signed {
        let statement = record::canonical(statement);
        Signed {
            signature: self.key.sign(&signed_bytes(&statement)).as_ref().to_vec(),
            statement,
        }
    }

    /// Signs a statement and enters it as the till's last sale.
    fn enter(&mut self, statement: &OfflineSaleStatement) -> Signed {
        let signed = self.sign(statement);
        (self.number, self.hash) = (statement.number, hash(&signed.statement));
        signed
    }

    /// Sells.
    fn sell(&mut self, allowance: &Allowance, detainee: &str, lines: &[Line<'_>]) -> Signed {
        let statement = self.statement(allowance, detainee, lines);
        self.enter(&statement)
    }

    fn name(&self) -> String {
        format!("centers/C1/terminals/{}", self.id)
    }
}

impl Stall {
    async fn open() -> Stall {
        let stall = Stall::open_at(Clock::system()).await;
        stall.allow("80.00", 24, 48).await;
        stall
    }

    /// One that allows nothing yet; its center, its people and their money are as of a clock.
    async fn open_at(clock: Clock) -> Stall {
        let db = TestDatabase::create().await;
        let process = Process::over(&db.url, clock, 64);
        let center = world::new_center(&process, "C1").await;
        for detainee in ["D1", "D2", "D3"] {
            world::endow(&process, &center, detainee, "100.00").await;
        }
        let service = Service::start(Some(&db.url)).await;
        Stall {
            channel: service.channel().await,
            service,
            db,
            process,
            center,
        }
    }

    fn token(&self, role: Role, subject: &str) -> String {
        let terminal = (role == Role::Terminal).then(|| TerminalId::parse(subject).unwrap());
        let scope = Scope {
            center: Some(CenterId::parse("C1").unwrap()),
            payer: None,
            terminal,
        };
        self.service.token_of(subject, role, scope)
    }

    fn client(&self) -> OfflineSalesServiceClient<Channel> {
        OfflineSalesServiceClient::new(self.channel.clone())
    }

    async fn allow(&self, most: &str, hours_max: i32, report_hours: i32) -> OfflineSettings {
        let message = UpdateOfflineSettingsRequest {
            settings: Some(OfflineSettings {
                name: "centers/C1/offlineSettings".into(),
                allowance_max: money(most),
                hours_max,
                report_hours,
                ..OfflineSettings::default()
            }),
            reason: "the line to wing A breaks".into(),
        };
        let asked = with_token(&self.token(Role::Admin, "root"), message);
        self.client().update_offline_settings(asked).await.unwrap().into_inner()
    }

    /// Enrols a terminal.
    async fn till(&self, terminal: &str) -> Till {
        let mut client = TerminalServiceClient::new(self.channel.clone());
        let admin = self.token(Role::Admin, "root");
        let create = CreateTerminalRequest {
            parent: "centers/C1".into(),
            terminal_id: terminal.into(),
            display_name: "Wing A".into(),
        };
        client.create_terminal(with_token(&admin, create)).await.unwrap();
        let name = format!("centers/C1/terminals/{terminal}");
        let code = CreateEnrolmentCodeRequest { name: name.clone() };
        let code = client.create_enrolment_code(with_token(&admin, code)).await.unwrap();
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        let enrol = EnrolTerminalRequest {
            name,
            code: code.into_inner().code,
            certificate_request: request.pem().unwrap(),
        };
        client.enrol_terminal(enrol).await.unwrap();
        Till {
            id: terminal.into(),
            key: Ed25519KeyPair::from_pkcs8(&key.serialize_der()).unwrap(),
            number: 0,
            hash: NO_HASH,
        }
    }

    /// Sets money aside for a terminal for some hours.
    async fn reserve(&self, till: &Till, detainee: &str, amount: &str, hours: i64) -> Result<Allowance, Status> {
        let message = reserve_of(detainee, amount, hours, Uuid::new_v4());
        self.reserve_again(till, message).await.map(Response::into_inner)
    }

    async fn reserve_again(
        &self,
        till: &Till,
        message: ReserveAllowanceRequest,
    ) -> Result<Response<Allowance>, Status> {
        let asked = with_token(&self.token(Role::Terminal, &till.id), message);
        self.client().reserve_allowance(asked).await
    }

    /// Brings sales in as the terminal itself.
    async fn upload(&self, till: &Till, sales: &[Signed]) -> Result<Vec<OfflineSaleOutcome>, Status> {
        let token = self.token(Role::Terminal, &till.id);
        upload(self.channel.clone(), &token, &till.name(), sales).await
    }

    async fn end(&self, till: &Till, allowance: &Allowance, last_number: i64) -> Result<Allowance, Status> {
        let message = EndAllowanceRequest {
            name: allowance.name.clone(),
            last_number,
            request_id: Uuid::new_v4().to_string(),
        };
        let asked = with_token(&self.token(Role::Terminal, &till.id), message);
        self.client().end_allowance(asked).await.map(Response::into_inner)
    }

    async fn allowance(&self, name: &str) -> Allowance {
        let message = GetAllowanceRequest { name: name.into() };
        let asked = with_token(&self.token(Role::Auditor, "eve"), message);
        self.client().get_allowance(asked).await.unwrap().into_inner()
    }

    async fn chain(&self, till: &Till) -> OfflineChain {
        let message = GetOfflineChainRequest { terminal: till.name() };
        let asked = with_token(&self.token(Role::Terminal, &till.id), message);
        self.client().get_offline_chain(asked).await.unwrap().into_inner()
    }

    /// The open work items of a kind, by their subjects.
    async fn work(&self, kind: WorkKind) -> Vec<WorkItem> {
        let message = ListWorkItemsRequest {
            parent: "centers/C1".into(),
            kind: kind.into(),
            ..ListWorkItemsRequest::default()
        };
        let asked = with_token(&self.token(Role::Finance, "alice"), message);
        let mut client = work_service_client::WorkServiceClient::new(self.channel.clone());
        client.list_work_items(asked).await.unwrap().into_inner().work_items
    }

    /// Available and held.
    async fn has(&self, detainee: &str) -> (String, String) {
        let balances = self
            .process
            .custody
            .balances(&self.center, &id(detainee))
            .await
            .unwrap();
        (balances.available.to_string(), balances.held.to_string())
    }

    /// What is spent of the month's limit.
    async fn spent(&self, detainee: &str) -> String {
        let spending = self
            .process
            .commissary
            .spending(&self.center, &id(detainee), None)
            .await;
        spending.unwrap().spent.to_string()
    }

    async fn verified(&self) {
        let (holds, text) = self.service.verify().await;
        assert!(holds, "{text}");
    }

    /// Starts the service again with another time on its clock.
    async fn restart_in(&mut self, hours: i64) {
        self.service.kill().await;
        let at = OffsetDateTime::now_utc() + time::Duration::hours(hours);
        self.service.restart_at(at).await;
        self.channel = self.service.channel().await;
    }

    /// Waits until an allowance has ended.
    async fn ended(&self, name: &str) -> Allowance {
        for _ in 0..100 {
            let found = self.allowance(name).await;
            if found.state() == allowance::State::Ended {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        panic!("{name} does not end");
    }
}

/// Brings sales in over a stream, and reads the answers until it ends.
async fn upload(
    channel: Channel,
    token: &str,
    terminal: &str,
    sales: &[Signed],
) -> Result<Vec<OfflineSaleOutcome>, Status> {
    let messages: Vec<UploadOfflineSalesRequest> = sales.iter().map(|sale| message_of(terminal, sale)).collect();
    let asked = with_token(token, tokio_stream::iter(messages));
    let mut client = OfflineSalesServiceClient::new(channel);
    let mut answers = client.upload_offline_sales(asked).await?.into_inner();
    let mut outcomes = Vec::new();
    while let Some(outcome) = answers.message().await? {
        outcomes.push(outcome);
    }
    Ok(outcomes)
}

fn message_of(terminal: &str, sale: &Signed) -> UploadOfflineSalesRequest {
    UploadOfflineSalesRequest {
        terminal: terminal.into(),
        statement: sale.statement.clone(),
        signature: sale.signature.clone(),
    }
}

fn reserve_of(detainee: &str, amount: &str, hours: i64, request_id: Uuid) -> ReserveAllowanceRequest {
    ReserveAllowanceRequest {
        parent: "centers/C1".into(),
        detainee: format!("centers/C1/detainees/{detainee}"),
        amount: money(amount),
        expire_time: Some(record::timestamp(
            OffsetDateTime::now_utc() + time::Duration::hours(hours),
        )),
        request_id: request_id.to_string(),
    }
}

fn number_of(name: &str) -> i64 {
    name.rsplit('/').next().unwrap().parse().unwrap()
}

fn amount(money: &Option<Money>) -> &str {
    &money.as_ref().unwrap().amount
}

/// What became of sales: number, state and reason.
fn told(outcomes: &[OfflineSaleOutcome]) -> Vec<String> {
    outcomes
        .iter()
        .map(|outcome| {
            let state = outcome.state().as_str_name();
            let state = state.strip_prefix("OFFLINE_SALE_STATE_").unwrap();
            let repeated = if outcome.replayed { " again" } else { "" };
            format!("{} {state} {}{repeated}", outcome.number, outcome.reason)
                .replace("  ", " ")
                .trim()
                .to_owned()
        })
        .collect()
}

fn refused<T: std::fmt::Debug>(answer: Result<T, Status>) -> String {
    let status = answer.unwrap_err();
    let told = reason_of(&status).map(|(reason, _)| reason);
    told.unwrap_or_else(|| format!("{status:?}"))
}
