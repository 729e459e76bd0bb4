//! Guests for the sandbox tests as component bytes: every file in `examples/` is one.
//!
//! A new guest is a new file in that folder; [`guest!`] at its end makes it a component.
//! `tests/sandbox/table.rs` fails for a guest without a row.

include!(concat!(env!("OUT_DIR"), "/guests.rs"));

/// The component of a guest by the name of its file.
///
/// # Panics
///
/// If no such guest exists.
#[must_use]
#[track_caller]
pub fn guest(name: &str) -> &'static [u8] {
    match GUESTS.iter().find(|(known, _)| *known == name) {
        Some((_, component)) => component,
        None => panic!("there is no guest `{name}` in tests/sandbox/guests/examples"),
    }
}

/// Ends a guest's file: exports the plugin, and defines the `main` that cargo requires of an
/// example and that is never called.
#[macro_export]
macro_rules! guest {
    ($plugin:ty) => {
        ::ampoule_plugin_sdk::export!($plugin);

        fn main() {}
    };
}
