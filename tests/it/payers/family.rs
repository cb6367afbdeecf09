//! A service that sends codes to telephones of the test's own, and callers of every kind.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, extract::State, http::HeaderMap, routing::post};
use custody_ledger::{
    access::{Actor, Issuer, Role, Scope, TokenKey},
    api::status::reason_of,
    clock::Clock,
    ids::{CenterId, PayerId},
    payer::SECRET_HEADER,
    proto::{
        ApprovePayerLinkRequest, IdentityDocument, Payer, PayerLink, PaymentAccount, RegisterPayerRequest, Remittance,
        RequestPayerLinkRequest, RequestPhoneCodeRequest, RequestPhoneCodeResponse, VerifyPayerPhoneRequest,
        identity_document::Kind, payer_link::Relationship,
    },
};
use prost::Message;
use sqlx::{Connection as _, PgConnection};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::{
    service::Service,
    whole_service::{Answer, Hall, call, remittance_of},
};

pub(super) const NUMBER: &str = "11010119010105011X";
pub(super) const PHONE: &str = "+8610000000042";

/// Whoever sends short messages: keeps what it was sent, and answers as it is told to.
#[derive(Clone, Default)]
pub(super) struct Phones {
    pub(super) sent: Arc<Mutex<Vec<(String, String)>>>,
    pub(super) down: Arc<Mutex<bool>>,
}

