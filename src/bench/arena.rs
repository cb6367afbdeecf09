//! A service in a process of its own, with a PostgreSQL of its own, and centers full of detainees with money.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context as _, bail};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use rust_decimal::Decimal;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

use super::cpu::Meter;
use crate::{
    access::{Actor, Issuer, Role, Scope, TokenKey},
    clock::Clock,
    commissary::{Category, Commissary, Details, NewProduct},
    custody::{Admission, Custody, Detainee, NewCenter, Settings},
    db::{Database, embedded},
    ids::{AccountNo, CenterId, DetaineeId, ProductId, RequestId, TerminalId, VendorId},
    ledger::{self, Center, Declined, Draft, Entry, Lanes, Moment, Posting, Request, Rows, State, chart},
    money::{Amount, Currency},
    proto::{OutcomeFacts, TransactionKind, journal_record::Facts},
};

/// Products on each center's shelf.
const PRODUCTS: usize = 40;
/// What each detainee starts with: enough for every purchase of every run.
const ENDOWMENT: i64 = 1_000_000_000;
/// Detainees admitted in one transaction.
const ADMITTED_AT_ONCE: usize = 1000;
/// Endowments kept in flight.
const FILL_IN_FLIGHT: usize = 512;

/// Where purchases go: a center, a token of one of its terminals, and its detainees.
pub struct Target {
    /// The center's id.
    pub center: String,
    /// A terminal's token.
    pub token: String,
    /// Its detainees' ids.
    pub detainees: Vec<String>,
    /// Its products' ids.
    pub products: Vec<String>,
}

/// The service under load.
pub struct Arena {
    directory: TempDir,
    child: Child,
    address: String,
    url: String,
    key: Issuer,
}

impl Arena {
    /// Starts a service and fills centers `C1`, `C2`, … with detainees, as many in each as `sizes` has it.
    pub async fn open(sizes: &[usize]) -> anyhow::Result<Arena> {
        Ok(Arena::open_with(sizes, |_| Ok(((), String::new()))).await?.0)
    }

    /// The same with further configuration, made for its directory, and what else is made with it.
    pub async fn open_with<T>(
        sizes: &[usize],
        configure: impl FnOnce(&Path) -> anyhow::Result<(T, String)>,
    ) -> anyhow::Result<(Arena, T)> {
        let directory = tempfile::Builder::new().prefix("custody-bench-").tempdir()?;
        let (made, text) = configure(directory.path())?;
        let file = directory.path().join("custody.toml");
        std::fs::write(&file, text)?;
        let mut child = Command::new(std::env::current_exe()?)
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(directory.path())
            .arg("--config")
            .arg(file)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().context("no standard output")?;
        let mut lines = BufReader::new(stdout).lines();
        let address = loop {
            let Some(line) = lines.next_line().await? else {
                bail!("the service did not start")
            };
            if let Some(address) = line.strip_prefix("custody ready on ") {
                break address.to_owned();
            }
        };
        let url = embedded::running_url(directory.path())?;
        fill(&url, sizes).await.context("filling the centers")?;
        let key = Issuer::new(TokenKey::load_or_create(directory.path())?);
        let arena = Arena {
            directory,
            child,
            address,
            url,
            key,
        };
        Ok((arena, made))
    }

    /// Where the service keeps its keys.
    pub fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    /// Where the service listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Its database.
    pub fn database_url(&self) -> &str {
        &self.url
    }

    /// The first `centers` centers, with at most `detainees` people in all.
    pub fn targets(&self, centers: usize, detainees: usize) -> anyhow::Result<Vec<Target>> {
        let people = people_in_each(centers, detainees);
        (1..=centers)
            .map(|number| {
                let center = CenterId::parse(&format!("C{number}"))?;
                let terminal = Some(TerminalId::parse("T1")?);
                let scope = Scope {
                    center: Some(center.clone()),
                    payer: None,
                    terminal,
                };
                let actor = Actor::new("T1", Role::Terminal, scope)?;
                let token = self.key.issue(&actor, time::Duration::days(1), Clock::system().now())?;
                Ok(Target {
                    center: center.to_string(),
                    token,
                    detainees: (1..=people).map(|person| format!("D{person}")).collect(),
                    products: (1..=PRODUCTS).map(|product| format!("P{product}")).collect(),
                })
            })
            .collect()
    }

    /// Reads what the service and its PostgreSQL spend of the processor.
    pub fn meter(&self) -> anyhow::Result<Meter> {
        let file = self.directory.path().join("postgres/data/postmaster.pid");
        let text = std::fs::read_to_string(file).context("postmaster.pid")?;
        let postgres = text.lines().next().unwrap_or_default().trim().parse()?;
        let server = self.child.id().context("the service is gone")?;
        Ok(Meter { server, postgres })
    }

    /// The service's resident memory, in MiB, as Linux counts it.
    pub fn server_rss_mib(&self) -> anyhow::Result<u64> {
        let Some(pid) = self.child.id() else {
            bail!("the service is gone")
        };
        let status = Path::new("/proc").join(pid.to_string()).join("status");
        let text = std::fs::read_to_string(status).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line
            .and_then(|line| line.split_whitespace().nth(1))
            .and_then(|kib| kib.parse::<u64>().ok());
        Ok(kib.unwrap_or_default() / 1024)
    }

