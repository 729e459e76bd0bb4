//! [`RequestAnswer`]: the answer to one request, which the plugin builds call by call.
//!
//! The edits are one transaction: all of them, or none. A failed edit fails the request unless the
//! plugin handles it.

use std::collections::BTreeMap;

use ampoule_core::{
    EnvSource, EnvVar, FileSource, InjectionError, LazyPodView, Limits, PodEdit, SecretFile, SecretRequest,
    SecretValue, text::clean,
};

use super::limits::ExceededLimit;

/// Bytes of a warning of a plugin. The webhook adds the names of the plugin and of the secret, and
/// the API server cuts a warning at 256.
const MAX_WARNING: usize = 256;

/// Warnings of one request, as the contract specifies.
const MAX_WARNINGS: usize = 8;

/// Bytes of a promise, as the contract specifies.
const MAX_PROMISE: usize = 1 << 10;

/// The type of the contract's handles to the pod. There is one pod per instance.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct PodHandle;

/// The type of the contract's handles to the request. There is one request at a time.
#[allow(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct RequestHandle;

/// The answer to one request so far.
pub(crate) struct RequestAnswer {
    pub(crate) request: SecretRequest,
    pub(crate) pod: LazyPodView,
    edits: Vec<PlannedEdit>,
    warnings: Vec<String>,
    failed_edit: Option<String>,
    reason: Option<InjectionError>,
    has_read_options: bool,
    edits_left: usize,
    bytes: usize,
    bytes_limit: usize,
}

/// An edit of a plugin.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "almost every edit is ready, and a box is an allocation")]
pub(crate) enum PlannedEdit {
    /// An edit without a promise.
    Ready(PodEdit),
    /// An edit that needs the value of a promise.
    Promised { target: PromiseUse, promise: String },
}

/// What gets the value of a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PromiseUse {
    /// The environment variable of this name.
    Variable(String),
    /// The file at this path.
    File { path: String, mode: Option<u32> },
    /// An image pull secret.
    PullSecret,
}

/// A complete answer.
pub(crate) enum Plan {
    /// The plugin injects.
    Inject(PlannedEdits),
    /// The plugin gave a reason.
    Decline(InjectionError),
    /// An edit is not valid, and the plugin did not handle the error.
    FailedEdit(String),
    /// The plugin gave no answer.
    Nothing,
}

/// The edits of an answer.
#[derive(Clone)]
pub(crate) struct PlannedEdits {
    pub(crate) edits: Vec<PlannedEdit>,
    /// Warnings for the pod's author.
    pub(crate) warnings: Vec<String>,
    /// Bytes of text in the edits, with those that the plugin discarded.
    pub(crate) bytes: usize,
}

// === impl RequestAnswer ===

impl RequestAnswer {
    pub(crate) fn new(request: SecretRequest, pod: LazyPodView, limits: &Limits) -> Self {
        Self {
            request,
            pod,
            edits: Vec::new(),
            warnings: Vec::new(),
            failed_edit: None,
            reason: None,
            has_read_options: false,
            edits_left: limits.edits,
            bytes: 0,
            bytes_limit: limits.output_bytes,
        }
    }

    /// Adds an edit with this many bytes of text, if it is valid. The inner error is for the guest.
    pub(crate) fn add(&mut self, edit: PodEdit, bytes: usize) -> Result<Result<(), String>, ExceededLimit> {
        let valid = edit.validate();
        self.plan(PlannedEdit::Ready(edit), bytes, valid)
    }

    /// Adds an edit that gets the value of a promise.
    pub(crate) fn add_promise(
        &mut self,
        target: PromiseUse,
        promise: String,
    ) -> Result<Result<(), String>, ExceededLimit> {
        let bytes = target.name().len() + promise.len();
        let valid = target.validate().and_then(|()| check_promise(&promise));
        self.plan(PlannedEdit::Promised { target, promise }, bytes, valid)
    }

