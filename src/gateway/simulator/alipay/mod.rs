//! The simulated Alipay: `gateway.do` of one application, over the same book as the other faces.
//!
//! It checks the caller's signature, and signs what it answers and sends. As the real one it hears of an order when its code is
//! scanned, pays back at once unless told otherwise, and tells a refund by the sum of all refunds of the trade.
//!
//! # Layout
//! - `api`: the endpoints. `letter`: notifications. `bill`: bills. `keys`: the key material of both sides.

mod api;
mod bill;
pub mod keys;
pub(super) mod letter;

use std::{collections::BTreeMap, sync::Mutex};

use time::{Date, OffsetDateTime};

pub(super) use self::api::router;
use self::keys::AlipayKeys;
use crate::gateway::alipay::key::{KeyError, PrivateKey, PublicKey};

/// One application, and Alipay's side of it.
pub(super) struct Alipay {
    key: PrivateKey,
    app_key: PublicKey,
    /// The bills that can be fetched, and until when.
    downloads: Mutex<BTreeMap<String, (Date, OffsetDateTime)>>,
}

impl Alipay {
    pub(super) fn of(keys: &AlipayKeys) -> Result<Alipay, KeyError> {
        Ok(Alipay {
            key: keys.alipay_key()?,
            app_key: PublicKey::read(&keys.app_public_key()?)?,
            downloads: Mutex::default(),
        })
    }
}
