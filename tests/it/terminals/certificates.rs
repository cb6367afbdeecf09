//! Terminals that call over TLS with their certificates, and those that do not get in.

use custody_ledger::{
    access::Role,
    api::dial::{DialError, Identity, dial},
    proto::{
        CreateChallengeRequest, GetSpendingRequest, ListProductsRequest, RegisterModuleRequest,
        RenewCertificateRequest, RevokeTerminalRequest, SignInByAssertionRequest,
        commissary_service_client::CommissaryServiceClient, session_service_client::SessionServiceClient,
        terminal_service_client::TerminalServiceClient,
    },
    terminal::assertion_text,
};
use rcgen::KeyPair;
use tonic::{Code, Request, Status, transport::Channel};
use uuid::Uuid;

use super::{
    Post, name, new_key, refused,
    sessions::{balances, settle_in, sign_in},
};
use crate::service::{Service, buy_rice, with_token};

/// An enrolled terminal: what it keeps.
struct Enrolled {
    certificate: String,
    key: KeyPair,
    authority: String,
}

impl Enrolled {
    async fn at(post: &Post, terminal: &str) -> Enrolled {
        post.create(terminal).await.unwrap();
        let code = post.code(terminal).await.unwrap().code;
        let (key, request) = new_key();
        let told = post.enrol(terminal, &code, &request).await.unwrap();
        Enrolled {
            certificate: told.certificate,
            key,
            authority: told.authority_certificate,
        }
    }

    async fn dial(&self, service: &Service) -> Result<Channel, DialError> {
        let identity = Identity {
            certificate: &self.certificate,
            key: &self.key.serialize_pem(),
            authority: &self.authority,
        };
        dial(service.terminal_address.as_deref().unwrap(), &identity).await
    }
}

async fn products(channel: &Channel) -> Result<(), Status> {
    let message = ListProductsRequest {
        parent: "centers/C1".into(),
        ..Default::default()
    };
    CommissaryServiceClient::new(channel.clone())
        .list_products(message)
        .await
        .map(drop)
}

