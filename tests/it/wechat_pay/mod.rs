//! WeChat Pay: the channel, the domains over it and the door for notifications, against the simulated WeChat Pay over real sockets.

mod abnormal;
mod certificates;
mod notifications;
mod refunds_and_bills;

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use axum::{Router, body::Bytes, extract::State};
use custody_ledger::{
    api::http::{Notifications, OnRefund},
    clock::Clock,
    gateway::{
        Channel, Channels, Gate, GatewayError, NewPayment, PaymentMethod, PaymentState, RefundState as Told,
        simulator::{
            Simulator, SimulatorConfig, SimulatorControl,
            control::{DeliveryState, PayOptions, RefundAnswer},
            wechat::keys::WechatPayKeys,
        },
        webhook::{WebhookChannel, WebhookConfig},
        wechat_pay::{WechatPayChannel, WechatPayConfig},
    },
    ids::{CenterId, PayerId, Seq},
    ledger::{Code, LedgerError, account, balance},
    refund::{NewRefund, RefundState, Refunds, refund_number},
    remittance::{LegState, METHOD, NewRemittance, Remittance, Remittances, order_number},
};
use futures::future::FutureExt as _;
use http::HeaderMap;
use secrecy::SecretString;
use time::{
    Date, OffsetDateTime,
    macros::{date, datetime},
};
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::world::{World, cny, id, new_center, reason, register_payer, request, request_with};

/// Ten in the morning in Shanghai, and the next morning.
const MORNING: OffsetDateTime = datetime!(2031-05-06 02:00:00 UTC);
const NEXT_MORNING: OffsetDateTime = datetime!(2031-05-07 02:30:00 UTC);
const DAY: Date = date!(2031 - 05 - 06);

/// Made once: RSA keys take their time.
static KEYS: LazyLock<WechatPayKeys> = LazyLock::new(|| WechatPayKeys::generate().unwrap());

fn keys() -> WechatPayKeys {
    KEYS.clone()
}

type Caught = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

