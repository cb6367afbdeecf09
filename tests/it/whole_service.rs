//! The whole house over real sockets: a service, the simulated gateway, callers of every role, and money that has moved.

use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use custody_ledger::{
    access::{Role, Scope},
    api::{grpc::is_replay, status::reason_of},
    clock::Clock,
    distribution::{Distributions, NewCourtOrder},
    gateway::{
        simulator::{
            Simulator, SimulatorConfig, SimulatorControl,
            control::{DeliveryState, PayOptions},
        },
        webhook::{
            WebhookChannel, WebhookConfig,
            signature::{SIGNATURE_HEADER, sign_notification},
        },
    },
    ids::{CenterId, CourtOrderId, PayerId, Seq, TerminalId},
    ledger::Center,
    proto::{self, CreateRemittanceRequest, GetProofRequest, GetRemittanceRequest, Money, Remittance},
};
use prost::Message;
use secrecy::SecretString;
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tonic::{
    Code, Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    transport::Channel,
};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::{
    service::{Service, with_token},
    world::{self, Process, TestDatabase, cny, id},
};

/// What the gateway and the service share.
pub const SECRET: &str = "shared";

/// A running house. Two days ago D1 was given 100.00 and bought for 10.00 of V1; D2 has a court order; P1 is linked to D1 and
/// D2, P2 to D3.
pub struct Hall {
    pub service: Service,
    pub channel: Channel,
    pub control: SimulatorControl,
    pub process: Process,
    pub center: Center,
    pub db: TestDatabase,
    /// The purchase of two days ago.
    pub bought: Seq,
    gateway_url: String,
    simulator: Option<Simulator>,
}

/// An answer's message, and whether it repeats an earlier one.
pub struct Answer {
    pub message: Vec<u8>,
    pub replayed: bool,
}

impl Hall {
    pub async fn open() -> Hall {
        let db = TestDatabase::create().await;
        let two_days_ago = OffsetDateTime::now_utc() - time::Duration::days(2);
        let process = Process::over(&db.url, Clock::starting_at(two_days_ago), 64);
        let center = world::new_center(&process, "C1").await;
        world::endow(&process, &center, "D1", "100.00").await;
        let bought = world::buy(&process, &center, Uuid::new_v4(), "D1", &[("RICE", 4)]).await;
        people(&process, &center).await;

        let config = SimulatorConfig::new(([127, 0, 0, 1], 0).into(), SecretString::from(SECRET));
        let simulator = Simulator::start(config, turnable()).await.unwrap();
        let gateway_url = simulator.base_url();
        let service = Service::start_with(Some(&db.url), &environment(&gateway_url)).await;
        Hall {
            channel: service.channel().await,
            service,
            control: SimulatorControl::try_new(gateway_url.clone()).unwrap(),
            process,
            center,
            db,
            bought: bought.unwrap().seq(),
            gateway_url,
            simulator: Some(simulator),
        }
    }

    /// Ends the gateway.
    pub async fn stop_gateway(&mut self) {
        self.simulator.take().unwrap().stop().await;
    }

    /// Starts a gateway at the same address, which knows nothing of what was before.
    pub async fn start_gateway(&mut self) {
        let address = self.gateway_url.strip_prefix("http://").unwrap().parse().unwrap();
        let config = SimulatorConfig::new(address, SecretString::from(SECRET));
        self.simulator = Some(Simulator::start(config, turnable()).await.unwrap());
    }

    /// The gateway, as the service sees it.
    pub fn gateway(&self) -> WebhookChannel {
        let config = WebhookConfig {
            id: "webhook".into(),
            base_url: self.gateway_url.clone(),
            secret: SecretString::from(SECRET),
        };
        WebhookChannel::try_new(config, Clock::system()).unwrap()
    }

    /// Another service process on the same database, with keys of its own.
    pub async fn another_service(&self) -> Service {
        self.another_service_with(&[]).await
    }

