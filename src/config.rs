//! The configuration of `custody serve`: defaults, then a TOML file, then the environment, then flags; the later wins.
//!
//! A key such as `server.data_dir` is `data_dir` in the section `[server]` of the file, and the environment variable
//! `CUSTODY_SERVER_DATA_DIR`. Variables of other sections, such as `CUSTODY_TOKEN`, belong to other commands or to the tests, and
//! are passed over; a key that its section does not have is an error.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

mod payers;
pub use payers::Payers;

const ENV_PREFIX: &str = "CUSTODY_";

/// Every section and its keys.
const SECTIONS: &[(&str, &[&str])] = &[
    ("server", &["listen", "data_dir", "database_url"]),
    ("limits", &["lane_queue_max", "message_size_max_bytes"]),
    ("gateway", &["channel", "base_url", "secret", "notify_url"]),
    ("payers", payers::KEYS),
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
    /// How payers' identities and phones are kept.
    pub payers: Payers,
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

/// The flags of `custody serve`.
#[derive(Default, clap::Args)]
pub struct ServeFlags {
    /// A TOML file with further settings.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen; port 0 picks a free one. [default: 127.0.0.1:7443]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Where the private PostgreSQL and the token key are kept. [default: ./custody-data]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// A PostgreSQL 15 or newer to use in place of the private one.
    #[arg(long, value_name = "URL")]
    pub database_url: Option<SecretString>,
    /// The base URL of the payment gateway's API.
    #[arg(long, value_name = "URL")]
    pub gateway_url: Option<String>,
    /// The secret shared with the payment gateway. Better given by CUSTODY_GATEWAY_SECRET, which other users cannot see.
    #[arg(long, value_name = "SECRET")]
    pub gateway_secret: Option<SecretString>,
    /// Where the gateway sends notifications; by default to the address on which the service listens.
    #[arg(long, value_name = "URL")]
    pub gateway_notify_url: Option<String>,
    /// The most commands that wait in one center's lane. [default: 4096]
    #[arg(long, value_name = "COUNT")]
    pub lane_queue_max: Option<usize>,
    /// Allow what only developers may do.
    #[arg(long)]
    pub dev: bool,
    /// Start the service's clock at this time (RFC 3339); only with --dev.
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub dev_clock: Option<OffsetDateTime>,
}

/// Reads a time in RFC 3339, for the command line.
///
/// # Errors
/// What is wrong with the text.
pub fn parse_time(text: &str) -> Result<OffsetDateTime, time::error::Parse> {
    OffsetDateTime::parse(text, &Rfc3339)
}

/// Why there is no configuration. Each names the key.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file that `--config` names cannot be read.
    #[error("--config {path}")]
    File {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A key is unknown, missing, or has a value of the wrong kind.
    #[error(transparent)]
    Value(Box<figment::Error>),
    /// An environment variable names a key that its section does not have.
    #[error("{variable}: the section {section} has no such key; it has {keys}")]
    Variable {
        /// The variable.
        variable: String,
        /// The section.
        section: &'static str,
        /// Its keys.
        keys: String,
    },
    /// A value is outside what makes sense.
    #[error("{key}: {problem}")]
    Invalid {
        /// The key, as in `limits.lane_queue_max`.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// The key is for developers only.
    #[error("{key} is for development only and needs --dev (dev.enabled)")]
    DevOnly {
        /// The key.
        key: &'static str,
    },
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

    fn layered(flags: ServeFlags, environment: impl Iterator<Item = (String, String)>) -> Result<Config, ConfigError> {
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
        let (mut environment, flags) = (Layer::environment(environment)?, Layer::flags(flags));
        // The secret alone may be there for `custody gateway-simulator`. Whoever wants a gateway tells where it is.
        let names_gateway = figment.find_value("gateway").is_ok() || flags.keys("gateway").is_some();
        if !names_gateway
            && environment
                .keys("gateway")
                .is_some_and(|keys| keys.keys().eq(["secret"]))
        {
            environment.sections.remove("gateway");
        }
        let config: Config = figment
            .merge(environment)
            .merge(flags)
            .extract()
            .map_err(|error| ConfigError::Value(Box::new(error)))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let invalid = |key, problem: String| Err(ConfigError::Invalid { key, problem });
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
            if gateway.secret.expose_secret().is_empty() {
                return invalid("gateway.secret", "must not be empty".to_owned());
            }
            let urls = [
                ("gateway.base_url", Some(&gateway.base_url)),
                ("gateway.notify_url", gateway.notify_url.as_ref()),
            ];
            for (key, url) in urls {
                if url.is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
                    return invalid(key, "must begin with http:// or https://".to_owned());
                }
            }
        }
        self.payers.check()
    }
}

