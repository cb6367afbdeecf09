//! The signed statement of a whole stay: what stands in it, and that it verifies without the service.

use std::process::Command;

use custody_ledger::{
    access::Role,
    ending::statement::signature::{self, Unsigned},
    proto::{
        ExportStatementRequest, GetStatementKeyRequest, StatementKey, ending_service_client::EndingServiceClient,
        export_statement_request::Format,
    },
};

use crate::{service::with_token, whole_service::Hall};

async fn export(hall: &Hall, detainee: &str, format: Format) -> Vec<u8> {
    let request = ExportStatementRequest {
        name: format!("centers/C1/detainees/{detainee}"),
        format: format.into(),
    };
    let token = hall.token(Role::Auditor);
    let mut client = EndingServiceClient::new(hall.channel.clone());
    let mut chunks = client
        .export_statement(with_token(&token, request))
        .await
        .unwrap()
        .into_inner();
    let mut bytes = Vec::new();
    while let Some(chunk) = chunks.message().await.unwrap() {
        bytes.extend(chunk.content);
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_tells_every_movement_and_is_signed() {
    let hall = Hall::open().await;
    hall.remit("D1", "50.00").await;
    let name = "centers/C1".to_owned();
    let key: StatementKey = hall
        .ask("EndingService/GetStatementKey", &GetStatementKeyRequest { name })
        .await
        .unwrap();
    let csv = export(&hall, "D1", Format::Csv).await;
    assert_eq!(
        signature::verify(&csv, Some(&key.public_key)),
        Ok(key.public_key.clone())
    );
    let text = String::from_utf8(csv.clone()).unwrap();
    let rows: Vec<Vec<String>> = csv::ReaderBuilder::new()
        .comment(Some(b'#'))
        .from_reader(text.as_bytes())
        .records()
        .map(|row| row.unwrap().iter().map(str::to_owned).collect())
        .collect();
    let of = |kind: &str| -> Vec<&Vec<String>> { rows.iter().filter(|row| row[0] == kind).collect() };
    let balances: Vec<&str> = of("movement").iter().map(|row| row[9].as_str()).collect();
    assert_eq!(
        balances,
        ["100.00", "90.00", "140.00"],
        "the running balance of all accounts"
    );
    assert_eq!(of("opening")[0][9], "0.00");
    assert_eq!(of("closing")[0][9], "140.00");
    let bought = of("total").into_iter().find(|row| row[4] == "purchase").unwrap();
    assert_eq!([&bought[7], &bought[8], &bought[10]], ["0.00", "10.00", "1"]);
    assert_eq!(of("leaf_hash")[0][10].len(), 64);

    let html = export(&hall, "D1", Format::Html).await;
    let page = String::from_utf8(html.clone()).unwrap();
    for word in [
        "<!DOCTYPE html>",
        "Closing balance 期末余额",
        "140.00",
        "消费",
        "@media print",
    ] {
        assert!(page.contains(word), "{word}");
    }
    let mut changed = html.clone();
    let place = page.find("140.00").unwrap();
    changed[place] = b'9';
    assert_eq!(signature::verify(&changed, None), Err(Unsigned::Changed));

    // The program verifies it without the service.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("statement.html");
    let verify = |bytes: &[u8], key: &str| {
        std::fs::write(&file, bytes).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_custody"));
        let command = command.args(["statement", "verify", "--key", key]).arg(&file);
        command.output().unwrap().status.code()
    };
    assert_eq!(verify(&html, &key.public_key), Some(0));
    assert_eq!(verify(&changed, &key.public_key), Some(1));
    assert_eq!(verify(&html, &"ab".repeat(32)), Some(1));
}
