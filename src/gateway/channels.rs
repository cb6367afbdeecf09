//! The gateway channels the service has.

use std::{collections::BTreeMap, sync::Arc};

use super::Channel;

/// The channels, by their ids. Cheap to clone.
#[derive(Clone, Default)]
pub struct Channels(Arc<BTreeMap<String, Gate>>);

/// One channel, and where its gateway sends notifications.
#[derive(Clone)]
pub struct Gate {
    /// The channel.
    pub channel: Arc<dyn Channel>,
    /// What the gateway is told.
    pub notify_url: String,
}

impl Channels {
    /// Some channels.
    pub fn new(gates: impl IntoIterator<Item = Gate>) -> Channels {
        let by_id = |gate: Gate| (gate.channel.id().to_owned(), gate);
        Channels(Arc::new(gates.into_iter().map(by_id).collect()))
    }

    /// A channel, if there is such a one.
    pub fn get(&self, id: &str) -> Option<&Gate> {
        self.0.get(id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Gate> {
        self.0.values()
    }
}