async fn catch(State(caught): State<Caught>, headers: HeaderMap, body: Bytes) {
    caught.lock().unwrap().push((headers, body));
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

struct Bench {
    world: World,
    clock: Clock,
    channels: Channels,
    remittances: Remittances,
    refunds: Refunds,
    control: SimulatorControl,
    base_url: String,
    door: String,
    _simulator: Simulator,
}

impl Bench {
    /// Channels `wechat` and, for center C2 only, `webhook`; notifications go to the door.
    async fn build() -> Bench {
        Bench::build_with(|config| config, None).await
    }

    /// The same with other settings of the channel, and notifications that go elsewhere.
    async fn build_with(change: impl FnOnce(WechatPayConfig) -> WechatPayConfig, notify: Option<String>) -> Bench {
        let clock = Clock::starting_at(MORNING);
        let world = World::build_with(clock.clone(), 4096).await;
        let secret = SecretString::from("shared");
        let mut config = SimulatorConfig::new(([127, 0, 0, 1], 0).into(), secret.clone());
        config.wechat_pay = Some(keys());
        let simulator = Simulator::start(config, clock.clone()).await.unwrap();
        let base_url = simulator.base_url();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = format!("http://{}/v1/notifications", listener.local_addr().unwrap());
        let config = change(keys().config("wechat", &base_url).unwrap());
        let wechat = WechatPayChannel::try_new(&config, clock.clone()).unwrap();
        let webhook = WebhookConfig {
            id: "webhook".into(),
            base_url: base_url.clone(),
            secret,
        };
        let webhook = WebhookChannel::try_new(webhook, clock.clone()).unwrap();
        let mut of_c2 = Gate::new(Arc::new(webhook), format!("{door}/webhook"));
        of_c2.centers = Some(BTreeSet::from([CenterId::parse("C2").unwrap()]));
        let notify = notify.unwrap_or_else(|| format!("{door}/wechat"));
        let channels = Channels::new([of_c2, Gate::new(Arc::new(wechat), notify)]);
        let (lanes, custody) = (world.process.lanes.clone(), world.process.custody.clone());
        let remittances = Remittances::new(lanes.clone(), custody.clone(), channels.clone());
        let refunds = Refunds::new(lanes, custody, channels.clone());
        let told = refunds.clone();
        let on_refund: OnRefund = Arc::new(move |channel, notice| {
            let refunds = told.clone();
            async move { refunds.notified(&channel, &notice).await }.boxed()
        });
        let router = Notifications::new(remittances.clone(), Some(on_refund), clock.clone()).router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        register_payer(&world.process, &world.center, "P1", &["D1", "D2"]).await;
        Bench {
            control: SimulatorControl::try_new(base_url.clone()).unwrap(),
            _simulator: simulator,
            world,
            clock,
            channels,
            remittances,
            refunds,
            base_url,
            door,
        }
    }

    fn wechat(&self) -> Arc<dyn Channel> {
        self.channels.get("wechat").unwrap().channel.clone()
    }

    fn asked(&self, amount: &str, channel: Option<&str>, openid: Option<&str>) -> NewRemittance {
        NewRemittance {
            request: request_with(Uuid::new_v4(), METHOD, amount.as_bytes()),
            payer: PayerId::parse("P1").unwrap(),
            detainee: id("D1"),
            amount: cny(amount),
            channel: channel.map(str::to_owned),
            method: PaymentMethod::of(openid.map(str::to_owned)),
        }
    }

    async fn order(&self, amount: &str) -> Remittance {
        let new = self.asked(amount, None, None);
        self.remittances.create(&self.world.center, new).await.unwrap().0
    }

    fn number(&self, remittance: &Remittance) -> String {
        order_number(self.world.center.no, &remittance.id)
    }

    async fn pay(&self, remittance: &Remittance, options: PayOptions) {
        self.control.pay(&self.number(remittance), &options).await.unwrap();
        let delivered = self.control.wait_for_deliveries(Duration::from_secs(30)).await;
        delivered.unwrap();
    }

    async fn state(&self, remittance: &Remittance) -> LegState {
        let found = self.remittances.remittance(&self.world.center, &remittance.id).await;
        found.unwrap().state()
    }

    async fn clearing(&self, channel: &str) -> String {
        let (database, center) = (&self.world.process.database, &self.world.center);
        let mut conn = database.read.acquire().await.unwrap();
        let owner = format!("channels/{channel}");
        let found = account::find(&mut *conn, center.no, Code::GatewayClearing, &owner).await;
        let Some(no) = found.unwrap() else {
            return "none".into();
        };
        balance::now(&mut *conn, center, &[no]).await.unwrap().0[0].to_string()
    }

    async fn rejected(&self) -> Vec<String> {
        let mut conn = self.world.process.database.lane.acquire().await.unwrap();
        sqlx::query_scalar("select reason from rejected_notification order by reason")
            .fetch_all(&mut *conn)
            .await
            .unwrap()
    }

    async fn refund(&self, remittance: &Remittance, amount: &str) -> Seq {
        let new = NewRefund::of(remittance.id.clone(), cny(amount), "wrong person").consented("C-1");
        let asked = request("test/Refund", amount.as_bytes());
        let posted = self.refunds.create(&self.world.center, asked, new).await.unwrap();
        // Taken to the gateway.
        self.refunds.refresh(&self.world.center, posted.seq()).await.unwrap();
        posted.seq()
    }

    async fn refund_state(&self, refund: Seq) -> RefundState {
        self.refunds.get(&self.world.center, refund).await.unwrap().state
    }

    async fn answer(&self, refund: Seq, answer: RefundAnswer) {
        let number = refund_number(self.world.center.no, refund);
        self.control.answer_refund(&number, &answer).await.unwrap();
        let delivered = self.control.wait_for_deliveries(Duration::from_secs(30)).await;
        delivered.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remittance_is_paid_by_qr_code_and_credited_once() {
    let bench = Bench::build().await;
    let ordered = bench.order("100.00").await;
    let pending = ordered.leg(LegState::Pending).unwrap();
    assert!(
        pending
            .payment_url
            .as_ref()
            .unwrap()
            .starts_with("weixin://wxpay/bizpayurl")
    );
    assert_eq!((ordered.channel.as_str(), pending.prepay.len()), ("wechat", 0));
    let unpaid = bench.wechat().query_payment(&bench.number(&ordered)).await;
    assert_eq!(unpaid, Ok(PaymentState::Unpaid));
    let options = PayOptions {
        duplicate: 3,
        ..PayOptions::default()
    };
    bench.pay(&ordered, options).await;
    assert_eq!(bench.state(&ordered).await, LegState::Credited);
    assert_eq!(bench.world.available("D1").await, "100.00");
    assert_eq!(bench.clearing("wechat").await, "100.00");
    let deliveries = bench.control.deliveries().await.unwrap();
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.state == DeliveryState::Accepted)
    );
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remittance_is_paid_inside_the_app() {
    let bench = Bench::build().await;
    let new = bench.asked("50.00", Some("wechat"), Some("oPayer1"));
    let (ordered, _) = bench
        .remittances
        .create(&bench.world.center, new.clone())
        .await
        .unwrap();
    let prepay = &ordered.leg(LegState::Pending).unwrap().prepay;
    let names: Vec<&str> = prepay.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["appId", "nonceStr", "package", "paySign", "signType", "timeStamp"]
    );
    assert!(prepay["package"].starts_with("prepay_id=wx") && prepay["paySign"].len() > 300);
    // The same request again is answered with the same parameters.
    let (again, replayed) = bench.remittances.create(&bench.world.center, new).await.unwrap();
    assert!(replayed && again.leg(LegState::Pending).unwrap().prepay == *prepay);
    bench.pay(&ordered, PayOptions::default()).await;
    assert_eq!(bench.state(&ordered).await, LegState::Credited);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_center_has_its_channels_and_each_channel_its_account() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    let refused = |new| async { reason(&bench.remittances.create(center, new).await.unwrap_err()) };
    assert_eq!(refused(bench.asked("1.00", Some("webhook"), None)).await, "NOT_FOUND");
    assert_eq!(refused(bench.asked("1.00", Some("paypal"), None)).await, "NOT_FOUND");
    let second = new_center(&bench.world.process, "C2").await;
    register_payer(&bench.world.process, &second, "P1", &["D1"]).await;
    let (first, _) = bench
        .remittances
        .create(&second, bench.asked("1.00", None, None))
        .await
        .unwrap();
    assert_eq!(first.channel, "webhook");
    let by_app = bench.asked("1.00", None, Some("oPayer1"));
    let error: LedgerError = bench.remittances.create(&second, by_app).await.unwrap_err();
    assert_eq!(reason(&error), "INVALID_FIELD", "the webhook gateway has no app");
    let other = bench.asked("2.00", Some("wechat"), None);
    let (other, _) = bench.remittances.create(&second, other).await.unwrap();
    assert_ne!(first.clearing, other.clearing);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_notification_is_found_by_asking_and_an_unpaid_order_is_closed() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    let ordered = bench.order("100.00").await;
    let lost = || PayOptions {
        lose: true,
        ..PayOptions::default()
    };
    bench.pay(&ordered, lost()).await;
    assert_eq!(bench.state(&ordered).await, LegState::Pending);
    let found = bench.remittances.refresh(center, &ordered.id).await.unwrap();
    assert_eq!(found.state(), LegState::Credited);

    let (channel, unpaid) = (bench.wechat(), bench.order("10.00").await);
    let number = bench.number(&unpaid);
    assert_eq!(channel.close_payment(&number).await, Ok(PaymentState::Closed));
    assert_eq!(channel.close_payment(&number).await, Ok(PaymentState::Closed), "again");
    assert_eq!(channel.query_payment(&number).await, Ok(PaymentState::Closed));
    assert_eq!(
        channel.query_payment("1-R0000000000000000").await,
        Ok(PaymentState::Unknown)
    );
    let paid = channel.close_payment(&bench.number(&ordered)).await.unwrap();
    assert!(
        matches!(paid, PaymentState::Paid { amount, .. } if amount == cny("100.00")),
        "{paid:?}"
    );
    assert_eq!(channel.query_refund(&number, "F1-000099").await, Ok(Told::Unknown));
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_names_that_do_not_fit_are_noticed() {
    let bench = Bench::build().await;
    let refused = |change: fn(&mut WechatPayConfig)| {
        let mut config = keys().config("wechat", "http://127.0.0.1:9").unwrap();
        change(&mut config);
        WechatPayChannel::try_new(&config, Clock::system())
            .err()
            .unwrap()
            .to_string()
    };
    let error = refused(|config| config.api_v3_key = SecretString::from("hunter2"));
    assert_eq!(error, "api_v3_key: has 7 bytes, not 32");
    let error = refused(|config| config.private_key = SecretString::from("hunter2"));
    assert_eq!(error, "private_key: is not a PEM text of one PRIVATE KEY");
    let error = refused(|config| config.private_key = SecretString::from(config.platform_certificates[0].clone()));
    assert_eq!(error, "private_key: is a CERTIFICATE, not a PRIVATE KEY");
    let error = refused(|config| {
        config.platform_certificates.clear();
        config.platform_public_keys.clear();
    });
    assert!(error.starts_with("platform_public_key_files: without one"), "{error}");
    assert!(refused(|config| config.mchid = "19 00".into()).starts_with("mchid: "));
    assert!(refused(|config| config.base_url = "ftp://x".into()).starts_with("base_url: "));

    // By certificate, the answers are signed with the certificate's key.
    let ordered = bench.order("10.00").await;
    let number = bench.number(&ordered);
    let with = |change: fn(&mut WechatPayConfig)| {
        let mut config = keys().config("wechat", &bench.base_url).unwrap();
        change(&mut config);
        WechatPayChannel::try_new(&config, bench.clock.clone()).unwrap()
    };
    let by_certificate = with(|config| config.platform_public_keys.clear());
    assert_eq!(by_certificate.query_payment(&number).await, Ok(PaymentState::Unpaid));
    // An answer signed with a key that we do not have is not believed.
    let other_platform = with(|config| {
        let others = WechatPayKeys::generate().unwrap().config("x", "http://x").unwrap();
        config.platform_public_keys = others.platform_public_keys;
        config.platform_certificates.clear();
    });
    let answer = other_platform.query_payment(&number).await;
    assert!(
        matches!(&answer, Err(GatewayError::Malformed { reason }) if reason.contains("not believed")),
        "{answer:?}"
    );
    // A request signed with another key is not let in, and says nothing of the order.
    let stranger = with(|config| {
        config.private_key = WechatPayKeys::generate()
            .unwrap()
            .config("x", "http://x")
            .unwrap()
            .private_key;
    });
    let answer = stranger.query_payment(&number).await;
    assert!(matches!(answer, Err(GatewayError::NotLetIn { .. })), "{answer:?}");
    let payment = NewPayment {
        order_number: "1-R0000000000000001".into(),
        amount: cny("1.00"),
        description: "一".repeat(100),
        expires_at: MORNING + Duration::from_secs(1800),
        notify_url: format!("{}/wechat", bench.door),
        method: PaymentMethod::Link,
    };
    let opened = bench.wechat().create_payment(&payment).await.unwrap();
    assert_eq!(
        bench.wechat().create_payment(&payment).await,
        Ok(opened),
        "the same again"
    );
    let other = NewPayment {
        amount: cny("2.00"),
        ..payment
    };
    let refused = bench.wechat().create_payment(&other).await;
    assert!(matches!(refused, Err(GatewayError::Refused { .. })), "{refused:?}");
}
