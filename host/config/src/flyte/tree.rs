//! Several files as one: [`Tree`], merged as viper merges, with each key's spelling and the file that it came from.
//!
//! Mappings are merged, everything else is replaced by what is read later. Keys are the same in any letter case.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use serde_json::{Map, Value};

use super::Place;

/// A mapping.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// By the key in lower case.
    entries: BTreeMap<String, Entry>,
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub(super) enum Source {
    File(Arc<Path>),
    /// The command line.
    Flag,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    entry: &'a Entry,
}

#[derive(Clone, Debug)]
struct Entry {
    /// From the root, as it was written last.
    path: String,
    /// The last part of the path, which may hold dots itself.
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
    /// Puts a mapping over what is there.
    pub(super) fn merge(&mut self, entries: Map<String, Value>, source: &Source) {
        self.merge_at("", entries, source);
    }

    /// Puts a single value over what is there.
    pub(super) fn set(&mut self, path: &str, value: &str) {
        let leaf = Value::String(value.to_owned());
        let nested =
            path.rsplit('.').fold(leaf, |value, part| Value::Object(Map::from_iter([(part.to_owned(), value)])));
        if let Value::Object(entries) = nested {
            self.merge(entries, &Source::Flag);
        }
    }

    /// What stands at a path, if anything does. A key without a value is not there.
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

    /// Every key in this mapping, but not those further down.
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
                // A section whose keys are all commented out takes nothing away.
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
    /// Where it stands.
    pub(super) fn place(self) -> Place {
        let Entry { path, source, .. } = self.entry;
        match source {
            Source::File(file) => Place { key: path.clone(), file: Some(file.to_path_buf()) },
            Source::Flag => Place { key: format!("--{path}"), file: None },
        }
    }

    /// The path from the root, as it is written.
    pub(super) fn path(self) -> &'a str {
        &self.entry.path
    }

    /// Whether it is a key without a value.
    pub(super) fn is_null(self) -> bool {
        matches!(self.entry.node, Node::Leaf(Value::Null))
    }

    /// The mapping, if it is one.
    pub(super) fn branch(self) -> Option<&'a Tree> {
        match &self.entry.node {
            Node::Branch(tree) => Some(tree),
            Node::Leaf(_) => None,
        }
    }

    /// The value, in the keys' own spelling.
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
