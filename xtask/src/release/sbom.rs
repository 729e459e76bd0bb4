//! The software bill of materials: the crates in a binary, in the JSON format of CycloneDX 1.6.
//!
//! The source is cargo's dependency graph for the binary's target. The built-in plugins are in the
//! binary as well, but no edge of that graph leads to them: a build script compiles them. They are
//! therefore roots of their own.

mod graph;

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use self::graph::{Crate, Graph};
use super::source::Source;
use crate::workspace;

const SPEC_VERSION: &str = "1.6";

/// Makes the bill of materials for the binary of a target.
pub(super) fn make(source: &Source, target: &str) -> Result<Value> {
    let lock = fs::read_to_string(workspace::root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    Ok(document(&Graph::of_binary(target)?, &lock, source, target))
}

fn document(graph: &Graph, lock: &str, source: &Source, target: &str) -> Value {
    let components: Vec<_> = graph.crates.values().map(|package| component(package, lock)).collect();
    // The crate with the main function has the same name and version as the binary.
    let reference = format!("binary:ampoule@{}", source.version);
    let mut dependencies: Vec<_> = graph
        .crates
        .values()
        .map(|package| json!({ "ref": package.reference(), "dependsOn": package.dependencies }))
        .collect();
    dependencies.insert(0, json!({ "ref": reference, "dependsOn": graph.roots }));
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": serial_number(source, target),
        "version": 1,
        "metadata": {
            "timestamp": source.timestamp,
            "tools": { "components": [{ "type": "application", "name": "cargo xtask release", "version": source.version }] },
            "component": {
                "type": "application",
                "bom-ref": reference,
                "name": "ampoule",
                "version": source.version,
                "licenses": [{ "license": { "id": "Apache-2.0" } }],
                "properties": [
                    { "name": "ampoule:commit", "value": source.commit },
                    { "name": "ampoule:target", "value": target },
                ],
            },
        },
        "components": components,
        "dependencies": dependencies,
    })
}

fn component(package: &Crate, lock: &str) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": package.reference(),
        "name": package.name,
        "version": package.version,
        // CycloneDX calls a component that is needed only to build "excluded".
        "scope": if package.is_linked { "required" } else { "excluded" },
    });
    // The words of older crates are not an SPDX expression: they separate alternatives with a
    // slash.
    if let Some(license) = &package.license {
        let expression = license.replace(" / ", "/").replace('/', " OR ");
        component["licenses"] = json!([{ "expression": expression }]);
    }
    // A crate of this workspace is not on crates.io. A purl would name a stranger's crate of the
    // same name.
    if package.is_from_registry {
        component["purl"] = json!(format!("pkg:cargo/{}@{}", package.name, package.version));
    }
    if let Some(checksum) = checksum(lock, package) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if let Some(repository) = &package.repository {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}

/// The checksum of a crate in `Cargo.lock`, whose format has one key per line.
fn checksum<'a>(lock: &'a str, package: &Crate) -> Option<&'a str> {
    let value = |block: &'a str, key: &str| {
        block.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'))
    };
    let block = lock.split("[[package]]").find(|block| {
        value(block, "name") == Some(&*package.name) && value(block, "version") == Some(&*package.version)
    })?;
    value(block, "checksum")
}

