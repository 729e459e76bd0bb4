//! The minimal RFC 6902 patch from one JSON document to another.
//!
//! Lists are compared as Kubernetes means them: elements with a `name` are the same element wherever they stand, so a
//! variable put at the front of `env` is one `add`, and no other variable's value enters the patch.

use std::{collections::HashMap, hash::Hash, mem::take};

use json_patch::{
    AddOperation, Patch, PatchOperation, RemoveOperation, ReplaceOperation,
    jsonptr::{PointerBuf, Token},
};
use serde_json::{Map, Value};
use similar::{Algorithm, DiffOp};

/// Bytes of a path; a longer one is allocated twice.
const USUAL_PATH: usize = 64;

/// The patch that turns `before` into `after`.
///
/// `json_patch::patch(before, &diff(before, after))` gives `after`; equal documents give an empty patch; the same two
/// documents give the same patch to the byte. What is equal in both appears nowhere in it; what is not moves into it.
#[must_use]
pub fn diff(before: &Value, mut after: Value) -> Patch {
    let mut differ = Differ::default();
    differ.value(before, &mut after);
    differ.finish()
}

/// Gathers the operations of a patch. What is not equal is taken out of the document that is to be.
#[derive(Default)]
pub(crate) struct Differ<'d> {
    path: Vec<Step<'d>>,
    operations: Vec<PatchOperation>,
}

/// One of a path's.
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

    /// Does what is to be done below the current place.
    pub(crate) fn at(&mut self, step: Step<'d>, work: impl FnOnce(&mut Self)) {
        self.path.push(step);
        work(self);
        self.path.pop();
    }

    fn value(&mut self, before: &'d Value, after: &'d mut Value) {
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

    /// Operations run one after the other, so an index is always that of the new list: what stands before it is done.
    ///
    /// What is the same element at both ends needs no search, and edits mostly append or prepend.
    pub(crate) fn array(&mut self, before: &'d [Value], after: &'d mut [Value]) {
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
    fn edit_script(&mut self, before: &'d [Value], after: &'d mut [Value], start: usize) {
        let (old, new) = identities(before, after);
        let mut rest = after;
        for op in similar::capture_diff_slices(Algorithm::Myers, &old, &new) {
            let old = &before[op.old_range()];
            let (new, others) = take(&mut rest).split_at_mut(op.new_range().len());
            rest = others;
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

    /// Puts a value where there is this one or none.
    pub(crate) fn put(&mut self, before: Option<&Value>, value: Value) {
        let path = self.place();
        self.operations.push(match before {
            None => PatchOperation::Add(AddOperation { path, value }),
            Some(_) => PatchOperation::Replace(ReplaceOperation { path, value }),
        });
    }

    fn remove(&mut self) {
        self.operations.push(PatchOperation::Remove(RemoveOperation { path: self.place() }));
    }

    fn place(&self) -> PointerBuf {
        let mut pointer = String::with_capacity(USUAL_PATH);
        for step in &self.path {
            pointer.push('/');
            match *step {
                Step::Key(key) => pointer.push_str(Token::from(key).encoded()),
                Step::Index(index) => pointer.push_str(&index.to_string()),
            }
        }
        PointerBuf::parse(pointer).expect("made of encoded tokens")
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
