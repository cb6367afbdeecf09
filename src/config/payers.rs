//! The section `[payers]`.

use std::path::PathBuf;

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::ConfigError;

/// The keys of the section.
pub(super) const KEYS: &[&str] = &["identity_key_file", "identity_keys", "sms_url", "sms_secret"];

/// How payers' identity numbers are kept, and how their phones are verified.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Payers {
    /// A file with the keys of identity numbers, for several processes on one database; without it, one in the data directory.
    pub identity_key_file: Option<PathBuf>,
    /// The keys themselves, 64 hexadecimal digits each, in place of a file.
    pub identity_keys: Option<SecretString>,
    /// Where one-time codes are posted to. Without it staff confirm phones.
    pub sms_url: Option<String>,
    /// Shared with whoever sends short messages; a header of each post.
    pub sms_secret: Option<SecretString>,
}

impl Payers {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let invalid = |key: &str, problem: &str| {
            Err(ConfigError::Invalid {
                key: key.to_owned(),
                problem: problem.to_owned(),
            })
        };
        if let Some(url) = &self.sms_url
            && !url.starts_with("http://")
            && !url.starts_with("https://")
        {
            return invalid("payers.sms_url", "must begin with http:// or https://");
        }
        if self.sms_url.is_some() != self.sms_secret.is_some() {
            return invalid("payers.sms_secret", "belongs to payers.sms_url: give both or neither");
        }
        if let Some(secret) = &self.sms_secret
            && secret.expose_secret().is_empty()
        {
            return invalid("payers.sms_secret", "must not be empty");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_is_whole_or_not_there() {
        let told = |url: Option<&str>, secret: Option<&str>| {
            let payers = Payers {
                sms_url: url.map(str::to_owned),
                sms_secret: secret.map(SecretString::from),
                ..Payers::default()
            };
            payers.check().map_err(|error| error.to_string())
        };
        assert!(told(None, None).is_ok() && told(Some("http://x"), Some("s")).is_ok());
        for (url, secret, key) in [
            (Some("http://x"), None, "payers.sms_secret"),
            (None, Some("s"), "payers.sms_secret"),
            (Some("http://x"), Some(""), "payers.sms_secret"),
            (Some("ftp://x"), Some("s"), "payers.sms_url"),
        ] {
            assert!(told(url, secret).unwrap_err().starts_with(key), "{url:?} {secret:?}");
        }
    }
}
