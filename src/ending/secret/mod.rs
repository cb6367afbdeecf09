//! Texts that stand nowhere in clear: account numbers, names and identity numbers of heirs.
//!
//! A record, a request and a refusal only name a secret: a keyed hash of the text, so that the same request again is the same
//! request. The text itself is sealed beside the journal.

mod store;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::entity::{masked_name, masked_number};
use crate::{
    db::Conn,
    ledger::{Center, LedgerError},
    payer::{Vault, VaultError},
};

/// How many hexadecimal digits name a secret.
const ID_CHARS: usize = 32;
/// What is sealed here, and nothing else.
const PURPOSE: &str = "ending";

/// An account to pay to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Whose it is.
    pub holder: String,
    /// Its number.
    pub number: String,
    /// The bank's code.
    pub bank_code: String,
    /// The bank's name.
    pub bank_name: String,
}

impl Account {
    /// As people may see it.
    pub fn masked(&self) -> String {
        let bank = if self.bank_name.is_empty() {
            &self.bank_code
        } else {
            &self.bank_name
        };
        format!("{bank} {} {}", masked_number(&self.number), masked_name(&self.holder))
    }
}

/// A person, as their document names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The name.
    pub name: String,
    /// The number of the identity document.
    pub identity_number: String,
}

/// Seals and opens.
#[derive(Clone)]
pub struct Secrets(Arc<Vault>);

fn failed(error: &VaultError) -> LedgerError {
    tracing::error!(%error, "a text cannot be sealed");
    LedgerError::Internal
}

fn unreadable(error: &serde_json::Error) -> LedgerError {
    // The error's place is told, never the text.
    tracing::error!(
        line = error.line(),
        column = error.column(),
        "a sealed text is not what it must be"
    );
    LedgerError::Internal
}

impl Secrets {
    /// By these keys.
    pub fn new(vault: Arc<Vault>) -> Secrets {
        Secrets(vault)
    }

    /// What a secret is named by.
    ///
    /// # Errors
    /// INTERNAL when the cryptographic library fails.
    pub fn name(&self, center: &Center, secret: &impl Serialize) -> Result<String, LedgerError> {
        let text = serde_json::to_string(secret).map_err(|error| unreadable(&error))?;
        let digest = self.0.digest(&[PURPOSE, center.id.as_str(), &text]);
        let mut name = hex::encode(digest.map_err(|error| failed(&error))?);
        name.truncate(ID_CHARS);
        Ok(name)
    }

    /// Seals a secret, once, and names it. Harmless if nothing comes of it. The caller commits.
    pub(super) async fn keep_in_tx(
        &self,
        conn: &mut Conn,
        center: &Center,
        secret: &impl Serialize,
        (at, by): (OffsetDateTime, &str),
    ) -> Result<String, LedgerError> {
        let name = self.name(center, secret)?;
        let text = serde_json::to_string(secret).map_err(|error| unreadable(&error))?;
        let purpose = [PURPOSE, center.id.as_str(), &name];
        let (key, sealed) = self.0.seal_text(&text, &purpose).map_err(|error| failed(&error))?;
        store::insert(conn, center, (&name, &key, &sealed), (at, by)).await?;
        Ok(name)
    }

    /// Opens a secret.
    pub(super) async fn open<T: for<'a> Deserialize<'a>>(
        &self,
        conn: &mut Conn,
        center: &Center,
        name: &str,
    ) -> Result<T, LedgerError> {
        let (key, sealed) = store::stored(conn, center, name).await?.ok_or(LedgerError::Internal)?;
        let text = self.0.open_text(&key, &sealed, &[PURPOSE, center.id.as_str(), name]);
        let text = text.ok_or_else(|| {
            tracing::error!(center = %center.id, secret = name, "ALARM: a sealed text cannot be opened");
            LedgerError::Internal
        })?;
        serde_json::from_str(&text).map_err(|error| unreadable(&error))
    }
}
