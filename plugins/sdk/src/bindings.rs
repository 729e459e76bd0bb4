//! The bindings that `wit-bindgen` generates from `wit/`: the contract's resources, its imports,
//! and the macro behind `export!`.
//!
//! The code is generated, so the workspace's lints do not apply. Plugins use the types of this
//! crate instead, which can grow without a change of the contract.
#![allow(missing_docs, unsafe_code, unreachable_pub, clippy::all, reason = "generated")]

wit_bindgen::generate!({
    path: "wit",
    world: "fetching-plugin",
    default_bindings_module: "ampoule_plugin_sdk::bindings",
    export_macro_name: "export_component",
    pub_export_macro: true,
    runtime_path: "::wit_bindgen::rt",
});
