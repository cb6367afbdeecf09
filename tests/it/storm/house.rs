//! The service in a process with a private PostgreSQL, the three gateways, and the people of three centers.

use std::time::Duration;

use custody_ledger::{
    access::{Role, Scope},
    api::status::reason_of,
    clock::Clock,
    gateway::simulator::{
        RetryPolicy, Simulator, SimulatorConfig, SimulatorControl, alipay::keys::AlipayKeys,
        wechat::keys::WechatPayKeys,
    },
    proto::{
        AdmitDetaineeRequest, Center, CenterSettings, CreateCenterRequest, CreatePayerLinkRequest, CreatePayerRequest,
        Detainee, IdentityDocument, Payer, PayerLink, ScreeningSettings, identity_document::Kind,
        payer_link::Relationship,
    },
};
use prost::Message;
use secrecy::SecretString;
use tokio::{process::Command, sync::watch, time::timeout};
use tonic::{Code, Status, transport::Endpoint};

use crate::{
    service::Service,
    whole_service::{self, SECRET, money},
};

pub const CENTERS: [&str; 3] = ["C1", "C2", "C3"];
pub const CHANNELS: [&str; 3] = ["webhook", "wechat", "alipay"];
/// Of each center. Payer and detainee of the same number are linked, and each payer to the next detainee.
pub const PEOPLE: usize = 5;

pub struct House {
    pub service: Service,
    pub control: SimulatorControl,
    address: watch::Sender<String>,
    token: String,
    _simulator: Simulator,
}

impl House {
    /// Everybody is registered through the service's own door.
    pub async fn open() -> House {
        let directory = Service::directory();
        let keys = |name: &str| directory.path().join(name);
        let wechat = WechatPayKeys::load_or_generate(&keys("wechat-keys")).unwrap();
        let alipay = AlipayKeys::load_or_generate(&keys("alipay-keys")).unwrap();
        let mut config = SimulatorConfig::new(([127, 0, 0, 1], 0).into(), SecretString::from(SECRET));
        (config.wechat_pay, config.alipay) = (Some(wechat.clone()), Some(alipay.clone()));
        config.retry = RetryPolicy {
            pause_first: Duration::from_millis(100),
            pause_max: Duration::from_secs(4),
            // Longer than any power cut: what is not lost arrives.
            attempts_max: 60,
            answer_timeout: Duration::from_secs(10),
        };
        let simulator = Simulator::start(config, Clock::system()).await.unwrap();
        let url = simulator.base_url();
        let tables = [
            wechat.service_table("wechat", &keys("wechat-keys"), &url).unwrap(),
            alipay.service_table("alipay", &keys("alipay-keys"), &url),
        ];
        std::fs::write(directory.path().join("custody.toml"), tables.concat()).unwrap();
        let environment = [
            ("CUSTODY_GATEWAY_BASE_URL", url.as_str()),
            ("CUSTODY_GATEWAY_SECRET", SECRET),
        ];
        let service = Service::start_in(directory, None, &environment).await;
        let house = House {
            control: SimulatorControl::try_new(url.clone()).unwrap(),
            address: watch::channel(service.address.clone()).0,
            token: service.token(Role::Admin, Scope::default()),
            service,
            _simulator: simulator,
        };
        let caller = house.caller();
        for center in CENTERS {
            open_center(&caller, center).await;
        }
        house
    }

    pub fn caller(&self) -> Caller {
        Caller {
            address: self.address.subscribe(),
            token: self.token.clone(),
            control: self.control.clone(),
        }
    }

    pub async fn cut_service(&mut self) {
        self.service.kill().await;
        self.service.restart().await;
        self.address.send_replace(self.service.address.clone());
    }

    /// PostgreSQL only; the service starts it again.
    pub async fn cut_postgresql(&mut self) {
        let pid_file = self.service.directory.path().join("postgres/data/postmaster.pid");
        let text = std::fs::read_to_string(pid_file).unwrap();
        let kill = Command::new("kill").args(["-9", text.lines().next().unwrap()]).status();
        assert!(kill.await.unwrap().success());
    }
}

