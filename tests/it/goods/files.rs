//! The catalogue as a file: whole or not at all, row by row, and the same file twice changes nothing.

use custody_ledger::{
    access::Role,
    commissary::{Format, Imported, Intent},
    proto::{
        CatalogueFormat, ExportCatalogueRequest, ImportCatalogueHeader, ImportCatalogueRequest,
        ImportCatalogueResponse, catalogue_service_client::CatalogueServiceClient, import_catalogue_request::Content,
    },
};
use tokio::process::Command;
use tonic::Status;

use super::{product, stock};
use crate::{
    service::with_token,
    whole_service::{Hall, Refused},
    world::{World, reason},
};

const HEADING: &str = "product,vendor,name,name_zh,category,price";

async fn import(world: &World, text: &str, intent: Intent) -> Imported {
    let file = (Format::Csv, text.as_bytes().to_vec());
    let commissary = &world.process.commissary;
    commissary
        .import_catalogue(&world.center, file, intent, "spring", "test")
        .await
        .unwrap()
}

async fn export(world: &World, format: Format) -> Vec<u8> {
    world
        .process
        .commissary
        .export_catalogue(&world.center, format)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_out_comes_in_and_changes_nothing() {
    let world = World::build().await;
    let text = format!(
        "{HEADING},barcode,unit,approved_price,available,withdrawn_units,tags,keeps_stock\n\
         RICE,V1,RICE,RICE,food,2.60,6901234567892,\"bag, 1 kg\",2.70,no,Block A;Block B,gluten,yes\n\
         TEA,V1,'=Tea,茶,food,12.00,,,,,,,\n"
    );
    let tried = import(&world, &text, Intent::Try).await;
    assert_eq!(
        (tried.created, tried.updated, tried.applied),
        (1, 1, false),
        "{tried:?}"
    );
    assert!(
        world
            .process
            .commissary
            .product(&world.center, &product("TEA"))
            .await
            .is_err()
    );
    let done = import(&world, &text, Intent::Apply).await;
    assert_eq!((done.created, done.updated, done.applied), (1, 1, true), "{done:?}");
    let rice = world
        .process
        .commissary
        .product(&world.center, &product("RICE"))
        .await
        .unwrap();
    assert_eq!(
        (rice.version, rice.unit.as_str(), rice.stock, rice.available),
        (2, "bag, 1 kg", Some(0), false)
    );
    let tea = world
        .process
        .commissary
        .product(&world.center, &product("TEA"))
        .await
        .unwrap();
    assert_eq!(
        (tea.name.as_str(), tea.available, tea.approved_price.to_string()),
        ("=Tea", true, "12.00".into())
    );
    assert_eq!(stock(&world.process, &world.center, "RICE").await, Some(0));
    let again = import(&world, &text, Intent::Apply).await;
    assert_eq!(
        (again.created, again.updated, again.unchanged, again.applied),
        (0, 0, 2, true),
        "{again:?}"
    );
    for format in [Format::Csv, Format::Xlsx] {
        let file = export(&world, format).await;
        let commissary = &world.process.commissary;
        let back = commissary
            .import_catalogue(&world.center, (format, file.clone()), Intent::Apply, "same", "test")
            .await;
        let back = back.unwrap();
        assert_eq!(
            (back.created, back.updated, back.unchanged),
            (0, 0, 4),
            "{format:?}: {back:?}"
        );
        assert_eq!(export(&world, format).await, file);
    }
    let csv = String::from_utf8(export(&world, Format::Csv).await).unwrap();
    assert!(
        csv.contains("\r\nTEA,V1,'=Tea,茶,food,,,12.00,12.00,yes,,,no,\r\n"),
        "{csv}"
    );
    world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wrong_row_is_told_and_nothing_is_changed() {
    let world = World::build().await;
    let rows = [
        ("RICE,V1,RICE,RICE,food,2.50,,", None),
        ("TEA,V1,Tea,茶,food,2.00,,", None),
        (
            "RICE,V1,RICE,RICE,food,2.50,,",
            Some("product ALREADY_EXISTS each product once; row 2 is the same"),
        ),
        (
            "SOAP,V1,Soap,SOAP,daily,4.00,,",
            Some("name FIELD_FIXED SOAP; it cannot change"),
        ),
        (
            "BOOK,V1,BOOK,BOOK,books,40.00,40.00,",
            Some("approved_price PRICE_NEEDS_APPROVAL at most 33.00; more takes two people"),
        ),
        (
            "COLA,V1,Cola,可乐,food,3.00,2.00,",
            Some("price PRICE_ABOVE_APPROVED at most 2.00"),
        ),
        (
            "TEA2,V1,TEA!,红茶,food,9.00,,",
            Some("name PRODUCT_RELISTED no product like TEA of vendor V1; it takes two people"),
        ),
        (
            "BAD_ID,V1,a,a,food,1,,",
            Some("product INVALID_FIELD a product is 1 to 63"),
        ),
        (
            "A1,V9,a,a,food,1,,",
            Some("vendor INVALID_FIELD a vendor of the center"),
        ),
        (
            "A2,V1,,,food,1,,",
            Some("name INVALID_FIELD a name in English or in Chinese"),
        ),
        (
            "A3,V1,a3,a3,drinks,1,,",
            Some("category INVALID_FIELD one of general, food, daily"),
        ),
        ("A4,V1,a4,a4,food,0.001,,", Some("price INVALID_FIELD ")),
        ("A5,V1,a5,a5,food,-1,,", Some("price INVALID_FIELD ")),
        (
            "A6,V1,a6,a6,food,1000000000000,,",
            Some("price INVALID_FIELD at most 999999999999"),
        ),
        (
            "A7,V1,a7,a7,food,,,",
            Some("price INVALID_FIELD something; it is required"),
        ),
        (
            "A8,V1,a8,a8,food,1,,6901234567890",
            Some("barcode INVALID_FIELD the check digit would be 2"),
        ),
    ];
    let text: Vec<&str> = rows.iter().map(|(row, _)| *row).collect();
    let text = format!("{HEADING},approved_price,barcode\n{}\n", text.join("\n"));
    let before = export(&world, Format::Csv).await;
    for intent in [Intent::Try, Intent::Apply] {
        let told = import(&world, &text, intent).await;
        assert!(!told.applied);
        let mut errors = told.errors.iter();
        for (number, (row, expected)) in (2..).zip(rows) {
            let Some(expected) = expected else { continue };
            let error = errors.next().unwrap_or_else(|| panic!("{row}: nothing is wrong"));
            let reason = custody_ledger::api::status::reason_name(error.reason);
            let words = format!("{} {reason} {}", error.column, error.expected);
            assert!(error.row == number && words.starts_with(expected), "{row}: {error:?}");
            assert!(row.contains(&error.value), "{row}: {error:?}");
        }
        assert_eq!((errors.next(), told.error_count), (None, 14));
    }
    assert_eq!(export(&world, Format::Csv).await, before);

    for (heading, expected) in [
        ("product,vendor,name,name_zh,category", "price"),
        ("product,vendor,name,name_zh,category,price,colour", "colour"),
    ] {
        let told = import(&world, &format!("{heading}\nTEA,V1,Tea,茶,food,1\n"), Intent::Apply).await;
        assert_eq!(
            (told.errors[0].row, told.errors[0].column.as_str(), told.applied),
            (1, expected, false)
        );
    }
    for (format, bytes) in [
        (Format::Csv, b"\xff\xfe".to_vec()),
        (Format::Csv, Vec::new()),
        (Format::Xlsx, b"product,vendor".to_vec()),
        (Format::Csv, vec![b'a'; 9 * 1024 * 1024]),
    ] {
        let commissary = &world.process.commissary;
        let refused = commissary
            .import_catalogue(&world.center, (format, bytes), Intent::Apply, "x", "test")
            .await;
        assert_eq!(reason(&refused.unwrap_err()), "INVALID_FIELD");
    }
    assert_eq!(export(&world, Format::Csv).await, before);
    world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_products_come_in_at_once_and_two_files_at_once_are_one_after_the_other() {
    let world = World::build().await;
    let rows: Vec<String> = (0..2_000)
        .map(|n| format!("X{n},V1,Article {n},品{n},general,1.00"))
        .collect();
    let text = format!("{HEADING}\n{}\n", rows.join("\n"));
    let both = [(); 2].map(|()| import(&world, &text, Intent::Apply));
    let [one, other] = futures::future::join_all(both).await.try_into().unwrap();
    assert!(one.applied && other.applied);
    assert_eq!(
        (one.created + other.created, one.unchanged + other.unchanged),
        (2_000, 2_000)
    );
    let file = export(&world, Format::Xlsx).await;
    let commissary = &world.process.commissary;
    let back = commissary
        .import_catalogue(&world.center, (Format::Xlsx, file), Intent::Try, "x", "test")
        .await
        .unwrap();
    assert_eq!((back.unchanged, back.error_count), (2_003, 0));
    world.verified().await;
}

fn header(format: CatalogueFormat) -> Content {
    Content::Header(ImportCatalogueHeader {
        parent: "centers/C1".into(),
        format: format.into(),
        reason: "spring".into(),
        dry_run: false,
    })
}

async fn send(hall: &Hall, role: Role, contents: Vec<Content>) -> Result<ImportCatalogueResponse, Status> {
    let messages = contents
        .into_iter()
        .map(|content| ImportCatalogueRequest { content: Some(content) });
    let call = with_token(&hall.token(role), futures::stream::iter(messages));
    let mut client = CatalogueServiceClient::new(hall.channel.clone());
    Ok(client.import_catalogue(call).await?.into_inner())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_over_the_wire_in_pieces() {
    let hall = Hall::open().await;
    let file = format!("{HEADING}\nTEA,V1,Tea,茶,food,2.00\n").into_bytes();
    let before = hall.everything().await;
    let chunk = || Content::Chunk(b"product".to_vec());
    for (contents, field) in [
        (vec![], "header"),
        (vec![chunk()], "header"),
        (vec![header(CatalogueFormat::Unspecified), chunk()], "format"),
        (
            vec![header(CatalogueFormat::Csv), header(CatalogueFormat::Csv)],
            "chunk",
        ),
        (vec![header(CatalogueFormat::Xlsx), chunk()], "chunk"),
        (vec![header(CatalogueFormat::Csv)], "chunk"),
    ] {
        let status = send(&hall, Role::Commissary, contents).await.unwrap_err();
        let refused = Refused::of(&status, field);
        assert_eq!(
            (refused.reason.as_str(), refused.field.as_deref()),
            ("INVALID_FIELD", Some(field))
        );
    }
    let mut large = vec![header(CatalogueFormat::Csv)];
    large.extend((0..9).map(|_| Content::Chunk(vec![b'a'; 1024 * 1024 - 64])));
    assert_eq!(
        Refused::of(&send(&hall, Role::Admin, large).await.unwrap_err(), "large").reason,
        "INVALID_FIELD"
    );
    let pieces = || {
        let chunks = file.chunks(7).map(|chunk| Content::Chunk(chunk.to_vec()));
        std::iter::once(header(CatalogueFormat::Csv))
            .chain(chunks)
            .collect::<Vec<_>>()
    };
    for role in [Role::Auditor, Role::Terminal, Role::Finance] {
        assert_eq!(
            Refused::of(&send(&hall, role, pieces()).await.unwrap_err(), "role").reason,
            "NOT_ALLOWED"
        );
    }
    assert_eq!(hall.everything().await, before);
    let done = send(&hall, Role::Commissary, pieces()).await.unwrap();
    assert_eq!((done.created_count, done.applied), (1, true), "{done:?}");
    let export = ExportCatalogueRequest {
        parent: "centers/C1".into(),
        format: CatalogueFormat::Csv.into(),
    };
    let mut client = CatalogueServiceClient::new(hall.channel.clone());
    let call = with_token(&hall.token(Role::Auditor), export);
    let mut stream = client.export_catalogue(call).await.unwrap().into_inner();
    let mut text = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        text.extend(message.chunk);
    }
    assert!(
        String::from_utf8(text)
            .unwrap()
            .contains("TEA,V1,Tea,茶,food,,,2.00,2.00,yes,,,no,")
    );
    hall.verified().await;
}

/// `custody catalogue …`: its exit code, and what it prints.
async fn command(hall: &Hall, token: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_custody"))
        .arg("catalogue")
        .args(arguments)
        .args([
            "--center",
            "C1",
            "--service",
            &format!("http://{}", hall.service.address),
        ])
        .env("CUSTODY_TOKEN", token)
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_exports_and_imports() {
    let hall = Hall::open().await;
    let (token, directory) = (hall.token(Role::Commissary), tempfile::tempdir().unwrap());
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for name in ["goods.csv", "goods.xlsx"] {
        let (code, text) = command(&hall, &token, &["export", &path(name)]).await;
        assert_eq!(code, Some(0), "{text}");
        let (code, text) = command(&hall, &token, &["import", "--reason", "same", &path(name)]).await;
        assert_eq!((code, text.as_str()), (Some(0), "0 new, 0 changed, 3 as they were\n"));
    }
    let goods = std::fs::read_to_string(path("goods.csv")).unwrap();
    std::fs::write(path("dear.csv"), goods.replace("2.50", "3.50")).unwrap();
    let (code, text) = command(&hall, &token, &["import", "--reason", "dearer", &path("dear.csv")]).await;
    assert_eq!(code, Some(1));
    assert!(
        text.contains("approved_price: \"3.50\" PRICE_NEEDS_APPROVAL, accepted: at most 2.75"),
        "{text}"
    );
    std::fs::write(path("cheap.csv"), goods.replace("2.50", "2.00")).unwrap();
    let (code, text) = command(
        &hall,
        &token,
        &["import", "--reason", "x", "--dry-run", &path("cheap.csv")],
    )
    .await;
    assert_eq!(code, Some(0));
    assert!(
        text.starts_with("0 new, 1 changed, 2 as they were; nothing was changed"),
        "{text}"
    );
    let (code, text) = command(&hall, &token, &["import", "--reason", "x", &path("nothing.csv")]).await;
    assert!(code == Some(2) && text.contains("reading"), "{text}");
    let (code, text) = command(&hall, "nonsense", &["export", &path("goods.csv")]).await;
    assert!(code == Some(2) && text.contains("NOT_AUTHENTICATED"), "{text}");
    hall.verified().await;
}
