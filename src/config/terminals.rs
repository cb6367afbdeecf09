//! The section `[terminals]`.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::ConfigError;

/// Its keys.
pub(super) const KEYS: &[&str] = &["listen", "host", "authority_file", "authority_key_file"];

/// The section `[terminals]`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Terminals {
    /// Where enrolled terminals call, over TLS with their certificates; port 0 picks a free one. Without it there is no such port.
    pub listen: Option<SocketAddr>,
    /// A further name in the service's certificate on that port, beside `custody`, `localhost` and the address.
    pub host: Option<String>,
    /// The certificate of the authority for terminals, PEM. Without it the service makes an authority of its own under `data_dir`.
    pub authority_file: Option<PathBuf>,
    /// Its key, PKCS #8 in PEM, readable by its owner only.
    pub authority_key_file: Option<PathBuf>,
}

impl Terminals {
    /// The files of the authority, if it is given.
    pub fn authority_files(&self) -> Option<(&Path, &Path)> {
        Some((self.authority_file.as_deref()?, self.authority_key_file.as_deref()?))
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.authority_file.is_some() != self.authority_key_file.is_some() {
            return Err(ConfigError::Invalid {
                key: "terminals.authority_file".to_owned(),
                problem: "belongs to terminals.authority_key_file: give both or neither".to_owned(),
            });
        }
        Ok(())
    }
}
