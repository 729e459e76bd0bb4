//! [`DISABLED`]: the WebAssembly proposals that no guest needs.
//!
//! Disabling one makes its code in wasmtime unreachable. [`find_disabled`] names the proposals that
//! a component needs, because wasmtime's error names only a byte offset.

use wasmparser::{Validator, WasmFeatures};

/// The proposals, with the names of their repositories.
pub const DISABLED: [(&str, WasmFeatures); 13] = [
    ("gc", WasmFeatures::GC),
    ("function-references", WasmFeatures::FUNCTION_REFERENCES),
    ("exception-handling", WasmFeatures::EXCEPTIONS),
    ("legacy exception-handling", WasmFeatures::LEGACY_EXCEPTIONS),
    ("tail-call", WasmFeatures::TAIL_CALL),
    ("multi-memory", WasmFeatures::MULTI_MEMORY),
    ("memory64", WasmFeatures::MEMORY64),
    ("threads", WasmFeatures::THREADS),
    ("shared-everything-threads", WasmFeatures::SHARED_EVERYTHING_THREADS),
    ("relaxed-simd", WasmFeatures::RELAXED_SIMD),
    ("stack-switching", WasmFeatures::STACK_SWITCHING),
    ("custom-page-sizes", WasmFeatures::CUSTOM_PAGE_SIZES),
    ("wide-arithmetic", WasmFeatures::WIDE_ARITHMETIC),
];

/// Returns the disabled proposals that a component needs. Empty if the component is invalid even
/// with all proposals.
pub fn find_disabled(component: &[u8]) -> Vec<&'static str> {
    let all = WasmFeatures::all();
    if !is_valid(component, all) {
        return Vec::new();
    }
    let needed = DISABLED.into_iter().filter(|(_, proposal)| !is_valid(component, all - *proposal));
    needed.map(|(name, _)| name).collect()
}

fn is_valid(component: &[u8], features: WasmFeatures) -> bool {
    Validator::new_with_features(features).validate_all(component).is_ok()
}
