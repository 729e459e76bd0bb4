//! [`KeyIndex`]: finds the elements of a long list by a key, such as their name.
//!
//! The author of a pod chooses both the length of a list and the number of edits. With a scan for
//! each edit, the time would be their product.

use std::{cell::OnceCell, collections::HashMap};

use serde_json::Value;

/// The place of an element in an edited list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ElementPosition {
    /// In the front, counted from its end: the last one is the first element of the list.
    Front(usize),
    /// In the received list.
    Received(usize),
    /// In the back.
    Back(usize),
}

/// The key of an element that a search compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListKey {
    /// Its `name`.
    Name,
    /// Its `mountPath`, without trailing slashes.
    MountPath,
}

/// The positions of elements by one key, in the order of the list. The first search builds it.
#[derive(Default)]
pub(super) struct KeyIndex(OnceCell<Box<IndexedPositions>>);

type IndexedPositions = HashMap<String, Vec<ElementPosition>>;

// === impl ListKey ===

impl ListKey {
    /// Returns the key of an element; `None` if it has none.
    pub(super) fn read(self, element: &Value) -> Option<&str> {
        match self {
            Self::Name => element["name"].as_str(),
            Self::MountPath => element["mountPath"].as_str().map(normalized_path),
        }
    }
}

// === impl KeyIndex ===

impl KeyIndex {
    /// Returns the positions with this value of the key. `elements` lists the elements for the
    /// first search.
    pub(super) fn find<'v>(
        &self,
        key: ListKey,
        wanted: &str,
        elements: impl Iterator<Item = (ElementPosition, &'v Value)>,
    ) -> &[ElementPosition] {
        let index = self.0.get_or_init(|| {
            let mut index = Box::<IndexedPositions>::default();
            for (position, element) in elements {
                if let Some(found) = key.read(element) {
                    index.entry(found.to_owned()).or_default().push(position);
                }
            }
            index
        });
        index.get(wanted).map_or(&[], Vec::as_slice)
    }

    /// Adds an element at an end of the list.
    pub(super) fn add(&mut self, key: ListKey, position: ElementPosition, element: &Value) {
        let Some(index) = self.0.get_mut() else { return };
        let Some(found) = key.read(element) else { return };
        let positions = index.entry(found.to_owned()).or_default();
        match position {
            ElementPosition::Front(_) => positions.insert(0, position),
            ElementPosition::Received(_) | ElementPosition::Back(_) => positions.push(position),
        }
    }

    /// Removes all elements with this value of the key.
    pub(super) fn remove(&mut self, wanted: &str) {
        if let Some(index) = self.0.get_mut() {
            index.remove(wanted);
        }
    }
}

/// Returns a mount path without trailing slashes.
pub(super) fn normalized_path(path: &str) -> &str {
    path.trim_end_matches('/')
}
