//! The Ed25519 key that signs tokens: made once, kept in a file that only the service's user can read.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use jsonwebtoken::EncodingKey;

/// The directory of the keys within the data directory.
const DIRECTORY: &str = "keys";

/// The file of the token key: PKCS #8 in PEM, as openssl reads it.
const FILE: &str = "token.ed25519.pem";

const PEM_TAG: &str = "PRIVATE KEY";

/// Why there is no token key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file or its directory cannot be read or written.
    #[error("cannot use the key file {path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Other users of the machine can read or write the file.
    #[error("the key file {path} is open to other users (mode {mode:03o}); allow its owner only (chmod 600)")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file holds no Ed25519 key.
    #[error("the key file {path} holds no Ed25519 private key in PEM")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// There is no key, and none is to be made.
    #[error("there is no key file {path}; `custody serve` makes it when it is first started with this data directory")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The cryptographic library makes no key.
    #[error("no key can be generated")]
    Generation,
}

/// The public half of a token key. It is enough to verify tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// A public key from its 32 bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> PublicKey {
        PublicKey(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Lowercase hexadecimal.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The key that signs tokens.
#[derive(Clone)]
pub struct TokenKey {
    signing: EncodingKey,
    public: PublicKey,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The private half is never shown.
        f.debug_struct("TokenKey")
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl TokenKey {
    /// Reads the key of a data directory, and makes one first if there is none. Processes that start at once all get the
    /// same key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn load_or_create(data_dir: &Path) -> Result<TokenKey, KeyError> {
        read_or_create_secret(data_dir, FILE, || {
            Ok(pem::encode(&pem::Pem::new(PEM_TAG, new_pkcs8()?)))
        })?;
        TokenKey::load(data_dir)
    }

    /// Reads the key of a data directory.
    ///
    /// # Errors
    /// [`KeyError`]; [`KeyError::Missing`] if there is none.
    pub fn load(data_dir: &Path) -> Result<TokenKey, KeyError> {
        let path = data_dir.join(DIRECTORY).join(FILE);
        read(&path)?.ok_or(KeyError::Missing { path })
    }

    /// Makes a key that is kept nowhere, for tests.
    ///
    /// # Errors
    /// [`KeyError::Generation`].
    pub fn generate() -> Result<TokenKey, KeyError> {
        TokenKey::from_pkcs8(&new_pkcs8()?).ok_or(KeyError::Generation)
    }

    /// The public half.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    pub(super) fn signing(&self) -> &EncodingKey {
        &self.signing
    }

    fn from_pkcs8(pkcs8: &[u8]) -> Option<TokenKey> {
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8).ok()?;
        let public = PublicKey(pair.public_key().as_ref().try_into().ok()?);
        Some(TokenKey {
            signing: EncodingKey::from_ed_der(pkcs8),
            public,
        })
    }
}

fn new_pkcs8() -> Result<Vec<u8>, KeyError> {
    let pair = Ed25519KeyPair::generate().map_err(|_| KeyError::Generation)?;
    Ok(pair.to_pkcs8v1().map_err(|_| KeyError::Generation)?.as_ref().to_vec())
}

/// Reads the key file; none if there is no such file.
fn read(path: &Path) -> Result<Option<TokenKey>, KeyError> {
    let Some(text) = read_secret(path)? else {
        return Ok(None);
    };
    let pem = pem::parse(text).ok().filter(|pem| pem.tag() == PEM_TAG);
    let key = pem.and_then(|pem| TokenKey::from_pkcs8(pem.contents()));
    key.map(Some)
        .ok_or_else(|| KeyError::Malformed { path: path.to_owned() })
}

/// Reads a file that only its owner may read; none if there is no such file.
///
/// # Errors
/// [`KeyError::Io`] and [`KeyError::Exposed`].
pub fn read_secret(path: &Path) -> Result<Option<Vec<u8>>, KeyError> {
    let failed = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    let mode = match fs::metadata(path) {
        Ok(metadata) => metadata.permissions().mode() & 0o777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if mode & 0o077 != 0 {
        return Err(KeyError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    fs::read(path).map(Some).map_err(failed)
}

/// Reads a secret of the data directory, and makes it first if there is none. Processes that start at once all get the same.
///
/// # Errors
/// [`KeyError::Io`], [`KeyError::Exposed`], and whatever `make` says.
pub fn read_or_create_secret(
    data_dir: &Path,
    file: &str,
    make: impl FnOnce() -> Result<String, KeyError>,
) -> Result<Vec<u8>, KeyError> {
    let directory = data_dir.join(DIRECTORY);
    let path = directory.join(file);
    if let Some(text) = read_secret(&path)? {
        return Ok(text);
    }
    let failed = |source| KeyError::Io {
        path: directory.clone(),
        source,
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(failed)?;
    create(&directory, &path, &make()?)?;
    // Whoever was first, the file that is there now is the secret.
    let gone = || KeyError::Io {
        path: path.clone(),
        source: io::ErrorKind::NotFound.into(),
    };
    read_secret(&path)?.ok_or_else(gone)
}

/// Writes a new secret to the file unless the file is there already. The file appears whole or not at all.
fn create(directory: &Path, path: &Path, text: &str) -> Result<(), KeyError> {
    let failed = |source| KeyError::Io {
        path: path.to_owned(),
        source,
    };
    // Temporary files of this library are open to their owner only.
    let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    match file.persist_noclobber(path) {
        Ok(_) => File::open(directory)
            .and_then(|directory| directory.sync_all())
            .map_err(failed),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed(error.error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept() {
        let data = tempfile::tempdir().unwrap();
        let first = TokenKey::load_or_create(data.path()).unwrap();
        let second = TokenKey::load_or_create(data.path()).unwrap();
        assert_eq!(first.public(), second.public());

        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let directory = data.path().join(DIRECTORY);
        assert_eq!((mode(&directory), mode(&directory.join(FILE))), (0o700, 0o600));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no temporary file stays");
        assert_eq!(first.public().to_string().len(), 64);
        assert!(!format!("{first:?}").contains("signing"));
    }

    #[test]
    fn those_who_race_get_the_same_key() {
        let data = tempfile::tempdir().unwrap();
        let keys: Vec<_> = std::thread::scope(|scope| {
            let load = || TokenKey::load_or_create(data.path()).unwrap().public();
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(load)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[test]
    fn a_file_that_is_no_key_or_open_to_others_is_refused() {
        let data = tempfile::tempdir().unwrap();
        TokenKey::load_or_create(data.path()).unwrap();
        let path = data.path().join(DIRECTORY).join(FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            TokenKey::load_or_create(data.path()),
            Err(KeyError::Exposed { mode: 0o640, .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in [
            "",
            "no key",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ] {
            fs::write(&path, text).unwrap();
            assert!(
                matches!(TokenKey::load_or_create(data.path()), Err(KeyError::Malformed { .. })),
                "{text:?}"
            );
        }
    }
}
