//! [`ReferencesOnly`]: an injector whose answers may not contain values.
//!
//! The webhook uses it while any client can read its answers (`server.clients.mode: open`).

use std::sync::Arc;

use ampoule_core::{Injection, InjectionError, InjectorSession, PodEdit, PodView, SecretInjector, SecretRequest};
use async_trait::async_trait;

/// The reason why a value is refused. The mutator puts the injector's name in front of it.
const REFUSED: &str = "the plugin returned a value, and server.clients.mode is open";

/// Denies a request whose answer contains a value.
pub(super) struct ReferencesOnly(pub(super) Arc<dyn SecretInjector>);

struct ReferencesOnlySession(Box<dyn InjectorSession>);

// === impl ReferencesOnly ===

impl SecretInjector for ReferencesOnly {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn digest(&self) -> Option<&str> {
        self.0.digest()
    }

    fn open(&self) -> Box<dyn InjectorSession> {
        Box::new(ReferencesOnlySession(self.0.open()))
    }
}

// === impl ReferencesOnlySession ===

#[async_trait]
impl InjectorSession for ReferencesOnlySession {
    async fn inject(&mut self, request: &SecretRequest, pod: &PodView) -> Injection {
        let answer = self.0.inject(request, pod).await?;
        let Ok(edits) = &answer else { return Ok(answer) };
        // A literal is public: the plugin declares it so.
        if edits.iter().any(PodEdit::contains_value) {
            return Ok(Err(InjectionError::Denied(REFUSED.to_owned())));
        }
        Ok(answer)
    }

    fn found_name(&self) -> Option<&str> {
        self.0.found_name()
    }
}

#[cfg(test)]
mod tests {
    use ampoule_core::{EnvSource, EnvVar, SecretValue};

    use super::*;

    struct Answers(fn() -> EnvSource);

    impl SecretInjector for Answers {
        fn name(&self) -> &str {
            "answers"
        }

        fn open(&self) -> Box<dyn InjectorSession> {
            Box::new(Self(self.0))
        }
    }

    #[async_trait]
    impl InjectorSession for Answers {
        async fn inject(&mut self, _request: &SecretRequest, _pod: &PodView) -> Injection {
            Ok(Ok(vec![PodEdit::SetEnv(EnvVar { name: "X".to_owned(), source: (self.0)() })]))
        }
    }

    #[tokio::test]
    async fn an_answer_with_a_value_is_denied_and_a_literal_is_not() {
        let value = || EnvSource::SecretValue(SecretValue::new(b"canary".to_vec()));
        let literal = || EnvSource::Literal("public".to_owned());
        let denied = Err(InjectionError::Denied(REFUSED.to_owned()));
        for (source, expected) in [(value as fn() -> EnvSource, denied), (literal, Ok(1))] {
            let injector = ReferencesOnly(Arc::new(Answers(source)));
            let answer = injector.open().inject(&SecretRequest::default(), &PodView::default()).await.unwrap();
            assert_eq!(answer.map(|edits| edits.len()), expected);
            assert_eq!((injector.name(), injector.digest()), ("answers", None));
        }
    }
}
