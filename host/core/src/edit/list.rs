//! A list of a pod during its mutation: [`EditedList`], the received list plus additions at its
//! ends.
//!
//! The received elements are neither copied nor compared, apart from the few that an edit changes.

use std::{collections::BTreeMap, mem::take};

use serde_json::Value;

use super::index::{ElementPosition, KeyIndex, ListKey};
use crate::diff::{Differ, Step};

/// Elements up to which a scan is faster than an index.
const MAX_SCANNED: usize = 32;
/// Elements up to which the patch of a list with removed elements is the shortest one. The search
/// for it takes the product of the elements and of the changes.
const MAX_COMPARED: usize = 256;

/// A list after some edits.
#[derive(Default)]
pub(crate) struct EditedList<'a> {
    received: &'a [Value],
    /// The received elements that edits changed or, for `None`, removed.
    changed: BTreeMap<usize, Option<Value>>,
    /// The elements before the received ones, in reverse order; `None` if removed again.
    front: Vec<Option<Value>>,
    /// The elements after the received ones; `None` if removed again.
    back: Vec<Option<Value>>,
    by_name: KeyIndex,
    by_mount_path: KeyIndex,
    /// The whole list, while the patch is computed.
    merged: Vec<Value>,
}

// === impl EditedList ===

impl<'a> EditedList<'a> {
    pub(super) fn received(received: &'a [Value]) -> Self {
        Self { received, ..Self::default() }
    }

    /// Wraps a list that edits add as a whole.
    pub(super) fn added(list: Vec<Value>) -> Self {
        Self { back: list.into_iter().map(Some).collect(), ..Self::default() }
    }

    /// An upper bound of the number of elements.
    pub(super) fn len(&self) -> usize {
        self.front.len() + self.received.len() + self.back.len()
    }

    /// Returns all elements in their order.
    pub(super) fn values(&self) -> impl Iterator<Item = &Value> {
        self.entries().map(|(_, value)| value)
    }

    /// Returns the first element with this name.
    pub(super) fn named(&self, name: &str) -> Option<&Value> {
        self.first(ListKey::Name, name).and_then(|position| self.get(position))
    }

    /// Returns all elements with this name, in their order.
    pub(super) fn all_named(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.all(ListKey::Name, name).into_iter().filter_map(|position| self.get(position))
    }

    /// Returns the elements that edits added at the ends.
    pub(super) fn additions(&self) -> impl Iterator<Item = &Value> {
        self.front.iter().chain(&self.back).flatten()
    }

    /// Returns each element that edits changed, as received and as it is now.
    pub(super) fn changes(&self) -> impl Iterator<Item = (&Value, &Value)> {
        let changed = self.changed.iter().filter_map(|(i, element)| Some((i, element.as_ref()?)));
        changed.filter_map(|(i, element)| Some((self.received.get(*i)?, element)))
    }

    /// Returns the number of elements with this name.
    pub(super) fn count_named(&self, name: &str) -> usize {
        if self.len() <= MAX_SCANNED {
            return self.entries().filter(|(_, element)| ListKey::Name.read(element) == Some(name)).count();
        }
        self.by_name.find(ListKey::Name, name, self.entries()).len()
    }

    /// Returns the element that is mounted at a path.
    pub(super) fn mounted_at(&self, path: &str) -> Option<&Value> {
        self.first(ListKey::MountPath, path).and_then(|position| self.get(position))
    }

    pub(super) fn append(&mut self, value: Value) {
        self.add(ElementPosition::Back(self.back.len()), value);
    }

    pub(super) fn prepend(&mut self, value: Value) {
        self.add(ElementPosition::Front(self.front.len()), value);
    }

    /// Replaces the elements with this name for which the condition holds. The new element has the
    /// same name and no mount path.
    pub(super) fn replace_named(&mut self, name: &str, is_wanted: impl Fn(&Value) -> bool, new: &Value) {
        for position in self.all(ListKey::Name, name) {
            if !self.get(position).is_some_and(&is_wanted) {
                continue;
            }
            match position {
                ElementPosition::Front(i) => self.front[i] = Some(new.clone()),
                ElementPosition::Received(i) => _ = self.changed.insert(i, Some(new.clone())),
                ElementPosition::Back(i) => self.back[i] = Some(new.clone()),
            }
        }
    }

