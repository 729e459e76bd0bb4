//! Module cycles: within a crate of `host/`, modules depend on each other one way only.
//!
//! A dependency is a path that starts with `crate`, `super` or `self`, in a `use` or in code. It
//! leads to the module with the longest matching name: an item that a parent re-exports leads to
//! the parent. Test code is left out.
//!
//! A module and its descendants may refer to each other. Any other dependency counts for the two
//! siblings that contain its ends. So `a::x` → `b` together with `b` → `a` is a cycle of `a` and
//! `b`: what `b` uses may be an item of `a::x` that `a` re-exports. A violation is a module in a
//! cycle of siblings.

use std::collections::{BTreeMap, BTreeSet};

use syn::visit::{self, Visit};

use super::budget::{self, Budget, Violation};
use super::repository::{File, files, paths};

/// Modules that are still in a cycle, by crate.
const BUDGET: &Budget = &[];

#[test]
fn modules_of_the_host_form_no_cycles() {
    let mut violations = Vec::new();
    for manifest in paths(&["host/*Cargo.toml"]) {
        let area = manifest.strip_suffix("/Cargo.toml").expect("the pattern ends so").to_owned();
        let folder = format!("{area}/src");
        let pattern = format!("{folder}/*.rs");
        let sources = files(&[pattern.as_str()]);
        let modules: Vec<_> = sources.iter().filter_map(|file| module(&folder, file)).collect();
        assert!(!modules.is_empty(), "{folder} has no modules");
        for cycle in Graph::new(&modules).cycles() {
            let weight = cycle.modules.len();
            violations.push(Violation { area: area.clone(), weight, message: cycle.to_string() });
        }
    }
    budget::hold("break the module cycles", "tests/tidy/cycles.rs", BUDGET, &violations);
}

/// Whether an item exists in test builds only.
pub(crate) fn is_test_only(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let condition: String = list.tokens.to_string().split_whitespace().collect();
        list.path.is_ident("cfg") && (condition == "test" || condition.starts_with("all(test"))
    })
}

/// A module's path, such as `a::b` and empty for the crate's root, with its source.
struct Module {
    path: String,
    source: syn::File,
}

fn module(folder: &str, file: &File) -> Option<Module> {
    if file.is_test() {
        return None;
    }
    let name = file.path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".rs")?;
    let path = if matches!(name, "lib" | "main") { String::new() } else { name.replace('/', "::") };
    let source = syn::parse_file(&file.text).unwrap_or_else(|error| panic!("{}: {error}", file.path));
    Some(Module { path, source })
}

/// Dependencies between siblings, and the paths that cause each.
#[derive(Default)]
struct Graph {
    edges: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
}

/// Modules that all depend on each other, with the dependencies between them.
struct Cycle {
    modules: Vec<String>,
    edges: Vec<String>,
}

impl std::fmt::Display for Cycle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cycle of {} modules: {}", self.modules.len(), self.modules.join(", "))?;
        self.edges.iter().try_for_each(|edge| write!(f, "\n    {edge}"))
    }
}

// === impl Graph ===

impl Graph {
    fn new(modules: &[Module]) -> Self {
        let references: Vec<_> = modules.iter().map(|module| (&module.path, References::of(module))).collect();
        let test_only: BTreeSet<_> = references.iter().flat_map(|(_, found)| found.test_modules.iter()).collect();
        let excluded = |path: &str| test_only.iter().any(|test| path == *test || is_below(path, test));
        let known: BTreeSet<_> =
            modules.iter().map(|module| module.path.as_str()).filter(|path| !excluded(path)).collect();
        let mut graph = Self::default();
        for (from, found) in references.iter().filter(|(from, _)| known.contains(from.as_str())) {
            for path in &found.paths {
                let mut prefixes = (0..=path.len()).rev().map(|length| path[..length].join("::"));
                let Some(to) = prefixes.find(|to| known.contains(to.as_str())) else { continue };
                if to != **from && !is_below(&to, from) && !is_below(from, &to) {
                    let depth = to.split("::").count();
                    let target = path.get(..=depth).unwrap_or(path).join("::");
                    let (one, other) = siblings(from, &to);
                    let names = graph.edges.entry(one).or_default().entry(other).or_default();
                    names.insert(format!("{from} uses {target}"));
                }
            }
        }
        graph
    }

