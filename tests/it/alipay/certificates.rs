//! The mode with certificates: what is named in requests and answers, and what cannot be configured.

use custody_ledger::{
    gateway::{
        Channel as _, GatewayError, PaymentState,
        alipay::{AlipayChannel, CertificateTexts, Mode},
        simulator::{alipay::keys::AlipayKeys, control::PayOptions},
    },
    refund::RefundState,
    remittance::LegState,
};

use super::{Bench, KEYS};

#[tokio::test(flavor = "multi_thread")]
async fn with_certificates_requests_and_answers_name_them() {
    let bench = Bench::build().await;
    let number = bench.number(&bench.order("10.00").await);
    let texts = || KEYS.certificates().clone();
    let with = |texts: CertificateTexts| {
        let mut config = KEYS.channel("alipay", &bench.base_url).unwrap();
        config.mode = Mode::Certificates(texts);
        AlipayChannel::try_new(config, bench.clock.clone())
    };
    let channel = with(texts()).unwrap();
    assert_eq!(channel.query_payment(&number).await, Ok(PaymentState::Unpaid));
    bench.control.scan(&number).await.unwrap();
    assert_eq!(channel.query_payment(&number).await, Ok(PaymentState::Unpaid));
    // Another root, or another application's certificate, is not let in; another certificate of Alipay's is named.
    let others = AlipayKeys::generate().unwrap().certificates().clone();
    let root = with(CertificateTexts {
        root: others.root.clone(),
        ..texts()
    })
    .unwrap();
    let answer = root.query_payment(&number).await;
    assert!(
        matches!(&answer, Err(GatewayError::NotLetIn { reason }) if reason.contains("root-cert-sn")),
        "{answer:?}"
    );
    let alipay = with(CertificateTexts {
        alipay: others.alipay.clone(),
        ..texts()
    })
    .unwrap();
    let answer = alipay.query_payment(&number).await;
    assert!(
        matches!(&answer, Err(GatewayError::Malformed { reason }) if reason.contains("Alipay has a new one")),
        "{answer:?}"
    );
    // What cannot be is told at the start, with the key's name.
    let refused = |texts: CertificateTexts| {
        let error = with(texts).err().unwrap();
        format!("{}: {error}", error.key())
    };
    let Mode::PublicKey(public) = KEYS.channel("x", "http://x").unwrap().mode else {
        panic!()
    };
    for (texts, told) in [
        (
            CertificateTexts {
                app: others.app,
                ..texts()
            },
            "app_cert_file: it belongs to another key",
        ),
        (
            CertificateTexts {
                app: texts().alipay,
                ..texts()
            },
            "app_cert_file: it belongs to another key",
        ),
        (
            CertificateTexts {
                alipay: texts().app,
                ..texts()
            },
            "alipay_cert_file: it is the application's own",
        ),
        (
            CertificateTexts {
                alipay: texts().root,
                ..texts()
            },
            "alipay_cert_file: it is an authority's certificate",
        ),
        (
            CertificateTexts {
                alipay: public,
                ..texts()
            },
            "alipay_cert_file: it is no PEM text",
        ),
        (
            CertificateTexts {
                root: texts().alipay,
                ..texts()
            },
            "alipay_root_cert_file: it is the certificate of a key",
        ),
        (
            CertificateTexts {
                root: String::new(),
                ..texts()
            },
            "alipay_root_cert_file: it is no PEM text",
        ),
    ] {
        let error = refused(texts);
        assert!(error.starts_with(told), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_certificates_a_notice_is_paid_and_one_of_another_certificate_is_not() {
    let bench = Bench::build_with(
        |config| config.mode = Mode::Certificates(KEYS.certificates().clone()),
        None,
    )
    .await;
    let ordered = bench.order("100.00").await;
    bench.pay(&ordered, PayOptions::default()).await;
    assert_eq!(bench.state(&ordered).await, LegState::Credited);
    let send = |body: &'static str| {
        let request = reqwest::Client::new().post(&bench.door).body(body);
        async move { request.send().await.unwrap().text().await.unwrap() }
    };
    assert_ne!(send("alipay_cert_sn=00&sign=AAAA&sign_type=RSA2").await, "success");
    assert_eq!(bench.rejected().await, ["unknown_key"]);
    let refund = bench.refund(&ordered, "40.00").await;
    assert_eq!(bench.refund_state(refund).await, RefundState::Succeeded);
    bench.world.verified().await;
}