    /// Removes all elements with this name.
    pub(super) fn remove_named(&mut self, name: &str) {
        for position in self.all(ListKey::Name, name) {
            match position {
                ElementPosition::Front(i) => self.front[i] = None,
                ElementPosition::Received(i) => _ = self.changed.insert(i, None),
                ElementPosition::Back(i) => self.back[i] = None,
            }
        }
        self.by_name.remove(name);
        self.by_mount_path = KeyIndex::default();
    }

    /// Removes all elements with such names.
    pub(super) fn remove_all_named(&mut self, is_such: impl Fn(&str) -> bool) {
        let names = self.entries().filter_map(|(_, element)| ListKey::Name.read(element));
        let names: Vec<_> = names.filter(|name| is_such(name)).map(str::to_owned).collect();
        for name in names {
            self.remove_named(&name);
        }
    }

    /// Returns the first element with this name, to change anything but its keys.
    pub(super) fn named_mut(&mut self, name: &str) -> Option<&mut Value> {
        match self.first(ListKey::Name, name)? {
            ElementPosition::Front(i) => self.front[i].as_mut(),
            ElementPosition::Received(i) => {
                self.changed.entry(i).or_insert_with(|| Some(self.received[i].clone())).as_mut()
            }
            ElementPosition::Back(i) => self.back[i].as_mut(),
        }
    }

    pub(super) fn into_values(mut self) -> Vec<Value> {
        self.merge();
        self.merged
    }

    /// Adds the operations that turn the list `key` of `parent` into this one.
    pub(super) fn compare<'d>(&'d mut self, differ: &mut Differ<'d>, parent: &'d Value, key: &'static str)
    where
        'a: 'd,
    {
        if self.changed.is_empty() && self.front.is_empty() && self.back.is_empty() {
            return;
        }
        differ.at(Step::Key(key), |differ| match parent.get(key) {
            Some(Value::Array(_)) => self.compare_elements(differ),
            before => differ.put(before, Value::Array(take(self).into_values())),
        });
    }

    fn compare_elements<'d>(&'d mut self, differ: &mut Differ<'d>)
    where
        'a: 'd,
    {
        if self.changed.is_empty() {
            return self.add_ends(differ, 0, self.received.len());
        }
        if self.len() > MAX_COMPARED {
            return self.compare_changed(differ);
        }
        self.merge();
        differ.array(self.received, &mut self.merged);
    }

    /// Adds an operation for each element that edits removed, changed or added.
    ///
    /// An edit may remove an element and add the same one to the front. At the start of the list,
    /// where a second review finds all of them, both are omitted.
    fn compare_changed<'d>(&'d mut self, differ: &mut Differ<'d>)
    where
        'a: 'd,
    {
        self.front.retain(Option::is_some);
        let is_moved = |i: &usize, element: &Option<Value>| {
            matches!(self.changed.get(i), Some(None)) && element.as_ref() == self.received.get(*i)
        };
        let same = self.front.iter().rev().enumerate().take_while(|(i, element)| is_moved(i, element)).count();
        self.front.truncate(self.front.len() - same);
        self.changed.retain(|i, element| element.is_some() || *i >= same);
        let mut removed = 0;
        let received = self.received;
        for (&i, element) in self.changed.iter_mut().rev() {
            differ.at(Step::Index(i), |differ| match element {
                Some(element) => differ.value(&received[i], element),
                None => {
                    removed += 1;
                    differ.remove();
                }
            });
        }
        Self::add_all(differ, self.front.iter_mut().rev(), same);
        let end = received.len() - removed + self.front.len();
        Self::add_all(differ, self.back.iter_mut(), end);
    }

    /// Adds the front at an index, and the back after `kept` received elements.
    fn add_ends(&mut self, differ: &mut Differ<'_>, start: usize, kept: usize) {
        let front = Self::add_all(differ, self.front.iter_mut().rev(), start);
        Self::add_all(differ, self.back.iter_mut(), front + kept);
    }

