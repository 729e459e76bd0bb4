//! The way of one admission, from the request to the verdict: [`Pipeline`], which `serve`, `mutate` and `explain` share.
//!
//! It bounds the time, runs the injectors where guests run, and leaves metrics, a log line and the audit trail behind. The line
//! says who, what and how long, the trail which secrets were asked for; nothing says what the pod holds.

mod serving;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ampoule_core::{
    AdmissionOutcome, Admitted, Answer, Mutation, OnFailure, Pod, PodMutator, RefusalCode, RequestReport,
    RequestedSecret,
};
use ampoule_engine::{PluginEngine, RunError};
use json_patch::Patch;
use tokio::time::{Instant as Deadline, timeout_at};
use tracing::{info, warn};

use crate::{
    audit::{self, Trail},
    excerpt::cut,
};
use ampoule_config::AuditConfig;
use ampoule_review::{AdmissionRequest, Reply, ReviewIdentity, Subject, Verdict};
use ampoule_telemetry::{
    metrics::{Metrics, Phase},
    trace::{Ended, Trace},
};

pub use self::serving::ServingPipeline;

/// Judges admissions. Everything in it is shared and never changes.
pub struct Pipeline {
    engine: Arc<PluginEngine>,
    mutator: Arc<PodMutator>,
    on_failure: OnFailure,
    audit: AuditConfig,
    metrics: Metrics,
}

/// Why a pod got no judgement.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PipelineError {
    /// The time was up.
    #[error("the secrets could not be injected within the webhook's time of {} ms", .0.as_millis())]
    Deadline(Duration),
    /// As many pods are at work already as may be.
    #[error(
        "the webhook works on as many pods at once as it may, {0} (server.maxAdmissions); try again in a second, and add replicas if \
         that does not help"
    )]
    Overloaded(usize),
    /// The work ended without a result. What went wrong is in the log.
    #[error("internal error; the webhook's log has the details under this request's uid")]
    Internal(#[source] RunError),
}

/// A request under way: what metric and log say of it besides what came of it.
struct Admission {
    arrived: Instant,
    trace: Trace,
    identity: ReviewIdentity,
    namespace: String,
    name: String,
    service_account: String,
    dry_run: bool,
}

/// A verdict with what the log says of it.
struct Judgement {
    verdict: Verdict,
    outcome: AdmissionOutcome,
    /// Empty where nobody was asked.
    requests: Vec<RequestReport>,
}

// === impl Pipeline ===

impl Pipeline {
    /// A pipeline of this chain of injectors, which run on this engine.
    #[must_use]
    pub fn new(engine: Arc<PluginEngine>, mutator: PodMutator, metrics: Metrics) -> Self {
        Self { engine, mutator: Arc::new(mutator), on_failure: OnFailure::Deny, audit: AuditConfig::default(), metrics }
    }

    /// Does the same with a pod whose judgement fails as the mutator does with one that cannot get a secret.
    #[must_use]
    pub fn with_on_failure(self, on_failure: OnFailure) -> Self {
        Self { on_failure, ..self }
    }

    /// Tells of secrets there and nowhere else.
    #[must_use]
    pub fn with_audit(self, audit: AuditConfig) -> Self {
        Self { audit, ..self }
    }

    /// Judges a request whose first byte came at `arrived`, at the latest at `deadline`, and says so in metric, log and trace.
    pub async fn admit(&self, request: AdmissionRequest, arrived: Instant, deadline: Deadline, trace: Trace) -> Reply {
        let (admission, subject) = Admission::of(request, arrived, trace);
        let judgement = self.judge(subject, &admission, deadline).await;
        admission.end(judgement, self)
    }

