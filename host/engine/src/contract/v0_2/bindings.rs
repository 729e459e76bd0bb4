//! Rust types and traits of the contract, generated from `wit/` at the root of the repository.
//!
//! The resources are types of the sandbox, which does not depend on a version of the contract.
#![allow(missing_docs, unreachable_pub, reason = "generated; the documentation is in the WIT")]
#![allow(clippy::needless_pass_by_value, clippy::str_to_string, clippy::too_many_lines, reason = "generated")]

#[allow(unreachable_pub, reason = "the generated code re-exports them")]
pub use crate::sandbox::{
    answer::{PodHandle, RequestHandle},
    builders::{ContainerBuilder, VolumeBuilder},
    fetch::PromiseHandle,
};

wasmtime::component::bindgen!({
    path: "../../wit",
    world: "fetching-plugin",
    imports: { default: trappable, "ampoule:injector/kubernetes-secrets": async | trappable },
    exports: { default: async },
    with: {
        "ampoule:injector/admission.pod": PodHandle,
        "ampoule:injector/admission.request": RequestHandle,
        "ampoule:injector/admission.volume": VolumeBuilder,
        "ampoule:injector/admission.init-container": ContainerBuilder,
        "ampoule:injector/fetching.promise": PromiseHandle,
    },
});
