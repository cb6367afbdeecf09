//! The configuration of `custody serve`: defaults, then a TOML file, then the environment, then flags; the later wins.
//!
//! A key such as `server.data_dir` is `data_dir` in the section `[server]` of the file, and the environment variable
//! `CUSTODY_SERVER_DATA_DIR`. Variables of other sections, such as `CUSTODY_TOKEN`, belong to other commands or to the tests, and
//! are passed over; a key that its section does not have is an error.
//!
//! # Layout
//! - `banks`: the tables `[banks.CENTER]`, each center's bank account.
//! - `channels`: the tables `[channels.NAME]`, any number of gateway channels of several kinds.
//! - `flags`: the flags of `custody serve`. `layers`: file, environment and flags, put together.
//! - `payers`: the section `[payers]`. `terminals`: the section `[terminals]`.
//! - `error`: why there is no configuration.

mod banks;
mod channels;
mod error;
mod flags;
mod layers;
mod payers;
mod terminals;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use figment::Figment;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};
use rust_decimal::Decimal;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use time::OffsetDateTime;

use self::layers::{Layer, Named};
pub use self::{
    banks::{Bank, BankCsv, BankFormat, CsvEncoding, CsvField},
    channels::{Alipay, AlipayTrust, Channel, ChannelKind, Common, SignatureStyle, Webhook, WechatPay, invalid, read},
    error::ConfigError,
    flags::{ServeFlags, parse_time},
    payers::Payers,
    terminals::Terminals,
};

/// Every section and its keys.
const SECTIONS: &[(&str, &[&str])] = &[
    ("server", &["listen", "data_dir", "database_url"]),
    ("limits", &["lane_queue_max", "message_size_max_bytes"]),
    ("gateway", &["channel", "base_url", "secret", "notify_url", "fee_rate"]),
    ("payers", payers::KEYS),
    ("terminals", terminals::KEYS),
    ("dev", &["enabled", "clock"]),
];

/// The least that a message may be limited to, in bytes: a purchase of 50 lines fits.
const MESSAGE_SIZE_MIN_BYTES: usize = 16 * 1024;

/// Everything that the service can be told.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where it listens and keeps its data.
    pub server: Server,
    /// How much it takes on.
    pub limits: Limits,
    /// The payment gateway. Without one, nobody can remit or be refunded.
    pub gateway: Option<Gateway>,
    /// Further gateway channels, by their names.
    #[serde(skip)]
    pub channels: BTreeMap<String, Channel>,
    #[serde(rename = "channels")]
    channel_tables: BTreeMap<String, Dict>,
    /// The banks of centers, by the centers' ids.
    pub banks: BTreeMap<String, Bank>,
    /// How payers' identities and phones are kept.
    pub payers: Payers,
    /// Where enrolled terminals call, and who signs their certificates.
    pub terminals: Terminals,
    /// What only developers may do.
    pub dev: Dev,
}

/// The section `[server]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Server {
    /// Where the service listens; port 0 picks a free one.
    pub listen: SocketAddr,
    /// Holds the private PostgreSQL and the token key.
    pub data_dir: PathBuf,
    /// Any PostgreSQL 15 or newer. Without it the service keeps a private one under `data_dir`.
    pub database_url: Option<SecretString>,
}

impl Default for Server {
    fn default() -> Server {
        Server {
            listen: (Ipv4Addr::LOCALHOST, 7443).into(),
            data_dir: PathBuf::from("./custody-data"),
            database_url: None,
        }
    }
}

/// The section `[limits]`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The most commands that wait in one center's lane; further ones are refused with a hint when to retry.
    pub lane_queue_max: usize,
    /// The largest request that is read, in bytes.
    pub message_size_max_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            lane_queue_max: 4096,
            message_size_max_bytes: 1024 * 1024,
        }
    }
}

/// The section `[gateway]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// The name of the channel.
    #[serde(default = "webhook")]
    pub channel: String,
    /// Where the gateway's API lives, for example `https://gateway.example/`.
    pub base_url: String,
    /// Shared with the gateway; signs requests and verifies notifications.
    pub secret: SecretString,
    /// Where the gateway is told to send notifications; without it, to the address on which the service listens.
    pub notify_url: Option<String>,
    /// What the gateway keeps of a payment, as a part of 1: "0.006" is 0.6 %. A bill that somebody uploads brings no other fees.
    #[serde(default, with = "rust_decimal::serde::str_option")]
    pub fee_rate: Option<Decimal>,
}