    fn plan(
        &mut self,
        edit: PlannedEdit,
        bytes: usize,
        valid: Result<(), String>,
    ) -> Result<Result<(), String>, ExceededLimit> {
        self.edits_left = self.edits_left.checked_sub(1).ok_or(ExceededLimit::Edits)?;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.bytes_limit {
            return Err(ExceededLimit::OutputBytes);
        }
        if self.reason.is_some() {
            return Ok(Err("the request already has a reason for a refusal".to_owned()));
        }
        if let Err(error) = valid {
            return Ok(Err(self.fail(error)));
        }
        self.edits.push(edit);
        Ok(Ok(()))
    }

    /// Records that an edit is not valid, and returns the error for the guest.
    pub(crate) fn fail(&mut self, error: String) -> String {
        self.failed_edit.get_or_insert_with(|| error.clone());
        error
    }

    /// Discards the edits so far, and the error of a failed one. The limits still count them.
    pub(crate) fn discard(&mut self) {
        self.edits.clear();
        self.failed_edit = None;
    }

    /// Adds a warning for the pod's author.
    pub(crate) fn warn(&mut self, text: &str) {
        if self.warnings.len() < MAX_WARNINGS {
            self.warnings.push(clean(text, MAX_WARNING));
        }
    }

    /// Returns the options of the request, and records that the plugin reads them.
    pub(crate) fn read_options(&mut self) -> &BTreeMap<String, String> {
        self.has_read_options = true;
        &self.request.options
    }

    /// Refuses the request. The first reason counts.
    pub(crate) fn refuse(&mut self, reason: InjectionError) {
        self.reason.get_or_insert(reason);
    }

    /// The answer, after the plugin has returned.
    pub(crate) fn finish(self) -> Plan {
        let ignores_options = !self.has_read_options && !self.request.options.is_empty();
        match (self.reason, self.failed_edit) {
            (Some(reason), _) => Plan::Decline(reason),
            (None, Some(error)) => Plan::FailedEdit(error),
            (None, None) if self.edits.is_empty() => Plan::Nothing,
            (None, None) if ignores_options => {
                let reason = "the plugin has no options; leave `options` out";
                Plan::Decline(InjectionError::Unsupported(reason.to_owned()))
            }
            (None, None) => {
                Plan::Inject(PlannedEdits { edits: self.edits, warnings: self.warnings, bytes: self.bytes })
            }
        }
    }
}

// === impl PromiseUse ===

impl PromiseUse {
    /// The edit with the value.
    pub(crate) fn with(self, value: SecretValue) -> PodEdit {
        match self {
            Self::Variable(name) => PodEdit::SetEnv(EnvVar { name, source: EnvSource::SecretValue(value) }),
            Self::File { path, mode } => {
                PodEdit::WriteFile(SecretFile { path, mode, source: FileSource::SecretValue(value) })
            }
            Self::PullSecret => PodEdit::AddPullSecretValue(value),
        }
    }

    /// The edit with the promise.
    pub(crate) fn promised(self, promise: String) -> PodEdit {
        match self {
            Self::Variable(name) => PodEdit::SetEnv(EnvVar { name, source: EnvSource::Promise(promise) }),
            Self::File { path, mode } => {
                PodEdit::WriteFile(SecretFile { path, mode, source: FileSource::Promise(promise) })
            }
            Self::PullSecret => unreachable!("image pull secrets are fetched by the webhook"),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Variable(name) => name,
            Self::File { path, .. } => path,
            Self::PullSecret => "",
        }
    }

    fn validate(&self) -> Result<(), String> {
        match self {
            Self::Variable(name) => EnvVar::validate_name(name),
            Self::File { path, mode } => SecretFile::validate(path, *mode),
            Self::PullSecret => Ok(()),
        }
    }
}

