//! What the terminal remembers: an embedded database (redb, whose every commit is synced before it returns).
//!
//! redb is one file, written in Rust, with transactions that are whole or not there after a power cut, and no process of its own:
//! what a cheap device can have.

use anyhow::{Context as _, bail};
use redb::{
    Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition, WriteTransaction,
    backends::FileBackend,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{answer::Refusal, home::Home, receipt::Slip};

/// Who the terminal is, under [`IDENTITY`].
pub(super) const SETTINGS: TableDefinition<&str, &[u8]> = TableDefinition::new("settings");
/// Entries of the queue by their numbers, from 1.
const QUEUE: TableDefinition<u64, &[u8]> = TableDefinition::new("queue");
/// The numbers of entries whose outcome is not known.
const OPEN: TableDefinition<u64, ()> = TableDefinition::new("open");
/// Entries by their request ids.
const BY_REQUEST: TableDefinition<&str, u64> = TableDefinition::new("by_request");
/// Receipts by their numbers, from 1.
const RECEIPTS: TableDefinition<u64, &[u8]> = TableDefinition::new("receipts");
/// The numbers of receipts that have not been printed for sure.
const UNPRINTED: TableDefinition<u64, ()> = TableDefinition::new("unprinted");
/// What is known of products, by their ids.
const PRODUCTS: TableDefinition<&str, &[u8]> = TableDefinition::new("products");

/// Allowances by their numbers, and sales without the network by theirs.
pub(super) const ALLOWANCES: TableDefinition<i64, &[u8]> = TableDefinition::new("allowances");
pub(super) const SALES: TableDefinition<i64, &[u8]> = TableDefinition::new("sales");
/// The numbers of sales that have still to be brought in.
pub(super) const UNSENT: TableDefinition<i64, ()> = TableDefinition::new("unsent");

const IDENTITY: &str = "identity";
const SESSION: &str = "session";
/// How much of the file is kept in memory, in bytes: a terminal reads little.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// Who the terminal is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The service's URL.
    pub server: String,
    /// Where it listens for terminals with a certificate; none for a terminal with a token.
    pub terminal_server: Option<String>,
    /// Ids of the center and the terminal.
    pub center: String,
    pub terminal: String,
    /// The zone that receipts are printed in.
    pub time_zone: String,
}

/// Whoever is signed in.
#[derive(Clone, Serialize, Deserialize)]
pub struct Session {
    /// The bearer token: a secret.
    pub token: String,
    /// Who it is.
    pub detainee: String,
}

/// What the service is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    /// CreatePurchase.
    Purchase,
    /// ReserveAllowance.
    Reserve,
    /// EndAllowance.
    End,
}

/// Something that the service is asked for exactly once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Its place in the queue.
    pub number: u64,
    /// Its request id.
    pub request_id: String,
    /// What is asked for.
    pub call: Call,
    /// The request's message, encoded; hexadecimal.
    pub body: String,
    /// When it was written down, by the terminal's clock.
    pub asked_at: String,
    /// What became of it.
    pub state: State,
}

impl Entry {
    /// The request's message.
    pub fn message<M: prost::Message + Default>(&self) -> anyhow::Result<M> {
        Ok(M::decode(hex::decode(&self.body)?.as_slice())?)
    }
}

/// What became of an entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is not known. `why` says what was heard last.
    Open { why: String },
    /// It is done.
    Done {
        /// The answer's message, encoded; hexadecimal.
        answer: String,
        /// The number of its receipt, if it has one.
        receipt: Option<u64>,
    },
    /// It was refused.
    Refused(Refusal),
    /// A person gave it up after the ledger said that it has never been recorded.
    GivenUp(Refusal),
}

/// A receipt.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Receipt {
    /// Counts the terminal's receipts.
    pub number: u64,
    /// What stands on it.
    pub slip: Slip,
    /// How far printing has come.
    pub print: Print,
    /// How many copies were begun.
    pub copies: u32,
}

/// How far printing of the original has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Print {
    /// Not begun.
    Waiting,
    /// Begun: it may lie on the counter.
    Begun,
    /// It lies on the counter.
    Done,
}

/// What is known of a product.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    pub id: String,
    pub name: String,
    pub name_zh: String,
    pub unit: String,
    pub currency: String,
    pub price: String,
    pub version: i64,
    pub available: bool,
    pub stock: Option<i64>,
}

/// The database.
pub struct Store(pub(super) Database);

