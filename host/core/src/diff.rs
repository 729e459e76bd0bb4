//! Computes the minimal RFC 6902 patch from one JSON document to another.
//!
//! Lists are compared as Kubernetes does: elements with the same `name` are the same element at any
//! index. A variable at the front of `env` is one `add`, and the patch contains no other variable's
//! value.

use std::{collections::HashMap, hash::Hash, mem::take};

use json_patch::{AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation, jsonptr::PointerBuf};
use serde_json::{Map, Value};
use similar::{Algorithm, DiffOp};

/// Initial capacity of a path in bytes. A longer path causes a second allocation.
const PATH_CAPACITY: usize = 64;

/// Returns the patch that turns `before` into `after`.
///
/// `json_patch::patch(before, &diff(before, after))` yields `after`. Equal documents yield an empty
/// patch, and the same two documents always yield the same bytes. Equal parts are absent from the
/// patch; different parts are moved into it.
#[must_use]
pub fn diff(before: &Value, mut after: Value) -> Patch {
    let mut differ = Differ::default();
    differ.value(before, &mut after);
    differ.finish()
}

/// Collects the operations of a patch. Different parts are moved out of the new document.
#[derive(Default)]
pub(crate) struct Differ<'d> {
    path: Vec<Step<'d>>,
    operations: Vec<PatchOperation>,
}

/// A segment of a path.
#[derive(Clone, Copy)]
pub(crate) enum Step<'d> {
    Key(&'d str),
    Index(usize),
}

// === impl Differ ===

impl<'d> Differ<'d> {
    pub(crate) fn finish(self) -> Patch {
        Patch(self.operations)
    }

    /// Runs `work` with the path extended by `step`.
    pub(crate) fn at(&mut self, step: Step<'d>, work: impl FnOnce(&mut Self)) {
        self.path.push(step);
        work(self);
        self.path.pop();
    }

