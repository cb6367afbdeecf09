//! The database under the ledger: the private PostgreSQL through starts, stops and faults, and migrations.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use custody_ledger::db::{self, Database, constraint, embedded::Embedded};
use sqlx::{Connection as _, Executor as _, PgConnection, Row as _};
use tempfile::TempDir;
use uuid::Uuid;

async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

fn postmaster_pid(data_dir: &Path) -> String {
    let text = fs::read_to_string(data_dir.join("postgres/data/postmaster.pid")).unwrap();
    text.lines().next().unwrap().to_owned()
}

fn kill(pid: &str) {
    assert!(Command::new("kill").args(["-9", pid]).status().unwrap().success());
}

/// An empty database of its own on the cluster that the tests were given.
async fn new_database() -> String {
    let server = std::env::var("CUSTODY_TEST_DATABASE_URL").expect("run the tests through `make test`");
    let name = format!("database_{}", Uuid::new_v4().simple());
    let mut conn = connect(&server).await;
    let create = sqlx::AssertSqlSafe(format!("create database {name}"));
    conn.execute(create).await.unwrap();
    server.replacen("/postgres?", &format!("/{name}?"), 1)
}

#[tokio::test]
async fn a_private_database_keeps_its_data_and_is_used_by_one() {
    let dir = TempDir::new().unwrap();
    let data_dir = dir.path().join("custody");
    let (first, url) = Embedded::start(&data_dir).await.unwrap();

    // One service a directory.
    let second = Embedded::start(&data_dir).await.err().unwrap().to_string();
    assert!(second.contains("another service is using"), "{second}");

    // Nobody reaches it but through a directory that is closed to others, and it gives up no durability.
    let mut conn = connect(&url).await;
    for (setting, expected) in [
        ("listen_addresses", ""),
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("max_connections", "120"),
    ] {
        let value: String = sqlx::query_scalar("select current_setting($1)")
            .bind(setting)
            .fetch_one(&mut conn)
            .await
            .unwrap();
        assert_eq!(value, expected, "{setting}");
    }
    let sockets = PathBuf::from(url.split_once("host=").unwrap().1);
    let mode = fs::metadata(sockets).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "{mode:o}");

    conn.execute("create table kept as select 42 as n").await.unwrap();
    drop(conn);
    first.stop().await.unwrap();
    assert!(!data_dir.join("postgres/data/postmaster.pid").exists());
    assert!(PgConnection::connect(&url).await.is_err());

    let (again, url) = Embedded::start(&data_dir).await.unwrap();
    let row = connect(&url).await.fetch_one("select n from kept").await.unwrap();
    assert_eq!(row.get::<i32, _>(0), 42);
    again.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_database_is_started_again_and_pools_find_it() {
    let dir = TempDir::new().unwrap();
    let (embedded, url) = Embedded::start(dir.path()).await.unwrap();
    db::migrate(&url).await.unwrap();
    let database = Database::connect(&url).unwrap();
    database.read.execute("select").await.unwrap();
    database.lane.execute("select").await.unwrap();

    // Whether anyone notices is a matter of when: a pool that tries a connection just then replaces it in silence.
    let killed = postmaster_pid(dir.path());
    kill(&killed);
    for _ in 0..300 {
        if let Err(error) = database.lane.execute("select 1").await {
            assert!(constraint::is_connection_lost(&error), "{error:?}");
        }
        let is_another = fs::read_to_string(dir.path().join("postgres/data/postmaster.pid")).is_ok_and(|text| {
            text.lines().nth(7).is_some_and(|state| state.trim() == "ready") && !text.starts_with(&killed)
        });
        if is_another {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_ne!(postmaster_pid(dir.path()), killed);
    for _ in 0..8 {
        // Connections from before may still be found broken, each once.
        if database.lane.execute("select 1").await.is_ok() {
            break;
        }
    }
    database.lane.execute("select 1").await.unwrap();
    database.read.execute("select 1").await.unwrap();
    database.close().await;
    embedded.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_killed_service_leaves_is_taken_over() {
    let dir = TempDir::new().unwrap();
    let (abandoned, url) = Embedded::start(dir.path()).await.unwrap();
    connect(&url)
        .await
        .execute("create table kept as select 1 as n")
        .await
        .unwrap();
    // Dropped without a stop: as when the service is killed, the lock goes and PostgreSQL stays.
    let pid = postmaster_pid(dir.path());
    drop(abandoned);

    let (adopted, url) = Embedded::start(dir.path()).await.unwrap();
    assert_eq!(postmaster_pid(dir.path()), pid);
    connect(&url).await.execute("select n from kept").await.unwrap();
    drop(adopted);

    // Both are killed; the next start recovers.
    kill(&pid);
    let (recovered, url) = Embedded::start(dir.path()).await.unwrap();
    connect(&url).await.execute("select n from kept").await.unwrap();
    recovered.stop().await.unwrap();
}

#[tokio::test]
async fn remains_of_an_earlier_life_are_no_obstacle() {
    let dir = TempDir::new().unwrap();
    // An initdb that was interrupted: the version file is among the first that it writes.
    fs::create_dir_all(dir.path().join("postgres/data.new/base")).unwrap();
    fs::write(dir.path().join("postgres/data.new/PG_VERSION"), "15\n").unwrap();
    let (embedded, _) = Embedded::start(dir.path()).await.unwrap();
    embedded.stop().await.unwrap();

    // A postmaster.pid from before a reboot, whose number is now another process's of the same user.
    let data = dir.path().canonicalize().unwrap().join("postgres/data");
    let owner = fs::metadata(&data).unwrap();
    let mut other = Command::new("sleep")
        .arg("60")
        .current_dir("/")
        .gid(owner.gid())
        .uid(owner.uid())
        .spawn()
        .unwrap();
    let pid_file = format!("{}\n{}\n1700000000\n5432\n\n\n0 0\nready\n", other.id(), data.display());
    fs::write(data.join("postmaster.pid"), pid_file).unwrap();
    chown(data.join("postmaster.pid"), Some(owner.uid()), Some(owner.gid())).unwrap();
    let (embedded, url) = Embedded::start(dir.path()).await.unwrap();
    connect(&url).await;
    embedded.stop().await.unwrap();
    other.kill().unwrap();
    other.wait().unwrap();
}

#[tokio::test]
async fn a_long_path_has_a_short_socket() {
    let dir = TempDir::new().unwrap();
    let data_dir = dir.path().join("d".repeat(120));
    let (embedded, url) = Embedded::start(&data_dir).await.unwrap();
    connect(&url).await;
    embedded.stop().await.unwrap();
    let (embedded, again) = Embedded::start(&data_dir).await.unwrap();
    assert_eq!(url, again);
    embedded.stop().await.unwrap();
    fs::remove_dir_all(url.split_once("host=").unwrap().1).unwrap();
}

#[tokio::test]
async fn migrations_take_turns() {
    let url = new_database().await;
    let outcomes = futures::future::join_all((0..4).map(|_| db::migrate(&url))).await;
    for outcome in outcomes {
        outcome.unwrap();
    }
    db::migrate(&url).await.unwrap();
    connect(&url)
        .await
        .execute("select seq from journal_head")
        .await
        .unwrap();
}

#[tokio::test]
async fn a_url_that_cannot_be_used_is_said_so() {
    for url in ["mysql://x", "nonsense", "", "postgres://h:port/d"] {
        let error = format!("{:#}", db::migrate(url).await.unwrap_err());
        assert!(error.contains("the database URL"), "{url}: {error}");
        assert!(Database::connect(url).is_err());
    }
}
