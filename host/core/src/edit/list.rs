//! A list of the pod's in the making: [`EditedList`], as it arrived, with what edits put at its ends.
//!
//! Nearly all edits put something at an end: what arrived is neither copied nor compared then.

use std::{borrow::Cow, mem::take};

use serde_json::Value;

use crate::diff::{Differ, Step};

/// A list, and what edits made of it.
#[derive(Default)]
pub(crate) struct EditedList<'a> {
    /// As it arrived; or a copy that edits wrote to.
    base: Cow<'a, [Value]>,
    front: Vec<Value>,
    back: Vec<Value>,
}

// === impl EditedList ===

impl<'a> EditedList<'a> {
    pub(super) fn arrived(list: &'a [Value]) -> Self {
        Self { base: Cow::Borrowed(list), ..Self::default() }
    }

    /// One that did not arrive.
    pub(super) fn added(list: Vec<Value>) -> Self {
        Self { back: list, ..Self::default() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Value> {
        self.front.iter().chain(&*self.base).chain(&self.back)
    }

    /// The element with that name.
    pub(super) fn named(&self, name: &str) -> Option<&Value> {
        self.iter().find(|element| element["name"] == name)
    }

    pub(super) fn append(&mut self, value: Value) {
        self.back.push(value);
    }

    pub(super) fn prepend(&mut self, value: Value) {
        self.front.insert(0, value);
    }

    /// All of it, for changes that are not at an end.
    pub(super) fn to_mut(&mut self) -> &mut Vec<Value> {
        let Self { base, front, back } = self;
        let list = base.to_mut();
        list.splice(0..0, front.drain(..));
        list.append(back);
        list
    }

    pub(super) fn into_values(mut self) -> Vec<Value> {
        take(self.to_mut())
    }

    /// What turns the list `key` of `parent` into this one.
    pub(super) fn compare<'d>(&'d mut self, differ: &mut Differ<'d>, parent: &'d Value, key: &'static str) {
        let is_copy = matches!(self.base, Cow::Owned(_));
        if !is_copy && self.front.is_empty() && self.back.is_empty() {
            return;
        }
        differ.at(Step::Key(key), |differ| match parent.get(key) {
            Some(Value::Array(before)) if is_copy => differ.array(before, self.to_mut()),
            Some(Value::Array(before)) => {
                let at_end = self.front.len() + before.len();
                differ.add_elements(&mut self.front, 0);
                differ.add_elements(&mut self.back, at_end);
            }
            before => differ.put(before, Value::Array(take(self).into_values())),
        });
    }
}
