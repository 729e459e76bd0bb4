//! Rust types and traits of the contract, generated from `wit/` at the root of the repository.
//!
//! Exported as [`Plugin`] and [`PluginPre`] for the world with every import that a plugin can have.
#![allow(missing_docs, unreachable_pub, reason = "generated; the documentation is in the WIT")]
#![allow(clippy::needless_pass_by_value, clippy::str_to_string, clippy::too_many_lines, reason = "generated")]

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "granted-plugin",
    imports: { default: trappable, "ampoule:injector/kubernetes-secrets": async | trappable },
    exports: { default: async },
});

pub(crate) use self::{GrantedPlugin as Plugin, GrantedPluginPre as PluginPre};
