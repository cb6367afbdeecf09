//! Payers over real sockets: registered once, verified by a code, linked by another, revoked.
//!
//! # Layout
//! - `family`: a service that sends codes to telephones of the test's own. `secrets`: what is nowhere in clear, and the keys.
//! - `tampered`: what verification notices.

mod family;
mod secrets;
mod tampered;

use custody_ledger::proto::{
    AddPaymentAccountRequest, AdmitDetaineeRequest, Balances, ChangePayerPhoneRequest, ConfirmPayerPhoneRequest,
    CreatePayerLinkRequest, Detainee, GetBalancesRequest, GetPayerLinkRequest, GetPayerRequest, GetRemittanceRequest,
    ListPayerLinksRequest, ListPayerLinksResponse, Payer, PayerLink, RejectPayerLinkRequest, Remittance,
    RemovePaymentAccountRequest, RequestPhoneCodeRequest, RevokePayerLinkRequest, RevokePayerRequest,
    payer::State as PayerState,
    payer_link::{Relationship, State as LinkState},
};
use family::{Family, NUMBER, PHONE, account, ask, name, registration};
use prost::Message as _;
use sqlx::{Connection as _, PgConnection};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_registers_is_verified_linked_and_revoked() {
    let family = Family::at_home().await;
    let payer = family.register("P7", "P7", NUMBER).await.unwrap();
    assert_eq!(
        (payer.state(), payer.creator.as_str()),
        (PayerState::Incomplete, "payer/P7")
    );
    assert_eq!(
        payer.identity_document.unwrap().number,
        "",
        "a payer is not shown the number"
    );
    // The same once more, written otherwise, is the same; another name, number or phone is not.
    let again = family.register("P7", "P7", " 110101 19010105 011x").await.unwrap();
    assert_eq!(
        (again.create_time, again.payment_accounts.len()),
        (payer.create_time, 1)
    );
    assert_eq!(
        family.register("P7", "P7", "110101190102060125").await.unwrap_err(),
        "ALREADY_EXISTS"
    );
    // A link that is asked for lets nobody remit, or see.
    let link = family.request_link("P7", "P7", "D1").await.unwrap();
    assert_eq!(
        (link.state(), link.relationship()),
        (LinkState::Requested, Relationship::Parent)
    );
    assert_eq!(family.remit("P7", "P7").await.unwrap_err(), "NOT_ALLOWED");
    assert_eq!(
        family.remit("finance/ann", "P7").await.unwrap_err(),
        "PAYER_NOT_VERIFIED phone"
    );
    assert_eq!(family.approve("P7", &link.name).await.unwrap_err(), "NOT_ALLOWED");
    let approved = family.approve("finance/ann", &link.name).await.unwrap();
    assert_eq!(approved.state(), LinkState::Approved);
    assert_eq!(family.approve("finance/ann", &link.name).await.unwrap(), approved);
    assert_eq!(
        family.approve("finance/bob", &link.name).await.unwrap_err(),
        "LINK_STATE APPROVED"
    );
    // Linked, but not verified.
    assert_eq!(family.remit("P7", "P7").await.unwrap_err(), "PAYER_NOT_VERIFIED phone");
    family.request_code("P7").await.unwrap();
    let code = family.phones.code_for(PHONE).unwrap();
    let verified = family.verify("P7", &code).await.unwrap();
    assert_eq!(verified.state(), PayerState::Verified);
    // Whose answer was lost asks again.
    assert_eq!(family.verify("P7", &code).await.unwrap(), verified);
    assert_eq!(family.request_code("P7").await.unwrap_err(), "PHONE_NOT_TO_VERIFY");
    let remittance = family.remit("P7", "P7").await.unwrap();
    let balances = GetBalancesRequest {
        detainee: "centers/C1/detainees/D1".into(),
    };
    let seen: Result<Balances, _> = family.ask("P7", "CustodyService/GetBalances", &balances).await;
    seen.unwrap();
    // Another phone is to be verified again.
    let phone = ChangePayerPhoneRequest {
        name: name("P7"),
        phone: "+8610000000043".into(),
    };
    let changed: Payer = family.ask("P7", "PayerService/ChangePayerPhone", &phone).await.unwrap();
    assert_eq!(changed.state(), PayerState::Incomplete);
    assert_eq!(family.remit("P7", "P7").await.unwrap_err(), "PAYER_NOT_VERIFIED phone");
    let confirm = ConfirmPayerPhoneRequest {
        name: name("P7"),
        document: "called 10:20".into(),
    };
    let denied: Result<Payer, _> = family.ask("P7", "PayerService/ConfirmPayerPhone", &confirm).await;
    assert_eq!(denied.unwrap_err(), "NOT_ALLOWED");
    let _: Payer = family
        .ask("finance/ann", "PayerService/ConfirmPayerPhone", &confirm)
        .await
        .unwrap();
    family.remit("P7", "P7").await.unwrap();
    // Revoked, the payer still sees what they sent, and does nothing new.
    let revoke = RevokePayerRequest {
        name: name("P7"),
        reason: "smuggling".into(),
    };
    let revoked: Payer = family
        .ask("finance/ann", "PayerService/RevokePayer", &revoke)
        .await
        .unwrap();
    assert_eq!(
        (revoked.state(), revoked.revoke_reason.as_str()),
        (PayerState::Revoked, "smuggling")
    );
    let again: Payer = family
        .ask("finance/bob", "PayerService/RevokePayer", &revoke)
        .await
        .unwrap();
    assert_eq!(again, revoked);
    let get = GetRemittanceRequest {
        name: remittance.name.clone(),
    };
    let own: Remittance = family.ask("P7", "RemittanceService/GetRemittance", &get).await.unwrap();
    assert_eq!(own.name, remittance.name);
    assert_eq!(family.remit("P7", "P7").await.unwrap_err(), "NOT_ALLOWED");
    assert_eq!(family.remit("finance/ann", "P7").await.unwrap_err(), "PAYER_REVOKED");
    let seen: Result<Balances, _> = family.ask("P7", "CustodyService/GetBalances", &balances).await;
    assert_eq!(seen.unwrap_err(), "NOT_ALLOWED");
    assert_eq!(
        family.request_link("P7", "P7", "D2").await.unwrap_err(),
        "PAYER_REVOKED"
    );
    let more: Result<Payer, _> = family.ask("P7", "PayerService/ChangePayerPhone", &phone).await;
    assert_eq!(more.unwrap_err(), "PAYER_REVOKED");
    // Nor does the person come back under another id.
    assert_eq!(
        family.register("P8", "P8", NUMBER).await.unwrap_err(),
        "ALREADY_REGISTERED"
    );
    family.hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_are_decided_by_another_and_keep_their_way() {
    let family = Family::at_home().await;
    family.register("P7", "P7", NUMBER).await.unwrap();
    // Staff who ask on behalf of a payer do not decide, under whichever role.
    let link = family.request_link("finance/ann", "P7", "D1").await.unwrap().name;
    for who in ["finance/ann", "admin/ann"] {
        assert_eq!(
            family.approve(who, &link).await.unwrap_err(),
            "MAKER_IS_CHECKER",
            "{who}"
        );
    }
    let reject = RejectPayerLinkRequest {
        name: link.clone(),
        reason: "no proof".into(),
    };
    let own: Result<PayerLink, _> = family.ask("admin/ann", "PayerService/RejectPayerLink", &reject).await;
    assert_eq!(own.unwrap_err(), "MAKER_IS_CHECKER");
    let rejected: PayerLink = family
        .ask("finance/bob", "PayerService/RejectPayerLink", &reject)
        .await
        .unwrap();
    assert_eq!(rejected.state(), LinkState::Rejected);
    assert_eq!(
        family.approve("finance/bob", &link).await.unwrap_err(),
        "LINK_STATE REJECTED"
    );
    // Asked again, approved, revoked by the payer, and asked once more.
    family.request_link("P7", "P7", "D1").await.unwrap();
    family.approve("finance/ann", &link).await.unwrap();
    let grant = CreatePayerLinkRequest {
        parent: name("P7"),
        payer_link: Some(PayerLink {
            detainee: "centers/C1/detainees/D1".into(),
            relationship: Relationship::Parent.into(),
            ..PayerLink::default()
        }),
    };
    let there: PayerLink = family
        .ask("finance/ann", "RemittanceService/CreatePayerLink", &grant)
        .await
        .unwrap();
    assert_eq!(there.legs.len(), 4, "granting what is approved changes nothing");
    let revoke = RevokePayerLinkRequest {
        name: link.clone(),
        reason: "moved away".into(),
    };
    let revoked: PayerLink = family.ask("P7", "PayerService/RevokePayerLink", &revoke).await.unwrap();
    assert_eq!(revoked.state(), LinkState::Revoked);
    // A repetition of an old call does not bring it back.
    let back: Result<PayerLink, _> = family
        .ask("finance/ann", "RemittanceService/CreatePayerLink", &grant)
        .await;
    assert_eq!(back.unwrap_err(), "LINK_STATE REVOKED");
    family.request_link("P7", "P7", "D1").await.unwrap();
    let get = GetPayerLinkRequest { name: link.clone() };
    let whole: PayerLink = family
        .ask("auditor/eve", "PayerService/GetPayerLink", &get)
        .await
        .unwrap();
    let way: Vec<String> = whole
        .legs
        .iter()
        .map(|leg| format!("{:?} {}", leg.state(), leg.actor))
        .collect();
    assert_eq!(
        way,
        [
            "Requested finance/ann",
            "Rejected finance/bob",
            "Requested payer/P7",
            "Approved finance/ann",
            "Revoked payer/P7",
            "Requested payer/P7"
        ]
    );
    assert!(whole.legs.iter().all(|leg| !leg.in_one_step) && whole.legs[1].reason == "no proof");
    // What waits is found by its state.
    let list = |state: LinkState| ListPayerLinksRequest {
        parent: "centers/C1/payers/-".into(),
        state: state.into(),
        ..ListPayerLinksRequest::default()
    };
    for (state, count) in [
        (LinkState::Requested, 1),
        (LinkState::Approved, 3),
        (LinkState::Revoked, 0),
    ] {
        let found: ListPayerLinksResponse = family
            .ask("finance/ann", "RemittanceService/ListPayerLinks", &list(state))
            .await
            .unwrap();
        assert_eq!(found.payer_links.len(), count, "{state:?}");
    }
    // Two who decide at once: one does.
    let (ann, bob) = tokio::join!(
        family.approve("finance/ann", &link),
        family.approve("finance/bob", &link)
    );
    assert_ne!(ann.is_ok(), bob.is_ok(), "{ann:?} {bob:?}");
    family.hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_registered_once_whoever_asks_and_wherever() {
    let family = Family::at_home().await;
    let other = family.hall.another_service().await;
    let other_channel = other.channel().await;
    let ids: Vec<String> = (10..18).map(|number| format!("P{number}")).collect();
    let mut calls = Vec::new();
    for (place, payer) in ids.iter().enumerate() {
        let (service, channel) = if place % 2 == 0 {
            (&family.service, &family.channel)
        } else {
            (&other, &other_channel)
        };
        calls.push(async move {
            let message = registration(payer, NUMBER);
            ask::<Payer>(service, channel, payer, "PayerService/RegisterPayer", &message).await
        });
    }
    let answers = futures::future::join_all(calls).await;
    let registered: Vec<&Payer> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert_eq!(registered.len(), 1, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().map_or_else(|why| why == "ALREADY_REGISTERED", |_| true))
    );
    // The same call at once is one registration, with the same answer.
    let (message, payer) = (registration("P20", "110101190102060125"), "P20");
    let calls = (0..8).map(|place| {
        let (service, channel) = if place % 2 == 0 {
            (&family.service, &family.channel)
        } else {
            (&other, &other_channel)
        };
        ask::<Payer>(service, channel, payer, "PayerService/RegisterPayer", &message)
    });
    let answers = futures::future::join_all(calls).await;
    assert!(
        answers.iter().all(|answer| answer.is_ok() && *answer == answers[0]),
        "{answers:?}"
    );
    // What one process sealed the other masks; only finance and admin are shown it.
    let get = GetPayerRequest { name: name("P20") };
    for (who, shown) in [
        ("finance/ann", "1101**********0125"),
        ("admin/ann", "1101**********0125"),
        ("auditor/eve", ""),
        ("P20", ""),
    ] {
        let payer: Payer = ask(&other, &other_channel, who, "RemittanceService/GetPayer", &get)
            .await
            .unwrap();
        assert_eq!(payer.identity_document.unwrap().number, shown, "{who}");
    }
    // Nobody registers under another's id.
    let theirs = family.register("P21", "P22", "110101190103070237").await;
    assert_eq!(theirs.unwrap_err(), "NOT_ALLOWED");
    family.hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_cannot_be_guessed_and_are_sent_now_and_then() {
    let family = Family::at_home().await;
    family.register("P7", "P7", NUMBER).await.unwrap();
    assert_eq!(family.verify("P7", "000000").await.unwrap_err(), "PHONE_CODE_EXPIRED");
    let sent = family.request_code("P7").await.unwrap();
    assert!(sent.next_request_time.unwrap().seconds - sent.expire_time.unwrap().seconds == -540);
    assert_eq!(family.request_code("P7").await.unwrap_err(), "PHONE_CODE_TOO_SOON");
    let code = family.phones.code_for(PHONE).unwrap();
    // Thirty guesses at once are five tries.
    let wrong = |place: usize| format!("{:06}", (code.parse::<usize>().unwrap() + 1 + place) % 1_000_000);
    let guesses: Vec<String> = (0..30).map(wrong).collect();
    let answers = futures::future::join_all(guesses.iter().map(|guess| family.verify("P7", guess))).await;
    let mut told: Vec<String> = answers.into_iter().map(Result::unwrap_err).collect();
    told.sort();
    told.dedup_by(|one, other| one == other && one.as_str() == "PHONE_CODE_EXPIRED");
    assert_eq!(
        told,
        [
            "PHONE_CODE_EXPIRED",
            "PHONE_CODE_WRONG 0",
            "PHONE_CODE_WRONG 1",
            "PHONE_CODE_WRONG 2",
            "PHONE_CODE_WRONG 3",
            "PHONE_CODE_WRONG 4"
        ]
    );
    assert_eq!(family.verify("P7", &code).await.unwrap_err(), "PHONE_CODE_EXPIRED");
    // A new one makes the old one worthless, and is itself good for ten minutes.
    family.wait("P7", 1).await;
    family.request_code("P7").await.unwrap();
    let second = family.phones.code_for(PHONE).unwrap();
    family.wait("P7", 10).await;
    assert_eq!(family.verify("P7", &second).await.unwrap_err(), "PHONE_CODE_EXPIRED");
    // A code is for the phone it was sent to.
    family.request_code("P7").await.unwrap();
    let third = family.phones.code_for(PHONE).unwrap();
    let phone = ChangePayerPhoneRequest {
        name: name("P7"),
        phone: "+8610000000043".into(),
    };
    let _: Payer = family.ask("P7", "PayerService/ChangePayerPhone", &phone).await.unwrap();
    assert_eq!(family.verify("P7", &third).await.unwrap_err(), "PHONE_CODE_EXPIRED");
    // Another phone is no way around the pause; a sender that is down uses a code up.
    assert_eq!(family.request_code("P7").await.unwrap_err(), "PHONE_CODE_TOO_SOON");
    family.wait("P7", 1).await;
    *family.phones.down.lock().unwrap() = true;
    assert_eq!(family.request_code("P7").await.unwrap_err(), "PHONE_CODE_NOT_SENT");
    assert_eq!(family.request_code("P7").await.unwrap_err(), "PHONE_CODE_TOO_SOON");
    *family.phones.down.lock().unwrap() = false;
    for _ in 0..6 {
        family.wait("P7", 1).await;
        family.request_code("P7").await.unwrap();
    }
    family.wait("P7", 60).await;
    assert_eq!(
        family.request_code("P7").await.unwrap_err(),
        "PHONE_CODE_TOO_SOON",
        "ten a day"
    );
    family.wait("P7", 24 * 60).await;
    family.request_code("P7").await.unwrap();
    let last = family.phones.code_for("+8610000000043").unwrap();
    family.verify("P7", &last).await.unwrap();
    // Without a sender there are no codes, and staff confirm.
    let hall = &family.hall;
    let message = RequestPhoneCodeRequest { name: name("P1") }.encode_to_vec();
    let refused = hall
        .refused("no sender", "PayerService/RequestPhoneCode", message)
        .await;
    assert!(
        refused.is(Code::FailedPrecondition, "PHONE_NOT_TO_VERIFY"),
        "{refused:?}"
    );
    let _: Payer = hall
        .ask("PayerService/RegisterPayer", &registration("P8", "110101190102060125"))
        .await
        .unwrap();
    let message = RequestPhoneCodeRequest { name: name("P8") }.encode_to_vec();
    let refused = hall
        .refused("no sender", "PayerService/RequestPhoneCode", message)
        .await;
    assert!(
        refused.is(Code::FailedPrecondition, "PHONE_CODE_NOT_SENDABLE"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn payers_have_two_payment_accounts_at_a_time() {
    let family = Family::at_home().await;
    family.register("P7", "P7", NUMBER).await.unwrap();
    let change = async |method: &str, channel: &str, of: &str| -> Result<Vec<String>, String> {
        let payment_account = Some(account(channel, of));
        let payer: Payer = match method {
            "add" => {
                let message = AddPaymentAccountRequest {
                    name: name("P7"),
                    payment_account,
                };
                family.ask("P7", "PayerService/AddPaymentAccount", &message).await?
            }
            _ => {
                let reason = "lost".into();
                let message = RemovePaymentAccountRequest {
                    name: name("P7"),
                    payment_account,
                    reason,
                };
                family.ask("P7", "PayerService/RemovePaymentAccount", &message).await?
            }
        };
        Ok(payer
            .payment_accounts
            .into_iter()
            .map(|account| account.account)
            .collect())
    };
    assert_eq!(
        change("add", "webhook", "openid-1").await.unwrap(),
        ["openid-1"],
        "it is there already"
    );
    // Eight at once: one fits.
    let names: Vec<String> = (0..8).map(|number| format!("openid-{}", number + 2)).collect();
    let added = futures::future::join_all(names.iter().map(|of| change("add", "webhook", of))).await;
    assert_eq!(added.iter().filter(|answer| answer.is_ok()).count(), 1, "{added:?}");
    assert!(added.iter().all(|answer| {
        answer
            .as_ref()
            .map_or_else(|why| why == "TOO_MANY_PAYMENT_ACCOUNTS", |_| true)
    }));
    assert_eq!(change("remove", "other", "openid-1").await.unwrap_err(), "NOT_FOUND");
    assert_eq!(change("remove", "webhook", "openid-1").await.unwrap().len(), 1);
    assert_eq!(
        change("remove", "webhook", "openid-1").await.unwrap().len(),
        1,
        "once more"
    );
    assert_eq!(
        change("add", "webhook", "openid-1").await.unwrap().len(),
        2,
        "and back again"
    );
    let mut owner = PgConnection::connect(&family.hall.db.url).await.unwrap();
    let count = "select count(*) from payer_account_leg where payer_id = 'P7'";
    let legs: i64 = sqlx::query_scalar(count).fetch_one(&mut owner).await.unwrap();
    assert_eq!(legs, 4, "three added, one removed");
    family.hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_asked_for_too_many_links_learns_no_more_about_who_is_held() {
    let family = Family::at_home().await;
    family.register("P7", "P7", NUMBER).await.unwrap();
    assert_eq!(family.request_link("P7", "P7", "D9").await.unwrap_err(), "NOT_FOUND");
    for number in 0..20 {
        let admit = AdmitDetaineeRequest {
            parent: "centers/C1".into(),
            detainee_id: format!("E{number}"),
            detainee: Some(Detainee {
                display_name: "E".into(),
                display_name_zh: "某".into(),
                tier: 1,
                ..Detainee::default()
            }),
        };
        let _: Detainee = family
            .ask("admin/ann", "CustodyService/AdmitDetainee", &admit)
            .await
            .unwrap();
        family.request_link("P7", "P7", &format!("E{number}")).await.unwrap();
    }
    for (who, detainee) in [("held", "D1"), ("not held", "D9")] {
        let refused = family.request_link("P7", "P7", detainee).await.unwrap_err();
        assert_eq!(refused, "TOO_MANY_LINKS", "{who}");
    }
    // What was asked for before is still told.
    family.request_link("P7", "P7", "E3").await.unwrap();
}
