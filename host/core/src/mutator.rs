//! The chain of injectors: for every secret request, the first injector that injects wins.
//!
//! [`PodMutator::mutate`] is the entry point. Its result lists every injector that was called and
//! its answer, so that a refusal and `ampoule explain` report the same.

mod deliver;
mod gate;
mod missing;
mod pod_draft;
mod refusal;
mod report;
mod request_check;
mod shadow;
mod shape;
mod warnings;
mod windows;

use std::sync::Arc;

use json_patch::Patch;

use self::{
    deliver::ValueDelivery,
    gate::{PodJudge, PolicyGate},
    missing::ReferencedSecrets,
    pod_draft::PodDraft,
    shadow::{ServedAnswer, ShadowCall},
};
pub use self::{
    refusal::{Refusal, RefusalCode},
    report::{Attempt, InjectorAnswer, RequestReport},
    shadow::{ShadowComparison, ShadowInjector, ShadowResult, ShadowRun},
};
use crate::{
    delivery::{DeliveredSecret, Delivery, DeliveryPlan, DeliveryStore, PodFetching},
    edit::{PodEdit, budget::EditBudget},
    injector::{InjectorSession, SecretInjector},
    limits::PodLimits,
    memory::{AdmissionMemory, UnlimitedMemory},
    pod::{LazyPodView, Pod},
    policy::{InjectorFacts, PolicyFinding, RequestPolicy, Requester},
    profile::{Conventions, InjectedNames},
    reference_syntax::ReferenceSyntax,
    request::{AnnotationError, RequestedSecret},
};

/// Injects secrets into pods with a fixed chain of injectors.
pub struct PodMutator {
    injectors: Vec<Arc<dyn SecretInjector>>,
    conventions: Conventions,
    limits: PodLimits,
    delivery: ValueDelivery,
    gate: Option<PolicyGate>,
    shadows: Vec<ShadowInjector>,
    warns_of_missing: bool,
}

/// The response for a pod that cannot get a secret. The caller of [`PodMutator`] applies it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// Refuses the pod.
    #[default]
    Deny,
    /// Admits the pod unchanged, with a warning. Flyte 1 does the same without the warning.
    Admit,
}

/// A pod after all calls of injectors, without its patch yet.
pub struct PendingMutation<'a> {
    pod: &'a Pod,
    /// The syntax of references, if values can be texts that were meant as such.
    searched: Option<&'a ReferenceSyntax>,
    /// `Ok(None)` if the pod has no secret requests. Boxed, because this value is moved several
    /// times for each pod, and most pods have no requests.
    draft: Result<Option<Box<PodDraft<'a>>>, Refusal>,
    reports: Vec<RequestReport>,
    secrets: Vec<DeliveredSecret>,
    shadows: Option<ShadowRun>,
}

/// The origin of a pod.
#[derive(Clone, Copy, Debug)]
pub struct PodOrigin<'a> {
    /// The namespace of the admission request.
    pub namespace: &'a str,
    /// The user that creates the pod.
    pub requester: &'a Requester,
    /// Whether the admission must have no effect outside its answer.
    pub dry_run: bool,
}

/// The result for one pod.
#[derive(Clone, Debug)]
pub struct Mutation {
    /// The requests in the order of service, up to the first that failed.
    pub requests: Vec<RequestReport>,
    /// The Secrets that carry values to the pod. They exist unless the admission is a dry run.
    pub secrets: Vec<DeliveredSecret>,
    /// The patch, or the refusal.
    pub outcome: Result<Admitted, Refusal>,
}

/// An admitted pod. The default changes nothing and warns of nothing.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    /// The minimal patch that adds the secrets to the received pod; empty if nothing changes. The
    /// same pod always gets the same bytes.
    pub patch: Patch,
    /// Warnings for the pod's author, which `kubectl` prints. A second review of the pod can have
    /// fewer, because the first one replaced the variables that it warned about.
    pub warnings: Vec<String>,
}

// === impl PodMutator ===

impl PodMutator {
    /// Creates a mutator that calls the injectors in this order.
    #[must_use]
    pub fn new(injectors: Vec<Arc<dyn SecretInjector>>, conventions: Conventions) -> Self {
        Self {
            injectors,
            conventions,
            limits: PodLimits::default(),
            delivery: ValueDelivery::default(),
            gate: None,
            shadows: Vec::new(),
            warns_of_missing: false,
        }
    }

    /// Warns about Kubernetes Secrets that a pod refers to and that do not exist.
    #[must_use]
    pub fn with_missing_secret_warnings(self, warns_of_missing: bool) -> Self {
        Self { warns_of_missing, ..self }
    }