    /// Stops the service and removes everything it kept.
    pub async fn close(mut self) -> anyhow::Result<()> {
        let pid = self.child.id().context("the service is gone")?;
        Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        tokio::time::timeout(Duration::from_secs(60), self.child.wait()).await??;
        Ok(self.directory.close()?)
    }
}

/// Opens the centers, as many detainees in each as `sizes` has it.
async fn fill(url: &str, sizes: &[usize]) -> anyhow::Result<()> {
    let database = Database::connect(url)?;
    let lanes = Lanes::new(database.clone(), Clock::system(), FILL_IN_FLIGHT);
    let custody = Custody::new(database.clone(), Clock::system());
    let commissary = Commissary::new(lanes.clone(), custody.clone());
    for (number, people) in (1..).zip(sizes) {
        let center = open_center(&custody, &commissary, &format!("C{number}")).await?;
        for first in (1..=*people).step_by(ADMITTED_AT_ONCE) {
            let last = (first + ADMITTED_AT_ONCE - 1).min(*people);
            let admissions = (first..=last).map(admission).collect::<Result<Vec<_>, _>>()?;
            let admitted = custody.admit_all(&center, admissions).await?;
            let amount = Amount::from_decimal(Decimal::from(ENDOWMENT), center.currency)?;
            stream::iter(admitted)
                .map(|detainee| lanes.submit(&center, Endowment::new(&detainee, amount)))
                .buffer_unordered(FILL_IN_FLIGHT)
                .try_collect::<Vec<_>>()
                .await?;
        }
    }
    lanes.close().await;
    database.close().await;
    Ok(())
}

fn admission(person: usize) -> anyhow::Result<Admission> {
    Ok(Admission {
        id: DetaineeId::parse(&format!("D{person}"))?,
        name: format!("person {person}"),
        name_zh: "某".into(),
        tier: 1,
        birth_date: None,
    })
}

/// How many of `detainees` live in each of `centers` centers.
pub fn people_in_each(centers: usize, detainees: usize) -> usize {
    (detainees / centers.max(1)).max(1)
}

async fn open_center(custody: &Custody, commissary: &Commissary, name: &str) -> anyhow::Result<Center> {
    let currency = Currency::parse("CNY")?;
    let plenty = Amount::from_decimal(Decimal::from(ENDOWMENT), currency)?;
    let mut settings = Settings::defaults(currency)?;
    // Load is not suspicious here.
    settings.payment_count_max = Settings::UNLIMITED;
    settings.screening.payment_max = Settings::UNLIMITED;
    settings.screening.payer_max = Settings::UNLIMITED;
    settings.screening.detainee_max = Settings::UNLIMITED;
    settings.tier_limits.insert(1, plenty);
    // Nothing that is measured is refused.
    settings.balance_cap = plenty.checked_mul(2)?;
    let id = CenterId::parse(name)?;
    let (name, name_zh, time_zone) = (name.to_owned(), "监所".to_owned(), "Asia/Shanghai".to_owned());
    custody
        .create_center(NewCenter {
            id: id.clone(),
            name,
            name_zh,
            time_zone,
            settings,
            by: "bench".into(),
        })
        .await?;
    let center = custody.center(&id).await?;
    let vendor = VendorId::parse("V1")?;
    commissary
        .create_vendor(&center, vendor.clone(), "Shop".into(), "超市".into())
        .await?;
    for product in 1..=PRODUCTS {
        let price = Amount::from_decimal(Decimal::new(i64::try_from(product)? * 10 + 5, 2), currency)?;
        let new = NewProduct {
            id: ProductId::parse(&format!("P{product}"))?,
            vendor: vendor.clone(),
            name: format!("product {product}"),
            name_zh: format!("商品{product}"),
            category: Category::Food,
            price,
            available: true,
            details: Details::default(),
        };
        commissary.create_product(&center, new, "bench").await?;
    }
    Ok(center)
}

/// Money from nowhere but the bank, so that there is something to spend.
struct Endowment {
    request: Request,
    to: AccountNo,
    amount: Amount,
}

impl Endowment {
    fn new(detainee: &Detainee, amount: Amount) -> Endowment {
        let request = Request {
            id: RequestId::derived(&["bench", detainee.id.as_str()]),
            method: "bench/Endow",
            body: detainee.id.as_str().as_bytes().to_vec(),
            actor: "bench".into(),
        };
        Endowment {
            request,
            to: detainee.available(),
            amount,
        }
    }
}

impl ledger::Command for Endowment {
    fn request(&self) -> &Request {
        &self.request
    }

    fn want(&self, state: &mut State) {
        state.want_account(chart::BANK);
        state.want_account(self.to);
    }

    fn decide(&self, _: &State, _: &Moment) -> Result<Draft, Declined> {
        let facts = OutcomeFacts {
            reference: "bench".into(),
            reason: String::new(),
        };
        let posting = Posting::new(chart::BANK, self.to, self.amount);
        Ok(Draft::new(
            TransactionKind::Credit,
            vec![posting],
            Facts::Outcome(facts),
        ))
    }

    fn apply(&self, _: &Entry, _: &mut State, _: &mut Rows) -> Result<(), Declined> {
        Ok(())
    }
}
