//! Why there is no configuration.

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
    /// An environment variable names a channel that the file has no table of.
    #[error("{variable}: the file has no such table [channels.NAME]; it has {channels}")]
    ChannelVariable {
        /// The variable.
        variable: String,
        /// The channels of the file.
        channels: String,
    },
    /// A value is outside what makes sense.
    #[error("{key}: {problem}")]
    Invalid {
        /// The key, as in `limits.lane_queue_max`.
        key: String,
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
