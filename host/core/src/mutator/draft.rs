//! The pod in the making: every injector's edits as far as they could be applied, none of an injector whose edits could not.
//!
//! There is no copy per answer: after edits that fail, which is rare, those accepted so far are applied anew.

use std::sync::Arc;

use super::{Admitted, Answer, RequestReport, warnings};
use crate::{
    Conventions, Pod, PodEdit, PodView,
    edit::{
        apply::{ApplyError, EditLog},
        edited::EditedPod,
    },
};

/// A pod with the edits accepted so far.
pub(super) struct Draft<'a> {
    pod: EditedPod<'a>,
    arrived: &'a Pod,
    conventions: &'a Conventions,
    log: EditLog,
    accepted: Vec<(Arc<str>, Vec<PodEdit>)>,
    view: Option<Arc<PodView>>,
}

// === impl Draft ===

impl<'a> Draft<'a> {
    /// The pod as it arrived.
    pub(super) fn new(arrived: &'a Pod, conventions: &'a Conventions) -> Self {
        Self {
            pod: EditedPod::new(arrived),
            arrived,
            conventions,
            log: EditLog::default(),
            accepted: Vec::new(),
            view: None,
        }
    }

    /// What an injector may see of the pod now. Made anew only after edits that change it.
    pub(super) fn view(&mut self, namespace: &str) -> Arc<PodView> {
        Arc::clone(self.view.get_or_insert_with(|| Arc::new(self.pod.view(namespace))))
    }

    /// The pod's patch, and what its author ought to know.
    pub(super) fn finish(self, asked: &[RequestReport]) -> Admitted {
        let Self { pod, arrived, conventions, log, accepted: _, view: _ } = self;
        let warnings = warnings::of(arrived, asked, &log.own_variables, conventions.env_placement);
        Admitted { patch: pod.into_patch(), warnings, overruled: None }
    }

    /// Applies all of an injector's edits, or none. `by` says whose they are and what for, for messages.
    pub(super) fn take(&mut self, by: &str, edits: Vec<PodEdit>) -> Answer {
        let by = Arc::from(by);
        match self.apply(&by, &edits) {
            Ok(()) => {
                let count = edits.len();
                if edits.iter().any(shows) {
                    self.view = None;
                }
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

    fn apply(&mut self, by: &Arc<str>, edits: &[PodEdit]) -> Result<(), ApplyError> {
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

/// Whether an edit changes what injectors see of the pod.
fn shows(edit: &PodEdit) -> bool {
    match edit {
        PodEdit::AddInitContainer(_) | PodEdit::SetAnnotation(_) => true,
        PodEdit::SetEnv(_) | PodEdit::AddVolume(_) | PodEdit::MountVolume(_) | PodEdit::AddImagePullSecret(_) => false,
    }
}
