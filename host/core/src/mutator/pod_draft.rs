//! A pod with the edits accepted so far.
//!
//! The draft is not copied per answer. An invalid answer changes nothing, and after any other error
//! the pod is refused.

use std::sync::Arc;

use super::{Admitted, InjectorAnswer, Refusal, RequestReport, warnings};
use crate::{
    edit::{
        PodEdit,
        apply::{ApplyError, EditApplier},
        budget::EditBudget,
        edited::EditedPod,
        update::check_update,
    },
    pod::{LazyPodView, Pod},
    profile::Conventions,
    reference_syntax::ReferenceSyntax,
    references,
    request::{REFERENCES_ANNOTATION, RequestOptions},
};

/// A pod with the edits accepted so far.
pub(super) struct PodDraft<'a> {
    pod: EditedPod<'a>,
    received: &'a Pod,
    conventions: &'a Conventions,
    applier: EditApplier<'a>,
    view: Option<LazyPodView>,
    view_changed: bool,
    /// The warnings about Secrets that do not exist.
    pub(super) missing: Vec<String>,
}

// === impl PodDraft ===

impl<'a> PodDraft<'a> {
    pub(super) fn new(received: &'a Pod, conventions: &'a Conventions, budget: EditBudget<'a>) -> Self {
        let applier = EditApplier::new(budget);
        Self {
            pod: EditedPod::new(received),
            received,
            conventions,
            applier,
            view: None,
            view_changed: false,
            missing: Vec::new(),
        }
    }

    /// Returns the conventions of the edits.
    pub(super) fn conventions(&self) -> &'a Conventions {
        self.conventions
    }

    /// Returns the pod without any edits.
    pub(super) fn received(&self) -> &'a Pod {
        self.received
    }

    /// Checks that an update of ephemeral containers needs nothing that the running pod lacks.
    pub(super) fn check_update(&self) -> Result<(), String> {
        check_update(&self.pod)
    }

    /// Returns the current view for injectors. It changes only after an edit that changes it.
    pub(super) fn view(&mut self, namespace: &str) -> LazyPodView {
        let Self { pod, received, view, view_changed, .. } = self;
        let view = view.get_or_insert_with(|| {
            if *view_changed { pod.view(namespace).into() } else { LazyPodView::of(received, namespace) }
        });
        view.clone()
    }

    /// Returns the patch and the warnings for the pod's author.
    pub(super) fn finish(self, reports: &[RequestReport], searched: Option<&ReferenceSyntax>) -> Admitted {
        let placement = self.conventions.env_placement;
        let mut warnings = warnings::near_misses(self.received, searched);
        warnings.extend(self.missing);
        let warnings = warnings::with_requests(self.received, reports, &self.applier, placement, warnings);
        Admitted { patch: self.pod.into_patch(), warnings }
    }

    /// Sets an annotation of the webhook itself.
    pub(super) fn set_own_annotation(&mut self, key: &str, value: String) -> Result<(), InjectorAnswer> {
        Ok(self.applier.set_own_annotation(key, value, &mut self.pod)?)
    }

    /// Records the texts of the variables that secrets replaced, for a second review.
    pub(super) fn record_references(&mut self, reports: &[RequestReport]) -> Result<(), Refusal> {
        let requests = reports.iter().map(|report| (&report.request, &report.options));
        let Some(text) = references::record(requests) else { return Ok(()) };
        let set = self.set_own_annotation(REFERENCES_ANNOTATION, text);
        set.map_err(|problem| Refusal::for_references(&problem))
    }

    /// Applies all edits of an injector to the containers of a request, or none. `origin` names the
    /// injector and the annotation in messages. After an answer that ends the chain without an
    /// injection, the draft must not be used.
    pub(super) fn apply_all(
        &mut self,
        origin: &str,
        options: &RequestOptions,
        edits: &[PodEdit],
    ) -> Result<(), InjectorAnswer> {
        let origin = Arc::from(origin);
        self.applier.apply_all((&origin, options), edits, &mut self.pod, self.conventions)?;
        if edits.iter().any(changes_view) {
            (self.view, self.view_changed) = (None, true);
        }
        Ok(())
    }
}

// === impl InjectorAnswer ===

impl From<ApplyError> for InjectorAnswer {
    fn from(error: ApplyError) -> Self {
        match error {
            ApplyError::Conflict(reason) => Self::Conflict(reason),
            ApplyError::Invalid(reason) => Self::Rejected(reason),
            ApplyError::TooLarge(reason) => Self::TooLarge(reason),
            ApplyError::MemoryExhausted => Self::MemoryExhausted,
        }
    }
}

/// Whether an edit changes the view of the pod that injectors get.
fn changes_view(edit: &PodEdit) -> bool {
    match edit {
        PodEdit::AddInitContainer(_) | PodEdit::SetAnnotation(_) => true,
        PodEdit::SetEnv(_)
        | PodEdit::AddVolume(_)
        | PodEdit::MountVolume(_)
        | PodEdit::AddImagePullSecret(_)
        | PodEdit::WriteFile(_)
        | PodEdit::AddPullSecretValue(_)
        | PodEdit::SetEnvFrom(_) => false,
    }
}
