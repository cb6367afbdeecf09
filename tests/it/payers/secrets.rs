//! What may not be known is nowhere in clear: not in the database, not in the log; and the keys it is sealed with.

use std::process::Stdio;

use custody_ledger::{
    clock::Clock,
    proto::{GetPayerRequest, Payer, RequestPhoneCodeRequest, VerifyPayerPhoneRequest},
};
use prost::Message as _;
use sqlx::{Connection as _, PgConnection};
use tokio::io::AsyncReadExt as _;
use tonic::Code;

use super::family::{NUMBER, PHONE, Phones, ask, name, registration, token};
use crate::{
    service::{Service, command},
    whole_service::{Hall, call},
    world::{IDENTITY_KEYS, Process, TestDatabase, new_center},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_known_is_nowhere_in_clear() {
    let db = TestDatabase::create().await;
    let process = Process::over(&db.url, Clock::system(), 64);
    new_center(&process, "C1").await;
    let phones = Phones::default();
    let url = phones.listen().await;
    let directory = tempfile::tempdir().unwrap();
    // The log as it is at its most talkative.
    let mut child = command(directory.path(), Some(&db.url), "127.0.0.1:0")
        .env("RUST_LOG", "trace")
        .env("CUSTODY_PAYERS_SMS_URL", &url)
        .env("CUSTODY_PAYERS_SMS_SECRET", "hush")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    let log = tokio::spawn(async move {
        let mut text = Vec::new();
        stderr.read_to_end(&mut text).await.unwrap();
        String::from_utf8_lossy(&text).into_owned()
    });
    let service = Service::over(directory, child, Some(&db.url)).await;
    let channel = service.channel().await;
    let asked = async |who: &str, method: &str, message: Vec<u8>| {
        let answer = call(channel.clone(), method, &token(&service, who), message).await;
        answer.map(|answer| answer.message)
    };
    let register = "PayerService/RegisterPayer";
    asked("P7", register, registration("P7", NUMBER).encode_to_vec())
        .await
        .unwrap();
    // A refusal and bad input hold numbers, too.
    asked("P8", register, registration("P8", NUMBER).encode_to_vec())
        .await
        .unwrap_err();
    let malformed = asked("P8", register, registration("P8", "110101190101050110").encode_to_vec()).await;
    assert!(!format!("{malformed:?}").contains("190101050110"));
    let code = RequestPhoneCodeRequest { name: name("P7") };
    asked("P7", "PayerService/RequestPhoneCode", code.encode_to_vec())
        .await
        .unwrap();
    let code = phones.code_for(PHONE).unwrap();
    let verify = VerifyPayerPhoneRequest {
        name: name("P7"),
        code: code.clone(),
    };
    asked("P7", "PayerService/VerifyPayerPhone", verify.encode_to_vec())
        .await
        .unwrap();
    let get = GetPayerRequest { name: name("P7") };
    asked("finance/ann", "RemittanceService/GetPayer", get.encode_to_vec())
        .await
        .unwrap();

    let mut owner = PgConnection::connect(&db.url).await.unwrap();
    let tables: Vec<String> = sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
        .fetch_all(&mut owner)
        .await
        .unwrap();
    let hidden = [NUMBER, "190101050110", "19010105"];
    let mut rows = 0;
    for table in tables {
        let select = sqlx::AssertSqlSafe(format!("select t::text from {table} t"));
        let found: Vec<String> = sqlx::query_scalar(select).fetch_all(&mut owner).await.unwrap();
        for row in found {
            rows += 1;
            // Bytes are told in hexadecimal.
            for secret in hidden {
                let in_bytes = hex::encode(secret);
                assert!(!row.contains(secret) && !row.contains(&in_bytes), "{table}: {row}");
            }
            let is_code_s = table.starts_with("phone_code");
            assert!(!is_code_s || !row.contains(&hex::encode(&code)), "{table}: {row}");
        }
    }
    assert!(rows > 40, "{rows}");
    let mut service = service;
    service.stop().await;
    let log = log.await.unwrap();
    assert!(log.lines().count() > 100, "{log}");
    for secret in hidden.into_iter().chain(["hush", PHONE, IDENTITY_KEYS]) {
        assert!(
            !log.contains(secret),
            "{secret} in {}",
            log.lines().find(|line| line.contains(secret)).unwrap()
        );
    }
    let told = log.lines().find(|line| line.contains(&format!("\"{code}\"")));
    assert_eq!(told, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_the_keys_does_not_start_and_wrong_keys_are_told() {
    let hall = Hall::open().await;
    let start = async |name: &str, value: &str| {
        let directory = tempfile::tempdir().unwrap();
        let mut command = command(directory.path(), Some(&hall.db.url), "127.0.0.1:0");
        let ended = command
            .env_remove("CUSTODY_PAYERS_IDENTITY_KEYS")
            .env(name, value)
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(std::time::Duration::from_secs(30), ended)
            .await
            .expect("it ends");
        let output = output.unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let own = start("RUST_LOG", "warn").await;
    assert!(
        own.contains("sealed with keys that this process does not have"),
        "{own}"
    );
    let short = start("CUSTODY_PAYERS_IDENTITY_KEYS", &IDENTITY_KEYS[2..]).await;
    assert!(
        short.contains("key 1 must be 32 bytes") && !short.contains(&IDENTITY_KEYS[2..]),
        "{short}"
    );
    let nowhere = start("CUSTODY_PAYERS_IDENTITY_KEY_FILE", "/nowhere/keys").await;
    assert!(nowhere.contains("no file /nowhere/keys"), "{nowhere}");
    let half = start("CUSTODY_PAYERS_SMS_URL", "http://127.0.0.1:9/").await;
    assert!(half.contains("payers.sms_secret"), "{half}");
    // Rotated: a new key in front, the old one behind it.
    let rotated = format!("{}, {IDENTITY_KEYS}", "c4".repeat(32));
    let service = hall
        .another_service_with(&[("CUSTODY_PAYERS_IDENTITY_KEYS", &rotated)])
        .await;
    let channel = service.channel().await;
    let get = GetPayerRequest { name: name("P1") };
    let old: Payer = ask(&service, &channel, "finance/ann", "RemittanceService/GetPayer", &get)
        .await
        .unwrap();
    assert_eq!(old.identity_document.unwrap().number, "PA******P1");
    let message = registration("P7", NUMBER);
    let _: Payer = ask(&service, &channel, "P7", "PayerService/RegisterPayer", &message)
        .await
        .unwrap();
    // Whoever has only the old key cannot read what is new, and registers nobody any more, so that nobody is there twice.
    let refused = hall
        .refused(
            "old key",
            "PayerService/RegisterPayer",
            registration("P8", NUMBER).encode_to_vec(),
        )
        .await;
    assert!(refused.is(Code::Internal, "INTERNAL"), "{refused:?}");
    let again: Result<Payer, _> = ask(
        &service,
        &channel,
        "P8",
        "PayerService/RegisterPayer",
        &registration("P8", NUMBER),
    )
    .await;
    assert_eq!(again.unwrap_err(), "ALREADY_REGISTERED");
    hall.verified().await;
}
