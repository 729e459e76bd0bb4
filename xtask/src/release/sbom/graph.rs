//! The crates of a binary: [`Graph`], from `cargo metadata`, and the list of `cargo tree` to
//! compare it with. The two are computed by different code of cargo, so a mistake in the walk below
//! is found.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use ampoule_plugin_build::TARGET as WASM;
use anyhow::{Context, Result};
use serde_json::Value;

use crate::fuzz::host;
use crate::job;
use crate::plugins;
use crate::workspace;

/// Cargo downloads manifests that are missing.
const CARGO_MAX: Duration = Duration::from_secs(10 * 60);
const BINARY: &str = "ampoule";

/// The crates of a binary by `name@version`, and the crates at the top.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub(super) roots: BTreeSet<String>,
    pub(super) crates: BTreeMap<String, Crate>,
}

/// A crate of a binary.
#[derive(Clone, Debug)]
pub(super) struct Crate {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) license: Option<String>,
    pub(super) repository: Option<String>,
    pub(super) is_from_registry: bool,
    /// Whether its code is in the binary. Otherwise only the build needs it, as a macro or in a
    /// build script.
    pub(super) is_linked: bool,
    /// References of its direct dependencies.
    pub(super) dependencies: BTreeSet<String>,
}

/// The dependency graph that cargo resolved for some targets.
struct Resolution {
    metadata: Value,
    packages: HashMap<String, usize>,
    nodes: HashMap<String, usize>,
}

// === impl Crate ===

