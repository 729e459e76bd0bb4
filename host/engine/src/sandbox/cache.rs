//! [`PluginCache`]: the memory of a plugin that outlives an admission, if it has the grant `cache`.
//!
//! It belongs to one loaded plugin, so a change of its component, settings or grants starts with an
//! empty one. Values are wiped when they are removed.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use secrecy::{ExposeSecret as _, SecretSlice};
use tokio::time::Instant;

/// CacheEntries of one plugin, as the contract specifies.
const MAX_ENTRIES: usize = 256;

/// Bytes of all keys and values of one plugin, as the contract specifies.
const MAX_BYTES: usize = 1 << 20;

/// Bytes of a key, as the contract specifies.
const MAX_KEY: usize = 256;

/// Bytes of a value, as the contract specifies.
const MAX_VALUE: usize = 64 << 10;

/// Seconds that an entry lives at most, as the contract specifies.
const MAX_SECONDS: u32 = 3600;

/// The entries of one plugin.
#[derive(Default)]
pub(crate) struct PluginCache(Mutex<CacheEntries>);

#[derive(Default)]
struct CacheEntries {
    by_key: HashMap<String, CachedValue>,
    bytes: usize,
}

struct CachedValue {
    value: SecretSlice<u8>,
    expires: Instant,
}

// === impl PluginCache ===

impl PluginCache {
    /// Returns a value that has not expired.
    pub(crate) fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.get_at(key, Instant::now())
    }

    fn get_at(&self, key: &str, now: Instant) -> Option<Vec<u8>> {
        let entries = self.lock();
        let entry = entries.by_key.get(key).filter(|entry| now < entry.expires)?;
        Some(entry.value.expose_secret().to_vec())
    }

    /// Stores a value. Ignores a key or value that is too large.
    pub(crate) fn set(&self, key: String, value: Vec<u8>, seconds: u32) {
        self.set_at(key, value, seconds, Instant::now());
    }

    fn set_at(&self, key: String, value: Vec<u8>, seconds: u32, now: Instant) {
        let value = SecretSlice::from(value);
        if key.len() > MAX_KEY || value.expose_secret().len() > MAX_VALUE {
            return;
        }
        let expires = now + Duration::from_secs(seconds.min(MAX_SECONDS).into());
        let mut entries = self.lock();
        entries.remove(&key);
        entries.make_room(key.len() + value.expose_secret().len());
        entries.insert(key, CachedValue { value, expires });
    }

    /// The entries are consistent after every statement, so a panic of another thread is harmless.
    fn lock(&self) -> MutexGuard<'_, CacheEntries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl CacheEntries ===

impl CacheEntries {
    /// Removes the entries that expire first, until one of this size fits.
    fn make_room(&mut self, bytes: usize) {
        while self.by_key.len() >= MAX_ENTRIES || self.bytes + bytes > MAX_BYTES {
            let first = self.by_key.iter().min_by_key(|(_, entry)| entry.expires);
            let Some(key) = first.map(|(key, _)| key.clone()) else { return };
            self.remove(&key);
        }
    }

    fn insert(&mut self, key: String, entry: CachedValue) {
        self.bytes += key.len() + entry.value.expose_secret().len();
        self.by_key.insert(key, entry);
    }

    fn remove(&mut self, key: &str) {
        if let Some(entry) = self.by_key.remove(key) {
            self.bytes -= key.len() + entry.value.expose_secret().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lives_for_its_time_and_at_most_an_hour() {
        let (cache, start) = (PluginCache::default(), Instant::now());
        cache.set_at("short".to_owned(), b"a".to_vec(), 2, start);
        cache.set_at("long".to_owned(), b"b".to_vec(), u32::MAX, start);
        for (seconds, short, long) in [(1, true, true), (2, false, true), (3599, false, true), (3600, false, false)] {
            let now = start + Duration::from_secs(seconds);
            let found = (cache.get_at("short", now).is_some(), cache.get_at("long", now).is_some());
            assert_eq!(found, (short, long), "after {seconds} s");
        }
        assert_eq!(cache.get_at("long", start), Some(b"b".to_vec()));
    }

    #[test]
    fn a_plugin_cannot_store_more_than_its_share() {
        let cache = PluginCache::default();
        for i in 0..10_000_u32 {
            cache.set(format!("key-{i}"), vec![0; 8 << 10], 60 + i);
        }
        let entries = cache.lock();
        assert!(entries.by_key.len() <= MAX_ENTRIES && entries.bytes <= MAX_BYTES, "{}", entries.bytes);
        assert_eq!(entries.bytes, entries.by_key.keys().map(|key| key.len() + (8 << 10)).sum::<usize>());
        assert!(entries.by_key.contains_key("key-9999"), "the entry that expires last is kept");
        drop(entries);
        cache.set("k".repeat(257), vec![1], 60);
        cache.set("large".to_owned(), vec![1; (64 << 10) + 1], 60);
        assert_eq!((cache.get(&"k".repeat(257)), cache.get("large")), (None, None));
        cache.set("key-9999".to_owned(), b"new".to_vec(), 60);
        assert_eq!(cache.get("key-9999"), Some(b"new".to_vec()));
    }
}
