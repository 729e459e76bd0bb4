//! [`EditDifference`]: what two answers would change differently in a pod, in words of this
//! program.
//!
//! Names and values of edits are texts of a plugin, so that a difference has neither.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::PodEdit;

/// Edits of one kind that differ between the served and another answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EditDifference {
    /// The kind of the edits, such as `variable`.
    pub edit: &'static str,
    /// How they differ.
    pub change: EditChange,
    /// The number of edits.
    pub count: usize,
}

/// How an edit of another answer differs from the served one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EditChange {
    /// Only the served answer has an edit of this name.
    Missing,
    /// Only the other answer has an edit of this name.
    Additional,
    /// Both answers have an edit of this name, with different contents.
    Changed,
}

// === impl EditDifference ===

impl EditDifference {
    /// Compares the edits of two answers. Empty if they differ in the order only.
    pub(crate) fn all(served: &[PodEdit], other: &[PodEdit]) -> Vec<Self> {
        let mut left: HashMap<_, VecDeque<&PodEdit>> = HashMap::new();
        for edit in served {
            left.entry(identity(edit)).or_default().push_back(edit);
        }
        let mut counts = BTreeMap::new();
        let mut count = |kind, change| *counts.entry((kind, change)).or_default() += 1;
        for edit in other {
            let identity = identity(edit);
            match left.get_mut(&identity).and_then(VecDeque::pop_front) {
                None => count(identity.0, EditChange::Additional),
                Some(same) if same == edit => {}
                Some(_) => count(identity.0, EditChange::Changed),
            }
        }
        for ((kind, _), edits) in left {
            edits.iter().for_each(|_| count(kind, EditChange::Missing));
        }
        counts.into_iter().map(|((edit, change), count)| Self { edit, change, count }).collect()
    }
}

/// The kind of an edit, and the name that identifies what it changes.
fn identity(edit: &PodEdit) -> (&'static str, &str) {
    match edit {
        PodEdit::SetEnv(env) => ("variable", &env.name),
        PodEdit::AddVolume(volume) => ("volume", &volume.name),
        PodEdit::MountVolume(mount) => ("mount", &mount.path),
        PodEdit::AddInitContainer(container) => ("init-container", &container.name),
        PodEdit::SetAnnotation(annotation) => ("annotation", &annotation.key),
        PodEdit::AddImagePullSecret(name) => ("image-pull-secret", name),
        PodEdit::WriteFile(file) => ("file", &file.path),
        PodEdit::AddPullSecretValue(_) => ("image-pull-secret", ""),
        PodEdit::SetEnvFrom(source) => ("variables", &source.secret),
    }
}

// === impl EditChange ===

impl EditChange {
    /// Returns the word for the console.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Additional => "additional",
            Self::Changed => "changed",
        }
    }
}
