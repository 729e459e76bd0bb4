//! The minimal RFC 6902 patch from one JSON document to another.
//!
//! Lists are compared as Kubernetes means them: elements with a `name` are the same element wherever they stand, so a
//! variable put at the front of `env` is one `add`, and no other variable's value enters the patch.

use std::{collections::HashMap, hash::Hash};

use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation,
    jsonptr::{PointerBuf, Token},
};
use serde_json::{Map, Value};
use similar::{Algorithm, DiffOp};

/// The patch that turns `before` into `after`.
///
/// `json_patch::patch(before, &diff(before, after))` gives `after`; equal documents give an empty patch; the same two
/// documents give the same patch to the byte. What is equal in both appears nowhere in it; what is not moves into it.
#[must_use]
pub fn diff(before: &Value, mut after: Value) -> Patch {
    let mut differ = Differ::default();
    differ.value(before, &mut after);
    Patch(differ.operations)
}

#[derive(Default)]
struct Differ {
    path: PointerBuf,
    operations: Vec<PatchOperation>,
}

// === impl Differ ===

impl Differ {
    /// What is not equal is taken out of `after`.
    fn value(&mut self, before: &Value, after: &mut Value) {
        match (before, after) {
            (before, after) if before == after => {}
            (Value::Object(before), Value::Object(after)) => self.object(before, after),
            (Value::Array(before), Value::Array(after)) => self.array(before, after),
            (_, after) => self.replace(after),
        }
    }

    fn object(&mut self, before: &Map<String, Value>, after: &mut Map<String, Value>) {
        for key in before.keys().filter(|key| !after.contains_key(*key)) {
            self.at(key.as_str(), Self::remove);
        }
        for (key, value) in after {
            self.at(key.as_str(), |differ| match before.get(key) {
                Some(old) => differ.value(old, value),
                None => differ.add(value),
            });
        }
    }

    /// Operations run one after the other, so an index is always that of the new list: what stands before it is done.
    ///
    /// What is the same element at both ends needs no search, and edits mostly append or prepend.
    fn array(&mut self, before: &[Value], after: &mut [Value]) {
        let by_name = names(before).is_some() && names(after).is_some();
        let same = |old: &Value, new: &Value| if by_name { name(old) == name(new) } else { old == new };
        let head = before.iter().zip(&*after).take_while(|(old, new)| same(old, new)).count();
        let (old_head, old) = before.split_at(head);
        let (new_head, new) = after.split_at_mut(head);
        let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| same(old, new)).count();
        let (old, old_tail) = old.split_at(old.len() - tail);
        let (new, new_tail) = new.split_at_mut(new.len() - tail);
        let tail_at = head + new.len();
        self.elements(old_head, new_head, 0);
        match (old, new) {
            ([], new) => self.add_elements(new, head),
            (old, []) => self.remove_elements(head, old.len()),
            (old, new) => self.edit_script(old, new, head),
        }
        self.elements(old_tail, new_tail, tail_at);
    }

    /// The shortest way from one list to the other, for elements from `start` on.
    fn edit_script(&mut self, before: &[Value], after: &mut [Value], start: usize) {
        let (old, new) = identities(before, after);
        for op in similar::capture_diff_slices(Algorithm::Myers, &old, &new) {
            let (old, new) = (&before[op.old_range()], &mut after[op.new_range()]);
            let index = start + op.new_range().start;
            let both = match op {
                DiffOp::Equal { .. } | DiffOp::Replace { .. } => old.len().min(new.len()),
                DiffOp::Delete { .. } | DiffOp::Insert { .. } => 0,
            };
            let (new, added) = new.split_at_mut(both);
            self.elements(&old[..both], new, index);
            self.remove_elements(index + both, old.len() - both);
            self.add_elements(added, index + both);
        }
    }

    fn elements(&mut self, before: &[Value], after: &mut [Value], index: usize) {
        for (i, (before, after)) in before.iter().zip(after).enumerate() {
            self.at(index + i, |differ| differ.value(before, after));
        }
    }

    fn add_elements(&mut self, values: &mut [Value], index: usize) {
        for (i, value) in values.iter_mut().enumerate() {
            self.at(index + i, |differ| differ.add(value));
        }
    }

    fn remove_elements(&mut self, index: usize, count: usize) {
        for _ in 0..count {
            self.at(index, Self::remove);
        }
    }

    fn at<'t>(&mut self, token: impl Into<Token<'t>>, work: impl FnOnce(&mut Self)) {
        self.path.push_back(token);
        work(self);
        self.path.pop_back();
    }

    fn add(&mut self, value: &mut Value) {
        let operation = AddOperation { path: self.path.clone(), value: value.take() };
        self.operations.push(PatchOperation::Add(operation));
    }

    fn replace(&mut self, value: &mut Value) {
        let operation = ReplaceOperation { path: self.path.clone(), value: value.take() };
        self.operations.push(PatchOperation::Replace(operation));
    }

    fn remove(&mut self) {
        self.operations.push(PatchOperation::Remove(RemoveOperation { path: self.path.clone() }));
    }
}

fn name(element: &Value) -> Option<&str> {
    element.get("name")?.as_str()
}

/// A number per element, equal for elements that are the same one: by name where every name is there once, else by content.
fn identities(before: &[Value], after: &[Value]) -> (Vec<usize>, Vec<usize>) {
    if let (Some(old), Some(new)) = (names(before), names(after)) {
        numbered(&old, &new)
    } else {
        numbered(&before.iter().collect::<Vec<_>>(), &after.iter().collect::<Vec<_>>())
    }
}

/// The names of all elements, if each has one and no two the same.
fn names(elements: &[Value]) -> Option<Vec<&str>> {
    let names = elements.iter().map(name).collect::<Option<Vec<_>>>()?;
    let mut sorted = names.clone();
    sorted.sort_unstable();
    let distinct = sorted.windows(2).all(|pair| pair[0] != pair[1]);
    distinct.then_some(names)
}

fn numbered<T: Hash + Eq>(before: &[T], after: &[T]) -> (Vec<usize>, Vec<usize>) {
    let mut numbers = HashMap::new();
    let mut number = |key| {
        let next = numbers.len();
        *numbers.entry(key).or_insert(next)
    };
    (before.iter().map(&mut number).collect(), after.iter().map(&mut number).collect())
}