fn check_promise(promise: &str) -> Result<(), String> {
    if promise.len() <= MAX_PROMISE {
        return Ok(());
    }
    Err(format!("a promise must have at most {MAX_PROMISE} bytes, not {}", promise.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Build = fn(&mut RequestAnswer);

    fn variable(name: &str) -> PodEdit {
        PodEdit::SetEnv(EnvVar { name: name.to_owned(), source: EnvSource::Literal("v".to_owned()) })
    }

    fn shown(build: impl FnOnce(&mut RequestAnswer)) -> String {
        let mut answer = RequestAnswer::new(
            SecretRequest::default(),
            LazyPodView::default(),
            &Limits { edits: 4, ..Limits::default() },
        );
        build(&mut answer);
        match answer.finish() {
            Plan::Inject(PlannedEdits { edits, warnings, .. }) => {
                format!("{} edits, warnings {warnings:?}", edits.len())
            }
            Plan::Decline(reason) => reason.to_string(),
            Plan::FailedEdit(error) => format!("failed: {error}"),
            Plan::Nothing => "nothing".to_owned(),
        }
    }

    #[test]
    fn options_that_the_plugin_does_not_read_fail_the_request() {
        let answered = |reads: bool| {
            let options = [("a".to_owned(), "b".to_owned())].into();
            let request = SecretRequest { options, ..SecretRequest::default() };
            let mut answer = RequestAnswer::new(request, LazyPodView::default(), &Limits::default());
            if reads {
                assert_eq!(answer.read_options().len(), 1);
            }
            answer.add(variable("A"), 1).unwrap().unwrap();
            matches!(answer.finish(), Plan::Inject(..))
        };
        assert!(answered(true));
        assert!(!answered(false));
        assert_eq!(shown(|answer| drop(answer.add(variable("A"), 1))), "1 edits, warnings []");
    }

    #[test]
    fn the_first_reason_counts_and_a_failed_edit_fails_the_request_unless_it_is_handled() {
        let invalid = "failed: environment variable name \"A=B\" must be printable ASCII without '='";
        for (build, expected) in [
            ((|_| {}) as Build, "nothing"),
            (|answer| drop(answer.add(variable("A"), 1)), "1 edits, warnings []"),
            (|answer| drop(answer.add(variable("A=B"), 1)), invalid),
            (
                |answer| {
                    let _ = (answer.add(variable("A"), 1), answer.add(variable("A=B"), 1));
                },
                invalid,
            ),
            (
                |answer| {
                    let _ = (answer.add(variable("A"), 1), answer.add(variable("A=B"), 1));
                    answer.discard();
                    let _ = answer.add(variable("C"), 1);
                },
                "1 edits, warnings []",
            ),
            (
                |answer| {
                    let _ = answer.add(variable("A=B"), 1);
                    answer.discard();
                },
                "nothing",
            ),
            (
                |answer| {
                    let _ = answer.add(variable("A=B"), 1);
                    answer.refuse(InjectionError::Denied("first".to_owned()));
                    answer.refuse(InjectionError::Denied("second".to_owned()));
                    assert!(answer.add(variable("A"), 1).unwrap().is_err());
                },
                "denied: first",
            ),
            (
                |answer| {
                    answer.warn("line\nbreak");
                    let _ = answer.add_promise(PromiseUse::Variable("A".to_owned()), "{}".to_owned());
                },
                "1 edits, warnings [\"line break\"]",
            ),
            (
                |answer| drop(answer.add_promise(PromiseUse::Variable("A".to_owned()), "x".repeat(1025))),
                "failed: a promise must have at most 1024 bytes, not 1025",
            ),
        ] {
            assert_eq!(shown(build), expected);
        }
    }

    #[test]
    fn limits_count_discarded_and_failed_edits() {
        let limits = Limits { edits: 3, output_bytes: 10, ..Limits::default() };
        let mut answer = RequestAnswer::new(SecretRequest::default(), LazyPodView::default(), &limits);
        assert_eq!(answer.add(variable("A"), 11), Err(ExceededLimit::OutputBytes));
        let mut answer = RequestAnswer::new(SecretRequest::default(), LazyPodView::default(), &limits);
        for name in ["A", "A=B", "C"] {
            assert!(answer.add(variable(name), 1).is_ok());
            answer.discard();
        }
        assert_eq!(answer.add(variable("D"), 1), Err(ExceededLimit::Edits));
    }
}