/// The first center's payments are free of rules; the second has a cap that is soon reached; the third holds some for review.
async fn open_center(caller: &Caller, center: &str) {
    let is = |of: &str| center == of;
    let settings = CenterSettings {
        balance_cap: money(if is("C2") { "200.00" } else { "900000.00" }),
        quote_ttl: 12,
        payment_count_max: 1000,
        screening: Some(ScreeningSettings {
            payment_max: if is("C3") { 6 } else { 1000 },
            payment_days: 7,
            payer_max: 1000,
            detainee_max: 1000,
            party_days: 28,
            review_hours: 72,
        }),
        ..CenterSettings::default()
    };
    let request = CreateCenterRequest {
        center_id: center.into(),
        center: Some(Center {
            display_name: center.into(),
            display_name_zh: "中心".into(),
            time_zone: "Asia/Shanghai".into(),
            currency_code: "CNY".into(),
            settings: Some(settings),
            ..Center::default()
        }),
    };
    let _: Center = caller.insist("CustodyService/CreateCenter", &request).await.unwrap();
    for number in 0..PEOPLE {
        let request = AdmitDetaineeRequest {
            parent: format!("centers/{center}"),
            detainee_id: format!("D{number}"),
            detainee: Some(Detainee {
                display_name: format!("D{number}"),
                display_name_zh: "某".into(),
                tier: 1,
                ..Detainee::default()
            }),
        };
        let _: Detainee = caller.insist("CustodyService/AdmitDetainee", &request).await.unwrap();
    }
    for number in 0..PEOPLE {
        register(caller, center, number).await;
    }
}

async fn register(caller: &Caller, center: &str, number: usize) {
    let request = CreatePayerRequest {
        parent: format!("centers/{center}"),
        payer_id: format!("P{number}"),
        payer: Some(Payer {
            display_name: format!("P{number}"),
            account: format!("acct{number}"),
            identity_document: Some(IdentityDocument {
                kind: Kind::Passport.into(),
                number: format!("PASSPORT{center}{number}"),
            }),
            phone: format!("+861000000000{number}"),
            ..Payer::default()
        }),
        phone_document: "called back".into(),
    };
    let _: Payer = caller.insist("RemittanceService/CreatePayer", &request).await.unwrap();
    for detainee in [number, (number + 1) % PEOPLE] {
        let request = CreatePayerLinkRequest {
            parent: format!("centers/{center}/payers/P{number}"),
            payer_link: Some(PayerLink {
                detainee: format!("centers/{center}/detainees/D{detainee}"),
                relationship: Relationship::Parent.into(),
                ..PayerLink::default()
            }),
        };
        let _: PayerLink = caller
            .insist("RemittanceService/CreatePayerLink", &request)
            .await
            .unwrap();
    }
}

/// Somebody who asks again, in the same words, until there is a definite outcome.
#[derive(Clone)]
pub struct Caller {
    address: watch::Receiver<String>,
    token: String,
    pub control: SimulatorControl,
}

impl Caller {
    /// The answer, or the reason of a definite refusal.
    pub async fn insist<R: Message + Default>(&self, method: &str, message: &impl Message) -> Result<R, String> {
        self.insist_after(method, message, None).await
    }

    /// The same; of the first call the answer is lost if it takes longer than `patience`.
    pub async fn insist_after<R: Message + Default>(
        &self,
        method: &str,
        message: &impl Message,
        mut patience: Option<Duration>,
    ) -> Result<R, String> {
        loop {
            let address = format!("http://{}", self.address.borrow().clone());
            let channel = Endpoint::from_shared(address).unwrap().connect_lazy();
            let call = whole_service::call(channel, method, &self.token, message.encode_to_vec());
            let wait = patience.take().unwrap_or(Duration::from_secs(20));
            match timeout(wait, call).await {
                Ok(Ok(answer)) => return Ok(R::decode(answer.message.as_slice()).unwrap()),
                Ok(Err(status)) => {
                    if let Some(reason) = definite(method, &status) {
                        return Err(reason);
                    }
                }
                Err(_) => {}
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Why the service has refused; `None`: what became of the request is not known, or it is to come again.
fn definite(method: &str, status: &Status) -> Option<String> {
    let reason = reason_of(status).map(|(reason, _)| reason);
    match status.code() {
        Code::Unavailable | Code::ResourceExhausted | Code::Cancelled | Code::DeadlineExceeded => None,
        // Without a reason it is the connection that says so.
        Code::Unknown | Code::Internal if reason.is_none() => None,
        Code::Unknown | Code::Internal => panic!("{method}: {status:?}"),
        _ => Some(reason.unwrap_or_else(|| panic!("{method}: {status:?}"))),
    }
}
