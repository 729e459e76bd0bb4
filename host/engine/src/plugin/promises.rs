//! [`PromiseValues`]: the values of the promises of one answer.
//!
//! An answer has promises only. Its values are found for each pod.

use ampoule_core::{PluginObserver, PodEdit, SecretValue, ValueOrigin};

use super::{
    failure::Failure,
    values::{FetchPlace, ValueCache},
};
use crate::sandbox::{
    answer::{PlannedEdit, PromiseUse},
    limits::{ExceededLimit, VALUE_BYTES},
};

/// Values by their promises. Equal promises have one value.
#[derive(Default)]
pub(crate) struct PromiseValues {
    values: Vec<(String, SecretValue)>,
    bytes: usize,
}

/// The promises that are fetched here, each of them once.
pub(crate) fn promises_here(edits: &[PlannedEdit], place: FetchPlace) -> Vec<String> {
    let mut promises: Vec<String> = Vec::new();
    for edit in edits {
        if let PlannedEdit::Promised { target, promise } = edit
            && is_fetched_here(target, place)
            && !promises.contains(promise)
        {
            promises.push(promise.clone());
        }
    }
    promises
}

fn is_fetched_here(target: &PromiseUse, place: FetchPlace) -> bool {
    place == FetchPlace::Here || *target == PromiseUse::PullSecret
}

// === impl PromiseValues ===

impl PromiseValues {
    /// Adds the values that the host keeps, and returns the promises without one.
    pub(crate) async fn add_kept(
        &mut self,
        promises: Vec<String>,
        kept: &ValueCache,
        observer: &dyn PluginObserver,
    ) -> Result<Vec<String>, Failure> {
        let mut missing = Vec::new();
        for promise in promises {
            match kept.peek(&promise).await {
                Some((value, origin)) => self.add(promise, value, origin, observer)?,
                None => missing.push(promise),
            }
        }
        Ok(missing)
    }

    /// Adds a value.
    pub(crate) fn add(
        &mut self,
        promise: String,
        value: SecretValue,
        origin: ValueOrigin,
        observer: &dyn PluginObserver,
    ) -> Result<(), Failure> {
        observer.value(origin);
        self.bytes += value.len();
        self.values.push((promise, value));
        if self.bytes > VALUE_BYTES { Err(Failure::Exceeded(ExceededLimit::OutputBytes)) } else { Ok(()) }
    }

    /// Replaces each promise by its value, unless it is fetched elsewhere. Each use is a copy, and
    /// the limit counts all of them.
    pub(crate) fn replace(&self, planned: Vec<PlannedEdit>, place: FetchPlace) -> Result<Vec<PodEdit>, Failure> {
        let mut bytes_left = VALUE_BYTES;
        let mut edits = Vec::with_capacity(planned.len());
        for edit in planned {
            edits.push(match edit {
                PlannedEdit::Ready(edit) => edit,
                PlannedEdit::Promised { target, promise } => match self.get(&promise) {
                    Some(value) if is_fetched_here(&target, place) => {
                        let left = bytes_left.checked_sub(value.len());
                        bytes_left = left.ok_or(Failure::Exceeded(ExceededLimit::OutputBytes))?;
                        target.with(value.clone())
                    }
                    _ => target.promised(promise),
                },
            });
        }
        Ok(edits)
    }

    fn get(&self, promise: &str) -> Option<&SecretValue> {
        self.values.iter().find(|(text, _)| text == promise).map(|(_, value)| value)
    }
}