    pub(crate) fn value(&mut self, before: &'d Value, after: &'d mut Value) {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => self.object(before, after),
            (before, after) if before == after => {}
            (Value::Array(before), Value::Array(after)) => self.array(before, after),
            (before, after) => self.put(Some(before), after.take()),
        }
    }

    pub(crate) fn object(&mut self, before: &'d Map<String, Value>, after: &'d mut Map<String, Value>) {
        for key in before.keys().filter(|key| !after.contains_key(*key)) {
            self.at(Step::Key(key), Self::remove);
        }
        for (key, value) in after {
            self.at(Step::Key(key), |differ| match before.get(key) {
                Some(old) => differ.value(old, value),
                None => differ.put(None, value.take()),
            });
        }
    }

    /// Compares two lists. Operations run in order, so that an index refers to the new list: all
    /// elements before it are final.
    ///
    /// Equal elements at both ends need no search, and most edits append or prepend.
    pub(crate) fn array(&mut self, before: &'d [Value], after: &'d mut [Value]) {
        let by_name = names(before).is_some() && names(after).is_some();
        let is_same = |old: &Value, new: &Value| are_same_element(old, new, by_name);
        let head = before.iter().zip(&*after).take_while(|(old, new)| is_same(old, new)).count();
        let (old_head, old) = before.split_at(head);
        let (new_head, new) = after.split_at_mut(head);
        let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(old, new)| is_same(old, new)).count();
        let (old, old_tail) = old.split_at(old.len() - tail);
        let (new, new_tail) = new.split_at_mut(new.len() - tail);
        let tail_index = head + new.len();
        self.elements(old_head, new_head, 0);
        match (old, new) {
            ([], new) => self.add_elements(new, head),
            (old, []) => self.remove_elements(head, old.len()),
            (old, new) => self.edit_script(old, new, head),
        }
        self.elements(old_tail, new_tail, tail_index);
    }

    /// Adds the shortest edit script from one list to the other. The lists begin at index `start`.
    fn edit_script(&mut self, before: &'d [Value], after: &'d mut [Value], start: usize) {
        let (old_ids, new_ids) = identities(before, after);
        let mut rest = after;
        for op in similar::capture_diff_slices(Algorithm::Myers, &old_ids, &new_ids) {
            let old = &before[op.old_range()];
            let (new, remaining) = take(&mut rest).split_at_mut(op.new_range().len());
            rest = remaining;
            let index = start + op.new_range().start;
            let common = match op {
                DiffOp::Equal { .. } | DiffOp::Replace { .. } => old.len().min(new.len()),
                DiffOp::Delete { .. } | DiffOp::Insert { .. } => 0,
            };
            let (changed, added) = new.split_at_mut(common);
            self.elements(&old[..common], changed, index);
            self.remove_elements(index + common, old.len() - common);
            self.add_elements(added, index + common);
        }
    }

    fn elements(&mut self, before: &'d [Value], after: &'d mut [Value], index: usize) {
        for (i, (before, after)) in before.iter().zip(after).enumerate() {
            self.at(Step::Index(index + i), |differ| differ.value(before, after));
        }
    }

    pub(crate) fn add_elements(&mut self, values: &mut [Value], index: usize) {
        for (i, value) in values.iter_mut().enumerate() {
            self.at(Step::Index(index + i), |differ| differ.put(None, value.take()));
        }
    }

    fn remove_elements(&mut self, index: usize, count: usize) {
        for _ in 0..count {
            self.at(Step::Index(index), Self::remove);
        }
    }

    /// Adds a value at the current path, or replaces `before` with it.
    pub(crate) fn put(&mut self, before: Option<&Value>, value: Value) {
        let path = self.pointer();
        self.operations.push(match before {
            None => PatchOperation::Add(AddOperation { path, value }),
            Some(_) => PatchOperation::Replace(ReplaceOperation { path, value }),
        });
    }

    pub(crate) fn remove(&mut self) {
        let path = self.pointer();
        self.operations.push(PatchOperation::Remove(RemoveOperation { path }));
    }

    fn pointer(&self) -> PointerBuf {
        let empty = String::with_capacity(PATH_CAPACITY);
        let mut pointer = PointerBuf::parse(empty).expect("the empty pointer is valid");
        for step in &self.path {
            match *step {
                Step::Key(key) => pointer.push_back(key),
                Step::Index(index) => pointer.push_back(index),
            }
        }
        pointer
    }
}

fn name(element: &Value) -> Option<&str> {
    element.get("name")?.as_str()
}

fn are_same_element(old: &Value, new: &Value, by_name: bool) -> bool {
    if by_name { name(old) == name(new) } else { old == new }
}

/// Returns a number per element, equal for the same element in both lists. Elements are identified
/// by name if all names are unique, and by content otherwise.
fn identities(before: &[Value], after: &[Value]) -> (Vec<usize>, Vec<usize>) {
    if let (Some(old), Some(new)) = (names(before), names(after)) {
        number_keys(&old, &new)
    } else {
        number_keys(&before.iter().collect::<Vec<_>>(), &after.iter().collect::<Vec<_>>())
    }
}

/// Returns the names of all elements; `None` if a name is missing or repeated.
fn names(elements: &[Value]) -> Option<Vec<&str>> {
    let names = elements.iter().map(name).collect::<Option<Vec<_>>>()?;
    let mut sorted = names.clone();
    sorted.sort_unstable();
    let is_unique = sorted.windows(2).all(|pair| pair[0] != pair[1]);
    is_unique.then_some(names)
}

fn number_keys<T: Hash + Eq>(before: &[T], after: &[T]) -> (Vec<usize>, Vec<usize>) {
    let mut numbers = HashMap::new();
    let mut number = |key| {
        let next = numbers.len();
        *numbers.entry(key).or_insert(next)
    };
    (before.iter().map(&mut number).collect(), after.iter().map(&mut number).collect())
}