    /// The same with further environment variables.
    pub async fn another_service_with(&self, further: &[(&str, &str)]) -> Service {
        let environment = [&environment(&self.gateway_url), further].concat();
        Service::start_with(Some(&self.db.url), &environment).await
    }

    /// A token for the center, of payer P1 and terminal T1 where the role needs one.
    pub fn token(&self, role: Role) -> String {
        self.token_of(role, "P1")
    }

    /// The same for another payer.
    pub fn token_of(&self, role: Role, payer: &str) -> String {
        let scope = Scope {
            center: Some(CenterId::parse("C1").unwrap()),
            payer: (role == Role::Payer).then(|| PayerId::parse(payer).unwrap()),
            terminal: (role == Role::Terminal).then(|| TerminalId::parse("T1").unwrap()),
        };
        self.service.token(role, scope)
    }

    /// Of an administrator of all centers.
    pub fn everywhere(&self) -> String {
        self.service.token(Role::Admin, Scope::default())
    }

    /// The token of somebody who may call a method (`Service/Method`).
    pub fn token_for(&self, method: &str) -> String {
        match method {
            "CustodyService/CreateCenter" => self.everywhere(),
            "CommissaryService/CreatePurchase"
            | "CommissaryService/CreateReturn"
            | "OfflineSalesService/ReserveAllowance"
            | "OfflineSalesService/EndAllowance"
            | "OrderService/CreateOrder"
            | "OrderService/CancelOrder" => self.token(Role::Terminal),
            "PaymentService/DownloadPaymentFile" | "EndingService/RevealPayee" => self.token(Role::Finance),
            "TerminalService/RenewCertificate" | "SessionService/SignIn" | "SessionService/SignInByAssertion" => {
                self.token(Role::Terminal)
            }
            _ => self.token(Role::Admin),
        }
    }

    /// Calls `Service/Method` with an encoded message.
    pub async fn call(&self, method: &str, token: &str, message: Vec<u8>) -> Result<Answer, Status> {
        call(self.channel.clone(), method, token, message).await
    }

    /// Calls `Service/Method` as somebody who may.
    pub async fn ask<R: Message + Default>(&self, method: &str, message: &impl Message) -> Result<R, Status> {
        self.ask_as(method, &self.token_for(method), message).await
    }

    /// Calls `Service/Method` with a token.
    pub async fn ask_as<R: Message + Default>(
        &self,
        method: &str,
        token: &str,
        message: &impl Message,
    ) -> Result<R, Status> {
        let answer = self.call(method, token, message.encode_to_vec()).await?;
        Ok(R::decode(answer.message.as_slice()).unwrap())
    }

    /// Orders a remittance by P1, or by P2 for D3.
    pub async fn order(&self, detainee: &str, amount: &str) -> Remittance {
        let payer = if detainee == "D3" { "P2" } else { "P1" };
        let message = remittance_of(payer, detainee, amount, Uuid::new_v4());
        self.ask("RemittanceService/CreateRemittance", &message).await.unwrap()
    }

    /// Orders a remittance, pays it and waits until it is credited.
    pub async fn remit(&self, detainee: &str, amount: &str) -> Remittance {
        let ordered = self.order(detainee, amount).await;
        let paid = self.control.pay(&ordered.order_number, &PayOptions::default()).await;
        paid.unwrap();
        self.delivered().await;
        let remittance = self.remittance(&ordered.name).await;
        assert_eq!(remittance.state(), proto::remittance::State::Credited);
        remittance
    }

    /// Posts a signed notification; the code of the answer.
    pub async fn notify(&self, body: String) -> u16 {
        let secret = SecretString::from(SECRET);
        let signature = sign_notification(&secret, OffsetDateTime::now_utc(), body.as_bytes());
        let url = format!("http://{}/v1/notifications/webhook", self.service.address);
        let request = reqwest::Client::new().post(url).header(SIGNATURE_HEADER, signature);
        request.body(body).send().await.unwrap().status().as_u16()
    }

