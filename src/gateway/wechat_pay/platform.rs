//! The platform's keys: those of the configuration, and the certificates that the platform hands out and replaces.
//!
//! Certificates come sealed with the APIv3 key, which only the platform and the merchant have. The platform lists a new one before
//! it signs with it, and the old one until it expires; so the list that was fetched last is the truth about what may have signed,
//! and a certificate that is no longer listed is no longer believed. The configuration's stay whatever is listed.
//!
//! Whoever sends a notification can name a serial number, so what is named can make us fetch the list once in [`FETCH_PAUSE_S`]
//! at most, over all callers together.

use std::sync::{Arc, PoisonError, RwLock};

use time::{Duration, OffsetDateTime};
use tokio::sync::{Mutex, MutexGuard};

use super::{
    keys::{ApiV3Key, VerifyingKeys},
    wire::{ALGORITHM, CertificatesBody},
};
use crate::clock::Clock;

/// How long a fetched list is good, in seconds: 12 hours.
const LIST_TTL_S: i64 = 12 * 3600;
/// The shortest pause between two fetches, in seconds.
const FETCH_PAUSE_S: i64 = 60;
/// The longest serial number, in hexadecimal digits; RFC 5280 has 20 bytes.
const SERIAL_DIGITS_MAX: usize = 40;

/// The keys that answers and notifications may be signed with.
pub(super) struct Platform {
    configured: VerifyingKeys,
    /// What was fetched; `None` if certificates are not to be fetched.
    listed: Option<Listed>,
}

struct Listed {
    certificates: RwLock<Arc<VerifyingKeys>>,
    fetched: Mutex<Fetched>,
}

/// When the list was fetched. Whoever holds it may fetch; the others wait, and find what the first one found.
#[derive(Default)]
pub(super) struct Fetched {
    tried_at: Option<OffsetDateTime>,
    succeeded_at: Option<OffsetDateTime>,
}

impl Platform {
    /// Keys of the configuration; and whether certificates are fetched beside them.
    pub(super) fn new(configured: VerifyingKeys, fetches: bool) -> Platform {
        let listed = fetches.then(|| Listed {
            certificates: RwLock::default(),
            fetched: Mutex::default(),
        });
        Platform { configured, listed }
    }

    /// The id to name to WeChat Pay, so that it signs with a public key that we have; none if we have certificates only.
    pub(super) fn public_key_id(&self) -> Option<&str> {
        self.configured.public_key_id()
    }

    /// Whether the key of this id signed the message; `None` if there is no such key, or if it has expired.
    pub(super) fn verify(&self, id: &str, message: &[u8], signature: &[u8], now: OffsetDateTime) -> Option<bool> {
        let by_configured = self.configured.verify(id, message, signature, now);
        by_configured.or_else(|| self.certificates()?.verify(id, message, signature, now))
    }

    fn has(&self, id: &str, now: OffsetDateTime) -> bool {
        self.configured.has(id, now)
            || self
                .certificates()
                .is_some_and(|certificates| certificates.has(id, now))
    }

    fn certificates(&self) -> Option<Arc<VerifyingKeys>> {
        let listed = self.listed.as_ref()?;
        // Replaced whole, so a panic elsewhere cannot leave it half-changed.
        Some(
            listed
                .certificates
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        )
    }

    /// Whether the list has to be fetched, because it is old or lacks the key `missing`; with the right to do so, which is to be
    /// used at once.
    pub(super) async fn begin_fetch(&self, missing: Option<&str>, clock: &Clock) -> Begun<'_> {
        let Some(listed) = &self.listed else {
            return Begun::NotNeeded { is_there: false };
        };
        if missing.is_some_and(|id| !is_serial(id)) {
            return Begun::NotNeeded { is_there: false };
        }
        let mut fetched = listed.fetched.lock().await;
        let now = clock.now();
        // Absolute, so that a clock that was set back does not put an end to fetching.
        let is_within = |at: Option<OffsetDateTime>, s| at.is_some_and(|at| (now - at).abs() < Duration::seconds(s));
        let is_there = missing.is_some_and(|id| self.has(id, now));
        let is_good = match missing {
            Some(_) => is_there,
            None => is_within(fetched.succeeded_at, LIST_TTL_S),
        };
        if is_good || is_within(fetched.tried_at, FETCH_PAUSE_S) {
            return Begun::NotNeeded { is_there };
        }
        fetched.tried_at = Some(now);
        Begun::Fetch(Fetch { listed, fetched })
    }
}

/// Whether to fetch.
pub(super) enum Begun<'a> {
    /// Yes.
    Fetch(Fetch<'a>),
    /// No; and whether the missing key is there by now.
    NotNeeded { is_there: bool },
}

/// The right to fetch the list.
pub(super) struct Fetch<'a> {
    listed: &'a Listed,
    fetched: MutexGuard<'a, Fetched>,
}

impl Fetch<'_> {
    /// Takes a list whose signature was checked.
    pub(super) fn succeeded(mut self, certificates: VerifyingKeys, now: OffsetDateTime) {
        let mut held = self.listed.certificates.write().unwrap_or_else(PoisonError::into_inner);
        *held = Arc::new(certificates);
        self.fetched.succeeded_at = Some(now);
    }
}

/// Opens a list of certificates, whole or not at all.
///
/// # Errors
/// What is wrong with it, for people.
pub(super) fn open(told: &CertificatesBody, key: &ApiV3Key) -> Result<VerifyingKeys, String> {
    let mut certificates = VerifyingKeys::default();
    for one in &told.data {
        let (serial, sealed) = (&one.serial_no, &one.encrypt_certificate);
        if sealed.algorithm != ALGORITHM {
            return Err(format!("certificate {serial:?} is sealed in another way"));
        }
        let opened = key
            .open(&sealed.nonce, &sealed.associated_data, &sealed.ciphertext)
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or_else(|| format!("certificate {serial:?} cannot be opened with the APIv3 key"))?;
        certificates
            .add_told_certificate(serial, &opened, one.expire_time)
            .map_err(|error| format!("certificate {serial:?} {error}"))?;
    }
    if certificates.is_empty() {
        return Err("no certificate is listed".to_owned());
    }
    Ok(certificates)
}

/// Whether it can be the serial number of a certificate: nothing else is worth a fetch.
fn is_serial(id: &str) -> bool {
    (1..=SERIAL_DIGITS_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}
