//! A terminal with a certificate, and a detainee who signs in at it.

use custody_ledger::{
    access::{Role, Scope},
    proto::{
        EndCardRequest, IssueCardRequest, ResetPinRequest, RevokeTerminalRequest,
        session_service_client::SessionServiceClient, terminal_service_client::TerminalServiceClient,
    },
};
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tonic::transport::Channel;

use super::{
    device::{Device, purchases, purchases_reach},
    house_with,
    proxy::{Proxy, Weather},
};
use crate::service::{Service, with_token};

const CARD: &str = "0007";

fn free_address() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn admin(service: &Service) -> String {
    service.token_of("root", Role::Admin, Scope::default())
}

async fn sessions(service: &Service) -> SessionServiceClient<Channel> {
    SessionServiceClient::new(service.channel().await)
}

/// Gives D1 a card; its temporary PIN.
async fn issue_card(service: &Service) -> String {
    let issue = IssueCardRequest {
        parent: "centers/C1".into(),
        card_id: CARD.into(),
        detainee: "centers/C1/detainees/D1".into(),
    };
    let mut client = sessions(service).await;
    let card = client
        .issue_card(with_token(&admin(service), issue))
        .await
        .unwrap()
        .into_inner();
    let reset = with_token(&admin(service), ResetPinRequest { name: card.name });
    client.reset_pin(reset).await.unwrap().into_inner().pin
}