fn webhook() -> String {
    "webhook".to_owned()
}

/// The section `[dev]`.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dev {
    /// Allows the other keys of this section.
    pub enabled: bool,
    /// The time that the service's clock starts at.
    #[serde(with = "time::serde::rfc3339::option")]
    pub clock: Option<OffsetDateTime>,
}

impl Config {
    /// Puts the layers together and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load(flags: ServeFlags) -> Result<Config, ConfigError> {
        Config::layered(
            flags,
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))),
        )
    }

    pub(crate) fn layered(
        flags: ServeFlags,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let mut figment = Figment::new();
        if let Some(path) = &flags.config {
            // figment passes over a file that is not there.
            let text = std::fs::read_to_string(path).map_err(|source| ConfigError::File {
                path: path.display().to_string(),
                source,
            })?;
            let file = Toml::string(&text);
            figment = figment.merge(Named {
                name: path.display().to_string(),
                inner: file,
            });
        }
        let channels = figment.find_value("channels").ok();
        let channels = channels.as_ref().and_then(Value::as_dict);
        let channels: Vec<&str> = channels
            .iter()
            .flat_map(|named| named.keys())
            .map(String::as_str)
            .collect();
        let (mut environment, flags) = (Layer::environment(environment, &channels)?, Layer::flags(flags));
        // The secret alone may be there for `custody gateway-simulator`. Whoever wants a gateway tells where it is.
        let names_gateway = figment.find_value("gateway").is_ok() || flags.keys("gateway").is_some();
        if !names_gateway
            && environment
                .keys("gateway")
                .is_some_and(|keys| keys.keys().eq(["secret"]))
        {
            environment.sections.remove("gateway");
        }
        let mut config: Config = figment
            .merge(environment)
            .merge(flags)
            .extract()
            .map_err(|error| ConfigError::Value(Box::new(error)))?;
        for (name, keys) in std::mem::take(&mut config.channel_tables) {
            let channel = Channel::read(&name, keys)?;
            config.channels.insert(name, channel);
        }
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let invalid = |key: &str, problem: String| {
            Err(ConfigError::Invalid {
                key: key.to_owned(),
                problem,
            })
        };
        if self.dev.clock.is_some() && !self.dev.enabled {
            return Err(ConfigError::DevOnly { key: "dev.clock" });
        }
        if self.limits.lane_queue_max == 0 {
            return invalid(
                "limits.lane_queue_max",
                "a lane must hold at least 1 command".to_owned(),
            );
        }
        if self.limits.message_size_max_bytes < MESSAGE_SIZE_MIN_BYTES {
            return invalid(
                "limits.message_size_max_bytes",
                format!("at least {MESSAGE_SIZE_MIN_BYTES}"),
            );
        }
        if self.server.data_dir.as_os_str().is_empty() {
            return invalid("server.data_dir", "must not be empty".to_owned());
        }
        if let Some(url) = &self.server.database_url {
            let url = url.expose_secret();
            if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
                // The value may hold a password and is not repeated.
                return invalid("server.database_url", "must begin with postgres://".to_owned());
            }
        }
        if let Some(gateway) = &self.gateway {
            if gateway.channel.is_empty() {
                return invalid("gateway.channel", "must not be empty".to_owned());
            }
            if gateway
                .fee_rate
                .is_some_and(|rate| rate.is_sign_negative() || rate >= Decimal::ONE)
            {
                return invalid("gateway.fee_rate", "must be 0 or more, and less than 1".to_owned());
            }
            if gateway.secret.expose_secret().is_empty() {
                return invalid("gateway.secret", "must not be empty".to_owned());
            }
            let urls = [
                ("gateway.base_url", Some(&gateway.base_url)),
                ("gateway.notify_url", gateway.notify_url.as_ref()),
            ];
            for (key, url) in urls {
                if url.is_some_and(|url| !is_http_url(url)) {
                    return invalid(key, "must begin with http:// or https://".to_owned());
                }
            }
        }
        let taken = self.gateway.as_ref().map(|gateway| gateway.channel.as_str());
        for (name, channel) in &self.channels {
            channels::check(name, channel, taken)?;
        }
        for (center, bank) in &self.banks {
            banks::check(center, bank)?;
        }
        self.terminals.check()?;
        self.payers.check()
    }
}

fn is_http_url(url: &str) -> bool {
    url.starts_with("http://") || url.starts_with("https://")
}

#[cfg(test)]
mod tests;