async fn renew(channel: &Channel, request: &str) -> Result<(String, i32), Status> {
    let message = RenewCertificateRequest {
        certificate_request: request.into(),
    };
    let told = TerminalServiceClient::new(channel.clone())
        .renew_certificate(message)
        .await?
        .into_inner();
    Ok((told.certificate, told.terminal.unwrap().certificate.unwrap().number))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enrolled_terminal_calls_with_its_certificate_and_sells_within_sessions() {
    let post = Post::open_to_terminals().await;
    let enrolled = Enrolled::at(&post, "T1").await;
    let channel = enrolled.dial(&post.service).await.unwrap();
    products(&channel).await.unwrap();
    // Alone it sees nothing of a detainee and buys nothing for one.
    let purchase = crate::service::purchase_of("C1", "D1", Uuid::new_v4(), &[("RICE", 1)]);
    let mut shop = CommissaryServiceClient::new(channel.clone());
    assert_eq!(refused(shop.create_purchase(purchase).await), "SESSION_REQUIRED");
    let message = GetSpendingRequest {
        detainee: "centers/C1/detainees/D1".into(),
        month: String::new(),
    };
    assert_eq!(refused(shop.get_spending(message).await), "SESSION_REQUIRED");
    // Nor does anybody else's token do anything there, a trusted station's of the same name included.
    for token in [post.token(Role::Admin), post.service.terminal_token("C1")] {
        assert_eq!(refused(balances(&channel, &token, "D1").await), "NOT_AUTHENTICATED");
    }

    let session = settle_in(&post, &channel, None, "0001", "D1", "271828").await;
    buy_rice(channel.clone(), &session, "D1", Uuid::new_v4()).await.unwrap();
    balances(&channel, &session, "D1").await.unwrap();

    // The session is of that terminal and of its connections.
    let other = Enrolled::at(&post, "T2").await.dial(&post.service).await.unwrap();
    for elsewhere in [&other, &post.channel] {
        let bought = buy_rice(elsewhere.clone(), &session, "D1", Uuid::new_v4()).await;
        assert_eq!(refused(bought), "NOT_AUTHENTICATED");
        assert_eq!(refused(balances(elsewhere, &session, "D1").await), "NOT_AUTHENTICATED");
    }
    let (verified, told) = post.service.verify().await;
    assert!(verified, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_a_certificate_of_this_authority() {
    let post = Post::open_to_terminals().await;
    let enrolled = Enrolled::at(&post, "T1").await;
    let address = post.service.terminal_address.clone().unwrap();
    let plain = tonic::transport::Endpoint::from_shared(format!("http://{address}")).unwrap();
    let told = match plain.connect().await {
        Ok(channel) => products(&channel).await.unwrap_err().code(),
        Err(_) => Code::Unavailable,
    };
    assert_ne!(told, Code::Ok);
    // A certificate that another authority made, and one of ours with another's key.
    let elsewhere = Post::open_to_terminals().await;
    let foreign = Enrolled::at(&elsewhere, "T1").await;
    let stolen = Enrolled {
        certificate: enrolled.certificate.clone(),
        key: new_key().0,
        authority: enrolled.authority.clone(),
    };
    let pretended = Enrolled {
        authority: enrolled.authority.clone(),
        ..foreign
    };
    for outsider in [stolen, pretended] {
        if let Ok(channel) = outsider.dial(&post.service).await {
            // TLS 1.3 tells a client that its certificate is not taken only once it speaks.
            products(&channel).await.unwrap_err();
        }
    }
    // And the terminal does not believe a service of another authority.
    assert!(enrolled.dial(&elsewhere.service).await.is_err());
    products(&enrolled.dial(&post.service).await.unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_and_enrolling_again_ends_it() {
    let mut post = Post::open_to_terminals().await;
    let mut enrolled = Enrolled::at(&post, "T1").await;
    let channel = enrolled.dial(&post.service).await.unwrap();
    let same = rcgen::CertificateParams::default()
        .serialize_request(&enrolled.key)
        .unwrap()
        .pem()
        .unwrap();
    // Young, and the same key: it is the one there is.
    assert_eq!(renew(&channel, &same).await.unwrap(), (enrolled.certificate.clone(), 1));
    assert_eq!(refused(renew(&channel, "nonsense").await), "INVALID_FIELD");
    let plain = with_token(
        &post.service.terminal_token("C1"),
        RenewCertificateRequest {
            certificate_request: same.clone(),
        },
    );
    assert_eq!(
        refused(post.terminals().renew_certificate(plain).await),
        "CERTIFICATE_NOT_CURRENT"
    );

    let (key, request) = new_key();
    let (certificate, number) = renew(&channel, &request).await.unwrap();
    assert_eq!(number, 2);
    assert_eq!(renew(&channel, &request).await.unwrap(), (certificate.clone(), 2));
    // The one before stays good: the answer may have been lost.
    products(&channel).await.unwrap();
    let renewed = Enrolled {
        certificate,
        key,
        authority: enrolled.authority.clone(),
    };
    products(&renewed.dial(&post.service).await.unwrap()).await.unwrap();

    // Past half of its life the same key gets another; past the end it gets nowhere.
    let now = time::OffsetDateTime::now_utc();
    post.service.kill().await;
    post.service.restart_at(now + time::Duration::days(46)).await;
    post.channel = post.service.channel().await;
    let channel = renewed.dial(&post.service).await.unwrap();
    let (certificate, number) = renew(&channel, &request).await.unwrap();
    assert_eq!(number, 3);
    enrolled = Enrolled {
        certificate,
        key: renewed.key,
        authority: renewed.authority,
    };
    let code = post.code("T1").await.unwrap().code;
    let (_, another) = new_key();
    post.enrol("T1", &code, &another).await.unwrap();
    let ended = products(&enrolled.dial(&post.service).await.unwrap()).await;
    assert_eq!(refused(ended), "CERTIFICATE_NOT_CURRENT");
    post.service.kill().await;
    post.service.restart_at(now + time::Duration::days(140)).await;
    if let Ok(channel) = enrolled.dial(&post.service).await {
        products(&channel).await.unwrap_err();
    }
    let (verified, told) = post.service.verify().await;
    assert!(verified, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_holds_at_once_in_every_process() {
    let post = Post::open_to_terminals().await;
    let another = Service::start_in(post.keys_again(), Some(&post.db.url), &[super::TERMINAL_PORT]).await;
    let enrolled = Enrolled::at(&post, "T1").await;
    let here = enrolled.dial(&post.service).await.unwrap();
    let there = enrolled.dial(&another).await.unwrap();
    let session = settle_in(&post, &here, None, "0001", "D1", "271828").await;
    for channel in [&here, &there] {
        buy_rice(channel.clone(), &session, "D1", Uuid::new_v4()).await.unwrap();
        balances(channel, &session, "D1").await.unwrap();
    }
    let message = RevokeTerminalRequest {
        name: name("T1"),
        reason: "stolen".into(),
    };
    let asked = with_token(&post.token(Role::Admin), message);
    post.terminals().revoke_terminal(asked).await.unwrap();
    for channel in [&there, &here] {
        let bought = buy_rice(channel.clone(), &session, "D1", Uuid::new_v4()).await;
        assert_eq!(refused(bought), "TERMINAL_REVOKED");
        assert_eq!(refused(balances(channel, &session, "D1").await), "TERMINAL_REVOKED");
        assert_eq!(refused(products(channel).await), "TERMINAL_REVOKED");
        assert_eq!(
            refused(sign_in(channel, None, "0001", "271828").await),
            "TERMINAL_REVOKED"
        );
    }
    let (_, request) = new_key();
    assert_eq!(refused(renew(&here, &request).await), "TERMINAL_REVOKED");
    // Not even a trusted station's token sells in the name of a terminal that was ended.
    let bought = buy_rice(
        post.channel.clone(),
        &post.service.terminal_token("C1"),
        "D1",
        Uuid::new_v4(),
    )
    .await;
    assert_eq!(refused(bought), "TERMINAL_REVOKED");
    let (verified, told) = post.service.verify().await;
    assert!(verified, "{told}");
}

async fn challenge(channel: &Channel) -> Result<Vec<u8>, Status> {
    let made = SessionServiceClient::new(channel.clone())
        .create_challenge(CreateChallengeRequest {})
        .await?;
    Ok(made.into_inner().challenge)
}

/// What a module signs for whom at which terminal, handed in by the terminal of a channel.
async fn assert_for(
    channel: &Channel,
    module: &KeyPair,
    challenge: &[u8],
    (signed_for, told_for): (&str, &str),
    terminal: &str,
) -> Result<String, Status> {
    let detainee = |id: &str| format!("centers/C1/detainees/{id}");
    let text = assertion_text(&name(terminal), &detainee(signed_for), challenge);
    let pair = aws_lc_rs::signature::Ed25519KeyPair::from_pkcs8(module.serialized_der()).unwrap();
    let message = SignInByAssertionRequest {
        challenge: challenge.to_vec(),
        detainee: detainee(told_for),
        signature: pair.sign(text.as_bytes()).as_ref().to_vec(),
    };
    let mut client = SessionServiceClient::new(channel.clone());
    client
        .sign_in_by_assertion(message)
        .await
        .map(|answer| answer.into_inner().token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_biometric_module_signs_detainees_in() {
    let post = Post::open_to_terminals().await;
    let one = Enrolled::at(&post, "T1").await.dial(&post.service).await.unwrap();
    let two = Enrolled::at(&post, "T2").await.dial(&post.service).await.unwrap();
    assert_eq!(refused(challenge(&one).await), "NO_BIOMETRIC_MODULE");
    let (module, _) = new_key();
    for (terminal, key, refusal) in [
        ("T1", module.public_key_raw(), None),
        ("T1", module.public_key_raw(), None),
        ("T1", &[1; 31], Some("INVALID_FIELD")),
        ("T9", &[1; 32], Some("NOT_FOUND")),
    ] {
        let message = RegisterModuleRequest {
            terminal: name(terminal),
            public_key: key.to_vec(),
        };
        let told = post
            .sessions()
            .register_module(with_token(&post.token(Role::Admin), message))
            .await;
        match refusal {
            Some(refusal) => assert_eq!(refused(told), refusal),
            None => assert_eq!(told.unwrap().into_inner().number, 1),
        }
    }
    let good = challenge(&one).await.unwrap();
    let session = assert_for(&one, &module, &good, ("D1", "D1"), "T1").await.unwrap();
    buy_rice(one.clone(), &session, "D1", Uuid::new_v4()).await.unwrap();
    // There is no PIN to change.
    let changed = super::sessions::change_pin(&one, &session, "271828", "314159").await;
    assert_eq!(refused(changed), "SESSION_WITHOUT_CARD");

    let fresh = || challenge(&one);
    let (forger, _) = new_key();
    let told = [
        ("told again", assert_for(&one, &module, &good, ("D1", "D1"), "T1").await),
        (
            "for another",
            assert_for(&one, &module, &fresh().await.unwrap(), ("D1", "D2"), "T1").await,
        ),
        (
            "forged",
            assert_for(&one, &forger, &fresh().await.unwrap(), ("D1", "D1"), "T1").await,
        ),
        (
            "of nobody",
            assert_for(&one, &module, &fresh().await.unwrap(), ("D9", "D9"), "T1").await,
        ),
        (
            "of another terminal",
            assert_for(&one, &module, &fresh().await.unwrap(), ("D1", "D1"), "T2").await,
        ),
        (
            "at another terminal",
            assert_for(&two, &module, &fresh().await.unwrap(), ("D1", "D1"), "T2").await,
        ),
        ("made up", assert_for(&one, &module, &[7; 32], ("D1", "D1"), "T1").await),
    ];
    for (what, answer) in told {
        assert_eq!(refused(answer), "ASSERTION_REFUSED", "{what}");
    }
    // A challenge that was answered wrongly is used up.
    let once = fresh().await.unwrap();
    assert_for(&one, &forger, &once, ("D1", "D1"), "T1").await.unwrap_err();
    assert_eq!(
        refused(assert_for(&one, &module, &once, ("D1", "D1"), "T1").await),
        "ASSERTION_REFUSED"
    );
    let mut refusal = String::new();
    for _ in 0..20 {
        if let Err(status) = challenge(&one).await {
            refusal = super::reason(&status);
            break;
        }
    }
    assert_eq!(refusal, "TOO_MANY_CHALLENGES");
    let message = Request::new(SignInByAssertionRequest {
        challenge: vec![1],
        detainee: "centers/C1/detainees/D1".into(),
        signature: vec![0; 64],
    });
    let mut client = SessionServiceClient::new(one.clone());
    assert_eq!(refused(client.sign_in_by_assertion(message).await), "INVALID_FIELD");
    let (verified, told) = post.service.verify().await;
    assert!(verified, "{told}");
}
