//! The simulated Alipay: `gateway.do` of one application, over the same book as the other faces.
//!
//! It checks the caller's signature, and signs what it answers and sends. As the real one it hears of an order when its code is
//! scanned, pays back at once unless told otherwise, and tells a refund by the sum of all refunds of the trade.
//!
//! # Layout
//! - `api`: the endpoints. `letter`: notifications. `bill`: bills. `keys`, `certificates`: the key material of both sides.
//!
//! Whoever names certificates in a request is answered in the mode with certificates.

mod api;
mod bill;
mod certificates;
pub mod keys;
pub(super) mod letter;

use std::{collections::BTreeMap, sync::Mutex};

use time::{Date, OffsetDateTime};

pub(super) use self::api::router;
use self::keys::AlipayKeys;
use crate::gateway::alipay::{
    AlipayError,
    certificate::{Certificate, CertificateError, root_sn},
    key::{KeyError, PrivateKey, PublicKey},
};

/// One application, and Alipay's side of it.
pub(super) struct Alipay {
    key: PrivateKey,
    app_key: PublicKey,
    sns: Sns,
    /// The bills that can be fetched, and until when.
    downloads: Mutex<BTreeMap<String, (Date, OffsetDateTime)>>,
}

/// The SNs of the certificates.
struct Sns {
    app: String,
    alipay: String,
    root: String,
}

fn app_key(keys: &AlipayKeys) -> Result<PublicKey, KeyError> {
    PublicKey::read(&keys.app_public_key()?)
}

impl Alipay {
    pub(super) fn of(keys: &AlipayKeys) -> Result<Alipay, AlipayError> {
        let wrong = |key: &'static str| move |error: CertificateError| AlipayError::Certificate { key, error };
        let texts = keys.certificates();
        let sn = |key, text: &str| Ok::<_, AlipayError>(Certificate::read(text).map_err(wrong(key))?.sn);
        Ok(Alipay {
            sns: Sns {
                app: sn("app_cert_file", &texts.app)?,
                alipay: sn("alipay_cert_file", &texts.alipay)?,
                root: root_sn(&texts.root).map_err(wrong("alipay_root_cert_file"))?,
            },
            key: keys.alipay_key().map_err(AlipayError::PrivateKey)?,
            app_key: app_key(keys).map_err(AlipayError::AlipayPublicKey)?,
            downloads: Mutex::default(),
        })
    }
}