    /// Answers a request at once, while as many others are at work as may be, `most`; and says so in metric, log and trace. What no
    /// injector has to be asked for gets the answer that it gets at any time.
    pub fn turn_away(&self, request: AdmissionRequest, arrived: Instant, most: usize, trace: Trace) -> Reply {
        let (admission, subject) = Admission::of(request, arrived, trace);
        let judgement = Judgement::at_once(subject).unwrap_or_else(|pod| {
            match RequestedSecret::from_annotations(pod.annotations()) {
                Ok(requests) if requests.is_empty() => {
                    Judgement::new(Verdict::unchanged(), AdmissionOutcome::Unchanged)
                }
                _ => self.failure(&PipelineError::Overloaded(most)),
            }
        });
        admission.end(judgement, self)
    }

    /// Puts a pod's secrets into it: the part of [`Pipeline::admit`] that has nothing to do with reviews.
    ///
    /// # Errors
    ///
    /// If the deadline passes or the work ends without a result. A pod that is refused is no error.
    pub async fn mutate(&self, pod: Pod, namespace: &str, deadline: Deadline) -> Result<Mutation, PipelineError> {
        self.mutate_traced(pod, namespace, deadline, Trace::default()).await
    }

    async fn mutate_traced(
        &self,
        pod: Pod,
        namespace: &str,
        deadline: Deadline,
        trace: Trace,
    ) -> Result<Mutation, PipelineError> {
        let (mutator, namespace) = (Arc::clone(&self.mutator), namespace.to_owned());
        let given = deadline.saturating_duration_since(Deadline::now());
        let phases = self.metrics.phases();
        let work = self.engine.run(trace.clone().follow(async move {
            let asked = mutator.ask(&pod, &namespace).await;
            trace.part("patch", || phases.timed(Phase::Patch, || asked.finish()))
        }));
        let done = timeout_at(deadline, work).await.map_err(|_| PipelineError::Deadline(given))?;
        done.map_err(PipelineError::Internal)
    }

    /// The answer to a review of a pod that came to this.
    pub fn reply(&self, identity: ReviewIdentity, mutation: Mutation) -> Reply {
        let Judgement { verdict, outcome, requests } = Judgement::of(mutation);
        let audit = self.annotation(self.trail(&requests, outcome));
        Reply { identity, verdict, audit }
    }

    /// What the API server's audit event says of a pod, if it is to.
    fn annotation(&self, trail: Trail<'_>) -> Option<String> {
        self.audit.annotations.then(|| trail.annotation()).flatten()
    }

    fn trail<'a>(&'a self, reports: &'a [RequestReport], outcome: AdmissionOutcome) -> Trail<'a> {
        Trail { reports, mutator: &self.mutator, verdict: outcome.as_str() }
    }

    async fn judge(&self, subject: Subject, admission: &Admission, deadline: Deadline) -> Judgement {
        let Admission { trace, identity: ReviewIdentity { uid, .. }, namespace, .. } = admission;
        let pod = match Judgement::at_once(subject) {
            Ok(judgement) => return judgement,
            Err(pod) => pod,
        };
        match self.mutate_traced(pod, namespace, deadline, trace.clone()).await {
            Ok(mutation) => {
                log_failures(&mutation.requests, uid);
                Judgement::of(mutation)
            }
            Err(error) => {
                if let PipelineError::Internal(cause) = &error {
                    warn!(uid = cut(uid), error = %cause, "an admission ended without a result");
                }
                self.failure(&error)
            }
        }
    }

    fn failure(&self, error: &PipelineError) -> Judgement {
        match self.on_failure {
            OnFailure::Deny => Judgement::refusal(error.code(), error.to_string()),
            OnFailure::Admit => {
                let warnings = vec![format!("admitted without its secrets (onFailure: admit): {error}")];
                Judgement::new(
                    Verdict::Allowed { patch: Patch::default(), warnings },
                    AdmissionOutcome::AdmittedWithoutSecrets,
                )
            }
        }
    }
}

// === impl PipelineError ===

impl PipelineError {
    fn code(&self) -> RefusalCode {
        match self {
            Self::Deadline(_) => RefusalCode::Unavailable,
            Self::Overloaded(_) => RefusalCode::TooManyRequests,
            Self::Internal(_) => RefusalCode::Internal,
        }
    }
}

