//! [`Builtins`]: the plugins that are part of the program.
//!
//! `main` passes them down; no other crate contains a plugin's name.

/// The plugins in this program: names and components. A configuration without injectors uses only
/// the first one, because an admin must choose what any other plugin does to pods.
pub type Builtins = &'static [(&'static str, &'static [u8])];

/// Returns the names of the built-in plugins, in their order.
pub fn names(builtins: Builtins) -> Vec<&'static str> {
    builtins.iter().map(|(name, _)| *name).collect()
}
