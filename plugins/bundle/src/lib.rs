//! The built-in plugins as component bytes, for `component: builtin:NAME`.
//!
//! The build script builds them from the neighbouring crates, so that the host's binary contains
//! them.

include!(concat!(env!("OUT_DIR"), "/components.rs"));

/// Returns the component of a built-in plugin.
#[must_use]
pub fn component(name: &str) -> Option<&'static [u8]> {
    COMPONENTS.iter().find(|(known, _)| *known == name).map(|(_, component)| *component)
}