/// A provider under another name, so that errors name the file.
struct Named<P> {
    name: String,
    inner: P,
}

impl<P: Provider> Provider for Named<P> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone()).interpolater(|_, keys| keys.join("."))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        self.inner.data()
    }
}

/// Settings by section and key, from one source.
struct Layer {
    name: &'static str,
    /// What errors call a key, from its section and name.
    called: fn(&[&str]) -> String,
    sections: Dict,
}

impl Layer {
    fn new(name: &'static str, called: fn(&[&str]) -> String) -> Layer {
        Layer {
            name,
            called,
            sections: Dict::new(),
        }
    }

    fn set(&mut self, section: &str, key: &str, value: impl Into<Value>) {
        let empty = || Value::from(Dict::new());
        let section = self.sections.entry(section.to_owned()).or_insert_with(empty);
        if let Value::Dict(_, keys) = section {
            keys.insert(key.to_owned(), value.into());
        }
    }

    /// The keys that are set in a section, if any is.
    fn keys(&self, section: &str) -> Option<&Dict> {
        self.sections.get(section).and_then(Value::as_dict)
    }

    /// figment's own provider guesses the kind of each value, and would read a secret of digits as a number.
    fn environment(variables: impl Iterator<Item = (String, String)>) -> Result<Layer, ConfigError> {
        let mut layer = Layer::new("the environment", |keys| {
            format!("{ENV_PREFIX}{}", keys.join("_").to_ascii_uppercase())
        });
        for (name, text) in variables {
            let Some(name_in_section) = name.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            let lower = name_in_section.to_ascii_lowercase();
            let (section, key) = lower.split_once('_').unwrap_or((&lower, ""));
            let Some((section, keys)) = SECTIONS.iter().find(|(known, _)| *known == section) else {
                continue;
            };
            if !keys.contains(&key) {
                return Err(ConfigError::Variable {
                    variable: name,
                    section,
                    keys: keys.join(", "),
                });
            }
            let value = match (*section, key) {
                ("limits", _) => text.parse::<usize>().map_or_else(|_| Value::from(text), Value::from),
                ("dev", "enabled") => text.parse::<bool>().map_or_else(|_| Value::from(text), Value::from),
                _ => Value::from(text),
            };
            layer.set(section, key, value);
        }
        Ok(layer)
    }

