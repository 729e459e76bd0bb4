//! A list of a pod during its mutation: [`EditedList`], the received list plus additions at its
//! ends.
//!
//! Most edits add elements at an end. The received elements are then neither copied nor compared.

use std::{borrow::Cow, mem::take};

use serde_json::Value;

use crate::diff::{Differ, Step};

/// A list after some edits.
#[derive(Default)]
pub(crate) struct EditedList<'a> {
    /// The received list, or a copy that edits changed.
    base: Cow<'a, [Value]>,
    front: Vec<Value>,
    back: Vec<Value>,
}

// === impl EditedList ===

impl<'a> EditedList<'a> {
    pub(super) fn received(list: &'a [Value]) -> Self {
        Self { base: Cow::Borrowed(list), ..Self::default() }
    }

    /// Wraps a list that edits add as a whole.
    pub(super) fn added(list: Vec<Value>) -> Self {
        Self { back: list, ..Self::default() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.front.iter().chain(&*self.base).chain(&self.back)
    }

    /// Returns the element with this name.
    pub(super) fn named(&self, name: &str) -> Option<&Value> {
        self.iter().find(|element| element["name"] == name)
    }

    pub(super) fn append(&mut self, value: Value) {
        self.back.push(value);
    }

    pub(super) fn prepend(&mut self, value: Value) {
        self.front.insert(0, value);
    }

    /// Returns the whole list, for changes that are not at an end.
    pub(super) fn to_mut(&mut self) -> &mut Vec<Value> {
        let list = self.base.to_mut();
        list.splice(0..0, self.front.drain(..));
        list.append(&mut self.back);
        list
    }

    pub(super) fn into_values(mut self) -> Vec<Value> {
        take(self.to_mut())
    }

    /// Adds the operations that turn the list `key` of `parent` into this one.
    pub(super) fn compare<'d>(&'d mut self, differ: &mut Differ<'d>, parent: &'d Value, key: &'static str) {
        let is_copy = matches!(self.base, Cow::Owned(_));
        if !is_copy && self.front.is_empty() && self.back.is_empty() {
            return;
        }
        differ.at(Step::Key(key), |differ| match parent.get(key) {
            Some(Value::Array(before)) if is_copy => differ.array(before, self.to_mut()),
            Some(Value::Array(before)) => {
                let end = self.front.len() + before.len();
                differ.add_elements(&mut self.front, 0);
                differ.add_elements(&mut self.back, end);
            }
            before => differ.put(before, Value::Array(take(self).into_values())),
        });
    }
}
