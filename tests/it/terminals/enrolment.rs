//! How a terminal comes in, and who does not.

use custody_ledger::{
    access::Role,
    proto::{
        CreateTerminalRequest, GetTerminalRequest, ListTerminalsRequest, RevokeTerminalRequest, Terminal,
        terminal::State,
    },
};
use sqlx::{Connection as _, PgConnection};
use tonic::{Code, Status};

use super::{Post, enrol, name, new_key, refused};
use crate::service::with_token;

async fn revoke(post: &Post, terminal: &str, reason: &str) -> Result<Terminal, Status> {
    let message = RevokeTerminalRequest {
        name: name(terminal),
        reason: reason.into(),
    };
    let asked = with_token(&post.token(Role::Admin), message);
    post.terminals()
        .revoke_terminal(asked)
        .await
        .map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_enrols_one_key_once() {
    let post = Post::open().await;
    let made = post.create("T1").await.unwrap();
    assert_eq!(
        (made.state(), made.certificate.clone()),
        (State::AwaitingEnrolment, None)
    );
    assert_eq!(post.create("T1").await.unwrap(), made);
    let code = post.code("T1").await.unwrap();
    let (key, request) = new_key();

    let first = post.enrol("T1", &code.code, &request).await.unwrap();
    let terminal = first.terminal.clone().unwrap();
    assert_eq!(terminal.state(), State::Enrolled);
    assert_eq!(terminal.certificate.as_ref().unwrap().public_key, key.public_key_raw());
    let authority = pem::parse(&first.authority_certificate).unwrap();
    let fingerprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, authority.contents());
    assert_eq!(hex::encode(fingerprint), code.authority_sha256);
    let certificate = pem::parse(&first.certificate).unwrap();
    let parsed = x509_parser::parse_x509_certificate(certificate.contents()).unwrap().1;
    let signer = x509_parser::parse_x509_certificate(authority.contents()).unwrap().1;
    parsed.verify_signature(Some(signer.public_key())).unwrap();

    // The same again, as people type it; another key; a second terminal.
    let typed = code.code.to_lowercase().replace('-', " ");
    assert_eq!(post.enrol("T1", &typed, &request).await.unwrap(), first);
    let (_, other) = new_key();
    assert_eq!(
        refused(post.enrol("T1", &code.code, &other).await),
        "ENROLMENT_CODE_USED"
    );
    post.create("T2").await.unwrap();
    assert_eq!(
        refused(post.enrol("T2", &code.code, &other).await),
        "ENROLMENT_CODE_INVALID"
    );

    // Enrolling again takes another code.
    let next = post.code("T1").await.unwrap();
    assert_eq!(
        refused(post.enrol("T1", &code.code, &request).await),
        "ENROLMENT_CODE_INVALID"
    );
    let again = post.enrol("T1", &next.code, &other).await.unwrap();
    assert_eq!(again.terminal.unwrap().certificate.unwrap().number, 2);
    let (verified, told) = post.service.verify().await;
    assert!(verified, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_ends_the_code() {
    let post = Post::open().await;
    post.create("T1").await.unwrap();
    let (_, request) = new_key();
    let wrong = "00000-00000-00000-00000";
    // Nobody finds out which terminals there are, or which of them await a code.
    let none = [
        post.enrol("T1", wrong, &request).await,
        post.enrol("T9", wrong, &request).await,
    ];
    assert_eq!(none.map(refused), ["ENROLMENT_CODE_INVALID", "ENROLMENT_CODE_INVALID"]);
    let code = post.code("T1").await.unwrap();
    for _ in 0..5 {
        let status = post.enrol("T1", wrong, &request).await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
        assert!(!format!("{status:?}").contains("00000-00000"));
    }
    assert_eq!(
        refused(post.enrol("T1", &code.code, &request).await),
        "ENROLMENT_CODE_INVALID"
    );
    let next = post.code("T1").await.unwrap();
    post.enrol("T1", &next.code, &request).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_old_after_a_day_and_void_after_a_revocation() {
    let mut post = Post::open().await;
    post.create("T1").await.unwrap();
    let code = post.code("T1").await.unwrap();
    let tomorrow = time::OffsetDateTime::now_utc() + time::Duration::hours(25);
    post.service.kill().await;
    post.service.restart_at(tomorrow).await;
    post.channel = post.service.channel().await;
    let (_, request) = new_key();
    assert_eq!(
        refused(post.enrol("T1", &code.code, &request).await),
        "ENROLMENT_CODE_EXPIRED"
    );

    let code = post.code("T1").await.unwrap();
    assert_eq!(refused(revoke(&post, "T1", " ").await), "INVALID_FIELD");
    let revoked = revoke(&post, "T1", "stolen").await.unwrap();
    assert_eq!(
        (revoked.state(), revoked.revoke_reason.as_str()),
        (State::Revoked, "stolen")
    );
    assert_eq!(revoke(&post, "T1", "again").await.unwrap(), revoked);
    assert_eq!(
        refused(post.enrol("T1", &code.code, &request).await),
        "TERMINAL_REVOKED"
    );
    assert_eq!(refused(post.code("T1").await), "TERMINAL_REVOKED");
    assert_eq!(refused(revoke(&post, "T9", "gone").await), "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_with_one_code_enrol_one() {
    let post = Post::open().await;
    let another = crate::service::Service::start(Some(&post.db.url)).await;
    let elsewhere = another.channel().await;
    post.create("T1").await.unwrap();
    let code = post.code("T1").await.unwrap().code;
    let requests: Vec<String> = (0..6).map(|_| new_key().1).collect();
    let tries = requests.iter().enumerate().map(|(index, request)| {
        let channel = if index % 2 == 0 { &post.channel } else { &elsewhere };
        enrol(channel, "T1", &code, request)
    });
    let answers = futures::future::join_all(tries).await;
    let (enrolled, others): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(enrolled.len(), 1);
    for other in others {
        assert_eq!(refused(other), "ENROLMENT_CODE_USED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_is_named_and_counts_no_try() {
    let post = Post::open().await;
    post.create("T1").await.unwrap();
    let code = post.code("T1").await.unwrap().code;
    let (_, request) = new_key();
    let rsa_free = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let ecdsa = rcgen::CertificateParams::default()
        .serialize_request(&rsa_free)
        .unwrap()
        .pem()
        .unwrap();
    for (code, request, field) in [
        ("", request.as_str(), "code"),
        ("nonsense", &request, "code"),
        (&code, "", "certificate_request"),
        (&code, "nonsense", "certificate_request"),
        (&code, &ecdsa, "certificate_request"),
    ] {
        for _ in 0..2 {
            let status = post.enrol("T1", code, request).await.unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
            let bad = tonic_types::StatusExt::get_details_bad_request(&status).unwrap();
            assert_eq!(bad.field_violations[0].field, field);
        }
    }
    post.enrol("T1", &code, &request).await.unwrap();

    let admin = post.token(Role::Admin);
    for (terminal_id, display_name, refusal) in [
        ("", "", "INVALID_FIELD"),
        ("T/1", "", "INVALID_FIELD"),
        ("T2", "\n", "INVALID_FIELD"),
        ("T1", "another", "ALREADY_EXISTS"),
    ] {
        let message = CreateTerminalRequest {
            parent: "centers/C1".into(),
            terminal_id: terminal_id.into(),
            display_name: display_name.into(),
        };
        assert_eq!(
            refused(post.terminals().create_terminal(with_token(&admin, message)).await),
            refusal
        );
    }
    let message = GetTerminalRequest { name: name("T9") };
    assert_eq!(
        refused(post.terminals().get_terminal(with_token(&admin, message)).await),
        "NOT_FOUND"
    );
    post.create("T0").await.unwrap();
    let mut listed = Vec::new();
    let mut page_token = String::new();
    loop {
        let message = ListTerminalsRequest {
            parent: "centers/C1".into(),
            page_size: 1,
            page_token,
        };
        let page = post
            .terminals()
            .list_terminals(with_token(&admin, message))
            .await
            .unwrap()
            .into_inner();
        listed.extend(page.terminals.into_iter().map(|terminal| terminal.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, [name("T0"), name("T1")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_by_hand_is_noticed() {
    let post = Post::open().await;
    post.create("T1").await.unwrap();
    let code = post.code("T1").await.unwrap().code;
    let (_, request) = new_key();
    post.enrol("T1", "00000-00000-00000-00000", &request).await.unwrap_err();
    post.enrol("T1", &code, &request).await.unwrap();
    let (verified, told) = post.service.verify().await;
    assert!(verified, "{told}");
    let mut conn = PgConnection::connect(&post.db.url).await.unwrap();
    for (change, back, place) in [
        (
            "update terminal_certificate set public_key = sha256('x')",
            "",
            "terminal_certificate T1 1",
        ),
        (
            "update terminal_code_try set is_right = false",
            "update terminal_code_try set is_right = true where try_no = 2",
            "terminal_certificate T1 1",
        ),
        (
            "update terminal_code_try set at = at - interval '2 days' where try_no = 1",
            "update terminal_code_try set at = at + interval '2 days' where try_no = 1",
            "terminal_code_try T1 1 1",
        ),
    ] {
        let before: Option<(Vec<u8>,)> = sqlx::query_as("select public_key from terminal_certificate")
            .fetch_optional(&mut conn)
            .await
            .unwrap();
        sqlx::query(sqlx::AssertSqlSafe(change))
            .execute(&mut conn)
            .await
            .unwrap();
        let (verified, told) = post.service.verify().await;
        assert!(!verified && told.contains(place), "{change}: {told}");
        if back.is_empty() {
            sqlx::query("update terminal_certificate set public_key = $1")
                .bind(before.unwrap().0)
                .execute(&mut conn)
                .await
                .unwrap();
        } else {
            sqlx::query(sqlx::AssertSqlSafe(back)).execute(&mut conn).await.unwrap();
        }
    }
}