impl Store {
    /// Opens it, or makes an empty one.
    ///
    /// # Errors
    /// The file cannot be read, or is none of ours.
    pub fn open(home: &Home) -> anyhow::Result<Store> {
        let open = |file| -> anyhow::Result<Database> {
            let backend = FileBackend::new(file)?;
            Ok(Builder::new()
                .set_cache_size(CACHE_BYTES)
                .create_with_backend(backend)?)
        };
        // A file that was half made would not be opened again; so a new one gets its name when it is whole.
        home.make_store(|file| {
            let database = open(file)?;
            let tx = database.begin_write()?;
            tx.open_table(SETTINGS)?;
            tx.open_table(QUEUE)?;
            tx.open_table(OPEN)?;
            tx.open_table(BY_REQUEST)?;
            tx.open_table(RECEIPTS)?;
            tx.open_table(UNPRINTED)?;
            tx.open_table(PRODUCTS)?;
            tx.open_table(ALLOWANCES)?;
            tx.open_table(SALES)?;
            tx.open_table(UNSENT)?;
            tx.commit()?;
            Ok(())
        })?;
        Ok(Store(open(home.store_file()?).context("the terminal's store")?))
    }

    /// Who the terminal is; none before it was told.
    pub fn identity(&self) -> anyhow::Result<Option<Identity>> {
        let tx = self.0.begin_read()?;
        let found = tx.open_table(SETTINGS)?.get(IDENTITY)?;
        found.map(|row| read(row.value())).transpose()
    }

    /// Tells it.
    pub fn set_identity(&self, identity: &Identity) -> anyhow::Result<()> {
        self.write(|tx| {
            tx.open_table(SETTINGS)?
                .insert(IDENTITY, serde_json::to_vec(identity)?.as_slice())?;
            Ok(())
        })
    }

    /// Who is signed in, if anybody.
    pub fn session(&self) -> anyhow::Result<Option<Session>> {
        let tx = self.0.begin_read()?;
        let found = tx.open_table(SETTINGS)?.get(SESSION)?;
        found.map(|row| read(row.value())).transpose()
    }

    /// Tells it.
    pub fn set_session(&self, session: Option<&Session>) -> anyhow::Result<()> {
        self.write(|tx| {
            let mut settings = tx.open_table(SETTINGS)?;
            match session {
                Some(session) => settings.insert(SESSION, serde_json::to_vec(session)?.as_slice())?,
                None => settings.remove(SESSION)?,
            };
            Ok(())
        })
    }

    /// Writes something down that the service will be asked for. When this returns, it is on the disk.
    pub fn ask(&self, call: Call, request_id: &str, body: &[u8], now: &str) -> anyhow::Result<Entry> {
        self.write(|tx| {
            let mut queue = tx.open_table(QUEUE)?;
            let number = queue.last()?.map_or(0, |(number, _)| number.value()) + 1;
            let entry = Entry {
                number,
                request_id: request_id.to_owned(),
                call,
                body: hex::encode(body),
                asked_at: now.to_owned(),
                state: State::Open {
                    why: "not sent yet".to_owned(),
                },
            };
            queue.insert(number, serde_json::to_vec(&entry)?.as_slice())?;
            tx.open_table(OPEN)?.insert(number, ())?;
            if tx.open_table(BY_REQUEST)?.insert(request_id, number)?.is_some() {
                bail!("the request id {request_id} was used before");
            }
            Ok(entry)
        })
    }

    /// The entry that has a request id.
    pub fn by_request(&self, request_id: &str) -> anyhow::Result<Option<Entry>> {
        let tx = self.0.begin_read()?;
        let number = tx.open_table(BY_REQUEST)?.get(request_id)?.map(|number| number.value());
        number.map(|number| self.entry(number)).transpose()
    }

    /// An entry.
    pub fn entry(&self, number: u64) -> anyhow::Result<Entry> {
        let tx = self.0.begin_read()?;
        let found = tx.open_table(QUEUE)?.get(number)?;
        read(
            found
                .with_context(|| format!("no entry {number} in the queue"))?
                .value(),
        )
    }

    /// What is open, oldest first.
    pub fn open_entries(&self) -> anyhow::Result<Vec<Entry>> {
        let tx = self.0.begin_read()?;
        let open = tx.open_table(OPEN)?;
        let numbers: Vec<u64> = open
            .iter()?
            .map(|row| Ok(row?.0.value()))
            .collect::<Result<_, redb::Error>>()?;
        numbers.into_iter().map(|number| self.entry(number)).collect()
    }

    /// The whole queue, oldest first.
    pub fn entries(&self) -> anyhow::Result<Vec<Entry>> {
        let tx = self.0.begin_read()?;
        tx.open_table(QUEUE)?.iter()?.map(|row| read(row?.1.value())).collect()
    }

    /// Ends an entry, and writes its receipt with it. Returns the receipt's number.
    pub fn done(&self, entry: &Entry, answer: &[u8], slip: Option<Slip>) -> anyhow::Result<Option<u64>> {
        self.write(|tx| {
            let receipt = slip.map(|slip| add_receipt(tx, slip)).transpose()?;
            let state = State::Done {
                answer: hex::encode(answer),
                receipt,
            };
            end(tx, entry, state)?;
            Ok(receipt)
        })
    }

