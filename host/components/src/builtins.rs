//! [`Builtins`]: the plugins that are part of the program.
//!
//! `main` passes them down; no other crate names one.

/// The plugins in this program: names and components. The first alone is asked where a configuration names no injectors: what
/// another does to a pod is for an admin to want.
pub type Builtins = &'static [(&'static str, &'static [u8])];

/// The names of the built-in plugins.
pub fn names(builtins: Builtins) -> Vec<&'static str> {
    builtins.iter().map(|(name, _)| *name).collect()
}