    /// Waits until the gateway's notifications have arrived, and all were accepted.
    pub async fn delivered(&self) {
        let deliveries = self.control.wait_for_deliveries(Duration::from_secs(20)).await.unwrap();
        let state = |state| deliveries.iter().any(|delivery| delivery.state == state);
        assert!(!state(DeliveryState::GivenUp), "{deliveries:?}");
    }

    pub async fn remittance(&self, name: &str) -> Remittance {
        let message = GetRemittanceRequest { name: name.to_owned() };
        self.ask("RemittanceService/GetRemittance", &message).await.unwrap()
    }

    /// Available, held, savings and withheld of a detainee.
    pub async fn balances(&self, detainee: &str) -> [String; 4] {
        let balances = self
            .process
            .custody
            .balances(&self.center, &id(detainee))
            .await
            .unwrap();
        let all = [balances.available, balances.held, balances.savings, balances.withheld];
        all.map(|amount| amount.to_string())
    }

    /// The proof, which must hold, term by term.
    pub async fn proof(&self) -> proto::Proof {
        let message = GetProofRequest {
            center: "centers/C1".into(),
            as_of: None,
        };
        let proof: proto::Proof = self
            .ask_as("LedgerService/GetProof", &self.token(Role::Auditor), &message)
            .await
            .unwrap();
        assert!(proof.holds, "{proof:?}");
        proof
    }

    /// The number of the last transaction.
    pub async fn seq(&self) -> i64 {
        self.proof().await.as_of_seq
    }

    /// Every row of every table: what a request that is refused may not change.
    pub async fn everything(&self) -> Vec<String> {
        self.everything_but(&[]).await
    }

    /// The same without some tables, which the caller looks at by itself. Left out always is the answer that a refusal is, and
    /// when it may be asked again; of what goes by the clock, the times.
    pub async fn everything_but(&self, tables_left_out: &[&str]) -> Vec<String> {
        const LEFT_OUT: [&str; 2] = ["refused_request", "remittance_question"];
        const PARTS: [(&str, &str); 5] = [
            // Not rules_version, which moves with every refusal.
            ("journal_head", "center_id, seq, next_account_no, recorded_at"),
            ("remittance_poll", "center_id, remittance_id"),
            ("refund_open", "center_id, seq"),
            ("approval_open", "center_id, approval_no, subject"),
            // Jobs that go well have a row once they have looked for the first time.
            ("job_status", "center_id, job, nullif(last_error, '')"),
        ];
        let mut owner = PgConnection::connect(&self.db.url).await.unwrap();
        let tables: Vec<String> =
            sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public' order by tablename")
                .fetch_all(&mut owner)
                .await
                .unwrap();
        for told in tables_left_out
            .iter()
            .chain(&LEFT_OUT)
            .chain(PARTS.iter().map(|(table, _)| table))
        {
            assert!(tables.iter().any(|table| table == told), "there is no table {told}");
        }
        let is_left_out = |table: &str| LEFT_OUT.contains(&table) || tables_left_out.contains(&table);
        let mut rows = Vec::new();
        for table in tables.iter().filter(|table| !is_left_out(table)) {
            let part = PARTS.iter().find(|(of, _)| of == table);
            let what = part.map_or("t", |(_, columns)| columns);
            let only = if table == "job_status" {
                "where last_error <> ''"
            } else {
                ""
            };
            let select = sqlx::AssertSqlSafe(format!(
                "select '{table} ' || row({what})::text from {table} t {only} order by 1"
            ));
            rows.extend(
                sqlx::query_scalar::<_, String>(select)
                    .fetch_all(&mut owner)
                    .await
                    .unwrap(),
            );
        }
        rows
    }

    /// Why notifications were rejected, in the order of the words.
    pub async fn rejected(&self) -> Vec<String> {
        let mut owner = PgConnection::connect(&self.db.url).await.unwrap();
        sqlx::query_scalar("select reason from rejected_notification order by reason")
            .fetch_all(&mut owner)
            .await
            .unwrap()
    }

