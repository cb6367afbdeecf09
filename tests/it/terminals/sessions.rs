//! Who stands in front of a terminal: signing in, what can be done in a session, and what ends it.

use custody_ledger::{
    access::Role,
    api::grpc::is_replay,
    proto::{
        self, ChangePinRequest, EndCardRequest, GetBalancesRequest, GetCardRequest, GetProductRequest,
        GetPurchaseRequest, GetRequestOutcomeRequest, GetSpendingRequest, IssueCardRequest, ListCardsRequest,
        ListProductsRequest, ListPurchasesRequest, ListStatementLinesRequest, ResetPinRequest, Session, SignInRequest,
        SignOutRequest, UpdateSessionPolicyRequest, card::State, commissary_service_client::CommissaryServiceClient,
        custody_service_client::CustodyServiceClient, ledger_service_client::LedgerServiceClient,
        session_service_client::SessionServiceClient,
    },
};
use tonic::{Code, Status, transport::Channel};
use uuid::Uuid;

use super::{Post, refused};
use crate::service::{Service, buy_rice, with_token};

/// Somebody's PIN.
const PIN: &str = "271828";

pub async fn issue(post: &Post, card: &str, detainee: &str) -> Result<proto::Card, Status> {
    let message = IssueCardRequest {
        parent: "centers/C1".into(),
        card_id: card.into(),
        detainee: format!("centers/C1/detainees/{detainee}"),
    };
    let asked = with_token(&post.token(Role::Admin), message);
    post.sessions().issue_card(asked).await.map(tonic::Response::into_inner)
}

pub async fn reset(post: &Post, card: &str) -> Result<String, Status> {
    let name = format!("centers/C1/cards/{card}");
    let asked = with_token(&post.token(Role::Admin), ResetPinRequest { name });
    post.sessions()
        .reset_pin(asked)
        .await
        .map(|answer| answer.into_inner().pin)
}

/// Signs in with a token, or over a connection with a certificate.
pub async fn sign_in(channel: &Channel, token: Option<&str>, card: &str, pin: &str) -> Result<Session, Status> {
    let message = SignInRequest {
        card_number: card.into(),
        pin: pin.into(),
    };
    let asked = match token {
        Some(token) => with_token(token, message),
        None => tonic::Request::new(message),
    };
    SessionServiceClient::new(channel.clone())
        .sign_in(asked)
        .await
        .map(tonic::Response::into_inner)
}

pub async fn change_pin(channel: &Channel, session: &str, pin: &str, new_pin: &str) -> Result<Session, Status> {
    let message = ChangePinRequest {
        pin: pin.into(),
        new_pin: new_pin.into(),
    };
    let asked = with_token(session, message);
    SessionServiceClient::new(channel.clone())
        .change_pin(asked)
        .await
        .map(tonic::Response::into_inner)
}

pub async fn sign_out(channel: &Channel, session: &str) -> Result<(), Status> {
    let asked = with_token(session, SignOutRequest {});
    SessionServiceClient::new(channel.clone())
        .sign_out(asked)
        .await
        .map(drop)
}

pub async fn balances(channel: &Channel, token: &str, detainee: &str) -> Result<proto::Balances, Status> {
    let detainee = format!("centers/C1/detainees/{detainee}");
    let asked = with_token(token, GetBalancesRequest { detainee });
    CustodyServiceClient::new(channel.clone())
        .get_balances(asked)
        .await
        .map(tonic::Response::into_inner)
}

/// Issues a card and lets its detainee set a PIN at a terminal; a session with it.
pub async fn settle_in(
    post: &Post,
    channel: &Channel,
    token: Option<&str>,
    card: &str,
    detainee: &str,
    pin: &str,
) -> String {
    issue(post, card, detainee).await.unwrap();
    let temporary = reset(post, card).await.unwrap();
    let first = sign_in(channel, token, card, &temporary).await.unwrap();
    assert!(first.must_change_pin);
    change_pin(channel, &first.token, &temporary, pin).await.unwrap().token
}

