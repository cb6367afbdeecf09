//! The service in a process with a private PostgreSQL, the three gateways, and the people of three centers.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use custody_ledger::{
    access::{Role, Scope},
    api::status::reason_of,
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
use time::OffsetDateTime;
use tokio::{process::Command, sync::watch, task::AbortHandle, time::timeout};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

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
    /// Where the service is, and a token that is good for a while.
    address: Arc<watch::Sender<(String, String)>>,
    renewing: AbortHandle,
    _simulator: Simulator,
}

/// How often callers get new tokens, in seconds: a token lives an hour, and a storm may take longer.
const RENEW_S: u64 = 1200;

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
        let simulator = Simulator::start(config, whole_service::turnable()).await.unwrap();
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
        let token = service.token(Role::Admin, Scope::default());
        let address = Arc::new(watch::channel((service.address.clone(), token)).0);
        let house = House {
            control: SimulatorControl::try_new(url.clone()).unwrap(),
            renewing: keep_renewing(address.clone(), service.issuer()),
            address,
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
            control: self.control.clone(),
            line: Arc::default(),
        }
    }

    pub async fn cut_service(&mut self) {
        self.service.kill().await;
        self.service.restart().await;
        self.move_in();
    }

    /// The service goes to bed, and gets up when the day is over. The gateways' clock goes with its.
    pub async fn sleep_until_tomorrow(&mut self) {
        let tomorrow = OffsetDateTime::now_utc() + time::Duration::DAY;
        self.service.stop().await;
        self.renewing.abort();
        self.control.turn_clock(tomorrow).await.unwrap();
        self.service.restart_at(tomorrow).await;
        self.move_in();
    }

    fn move_in(&self) {
        let token = self.service.token(Role::Admin, Scope::default());
        self.address.send_replace((self.service.address.clone(), token));
    }

    /// PostgreSQL only; the service starts it again.
    pub async fn cut_postgresql(&mut self) {
        let pid_file = self.service.directory.path().join("postgres/data/postmaster.pid");
        let text = std::fs::read_to_string(pid_file).unwrap();
        let kill = Command::new("kill").args(["-9", text.lines().next().unwrap()]).status();
        assert!(kill.await.unwrap().success());
    }
}

/// New tokens for the callers, as long as the test runs.
fn keep_renewing(
    address: Arc<watch::Sender<(String, String)>>,
    issue: impl Fn() -> String + Send + 'static,
) -> AbortHandle {
    let renewing = tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_secs(RENEW_S)).await;
            address.send_modify(|(_, token)| *token = issue());
        }
    });
    renewing.abort_handle()
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
    address: watch::Receiver<(String, String)>,
    pub control: SimulatorControl,
    /// The connection, and where to: made anew when the service has moved, or something went wrong on it.
    line: Arc<Mutex<Option<(String, Channel)>>>,
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
            let (address, token) = self.address.borrow().clone();
            let call = whole_service::call(self.channel(&address), method, &token, message.encode_to_vec());
            let wait = patience.take().unwrap_or(Duration::from_secs(20));
            match timeout(wait, call).await {
                Ok(Ok(answer)) => return Ok(R::decode(answer.message.as_slice()).unwrap()),
                Ok(Err(status)) => {
                    if let Some(reason) = definite(method, &status) {
                        return Err(reason);
                    }
                    *self.line.lock().unwrap() = None;
                }
                Err(_) => *self.line.lock().unwrap() = None,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Caller {
    fn channel(&self, address: &str) -> Channel {
        let mut line = self.line.lock().unwrap();
        match &*line {
            Some((to, channel)) if to == address => channel.clone(),
            _ => {
                let channel = Endpoint::from_shared(format!("http://{address}"))
                    .unwrap()
                    .connect_lazy();
                *line = Some((address.to_owned(), channel.clone()));
                channel
            }
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
