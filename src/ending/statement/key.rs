//! The Ed25519 key that signs statements: made once, in a file beside the token's.

use std::path::Path;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use crate::access::{KeyError, read_or_create_secret};

/// The file within the key directory of the data directory: PKCS #8 in PEM, as openssl reads it.
const FILE: &str = "statement.ed25519.pem";
const PEM_TAG: &str = "PRIVATE KEY";

/// The key that signs statements.
#[derive(Debug)]
pub struct StatementKey(Ed25519KeyPair);

impl StatementKey {
    /// Reads the key of a data directory, and makes one first if there is none. Processes that start at once all get the same.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn load_or_create(data_dir: &Path) -> Result<StatementKey, KeyError> {
        let text = read_or_create_secret(data_dir, FILE, || {
            let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Generation)?;
            let pkcs8 = pair.to_pkcs8v1().map_err(|_| KeyError::Generation)?;
            Ok(pem::encode(&pem::Pem::new(PEM_TAG, pkcs8.as_ref().to_vec())))
        })?;
        let malformed = || KeyError::Malformed {
            path: data_dir.join("keys").join(FILE),
        };
        let pem = pem::parse(text).ok().filter(|pem| pem.tag() == PEM_TAG);
        let pem = pem.ok_or_else(malformed)?;
        let pair = Ed25519KeyPair::from_pkcs8(pem.contents()).map_err(|_| malformed())?;
        Ok(StatementKey(pair))
    }

    /// Makes a key that is kept nowhere, for tests.
    ///
    /// # Errors
    /// [`KeyError::Generation`].
    pub fn generate() -> Result<StatementKey, KeyError> {
        Ed25519KeyPair::generate()
            .map(StatementKey)
            .map_err(|_| KeyError::Generation)
    }

    /// The public half, in hexadecimal.
    pub fn public(&self) -> String {
        hex::encode(self.0.public_key().as_ref())
    }

    pub(super) fn sign(&self, bytes: &[u8]) -> String {
        hex::encode(self.0.sign(bytes).as_ref())
    }
}