async fn get_card(post: &Post, card: &str) -> proto::Card {
    let name = format!("centers/C1/cards/{card}");
    let asked = with_token(&post.token(Role::Finance), GetCardRequest { name });
    post.sessions().get_card(asked).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detainee_sets_a_pin_buys_and_signs_out() {
    let post = Post::open().await;
    let terminal = post.service.terminal_token("C1");
    let channel = &post.channel;
    assert_eq!(issue(&post, "0007", "D1").await.unwrap().state(), State::WithoutPin);
    assert_eq!(
        refused(sign_in(channel, Some(&terminal), "0007", PIN).await),
        "SIGN_IN_REFUSED"
    );
    let temporary = reset(&post, "0007").await.unwrap();
    assert_eq!(get_card(&post, "0007").await.state(), State::TemporaryPin);

    // A temporary PIN is good for setting another, and that one must be one's own.
    let first = sign_in(channel, Some(&terminal), "0007", &temporary).await.unwrap();
    assert!(first.must_change_pin);
    for refusal in [
        refused(balances(channel, &first.token, "D1").await),
        refused(buy_rice(channel.clone(), &first.token, "D1", Uuid::new_v4()).await),
    ] {
        assert_eq!(refusal, "PIN_MUST_CHANGE");
    }
    for weak in ["123456", "111111", "12345", "27182x", temporary.as_str()] {
        assert_eq!(
            refused(change_pin(channel, &first.token, &temporary, weak).await),
            "PIN_TOO_WEAK",
            "{weak}"
        );
    }
    assert_eq!(
        refused(change_pin(channel, &first.token, "000000", PIN).await),
        "SIGN_IN_REFUSED"
    );
    let session = change_pin(channel, &first.token, &temporary, PIN).await.unwrap();
    assert!(!session.must_change_pin);
    assert_eq!(
        refused(change_pin(channel, &first.token, PIN, "314159").await),
        "SESSION_ENDED"
    );
    assert_eq!(get_card(&post, "0007").await.state(), State::Active);

    // Buying, and reading what is one's own.
    let request_id = Uuid::new_v4();
    let bought = buy_rice(channel.clone(), &session.token, "D1", request_id)
        .await
        .unwrap();
    own_things(channel, &session.token, &bought).await;
    // The terminal finds out what became of what was bought at it.
    let outcome = GetRequestOutcomeRequest {
        parent: "centers/C1".into(),
        request_id: request_id.to_string(),
    };
    let outcome = LedgerServiceClient::new(channel.clone())
        .get_request_outcome(with_token(&terminal, outcome))
        .await;
    assert_eq!(
        outcome.unwrap().into_inner().state(),
        proto::request_outcome::State::Succeeded
    );

    // The same purchase again within another session is the same.
    sign_out(channel, &session.token).await.unwrap();
    assert_eq!(refused(sign_out(channel, &session.token).await), "SESSION_ENDED");
    assert_eq!(refused(balances(channel, &session.token, "D1").await), "SESSION_ENDED");
    assert_eq!(
        refused(buy_rice(channel.clone(), &session.token, "D1", Uuid::new_v4()).await),
        "SESSION_ENDED"
    );
    let next = sign_in(channel, Some(&terminal), "0007", PIN).await.unwrap();
    let message = crate::service::purchase_of("C1", "D1", request_id, &[("RICE", 1)]);
    let again = CommissaryServiceClient::new(channel.clone())
        .create_purchase(with_token(&next.token, message))
        .await;
    let again = again.unwrap();
    assert!(is_replay(&again));
    assert_eq!(again.into_inner().name, bought);
    let (verified, told) = post.service.verify().await;
    assert!(verified, "{told}");
}

/// What a session of D1 reads, after one purchase.
async fn own_things(channel: &Channel, token: &str, bought: &str) {
    assert_eq!(
        balances(channel, token, "D1").await.unwrap().available.unwrap().amount,
        "97.50"
    );
    let mut custody = CustodyServiceClient::new(channel.clone());
    let mut shop = CommissaryServiceClient::new(channel.clone());
    let lines = |detainee: &str| ListStatementLinesRequest {
        parent: format!("centers/C1/detainees/{detainee}"),
        ..Default::default()
    };
    assert_eq!(
        custody
            .list_statement_lines(with_token(token, lines("D1")))
            .await
            .unwrap()
            .into_inner()
            .statement_lines
            .len(),
        2
    );
    let spending = |detainee: &str| GetSpendingRequest {
        detainee: format!("centers/C1/detainees/{detainee}"),
        month: String::new(),
    };
    let spent = shop
        .get_spending(with_token(token, spending("D1")))
        .await
        .unwrap()
        .into_inner()
        .spent
        .unwrap();
    assert_eq!(spent.amount, "2.50");
    let purchases = |detainee: &str| ListPurchasesRequest {
        parent: "centers/C1".into(),
        detainee: detainee.into(),
        ..Default::default()
    };
    // A detainee's list is their own, whether or not it says so.
    for detainee in ["", "centers/C1/detainees/D1"] {
        let listed = shop
            .list_purchases(with_token(token, purchases(detainee)))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            listed.purchases.iter().map(|own| own.name.as_str()).collect::<Vec<_>>(),
            [bought]
        );
    }
    shop.list_products(with_token(
        token,
        ListProductsRequest {
            parent: "centers/C1".into(),
            ..Default::default()
        },
    ))
    .await
    .unwrap();
    let name = "centers/C1/products/RICE".to_owned();
    shop.get_product(with_token(token, GetProductRequest { name }))
        .await
        .unwrap();
    let name = bought.to_owned();
    shop.get_purchase(with_token(token, GetPurchaseRequest { name }))
        .await
        .unwrap();

    let denied = [
        balances(channel, token, "D2").await.map(drop),
        custody
            .list_statement_lines(with_token(token, lines("D2")))
            .await
            .map(drop),
        shop.get_spending(with_token(token, spending("D2"))).await.map(drop),
        shop.list_purchases(with_token(token, purchases("centers/C1/detainees/D2")))
            .await
            .map(drop),
        buy_rice(channel.clone(), token, "D2", Uuid::new_v4()).await.map(drop),
    ];
    for answer in denied {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn others_things_and_other_peoples_cards() {
    let post = Post::open().await;
    let (terminal, channel) = (post.service.terminal_token("C1"), &post.channel);
    let one = settle_in(&post, channel, Some(&terminal), "0001", "D1", PIN).await;
    let other = settle_in(&post, channel, Some(&terminal), "0002", "D2", "314159").await;
    let bought = buy_rice(channel.clone(), &one, "D1", Uuid::new_v4()).await.unwrap();
    let mut shop = CommissaryServiceClient::new(channel.clone());
    let seen = |token: &str| with_token(token, GetPurchaseRequest { name: bought.clone() });
    shop.get_purchase(seen(&one)).await.unwrap();
    assert_eq!(
        shop.get_purchase(seen(&other)).await.unwrap_err().code(),
        Code::PermissionDenied
    );

    // The card is taken; its detainee has it again; nobody has it once it is ended.
    assert_eq!(refused(issue(&post, "0001", "D2").await), "ALREADY_EXISTS");
    issue(&post, "0001", "D1").await.unwrap();
    for (card, detainee, refusal) in [
        ("", "D1", "INVALID_FIELD"),
        ("a b", "D1", "INVALID_FIELD"),
        ("0003", "", "INVALID_FIELD"),
        ("0003", "D9", "NOT_FOUND"),
    ] {
        assert_eq!(refused(issue(&post, card, detainee).await), refusal);
    }
    assert_eq!(refused(reset(&post, "0009").await), "NOT_FOUND");
    for (reason, refusal) in [("", Some("INVALID_FIELD")), ("lost", None), ("again", None)] {
        let message = EndCardRequest {
            name: "centers/C1/cards/0001".into(),
            reason: reason.into(),
        };
        let ended = post
            .sessions()
            .end_card(with_token(&post.token(Role::Admin), message))
            .await;
        match refusal {
            Some(refusal) => assert_eq!(refused(ended), refusal),
            None => assert_eq!(ended.unwrap().into_inner().end_reason, "lost"),
        }
    }
    assert_eq!(refused(balances(channel, &one, "D1").await), "SESSION_ENDED");
    assert_eq!(
        refused(sign_in(channel, Some(&terminal), "0001", PIN).await),
        "SIGN_IN_REFUSED"
    );
    assert_eq!(refused(reset(&post, "0001").await), "CARD_ENDED");
    balances(channel, &other, "D2").await.unwrap();
    // Another PIN from staff ends what the one before began.
    reset(&post, "0002").await.unwrap();
    assert_eq!(
        refused(buy_rice(channel.clone(), &other, "D2", Uuid::new_v4()).await),
        "SESSION_ENDED"
    );
    let listed = ListCardsRequest {
        parent: "centers/C1".into(),
        detainee: "centers/C1/detainees/D2".into(),
        ..Default::default()
    };
    let listed = post
        .sessions()
        .list_cards(with_token(&post.token(Role::Auditor), listed))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        listed.cards.iter().map(|card| card.name.as_str()).collect::<Vec<_>>(),
        ["centers/C1/cards/0002"]
    );
    let (verified, told) = post.service.verify().await;
    assert!(verified, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn guessing_locks_a_card_whether_or_not_it_is_there() {
    let post = Post::open().await;
    let (terminal, channel) = (post.service.terminal_token("C1"), &post.channel);
    settle_in(&post, channel, Some(&terminal), "0001", "D1", PIN).await;
    for card in ["0001", "not there", "0404"] {
        let told = futures::future::join_all((0..8).map(|_| sign_in(channel, Some(&terminal), card, "000000"))).await;
        let mut told: Vec<String> = told.into_iter().map(refused).collect();
        told.sort_unstable();
        assert_eq!(
            told.iter().filter(|reason| *reason == "SIGN_IN_REFUSED").count(),
            5,
            "{card}: {told:?}"
        );
        assert_eq!(
            told.iter().filter(|reason| *reason == "CARD_LOCKED").count(),
            3,
            "{card}: {told:?}"
        );
        let status = sign_in(channel, Some(&terminal), card, PIN).await.unwrap_err();
        assert!(
            !format!("{status:?}").contains(PIN) && !format!("{status:?}").contains("0404"),
            "{status:?}"
        );
    }
    assert!(get_card(&post, "0001").await.locked_until_time.is_some());
    for (card, pin, field) in [
        ("", PIN, "card_number"),
        ("0001", "", "pin"),
        ("0001", &PIN.repeat(99), "pin"),
    ] {
        let status = sign_in(channel, Some(&terminal), card, pin).await.unwrap_err();
        let bad = tonic_types::StatusExt::get_details_bad_request(&status).unwrap();
        assert_eq!(bad.field_violations[0].field, field);
    }
    // Staff unlock it.
    let temporary = reset(&post, "0001").await.unwrap();
    sign_in(channel, Some(&terminal), "0001", &temporary).await.unwrap();
    let (verified, told) = post.service.verify().await;
    assert!(verified, "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_center_may_want_sessions_of_every_terminal() {
    let post = Post::open().await;
    let (terminal, channel) = (post.service.terminal_token("C1"), &post.channel);
    let another = Service::start_in(post.keys_again(), Some(&post.db.url), &[]).await;
    let elsewhere = another.channel().await;
    let session = settle_in(&post, channel, Some(&terminal), "0001", "D1", PIN).await;
    buy_rice(elsewhere.clone(), &terminal, "D1", Uuid::new_v4())
        .await
        .unwrap();
    for (require_sessions, version) in [(false, 0), (true, 1), (true, 1), (false, 2), (true, 3)] {
        let message = UpdateSessionPolicyRequest {
            parent: "centers/C1".into(),
            require_sessions,
        };
        let asked = with_token(&post.token(Role::Admin), message);
        let policy = post.sessions().update_session_policy(asked).await.unwrap().into_inner();
        assert_eq!((policy.require_sessions, policy.version), (require_sessions, version));
        let without = buy_rice(elsewhere.clone(), &terminal, "D1", Uuid::new_v4()).await;
        match require_sessions {
            true => assert_eq!(refused(without), "SESSION_REQUIRED"),
            false => drop(without.unwrap()),
        }
        buy_rice(elsewhere.clone(), &session, "D1", Uuid::new_v4())
            .await
            .unwrap();
    }
    // What ends here has ended there.
    sign_out(channel, &session).await.unwrap();
    assert_eq!(
        refused(buy_rice(elsewhere.clone(), &session, "D1", Uuid::new_v4()).await),
        "SESSION_ENDED"
    );
    assert_eq!(refused(balances(&elsewhere, &session, "D1").await), "SESSION_ENDED");
    let (verified, told) = post.service.verify().await;
    assert!(verified, "{told}");
}
