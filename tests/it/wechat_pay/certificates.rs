//! The platform's certificates: fetched, replaced while the service runs, and never fetched as often as somebody likes.

use axum::{Router, body::Bytes, routing::post};
use custody_ledger::{
    clock::Clock,
    gateway::{
        Channel as _, GatewayError,
        simulator::{
            control::{PayOptions, Rotation},
            wechat::keys::WechatPayKeys,
        },
        wechat_pay::{WechatPayChannel, WechatPayConfig},
    },
    jobs,
    remittance::LegState,
};
use futures::future::join_all;
use http::HeaderMap;
use secrecy::SecretString;
use time::Duration;

use super::{Bench, Caught, MORNING, catch, keys, serve};

/// Nothing of the platform's is configured: everything is fetched.
fn fetching(mut config: WechatPayConfig) -> WechatPayConfig {
    config.platform_certificates.clear();
    config.platform_public_keys.clear();
    config.fetch_certificates = true;
    config
}

async fn send(url: &str, headers: &HeaderMap, body: &Bytes) -> u16 {
    let mut headers = headers.clone();
    headers.remove("content-length");
    let request = reqwest::Client::new().post(url).headers(headers).body(body.clone());
    request.send().await.unwrap().status().as_u16()
}

impl Bench {
    async fn fetched(&self) -> u64 {
        self.control.certificates().await.unwrap().fetched
    }

