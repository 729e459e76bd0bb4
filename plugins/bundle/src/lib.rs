//! The built-in plugins as component bytes, for `component: builtin:NAME`.
//!
//! The build script builds them from the crates beside this one, so that the host needs nothing but its own binary.

include!(concat!(env!("OUT_DIR"), "/components.rs"));

/// The component of the built-in plugin of this name.
#[must_use]
pub fn component(name: &str) -> Option<&'static [u8]> {
    COMPONENTS.iter().find(|(known, _)| *known == name).map(|(_, component)| *component)
}