    /// Adds elements from an index on, and returns the index after them.
    fn add_all<'v>(
        differ: &mut Differ<'_>,
        values: impl Iterator<Item = &'v mut Option<Value>>,
        start: usize,
    ) -> usize {
        let mut index = start;
        for value in values.filter_map(Option::take) {
            differ.at(Step::Index(index), |differ| differ.put(None, value));
            index += 1;
        }
        index
    }

    /// Moves all elements into one list.
    fn merge(&mut self) {
        let mut merged = Vec::with_capacity(self.len());
        merged.extend(take(&mut self.front).into_iter().rev().flatten());
        for (i, element) in self.received.iter().enumerate() {
            match self.changed.remove(&i) {
                None => merged.push(element.clone()),
                Some(changed) => merged.extend(changed),
            }
        }
        merged.extend(take(&mut self.back).into_iter().flatten());
        self.merged = merged;
    }

    fn add(&mut self, position: ElementPosition, value: Value) {
        self.by_name.add(ListKey::Name, position, &value);
        self.by_mount_path.add(ListKey::MountPath, position, &value);
        match position {
            ElementPosition::Front(_) => self.front.push(Some(value)),
            ElementPosition::Received(_) | ElementPosition::Back(_) => self.back.push(Some(value)),
        }
    }

    fn first(&self, key: ListKey, wanted: &str) -> Option<ElementPosition> {
        if self.len() <= MAX_SCANNED {
            return self.scan(key, wanted);
        }
        self.index(key).find(key, wanted, self.entries()).first().copied()
    }

    /// Returns the same as [`EditedList::first`], for a short list.
    fn scan(&self, key: ListKey, wanted: &str) -> Option<ElementPosition> {
        let is_wanted =
            |element: &Option<Value>| element.as_ref().and_then(|element| key.read(element)) == Some(wanted);
        if let Some(i) = self.front.iter().rposition(is_wanted) {
            return Some(ElementPosition::Front(i));
        }
        let is_received = |i: usize, element: &Value| key.read(element) == Some(wanted) && self.is_kept(i);
        let mut received = self.received.iter().enumerate();
        if let Some((i, _)) = received.find(|(i, element)| is_received(*i, element)) {
            return Some(ElementPosition::Received(i));
        }
        self.back.iter().position(is_wanted).map(ElementPosition::Back)
    }

    /// Whether no edit removed a received element. No edit changes its keys.
    fn is_kept(&self, i: usize) -> bool {
        !matches!(self.changed.get(&i), Some(None))
    }

    fn all(&self, key: ListKey, wanted: &str) -> Vec<ElementPosition> {
        if self.len() <= MAX_SCANNED {
            let found = self.entries().filter(|(_, element)| key.read(element) == Some(wanted));
            return found.map(|(position, _)| position).collect();
        }
        self.index(key).find(key, wanted, self.entries()).to_vec()
    }

    fn index(&self, key: ListKey) -> &KeyIndex {
        match key {
            ListKey::Name => &self.by_name,
            ListKey::MountPath => &self.by_mount_path,
        }
    }

    /// Returns all elements in their order.
    fn entries(&self) -> impl Iterator<Item = (ElementPosition, &Value)> {
        let front =
            self.front.iter().enumerate().rev().map(|(i, element)| (ElementPosition::Front(i), element.as_ref()));
        let received = (0..self.received.len()).map(|i| (ElementPosition::Received(i), self.received_element(i)));
        let back = self.back.iter().enumerate().map(|(i, element)| (ElementPosition::Back(i), element.as_ref()));
        let all = front.chain(received).chain(back);
        all.filter_map(|(position, element)| Some((position, element?)))
    }

    fn get(&self, position: ElementPosition) -> Option<&Value> {
        match position {
            ElementPosition::Front(i) => self.front[i].as_ref(),
            ElementPosition::Received(i) => self.received_element(i),
            ElementPosition::Back(i) => self.back[i].as_ref(),
        }
    }

    fn received_element(&self, i: usize) -> Option<&Value> {
        match self.changed.get(&i) {
            None => self.received.get(i),
            Some(changed) => changed.as_ref(),
        }
    }
}
