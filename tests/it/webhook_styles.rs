//! Notifications in the styles of GOV.UK Pay and of Adyen, signed by hand, over real sockets.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use custody_ledger::{
    api::http::Notifications,
    clock::Clock,
    custody::{Admission, NewCenter, Settings},
    gateway::{
        Channels, Gate, PaymentMethod,
        simulator::{Simulator, SimulatorConfig},
        webhook::{NotificationStyle, WebhookChannel, WebhookConfig},
    },
    ids::{CenterId, PayerId},
    ledger::Center,
    money::{Amount, Currency},
    remittance::{LegState, METHOD, NewRemittance, Remittance, Remittances, order_number},
};
use secrecy::SecretString;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::world::{World, id, register_payer, request_with};

/// What both sides share, an HMAC key of Adyen's form.
const SECRET: &str = "44782def547aaa06c910c43932b1eb0c71fc68d9d0c057550c48ec2acf6ba056";

struct Bench {
    world: World,
    remittances: Remittances,
    door: String,
    _simulator: Simulator,
}

impl Bench {
    async fn build() -> Bench {
        let world = World::build().await;
        let secret = SecretString::from(SECRET);
        let config = SimulatorConfig::new(([127, 0, 0, 1], 0).into(), secret.clone());
        let simulator = Simulator::start(config, Clock::system()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = format!("http://{}/v1/notifications", listener.local_addr().unwrap());
        let gate = |id: &str, style: NotificationStyle| {
            let config = WebhookConfig {
                id: id.into(),
                base_url: simulator.base_url(),
                secret: secret.clone(),
            };
            let channel = WebhookChannel::try_new(config, Clock::system()).unwrap();
            Gate::new(Arc::new(channel.with_notifications(style)), format!("{door}/{id}"))
        };
        let channels = Channels::new([
            gate("govuk", NotificationStyle::govuk_pay(&secret).unwrap()),
            gate("adyen", NotificationStyle::adyen(&secret, "Custody").unwrap()),
        ]);
        let (lanes, custody) = (world.process.lanes.clone(), world.process.custody.clone());
        let remittances = Remittances::new(lanes, custody, channels);
        let router = Notifications::new(remittances.clone(), None, Clock::system()).router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Bench {
            world,
            remittances,
            door,
            _simulator: simulator,
        }
    }

    /// A center that counts in another currency, with D1 and their payer P1.
    async fn center(&self, name: &str, currency: &str) -> Center {
        let custody = &self.world.process.custody;
        let id_of = CenterId::parse(name).unwrap();
        let new = NewCenter {
            id: id_of.clone(),
            name: name.into(),
            name_zh: "中心".into(),
            time_zone: "Europe/London".into(),
            settings: Settings::defaults(Currency::parse(currency).unwrap()).unwrap(),
            by: "admin/root".into(),
        };
        custody.create_center(new).await.unwrap();
        let center = custody.center(&id_of).await.unwrap();
        let admission = Admission {
            id: id("D1"),
            name: "D1".into(),
            name_zh: "某".into(),
            tier: 1,
            birth_date: None,
        };
        custody.admit(&center, admission).await.unwrap();
        register_payer(&self.world.process, &center, "P1", &["D1"]).await;
        center
    }

    async fn order(&self, center: &Center, channel: &str, amount: &str) -> (Remittance, String) {
        let new = NewRemittance {
            request: request_with(Uuid::new_v4(), METHOD, amount.as_bytes()),
            payer: PayerId::parse("P1").unwrap(),
            detainee: id("D1"),
            amount: Amount::parse(amount, center.currency).unwrap(),
            channel: Some(channel.into()),
            method: PaymentMethod::Link,
        };
        let (ordered, _) = self.remittances.create(center, new).await.unwrap();
        let number = order_number(center.no, &ordered.id);
        (ordered, number)
    }

    async fn post(&self, channel: &str, signature: Option<String>, body: String) -> (u16, String) {
        let mut request = reqwest::Client::new()
            .post(format!("{}/{channel}", self.door))
            .body(body);
        if let Some(signature) = signature {
            request = request.header("Pay-Signature", signature);
        }
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn state(&self, center: &Center, remittance: &Remittance) -> LegState {
        let found = self.remittances.remittance(center, &remittance.id).await;
        found.unwrap().state()
    }

    async fn available(&self, center: &Center) -> String {
        let balances = self.world.process.custody.balances(center, &id("D1")).await;
        balances.unwrap().available.to_string()
    }

    async fn rejected(&self) -> Vec<String> {
        let mut conn = self.world.process.database.lane.acquire().await.unwrap();
        sqlx::query_scalar("select reason from rejected_notification order by reason")
            .fetch_all(&mut *conn)
            .await
            .unwrap()
    }
}

fn govuk_signed(body: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    hex::encode(hmac::sign(&key, body.as_bytes()).as_ref())
}

fn govuk(event: &str, order: &str, pence: &str) -> String {
    format!(
        r#"{{"webhook_message_id":"wm_1","api_version":1,"created_date":"2026-11-24T10:36:26.988Z","resource_id":"hu20",
        "resource_type":"payment","event_type":"{event}","resource":{{"payment_id":"hu20","amount":{pence},
        "reference":"{order}","state":{{"status":"success","finished":true}}}}}}"#
    )
}