    fn flags(flags: ServeFlags) -> Layer {
        let secret = |secret: SecretString| secret.expose_secret().to_owned();
        let texts = [
            ("server", "listen", flags.listen.map(|address| address.to_string())),
            (
                "server",
                "data_dir",
                flags.data_dir.map(|path| path.to_string_lossy().into_owned()),
            ),
            ("server", "database_url", flags.database_url.map(secret)),
            ("gateway", "base_url", flags.gateway_url),
            ("gateway", "secret", flags.gateway_secret.map(secret)),
            ("gateway", "notify_url", flags.gateway_notify_url),
            (
                "dev",
                "clock",
                flags.dev_clock.and_then(|time| time.format(&Rfc3339).ok()),
            ),
        ];
        let mut layer = Layer::new("the flags", |keys| keys.join("."));
        for (section, key, text) in texts {
            if let Some(text) = text {
                layer.set(section, key, text);
            }
        }
        if let Some(count) = flags.lane_queue_max {
            layer.set("limits", "lane_queue_max", count);
        }
        if flags.dev {
            layer.set("dev", "enabled", true);
        }
        layer
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        let called = self.called;
        Metadata::named(self.name).interpolater(move |_, keys| called(keys))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.sections.clone())]))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    /// Loads from a file, an environment and flags, and gives errors as texts.
    fn load(file: &str, environment: &[(&str, &str)], mut flags: ServeFlags) -> Result<Config, String> {
        let mut toml = tempfile::NamedTempFile::new().unwrap();
        toml.write_all(file.as_bytes()).unwrap();
        flags.config = Some(toml.path().to_owned());
        let environment = environment
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
        Config::layered(flags, environment).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_need_nothing() {
        let config = Config::layered(ServeFlags::default(), std::iter::empty()).unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:7443");
        assert_eq!(config.server.data_dir, PathBuf::from("./custody-data"));
        assert_eq!(
            (config.limits.lane_queue_max, config.limits.message_size_max_bytes),
            (4096, 1_048_576)
        );
        assert!(config.server.database_url.is_none() && config.gateway.is_none() && !config.dev.enabled);
    }

    #[test]
    fn the_later_layer_wins() {
        let file = "[server]\nlisten = \"127.0.0.1:1\"\ndata_dir = \"file\"\n[limits]\nlane_queue_max = 1\n\
            [gateway]\nbase_url = \"http://file\"\nsecret = \"file\"";
        let environment = [
            ("CUSTODY_SERVER_LISTEN", "127.0.0.1:2"),
            ("CUSTODY_LIMITS_LANE_QUEUE_MAX", "2"),
            ("CUSTODY_GATEWAY_SECRET", "007"),
            ("CUSTODY_TEST_DATABASE_URL", "postgres://elsewhere"),
            ("OTHER", "x"),
        ];
        let flags = ServeFlags {
            listen: Some(([127, 0, 0, 1], 3).into()),
            dev: true,
            ..ServeFlags::default()
        };
        let config = load(file, &environment, flags).unwrap();
        assert_eq!(config.server.listen.port(), 3);
        assert_eq!(config.server.data_dir, PathBuf::from("file"));
        assert_eq!(config.limits.lane_queue_max, 2);
        let gateway = config.gateway.unwrap();
        assert_eq!(
            (gateway.channel.as_str(), gateway.secret.expose_secret()),
            ("webhook", "007")
        );
        assert!(config.dev.enabled);
    }

    #[test]
    fn errors_name_the_key() {
        for (file, key) in [
            ("[server]\nlisten = 7", "server.listen"),
            ("[server]\nlisten = \"nowhere\"", "server.listen"),
            ("[server]\nlitsen = \"127.0.0.1:1\"", "litsen"),
            ("[sever]\nlisten = \"127.0.0.1:1\"", "sever"),
            ("[server]\ndatabase_url = \"mysql://x\"", "server.database_url"),
            ("[limits]\nlane_queue_max = -1", "limits.lane_queue_max"),
            ("[limits]\nlane_queue_max = 0", "limits.lane_queue_max"),
            ("[limits]\nmessage_size_max_bytes = 1", "limits.message_size_max_bytes"),
            ("[gateway]\nbase_url = \"http://x\"", "secret"),
            ("[gateway]\nbase_url = \"ftp://x\"\nsecret = \"x\"", "gateway.base_url"),
            ("[dev]\nenabled = true\nclock = \"noon\"", "dev.clock"),
            ("[dev]\nclock = \"2026-01-01T00:00:00Z\"", "dev.clock"),
        ] {
            let error = load(file, &[], ServeFlags::default()).unwrap_err();
            assert!(error.contains(key) && !error.contains("default."), "{file:?}: {error}");
        }
        for (name, key) in [
            ("CUSTODY_LIMITS_LANE_QUEUE_MAX", "usize"),
            ("CUSTODY_SERVER_LISTEN", "socket address"),
            (
                "CUSTODY_SERVER_PORT",
                "has no such key; it has listen, data_dir, database_url",
            ),
            ("CUSTODY_SERVER", "has no such key"),
            ("CUSTODY_GATEWAY_SECERT", "channel, base_url, secret, notify_url"),
        ] {
            let error = load("", &[(name, "many")], ServeFlags::default()).unwrap_err();
            assert!(error.contains(key) && error.contains(name), "{name}: {error}");
        }
    }

    #[test]
    fn every_key_of_every_section_can_be_a_variable() {
        let text = |section, key| match (section, key) {
            ("server", "listen") => "127.0.0.1:1",
            ("server", "database_url") => "postgres://x",
            ("limits", _) => "20000",
            (_, "base_url" | "notify_url" | "sms_url") => "http://x",
            ("dev", "enabled") => "true",
            ("dev", "clock") => "2026-01-01T00:00:00Z",
            _ => "x",
        };
        let variables: Vec<(String, &str)> = SECTIONS
            .iter()
            .flat_map(|(section, keys)| keys.iter().map(move |key| (*section, *key)))
            .map(|(section, key)| {
                (
                    format!("{ENV_PREFIX}{section}_{key}").to_uppercase(),
                    text(section, key),
                )
            })
            .collect();
        let variables: Vec<(&str, &str)> = variables.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        let config = load("", &variables, ServeFlags::default()).unwrap();
        assert_eq!(config.limits.lane_queue_max, 20_000);
        assert_eq!(config.gateway.unwrap().notify_url.as_deref(), Some("http://x"));
        assert!(config.dev.clock.is_some());
    }

    #[test]
    fn variables_of_other_commands_are_passed_over() {
        let others = [
            ("CUSTODY_TOKEN", "x"),
            ("CUSTODY_SERVICE", "http://x"),
            ("CUSTODY_TEST_DATABASE_URL", "x"),
            ("CUSTODY_GATEWAY_SECRET", "x"),
        ];
        assert!(load("", &others, ServeFlags::default()).unwrap().gateway.is_none());
        let error = load("[gateway]\nchannel = \"webhook\"", &others, ServeFlags::default()).unwrap_err();
        assert!(error.contains("base_url"), "{error}");
        let notify = ServeFlags {
            gateway_notify_url: Some("http://x".to_owned()),
            ..ServeFlags::default()
        };
        assert!(load("", &others, notify).unwrap_err().contains("base_url"));
        let channel = [("CUSTODY_GATEWAY_CHANNEL", "x"), ("CUSTODY_GATEWAY_SECRET", "x")];
        assert!(
            load("", &channel, ServeFlags::default())
                .unwrap_err()
                .contains("base_url")
        );
        let url = ServeFlags {
            gateway_url: Some("http://x".to_owned()),
            ..ServeFlags::default()
        };
        assert_eq!(
            load("", &others, url).unwrap().gateway.unwrap().secret.expose_secret(),
            "x"
        );
    }

    #[test]
    fn the_clock_is_for_developers() {
        let time = parse_time("2026-01-31T09:00:00+08:00").unwrap();
        let flags = |dev| ServeFlags {
            dev,
            dev_clock: Some(time),
            ..ServeFlags::default()
        };
        assert_eq!(load("", &[], flags(true)).unwrap().dev.clock, Some(time));
        assert!(load("", &[], flags(false)).unwrap_err().contains("needs --dev"));
    }

    #[test]
    fn secrets_are_not_shown() {
        let flags = ServeFlags {
            database_url: Some("postgres://u:hunter2@h/d".into()),
            gateway_url: Some("http://g".to_owned()),
            gateway_secret: Some("hunter2".into()),
            ..ServeFlags::default()
        };
        assert!(!format!("{:?}", load("", &[], flags).unwrap()).contains("hunter2"));
        let flags = ServeFlags {
            database_url: Some("mysql://u:hunter2@h/d".into()),
            ..ServeFlags::default()
        };
        assert!(!load("", &[], flags).unwrap_err().contains("hunter2"));
    }
}