/// A sale whose answer is lost, over a connection that is there already: TLS cannot begin in silence. What is told of it.
async fn lost_in_a_shell(device: &Device, proxy: &Proxy) -> Value {
    let flags = ["--answer", "1", "--wait", "1", "shell"];
    let mut shell = device.command(&flags).stdin(Stdio::piped()).spawn().unwrap();
    let mut typed = shell.stdin.take().unwrap();
    let mut told = BufReader::new(shell.stdout.take().unwrap()).lines();
    typed.write_all(b"catalogue\n").await.unwrap();
    for _ in 0..3 {
        told.next_line().await.unwrap().unwrap();
    }
    proxy.is(Weather::Silent);
    typed.write_all(b"sell SOAP\n").await.unwrap();
    drop(typed);
    let last = told.next_line().await.unwrap().unwrap();
    assert_eq!(shell.wait().await.unwrap().code(), Some(3));
    serde_json::from_str(&last).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detainee_signs_in_at_a_terminal_with_a_certificate() {
    let terminals = free_address();
    let (_db, mut service, ..) = house_with(&[("CUSTODY_TERMINALS_LISTEN", &terminals)]).await;
    let proxy = Proxy::to(&terminals).await;
    let device = Device::with_a_certificate(&service, "T1", &format!("https://{}", proxy.address)).await;
    let temporary = issue_card(&service).await;

    // Alone, the terminal sells nothing.
    let alone = device
        .run(&["sell", "--detainee", "D1", "RICE"])
        .await
        .ends_with(1)
        .last();
    assert_eq!(alone["refusal"]["reason"], "SESSION_REQUIRED");
    device.run(&["sell", "RICE"]).await.ends_with(2);
    assert_eq!(device.run(&["catalogue"]).await.ends_with(0).values().len(), 3);

    let sign_in = ["sign-in", "--card", CARD, "--pin-stdin"];
    let wrong = device.run_told(&sign_in, "000000\n").await.ends_with(1).last();
    assert_eq!(wrong["refusal"]["reason"], "SIGN_IN_REFUSED");
    device.run(&sign_in).await.ends_with(2);
    let first = device
        .run_told(&sign_in, &format!("{temporary}\n"))
        .await
        .ends_with(0)
        .last();
    assert_eq!(
        (&first["detainee"], &first["must_change_pin"]),
        (&json!("D1"), &json!(true))
    );
    let not_yet = device.run(&["sell", "RICE"]).await.ends_with(1).last();
    assert_eq!(not_yet["refusal"]["reason"], "PIN_MUST_CHANGE");
    let change = format!("{temporary}\n481627\n");
    let changed = device
        .run_told(&["change-pin", "--pin-stdin"], &change)
        .await
        .ends_with(0)
        .last();
    assert_eq!(changed["must_change_pin"], false);

    let sold = device.run(&["sell", "RICE*2"]).await.ends_with(0).last();
    assert_eq!(
        (&sold["receipt"]["slip"]["detainee"], &sold["receipt"]["slip"]["total"]),
        (&json!("D1"), &json!("5.00"))
    );
    let balance = device.run(&["balance"]).await.ends_with(0).last();
    assert_eq!(
        (&balance["available"], &balance["spent"]),
        (&json!("995.00"), &json!("5.00"))
    );
    assert_ne!(device.run(&["balance", "--detainee", "D2"]).await.code, 0);

    // The answer is lost, and then the session ends: the ledger still tells the terminal what became of it.
    let lost = lost_in_a_shell(&device, &proxy).await;
    assert_eq!(lost["outcome"], "open");
    purchases_reach(&service, 2).await;
    proxy.is(Weather::Fair);
    let end = EndCardRequest {
        name: format!("centers/C1/cards/{CARD}"),
        reason: "lost".into(),
    };
    sessions(&service)
        .await
        .end_card(with_token(&admin(&service), end))
        .await
        .unwrap();
    let told = device.run(&["resume"]).await.ends_with(0).values();
    assert_eq!(
        (&told[0]["outcome"], &told[0]["receipt"]["is_copy"]),
        (&json!("sold"), &json!(false))
    );
    assert_eq!(purchases(&service).await.len(), 2);
    let ended = device.run(&["sell", "SOAP"]).await.ends_with(1).last();
    assert_eq!(ended["refusal"]["reason"], "SESSION_ENDED");
    device.run(&["sign-out"]).await.ends_with(0);

    // A terminal that is revoked is told so, and nothing can be done at it.
    let revoke = RevokeTerminalRequest {
        name: "centers/C1/terminals/T1".into(),
        reason: "stolen".into(),
    };
    let mut client = TerminalServiceClient::new(service.channel().await);
    client
        .revoke_terminal(with_token(&admin(&service), revoke))
        .await
        .unwrap();
    assert_ne!(device.run(&["--wait", "1", "catalogue"]).await.code, 0);
    assert_eq!(purchases(&service).await.len(), 2);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_is_wrong_or_of_another_service_enrols_nothing() {
    let (_db, mut service, ..) = house_with(&[]).await;
    let url = format!("http://{}", service.address);
    let device = Device::new("T1");
    let code = super::device::enrolment_code(&service, "T1").await;
    let place = [
        "enrol",
        "--server",
        &url,
        "--center",
        "C1",
        "--terminal",
        "T1",
        "--terminal-server",
        "https://127.0.0.1:9",
    ];
    fn joined<'a>(place: &[&'a str], more: &[&'a str]) -> Vec<&'a str> {
        [place, more].concat()
    }
    let wrong = device
        .run(&joined(&place, &["--code", "AAAAA-AAAAA-AAAAA-AAAAA"]))
        .await
        .ends_with(4)
        .last();
    assert_eq!(wrong["refusal"]["reason"], "ENROLMENT_CODE_INVALID");
    let foreign = device
        .run(&joined(&place, &["--code", &code.code, "--authority", "00"]))
        .await
        .ends_with(2)
        .last();
    assert!(foreign["error"].as_str().unwrap().contains("another service"));
    device.run(&["queue"]).await.ends_with(0);
    device.run(&["sell", "--detainee", "D1", "RICE"]).await.ends_with(2);
    // The same code with the same key is good again.
    device
        .run(&joined(
            &place,
            &["--code", &code.code, "--authority", &code.authority_sha256],
        ))
        .await
        .ends_with(0);
    // A directory keeps its place.
    let elsewhere = [
        "enrol",
        "--server",
        &url,
        "--center",
        "C1",
        "--terminal",
        "T2",
        "--terminal-server",
        "https://127.0.0.1:9",
    ];
    let other = device
        .run(&[&elsewhere[..], &["--code", "x"]].concat())
        .await
        .ends_with(2)
        .last();
    assert!(other["error"].as_str().unwrap().contains("take another one"));
    service.stop().await;
}
