//! The gateway channels the service has.

use std::{collections::BTreeSet, sync::Arc};

use rust_decimal::Decimal;

use super::Channel;
use crate::ids::CenterId;

/// The channels, in the order of the configuration. Cheap to clone.
#[derive(Clone, Default)]
pub struct Channels(Arc<[Gate]>);

/// One channel, and what the configuration says of it.
#[derive(Clone)]
pub struct Gate {
    /// The channel.
    pub channel: Arc<dyn Channel>,
    /// Where its gateway is told to send notifications.
    pub notify_url: String,
    /// The centers that may use it; `None` for all.
    pub centers: Option<BTreeSet<CenterId>>,
    /// What the gateway keeps of a payment, as a part of 1, if that was told. Bills say what was kept.
    pub fee_rate: Option<Decimal>,
}

/// Some of the channels: those that are named, or all but those. So that what belongs to a channel that is no longer configured
/// belongs to some set, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelSet {
    /// The ids.
    pub ids: Vec<String>,
    /// Whether the named ones are meant, or all others.
    pub is_among: bool,
}

impl ChannelSet {
    /// Every channel.
    pub fn all() -> ChannelSet {
        ChannelSet {
            ids: Vec::new(),
            is_among: false,
        }
    }
}

impl Gate {
    /// A channel for all centers, whose fee nobody told.
    pub fn new(channel: Arc<dyn Channel>, notify_url: impl Into<String>) -> Gate {
        Gate {
            channel,
            notify_url: notify_url.into(),
            centers: None,
            fee_rate: None,
        }
    }

    /// Whether a center may use it.
    pub fn serves(&self, center: &CenterId) -> bool {
        self.centers.as_ref().is_none_or(|centers| centers.contains(center))
    }
}

impl Channels {
    /// Some channels. Their ids differ.
    pub fn new(gates: impl IntoIterator<Item = Gate>) -> Channels {
        Channels(gates.into_iter().collect())
    }

    /// A channel, if there is such a one, whether or not a center may use it: what came through it comes through it.
    pub fn get(&self, id: &str) -> Option<&Gate> {
        self.0.iter().find(|gate| gate.channel.id() == id)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Gate> {
        self.0.iter()
    }

    /// A set of each channel alone, and one of whatever else orders may name: together everything, and nothing twice.
    pub fn sets(&self) -> Vec<ChannelSet> {
        let ids: Vec<String> = self.iter().map(|gate| gate.channel.id().to_owned()).collect();
        let alone = |id: &String| ChannelSet {
            ids: vec![id.clone()],
            is_among: true,
        };
        let mut sets: Vec<ChannelSet> = ids.iter().map(alone).collect();
        sets.push(ChannelSet { ids, is_among: false });
        sets
    }

    /// The channel that a new remittance of a center goes through: the one that is named, or the first one without a name.
    pub fn choose(&self, center: &CenterId, id: Option<&str>) -> Option<&Gate> {
        let mut own = self.0.iter().filter(|gate| gate.serves(center));
        own.find(|gate| id.is_none_or(|id| gate.channel.id() == id))
    }
}
