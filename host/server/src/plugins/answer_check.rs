//! [`CheckedInjector`]: an injector whose answers are checked before they are used.
//!
//! The check is outside the plugin, so that a change of permissions needs no new plugin.

use std::sync::Arc;

use ampoule_core::{
    AddedVolumes, EditPermissions, Injection, InjectionError, InjectorSession, LazyPodView, PodEdit, SecretInjector,
    SecretRequest,
};
use async_trait::async_trait;

/// The reason why a value is refused. The mutator puts the injector's name in front of it.
const VALUE: &str = "the plugin returned a value, and server.clients.mode is open";

/// Denies a request whose answer does not pass the check.
pub struct CheckedInjector {
    /// The injector.
    pub injector: Arc<dyn SecretInjector>,
    /// The check.
    pub check: AnswerCheck,
}

/// A check of an answer.
#[derive(Clone)]
pub enum AnswerCheck {
    /// No edit contains a value: any client can read the answers (`server.clients.mode: open`).
    ReferencesOnly,
    /// Every edit is permitted.
    Edits(Arc<EditPermissions>),
}

struct CheckedSession {
    session: Box<dyn InjectorSession>,
    check: AnswerCheck,
    /// The volumes of the answers so far.
    added: AddedVolumes,
}

// === impl CheckedInjector ===

impl SecretInjector for CheckedInjector {
    fn name(&self) -> &str {
        self.injector.name()
    }

    fn digest(&self) -> Option<&str> {
        self.injector.digest()
    }

    fn open(&self) -> Box<dyn InjectorSession> {
        let (session, check) = (self.injector.open(), self.check.clone());
        Box::new(CheckedSession { session, check, added: AddedVolumes::default() })
    }
}

// === impl AnswerCheck ===

impl AnswerCheck {
    fn check(&self, edits: &[PodEdit], request: &SecretRequest, added: &mut AddedVolumes) -> Result<(), String> {
        match self {
            // A literal is public: the plugin declares it so.
            Self::ReferencesOnly if edits.iter().any(PodEdit::contains_value) => Err(VALUE.to_owned()),
            Self::ReferencesOnly => Ok(()),
            Self::Edits(permissions) => permissions.check(edits, request, added).map_err(|error| error.to_string()),
        }
    }
}

// === impl CheckedSession ===

#[async_trait]
impl InjectorSession for CheckedSession {
    async fn inject(&mut self, request: &SecretRequest, pod: &LazyPodView) -> Injection {
        let answer = self.session.inject(request, pod).await?;
        let Ok(edits) = &answer else { return Ok(answer) };
        let refused = self.check.check(edits, request, &mut self.added).err();
        Ok(refused.map_or(answer, |reason| Err(InjectionError::Denied(reason))))
    }

    fn found_name(&self) -> Option<&str> {
        self.session.found_name()
    }

    fn take_warnings(&mut self) -> Vec<String> {
        self.session.take_warnings()
    }
}

#[cfg(test)]
mod tests {
    use ampoule_core::{EnvSource, EnvVar, SecretValue};

    use super::*;

    #[derive(Clone)]
    struct Answers(PodEdit);

    impl SecretInjector for Answers {
        fn name(&self) -> &str {
            "answers"
        }

        fn open(&self) -> Box<dyn InjectorSession> {
            Box::new(self.clone())
        }
    }

    #[async_trait]
    impl InjectorSession for Answers {
        async fn inject(&mut self, _request: &SecretRequest, _pod: &LazyPodView) -> Injection {
            Ok(Ok(vec![self.0.clone()]))
        }
    }

    fn variable(name: &str, source: EnvSource) -> PodEdit {
        PodEdit::SetEnv(EnvVar { name: name.to_owned(), source })
    }

    #[tokio::test]
    async fn an_answer_that_fails_the_check_is_denied() {
        let value = || EnvSource::SecretValue(SecretValue::new(b"canary".to_vec()));
        let literal = || EnvSource::Literal("public".to_owned());
        let permissions = || AnswerCheck::Edits(Arc::new(EditPermissions::ordinary("/secrets")));
        let forbidden = "the plugin answered with the variable \"LD_PRELOAD\", which its permissions do not cover (edits.variables)";
        for (check, edit, expected) in [
            (AnswerCheck::ReferencesOnly, variable("X", value()), Err(VALUE)),
            (AnswerCheck::ReferencesOnly, variable("X", literal()), Ok(1)),
            (permissions(), variable("X", value()), Ok(1)),
            (permissions(), variable("LD_PRELOAD", literal()), Err(forbidden)),
        ] {
            let injector = CheckedInjector { injector: Arc::new(Answers(edit)), check };
            let answer = injector.open().inject(&SecretRequest::default(), &LazyPodView::default()).await.unwrap();
            let expected = expected.map_err(|reason| InjectionError::Denied(reason.to_owned()));
            assert_eq!(answer.map(|edits| edits.len()), expected);
            assert_eq!((injector.name(), injector.digest()), ("answers", None));
        }
    }
}
