//! The contract in `wit/` as a package: the binary form of WIT, which registries store and `wkg`
//! fetches. A plugin author who has the package needs no copy of the text.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use wit_component::{DecodedWasm, WitPrinter};
use wit_parser::{PackageId, Resolve};

/// The folder of the contract.
pub(super) const FOLDER: &str = "wit";
/// Names end with the exact version (`0.2.1`), and not with its compatible range (`0.2`): an author
/// reads in the package which methods a host must have.
const CANONICAL_NAMES: bool = false;

/// Encodes the package in a folder, and returns it with its file name.
pub(super) fn encode(folder: &Path) -> Result<(String, Vec<u8>)> {
    let (resolve, package) = parse(folder)?;
    let name = &resolve.packages[package].name;
    let version = name.version.as_ref().with_context(|| format!("the package {name} has no version"))?;
    let file = format!("{}-{}-{version}.wasm", name.namespace, name.name);
    Ok((file, wit_component::encode(&resolve, package, CANONICAL_NAMES)?))
}

/// Checks that the encoded package decodes to the text in the folder, comments included. Returns
/// what was checked.
pub(super) fn check(bytes: &[u8], folder: &Path) -> Result<String> {
    let DecodedWasm::WitPackage(resolve, package) = wit_component::decode(bytes)? else {
        bail!("the file is a component and not a WIT package");
    };
    let decoded = print(&resolve, package)?;
    let (expected, expected_package) = parse(folder)?;
    ensure!(
        decoded == print(&expected, expected_package)?,
        "the decoded WIT package differs from {}",
        folder.display()
    );
    let found = &resolve.packages[package];
    Ok(format!(
        "decodes to {} with {} interfaces and {} worlds",
        found.name,
        found.interfaces.len(),
        found.worlds.len()
    ))
}

fn parse(folder: &Path) -> Result<(Resolve, PackageId)> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(folder).with_context(|| format!("cannot parse {}", folder.display()))?;
    Ok((resolve, package))
}

fn print(resolve: &Resolve, package: PackageId) -> Result<String> {
    let mut printer = WitPrinter::default();
    printer.print(resolve, package, &[])?;
    Ok(printer.output.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::workspace;

    #[test]
    fn the_contract_survives_encoding_with_its_comments() {
        let folder = workspace::root().join(FOLDER);
        let (name, bytes) = encode(&folder).unwrap();
        assert!(name.starts_with("ampoule-injector-") && name.ends_with(".wasm"), "{name}");
        assert!(check(&bytes, &folder).unwrap().starts_with("decodes to ampoule:injector@"));
        let DecodedWasm::WitPackage(resolve, package) = wit_component::decode(&bytes).unwrap() else {
            panic!("the contract is not a package")
        };
        assert!(print(&resolve, package).unwrap().contains("///"));
    }

    #[test]
    fn a_package_of_another_text_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |text: &str| fs::write(folder.path().join("a.wit"), text).unwrap();
        write("package a:b@1.0.0;\ninterface i { f: func(); }\n");
        let (name, bytes) = encode(folder.path()).unwrap();
        assert_eq!(name, "a-b-1.0.0.wasm");
        write("package a:b@1.0.0;\ninterface i { f: func() -> u32; }\n");
        let error = check(&bytes, folder.path()).unwrap_err().to_string();
        assert!(error.starts_with("the decoded WIT package differs from "), "{error}");
        write("package a:b;\ninterface i { f: func(); }\n");
        assert_eq!(encode(folder.path()).unwrap_err().to_string(), "the package a:b has no version");
    }
}
