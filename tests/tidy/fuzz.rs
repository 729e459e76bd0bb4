//! The fuzz targets: a crate outside the workspace, which the other checks do not cover.
//!
//! Each target has seeds, and uses the same dependency versions as the workspace.

use std::{collections::BTreeMap, fs};

use cargo_metadata::MetadataCommand;

#[test]
fn every_fuzz_target_has_a_seed_corpus() {
    let fuzz = super::repository::root().join("tests/fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).expect("the fuzz crate has a manifest");
    let targets = fs::read_dir(fuzz.join("fuzz_targets")).expect("the folder exists");
    let mut count = 0;
    for target in targets.map(|file| file.expect("it can be listed").path()).filter(|path| path.is_file()) {
        let name = target.file_stem().expect("it has a name").to_string_lossy().into_owned();
        assert!(manifest.contains(&format!("name = \"{name}\"")), "tests/fuzz/Cargo.toml does not build {name}");
        let seeds = fs::read_dir(fuzz.join("corpus").join(&name)).map(Iterator::count).unwrap_or_default();
        assert!(seeds > 0, "fuzz target {name} has no seed in tests/fuzz/corpus/{name}");
        count += 1;
    }
    assert!(count > 0, "no fuzz target exists");
}

#[test]
fn fuzz_targets_are_built_with_the_workspaces_versions() {
    let requirements = |manifest: &str| {
        let metadata = MetadataCommand::new().manifest_path(super::repository::root().join(manifest)).no_deps().exec();
        let packages = metadata.expect("cargo metadata runs").packages;
        let dependencies = packages.into_iter().flat_map(|package| package.dependencies);
        dependencies
            .map(|dependency| (dependency.rename.unwrap_or(dependency.name), dependency.req))
            .collect::<BTreeMap<_, _>>()
    };
    let ours = requirements("Cargo.toml");
    for (name, requirement) in requirements("tests/fuzz/Cargo.toml") {
        if name != "libfuzzer-sys" {
            assert_eq!(
                Some(&requirement),
                ours.get(&name),
                "tests/fuzz/Cargo.toml requires a different version of {name}"
            );
        }
    }
}
