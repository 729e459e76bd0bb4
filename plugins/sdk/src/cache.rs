//! A memory of the plugin that outlives an admission, such as for the token of a login: [`get`],
//! [`set`].
//!
//! It is a grant (`injectors[].grants.cache`): without it, [`get`] returns nothing and [`set`] does
//! nothing. Every entry may disappear at any time. Answers must not depend on which pods came
//! before: the key must contain everything that the value depends on, such as the namespace.
//!
//! In tests, the entries belong to the thread and do not expire;
//! [`testing::clear_cache`](crate::testing::clear_cache) removes them.
//!
//! ```
//! use ampoule_plugin_sdk::cache;
//!
//! fn token(role: &str, login: impl FnOnce() -> String) -> String {
//!     let key = format!("token of {role}");
//!     if let Some(token) = cache::get(&key).and_then(|token| String::from_utf8(token).ok()) {
//!         return token;
//!     }
//!     let token = login();
//!     cache::set(&key, token.as_bytes(), 300);
//!     token
//! }
//!
//! assert_eq!(token("reader", || "t0ken".to_owned()), "t0ken");
//! assert_eq!(token("reader", || unreachable!("the token is in the cache")), "t0ken");
//! ```

/// Returns the value of an entry that has not expired.
#[must_use]
pub fn get(key: &str) -> Option<Vec<u8>> {
    #[cfg(target_arch = "wasm32")]
    return crate::bindings::ampoule::injector::cache::get(key);
    #[cfg(not(target_arch = "wasm32"))]
    return crate::testing::cached(key);
}

/// Stores a value for some seconds, at most one hour.
///
/// A plugin has at most 256 entries and 1 MiB; an entry that does not fit replaces those that
/// expire first. The host ignores a key of more than 256 bytes and a value of more than 64 KiB.
pub fn set(key: &str, value: &[u8], ttl_seconds: u32) {
    #[cfg(target_arch = "wasm32")]
    crate::bindings::ampoule::injector::cache::set(key, value, ttl_seconds);
    #[cfg(not(target_arch = "wasm32"))]
    crate::testing::cache(key, value, ttl_seconds);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_entries_that_the_host_keeps() {
        let (long, large) = ("k".repeat(257), vec![0; (64 << 10) + 1]);
        for (key, value, ttl, kept) in [
            ("a", &b"1"[..], 60, true),
            ("a", b"", 3600, true),
            ("", b"1", 1, true),
            (&long[1..], &large[1..], 60, true),
            ("b", b"1", 0, false),
            (&long, b"1", 60, false),
            ("c", &large, 60, false),
        ] {
            set(key, value, ttl);
            assert_eq!(get(key).as_deref(), kept.then_some(value), "{} bytes for {ttl} s", value.len());
        }
        crate::testing::clear_cache();
        assert_eq!(get("a"), None);
    }
}