    /// The strongly connected components with more than one module.
    fn cycles(&self) -> Vec<Cycle> {
        let reachable: BTreeMap<_, _> = self.edges.keys().map(|from| (from.as_str(), self.reachable(from))).collect();
        let mut cycles = Vec::new();
        let mut seen = BTreeSet::new();
        for (from, targets) in &reachable {
            let back = |to: &&str| reachable.get(to).is_some_and(|targets| targets.contains(from));
            let modules: Vec<_> = targets.iter().copied().filter(back).collect();
            if modules.len() > 1 && seen.insert(modules.clone()) {
                cycles.push(self.cycle(&modules));
            }
        }
        cycles
    }

    fn reachable(&self, from: &str) -> BTreeSet<&str> {
        let mut found = BTreeSet::new();
        let mut open: Vec<&str> = vec![from];
        while let Some(next) = open.pop() {
            for to in self.edges.get(next).into_iter().flat_map(BTreeMap::keys) {
                if found.insert(to.as_str()) {
                    open.push(to);
                }
            }
        }
        found
    }

    fn cycle(&self, modules: &[&str]) -> Cycle {
        let edges = modules.iter().flat_map(|from| self.edges[*from].iter().map(move |(to, names)| (from, to, names)));
        let inner = edges.filter(|(_, to, _)| modules.contains(&to.as_str()));
        let text = inner.map(|(from, to, names)| {
            format!("{from} -> {to} ({})", names.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
        });
        Cycle { edges: text.collect(), modules: modules.iter().map(|&module| module.to_owned()).collect() }
    }
}

/// The ancestors of two modules, or the modules themselves, that have the same parent.
fn siblings(one: &str, other: &str) -> (String, String) {
    let (one, other): (Vec<_>, Vec<_>) = (one.split("::").collect(), other.split("::").collect());
    let common = one.iter().zip(&other).take_while(|(one, other)| one == other).count();
    (one[..=common].join("::"), other[..=common].join("::"))
}

/// Whether a module is a descendant of another one; every module is one of the root.
fn is_below(path: &str, ancestor: &str) -> bool {
    let rest = path.strip_prefix(ancestor);
    rest.is_some_and(|rest| rest.starts_with("::") || (ancestor.is_empty() && !rest.is_empty()))
}

/// The paths that a module refers to, resolved against the crate's root.
#[derive(Default)]
struct References {
    here: Vec<String>,
    paths: BTreeSet<Vec<String>>,
    /// Files of modules that are declared for tests only.
    test_modules: BTreeSet<String>,
}

// === impl References ===

impl References {
    fn of(module: &Module) -> Self {
        let here = module.path.split("::").filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let mut references = Self { here, ..Self::default() };
        references.visit_file(&module.source);
        references
    }

    fn add(&mut self, segments: &[String]) {
        let mut path = match segments.first().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self" | "super") => self.here.clone(),
            _ => return,
        };
        for (index, segment) in segments.iter().enumerate() {
            match segment.as_str() {
                "super" => drop(path.pop()),
                "crate" | "self" if index == 0 => {}
                _ => path.push(segment.clone()),
            }
        }
        self.paths.insert(path);
    }

    fn add_use(&mut self, prefix: &[String], tree: &syn::UseTree) {
        let with = |ident: &dyn ToString| [prefix, &[ident.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.add_use(&with(&path.ident), &path.tree),
            syn::UseTree::Name(name) if name.ident == "self" && !prefix.is_empty() => self.add(prefix),
            syn::UseTree::Name(name) => self.add(&with(&name.ident)),
            syn::UseTree::Rename(rename) => self.add(&with(&rename.ident)),
            syn::UseTree::Glob(_) => self.add(prefix),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_use(prefix, tree)),
        }
    }
}

