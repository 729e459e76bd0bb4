//! Dependencies between crates: they point one way, and only the listed crates depend on large
//! libraries.
//!
//! `ARCHITECTURE.md` shows the same graph.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, Package};

/// Every allowed dependency between the crates of this workspace, except development dependencies.
const EDGES: [(&str, &[&str]); 43] = [
    ("ampoule", &["ampoule-cli", "ampoule-plugin-bundle"]),
    ("ampoule-core", &[]),
    ("ampoule-component", &["ampoule-core"]),
    ("ampoule-engine", &["ampoule-component", "ampoule-core"]),
    ("ampoule-config", &["ampoule-core"]),
    ("ampoule-console", &["ampoule-cluster", "ampoule-core", "ampoule-review", "ampoule-telemetry"]),
    ("ampoule-credentials", &["ampoule-config", "ampoule-core", "ampoule-net"]),
    ("ampoule-fetch", &["ampoule-config", "ampoule-core", "ampoule-engine", "ampoule-grants", "ampoule-net"]),
    ("ampoule-grants", &["ampoule-config", "ampoule-core", "ampoule-credentials", "ampoule-engine", "ampoule-net"]),
    ("ampoule-net", &[]),
    ("ampoule-policy", &["ampoule-core"]),
    ("ampoule-review", &["ampoule-core"]),
    ("ampoule-telemetry", &["ampoule-config", "ampoule-core", "ampoule-net"]),
    ("ampoule-oci", &["ampoule-config", "ampoule-net"]),
    ("ampoule-cluster", &["ampoule-config", "ampoule-core", "ampoule-net", "ampoule-telemetry"]),
    (
        "ampoule-admission",
        &["ampoule-config", "ampoule-core", "ampoule-engine", "ampoule-net", "ampoule-review", "ampoule-telemetry"],
    ),
    (
        "ampoule-components",
        &["ampoule-cluster", "ampoule-config", "ampoule-core", "ampoule-engine", "ampoule-net", "ampoule-oci"],
    ),
    (
        "ampoule-server",
        &[
            "ampoule-admission",
            "ampoule-cluster",
            "ampoule-components",
            "ampoule-config",
            "ampoule-console",
            "ampoule-core",
            "ampoule-engine",
            "ampoule-grants",
            "ampoule-net",
            "ampoule-policy",
            "ampoule-telemetry",
        ],
    ),
    (
        "ampoule-cli",
        &[
            "ampoule-admission",
            "ampoule-cluster",
            "ampoule-components",
            "ampoule-config",
            "ampoule-core",
            "ampoule-engine",
            "ampoule-oci",
            "ampoule-plugin-build",
            "ampoule-policy",
            "ampoule-review",
            "ampoule-server",
            "ampoule-telemetry",
        ],
    ),
    ("ampoule-budget", &["ampoule-core", "ampoule-review"]),
    ("ampoule-links", &[]),
    ("ampoule-load", &[]),
    ("ampoule-next-contract", &[]),
    ("ampoule-plugin-aws", &["ampoule-plugin-pull", "ampoule-plugin-sdk"]),
    ("ampoule-plugin-aws-secrets-manager", &["ampoule-plugin-sdk", "ampoule-plugin-store"]),
    ("ampoule-plugin-azure", &["ampoule-plugin-pull", "ampoule-plugin-sdk"]),
    ("ampoule-plugin-azure-key-vault", &["ampoule-plugin-sdk", "ampoule-plugin-store"]),
    ("ampoule-plugin-build", &[]),
    ("ampoule-plugin-bundle", &["ampoule-plugin-build"]),
    ("ampoule-plugin-embedded", &["ampoule-plugin-sdk", "ampoule-plugin-store"]),
    ("ampoule-plugin-gcp", &["ampoule-plugin-pull", "ampoule-plugin-sdk"]),
    ("ampoule-plugin-gcp-secret-manager", &["ampoule-plugin-sdk", "ampoule-plugin-store"]),
    ("ampoule-plugin-http-json", &["ampoule-plugin-sdk"]),
    ("ampoule-plugin-k8s", &["ampoule-plugin-sdk"]),
    ("ampoule-plugin-onepassword-connect", &["ampoule-plugin-sdk"]),
    ("ampoule-plugin-pull", &["ampoule-plugin-sdk"]),
    ("ampoule-plugin-sdk", &[]),
    ("ampoule-plugin-store", &["ampoule-plugin-sdk"]),
    ("ampoule-plugin-vault", &["ampoule-plugin-sdk"]),
    ("ampoule-plugin-vault-kv", &["ampoule-plugin-sdk", "ampoule-plugin-store"]),
    ("ampoule-test-guests", &["ampoule-plugin-build", "ampoule-plugin-sdk"]),
    ("xtask", &["ampoule-links", "ampoule-plugin-build"]),
    ("ampoule-tests", &["*"]),
];

