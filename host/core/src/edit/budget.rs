//! [`EditBudget`]: bounds what the edits of one admission become in a pod.
//!
//! The author of a pod chooses its containers and its requests, and each edit of a plugin reaches
//! every container. The budget is checked before an edit is copied.

use serde_json::Value;

use crate::{limits::PodLimits, memory::AdmissionMemory};

/// Bytes of an operation of the patch without its value: the path and the names of the fields.
const OPERATION: usize = 80;
/// Bytes of memory for a byte of the patch: the value in two forms, the text of the patch, its
/// base64 and the answer. `host/core/tests/memory.rs` verifies it.
const MEMORY_PER_BYTE: usize = 24;
/// Bytes of the patch for which no memory is reserved; the patch of almost every pod is smaller.
const UNRESERVED: usize = 8 * 1024;
/// Bytes of the patch for which memory is reserved at once.
const STEP: usize = 32 * 1024;

/// Why an edit does not fit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BudgetError {
    /// The edits of the admission exceed a limit of the pod.
    TooLarge(String),
    /// Other admissions use the memory that the edits need.
    MemoryExhausted,
}

/// What is left for the edits of one admission.
pub(crate) struct EditBudget<'a> {
    limits: &'a PodLimits,
    memory: &'a dyn AdmissionMemory,
    steps: usize,
    bytes: usize,
    reserved: usize,
}

// === impl EditBudget ===

impl<'a> EditBudget<'a> {
    pub(crate) fn new(limits: &'a PodLimits, memory: &'a dyn AdmissionMemory) -> Self {
        Self { limits, memory, steps: 0, bytes: 0, reserved: UNRESERVED }
    }

    /// Counts the containers or elements that an edit visits.
    pub(super) fn visit(&mut self, elements: usize) -> Result<(), BudgetError> {
        self.steps = self.steps.saturating_add(elements);
        if self.steps <= self.limits.steps {
            return Ok(());
        }
        let message = format!(
            "the secrets need more than {} changes of containers and volumes; request fewer secrets or use fewer \
             containers",
            self.limits.steps
        );
        Err(BudgetError::TooLarge(message))
    }

    /// Counts elements that are removed.
    pub(super) fn remove(&mut self, elements: usize) -> Result<(), BudgetError> {
        self.add(OPERATION.saturating_mul(elements))
    }

    /// Counts the bytes of an operation ([`operation_length`]).
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), BudgetError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.limits.patch_bytes {
            let message = format!(
                "the secrets would add more than {} KiB to the pod; request fewer secrets or use fewer containers",
                self.limits.patch_bytes / 1024
            );
            return Err(BudgetError::TooLarge(message));
        }
        if self.bytes > self.reserved {
            let more = (self.bytes - self.reserved).next_multiple_of(STEP);
            if !self.memory.grow(more * MEMORY_PER_BYTE) {
                return Err(BudgetError::MemoryExhausted);
            }
            self.reserved += more;
        }
        Ok(())
    }
}

/// Returns about the bytes of an operation of the patch that adds a value.
pub(super) fn operation_length(value: &Value) -> usize {
    OPERATION + json_length(value)
}

/// Returns about the bytes of a value as JSON. Escapes are not counted.
fn json_length(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 5,
        Value::Number(_) => 20,
        Value::String(text) => text.len() + 2,
        Value::Array(elements) => elements.iter().map(|element| json_length(element) + 1).sum::<usize>() + 2,
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| key.len() + 4 + json_length(value)).sum::<usize>() + 2
        }
    }
}