    /// Sets how the values of each injector reach the pod, in the order of the injectors. Without
    /// it, values are text in the pod.
    #[must_use]
    pub fn with_delivery(self, modes: Vec<Delivery>, store: Arc<dyn DeliveryStore>) -> Self {
        Self { delivery: ValueDelivery::new(modes, store), ..self }
    }

    /// Lets pods fetch the values of the injectors with the delivery `pod`.
    #[must_use]
    pub fn with_pod_fetching(self, pods: Option<PodFetching>) -> Self {
        Self { delivery: self.delivery.with_pods(pods), ..self }
    }

    /// Evaluates a policy before each call. `facts` are the properties of the injectors, in their
    /// order; an injector without them is treated as one that may read values.
    #[must_use]
    pub fn with_policy(self, policy: Arc<dyn RequestPolicy>, facts: Vec<InjectorFacts>) -> Self {
        Self { gate: Some(PolicyGate { policy, injectors: facts }), ..self }
    }

    /// Prepares calls of these injectors after each request that the chain answered.
    #[must_use]
    pub fn with_shadows(self, shadows: Vec<ShadowInjector>) -> Self {
        Self { shadows, ..self }
    }

    /// Whether the mutator reads the user that creates a pod.
    #[must_use]
    pub fn has_policy(&self) -> bool {
        self.gate.is_some()
    }

    /// Reads the secret requests of a pod, as [`PodMutator::mutate`] does.
    ///
    /// # Errors
    ///
    /// A request that is not valid.
    pub fn requests(&self, pod: &Pod) -> Result<Vec<RequestedSecret>, AnnotationError> {
        RequestedSecret::from_pod(pod, &self.conventions.references).map(|(requests, _)| requests)
    }

    /// Sets the limits of a pod.
    #[must_use]
    pub fn with_limits(self, limits: PodLimits) -> Self {
        Self { limits, ..self }
    }

    /// Injects all secrets that the pod's annotations request, or none.
    ///
    /// `namespace` is that of the admission request. A dry run. With deterministic injectors,
    /// `mutate(mutate(pod)) == mutate(pod)`.
    pub async fn mutate(&self, pod: &Pod, namespace: &str) -> Mutation {
        let origin = PodOrigin { namespace, requester: &Requester::default(), dry_run: true };
        self.ask(pod, &origin, &UnlimitedMemory).await.finish()
    }

    /// Injects these secrets. The requests in the pod's annotations have no effect. A dry run.
    pub async fn mutate_requests(&self, pod: &Pod, namespace: &str, requests: Vec<RequestedSecret>) -> Mutation {
        let origin = PodOrigin { namespace, requester: &Requester::default(), dry_run: true };
        self.ask_for(Ok(requests), pod, &origin, &UnlimitedMemory).await.finish()
    }