/// A UUID of the reserved version 8, derived from the binary's identity: the same commit gives the
/// same document.
fn serial_number(source: &Source, target: &str) -> String {
    let digest = Sha256::digest(format!("ampoule {} {} {target}", source.version, source.commit));
    let mut bytes: [u8; 16] = digest[..16].try_into().expect("a digest has 32 bytes");
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Checks a bill of materials: its required fields, its references, and that it lists every crate
/// that `cargo tree` lists for the binary. Returns what was checked.
pub(super) fn check(document: &Value, target: &str) -> Result<String> {
    check_fields(document)?;
    let components = document["components"].as_array().context("no components")?;
    let listed: BTreeSet<_> = components.iter().map(|component| named(component, "bom-ref")).collect();
    let tree = graph::crates_of_cargo_tree(target)?;
    ensure!(tree.len() > 100, "`cargo tree` lists only {} crates", tree.len());
    if let Some(missing) = tree.iter().find(|name| !listed.contains(&***name)) {
        bail!("the SBOM lacks {missing}, which `cargo tree` lists for {target}");
    }
    let linked = components.iter().filter(|component| component["scope"] == "required").count();
    Ok(format!("{linked} crates linked, {} for the build only", components.len() - linked))
}

fn check_fields(document: &Value) -> Result<()> {
    ensure!(document["bomFormat"] == "CycloneDX", "bomFormat is {}", document["bomFormat"]);
    ensure!(document["specVersion"] == SPEC_VERSION, "specVersion is {}", document["specVersion"]);
    let components = document["components"].as_array().context("no components")?;
    let mut references = BTreeSet::from([named(&document["metadata"]["component"], "bom-ref")]);
    for component in components {
        for key in ["type", "name", "version", "scope"] {
            ensure!(!named(component, key).is_empty(), "a component lacks {key}: {component}");
        }
        ensure!(references.insert(named(component, "bom-ref")), "two components have the bom-ref of {component}");
        let is_from_registry = component.get("purl").is_some();
        for key in ["hashes", "licenses"] {
            ensure!(
                !is_from_registry || component.get(key).is_some(),
                "a crate from a registry lacks {key}: {component}"
            );
        }
    }
    for dependency in document["dependencies"].as_array().context("no dependencies")? {
        let ends = dependency["dependsOn"].as_array().into_iter().flatten().chain([&dependency["ref"]]);
        for end in ends {
            let end = end.as_str().unwrap_or_default();
            ensure!(references.contains(end), "a dependency names {end:?}, which is not a component");
        }
    }
    Ok(())
}

fn named<'a>(component: &'a Value, key: &str) -> &'a str {
    component[key].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "x86_64-unknown-linux-musl";
    const LOCK: &str = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nchecksum = \"00\"\n\n[[package]]\nname = \
                        \"a\"\nversion = \"2.0.0\"\nchecksum = \"11\"\n\n[[package]]\nname = \"ours\"\nversion = \"0.1.0\"\n";

    fn package(name: &str, version: &str) -> Crate {
        Crate {
            name: name.into(),
            version: version.into(),
            license: Some("MIT/Apache-2.0".into()),
            repository: None,
            is_from_registry: name != "ours",
            is_linked: true,
            dependencies: BTreeSet::new(),
        }
    }

    fn source() -> Source {
        Source {
            version: "0.1.0".into(),
            commit: "c0ffee".into(),
            epoch: 0,
            timestamp: "1970-01-01T00:00:00Z".into(),
            is_modified: false,
        }
    }

    #[test]
    fn a_checksum_belongs_to_one_version() {
        assert_eq!(checksum(LOCK, &package("a", "1.0.0")), Some("00"));
        assert_eq!(checksum(LOCK, &package("a", "2.0.0")), Some("11"));
        assert_eq!(checksum(LOCK, &package("a", "3.0.0")), None);
        assert_eq!(checksum(LOCK, &package("ours", "0.1.0")), None);
    }

    #[test]
    fn a_crate_of_this_workspace_has_no_purl() {
        assert_eq!(component(&package("a", "1.0.0"), LOCK)["purl"], "pkg:cargo/a@1.0.0");
        let ours = component(&package("ours", "0.1.0"), LOCK);
        assert_eq!(ours.get("purl"), None);
        assert_eq!(ours["licenses"][0]["expression"], "MIT OR Apache-2.0");
    }

    #[test]
    fn the_serial_number_depends_on_the_commit_only() {
        let number = serial_number(&source(), TARGET);
        assert_eq!(number, serial_number(&source(), TARGET));
        assert_ne!(number, serial_number(&source(), "aarch64-unknown-linux-musl"));
        let lengths: Vec<_> = number.trim_start_matches("urn:uuid:").split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
    }

    #[test]
    fn a_missing_field_or_component_is_an_error() {
        let crates = [package("a", "1.0.0"), package("ours", "0.1.0")];
        let crates = crates.into_iter().map(|package| (package.reference(), package)).collect();
        let graph = Graph { roots: BTreeSet::from(["ours@0.1.0".to_owned()]), crates };
        let good = document(&graph, LOCK, &source(), TARGET);
        check_fields(&good).unwrap();
        let broken = |pointer: &str, value: Value| {
            let mut document = good.clone();
            *document.pointer_mut(pointer).unwrap() = value;
            check_fields(&document).unwrap_err().to_string()
        };
        assert_eq!(broken("/bomFormat", json!("SPDX")), "bomFormat is \"SPDX\"");
        assert!(broken("/components/0/version", json!("")).starts_with("a component lacks version: "));
        assert_eq!(
            broken("/dependencies/0/dependsOn", json!(["b@1"])),
            "a dependency names \"b@1\", which is not a component"
        );
    }

    #[test]
    fn the_bill_lists_the_crates_of_the_server_and_of_the_built_in_plugins() {
        let document = make(&Source::read().unwrap(), TARGET).unwrap();
        check(&document, TARGET).unwrap();
        let components = document["components"].as_array().unwrap();
        let scope = |name: &str| components.iter().find(|component| component["name"] == name).map(|it| &it["scope"]);
        for name in ["wasmtime", "rustls", "ampoule-plugin-k8s", "ampoule-plugin-vault", "talc"] {
            assert_eq!(scope(name), Some(&json!("required")), "{name}");
        }
        assert_eq!(scope("serde_derive"), Some(&json!("excluded")));
        for name in ["criterion", "windows-sys", "ampoule-plugin-http-json"] {
            assert_eq!(scope(name), None, "{name}");
        }
    }
}
