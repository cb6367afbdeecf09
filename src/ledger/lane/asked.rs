//! Keys that commands asked for, and what was found under them: what most rooms are made of.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

/// What is known by key, and which keys were asked for since the last load.
pub struct Asked<K, V> {
    known: HashMap<K, V>,
    wanted: HashSet<K>,
}

impl<K, V> Default for Asked<K, V> {
    fn default() -> Asked<K, V> {
        Asked {
            known: HashMap::new(),
            wanted: HashSet::new(),
        }
    }
}

impl<K: Clone + Eq + Hash, V> Asked<K, V> {
    /// Asks for a key, and answers with what is known already.
    pub fn want(&mut self, key: &K) -> Option<&V> {
        if !self.known.contains_key(key) {
            self.wanted.insert(key.clone());
        }
        self.known.get(key)
    }

    /// What is known under a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.known.get(key)
    }

    /// What is known under a key, to change it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.known.get_mut(key)
    }

    /// Whether keys were asked for that are not loaded.
    pub fn is_wanting(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// How many keys are known.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    /// The keys to load, each of which is then to be learned.
    pub fn take_wanted(&mut self) -> Vec<K> {
        self.wanted.drain().collect()
    }

    /// Keeps what was found under a key, be it that nothing was.
    pub fn learn(&mut self, key: K, value: V) {
        self.known.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_wanted_until_it_is_learned() {
        let mut asked = Asked::default();
        assert_eq!(asked.want(&1), None);
        assert_eq!(asked.take_wanted(), [1]);
        asked.learn(1, "one");
        assert_eq!(asked.want(&1), Some(&"one"));
        assert!(!asked.is_wanting());
    }
}
