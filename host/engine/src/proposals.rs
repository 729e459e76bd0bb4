//! Proposals of WebAssembly that no guest needs: [`SWITCHED_OFF`], and which of them a component asks for all the same.
//!
//! Each is code of wasmtime's that need not be reachable. What wasmtime says of a component that uses one is about a byte of it.

use wasmparser::{Validator, WasmFeatures};

/// The proposals, by the names that their repositories have.
pub(crate) const SWITCHED_OFF: [(&str, WasmFeatures); 13] = [
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

/// The proposals that a component needs and does not get; none if it is not valid with all of them either.
pub(crate) fn switched_off(component: &[u8]) -> Vec<&'static str> {
    let valid = |features| Validator::new_with_features(features).validate_all(component).is_ok();
    let all = WasmFeatures::all();
    if !valid(all) {
        return Vec::new();
    }
    SWITCHED_OFF.into_iter().filter(|(_, proposal)| !valid(all - *proposal)).map(|(name, _)| name).collect()
}