    fn pass(&self, seconds: i64) {
        assert!(self.clock.turn_to(self.clock.now() + Duration::seconds(seconds)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_certificate_is_learnt_and_the_old_one_good_until_it_expires() {
    let caught = Caught::default();
    let catcher = Router::new().route("/", post(catch)).with_state(caught.clone());
    let bench = Bench::build_with(fetching, Some(serve(catcher).await)).await;
    // The first answer is signed with a certificate that nobody has yet.
    let (first, second) = (bench.order("100.00").await, bench.order("70.00").await);
    let third = bench.order("30.00").await;
    assert_eq!(bench.fetched().await, 1);
    let door = format!("{}/wechat", bench.door);
    let received = |index: usize| caught.lock().unwrap()[index].clone();
    bench.pay(&first, PayOptions::default()).await;
    bench.pay(&second, PayOptions::default()).await;
    bench.pass(61);
    let rotated = bench
        .control
        .rotate_certificate(&Rotation { overlap_s: 100 })
        .await
        .unwrap();
    assert_eq!(rotated.serials.len(), 2);
    bench.pay(&third, PayOptions::default()).await;
    let (headers, body) = received(2);
    assert_eq!(headers["wechatpay-serial"], rotated.serials[1].as_str());
    // Right after the rotation, several at once: one of them fetches.
    let sent = join_all((0..8).map(|_| send(&door, &headers, &body))).await;
    assert_eq!(sent, [200; 8]);
    assert_eq!(bench.fetched().await, 2);
    assert_eq!(bench.state(&third).await, LegState::Credited);
    // The old one is still good for a while, and then no longer, whatever it has signed.
    bench.pass(50);
    let (headers, body) = received(0);
    assert_eq!(headers["wechatpay-serial"], rotated.serials[0].as_str());
    assert_eq!(send(&door, &headers, &body).await, 200);
    assert_eq!(bench.state(&first).await, LegState::Credited);
    bench.pass(60);
    let (headers, body) = received(1);
    assert_eq!(send(&door, &headers, &body).await, 401);
    assert_eq!(bench.rejected().await, ["unknown_key"]);
    assert_eq!(bench.state(&second).await, LegState::Pending);
    // Its payment is not lost: asking finds it.
    let found = bench
        .remittances
        .refresh(&bench.world.center, &second.id)
        .await
        .unwrap();
    assert_eq!(found.state(), LegState::Credited);
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_serial_numbers_cost_one_fetch_a_minute() {
    let bench = Bench::build_with(fetching, None).await;
    bench.order("100.00").await;
    assert_eq!(bench.fetched().await, 1);
    let door = format!("{}/wechat", bench.door);
    let forged = |serial: String| {
        let mut headers = HeaderMap::new();
        let timestamp = bench.clock.now().unix_timestamp().to_string();
        for (name, value) in [
            ("wechatpay-timestamp", timestamp.as_str()),
            ("wechatpay-nonce", "n"),
            ("wechatpay-signature", "AAAA"),
            ("wechatpay-serial", serial.as_str()),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let door = door.clone();
        async move { send(&door, &headers, &Bytes::from_static(b"{}")).await }
    };
    bench.pass(61);
    let sent = join_all((0..20).map(|n| forged(format!("5157F09EFDC096DE15EBE81A47057A7{n:02}")))).await;
    assert_eq!(sent, [401; 20]);
    assert_eq!(bench.fetched().await, 2, "one for all of them");
    bench.pass(30);
    assert_eq!(forged("5157F09E".into()).await, 401);
    assert_eq!(bench.fetched().await, 2);
    bench.pass(31);
    assert_eq!(forged("5157F09E".into()).await, 401);
    assert_eq!(bench.fetched().await, 3);
    // What cannot be the serial number of a certificate costs nothing.
    bench.pass(61);
    assert_eq!(forged("PUB_KEY_ID_0000".into()).await, 401);
    assert_eq!(forged("F".repeat(41)).await, 401);
    assert_eq!(forged("../../x".into()).await, 401);
    assert_eq!(bench.fetched().await, 3);
    assert!(bench.rejected().await.iter().all(|reason| reason == "unknown_key"));
    assert_eq!(bench.world.available("D1").await, "0.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_fetched_at_the_start_and_every_twelve_hours() {
    let bench = Bench::build_with(fetching, None).await;
    let look = || jobs::keys::look(&bench.channels);
    look().await;
    look().await;
    assert_eq!(bench.fetched().await, 1);
    bench.pass(12 * 3600 - 60);
    look().await;
    assert_eq!(bench.fetched().await, 1);
    bench.pass(61);
    look().await;
    assert_eq!(bench.fetched().await, 2);
    // A clock that was set back does not end it.
    assert!(bench.clock.turn_to(MORNING - Duration::days(3)));
    look().await;
    assert_eq!(bench.fetched().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_configured_stays_and_a_list_of_another_key_is_not_believed() {
    let bench = Bench::build().await;
    let number = bench.number(&bench.order("10.00").await);
    let with = |change: fn(&mut WechatPayConfig)| {
        let mut config = keys().config("wechat", &bench.base_url).unwrap();
        change(&mut config);
        WechatPayChannel::try_new(&config, bench.clock.clone()).unwrap()
    };
    // Configured certificates and fetched ones, side by side.
    let beside = with(|config| {
        config.platform_public_keys.clear();
        config.fetch_certificates = true;
    });
    assert!(beside.query_payment(&number).await.is_ok());
    assert_eq!(bench.fetched().await, 0, "the configured one has signed");
    bench.control.rotate_certificate(&Rotation::default()).await.unwrap();
    assert!(beside.query_payment(&number).await.is_ok());
    assert_eq!(bench.fetched().await, 1);
    // A public key needs no list, and one that was not told to fetch does not.
    let by_public_key = with(|config| config.platform_certificates.clear());
    assert_eq!(by_public_key.refresh_keys(None).await, Ok(false));
    let old = with(|config| config.platform_public_keys.clear());
    let answer = old.query_payment(&number).await;
    assert!(
        matches!(&answer, Err(GatewayError::Malformed { reason }) if reason.contains("not known")),
        "{answer:?}"
    );
    assert_eq!(bench.fetched().await, 1);
    // Another APIv3 key opens nothing.
    let other = with(|config| {
        config.api_v3_key = SecretString::from("a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb");
        *config = fetching(config.clone());
    });
    let told = other.refresh_keys(None).await.unwrap_err().to_string();
    assert!(told.contains("cannot be opened with the APIv3 key"), "{told}");
    // Nobody who answers in the platform's place is believed: their list opens with our key only if they have it.
    let strangers = WechatPayKeys::generate().unwrap().config("x", &bench.base_url).unwrap();
    let stranger = WechatPayChannel::try_new(&fetching(strangers), Clock::starting_at(MORNING)).unwrap();
    let told = stranger.refresh_keys(None).await.unwrap_err();
    assert!(matches!(told, GatewayError::NotLetIn { .. }), "{told:?}");
}
