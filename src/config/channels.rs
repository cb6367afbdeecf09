//! The tables `[channels.NAME]`: gateway channels beside the one of `[gateway]`, each of a kind with keys of its own.
//!
//! Every key of such a table that is one text may also be the variable `CUSTODY_CHANNELS_NAME_KEY` (NAME in capitals, `_` for
//! `-`), if the file has the table. A key pair's private half, and other secrets, are named by a file or are such a variable.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use figment::value::{Dict, Value};
use rust_decimal::Decimal;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::{ConfigError, is_http_url};

/// The longest name of a channel, in characters.
const NAME_LEN_MAX: usize = 32;
/// The keys that every kind has.
const COMMON: [&str; 5] = ["kind", "base_url", "notify_url", "centers", "fee_rate"];

/// A table `[channels.NAME]`.
#[derive(Debug, Clone)]
pub struct Channel {
    /// What every kind has.
    pub common: Common,
    /// What it is, and that kind's own keys.
    pub kind: ChannelKind,
}

/// The keys that every kind of channel has.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Common {
    kind: Kind,
    /// Where the gateway's API lives; each kind knows its gateway's usual address.
    pub base_url: Option<String>,
    /// Where the gateway is told to send notifications; without it, to the address on which the service listens.
    pub notify_url: Option<String>,
    /// The ids of the centers that may use it; without it, all.
    pub centers: Option<Vec<String>>,
    /// What the gateway keeps of a payment, as a part of 1: "0.006" is 0.6 %. A bill that somebody uploads brings no other fees.
    #[serde(default, with = "rust_decimal::serde::str_option")]
    pub fee_rate: Option<Decimal>,
}

/// The values of the key `kind`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Webhook,
    WechatPay,
    Alipay,
}

/// What a channel is, with the keys that only this kind has.
#[derive(Debug, Clone)]
pub enum ChannelKind {
    /// Signed JSON, as the channel of `[gateway]`.
    Webhook(Webhook),
    /// WeChat Pay, API v3.
    WechatPay(Box<WechatPay>),
    /// Alipay, with RSA2 signatures.
    Alipay(Box<Alipay>),
}

/// The own keys of `kind = "webhook"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    secret: Option<SecretString>,
    secret_file: Option<PathBuf>,
    /// How the gateway signs and words its notifications.
    #[serde(default)]
    pub signature: SignatureStyle,
    /// Whose notifications are ours; with `signature = "adyen"`, and only then.
    pub merchant_account: Option<String>,
}

/// The values of the key `signature`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureStyle {
    /// In the style of Stripe.
    #[default]
    Stripe,
    /// GOV.UK Pay's.
    GovukPay,
    /// Adyen's.
    Adyen,
}

impl Webhook {
    /// Shared with the gateway.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], if it is not there or its file cannot be read.
    pub fn secret(&self, channel: &str) -> Result<SecretString, ConfigError> {
        secret(channel, "secret", self.secret.as_ref(), self.secret_file.as_deref())
    }
}

/// The own keys of `kind = "wechat_pay"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WechatPay {
    /// The merchant's number.
    pub mchid: String,
    /// The official account's or mini program's id.
    pub appid: String,
    /// The serial number of the merchant's certificate, which tells WeChat Pay whose signature it checks.
    pub serial_no: String,
    private_key: Option<SecretString>,
    private_key_file: Option<PathBuf>,
    api_v3_key: Option<SecretString>,
    api_v3_key_file: Option<PathBuf>,
    /// Certificates of WeChat Pay's platform, PEM; each tells its serial number itself.
    #[serde(default)]
    pub platform_certificate_files: Vec<PathBuf>,
    /// Public keys of WeChat Pay's platform, PEM, by their ids (`PUB_KEY_ID_…`).
    #[serde(default)]
    pub platform_public_key_files: BTreeMap<String, PathBuf>,
    fetch_certificates: Option<bool>,
}

impl WechatPay {
    /// Whether the platform's certificates are fetched, as long as it hands them out: if nothing is said, for a merchant without
    /// a public key of the platform's.
    pub fn fetch_certificates(&self) -> bool {
        self.fetch_certificates
            .unwrap_or(self.platform_public_key_files.is_empty())
    }

