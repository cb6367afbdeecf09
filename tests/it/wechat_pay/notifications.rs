//! What is told to the door: forged, old, altered, or of another merchant.

use std::{collections::BTreeSet, time::Duration};

use axum::{Router, body::Bytes, routing::post};
use custody_ledger::{
    gateway::{
        Channel as _,
        simulator::control::PayOptions,
        wechat_pay::{WechatPayChannel, WechatPayConfig},
    },
    remittance::LegState,
};
use http::HeaderMap;
use secrecy::SecretString;
use time::OffsetDateTime;

use super::{Bench, Caught, catch, keys, serve};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_forged_old_a_probe_or_of_another_merchant_changes_nothing() {
    let caught = Caught::default();
    let catcher = Router::new().route("/", post(catch)).with_state(caught.clone());
    let bench = Bench::build_with(|config| config, Some(serve(catcher).await)).await;
    let ordered = bench.order("100.00").await;
    bench.pay(&ordered, PayOptions::default()).await;
    let (mut headers, body) = caught.lock().unwrap()[0].clone();
    // Other bodies have other lengths.
    headers.remove("content-length");
    let http = reqwest::Client::new();
    let send = |channel: &str, headers: HeaderMap, body: Bytes| {
        let request = http.post(format!("{}/{channel}", bench.door));
        let request = request.headers(headers).body(body);
        async move {
            let answer = request.send().await.unwrap();
            (answer.status().as_u16(), answer.text().await.unwrap())
        }
    };
    let with = |name: &'static str, value: &str| {
        let mut headers = headers.clone();
        headers.insert(name, value.parse().unwrap());
        headers
    };
    let without = |name: &str| {
        let mut headers = headers.clone();
        headers.remove(name);
        headers
    };
    let text = String::from_utf8(body.to_vec()).unwrap();
    let altered = |from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        Bytes::from(text.replace(from, to))
    };
    let nonce = headers["wechatpay-nonce"].to_str().unwrap().to_owned();
    let cases = [
        (without("wechatpay-signature"), body.clone(), "missing_signature"),
        (
            with("wechatpay-signature", "WECHATPAY/SIGNTEST/abc"),
            body.clone(),
            "signature_probe",
        ),
        (with("wechatpay-signature", "AAAA"), body.clone(), "bad_signature"),
        (
            with("wechatpay-nonce", &nonce.replace(|c: char| c.is_ascii_digit(), "x")),
            body.clone(),
            "bad_signature",
        ),
        (with("wechatpay-timestamp", "1936000000"), body.clone(), "bad_signature"),
        (with("wechatpay-timestamp", "soon"), body.clone(), "malformed"),
        (without("wechatpay-serial"), body.clone(), "malformed"),
        (
            with("wechatpay-serial", "5157F09EFDC096DE15EBE81A47057A72"),
            body.clone(),
            "unknown_key",
        ),
        (
            with("wechatpay-signature-type", "WECHATPAY2-SM2"),
            body.clone(),
            "malformed",
        ),
        (headers.clone(), altered("支付成功", "支付失败"), "bad_signature"),
        (
            headers.clone(),
            altered("TRANSACTION.SUCCESS", "REFUND.SUCCESS"),
            "bad_signature",
        ),
        (headers.clone(), Bytes::new(), "bad_signature"),
    ];
    let mut kept = BTreeSet::new();
    for (headers, body, expected) in cases {
        let (code, answer) = send("wechat", headers, body).await;
        assert_eq!(
            (code, answer.as_str()),
            (401, r#"{"code":"FAIL","message":"失败"}"#),
            "{expected}"
        );
        kept.insert(expected.to_owned());
        let rejected: BTreeSet<String> = bench.rejected().await.into_iter().collect();
        assert_eq!(rejected, kept);
    }
    // Not for the other channel, either.
    assert_eq!(send("webhook", headers.clone(), body.clone()).await.0, 400);
    assert_eq!(bench.state(&ordered).await, LegState::Pending);
    // 300 seconds later it is too old; a second before, it is what was paid.
    let signed_at: i64 = headers["wechatpay-timestamp"].to_str().unwrap().parse().unwrap();
    let at = |seconds: i64| OffsetDateTime::from_unix_timestamp(signed_at + seconds).unwrap();
    assert!(bench.clock.turn_to(at(300)));
    assert_eq!(send("wechat", headers.clone(), body.clone()).await.0, 401);
    assert!(bench.rejected().await.contains(&"outside_window".to_owned()));
    assert_eq!(bench.state(&ordered).await, LegState::Pending);
    assert!(bench.clock.turn_to(at(290)));
    assert_eq!(send("wechat", headers.clone(), body.clone()).await.0, 200);
    assert_eq!(bench.state(&ordered).await, LegState::Credited);
    assert_eq!(send("wechat", headers, body).await.0, 200, "the same again");
    assert_eq!(bench.world.available("D1").await, "100.00");
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_amount_or_an_altered_one_is_not_credited() {
    let bench = Bench::build().await;
    let ordered = bench.order("100.00").await;
    let options = PayOptions {
        wrong_amount: Some("99.99".into()),
        ..PayOptions::default()
    };
    bench.pay(&ordered, options).await;
    assert_eq!(bench.rejected().await, ["other_amount"]);
    assert_eq!(bench.world.available("D1").await, "0.00");
    let ordered = bench.order("70.00").await;
    let options = PayOptions {
        tamper: true,
        ..PayOptions::default()
    };
    bench.control.pay(&bench.number(&ordered), &options).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), async {
        while !bench.rejected().await.contains(&"bad_signature".to_owned()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap();
    assert_eq!(bench.world.available("D1").await, "0.00");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_another_app_is_not_ours() {
    let caught = Caught::default();
    let catcher = Router::new().route("/", post(catch)).with_state(caught.clone());
    let bench = Bench::build_with(|config| config, Some(serve(catcher).await)).await;
    let ordered = bench.order("100.00").await;
    bench.pay(&ordered, PayOptions::default()).await;
    let (headers, body) = caught.lock().unwrap()[0].clone();
    let of = |change: fn(&mut WechatPayConfig)| {
        let mut config = keys().config("wechat", &bench.base_url).unwrap();
        change(&mut config);
        let channel = WechatPayChannel::try_new(&config, bench.clock.clone()).unwrap();
        channel.parse_notification(&headers, &body, bench.clock.now())
    };
    assert!(of(|_| {}).is_ok());
    let told = of(|config| config.appid = "wx2".into()).unwrap_err();
    assert!(told.to_string().contains("another merchant or app"), "{told}");
    let told = of(|config| config.mchid = "1900000002".into()).unwrap_err();
    assert!(told.to_string().contains("another merchant or app"), "{told}");
    let told = of(|config| config.api_v3_key = SecretString::from("a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb")).unwrap_err();
    assert!(told.to_string().contains("cannot be opened"), "{told}");
}
