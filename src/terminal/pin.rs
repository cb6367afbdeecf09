//! PINs, hashed with argon2id. A PIN has few digits, so the hash also takes a secret of the deployment: the database alone lets
//! nobody try them all.

use std::{fmt, path::Path, sync::Arc, time::Duration};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{constant_time::verify_slices_are_equal, rand};
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::TerminalRefusal as R;
use crate::{
    access::{KeyError, read_or_create_secret},
    ledger::LedgerError,
};

/// The file of the secret within the data directory's keys: 64 hexadecimal digits.
const FILE: &str = "pins.secret";

/// What OWASP's Password Storage Cheat Sheet asks of argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;

/// How many PINs are hashed at once: each takes a core for some 30 ms, and 19 MiB.
const HASHES_MAX: usize = 2;
/// How long somebody waits for their turn.
const TURN_WAIT_MAX: Duration = Duration::from_secs(3);
/// The digits of a temporary PIN.
const TEMPORARY_DIGITS: usize = 6;

/// A PIN as it is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct HashedPin {
    /// The memory it was hashed with.
    pub memory_kib: u32,
    /// How often that was gone over.
    pub passes: u32,
    /// 16 random bytes.
    pub salt: Vec<u8>,
    /// 32 bytes.
    pub hash: Vec<u8>,
}

impl fmt::Debug for HashedPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashedPin(…)")
    }
}

/// The turn to hash one PIN.
pub struct Turn(OwnedSemaphorePermit);

/// Hashes PINs, a few at once, away from the threads that answer calls.
#[derive(Clone)]
pub struct Pins {
    secret: Arc<SecretBox<[u8; 32]>>,
    turns: Arc<Semaphore>,
}

impl Pins {
    /// Reads the secret of a data directory, which is made first if there is none. All processes on one database need the same.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn load(data_dir: &Path) -> Result<Pins, KeyError> {
        let make = || {
            let mut secret = [0_u8; 32];
            rand::fill(&mut secret).map_err(|_| KeyError::Generation)?;
            Ok(hex::encode(secret))
        };
        let text = read_or_create_secret(data_dir, FILE, make)?;
        let secret = hex::decode(text.trim_ascii())
            .ok()
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let secret = secret.ok_or(KeyError::Generation)?;
        Ok(Pins {
            secret: Arc::new(SecretBox::new(Box::new(secret))),
            turns: Arc::new(Semaphore::new(HASHES_MAX)),
        })
    }

    /// Waits for the turn to hash.
    ///
    /// Errors: SIGN_IN_BUSY.
    pub async fn turn(&self) -> Result<Turn, LedgerError> {
        let waited = tokio::time::timeout(TURN_WAIT_MAX, self.turns.clone().acquire_owned()).await;
        match waited {
            Ok(Ok(permit)) => Ok(Turn(permit)),
            _ => Err(R::SignInBusy.into()),
        }
    }

    /// Hashes a PIN.
    pub async fn hash(&self, pin: &SecretString, turn: Turn) -> Result<HashedPin, LedgerError> {
        let mut salt = vec![0_u8; 16];
        rand::fill(&mut salt).map_err(|_| LedgerError::Internal)?;
        let hashed = HashedPin {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            salt,
            hash: Vec::new(),
        };
        let hash = self.run(pin, hashed.clone(), turn).await?;
        Ok(HashedPin { hash, ..hashed })
    }

    /// Whether a PIN is the one that is stored. Without one it takes as long, and is not.
    pub async fn is(&self, pin: &SecretString, stored: Option<HashedPin>, turn: Turn) -> Result<bool, LedgerError> {
        let known = stored.unwrap_or_else(|| HashedPin {
            memory_kib: MEMORY_KIB,
            passes: PASSES,
            salt: vec![0; 16],
            hash: Vec::new(),
        });
        let told = known.hash.clone();
        let hash = self.run(pin, known, turn).await?;
        Ok(verify_slices_are_equal(&hash, &told).is_ok())
    }

    async fn run(&self, pin: &SecretString, with: HashedPin, turn: Turn) -> Result<Vec<u8>, LedgerError> {
        let (secret, pin) = (self.secret.clone(), pin.clone());
        let hashing = tokio::task::spawn_blocking(move || {
            let hash = hash(secret.expose_secret(), pin.expose_secret().as_bytes(), &with);
            drop(turn.0);
            hash
        });
        match hashing.await {
            Ok(Ok(hash)) => Ok(hash),
            Ok(Err(error)) => {
                tracing::error!(%error, "a PIN cannot be hashed");
                Err(LedgerError::Internal)
            }
            Err(_) => Err(LedgerError::Internal),
        }
    }
}

fn hash(secret: &[u8], pin: &[u8], with: &HashedPin) -> argon2::Result<Vec<u8>> {
    let mut hash = vec![0_u8; 32];
    let params = Params::new(with.memory_kib, with.passes, 1, Some(hash.len()))?;
    let argon2 = Argon2::new_with_secret(secret, Algorithm::Argon2id, Version::V0x13, params)?;
    argon2.hash_password_into(pin, &with.salt, &mut hash)?;
    Ok(hash)
}

/// A random PIN, for staff to hand over; none if there are no random numbers.
pub fn temporary() -> Option<SecretString> {
    let mut digits = String::with_capacity(TEMPORARY_DIGITS);
    while digits.len() < TEMPORARY_DIGITS {
        let mut byte = [0_u8];
        rand::fill(&mut byte).ok()?;
        // 250 to 255 would make some digits likelier than others.
        if byte[0] < 250 {
            digits.push(char::from(b'0' + byte[0] % 10));
        }
    }
    Some(digits.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_pin_is_known_again_with_the_deployments_secret_only() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let pins = Pins::load(one.path()).unwrap();
        let pin = SecretString::from("271828");
        let hashed = pins.hash(&pin, pins.turn().await.unwrap()).await.unwrap();
        let is = async |pins: &Pins, pin: &str, stored: Option<HashedPin>| {
            pins.is(&pin.into(), stored, pins.turn().await.unwrap()).await.unwrap()
        };
        assert!(is(&Pins::load(one.path()).unwrap(), "271828", Some(hashed.clone())).await);
        assert!(!is(&pins, "271829", Some(hashed.clone())).await);
        assert!(!is(&pins, "271828", None).await);
        assert!(!is(&Pins::load(other.path()).unwrap(), "271828", Some(hashed.clone())).await);
        assert_eq!(format!("{hashed:?}"), "HashedPin(…)");
        let temporary = temporary().unwrap();
        assert!(
            temporary.expose_secret().len() == 6 && temporary.expose_secret().bytes().all(|byte| byte.is_ascii_digit())
        );
    }
}
