//! The path of one admission: [`Pipeline`], which `serve`, `mutate` and `explain` share.
//!
//! [`Pipeline::admit`] is the whole of it: decide, record, reply. The log line names the pod, the
//! result and the time; the audit trail names the secrets; nothing reports what the pod holds.

mod serving;
mod shadows;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use ampoule_config::AuditConfig;
use ampoule_core::{
    AnnotationError, InjectorAnswer, Mutation, OnFailure, Pod, PodMutator, PodOrigin, Refusal, RefusalCode,
    RequestReport, RequestedSecret, Requester, ShadowRun, text,
};
use ampoule_engine::{PluginEngine, RunError};
use ampoule_review::{AdmissionRequest, Reply, ReviewIdentity, ReviewSubject};
use ampoule_telemetry::{
    decisions::{DecisionLog, RecordedDifferences},
    log,
    metrics::{Metrics, Phase},
    record::AdmissionRecord,
};
use tokio::time::timeout_at;
use tracing::warn;

use crate::{audit, context::RequestContext, decision::Decision, excerpt::cut, findings};

pub use self::serving::ServingPipeline;
use self::shadows::ShadowReporter;

/// Bytes of the details of a failure in the log.
const MAX_DETAIL: usize = 4 << 10;

/// Decides admissions. Everything in it is shared and never changes.
pub struct Pipeline {
    engine: Arc<PluginEngine>,
    mutator: Arc<PodMutator>,
    on_failure: OnFailure,
    reviews_ephemeral_containers: bool,
    audit: AuditConfig,
    metrics: Metrics,
    /// The log for the console; `None` without a console.
    decisions: Option<DecisionLog>,
}

/// A decision and what led to it.
#[derive(Clone, Debug)]
pub struct Judgement {
    /// What happens to the pod.
    pub decision: Decision,
    /// The secrets that were requested, and each injector's answer. Empty if no injector was
    /// called.
    pub requests: Vec<RequestReport>,
}

/// Why a pod could not be mutated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The deadline passed.
    #[error("the secrets could not be injected within the webhook's timeout of {} ms", .0.as_millis())]
    Deadline(Duration),
    /// The limit of concurrent admissions is reached.
    #[error(
        "too many concurrent admissions (limit {0}, server.maxAdmissions); retry in a second, and add replicas if it \
         persists"
    )]
    Overloaded(usize),
    /// The work ended without a result. The log has the cause.
    #[error("internal error; the webhook's log has the details under this request's uid")]
    Internal(#[source] RunError),
}

// === impl Pipeline ===

impl Pipeline {
    /// A pipeline of this chain of injectors, which run on this engine.
    #[must_use]
    pub fn new(engine: Arc<PluginEngine>, mutator: PodMutator, metrics: Metrics) -> Self {
        Self {
            engine,
            mutator: Arc::new(mutator),
            on_failure: OnFailure::Deny,
            reviews_ephemeral_containers: false,
            audit: AuditConfig::default(),
            metrics,
            decisions: None,
        }
    }

    /// Sets what happens to a pod that cannot get its secrets. The default is to refuse it.
    #[must_use]
    pub fn with_on_failure(self, on_failure: OnFailure) -> Self {
        Self { on_failure, ..self }
    }

    /// Sets whether ephemeral containers get the secrets of their pod. By default, they do not
    /// change.
    #[must_use]
    pub fn with_ephemeral_containers(self, enabled: bool) -> Self {
        Self { reviews_ephemeral_containers: enabled, ..self }
    }

    /// Sets the destinations of the audit trail.
    #[must_use]
    pub fn with_audit(self, audit: AuditConfig) -> Self {
        Self { audit, ..self }
    }

    /// Records the decisions for the console. By default, they are not recorded.
    #[must_use]
    pub fn with_decisions(self, decisions: Option<DecisionLog>) -> Self {
        Self { decisions, ..self }
    }

