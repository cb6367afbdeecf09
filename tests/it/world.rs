//! A database of its own for each test, with the domains over it.

use std::{
    str::FromStr as _,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use custody_ledger::{
    clock::Clock,
    commissary::{Category, Commissary, Details, NewProduct, OrderLine},
    custody::{Admission, Custody, NewCenter, Screening, Settings},
    db::{self, Database},
    ids::{AccountNo, CenterId, DetaineeId, PayerId, ProductId, RequestId, TerminalId, VendorId},
    ledger::{Center, Declined, Draft, JournalTx, Lanes, LedgerError, Posted, Posting, RareCommand, Request, chart},
    money::{Amount, Currency},
    payer::{DocumentKind, Identity, Payers, PhoneNumber, Registration, Relationship, Vault},
    proto::{OutcomeFacts, TransactionKind, journal_record::Facts},
    terminal::{Authority, Terminals},
    verification,
};
use futures::future::{BoxFuture, FutureExt as _};
use sqlx::{ConnectOptions as _, Connection as _, postgres::PgConnectOptions};
use uuid::Uuid;

/// The cluster that tests make their databases in.
pub fn cluster() -> String {
    std::env::var("CUSTODY_TEST_DATABASE_URL")
        .expect("run the tests with `make test`, which starts a PostgreSQL for them")
}

/// The key of identity numbers, which all processes of a test share.
pub const IDENTITY_KEYS: &str = "3b1f0a5c7d9e2f4861a0c3e5b7d9f1024567890abcdef1234567890abcdef123";

static DATABASES: AtomicU32 = AtomicU32::new(0);

/// A database of one test's own; it goes away with the cluster.
pub struct TestDatabase {
    pub url: String,
    name: String,
}

impl TestDatabase {
    pub async fn create() -> TestDatabase {
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let name = format!("it_{}_{number}", std::process::id());
        let options = PgConnectOptions::from_str(&cluster()).unwrap();
        let mut conn = options.connect().await.unwrap();
        let create = sqlx::AssertSqlSafe(format!("create database {name}"));
        sqlx::query(create).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
        let url = cluster().replacen("/postgres?", &format!("/{name}?"), 1);
        db::migrate(&url).await.unwrap();
        TestDatabase { url, name }
    }

    /// Ends every connection to the database, as a network that goes away does.
    pub async fn cut_connections(&self) {
        let mut conn = PgConnectOptions::from_str(&cluster()).unwrap().connect().await.unwrap();
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
            .bind(&self.name)
            .execute(&mut conn)
            .await
            .unwrap();
    }

    /// Lets nobody in, or everybody again.
    pub async fn allow_connections(&self, allow: bool) {
        let mut conn = PgConnectOptions::from_str(&cluster()).unwrap().connect().await.unwrap();
        let alter = sqlx::AssertSqlSafe(format!("alter database {} with allow_connections {allow}", self.name));
        sqlx::query(alter).execute(&mut conn).await.unwrap();
        if !allow {
            self.cut_connections().await;
        }
    }
}

/// One process's view: lanes and domains over a database.
#[derive(Clone)]
pub struct Process {
    pub database: Database,
    pub lanes: Lanes,
    pub custody: Custody,
    pub commissary: Commissary,
    pub payers: Payers,
}

impl Process {
    pub fn over(url: &str, clock: Clock, queue_max: usize) -> Process {
        let database = Database::connect(url).unwrap();
        let lanes = Lanes::new(database.clone(), clock.clone(), queue_max);
        let custody = Custody::new(database.clone(), clock.clone());
        let vault = Vault::parse("tests", IDENTITY_KEYS).unwrap();
        let payers = Payers::new(database.clone(), clock, vault, None);
        let commissary = Commissary::new(lanes.clone(), custody.clone());
        Process {
            database,
            lanes,
            custody,
            commissary,
            payers,
        }
    }
}

/// The terminals of a process, with an authority of its own.
pub fn terminals(process: &Process) -> Terminals {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::load(directory.path(), None).unwrap();
    Terminals::new(
        process.database.clone(),
        process.lanes.clock().clone(),
        Arc::new(authority),
    )
}

/// A center with a vendor, three products and a detainee, and a process over it.
pub struct World {
    pub db: TestDatabase,
    pub process: Process,
    pub center: Center,
}

pub fn cny(text: &str) -> Amount {
    Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap()
}

pub fn request(method: &'static str, body: &[u8]) -> Request {
    request_with(Uuid::new_v4(), method, body)
}

pub fn request_with(id: Uuid, method: &'static str, body: &[u8]) -> Request {
    Request {
        id: RequestId(id),
        method,
        body: body.to_vec(),
        actor: "terminal/T1".into(),
    }
}

impl World {
    pub async fn build() -> World {
        World::build_with(Clock::system(), 4096).await
    }

    pub async fn build_with(clock: Clock, queue_max: usize) -> World {
        let db = TestDatabase::create().await;
        let process = Process::over(&db.url, clock, queue_max);
        let center = new_center(&process, "C1").await;
        World { db, process, center }
    }

    /// Another process on the same database.
    pub fn another_process(&self) -> Process {
        Process::over(&self.db.url, self.process.lanes.clock().clone(), 4096)
    }

    /// Gives a detainee money the short way: bank to available.
    pub async fn endow(&self, detainee: &str, amount: &str) {
        endow(&self.process, &self.center, detainee, amount).await;
    }

    pub async fn buy(&self, detainee: &str, lines: &[(&str, u32)]) -> Result<Posted, LedgerError> {
        buy(&self.process, &self.center, Uuid::new_v4(), detainee, lines).await
    }

    pub async fn available(&self, detainee: &str) -> String {
        self.process
            .custody
            .balances(&self.center, &id(detainee))
            .await
            .unwrap()
            .available
            .to_string()
    }

    /// Replays the whole journal; the number of transactions.
    pub async fn verified(&self) -> i64 {
        let mut conn = self.process.database.read.acquire().await.unwrap();
        let verified = verification::verify(&mut conn, &self.center).await.unwrap();
        assert!(verified.proof.holds());
        verified.transactions
    }
}

pub fn id(detainee: &str) -> DetaineeId {
    DetaineeId::parse(detainee).unwrap()
}

/// Gives a detainee money the short way: bank to available.
pub async fn endow(process: &Process, center: &Center, detainee: &str, amount: &str) {
    let detainee = process.custody.detainee(center, &id(detainee)).await.unwrap();
    let command = Endowment {
        request: request("test/Endow", detainee.id.as_str().as_bytes()),
        to: detainee.available(),
        amount: cny(amount),
    };
    process.lanes.submit_rare(center, command).await.unwrap();
}

/// Buys with a body made of what is bought, as the wire's would be.
pub async fn buy(
    process: &Process,
    center: &Center,
    request_id: Uuid,
    detainee: &str,
    lines: &[(&str, u32)],
) -> Result<Posted, LedgerError> {
    let body = format!("{detainee}{lines:?}");
    let request = request_with(request_id, "test/Buy", body.as_bytes());
    let lines = lines
        .iter()
        .map(|(product, quantity)| OrderLine {
            product: ProductId::parse(product).unwrap(),
            quantity: *quantity,
        })
        .collect();
    process
        .commissary
        .purchase(center, request, id(detainee), TerminalId::parse("T1").unwrap(), lines)
        .await
}

/// The default rules, but that payers may pay as often as they like, and nothing is held for review.
pub fn unscreened() -> Settings {
    let defaults = Settings::defaults(Currency::parse("CNY").unwrap()).unwrap();
    Settings {
        payment_count_max: Settings::UNLIMITED,
        screening: Screening {
            payment_max: Settings::UNLIMITED,
            payer_max: Settings::UNLIMITED,
            detainee_max: Settings::UNLIMITED,
            ..defaults.screening
        },
        ..defaults
    }
}

/// The same in Shanghai.
pub async fn new_center(process: &Process, name: &str) -> Center {
    new_center_in(process, name, "Asia/Shanghai").await
}

/// A center with vendor V1, products RICE 2.50, SOAP 4.00, BOOK 30.00 (not counted), and detainees D1 to D3 in tier 1.
pub async fn new_center_in(process: &Process, name: &str, zone: &str) -> Center {
    let center_id = CenterId::parse(name).unwrap();
    let new = NewCenter {
        id: center_id.clone(),
        name: name.into(),
        name_zh: "中心".into(),
        time_zone: zone.into(),
        settings: unscreened(),
        by: "admin/root".into(),
    };
    process.custody.create_center(new).await.unwrap();
    let center = process.custody.center(&center_id).await.unwrap();
    let vendor = VendorId::parse("V1").unwrap();
    process
        .commissary
        .create_vendor(&center, vendor.clone(), "Shop".into(), "超市".into())
        .await
        .unwrap();
    let shelf = [
        ("RICE", "2.50", Category::Food),
        ("SOAP", "4.00", Category::Daily),
        ("BOOK", "30.00", Category::Books),
    ];
    for (product, price, category) in shelf {
        let new = NewProduct {
            id: ProductId::parse(product).unwrap(),
            vendor: vendor.clone(),
            name: product.into(),
            name_zh: product.into(),
            category,
            price: cny(price),
            available: true,
            details: Details::default(),
        };
        process.commissary.create_product(&center, new, "test").await.unwrap();
    }
    for detainee in ["D1", "D2", "D3"] {
        let admission = Admission {
            id: id(detainee),
            name: detainee.into(),
            name_zh: "某".into(),
            tier: 1,
            birth_date: None,
        };
        process.custody.admit(&center, admission).await.unwrap();
    }
    center
}

/// A payer whom staff have registered, confirmed and linked.
pub async fn register_payer(process: &Process, center: &Center, payer: &str, detainees: &[&str]) {
    let payer = PayerId::parse(payer).unwrap();
    let number = format!("PASSPORT{payer}");
    let registration = Registration {
        id: payer.clone(),
        name: "Mother".into(),
        identity: Some(Identity::parse(DocumentKind::Passport, &number).unwrap()),
        phone: Some(PhoneNumber::parse("+8610000000001").unwrap()),
        phone_document: Some("called back".into()),
        accounts: vec![(String::new(), "acct".into())],
    };
    let payers = &process.payers;
    payers.register(center, registration, "finance/alice").await.unwrap();
    for detainee in detainees {
        let detainee = id(detainee);
        let of = (&payer, &detainee);
        let linked = payers.grant_link(center, of, Relationship::Parent, "finance/alice");
        linked.await.unwrap();
    }
}

struct Endowment {
    request: Request,
    to: AccountNo,
    amount: Amount,
}

impl RareCommand for Endowment {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, _: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        async move {
            let posting = Posting::new(chart::BANK, self.to, self.amount);
            let facts = OutcomeFacts {
                reference: "endowment".into(),
                reason: String::new(),
            };
            Ok(Draft::new(
                TransactionKind::Credit,
                vec![posting],
                Facts::Outcome(facts),
            ))
        }
        .boxed()
    }
}

/// The reason of a refusal, by its name.
pub fn reason(error: &LedgerError) -> String {
    match error {
        LedgerError::Refused { refusal, .. } => refusal.reason().as_str_name().replace("REASON_", ""),
        other => format!("{other:?}"),
    }
}