impl Phones {
    /// Starts to listen; the URL.
    pub(super) async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/send", listener.local_addr().unwrap());
        let router = Router::new().route("/send", post(take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    pub(super) fn code_for(&self, phone: &str) -> Option<String> {
        let sent = self.sent.lock().unwrap();
        sent.iter()
            .rev()
            .find(|(to, _)| to == phone)
            .map(|(_, code)| code.clone())
    }
}

async fn take(
    State(phones): State<Phones>,
    headers: HeaderMap,
    Json(body): Json<serde_json::Value>,
) -> http::StatusCode {
    assert_eq!(headers[SECRET_HEADER], "hush");
    assert_eq!(
        (&body["purpose"], &body["valid_minutes"]),
        (&"verify_phone".into(), &10.into())
    );
    if *phones.down.lock().unwrap() {
        return http::StatusCode::SERVICE_UNAVAILABLE;
    }
    let text = |key: &str| body[key].as_str().unwrap().to_owned();
    phones.sent.lock().unwrap().push((text("phone"), text("code")));
    http::StatusCode::ACCEPTED
}

/// A hall whose service sends codes.
pub(super) struct Family {
    pub(super) hall: Hall,
    pub(super) phones: Phones,
    pub(super) service: Service,
    pub(super) channel: tonic::transport::Channel,
}

impl Family {
    pub(super) async fn at_home() -> Family {
        let hall = Hall::open().await;
        let phones = Phones::default();
        let url = phones.listen().await;
        let sms = [
            ("CUSTODY_PAYERS_SMS_URL", url.as_str()),
            ("CUSTODY_PAYERS_SMS_SECRET", "hush"),
        ];
        let service = hall.another_service_with(&sms).await;
        let channel = service.channel().await;
        Family {
            hall,
            phones,
            service,
            channel,
        }
    }

    pub(super) async fn ask<R: Message + Default>(
        &self,
        who: &str,
        method: &str,
        message: &impl Message,
    ) -> Result<R, String> {
        ask(&self.service, &self.channel, who, method, message).await
    }

    pub(super) async fn register(&self, who: &str, payer: &str, number: &str) -> Result<Payer, String> {
        self.ask(who, "PayerService/RegisterPayer", &registration(payer, number))
            .await
    }

    pub(super) async fn request_code(&self, payer: &str) -> Result<RequestPhoneCodeResponse, String> {
        let message = RequestPhoneCodeRequest { name: name(payer) };
        self.ask(payer, "PayerService/RequestPhoneCode", &message).await
    }

    pub(super) async fn verify(&self, payer: &str, code: &str) -> Result<Payer, String> {
        let message = VerifyPayerPhoneRequest {
            name: name(payer),
            code: code.into(),
        };
        self.ask(payer, "PayerService/VerifyPayerPhone", &message).await
    }

    pub(super) async fn request_link(&self, who: &str, payer: &str, detainee: &str) -> Result<PayerLink, String> {
        let message = RequestPayerLinkRequest {
            parent: name(payer),
            payer_link: Some(PayerLink {
                detainee: format!("centers/C1/detainees/{detainee}"),
                relationship: Relationship::Parent.into(),
                ..PayerLink::default()
            }),
            reason: "my son".into(),
        };
        self.ask(who, "PayerService/RequestPayerLink", &message).await
    }

    pub(super) async fn approve(&self, who: &str, link: &str) -> Result<PayerLink, String> {
        let message = ApprovePayerLinkRequest {
            name: link.into(),
            reason: "family book 7".into(),
        };
        self.ask(who, "PayerService/ApprovePayerLink", &message).await
    }

    pub(super) async fn remit(&self, who: &str, payer: &str) -> Result<Remittance, String> {
        let message = remittance_of(payer, "D1", "10.00", Uuid::new_v4());
        self.ask(who, "RemittanceService/CreateRemittance", &message).await
    }

    /// Moves every code of a payer into the past, as time does.
    pub(super) async fn wait(&self, payer: &str, minutes: i32) {
        let mut owner = PgConnection::connect(&self.hall.db.url).await.unwrap();
        let sql = "update phone_code set created_at = created_at - make_interval(mins => $2),
                   expires_at = expires_at - make_interval(mins => $2) where payer_id = $1";
        sqlx::query(sql)
            .bind(payer)
            .bind(minutes)
            .execute(&mut owner)
            .await
            .unwrap();
    }
}

/// Calls as `P…` with that payer's token, or as `role/subject`; an error is told by its reason and facts.
pub(super) async fn ask<R: Message + Default>(
    service: &Service,
    channel: &tonic::transport::Channel,
    who: &str,
    method: &str,
    message: &impl Message,
) -> Result<R, String> {
    let answer = call(channel.clone(), method, &token(service, who), message.encode_to_vec()).await;
    let explained = |status: tonic::Status| {
        let (reason, facts) = reason_of(&status).unwrap_or_else(|| panic!("{method}: {status:?}"));
        let told = facts.get("missing").or(facts.get("tries_left")).or(facts.get("state"));
        told.map_or(reason.clone(), |told| format!("{reason} {told}"))
    };
    let Answer { message, .. } = answer.map_err(explained)?;
    Ok(R::decode(message.as_slice()).unwrap())
}

pub(super) fn token(service: &Service, who: &str) -> String {
    let (role, subject) = who.split_once('/').unwrap_or(("payer", who));
    let role: Role = role.parse().unwrap();
    let scope = Scope {
        center: Some(CenterId::parse("C1").unwrap()),
        payer: (role == Role::Payer).then(|| PayerId::parse(subject).unwrap()),
        terminal: None,
    };
    let actor = Actor::new(subject, role, scope).unwrap();
    let key = TokenKey::load(service.directory.path()).unwrap();
    let now = Clock::system().now();
    Issuer::new(key).issue(&actor, time::Duration::HOUR, now).unwrap()
}

pub(super) fn name(payer: &str) -> String {
    format!("centers/C1/payers/{payer}")
}

pub(super) fn registration(payer: &str, number: &str) -> RegisterPayerRequest {
    RegisterPayerRequest {
        parent: "centers/C1".into(),
        payer_id: payer.into(),
        payer: Some(Payer {
            display_name: "Zhang Min".into(),
            identity_document: Some(IdentityDocument {
                kind: Kind::ResidentIdentityCard.into(),
                number: number.into(),
            }),
            phone: PHONE.into(),
            payment_accounts: vec![account("webhook", "openid-1")],
            ..Payer::default()
        }),
    }
}

pub(super) fn account(channel: &str, account: &str) -> PaymentAccount {
    PaymentAccount {
        channel: channel.into(),
        account: account.into(),
        create_time: None,
    }
}
