//! Components of real tool chains on hosts of other versions of the contract, as `wit/README.md`
//! promises. `host/engine/tests/guests/linking.rs` has the table for components in Rust.
//!
//! A host of a later version links a component by its imports, exports and types alone, so the code
//! of the interpreters is removed before: it takes an unoptimised compiler tens of seconds.

use ampoule_next_contract::{ContractHost, VERSION, without_code};
use anyhow::{Result, ensure};

use super::shared::{JAVASCRIPT, PYTHON};

/// Fails unless a component that was built for version 0.2.0 links on a host of version 0.2.1.
pub(super) fn check_links_on_next(language: &str, component: &[u8]) -> Result<()> {
    let built_for = b"ampoule:injector/injector@0.2.0";
    ensure!(component.windows(built_for.len()).any(|window| window == built_for), "{language}: not built for 0.2.0");
    let component = without_code(component);
    ensure!(ContractHost::breaking().refusal(&component).is_some(), "{language}: links on a host of version 0.3.0");
    let refusal = ContractHost::next().refusal(&component);
    ensure!(refusal.is_none(), "{language}: does not link on a host of version {VERSION}: {refusal:?}");
    Ok(())
}

#[test]
fn components_in_javascript_and_python_link_on_a_host_of_0_2_1() -> Result<()> {
    for plugin in [&JAVASCRIPT, &PYTHON] {
        check_links_on_next(plugin.language, &plugin.component()?)?;
    }
    Ok(())
}

/// So a component that was built for version 0.2.1 uses its additions, and a host of version 0.2.0
/// refuses it. The refusal is tested with the components in Rust.
#[test]
fn components_in_javascript_and_python_import_functions_that_they_do_not_use() -> Result<()> {
    for plugin in [&JAVASCRIPT, &PYTHON] {
        let component = without_code(&plugin.component()?);
        let imported = ContractHost::next().imported_functions(&component, "ampoule:injector/admission@0.2.0");
        for unused in ["[method]pod.image", "[method]init-container.run-as-group", "[static]volume.csi"] {
            ensure!(imported.iter().any(|name| name == unused), "{}: no {unused} in {imported:?}", plugin.language);
        }
    }
    Ok(())
}