impl Visit<'_> for References {
    fn visit_item(&mut self, item: &syn::Item) {
        let test_only = match item {
            syn::Item::Fn(item) => is_test_only(&item.attrs),
            syn::Item::Impl(item) => is_test_only(&item.attrs),
            syn::Item::Struct(item) => is_test_only(&item.attrs),
            syn::Item::Use(item) => is_test_only(&item.attrs),
            _ => false,
        };
        if !test_only {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, module: &syn::ItemMod) {
        self.here.push(module.ident.to_string());
        if !is_test_only(&module.attrs) {
            visit::visit_item_mod(self, module);
        } else if module.content.is_none() {
            self.test_modules.insert(self.here.join("::"));
        }
        self.here.pop();
    }

    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        self.add_use(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add(&segments);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        let tokens = call.tokens.to_string().replace(" :: ", "::");
        for word in tokens.split(|character: char| !(character.is_alphanumeric() || "_:".contains(character))) {
            let segments: Vec<_> = word.split("::").map(str::to_owned).collect();
            if segments.len() > 1 {
                self.add(&segments);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycles(sources: &[(&str, &str)]) -> Vec<String> {
        let modules = sources.iter().map(|(path, source)| Module {
            path: (*path).to_owned(),
            source: syn::parse_file(source).expect("the sample is Rust"),
        });
        let modules: Vec<_> = modules.collect();
        Graph::new(&modules).cycles().iter().map(Cycle::to_string).collect()
    }

    #[test]
    fn finds_a_cycle_over_imports_paths_and_macros() {
        let found = cycles(&[
            ("", "mod a; mod b; mod c;"),
            ("a", "mod x;"),
            ("a::x", "use super::super::b::{self, B};"),
            ("b", "fn f() { crate::c::g() }"),
            ("c", "fn g() { println!(\"{}\", crate::a::x::NAME) }"),
        ]);
        let edges = [
            "\n    a -> b (a::x uses b, a::x uses b::B)",
            "\n    b -> c (b uses c::g)",
            "\n    c -> a (c uses a::x::NAME)",
        ];
        let edges = edges.concat();
        assert_eq!(found, [format!("cycle of 3 modules: a, b, c{edges}")]);
    }

    #[test]
    fn a_parent_and_its_children_may_refer_to_each_other() {
        let found = cycles(&[
            ("", "mod a; use self::a::A;"),
            ("a", "mod x; mod y; pub use self::{x::X, y::Y}; pub struct A;"),
            ("a::x", "use super::Y; use crate::a::A;"),
            ("a::y", "use super::A;"),
        ]);
        assert_eq!(found, Vec::<String>::new());
        let siblings = cycles(&[("", ""), ("a::x", "use super::y::Y;"), ("a::y", "use super::x::X;")]);
        assert_eq!(siblings.len(), 1);
    }

    #[test]
    fn finds_a_cycle_through_a_re_export_of_a_parent() {
        let found = cycles(&[
            ("", "mod a; mod b;"),
            ("a", "mod x; pub use self::x::X;"),
            ("a::x", "use crate::b::B;"),
            ("b", "use crate::a::X;"),
        ]);
        assert_eq!(found, ["cycle of 2 modules: a, b\n    a -> b (a::x uses b::B)\n    b -> a (b uses a::X)"]);
    }

    #[test]
    fn test_code_is_left_out() {
        let found = cycles(&[
            ("", "mod a; mod b; #[cfg(test)] mod fake;"),
            ("a", "use crate::b::B; use crate::fake::F;"),
            ("b", "#[cfg(test)] mod tests { use crate::a::A; } #[cfg(test)] use crate::a::B;"),
            ("fake", "use crate::a::A;"),
        ]);
        assert_eq!(found, Vec::<String>::new());
    }
}
