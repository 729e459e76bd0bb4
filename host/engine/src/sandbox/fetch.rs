//! [`PromiseAnswer`]: the answer to one promise, which the plugin builds call by call.
//!
//! The value is wiped when the answer is dropped.

use std::time::Duration;

use ampoule_core::{InjectionError, SecretValue, ValueSource};

/// Bytes of the store's name of a version (WIT `promise.version`).
const LONGEST_VERSION: usize = 1024;

/// The type of the contract's handles to a promise. There is one promise at a time.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct PromiseHandle;

/// The answer to one promise so far.
pub(crate) struct PromiseAnswer {
    /// The text that the plugin gave.
    pub(crate) text: String,
    answer: Option<Result<SecretValue, InjectionError>>,
    /// The time for which the host may keep the value.
    pub(crate) expires_in: Option<Duration>,
    version: Option<String>,
}

// === impl PromiseAnswer ===

impl PromiseAnswer {
    pub(crate) fn new(text: String) -> Self {
        Self { text, answer: None, expires_in: None, version: None }
    }

    /// Answers the promise. The first answer counts.
    pub(crate) fn set(&mut self, answer: Result<SecretValue, InjectionError>) {
        self.answer.get_or_insert(answer);
    }

    /// Sets the store's name of the version. A long one has no effect, since the host keeps it.
    pub(crate) fn set_version(&mut self, version: String) {
        self.version = Some(version).filter(|version| version.len() <= LONGEST_VERSION);
    }

    /// The answer, after the plugin has returned.
    pub(crate) fn finish(self) -> Option<Result<SecretValue, InjectionError>> {
        let source = ValueSource { promise: self.text, version: self.version };
        Some(self.answer?.map(|value| value.with_source(source)))
    }
}