    /// The merchant's private key, PEM.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], if it is not there or its file cannot be read.
    pub fn private_key(&self, channel: &str) -> Result<SecretString, ConfigError> {
        let file = self.private_key_file.as_deref();
        secret(channel, "private_key", self.private_key.as_ref(), file)
    }

    /// The key that notifications are encrypted with, 32 bytes.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], if it is not there or its file cannot be read.
    pub fn api_v3_key(&self, channel: &str) -> Result<SecretString, ConfigError> {
        let file = self.api_v3_key_file.as_deref();
        secret(channel, "api_v3_key", self.api_v3_key.as_ref(), file)
    }
}

/// The own keys of `kind = "alipay"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alipay {
    /// The application's id.
    pub app_id: String,
    /// The merchant's id (PID, 2088…).
    pub seller_id: String,
    private_key: Option<SecretString>,
    private_key_file: Option<PathBuf>,
    /// Without certificates (公钥模式).
    alipay_public_key_file: Option<PathBuf>,
    /// With certificates (公钥证书模式), all three.
    app_cert_file: Option<PathBuf>,
    alipay_cert_file: Option<PathBuf>,
    alipay_root_cert_file: Option<PathBuf>,
}

/// What says who Alipay is, read from the files.
pub enum AlipayTrust {
    /// Alipay's public key for the application, PEM or base64 alone.
    PublicKey(String),
    /// Certificates, PEM.
    Certificates {
        /// The application's.
        app: String,
        /// Alipay's for the application.
        alipay: String,
        /// Alipay's roots.
        root: String,
    },
}

impl Alipay {
    /// The application's private key, PEM or base64 alone.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], if it is not there or its file cannot be read.
    pub fn private_key(&self, channel: &str) -> Result<SecretString, ConfigError> {
        let file = self.private_key_file.as_deref();
        secret(channel, "private_key", self.private_key.as_ref(), file)
    }

    /// The key or the certificates of the one mode that is configured.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], if it is none or both, if a certificate is missing, or if a file cannot be read.
    pub fn trust(&self, channel: &str) -> Result<AlipayTrust, ConfigError> {
        const PUBLIC_KEY: &str = "alipay_public_key_file";
        let certificates = [
            ("app_cert_file", self.app_cert_file.as_deref()),
            ("alipay_cert_file", self.alipay_cert_file.as_deref()),
            ("alipay_root_cert_file", self.alipay_root_cert_file.as_deref()),
        ];
        let first = certificates.iter().find(|(_, path)| path.is_some());
        match (&self.alipay_public_key_file, first) {
            (Some(path), None) => return Ok(AlipayTrust::PublicKey(read(channel, PUBLIC_KEY, path)?)),
            (Some(_), Some((key, _))) => {
                return Err(invalid(channel, PUBLIC_KEY, format!("is given, and so is {key}")));
            }
            (None, None) => {
                let problem = "is missing; in certificate mode give app_cert_file, alipay_cert_file and \
                               alipay_root_cert_file instead";
                return Err(invalid(channel, PUBLIC_KEY, problem));
            }
            (None, Some(_)) => {}
        }
        let text = |(key, path): (&str, Option<&Path>)| {
            let missing = || invalid(channel, key, "is missing; certificate mode needs all three files");
            read(channel, key, path.ok_or_else(missing)?)
        };
        let [app, alipay, root] = certificates;
        Ok(AlipayTrust::Certificates {
            app: text(app)?,
            alipay: text(alipay)?,
            root: text(root)?,
        })
    }
}

impl Channel {
    /// Reads a table. The common keys and the kind's own stand in one; serde's `flatten` would let unknown keys pass.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`].
    pub(super) fn read(name: &str, mut own: Dict) -> Result<Channel, ConfigError> {
        let common: Dict = COMMON.iter().filter_map(|key| own.remove_entry(*key)).collect();
        let common: Common = table(name, common)?;
        let kind = match common.kind {
            Kind::Webhook => ChannelKind::Webhook(table(name, own)?),
            Kind::WechatPay => ChannelKind::WechatPay(table(name, own)?),
            Kind::Alipay => ChannelKind::Alipay(table(name, own)?),
        };
        Ok(Channel { common, kind })
    }
}

