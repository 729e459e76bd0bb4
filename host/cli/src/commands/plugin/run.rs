//! One run of a case: [`CaseRun`]. The answers of the plugin go through the mutator and the checks
//! of the webhook.
//!
//! So an answer that the webhook would refuse is refused here as well, with the same message.

use std::sync::{Arc, Mutex, PoisonError};

use ampoule_core::{
    Delivery, Injection, InjectorSession, LazyPodView, Mutation, NoDelivery, PodMutator, RequestedSecret,
    SecretInjector, SecretRequest,
};
use ampoule_engine::{LoadError, LoadErrorKind, PluginInjector};
use async_trait::async_trait;
use serde_json::{Value, json};

use super::{
    answer::CaseAnswer,
    case::Case,
    result::resulting_pod,
    sent::{self, SentRequest},
    workbench::{LogLine, Workbench},
};
use ampoule_components::fetch::Component;
use ampoule_config::ComponentSource;
use ampoule_server::plugins::{AnswerCheck, CheckedInjector};

/// The result of one run.
#[derive(Default)]
pub(super) struct CaseRun {
    /// The answer to each request. A plugin that did not start has one.
    pub(super) answers: Vec<CaseAnswer>,
    pub(super) sent: Vec<SentRequest>,
    pub(super) lines: Vec<LogLine>,
    /// The schema of the settings; `None` if the plugin did not load.
    pub(super) settings_schema: Option<String>,
    /// The resulting pod without fetched values; `None` if the webhook refuses the pod.
    pub(super) pod: Option<Value>,
}

/// Keeps the answers of a plugin.
struct RecordedInjector {
    plugin: PluginInjector,
    answers: RecordedAnswers,
}

struct RecordedSession {
    session: Box<dyn InjectorSession>,
    answers: RecordedAnswers,
}

type RecordedAnswers = Arc<Mutex<Vec<Injection>>>;

// === impl CaseRun ===

impl CaseRun {
    /// Loads the plugin as the case specifies, and calls it for the requests of the case.
    ///
    /// # Errors
    ///
    /// The component cannot be loaded in any case.
    pub(super) async fn run(
        bench: &Workbench,
        source: &ComponentSource,
        component: &Component,
        case: &Case,
    ) -> anyhow::Result<Self> {
        bench.lines.take();
        let plugin = match bench.load(case, source, component, case.limits.clone()).await {
            Ok(plugin) => plugin,
            Err(error) => {
                let answers = vec![answer_of_load(error)?];
                return Ok(Self { answers, lines: bench.lines.take(), ..Self::default() });
            }
        };
        // The instance that is called configures itself again, and logs the same lines.
        bench.lines.take();
        let settings_schema = Some(plugin.info().settings_schema.clone());
        let (answers, pod) = ask(bench, source, plugin, case).await?;
        Ok(Self { answers, sent: bench.services.take_sent(), lines: bench.lines.take(), settings_schema, pod })
    }

    /// Returns the document for comparison with the expected one.
    pub(super) fn document(&self, case: &Case) -> Value {
        let expected = case.expected.as_ref();
        let mut document = match &self.answers[..] {
            [answer @ CaseAnswer::Refused(_)] => answer.document(expected),
            [answer] if !case.is_list => answer.document(expected),
            answers => {
                let expected = |i: usize| expected?.get("answers")?.get(i);
                let answers = answers.iter().enumerate().map(|(i, answer)| answer.document(expected(i)));
                json!({ "answers": answers.collect::<Vec<_>>() })
            }
        };
        if let Some(expected) = expected.and_then(|expected| expected.get("sent")) {
            document["sent"] = sent::document(&self.sent, expected);
        }
        document
    }
}

/// The answer of a plugin that did not start.
fn answer_of_load(error: LoadError) -> anyhow::Result<CaseAnswer> {
    match error.kind {
        LoadErrorKind::Settings(reason) => Ok(CaseAnswer::Refused(reason)),
        kind @ (LoadErrorKind::SettingsSize { .. }
        | LoadErrorKind::Start(_)
        | LoadErrorKind::Describe(_)
        | LoadErrorKind::Description(_)
        | LoadErrorKind::Configure(_)) => Ok(CaseAnswer::Failed { failure: kind.to_string(), details: String::new() }),
        _ => Err(error.into()),
    }
}

/// Returns the answers to the requests of a case, and the resulting pod.
async fn ask(
    bench: &Workbench,
    source: &ComponentSource,
    plugin: PluginInjector,
    case: &Case,
) -> anyhow::Result<(Vec<CaseAnswer>, Option<Value>)> {
    let recorded = RecordedAnswers::default();
    let injector = CheckedInjector {
        injector: Arc::new(RecordedInjector { plugin, answers: Arc::clone(&recorded) }),
        check: AnswerCheck::Edits(Arc::new(case.permissions(source)?)),
    };
    let mutator = PodMutator::new(vec![Arc::new(injector)], case.profile.conventions())
        .with_delivery(vec![Delivery::Secret], Arc::new(NoDelivery));
    let (pod, namespace, requests) = (case.pod.clone(), case.namespace.clone(), requested(&case.requests));
    let run = async move { mutator.mutate_requests(&pod, &namespace, requests).await };
    let mutation = bench.engine.run(run).await?;
    let injections = std::mem::take(&mut *recorded.lock().unwrap_or_else(PoisonError::into_inner));
    let pod = resulting_pod(&case.pod, &mutation, &injections)?;
    Ok((answers(&mutation, injections, case.requests.len()), pod))
}

/// The answer to each request.
fn answers(mutation: &Mutation, injections: Vec<Injection>, requests: usize) -> Vec<CaseAnswer> {
    let refusal = mutation.outcome.as_ref().err();
    let attempts = mutation.requests.iter().flat_map(|report| &report.attempts);
    let answered = attempts.zip(injections);
    let mut answers: Vec<_> =
        answered.map(|(attempt, injection)| CaseAnswer::new(injection, &attempt.answer, refusal)).collect();
    if let (true, Some(refusal)) = (answers.is_empty(), refusal) {
        answers.push(CaseAnswer::Rejected(refusal.clone()));
    }
    answers.resize_with(requests, || CaseAnswer::NotProcessed);
    answers
}

/// The requests under the annotation that would contain them.
fn requested(requests: &[SecretRequest]) -> Vec<RequestedSecret> {
    let requests = requests.iter().cloned().enumerate();
    requests.map(|(i, request)| RequestedSecret::new(format!("ampoule.dev/secrets[{i}]"), request)).collect()
}

// === impl RecordedInjector, RecordedSession ===

impl SecretInjector for RecordedInjector {
    fn name(&self) -> &str {
        self.plugin.name()
    }

    fn open(&self) -> Box<dyn InjectorSession> {
        Box::new(RecordedSession { session: self.plugin.open(), answers: Arc::clone(&self.answers) })
    }
}

#[async_trait]
impl InjectorSession for RecordedSession {
    async fn inject(&mut self, request: &SecretRequest, pod: &LazyPodView) -> Injection {
        let injection = self.session.inject(request, pod).await;
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).push(injection.clone());
        injection
    }

    fn take_warnings(&mut self) -> Vec<String> {
        self.session.take_warnings()
    }
}