/// An item of a notification, signed over its fields as they are told here.
fn adyen(event: &str, order: &str, value: i64, success: bool) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &hex::decode(SECRET).unwrap());
    let signed = format!("8515131751004933::Custody:{order}:{value}:EUR:{event}:{success}");
    let signature = STANDARD.encode(hmac::sign(&key, signed.as_bytes()).as_ref());
    format!(
        r#"{{"live":"false","notificationItems":[{{"NotificationRequestItem":{{
        "additionalData":{{"hmacSignature":"{signature}"}},"amount":{{"currency":"EUR","value":{value}}},
        "eventCode":"{event}","eventDate":"2026-11-24T09:00:00+01:00","merchantAccountCode":"Custody",
        "merchantReference":"{order}","pspReference":"8515131751004933","success":"{success}"}}}}]}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_at_govuk_pay_is_credited_and_nothing_else_is() {
    let bench = Bench::build().await;
    let center = bench.center("LONDON", "GBP").await;
    let (ordered, number) = bench.order(&center, "govuk", "50.00").await;
    let good = govuk("card_payment_captured", &number, "5000");
    let cases = [
        (None, good.clone(), 400),
        (Some("00".repeat(32)), good.clone(), 400),
        (Some("zz".into()), good.clone(), 400),
        (Some(govuk_signed(&good)), good.replace("5000", "500000"), 400),
        // Genuine, but about nothing that moves money, or about another amount.
        (None, govuk("card_payment_succeeded", &number, "5000"), 200),
        (None, govuk("card_payment_captured", &number, "5001"), 200),
    ];
    for (signature, body, code) in cases {
        let signature = signature.or_else(|| (code == 200).then(|| govuk_signed(&body)));
        let answer = bench.post("govuk", signature, body.clone()).await;
        assert_eq!(answer.0, code, "{body}");
        assert_eq!(bench.state(&center, &ordered).await, LegState::Pending, "{body}");
    }
    assert_eq!(
        bench.rejected().await,
        [
            "bad_signature",
            "bad_signature",
            "malformed",
            "missing_signature",
            "other_amount"
        ]
    );
    assert_eq!(bench.available(&center).await, "0.00");
    for _ in 0..2 {
        let answer = bench.post("govuk", Some(govuk_signed(&good)), good.clone()).await;
        assert_eq!(answer, (200, r#"{"received":true}"#.into()));
    }
    assert_eq!(bench.state(&center, &ordered).await, LegState::Credited);
    assert_eq!(bench.available(&center).await, "50.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authorisation_at_adyen_is_credited_and_nothing_else_is() {
    let bench = Bench::build().await;
    let center = bench.center("DUBLIN", "EUR").await;
    let (ordered, number) = bench.order(&center, "adyen", "50.00").await;
    let good = adyen("AUTHORISATION", &number, 5000, true);
    let cases = [
        (good.replace("5000", "500000"), 400),
        (good.replace("\"Custody\"", "\"Another\""), 400),
        (good.replace("hmacSignature", "signature"), 400),
        (
            adyen("AUTHORISATION", &number, 5000, false).replace("\"false\"}}", "\"true\"}}"),
            400,
        ),
        ("{}".into(), 400),
        (adyen("AUTHORISATION", &number, 5000, false), 200),
        (adyen("REFUND", &number, 5000, true), 200),
        (adyen("AUTHORISATION", &number, 4999, true), 200),
    ];
    for (body, code) in cases {
        let answer = bench.post("adyen", None, body.clone()).await;
        let told = if code == 200 { "[accepted]" } else { "[refused]" };
        assert_eq!(answer, (code, told.into()), "{body}");
        assert_eq!(bench.state(&center, &ordered).await, LegState::Pending, "{body}");
    }
    assert_eq!(
        bench.rejected().await,
        [
            "bad_signature",
            "bad_signature",
            "bad_signature",
            "malformed",
            "missing_signature",
            "other_amount"
        ]
    );
    for _ in 0..2 {
        assert_eq!(
            bench.post("adyen", None, good.clone()).await,
            (200, "[accepted]".into())
        );
    }
    assert_eq!(bench.state(&center, &ordered).await, LegState::Credited);
    assert_eq!(bench.available(&center).await, "50.00");
}
