//! The pod in the making: every injector's edits as far as they could be applied, none of an injector whose edits could not.
//!
//! Copying a pod costs more than most plugins' calls, so there is no copy per answer: after edits that fail, which is rare,
//! those accepted so far are applied anew.

use super::Answer;
use crate::{
    Conventions, Pod, PodEdit,
    edit::apply::{ApplyError, EditLog},
};

/// A pod with the edits accepted so far.
pub(super) struct Draft<'a> {
    pub(super) pod: Pod,
    arrived: &'a Pod,
    conventions: &'a Conventions,
    log: EditLog<'a>,
    accepted: Vec<(String, Vec<PodEdit>)>,
}

// === impl Draft ===

impl<'a> Draft<'a> {
    /// The pod as it arrived.
    pub(super) fn new(arrived: &'a Pod, conventions: &'a Conventions) -> Self {
        Self { pod: arrived.clone(), arrived, conventions, log: EditLog::new(arrived), accepted: Vec::new() }
    }

    /// Applies all of an injector's edits, or none. `by` says whose they are and what for, for messages.
    pub(super) fn take(&mut self, by: String, edits: Vec<PodEdit>) -> Answer {
        match self.apply(&by, &edits) {
            Ok(()) => {
                let count = edits.len();
                self.accepted.push((by, edits));
                Answer::Injected { edits: count }
            }
            Err(error) => {
                self.start_over();
                match error {
                    ApplyError::Conflict(reason) => Answer::Conflict(reason),
                    ApplyError::Invalid(reason) => Answer::Rejected(reason),
                }
            }
        }
    }

    fn apply(&mut self, by: &str, edits: &[PodEdit]) -> Result<(), ApplyError> {
        edits.iter().try_for_each(|edit| self.log.apply(by, edit, &mut self.pod, self.conventions))
    }

    fn start_over(&mut self) {
        let accepted = std::mem::take(&mut self.accepted);
        *self = Self::new(self.arrived, self.conventions);
        for (by, edits) in &accepted {
            self.apply(by, edits).expect("edits that could be applied to this pod before can be again");
        }
        self.accepted = accepted;
    }
}
