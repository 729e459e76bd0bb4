//! A pod with the edits accepted so far. Of each injector, either all edits are applied or none.
//!
//! The draft is not copied per answer. After an edit fails, which is rare, the accepted edits are
//! applied again from the start.

use std::sync::Arc;

use super::{Admitted, InjectorAnswer, RequestReport, warnings};
use crate::{
    edit::{
        PodEdit,
        apply::{ApplyError, EditApplier},
        edited::EditedPod,
    },
    pod::{Pod, PodView},
    profile::Conventions,
};

/// A pod with the edits accepted so far.
pub(super) struct PodDraft<'a> {
    pod: EditedPod<'a>,
    received: &'a Pod,
    conventions: &'a Conventions,
    applier: EditApplier,
    accepted: Vec<(Arc<str>, Vec<PodEdit>)>,
    view: Option<Arc<PodView>>,
}

// === impl PodDraft ===

impl<'a> PodDraft<'a> {
    pub(super) fn new(received: &'a Pod, conventions: &'a Conventions) -> Self {
        Self {
            pod: EditedPod::new(received),
            received,
            conventions,
            applier: EditApplier::default(),
            accepted: Vec::new(),
            view: None,
        }
    }

    /// Returns the current view for injectors. Computed again only after an edit that changes it.
    pub(super) fn view(&mut self, namespace: &str) -> Arc<PodView> {
        Arc::clone(self.view.get_or_insert_with(|| Arc::new(self.pod.view(namespace))))
    }

    /// Returns the patch and the warnings for the pod's author.
    pub(super) fn finish(self, reports: &[RequestReport]) -> Admitted {
        let collisions = &self.applier.variable_collisions;
        let warnings = warnings::with_requests(self.received, reports, collisions, self.conventions.env_placement);
        Admitted { patch: self.pod.into_patch(), warnings }
    }

    /// Applies all edits of an injector, or none. `origin` names the injector and the annotation in
    /// messages.
    pub(super) fn apply_all(&mut self, origin: &str, edits: Vec<PodEdit>) -> InjectorAnswer {
        let origin = Arc::from(origin);
        if let Err(error) = self.apply(&origin, &edits) {
            self.restore();
            return match error {
                ApplyError::Conflict(reason) => InjectorAnswer::Conflict(reason),
                ApplyError::Invalid(reason) => InjectorAnswer::Rejected(reason),
            };
        }
        let count = edits.len();
        if edits.iter().any(changes_view) {
            self.view = None;
        }
        self.accepted.push((origin, edits));
        InjectorAnswer::Injected { edits: count }
    }

    fn apply(&mut self, origin: &Arc<str>, edits: &[PodEdit]) -> Result<(), ApplyError> {
        edits.iter().try_for_each(|edit| self.applier.apply(origin, edit, &mut self.pod, self.conventions))
    }

    /// Discards the current state and applies the accepted edits to the received pod again.
    fn restore(&mut self) {
        let accepted = std::mem::take(&mut self.accepted);
        *self = Self::new(self.received, self.conventions);
        for (origin, edits) in &accepted {
            self.apply(origin, edits).expect("accepted edits apply to the same pod again");
        }
        self.accepted = accepted;
    }
}

/// Whether an edit changes the view of the pod that injectors get.
fn changes_view(edit: &PodEdit) -> bool {
    match edit {
        PodEdit::AddInitContainer(_) | PodEdit::SetAnnotation(_) => true,
        PodEdit::SetEnv(_) | PodEdit::AddVolume(_) | PodEdit::MountVolume(_) | PodEdit::AddImagePullSecret(_) => false,
    }
}