    /// Ends an entry that was refused.
    pub fn refused(&self, entry: &Entry, refusal: &Refusal) -> anyhow::Result<()> {
        self.write(|tx| end(tx, entry, State::Refused(refusal.clone())))
    }

    /// Ends an entry that a person gives up.
    pub fn given_up(&self, entry: &Entry, refusal: &Refusal) -> anyhow::Result<()> {
        self.write(|tx| end(tx, entry, State::GivenUp(refusal.clone())))
    }

    /// Notes what was heard last of an entry that stays open.
    pub fn note(&self, entry: &Entry, why: &str) -> anyhow::Result<()> {
        let state = State::Open { why: why.to_owned() };
        self.write(|tx| put(tx, &Entry { state, ..entry.clone() }))
    }

    /// A receipt.
    pub fn receipt(&self, number: u64) -> anyhow::Result<Receipt> {
        let tx = self.0.begin_read()?;
        let found = tx.open_table(RECEIPTS)?.get(number)?;
        read(found.with_context(|| format!("no receipt {number}"))?.value())
    }

    /// All receipts, oldest first.
    pub fn receipts(&self) -> anyhow::Result<Vec<Receipt>> {
        let tx = self.0.begin_read()?;
        tx.open_table(RECEIPTS)?
            .iter()?
            .map(|row| read(row?.1.value()))
            .collect()
    }

    /// The numbers of receipts whose printing did not end.
    pub fn unprinted(&self) -> anyhow::Result<Vec<u64>> {
        let tx = self.0.begin_read()?;
        tx.open_table(UNPRINTED)?
            .iter()?
            .map(|row| Ok(row?.0.value()))
            .collect()
    }

    /// Notes that a receipt is about to be printed. Returns it, and whether what is printed has to be marked as a copy.
    pub fn begin_print(&self, number: u64) -> anyhow::Result<(Receipt, bool)> {
        let mut receipt = self.receipt(number)?;
        let is_copy = receipt.print != Print::Waiting;
        if is_copy {
            receipt.copies = receipt.copies.saturating_add(1);
        } else {
            receipt.print = Print::Begun;
        }
        self.write(|tx| put_receipt(tx, &receipt))?;
        Ok((receipt, is_copy))
    }

    /// Notes that it was.
    pub fn end_print(&self, mut receipt: Receipt) -> anyhow::Result<()> {
        receipt.print = Print::Done;
        self.write(|tx| {
            tx.open_table(UNPRINTED)?.remove(receipt.number)?;
            put_receipt(tx, &receipt)
        })
    }

    /// Remembers products.
    pub fn keep_products(&self, products: &[Product]) -> anyhow::Result<()> {
        self.write(|tx| {
            let mut table = tx.open_table(PRODUCTS)?;
            for product in products {
                table.insert(product.id.as_str(), serde_json::to_vec(product)?.as_slice())?;
            }
            Ok(())
        })
    }

    /// A product, if it is known.
    pub fn product(&self, id: &str) -> anyhow::Result<Option<Product>> {
        let tx = self.0.begin_read()?;
        let found = tx.open_table(PRODUCTS)?.get(id)?;
        found.map(|row| read(row.value())).transpose()
    }

    pub(super) fn write<T>(&self, work: impl FnOnce(&WriteTransaction) -> anyhow::Result<T>) -> anyhow::Result<T> {
        let tx = self.0.begin_write()?;
        let done = work(&tx)?;
        tx.commit()?;
        Ok(done)
    }
}

pub(super) fn read<T: DeserializeOwned>(row: &[u8]) -> anyhow::Result<T> {
    serde_json::from_slice(row).context("the terminal's store")
}

fn put(tx: &WriteTransaction, entry: &Entry) -> anyhow::Result<()> {
    tx.open_table(QUEUE)?
        .insert(entry.number, serde_json::to_vec(entry)?.as_slice())?;
    Ok(())
}

pub(super) fn end(tx: &WriteTransaction, entry: &Entry, state: State) -> anyhow::Result<()> {
    if tx.open_table(OPEN)?.remove(entry.number)?.is_none() {
        bail!("entry {} of the queue has ended before", entry.number);
    }
    put(tx, &Entry { state, ..entry.clone() })
}

fn put_receipt(tx: &WriteTransaction, receipt: &Receipt) -> anyhow::Result<()> {
    tx.open_table(RECEIPTS)?
        .insert(receipt.number, serde_json::to_vec(receipt)?.as_slice())?;
    Ok(())
}

pub(super) fn add_receipt(tx: &WriteTransaction, slip: Slip) -> anyhow::Result<u64> {
    let number = tx.open_table(RECEIPTS)?.last()?.map_or(0, |(number, _)| number.value()) + 1;
    let receipt = Receipt {
        number,
        slip,
        print: Print::Waiting,
        copies: 0,
    };
    put_receipt(tx, &receipt)?;
    tx.open_table(UNPRINTED)?.insert(number, ())?;
    Ok(number)
}