    /// Runs the first half of [`PodMutator::mutate`]: calls the injectors for every request,
    /// applies their edits to a draft of the pod, and writes the Secrets that carry values.
    /// Reserves memory for large patches.
    pub async fn ask<'a>(
        &'a self,
        pod: &'a Pod,
        origin: &PodOrigin<'_>,
        memory: &'a dyn AdmissionMemory,
    ) -> PendingMutation<'a> {
        let (requests, may_have_near_misses) = match RequestedSecret::from_pod(pod, &self.conventions.references) {
            Ok((requests, may_have_near_misses)) => (Ok(requests), may_have_near_misses),
            Err(error) => (Err(error), false),
        };
        let pending = self.ask_for(requests, pod, origin, memory).await;
        PendingMutation { searched: may_have_near_misses.then_some(&self.conventions.references), ..pending }
    }

    async fn ask_for<'a>(
        &'a self,
        requests: Result<Vec<RequestedSecret>, AnnotationError>,
        pod: &'a Pod,
        origin: &PodOrigin<'_>,
        memory: &'a dyn AdmissionMemory,
    ) -> PendingMutation<'a> {
        let mut reports = Vec::new();
        let mut secrets = Vec::new();
        let mut shadow_calls = Vec::new();
        let draft = match requests {
            Err(error) => Err(Refusal::for_annotation(&error)),
            Ok(requests) if requests.is_empty() => Ok(None),
            Ok(_) if pod.container_count() > self.limits.containers => Err(Refusal::for_containers(pod, &self.limits)),
            Ok(requests) => {
                let requests = self.named(requests);
                if let Err(error) = request_check::check(&requests, pod, &self.injectors) {
                    return PendingMutation::refused(pod, Refusal::for_annotation(&error));
                }
                let budget = EditBudget::new(&self.limits, memory);
                let draft = PodDraft::new(pod, &self.conventions, budget);
                self.serve_all(draft, origin, requests, &mut reports, &mut secrets, &mut shadow_calls)
                    .await
                    .map(|draft| Some(Box::new(draft)))
            }
        };
        let shadows = ShadowRun::open(&self.shadows, shadow_calls);
        PendingMutation { pod, searched: None, draft, reports, secrets, shadows }
    }

    /// Gives each request for a variable the default name, if only requested names reach the pod.
    fn named(&self, mut requests: Vec<RequestedSecret>) -> Vec<RequestedSecret> {
        if self.conventions.names == InjectedNames::Requested {
            requests.iter_mut().for_each(RequestedSecret::set_default_variable);
        }
        requests
    }

    async fn serve_all<'a>(
        &'a self,
        mut draft: PodDraft<'a>,
        origin: &PodOrigin<'_>,
        requests: Vec<RequestedSecret>,
        reports: &mut Vec<RequestReport>,
        secrets: &mut Vec<DeliveredSecret>,
        shadow_calls: &mut Vec<ShadowCall>,
    ) -> Result<PodDraft<'a>, Refusal> {
        let view = self.gate.as_ref().map(|_| draft.view(origin.namespace));
        let mut judge = PodJudge::open(self.gate.as_ref(), view.as_ref().map(LazyPodView::get), origin.requester);
        let mut judged = judge.judge_all(&requests);
        if judged.last().is_some_and(|findings| findings.iter().any(PolicyFinding::denies)) {
            reports.extend(requests.into_iter().zip(judged).map(RequestReport::without_calls));
            let refusal = reports.last().and_then(Refusal::for_report);
            return Err(refusal.expect("the last report has a finding that denies"));
        }
        let mut chain = Chain::open(&self.injectors, &self.delivery, !self.shadows.is_empty());
        let mut plan = DeliveryPlan::default();
        let mut references = self.warns_of_missing.then(ReferencedSecrets::default);
        let mut refusal = None;
        for (position, requested) in requests.into_iter().enumerate() {
            let findings = judged.get_mut(position).map(std::mem::take).unwrap_or_default();
            let view = (!self.shadows.is_empty()).then(|| draft.view(origin.namespace));
            let values = RequestValues { position, plan: &mut plan, references: references.as_mut() };
            let served = chain.serve(&requested, &mut draft, origin.namespace, values, &mut judge, findings).await;
            let asked = view.is_some().then(|| requested.clone());
            let report = RequestReport {
                annotation: requested.annotation,
                request: requested.request,
                options: requested.options,
                attempts: served.attempts,
                findings: served.findings,
            };
            let is_denied = report.findings.iter().any(PolicyFinding::denies);
            if let (Some(view), Some(requested), false) = (view, asked, is_denied) {
                let answer = report.attempts.last().map(|attempt| &attempt.answer);
                shadow_calls.push(ShadowCall::new(requested, view, ServedAnswer::new(answer, served.edits)));
            }
            refusal = Refusal::for_report(&report);
            reports.push(report);
            if refusal.is_some() {
                break;
            }
        }
        // Only now: shadow injectors must not use the budget of the requests.
        for call in shadow_calls {
            call.judge(&mut judge, &self.shadows);
        }
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        *secrets = self.delivery.deliver(plan, &mut draft, origin, reports).await?;
        draft.record_references(reports)?;
        if let Some(references) = references {
            draft.missing = references.warnings(self.delivery.store(), origin.namespace).await;
        }
        Ok(draft)
    }
}

// === impl PendingMutation ===

impl<'a> PendingMutation<'a> {
    fn refused(pod: &'a Pod, refusal: Refusal) -> Self {
        Self { pod, searched: None, draft: Err(refusal), reports: Vec::new(), secrets: Vec::new(), shadows: None }
    }
}

impl PendingMutation<'_> {
    /// Takes the calls of the shadow injectors, which can run at any time. `None` without shadow
    /// injectors or requests.
    pub fn take_shadows(&mut self) -> Option<ShadowRun> {
        self.shadows.take()
    }

    /// Runs the second half of [`PodMutator::mutate`]: computes the patch.
    #[must_use]
    pub fn finish(self) -> Mutation {
        let outcome = self.draft.map(|draft| match draft {
            None => Admitted::without_requests(self.pod, self.searched),
            Some(draft) => draft.finish(&self.reports, self.searched),
        });
        Mutation { requests: self.reports, secrets: self.secrets, outcome }
    }
}