    /// Decides a request and reports the decision in metrics, log, trace and audit trail.
    pub async fn admit(&self, mut request: AdmissionRequest, context: &RequestContext) -> Reply {
        let requester = std::mem::take(&mut request.requester);
        let (facts, subject) = RequestFacts::split(request);
        let judgement = match subject {
            ReviewSubject::OutOfScope => Judgement::without_requests(Decision::OutOfScope),
            ReviewSubject::NotAPod(error) => Judgement::without_requests(Decision::refuse_object(&error)),
            ReviewSubject::Pod(pod) if self.ignores(&pod) => Judgement::without_requests(Decision::OutOfScope),
            ReviewSubject::Pod(pod) => {
                let mutated = self.mutate(pod, &facts.namespace, requester, facts.dry_run, context).await;
                let (mutated, shadows) = mutated.map_or_else(|error| (Err(error), None), |(one, run)| (Ok(one), run));
                log_failures(&mutated, &facts.identity.uid);
                if let Some(run) = shadows {
                    self.compare(run, &facts, context);
                }
                self.judge(mutated)
            }
        };
        self.conclude(facts, judgement, context)
    }

    /// Rejects a pod because `limit` admissions run already, and reports it. A request that needs
    /// no injector gets its usual answer.
    pub fn reject_overloaded(&self, request: AdmissionRequest, limit: usize, context: &RequestContext) -> Reply {
        let (facts, subject) = RequestFacts::split(request);
        let judgement = match subject {
            ReviewSubject::OutOfScope => Judgement::without_requests(Decision::OutOfScope),
            ReviewSubject::NotAPod(error) => Judgement::without_requests(Decision::refuse_object(&error)),
            ReviewSubject::Pod(pod) if self.ignores(&pod) => Judgement::without_requests(Decision::OutOfScope),
            ReviewSubject::Pod(pod) if self.requests(&pod).is_ok_and(|requests| requests.is_empty()) => {
                Judgement::without_requests(Decision::unchanged())
            }
            ReviewSubject::Pod(_) => self.judge(Err(PipelineError::Overloaded(limit))),
        };
        self.conclude(facts, judgement, context)
    }

    /// Decides a pod without a review around it, and reports nothing: for commands. A dry run.
    /// Shadow injectors are not called.
    pub async fn decide(&self, pod: Pod, namespace: &str, user: Requester, context: &RequestContext) -> Judgement {
        let mutated = self.mutate(pod, namespace, user, true, context).await;
        self.judge(mutated.map(|(mutation, _)| mutation))
    }

    /// Reads the secret requests of a pod.
    ///
    /// # Errors
    ///
    /// A request that is not valid.
    pub fn requests(&self, pod: &Pod) -> Result<Vec<RequestedSecret>, AnnotationError> {
        self.mutator.requests(pod)
    }

    /// Whether an update of ephemeral containers is not reviewed.
    fn ignores(&self, pod: &Pod) -> bool {
        pod.is_update() && !self.reviews_ephemeral_containers
    }

    /// Whether the decisions depend on the user that creates the pod.
    #[must_use]
    pub fn reads_requester(&self) -> bool {
        self.mutator.has_policy()
    }

    /// Starts the calls of the shadow injectors.
    fn compare(&self, run: ShadowRun, facts: &RequestFacts, context: &RequestContext) {
        let uid = cut(&facts.identity.uid);
        let pod = RecordedDifferences::of_pod(uid, &facts.namespace, &facts.name, facts.dry_run);
        let reporter = ShadowReporter { pod, metrics: self.metrics.clone(), decisions: self.decisions.clone() };
        shadows::start(run, &self.engine, reporter, context);
    }

    /// The reply to a review that led to this judgement.
    #[must_use]
    pub fn reply(&self, identity: ReviewIdentity, judgement: Judgement) -> Reply {
        let outcome = judgement.decision.outcome();
        let annotation = self.audit.annotations.then(|| audit::annotation(&judgement.requests, outcome)).flatten();
        Reply { identity, verdict: judgement.decision.into(), audit: annotation }
    }

    /// Runs the injectors on the engine's threads, until the deadline.
    async fn mutate(
        &self,
        pod: Pod,
        namespace: &str,
        requester: Requester,
        dry_run: bool,
        context: &RequestContext,
    ) -> Result<(Mutation, Option<ShadowRun>), PipelineError> {
        let (mutator, namespace) = (Arc::clone(&self.mutator), namespace.to_owned());
        let budget = context.time_left();
        let (phases, trace, memory) = (self.metrics.phases(), context.trace.clone(), Arc::clone(&context.memory));
        let work = self.engine.run(context.trace.follow(async move {
            let origin = PodOrigin { namespace: &namespace, requester: &requester, dry_run };
            let mut pending = mutator.ask(&pod, &origin, &*memory).await;
            let shadows = pending.take_shadows();
            (trace.part("patch", || phases.timed(Phase::Patch, || pending.finish())), shadows)
        }));
        let finished = timeout_at(context.deadline, work).await.map_err(|_| PipelineError::Deadline(budget))?;
        finished.map_err(PipelineError::Internal)
    }