impl Crate {
    /// The key of this crate in a [`Graph`].
    pub(super) fn reference(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

// === impl Graph ===

impl Graph {
    /// The crates of the server for a target, and those of the built-in plugins for WebAssembly.
    pub(super) fn of_binary(target: &str) -> Result<Self> {
        let mut graph = Self::default();
        graph.add(target, |_| vec![BINARY.to_owned()])?;
        graph.add(WASM, built_in_plugins)?;
        Ok(graph)
    }

    /// Adds the packages that `roots` chooses from cargo's metadata, and what they need.
    ///
    /// Macros and build scripts are compiled for this machine, not for the target, and have other
    /// dependencies there. So the crates for the build come from a second resolution with both.
    fn add(&mut self, target: &str, roots: impl Fn(&Value) -> Vec<String>) -> Result<()> {
        let for_target = Resolution::for_targets(&[target])?;
        let for_build = Resolution::for_targets(&[target, &host()?])?;
        let roots = roots(&for_target.metadata);
        let ids: Vec<_> = roots.iter().map(|root| for_target.member(root)).collect::<Result<_>>()?;
        let linked = for_target.reachable(&ids, |dependency| {
            is_normal(dependency) && !for_target.is_macro(dependency["pkg"].as_str().unwrap_or_default())
        });
        let needed = for_build.reachable(&ids, |dependency| is_normal(dependency) || has_kind(dependency, "build"));
        for id in &needed {
            let mut package = for_build.package(id)?;
            package.is_linked = linked.contains(id);
            for dependency in for_build.dependencies(id) {
                let id = dependency["pkg"].as_str().unwrap_or_default();
                if needed.contains(id) {
                    package.dependencies.insert(for_build.package(id)?.reference());
                }
            }
            self.merge(package);
        }
        for id in &ids {
            self.roots.insert(for_build.package(id)?.reference());
        }
        Ok(())
    }

    /// A crate that both the server and a plugin use occurs once.
    fn merge(&mut self, package: Crate) {
        let known = self.crates.entry(package.reference()).or_insert_with(|| package.clone());
        known.is_linked |= package.is_linked;
        known.dependencies.extend(package.dependencies);
    }
}

// === impl Resolution ===

impl Resolution {
    fn for_targets(targets: &[&str]) -> Result<Self> {
        let mut cargo = workspace::cargo();
        cargo.args(["metadata", "--format-version", "1", "--locked"]);
        cargo.args(targets.iter().flat_map(|target| ["--filter-platform", *target]));
        let printed = job::output(&mut cargo, CARGO_MAX);
        let metadata: Value = serde_json::from_str(&printed.context("`cargo metadata --locked` failed")?)?;
        let by_id = |list: &Value| {
            let list = list.as_array().into_iter().flatten().enumerate();
            list.filter_map(|(index, item)| Some((item["id"].as_str()?.to_owned(), index))).collect()
        };
        let (packages, nodes) = (by_id(&metadata["packages"]), by_id(&metadata["resolve"]["nodes"]));
        Ok(Self { metadata, packages, nodes })
    }

    fn find(&self, id: &str) -> &Value {
        self.packages.get(id).map_or(&Value::Null, |index| &self.metadata["packages"][*index])
    }

    /// The id of a package of this workspace.
    fn member(&self, name: &str) -> Result<String> {
        let packages = self.metadata["packages"].as_array().context("cargo lists no packages")?;
        let member = packages.iter().find(|package| package["name"] == name && package["source"].is_null());
        let id = member.and_then(|package| package["id"].as_str());
        id.map(str::to_owned).with_context(|| format!("the workspace has no package {name}"))
    }

    fn package(&self, id: &str) -> Result<Crate> {
        let package = self.find(id);
        let text = |key: &str| package[key].as_str().map(str::to_owned);
        Ok(Crate {
            name: text("name").with_context(|| format!("cargo lists no package {id}"))?,
            version: text("version").with_context(|| format!("cargo lists no version of {id}"))?,
            license: text("license"),
            repository: text("repository"),
            is_from_registry: !package["source"].is_null(),
            is_linked: false,
            dependencies: BTreeSet::new(),
        })
    }

    fn is_macro(&self, id: &str) -> bool {
        let mut targets = self.find(id)["targets"].as_array().into_iter().flatten();
        targets.any(|target| target["kind"][0] == "proc-macro")
    }

    fn dependencies(&self, id: &str) -> impl Iterator<Item = &Value> {
        let node = self.nodes.get(id).map(|index| &self.metadata["resolve"]["nodes"][*index]);
        node.and_then(|node| node["deps"].as_array()).into_iter().flatten()
    }

    /// Ids of all packages that can be reached over the edges that `follows` accepts.
    fn reachable(&self, roots: &[String], follows: impl Fn(&Value) -> bool) -> BTreeSet<String> {
        let mut found: BTreeSet<String> = roots.iter().cloned().collect();
        let mut open = roots.to_vec();
        while let Some(id) = open.pop() {
            for dependency in self.dependencies(&id).filter(|dependency| follows(dependency)) {
                let id = dependency["pkg"].as_str().unwrap_or_default().to_owned();
                if found.insert(id.clone()) {
                    open.push(id);
                }
            }
        }
        found
    }
}

fn is_normal(dependency: &Value) -> bool {
    dependency["dep_kinds"].as_array().into_iter().flatten().any(|kind| kind["kind"].is_null())
}

fn has_kind(dependency: &Value, name: &str) -> bool {
    dependency["dep_kinds"].as_array().into_iter().flatten().any(|kind| kind["kind"] == name)
}

/// Plugins of this repository except the examples, which no binary contains.
fn built_in_plugins(metadata: &Value) -> Vec<String> {
    let is_example = |name: &String| {
        let packages = metadata["packages"].as_array().into_iter().flatten();
        let mut manifests = packages.filter(|package| package["name"] == **name);
        manifests.any(|package| package["manifest_path"].as_str().is_some_and(|path| path.contains("/examples/")))
    };
    let mut names = plugins::plugins(metadata);
    names.retain(|name| !is_example(name));
    names
}

/// The crates that cargo links into the binary or uses to build it, as `cargo tree` lists them.
pub(super) fn crates_of_cargo_tree(target: &str) -> Result<BTreeSet<String>> {
    let tree = |package: &str, target: &str| {
        let mut cargo = workspace::cargo();
        cargo.args(["tree", "--locked", "--package", package, "--target", target]);
        cargo.args(["--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
        job::output(&mut cargo, CARGO_MAX).with_context(|| format!("`{}` failed", job::shown(&cargo)))
    };
    let mut crates = BTreeSet::new();
    let plugins = built_in_plugins(&workspace::metadata()?);
    let packages = plugins.iter().map(|plugin| (plugin.as_str(), WASM)).chain([(BINARY, target)]);
    for (package, target) in packages {
        crates.extend(tree(package, target)?.lines().filter_map(reference_in_tree));
    }
    Ok(crates)
}

/// `name v1.2.3 (proc-macro)` as `name@1.2.3`.
fn reference_in_tree(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (name, version) = (words.next()?, words.next()?);
    Some(format!("{name}@{}", version.strip_prefix('v')?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_cargo_tree_names_one_crate() {
        for (line, expected) in [
            ("serde v1.0.229", Some("serde@1.0.229")),
            ("serde_derive v1.0.229 (proc-macro) (*)", Some("serde_derive@1.0.229")),
            ("wasip2 v1.0.4+wasi-0.2.12", Some("wasip2@1.0.4+wasi-0.2.12")),
            ("", None),
            ("[build-dependencies]", None),
        ] {
            assert_eq!(reference_in_tree(line).as_deref(), expected, "{line}");
        }
    }
}
