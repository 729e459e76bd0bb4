//! [`Tree`]: several files, merged as viper merges them, with the spelling and the file of each
//! key.
//!
//! Mappings are merged; other values are replaced by later ones. Keys are not case-sensitive.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde_json::{Map, Value};

use super::place::Place;

/// A mapping.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// The entries by their keys in lower case.
    entries: BTreeMap<String, Entry>,
}

/// The source of a value.
#[derive(Clone, Debug)]
pub(super) enum Source {
    File(Arc<Path>),
    /// The command line.
    Flag,
}

/// An entry of the tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    entry: &'a Entry,
}

#[derive(Clone, Debug)]
struct Entry {
    /// The path from the root, in its latest spelling.
    path: String,
    /// The last part of the path, which may contain dots.
    name: String,
    source: Source,
    node: Node,
}

#[derive(Clone, Debug)]
enum Node {
    Branch(Tree),
    Leaf(Value),
}

// === impl Tree ===

impl Tree {
    /// Merges a mapping into the tree. Its values win.
    pub(super) fn merge(&mut self, entries: Map<String, Value>, source: &Source) {
        self.merge_at("", entries, source);
    }

    /// Sets a single value.
    pub(super) fn set(&mut self, path: &str, value: &str) {
        let leaf = Value::String(value.to_owned());
        let nested =
            path.rsplit('.').fold(leaf, |value, part| Value::Object(Map::from_iter([(part.to_owned(), value)])));
        if let Value::Object(entries) = nested {
            self.merge(entries, &Source::Flag);
        }
    }

    /// The entry at a path. A key without a value counts as missing.
    pub(super) fn find(&self, path: &str) -> Option<Found<'_>> {
        let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
        let entry = self.entries.get(&first.to_lowercase())?;
        match (rest, &entry.node) {
            (_, Node::Leaf(Value::Null)) => None,
            (Some(rest), Node::Branch(tree)) => tree.find(rest),
            (Some(_), Node::Leaf(_)) => None,
            (None, _) => Some(Found { entry }),
        }
    }

    /// The entries of this mapping, without those of nested mappings.
    pub(super) fn keys(&self) -> impl Iterator<Item = Found<'_>> {
        self.entries.values().map(|entry| Found { entry })
    }

    fn merge_at(&mut self, parent: &str, entries: Map<String, Value>, source: &Source) {
        for (name, value) in entries {
            let path = if parent.is_empty() { name.clone() } else { format!("{parent}.{name}") };
            let before = self.entries.remove(&name.to_lowercase());
            let node = match (value, before) {
                (Value::Object(entries), before) => {
                    let mut tree = before.and_then(|entry| entry.node.into_branch()).unwrap_or_default();
                    tree.merge_at(&path, entries, source);
                    Node::Branch(tree)
                }
                // A section without content removes no keys.
                (Value::Null, Some(Entry { node: node @ Node::Branch(_), .. })) => node,
                (value, _) => Node::Leaf(value),
            };
            let lower = name.to_lowercase();
            self.entries.insert(lower, Entry { path, name, source: source.clone(), node });
        }
    }

    fn to_json(&self) -> Map<String, Value> {
        self.entries.values().map(|entry| (entry.name.clone(), entry.node.to_json())).collect()
    }
}

// === impl Found ===

impl<'a> Found<'a> {
    /// The place of the key.
    pub(super) fn place(self) -> Place {
        let path = &self.entry.path;
        match &self.entry.source {
            Source::File(file) => Place { key: path.clone(), file: Some(file.to_path_buf()) },
            Source::Flag => Place { key: format!("--{path}"), file: None },
        }
    }

    /// The path from the root, as written.
    pub(super) fn path(self) -> &'a str {
        &self.entry.path
    }

    /// Whether the key has no value.
    pub(super) fn is_null(self) -> bool {
        matches!(self.entry.node, Node::Leaf(Value::Null))
    }

    /// The mapping, if the value is a mapping.
    pub(super) fn branch(self) -> Option<&'a Tree> {
        match &self.entry.node {
            Node::Branch(tree) => Some(tree),
            Node::Leaf(_) => None,
        }
    }

    /// The value, with keys in their original spelling.
    pub(super) fn json(self) -> Value {
        self.entry.node.to_json()
    }
}

// === impl Node ===

impl Node {
    fn into_branch(self) -> Option<Tree> {
        match self {
            Self::Branch(tree) => Some(tree),
            Self::Leaf(_) => None,
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Branch(tree) => Value::Object(tree.to_json()),
            Self::Leaf(value) => value.clone(),
        }
    }
}
