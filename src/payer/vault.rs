//! The keys under which identity numbers are kept: sealed by AES-256-GCM, matched by a keyed hash.
//!
//! Of each data key two others are derived (HKDF-SHA256), one for sealing and one for hashes (HMAC-SHA256), and an id, which is
//! stored with whatever the key made. The first key seals; every key opens and hashes. To rotate, add a new key behind the old
//! one in every process, then put it first in every process; an old key stays as long as something was sealed with it.

use std::{fmt, path::Path};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA256, KeyType, Salt},
    hmac, rand,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::identity::{DocumentKind, Identity};
use crate::access::{KeyError, read_or_create_secret, read_secret};

/// The file of the data keys within the key directory of the data directory.
const FILE: &str = "identity.aes256.hex";
/// The bytes of a data key.
const KEY_BYTES: usize = 32;
/// What sealed and hashed numbers of bank accounts are told apart by.
const BANK_ACCOUNT: &str = "bank account";
/// The bytes of a key's id.
const ID_BYTES: usize = 8;
/// The digits of a one-time code.
pub const CODE_DIGITS: usize = 6;
/// One-time codes are below this.
const CODES: u32 = 1_000_000;

/// Why there are no keys for identity numbers.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] KeyError),
    /// The file that was named is not there.
    #[error("payers.identity_key_file: there is no file {0}")]
    Missing(String),
    /// Two sources were named.
    #[error("payers.identity_keys and payers.identity_key_file: name one of them")]
    Ambiguous,
    /// No key is in it.
    #[error("{source_name}: holds no key; a key is {} hexadecimal digits", 2 * KEY_BYTES)]
    Empty {
        /// The file or the setting.
        source_name: String,
    },
    /// A key is too long, too short, or not hexadecimal.
    #[error("{source_name}: key {number} must be {KEY_BYTES} bytes, {} hexadecimal digits; it has {length} characters", 2 * KEY_BYTES)]
    Malformed {
        /// The file or the setting.
        source_name: String,
        /// Which of its keys, from 1.
        number: usize,
        /// How many characters it has.
        length: usize,
    },
    /// The same key twice.
    #[error("{source_name}: key {number} was there before")]
    Repeated {
        /// The file or the setting.
        source_name: String,
        /// Which of its keys, from 1.
        number: usize,
    },
    /// The cryptographic library does not do its work.
    #[error("the cryptographic library failed")]
    Library,
}

struct DataKey {
    id: String,
    seal: RandomizedNonceKey,
    hash: hmac::Key,
}

/// All keys, the one that seals first.
pub struct Vault(Vec<DataKey>);

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Vault").field(&self.ids()).finish()
    }
}

/// An identity number as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The kind of document, in clear.
    pub kind: DocumentKind,
    /// The key.
    pub key_id: String,
    /// Nonce, ciphertext and tag.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// A keyed hash, and the key's id.
pub struct Hashed {
    /// The key.
    pub key_id: String,
    /// The hash, 32 bytes.
    pub hash: Vec<u8>,
}

/// The length of what is derived.
struct Len(usize);

impl KeyType for Len {
    fn len(&self) -> usize {
        self.0
    }
}

impl DataKey {
    fn derive(key: &[u8]) -> Result<DataKey, VaultError> {
        let prk = Salt::new(HKDF_SHA256, b"custody identity v1").extract(key);
        let derive = |info: &[u8], out: &mut [u8]| {
            let info = [info];
            let okm = prk.expand(&info, Len(out.len())).map_err(|_| VaultError::Library)?;
            okm.fill(out).map_err(|_| VaultError::Library)
        };
        let (mut id, mut seal, mut hash) = ([0; ID_BYTES], [0; KEY_BYTES], [0; KEY_BYTES]);
        derive(b"id", &mut id)?;
        derive(b"seal", &mut seal)?;
        derive(b"hash", &mut hash)?;
        Ok(DataKey {
            id: hex::encode(id),
            seal: RandomizedNonceKey::new(&AES_256_GCM, &seal).map_err(|_| VaultError::Library)?,
            hash: hmac::Key::new(hmac::HMAC_SHA256, &hash),
        })
    }

    fn hashed(&self, parts: &[&str]) -> Hashed {
        Hashed {
            key_id: self.id.clone(),
            hash: hmac::sign(&self.hash, &joined(parts)).as_ref().to_vec(),
        }
    }
}

