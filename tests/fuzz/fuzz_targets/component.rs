//! Any bytes as a component, up to where it would be compiled: its format, its imports and exports, and the proposals that it needs.
//!
//! No message is long or has a control character, and the names that are read are those that wasmtime's validator sees.

#![no_main]

/// The checks are compiled from the engine's source: the engine itself would bring wasmtime along, instrumented.
#[path = "../../../host/engine/src/error.rs"]
#[allow(dead_code, unreachable_pub, reason = "the target needs a part of it")]
mod error;
#[path = "../../../host/engine/src/format.rs"]
mod format;
#[path = "../../../host/engine/src/grants/grant.rs"]
#[allow(dead_code, unreachable_pub, reason = "the target needs a part of it")]
mod grant;
#[path = "../../../host/engine/src/imports.rs"]
#[allow(dead_code, unreachable_pub, reason = "the target needs a part of it")]
mod imports;
#[path = "../../../host/engine/src/proposals.rs"]
mod proposals;
#[path = "../../../host/engine/src/text.rs"]
mod text;
mod grants {
    pub(crate) use crate::grant::Grant;
}

use libfuzzer_sys::fuzz_target;
use wasmparser::{Validator, WasmFeatures};

use error::LoadErrorKind;
use imports::Surface;

/// Bytes that a component may have here: smaller than what the fuzzer tries.
const LIMIT: usize = 4000;

fuzz_target!(|component: &[u8]| {
    match judge(component) {
        Ok(surface) => {
            let proposals = proposals::switched_off(component);
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
            // What cannot even be read is no component to the validator either; but one that ends within a component within it, it lets pass.
            if matches!(&error, LoadErrorKind::Invalid(reason) if reason != imports::CUT_SHORT) {
                assert!(Validator::new_with_features(WasmFeatures::all()).validate_all(component).is_err(), "{message}");
            }
        }
    }
});

/// The names of a plugin, if it is one as far as they tell.
fn judge(component: &[u8]) -> Result<Surface, LoadErrorKind> {
    format::check(component, LIMIT)?;
    let surface = Surface::read(component)?;
    assert!(surface.imports.len() <= 256 && surface.exports.len() <= 256);
    surface.check()?;
    // Nothing is granted, or everything.
    let _ = surface.check_grants(|_| true);
    surface.check_grants(|_| false)?;
    Ok(surface)
}
