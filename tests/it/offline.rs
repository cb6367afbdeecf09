//! What the SQL was checked against is what the migrations make, and what reflection tells is what is served.

use std::{collections::BTreeSet, fs, path::Path};

use custody_ledger::proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sqlx::{
    Column as _, Connection as _, Either, Executor as _, PgConnection, SqlSafeStr as _, Statement as _, TypeInfo as _,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

use crate::{whole_service::Hall, world::TestDatabase};

/// The text of every source file.
fn sources(directory: &Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, texts);
        } else {
            texts.push(fs::read_to_string(path).unwrap());
        }
    }
}

/// `Int8Array` and `INT8[]` are the same type.
fn plain(name: &str) -> String {
    name.to_lowercase().replace("array", "[]")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kept_sql_is_that_of_the_sources_and_of_the_migrations() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = Vec::new();
    sources(&root.join("src"), &mut texts);
    let db = TestDatabase::create().await;
    let mut conn = PgConnection::connect(&db.url).await.unwrap();
    let mut count = 0;
    for entry in fs::read_dir(root.join(".sqlx")).unwrap() {
        let path = entry.unwrap().path();
        let kept: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let query = kept["query"].as_str().unwrap();
        let at = format!("{}: {query}", path.display());
        let hash = hex::encode(Sha256::digest(query));
        assert_eq!(kept["hash"].as_str(), Some(hash.as_str()), "{at}");
        assert!(path.to_string_lossy().contains(&hash), "{at}");
        assert!(texts.iter().any(|text| text.contains(query)), "no source has it: {at}");

        let statement = conn.prepare(sqlx::AssertSqlSafe(query.to_owned()).into_sql_str()).await;
        let statement = statement.unwrap_or_else(|error| panic!("{at}: {error}"));
        let columns = statement.columns().iter();
        let columns = columns.map(|column| (column.name().to_owned(), plain(column.type_info().name())));
        let told = kept["describe"]["columns"].as_array().unwrap().iter();
        let told = told.map(|column| {
            let name = |key: &str| column[key].as_str().map(ToOwned::to_owned);
            (name("name").unwrap(), plain(&name("type_info").unwrap()))
        });
        assert_eq!(columns.collect::<Vec<_>>(), told.collect::<Vec<_>>(), "{at}");
        let parameters: Vec<String> = match statement.parameters() {
            Some(Either::Left(types)) => types.iter().map(|kind| plain(kind.name())).collect(),
            other => panic!("{at}: {other:?}"),
        };
        let told = kept["describe"]["parameters"]["Left"].as_array().unwrap().iter();
        let told: Vec<String> = told.map(|kind| plain(kind.as_str().unwrap())).collect();
        assert_eq!(parameters, told, "{at}");
        count += 1;
    }
    assert!(count > 50, "{count}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_every_service_and_describes_every_method() {
    let hall = Hall::open().await;
    let mut client = ServerReflectionClient::new(hall.channel.clone());
    let mut ask = async |request: MessageRequest| {
        let request = ServerReflectionRequest {
            host: String::new(),
            message_request: Some(request),
        };
        let mut answers = client.server_reflection_info(one(request)).await.unwrap().into_inner();
        answers.message().await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(listed) = ask(MessageRequest::ListServices(String::new())).await else {
        panic!("not a list");
    };
    let listed: BTreeSet<String> = listed.service.into_iter().map(|service| service.name).collect();
    let set = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut expected = BTreeSet::from(["grpc.health.v1.Health".to_owned()]);
    for file in &set.file {
        for service in &file.service {
            let name = format!("{}.{}", file.package(), service.name());
            // A caller without descriptors finds the file that describes it.
            let found = ask(MessageRequest::FileContainingSymbol(name.clone())).await;
            let MessageResponse::FileDescriptorResponse(found) = found else {
                panic!("{name}: {found:?}");
            };
            let described =
                prost_types::FileDescriptorProto::decode(found.file_descriptor_proto[0].as_slice()).unwrap();
            assert_eq!(described.service, file.service, "{name}");
            expected.insert(name);
        }
    }
    assert!(listed.is_superset(&expected), "{listed:?}");
    let extra: Vec<&String> = listed.difference(&expected).collect();
    assert!(extra.iter().all(|name| name.starts_with("grpc.")), "{extra:?}");
}

fn one(request: ServerReflectionRequest) -> impl futures::Stream<Item = ServerReflectionRequest> + Send {
    futures::stream::once(std::future::ready(request))
}