/// Parts with their lengths before them, so that no two lists of parts read the same.
fn joined(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend(part.len().to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

impl Vault {
    /// The keys that the configuration gives or names, or those of the data directory, where the first is made.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn load(data_dir: &Path, keys: Option<&SecretString>, file: Option<&Path>) -> Result<Vault, VaultError> {
        match (keys, file) {
            (Some(_), Some(_)) => Err(VaultError::Ambiguous),
            (Some(keys), None) => Vault::parse("payers.identity_keys", keys.expose_secret()),
            (None, Some(path)) => {
                let name = path.display().to_string();
                let bytes = read_secret(path)?.ok_or_else(|| VaultError::Missing(name.clone()))?;
                Vault::parse(&name, &String::from_utf8_lossy(&bytes))
            }
            (None, None) => {
                let bytes = read_or_create_secret(data_dir, FILE, new_key)?;
                Vault::parse(
                    &data_dir.join("keys").join(FILE).display().to_string(),
                    &String::from_utf8_lossy(&bytes),
                )
            }
        }
    }

    /// Reads keys, each 64 hexadecimal digits, with blanks, commas or line ends between them.
    ///
    /// # Errors
    /// [`VaultError`]; it never repeats a key.
    pub fn parse(source_name: &str, text: &str) -> Result<Vault, VaultError> {
        let source_name = || source_name.to_owned();
        let mut keys: Vec<DataKey> = Vec::new();
        let words = text.split(|c: char| c.is_whitespace() || c == ',');
        for (word, number) in words.filter(|word| !word.is_empty()).zip(1..) {
            let bytes = hex::decode(word).ok().filter(|bytes| bytes.len() == KEY_BYTES);
            let bytes = bytes.ok_or_else(|| VaultError::Malformed {
                source_name: source_name(),
                number,
                length: word.chars().count(),
            })?;
            let key = DataKey::derive(&bytes)?;
            if keys.iter().any(|other| other.id == key.id) {
                return Err(VaultError::Repeated {
                    source_name: source_name(),
                    number,
                });
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(VaultError::Empty {
                source_name: source_name(),
            });
        }
        Ok(Vault(keys))
    }

    /// The ids of all keys, that of the one that seals first.
    pub fn ids(&self) -> Vec<&str> {
        self.0.iter().map(|key| key.id.as_str()).collect()
    }

    /// Seals a number for one payer of one center: nowhere else can it be opened.
    pub(super) fn seal(&self, identity: &Identity, center: &str, payer: &str) -> Result<Sealed, VaultError> {
        let key = self.0.first().ok_or(VaultError::Library)?;
        let kind = identity.kind();
        let mut bytes = identity.number().as_bytes().to_vec();
        let aad = Aad::from(joined(&[center, payer, kind.name()]));
        let nonce = key.seal.seal_in_place_append_tag(aad, &mut bytes);
        let nonce = nonce.map_err(|_| VaultError::Library)?;
        let sealed = [nonce.as_ref().as_slice(), &bytes].concat();
        Ok(Sealed {
            kind,
            key_id: key.id.clone(),
            bytes: sealed,
        })
    }

    /// Opens what was sealed for a payer; none if the key is not there, or anything was changed.
    pub(super) fn open(&self, sealed: &Sealed, center: &str, payer: &str) -> Option<Identity> {
        let key = self.0.iter().find(|key| key.id == sealed.key_id)?;
        let (nonce, bytes) = sealed.bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let aad = Aad::from(joined(&[center, payer, sealed.kind.name()]));
        let mut bytes = bytes.to_vec();
        let number = key.seal.open_in_place(nonce, aad, &mut bytes).ok()?;
        let number = String::from_utf8(number.to_vec()).ok()?;
        Some(Identity::stored(sealed.kind, number))
    }

    /// Seals the number of a bank account for one owner of one center: nowhere else can it be opened. The key's id, and nonce,
    /// ciphertext and tag.
    pub(super) fn seal_number(&self, number: &str, center: &str, owner: &str) -> Result<(String, Vec<u8>), VaultError> {
        let key = self.0.first().ok_or(VaultError::Library)?;
        let mut bytes = number.as_bytes().to_vec();
        let aad = Aad::from(joined(&[center, owner, BANK_ACCOUNT]));
        let nonce = key.seal.seal_in_place_append_tag(aad, &mut bytes);
        let nonce = nonce.map_err(|_| VaultError::Library)?;
        Ok((key.id.clone(), [nonce.as_ref().as_slice(), &bytes].concat()))
    }

    /// Opens the number of a bank account; none if the key is not there, or anything was changed.
    pub(super) fn open_number(&self, key_id: &str, sealed: &[u8], center: &str, owner: &str) -> Option<String> {
        let key = self.0.iter().find(|key| key.id == key_id)?;
        let (nonce, bytes) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let aad = Aad::from(joined(&[center, owner, BANK_ACCOUNT]));
        let mut bytes = bytes.to_vec();
        let number = key.seal.open_in_place(nonce, aad, &mut bytes).ok()?;
        String::from_utf8(number.to_vec()).ok()
    }

    /// The keyed hash of a bank account's number, under the key that seals.
    pub(super) fn number_hash(&self, number: &str) -> Result<Hashed, VaultError> {
        let key = self.0.first().ok_or(VaultError::Library)?;
        Ok(key.hashed(&[BANK_ACCOUNT, number]))
    }

    /// The hashes by which a document is found again, under every key.
    pub(super) fn hashes(&self, identity: &Identity) -> Vec<Hashed> {
        let parts = ["identity", identity.kind().name(), identity.number()];
        self.0.iter().map(|key| key.hashed(&parts)).collect()
    }

    /// Seals a text that must not stand anywhere in clear, for one purpose: nowhere else can it be opened. The key's id, and nonce,
    /// ciphertext and tag.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn seal_text(&self, text: &str, purpose: &[&str]) -> Result<(String, Vec<u8>), VaultError> {
        let key = self.0.first().ok_or(VaultError::Library)?;
        let mut bytes = text.as_bytes().to_vec();
        let nonce = key
            .seal
            .seal_in_place_append_tag(Aad::from(joined(purpose)), &mut bytes);
        let nonce = nonce.map_err(|_| VaultError::Library)?;
        Ok((key.id.clone(), [nonce.as_ref().as_slice(), &bytes].concat()))
    }

    /// Opens what was sealed for a purpose; none if the key is not there, or anything was changed.
    pub fn open_text(&self, key_id: &str, sealed: &[u8], purpose: &[&str]) -> Option<String> {
        let key = self.0.iter().find(|key| key.id == key_id)?;
        let (nonce, bytes) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut bytes = bytes.to_vec();
        let text = key
            .seal
            .open_in_place(nonce, Aad::from(joined(purpose)), &mut bytes)
            .ok()?;
        String::from_utf8(text.to_vec()).ok()
    }

    /// A keyed hash by which a text is known again: by the oldest key, which stays when another comes to seal.
    ///
    /// # Errors
    /// [`VaultError::Library`].
    pub fn digest(&self, parts: &[&str]) -> Result<Vec<u8>, VaultError> {
        Ok(self.0.last().ok_or(VaultError::Library)?.hashed(parts).hash)
    }

    /// A new one-time code.
    pub(super) fn new_code() -> Result<SecretString, VaultError> {
        // What is above the greatest multiple is thrown away, so that every code is as likely as any other.
        let fair = u32::MAX - u32::MAX % CODES;
        loop {
            let mut bytes = [0; 4];
            rand::fill(&mut bytes).map_err(|_| VaultError::Library)?;
            let number = u32::from_be_bytes(bytes);
            if number < fair {
                return Ok(format!("{:0CODE_DIGITS$}", number % CODES).into());
            }
        }
    }

    /// The hash by which a code is known again: of this payer's, and this one only.
    pub(super) fn code_hash(
        &self,
        code: &SecretString,
        center: &str,
        payer: &str,
        code_no: i32,
    ) -> Result<Hashed, VaultError> {
        let key = self.0.first().ok_or(VaultError::Library)?;
        Ok(key.hashed(&["code", center, payer, &code_no.to_string(), code.expose_secret()]))
    }

    /// Whether a code has a hash; in constant time.
    pub(super) fn is_code(
        &self,
        hashed: &Hashed,
        code: &SecretString,
        center: &str,
        payer: &str,
        code_no: i32,
    ) -> bool {
        let parts = ["code", center, payer, &code_no.to_string(), code.expose_secret()];
        let key = self.0.iter().find(|key| key.id == hashed.key_id);
        key.is_some_and(|key| hmac::verify(&key.hash, &joined(&parts), &hashed.hash).is_ok())
    }
}

/// A new data key as the file holds it.
fn new_key() -> Result<String, KeyError> {
    let mut key = [0; KEY_BYTES];
    rand::fill(&mut key).map_err(|_| KeyError::Generation)?;
    Ok(format!("{}\n", hex::encode(key)))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn vault(text: &str) -> Vault {
        Vault::parse("test", text).unwrap()
    }

    fn identity() -> Identity {
        Identity::parse(DocumentKind::ResidentIdentityCard, "11010519491231002X").unwrap()
    }

    #[test]
    fn what_is_sealed_is_opened_by_its_payer_s_key_only() {
        let (a, b) = ("a1".repeat(32), "b2".repeat(32));
        let old = vault(&a);
        let sealed = old.seal(&identity(), "C1", "P1").unwrap();
        assert_eq!(old.open(&sealed, "C1", "P1"), Some(identity()));
        assert_eq!(old.open(&sealed, "C1", "P2"), None);
        assert_eq!(old.open(&sealed, "C2", "P1"), None);
        assert_eq!(vault(&b).open(&sealed, "C1", "P1"), None);
        // Rotated: the new key seals, the old one still opens and matches.
        let rotated = vault(&format!("{b}, {a}"));
        assert_eq!(rotated.open(&sealed, "C1", "P1"), Some(identity()));
        assert_eq!(rotated.seal(&identity(), "C1", "P1").unwrap().key_id, rotated.ids()[0]);
        let old_hash = &old.hashes(&identity())[0];
        assert!(
            rotated
                .hashes(&identity())
                .iter()
                .any(|hashed| hashed.hash == old_hash.hash)
        );
        // Never the same bytes twice, nor the number in them.
        assert_ne!(sealed, old.seal(&identity(), "C1", "P1").unwrap());
        for place in 0..sealed.bytes.len() {
            let mut changed = sealed.clone();
            changed.bytes[place] ^= 1;
            assert_eq!(old.open(&changed, "C1", "P1"), None, "{place}");
        }
        let other_kind = Sealed {
            kind: DocumentKind::Other,
            ..sealed
        };
        assert_eq!(old.open(&other_kind, "C1", "P1"), None);
    }

    #[test]
    fn codes_have_six_digits_and_are_known_again() {
        let vault = vault(&"a1".repeat(32));
        for _ in 0..100 {
            let code = Vault::new_code().unwrap();
            let text = code.expose_secret();
            assert!(text.len() == CODE_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()));
            let hashed = vault.code_hash(&code, "C1", "P1", 1).unwrap();
            assert!(vault.is_code(&hashed, &code, "C1", "P1", 1));
            assert!(!vault.is_code(&hashed, &code, "C1", "P2", 1) && !vault.is_code(&hashed, &code, "C1", "P1", 2));
        }
    }

    #[test]
    fn the_file_is_made_once_and_a_wrong_one_is_told() {
        let data = tempfile::tempdir().unwrap();
        let first = Vault::load(data.path(), None, None).unwrap();
        assert_eq!(Vault::load(data.path(), None, None).unwrap().ids(), first.ids());
        let path = data.path().join("keys").join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Vault::load(data.path(), None, Some(&path)).unwrap().ids(), first.ids());
        let told = |text: &str| {
            fs::write(&path, text).unwrap();
            Vault::load(data.path(), None, None).unwrap_err().to_string()
        };
        assert!(told("").contains("holds no key"));
        let short = "a1".repeat(31);
        let error = told(&format!("{}\n{short}", "b2".repeat(32)));
        assert!(
            error.contains("key 2 must be 32 bytes") && error.contains("62 characters"),
            "{error}"
        );
        assert!(!error.contains(&short));
        assert!(told(&"zz".repeat(32)).contains("key 1 must be"));
        assert!(told(&format!("{0} {0}", "a1".repeat(32))).contains("key 2 was there before"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(told(&"a1".repeat(32)).contains("open to other users"));
        let nowhere = Vault::load(data.path(), None, Some(Path::new("/nowhere"))).unwrap_err();
        assert!(nowhere.to_string().contains("no file /nowhere"));
        let both = Vault::load(data.path(), Some(&"a1".repeat(32).into()), Some(&path));
        assert!(matches!(both, Err(VaultError::Ambiguous)));
        assert!(!format!("{first:?}").contains("seal"));
    }
}