fn table<T: for<'de> Deserialize<'de>>(channel: &str, keys: Dict) -> Result<T, ConfigError> {
    let told = |error: figment::Error| {
        // Not its place in a file: keys of several layers stand together here.
        let path = [&["channels".to_owned(), channel.to_owned()], error.path.as_slice()].concat();
        let problem = error.kind.to_string();
        ConfigError::Invalid {
            key: path.join("."),
            problem,
        }
    };
    Value::from(keys).deserialize().map_err(told)
}

/// The error for a key of a channel.
pub fn invalid(channel: &str, key: &str, problem: impl ToString) -> ConfigError {
    ConfigError::Invalid {
        key: format!("channels.{channel}.{key}"),
        problem: problem.to_string(),
    }
}

/// Reads a file that a key names. Its bytes may be secret and are in no error.
///
/// # Errors
/// [`ConfigError::Invalid`].
pub fn read(channel: &str, key: &str, path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|error| invalid(channel, key, format!("{}: {error}", path.display())))
}

/// A secret that is a variable or stands in a file, without the line's end there.
fn secret(
    channel: &str,
    key: &str,
    text: Option<&SecretString>,
    file: Option<&Path>,
) -> Result<SecretString, ConfigError> {
    let file_key = format!("{key}_file");
    let secret = match (text, file) {
        (Some(text), None) => text.clone(),
        (None, Some(path)) => SecretString::from(read(channel, &file_key, path)?.trim_end_matches(['\r', '\n'])),
        (Some(_), Some(_)) => return Err(invalid(channel, key, format!("is given, and so is {file_key}"))),
        (None, None) => {
            return Err(invalid(
                channel,
                key,
                format!("is missing; give {file_key} or the variable"),
            ));
        }
    };
    if secret.expose_secret().is_empty() {
        return Err(invalid(channel, key, "must not be empty"));
    }
    Ok(secret)
}

/// What can be told of a channel without its keys.
pub(super) fn check(name: &str, channel: &Channel, taken: Option<&str>) -> Result<(), ConfigError> {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase());
    if !begins || !name.bytes().all(is_letter) || name.len() > NAME_LEN_MAX {
        let problem = format!(
            "a channel's name is a letter and up to {} of a-z, 0-9 and -",
            NAME_LEN_MAX - 1
        );
        return Err(invalid(name, "kind", problem));
    }
    if name == "bank" {
        return Err(invalid(name, "kind", "refunds that the bank pays have this name"));
    }
    if taken == Some(name) {
        return Err(invalid(name, "kind", "the channel of [gateway] has this name"));
    }
    let common = &channel.common;
    for (key, url) in [("base_url", &common.base_url), ("notify_url", &common.notify_url)] {
        if url.as_ref().is_some_and(|url| !is_http_url(url)) {
            return Err(invalid(name, key, "must begin with http:// or https://"));
        }
    }
    if common.centers.as_ref().is_some_and(Vec::is_empty) {
        return Err(invalid(name, "centers", "names no center; leave it out for all"));
    }
    if common
        .fee_rate
        .is_some_and(|rate| rate.is_sign_negative() || rate >= Decimal::ONE)
    {
        return Err(invalid(name, "fee_rate", "must be 0 or more, and less than 1"));
    }
    match &channel.kind {
        ChannelKind::Webhook(own) => {
            if common.base_url.is_none() {
                return Err(invalid(name, "base_url", "is missing"));
            }
            if own.merchant_account.is_some() && own.signature != SignatureStyle::Adyen {
                return Err(invalid(name, "merchant_account", "is for signature = \"adyen\" only"));
            }
            own.secret(name).map(drop)
        }
        ChannelKind::WechatPay(own) => {
            if common.notify_url.as_ref().is_some_and(|url| url.contains('?')) {
                return Err(invalid(name, "notify_url", "WeChat Pay takes no query in it"));
            }
            own.private_key(name)?;
            own.api_v3_key(name).map(drop)
        }
        ChannelKind::Alipay(own) => {
            own.private_key(name)?;
            own.trust(name).map(drop)
        }
    }
}
