//! What a domain is given to compare its rows with the journal, and how a difference is told.

use std::{
    collections::BTreeMap,
    fmt::{self, Debug, Display},
};

use futures::future::BoxFuture;
use rust_decimal::Decimal;

use super::Accounts;
use crate::{
    db::Conn,
    ids::{AccountNo, Seq},
    ledger::Center,
    money::Amount,
    proto::JournalRecord,
};

/// Where a difference is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// At a transaction, or at the journal's end when it is about what stands now.
    Transaction(i64),
    /// At a row beside the journal.
    Row {
        /// The table.
        table: &'static str,
        /// The row's key without the center.
        key: String,
    },
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Transaction(seq) => write!(f, "transaction {seq}"),
            Place::Row { table, key } => write!(f, "{table} {key}"),
        }
    }
}

/// Why a journal cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The first difference found.
    #[error("center {center}, {place}: {what}")]
    Differs {
        /// The center's id.
        center: String,
        /// Where.
        place: Place,
        /// What differs from what.
        what: String,
    },
    /// The database could not be read.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// One domain's part of verification: its rows against the records they follow from.
///
/// What a check remembers between pages is bounded by what is open and by the accounts, never by the length of the journal.
pub trait Check: Send {
    /// Compares what one page of records explains. The last page has no records and no end, so that a row which belongs to
    /// no transaction is found there.
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>>;

    /// Compares what can only be compared once the whole journal was seen; called after the last page, with it.
    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>>;
}

/// Who may own an account that a record posts to, for example `detainees/D1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner(String);

impl Owner {
    /// A detainee.
    pub fn detainee(id: &str) -> Owner {
        Owner(format!("detainees/{id}"))
    }

    /// A vendor.
    pub fn vendor(id: &str) -> Owner {
        Owner(format!("vendors/{id}"))
    }

    /// A gateway channel.
    pub fn channel(id: &str) -> Owner {
        Owner(format!("channels/{id}"))
    }

    /// As accounts store it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Some consecutive transactions.
pub struct Page<'a> {
    /// The center.
    pub center: &'a Center,
    /// Its accounts, already compared with the chart.
    pub accounts: &'a Accounts,
    /// The records after `after` up to and including `through`, in order.
    pub records: &'a [JournalRecord],
    /// The last transaction before the page.
    pub after: Seq,
    /// The last transaction of the page; beyond every transaction on the last page.
    pub through: Seq,
}

impl Page<'_> {
    /// A difference at a record.
    pub fn differs(&self, record: &JournalRecord, what: impl Into<String>) -> VerifyError {
        self.at(Place::Transaction(record.seq), what)
    }

    /// A difference at a row.
    pub fn row_differs(&self, table: &'static str, key: impl Display, what: impl Into<String>) -> VerifyError {
        let key = key.to_string();
        self.at(Place::Row { table, key }, what)
    }

    fn at(&self, place: Place, what: impl Into<String>) -> VerifyError {
        VerifyError::Differs {
            center: self.center.id.to_string(),
            place,
            what: what.into(),
        }
    }

    /// Reads an amount of a record's facts.
    ///
    /// # Errors
    /// That it is none.
    pub fn amount(&self, record: &JournalRecord, text: &str) -> Result<Decimal, VerifyError> {
        match Amount::parse(text, self.center.currency) {
            Ok(amount) => Ok(amount.value()),
            Err(error) => Err(self.differs(record, format!("its facts tell the amount {text:?}: {error}"))),
        }
    }

    /// Compares whom a record is about with who owns the accounts it posts to. The center's own accounts may always be.
    ///
    /// # Errors
    /// The first account that is somebody else's.
    pub fn parties(&self, record: &JournalRecord, parties: &[Owner]) -> Result<(), VerifyError> {
        for posting in &record.postings {
            for no in [posting.debit, posting.credit] {
                let owner = self
                    .accounts
                    .get(AccountNo(no))
                    .map_or("nobody", |account| &account.owner);
                if !owner.is_empty() && !parties.iter().any(|party| party.as_str() == owner) {
                    let mut parties: Vec<&str> = parties.iter().map(Owner::as_str).collect();
                    parties.dedup();
                    let told = parties.join(", ");
                    return Err(self.differs(
                        record,
                        format!("account {no} belongs to {owner}, but the record is about {told}"),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Compares a table's rows with those that the records explain.
    ///
    /// # Errors
    /// The first key whose row is missing, is not explained, or is another.
    pub fn same_rows<K: Ord + Display, V: PartialEq + Debug>(
        &self,
        table: &'static str,
        explained: &BTreeMap<K, V>,
        stored: &BTreeMap<K, V>,
    ) -> Result<(), VerifyError> {
        for (key, row) in stored {
            match explained.get(key) {
                None => return Err(self.row_differs(table, key, format!("stored as {row:?}, no record explains it"))),
                Some(told) if told != row => {
                    let what = format!("stored as {row:?}, the records say {told:?}");
                    return Err(self.row_differs(table, key, what));
                }
                Some(_) => {}
            }
        }
        match explained.iter().find(|(key, _)| !stored.contains_key(key)) {
            Some((key, told)) => Err(self.row_differs(table, key, format!("not stored, the records say {told:?}"))),
            None => Ok(()),
        }
    }
}