    /// The service must refuse this, and say so.
    pub async fn refused(&self, case: &str, method: &str, message: Vec<u8>) -> Refused {
        let token = self.token_for(method);
        self.refused_as(case, method, &token, message).await
    }

    /// The same for a caller of one's own.
    pub async fn refused_as(&self, case: &str, method: &str, token: &str, message: Vec<u8>) -> Refused {
        match self.call(method, token, message).await {
            Ok(_) => panic!("{method}, {case}: not refused"),
            Err(status) => Refused::of(&status, &format!("{method}, {case}")),
        }
    }

    /// Replays the journal.
    pub async fn verified(&self) {
        let (holds, text) = self.service.verify().await;
        assert!(holds, "{text}");
    }
}

/// A refusal as a client reads it.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused {
    pub code: Code,
    pub reason: String,
    /// The field that a BadRequest names.
    pub field: Option<String>,
    /// The fact `fields`, of a reused request id.
    pub fields: Option<String>,
}

impl Refused {
    pub fn of(status: &Status, at: &str) -> Refused {
        let Some((reason, facts)) = reason_of(status) else {
            panic!("{at}: {status:?} has no reason");
        };
        let bad = status.get_details_bad_request();
        let field = bad.and_then(|bad| Some(bad.field_violations.first()?.field.clone()));
        Refused {
            code: status.code(),
            reason,
            field,
            fields: facts.get("fields").cloned(),
        }
    }

    pub fn is(&self, code: Code, reason: &str) -> bool {
        self.code == code && self.reason == reason
    }
}

/// Calls `Service/Method` with an encoded message.
pub async fn call(channel: Channel, method: &str, token: &str, message: Vec<u8>) -> Result<Answer, Status> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready()
        .await
        .map_err(|error| Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::try_from(format!("/custody.v1.{method}")).unwrap();
    let answer = grpc.unary(with_token(token, message), path, Raw).await?;
    let replayed = is_replay(&answer);
    Ok(Answer {
        message: answer.into_inner(),
        replayed,
    })
}

pub fn money(amount: &str) -> Option<Money> {
    Some(Money {
        currency_code: "CNY".into(),
        amount: amount.into(),
    })
}

pub fn remittance_of(payer: &str, detainee: &str, amount: &str, request_id: Uuid) -> CreateRemittanceRequest {
    CreateRemittanceRequest {
        parent: "centers/C1".into(),
        payer: format!("centers/C1/payers/{payer}"),
        detainee: format!("centers/C1/detainees/{detainee}"),
        amount: money(amount),
        channel: "webhook".into(),
        request_id: request_id.to_string(),
        in_app_payer: String::new(),
    }
}

/// The time that there is, on a clock that can be turned.
pub fn turnable() -> Clock {
    Clock::starting_at(OffsetDateTime::now_utc())
}

fn environment(gateway_url: &str) -> [(&str, &str); 2] {
    [
        ("CUSTODY_GATEWAY_BASE_URL", gateway_url),
        ("CUSTODY_GATEWAY_SECRET", SECRET),
    ]
}

async fn people(process: &Process, center: &Center) {
    let (lanes, custody) = (process.lanes.clone(), process.custody.clone());
    world::register_payer(process, center, "P1", &["D1", "D2"]).await;
    world::register_payer(process, center, "P2", &["D3"]).await;
    let order = NewCourtOrder {
        id: CourtOrderId::parse("C1").unwrap(),
        detainee: id("D2"),
        document: "2031-7".into(),
        total: cny("30"),
        rank: None,
    };
    let distributions = Distributions::new(lanes, custody);
    distributions.create_court_order(center, order, "test").await.unwrap();
}

/// Messages as they are on the wire.
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, message: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let count = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(count).to_vec()))
    }
}
