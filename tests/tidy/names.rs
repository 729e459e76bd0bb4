//! Type names: each occurs once in `host/`, so that a search for one finds its definition.
//!
//! Structs, enums, traits, type aliases and unions count; test code and associated types do not.

use std::collections::BTreeMap;

use syn::visit::{self, Visit};

use super::budget::{self, Budget, Violation};
use super::cycles::is_test_only;
use super::repository::files;

/// Names that still occur more than once, with the number of definitions.
const BUDGET: &Budget = &[];

#[test]
fn a_type_name_occurs_once_in_the_host() {
    let sources = files(&["host/*.rs"]).into_iter().filter(|file| !file.is_test());
    let definitions = definitions(sources.map(|file| (file.path, file.text)));
    let mut violations = Vec::new();
    for (name, paths) in definitions.iter().filter(|(_, paths)| paths.len() > 1) {
        for path in paths {
            let message = format!("{path} defines `{name}`");
            violations.push(Violation { area: name.clone(), weight: 1, message });
        }
    }
    budget::hold("give each type its own name", "tests/tidy/names.rs", BUDGET, &violations);
}

/// The files that define each type name.
fn definitions(sources: impl Iterator<Item = (String, String)>) -> BTreeMap<String, Vec<String>> {
    let mut definitions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (path, text) in sources {
        let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut types = Types::default();
        types.visit_file(&file);
        for name in types.names {
            definitions.entry(name).or_default().push(path.clone());
        }
    }
    definitions
}

#[derive(Default)]
struct Types {
    names: Vec<String>,
}

// === impl Types ===

impl Visit<'_> for Types {
    fn visit_item(&mut self, item: &syn::Item) {
        let (name, attributes) = match item {
            syn::Item::Struct(item) => (&item.ident, &item.attrs),
            syn::Item::Enum(item) => (&item.ident, &item.attrs),
            syn::Item::Trait(item) => (&item.ident, &item.attrs),
            syn::Item::Type(item) => (&item.ident, &item.attrs),
            syn::Item::Union(item) => (&item.ident, &item.attrs),
            _ => return visit::visit_item(self, item),
        };
        if !is_test_only(attributes) {
            self.names.push(name.to_string());
        }
    }

    fn visit_item_mod(&mut self, module: &syn::ItemMod) {
        if !is_test_only(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_definitions_outside_tests() {
        let one = "struct A; mod inner { enum B {} } #[cfg(test)] mod tests { struct C; } fn f() { type D = u8; }";
        let two = "pub trait A {} #[cfg(test)] struct B; impl I for J { type C = u8; }";
        let sources = [("one.rs", one), ("two.rs", two)];
        let found = definitions(sources.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())));
        let found: Vec<_> = found.iter().map(|(name, paths)| (name.as_str(), paths.join(" "))).collect();
        let expected = [("A", "one.rs two.rs"), ("B", "one.rs"), ("D", "one.rs")];
        assert_eq!(found, expected.map(|(name, paths)| (name, paths.to_owned())));
    }
}
