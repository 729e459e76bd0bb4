//! Arbitrary bytes as a component, up to compilation: its format, its imports and exports, and the
//! proposals that it needs.
//!
//! Messages must be short and without control characters, and the names must equal those that
//! wasmtime's validator reads.

#![no_main]

use ampoule_component::{CUT_SHORT, LoadErrorKind, Surface, check_format, find_disabled};
use libfuzzer_sys::fuzz_target;
use wasmparser::{Validator, WasmFeatures};

/// Maximum size of a component here: smaller than the inputs of the fuzzer.
const LIMIT: usize = 4000;

fuzz_target!(|component: &[u8]| {
    match judge(component) {
        Ok(surface) => {
            let proposals = find_disabled(component);
            let types = Validator::new_with_features(WasmFeatures::all()).validate_all(component);
            assert!(types.is_ok() || proposals.is_empty());
            let Ok(types) = types else { return };
            let Surface { imports, exports } = surface;
            for name in imports {
                assert!(types.as_ref().component_item_for_import(&name).is_some(), "{name:?} is not imported");
            }
            for name in exports {
                assert!(types.as_ref().component_item_for_export(&name).is_some(), "{name:?} is not exported");
            }
        }
        Err(error) => {
            let message = error.to_string();
            assert!(message.len() <= 2048 && !message.contains(char::is_control), "{message:?}");
            // The validator must also reject bytes that cannot be parsed; the exception is a
            // component that ends within a nested component, which the validator accepts.
            if matches!(&error, LoadErrorKind::Invalid(reason) if reason != CUT_SHORT) {
                assert!(Validator::new_with_features(WasmFeatures::all()).validate_all(component).is_err(), "{message}");
            }
        }
    }
});

/// The names of a plugin, if they make it a plugin.
fn judge(component: &[u8]) -> Result<Surface, LoadErrorKind> {
    check_format(component, LIMIT)?;
    let surface = Surface::read(component)?;
    assert!(surface.imports.len() <= 256 && surface.exports.len() <= 256);
    surface.check()?;
    // With no grants, and with all grants.
    let _ = surface.check_grants(|_| true);
    surface.check_grants(|_| false)?;
    Ok(surface)
}