// === impl Admission ===

impl Admission {
    fn of(request: AdmissionRequest, arrived: Instant, trace: Trace) -> (Self, Subject) {
        let AdmissionRequest { identity, namespace, name, dry_run, subject } = request;
        let service_account = match &subject {
            Subject::Pod(pod) => pod.service_account().to_owned(),
            Subject::NotAPod(_) | Subject::OutOfScope => String::new(),
        };
        (Self { arrived, trace, identity, namespace, name, service_account, dry_run }, subject)
    }

    fn end(self, judgement: Judgement, pipeline: &Pipeline) -> Reply {
        let Pipeline { audit, metrics, .. } = pipeline;
        let Self { arrived, trace, identity, namespace, name, service_account, dry_run } = self;
        let Judgement { verdict, outcome, requests } = judgement;
        let elapsed = arrived.elapsed();
        metrics.admitted(outcome, elapsed);
        let code = match &verdict {
            Verdict::Allowed { .. } => 200,
            Verdict::Refused { code, .. } => *code,
        };
        info!(
            uid = cut(&identity.uid),
            namespace = cut(&namespace),
            name = cut(&name),
            dry_run,
            outcome = outcome.as_str(),
            code,
            requests = requests.len(),
            micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
            "admission"
        );
        trace.end(&Ended {
            uid: cut(&identity.uid),
            namespace: cut(&namespace),
            name: cut(&name),
            dry_run,
            outcome: outcome.as_str(),
            code,
            requests: requests.len(),
        });
        let trail = pipeline.trail(&requests, outcome);
        if audit.log {
            trail.log(&audit::Subject {
                uid: cut(&identity.uid),
                namespace: cut(&namespace),
                pod: cut(&name),
                service_account: cut(&service_account),
                dry_run,
            });
        }
        let audit = pipeline.annotation(trail);
        Reply { identity, verdict, audit }
    }
}

// === impl Judgement ===

impl Judgement {
    fn new(verdict: Verdict, outcome: AdmissionOutcome) -> Self {
        Self { verdict, outcome, requests: Vec::new() }
    }

    /// Of what is no pod; a pod comes back.
    fn at_once(subject: Subject) -> Result<Self, Pod> {
        match subject {
            Subject::Pod(pod) => Err(pod),
            Subject::OutOfScope => Ok(Self::new(Verdict::unchanged(), AdmissionOutcome::OutOfScope)),
            Subject::NotAPod(error) => Ok(Self::refusal(RefusalCode::BadRequest, error.to_string())),
        }
    }

    fn refusal(code: RefusalCode, message: String) -> Self {
        Self::new(Verdict::Refused { code: code.http(), reason: code.reason(), message }, AdmissionOutcome::from(code))
    }

    fn of(mutation: Mutation) -> Self {
        let Mutation { requests, outcome } = mutation;
        let (verdict, outcome) = match outcome {
            Ok(Admitted { patch, warnings, overruled }) => {
                let outcome = match overruled {
                    Some(_) => AdmissionOutcome::AdmittedWithoutSecrets,
                    None if patch.0.is_empty() => AdmissionOutcome::Unchanged,
                    None => AdmissionOutcome::Mutated,
                };
                (Verdict::Allowed { patch, warnings }, outcome)
            }
            Err(refusal) => {
                let outcome = AdmissionOutcome::from(refusal.code);
                (refusal.into(), outcome)
            }
        };
        Self { verdict, outcome, requests }
    }
}

/// What the admin needs to know and the pod's author does not.
fn log_failures(reports: &[RequestReport], uid: &str) {
    for attempt in reports.iter().flat_map(|report| &report.attempts) {
        if let Answer::Failed(failure) = &attempt.answer {
            let (plugin, kind) = (attempt.injector.as_str(), failure.kind.as_str());
            warn!(uid = cut(uid), plugin, kind, detail = failure.inside, "a plugin did not get to answer");
        }
    }
}