/// The injectors' sessions for one admission.
struct Chain<'a> {
    links: Vec<(&'a dyn SecretInjector, Box<dyn InjectorSession>)>,
    delivery: &'a ValueDelivery,
    /// Whether shadow injectors need the edits.
    keeps_edits: bool,
}

/// The place of a request's values.
struct RequestValues<'a> {
    /// The position of the request in the pod.
    position: usize,
    plan: &'a mut DeliveryPlan,
    /// The Secrets that the pod refers to, if warnings need them.
    references: Option<&'a mut ReferencedSecrets>,
}

// === impl Chain ===

impl<'a> Chain<'a> {
    fn open(injectors: &'a [Arc<dyn SecretInjector>], delivery: &'a ValueDelivery, keeps_edits: bool) -> Self {
        let links = injectors.iter().map(|injector| (&**injector, injector.open())).collect();
        Self { links, delivery, keeps_edits }
    }

    /// Calls the injectors in order until one injects, denies, or causes a conflict, or until the
    /// policy denies the next call. The draft changes only if one injects.
    async fn serve(
        &mut self,
        requested: &RequestedSecret,
        draft: &mut PodDraft<'a>,
        namespace: &str,
        mut values: RequestValues<'_>,
        judge: &mut PodJudge<'_>,
        findings: Vec<PolicyFinding>,
    ) -> ServedRequest {
        let view = draft.view(namespace);
        let mut served = ServedRequest { attempts: Vec::new(), findings, edits: None };
        for (position, (injector, session)) in self.links.iter_mut().enumerate() {
            if requested.options.injector.as_ref().is_some_and(|only| only != injector.name()) {
                continue;
            }
            if !judge.permits_injector(requested, position, &mut served.findings) {
                break;
            }
            let answer = match session.inject(&requested.request, &view).await {
                Ok(Ok(edits)) => {
                    served.edits = self.keeps_edits.then(|| edits.clone());
                    let checked = windows::check(draft.received(), &edits);
                    let shape = |()| shape::shape(injector.name(), requested, edits, draft.conventions());
                    match checked.and_then(shape) {
                        Ok(edits) => {
                            let from = (position, injector.name(), self.delivery.mode(position));
                            accept(requested, edits, from, draft, &mut values)
                        }
                        Err(error) => InjectorAnswer::Declined(error),
                    }
                }
                Ok(Err(error)) => InjectorAnswer::Declined(error),
                Err(failure) => InjectorAnswer::Failed(failure),
            };
            let is_final = answer.is_final();
            let is_injected = matches!(answer, InjectorAnswer::Injected { .. });
            if !is_injected {
                served.edits = None;
            }
            let found_name = session.found_name().filter(|_| is_injected).map(str::to_owned);
            let warnings = if is_injected { session.take_warnings() } else { Vec::new() };
            served.attempts.push(Attempt {
                injector: injector.name().to_owned(),
                digest: injector.digest().map(str::to_owned),
                answer,
                found_name,
                warnings,
            });
            if is_final {
                break;
            }
        }
        served
    }
}

/// Applies the edits of an answer, or plans their values. `from` is the position, the name and the
/// delivery of the injector.
fn accept(
    requested: &RequestedSecret,
    edits: Vec<PodEdit>,
    (position, injector, mode): (usize, &str, Delivery),
    draft: &mut PodDraft<'_>,
    values: &mut RequestValues<'_>,
) -> InjectorAnswer {
    let origin = ["injector ", injector, " for ", &requested.annotation].concat();
    let injected = InjectorAnswer::injected(&edits);
    let edits = match values.plan.collect(&requested.options, (values.position, position, injector), mode, edits) {
        Ok(Some(edits)) => edits,
        Ok(None) => return injected,
        Err(error) => return InjectorAnswer::Declined(error),
    };
    let (ready, valued) = match values.plan.split(injector, mode, edits) {
        Ok(split) => split,
        Err(error) => return InjectorAnswer::Declined(error),
    };
    if let Err(problem) = draft.apply_all(&origin, &requested.options, &ready) {
        return problem;
    }
    if let Some(references) = &mut values.references {
        references.add(&ready);
    }
    values.plan.take((values.position, &requested.options), (position, injector), valued);
    injected
}

/// The calls for one request.
struct ServedRequest {
    attempts: Vec<Attempt>,
    findings: Vec<PolicyFinding>,
    /// The edits of the injector that injected.
    edits: Option<Vec<PodEdit>>,
}

// === impl Admitted ===

impl Admitted {
    fn without_requests(pod: &Pod, searched: Option<&ReferenceSyntax>) -> Self {
        Self { patch: Patch::default(), warnings: warnings::without_requests(pod, searched) }
    }
}