/// Libraries that only these crates may depend on directly.
const KEEPERS: [(&str, &[&str]); 11] = [
    ("cel", &["ampoule-policy", "ampoule-tests"]),
    ("wasmtime", &["ampoule-engine", "ampoule-next-contract"]),
    ("wasmtime-wasi", &["ampoule-engine", "ampoule-next-contract"]),
    ("wasmtime-wasi-http", &["ampoule-engine", "ampoule-next-contract"]),
    ("wit-bindgen", &["ampoule-plugin-sdk"]),
    ("wit-bindgen-c", &["ampoule-plugin-build"]),
    ("wit-component", &["ampoule-plugin-build", "xtask"]),
    (
        "axum",
        &["ampoule-admission", "ampoule-cli", "ampoule-console", "ampoule-net", "ampoule-server", "ampoule-tests"],
    ),
    ("hyper", HTTP),
    ("rustls", TLS),
    ("kube", &["ampoule-cluster", "ampoule-components", "ampoule-tests"]),
];

/// Crates that speak HTTP.
const HTTP: &[&str] = &[
    "ampoule-cli",
    "ampoule-engine",
    "ampoule-load",
    "ampoule-net",
    "ampoule-oci",
    "ampoule-telemetry",
    "ampoule-tests",
];

/// Crates that configure TLS.
const TLS: &[&str] = &["ampoule-cluster", "ampoule-engine", "ampoule-load", "ampoule-net", "ampoule-tests", "xtask"];

/// Libraries that the core may not depend on: it has no I/O and no clock.
const NOT_IN_CORE: [&str; 6] = ["tokio", "wasmtime", "kube", "hyper", "axum", "tracing"];

fn packages() -> Vec<Package> {
    let manifest = super::repository::root().join("Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata runs");
    metadata.packages
}

fn dependencies(package: &Package) -> BTreeSet<&str> {
    let real = package.dependencies.iter().filter(|dependency| dependency.kind != DependencyKind::Development);
    real.map(|dependency| dependency.name.as_str()).collect()
}

#[test]
fn crates_depend_on_each_other_as_listed() {
    let allowed: BTreeMap<_, _> = EDGES.into();
    let packages = packages();
    let ours: BTreeSet<_> = packages.iter().map(|package| package.name.as_str()).collect();
    for package in &packages {
        let allowed = allowed.get(package.name.as_str());
        let allowed = allowed.unwrap_or_else(|| panic!("crate {} is new: give it a line in EDGES", package.name));
        for dependency in dependencies(package).intersection(&ours) {
            let good = allowed.contains(dependency) || allowed.contains(&"*");
            assert!(good, "{} must not depend on {dependency}: see ARCHITECTURE.md", package.name);
        }
    }
}

#[test]
fn large_libraries_are_used_by_the_listed_crates_only() {
    for package in packages() {
        for (dependency, keepers) in KEEPERS {
            let good = !dependencies(&package).contains(dependency) || keepers.contains(&package.name.as_str());
            assert!(good, "{} must not depend on {dependency}: only {keepers:?} may", package.name);
        }
    }
}

#[test]
fn the_core_does_no_io() {
    let packages = packages();
    let core =
        packages.iter().find(|package| package.name.as_str() == "ampoule-core").expect("the workspace has a core");
    for forbidden in NOT_IN_CORE {
        assert!(!dependencies(core).contains(forbidden), "the core must not depend on {forbidden}");
    }
}
