//! The layers that a configuration is put together from: a file, the environment and flags.

use figment::{
    Metadata, Profile, Provider,
    value::{Dict, Map, Value},
};
use secrecy::{ExposeSecret as _, SecretString};
use time::format_description::well_known::Rfc3339;

use super::{ConfigError, SECTIONS, ServeFlags};

pub(super) const ENV_PREFIX: &str = "CUSTODY_";

/// A provider under another name, so that errors name the file.
pub(super) struct Named<P> {
    pub(super) name: String,
    pub(super) inner: P,
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
pub(super) struct Layer {
    name: &'static str,
    /// What errors call a key, from its section and name.
    called: fn(&[&str]) -> String,
    pub(super) sections: Dict,
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
    pub(super) fn keys(&self, section: &str) -> Option<&Dict> {
        self.sections.get(section).and_then(Value::as_dict)
    }

    /// A key of a table `[channels.NAME]`.
    fn set_of_channel(&mut self, channel: &str, key: &str, value: impl Into<Value>) {
        let empty = || Value::from(Dict::new());
        let channels = self.sections.entry("channels".to_owned()).or_insert_with(empty);
        if let Value::Dict(_, channels) = channels
            && let Value::Dict(_, keys) = channels.entry(channel.to_owned()).or_insert_with(empty)
        {
            keys.insert(key.to_owned(), value.into());
        }
    }

    /// The variables; `channels` are the tables `[channels.NAME]` that the file has.
    ///
    /// figment's own provider guesses the kind of each value, and would read a secret of digits as a number.
    pub(super) fn environment(
        variables: impl Iterator<Item = (String, String)>,
        channels: &[&str],
    ) -> Result<Layer, ConfigError> {
        let mut layer = Layer::new("the environment", |keys| {
            format!("{ENV_PREFIX}{}", keys.join("_").to_ascii_uppercase())
        });
        for (name, text) in variables {
            let Some(name_in_section) = name.strip_prefix(ENV_PREFIX) else {
                continue;
            };
            let lower = name_in_section.to_ascii_lowercase();
            if let Some(of_channel) = lower.strip_prefix("channels_") {
                let Some((channel, key)) = channel_and_key(of_channel, channels) else {
                    let channels = if channels.is_empty() {
                        "none".to_owned()
                    } else {
                        channels.join(", ")
                    };
                    return Err(ConfigError::ChannelVariable {
                        variable: name,
                        channels,
                    });
                };
                layer.set_of_channel(channel, key, text);
                continue;
            }
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

    pub(super) fn flags(flags: ServeFlags) -> Layer {
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
                "terminals",
                "listen",
                flags.terminal_listen.map(|address| address.to_string()),
            ),
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

/// The channel whose name a variable goes on with, the longest if several fit, and the key after it.
fn channel_and_key<'a, 'n>(text: &'a str, channels: &[&'n str]) -> Option<(&'n str, &'a str)> {
    let key_of = |channel: &str| text.strip_prefix(&channel.replace('-', "_"))?.strip_prefix('_');
    let fits = channels.iter().filter_map(|channel| Some((*channel, key_of(channel)?)));
    fits.max_by_key(|(channel, _)| channel.len())
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