    /// The only place that applies `onFailure`.
    fn judge(&self, mutated: Result<Mutation, PipelineError>) -> Judgement {
        let (outcome, requests) = match mutated {
            Ok(mutation) => (mutation.outcome, mutation.requests),
            Err(error) => (Err(Refusal::from(&error)), Vec::new()),
        };
        let decision = match (outcome, self.on_failure) {
            (Ok(admitted), _) => Decision::Admitted(admitted),
            (Err(refusal), OnFailure::Deny) => Decision::Refused(refusal),
            (Err(refusal), OnFailure::Admit) => Decision::AdmittedWithoutSecrets(refusal),
        };
        Judgement { decision, requests }
    }

    /// Reports a judgement and turns it into the reply.
    fn conclude(&self, facts: RequestFacts, judgement: Judgement, context: &RequestContext) -> Reply {
        let record = AdmissionRecord {
            uid: cut(&facts.identity.uid),
            namespace: cut(&facts.namespace),
            name: cut(&facts.name),
            service_account: cut(&facts.service_account),
            dry_run: facts.dry_run,
            outcome: judgement.decision.outcome(),
            code: judgement.decision.code(),
            requests: &judgement.requests,
            elapsed: context.arrived.elapsed(),
        };
        self.metrics.admitted(record.outcome, record.elapsed);
        log::together(|| self.log(&record));
        context.trace.end(&record);
        if let Some(decisions) = &self.decisions {
            decisions.record(&record);
        }
        self.reply(facts.identity, judgement)
    }

    /// Writes the lines of an admission.
    fn log(&self, record: &AdmissionRecord<'_>) {
        record.log();
        findings::report(record.requests, &self.metrics, record.uid);
        if self.audit.log {
            audit::log(record);
        }
    }
}

// === impl Judgement ===

impl Judgement {
    fn without_requests(decision: Decision) -> Self {
        Self { decision, requests: Vec::new() }
    }
}

// === impl PipelineError ===

impl From<&PipelineError> for Refusal {
    fn from(error: &PipelineError) -> Self {
        let code = match error {
            PipelineError::Deadline(_) => RefusalCode::Unavailable,
            PipelineError::Overloaded(_) => RefusalCode::TooManyRequests,
            PipelineError::Internal(_) => RefusalCode::Internal,
        };
        Self { code, message: error.to_string(), retry_after: None }
    }
}

/// What the record of an admission needs besides the judgement.
struct RequestFacts {
    identity: ReviewIdentity,
    namespace: String,
    name: String,
    service_account: String,
    dry_run: bool,
}

// === impl RequestFacts ===

impl RequestFacts {
    fn split(request: AdmissionRequest) -> (Self, ReviewSubject) {
        let service_account = match &request.subject {
            ReviewSubject::Pod(pod) => pod.service_account().to_owned(),
            ReviewSubject::NotAPod(_) | ReviewSubject::OutOfScope => String::new(),
        };
        let facts = Self {
            identity: request.identity,
            namespace: request.namespace,
            name: request.name,
            service_account,
            dry_run: request.dry_run,
        };
        (facts, request.subject)
    }
}

/// Logs what the cluster's admin needs to know and the pod's author does not see.
fn log_failures(mutated: &Result<Mutation, PipelineError>, uid: &str) {
    let uid = cut(uid);
    let mutation = match mutated {
        Ok(mutation) => mutation,
        Err(PipelineError::Internal(cause)) => {
            warn!(uid, error = %cause, "an admission ended without a result");
            return;
        }
        Err(_) => return,
    };
    for attempt in mutation.requests.iter().flat_map(|report| &report.attempts) {
        if let InjectorAnswer::Failed(failure) = &attempt.answer {
            let (plugin, kind) = (attempt.injector.as_str(), failure.kind.as_str());
            let detail = text::one_line(&failure.inside, MAX_DETAIL);
            warn!(uid, plugin, kind, detail, "a plugin did not answer");
        }
    }
    // Without the reason, which may contain the secret's name: the audit trail has that.
    for attempt in mutation.requests.iter().flat_map(RequestReport::passed_over) {
        let (injector, answer) = (attempt.injector.as_str(), attempt.answer.as_str());
        warn!(uid, injector, answer, "an injector failed, and the next one was called");
    }
}
