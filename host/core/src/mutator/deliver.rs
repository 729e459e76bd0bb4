//! Delivers the values of an admission after all injectors have answered: names the Secrets,
//! applies the edits that refer to them, and writes them; adds the container that fetches values in
//! the pod.

use std::sync::Arc;

use super::{PodOrigin, Refusal, RequestReport, pod_draft::PodDraft};
use crate::{
    delivery::{
        DeliveredSecret, Delivery, DeliveryError, DeliveryPlan, DeliveryStore, FetchEdits, FetchPlan, NamingKey,
        NoDelivery, PodFetching, PodVersions, ShippedComponent, VERSIONS_ANNOTATION,
    },
    edit::{FETCH_CONTAINER, PodEdit},
    request::RequestOptions,
};

/// How the values of the injectors reach pods.
pub(super) struct ValueDelivery {
    /// The modes, in the order of the injectors.
    modes: Vec<Delivery>,
    store: Arc<dyn DeliveryStore>,
    pods: Option<PodFetching>,
}

// === impl ValueDelivery ===

impl ValueDelivery {
    pub(super) fn new(modes: Vec<Delivery>, store: Arc<dyn DeliveryStore>) -> Self {
        Self { modes, store, pods: None }
    }

    pub(super) fn with_pods(self, pods: Option<PodFetching>) -> Self {
        Self { pods, ..self }
    }

    pub(super) fn store(&self) -> &dyn DeliveryStore {
        &*self.store
    }

    /// The mode of the injector at this position.
    pub(super) fn mode(&self, position: usize) -> Delivery {
        self.modes.get(position).copied().unwrap_or(Delivery::Inline)
    }

    /// Delivers the values of a plan, and returns the Secrets. A dry run writes nothing.
    pub(super) async fn deliver(
        &self,
        mut plan: DeliveryPlan,
        draft: &mut PodDraft<'_>,
        origin: &PodOrigin<'_>,
        reports: &mut Vec<RequestReport>,
    ) -> Result<Vec<DeliveredSecret>, Refusal> {
        let fetches = std::mem::take(&mut plan.fetches);
        let (secrets, key) = self.name_secrets(plan, draft, origin, reports).await?;
        // Last: every other edit reaches the containers of the pod, and not the one that fetches.
        let (components, reports_changes) = match &self.pods {
            _ if fetches.is_empty() => (Vec::new(), false),
            Some(pods) => fetch_in_pod(pods, &fetches, draft, reports)?,
            None => return Err(refuse(&DeliveryError::Refused("delivery.pod.image is not set".to_owned()))),
        };
        self.annotate(&secrets, key, reports_changes, (draft, origin)).await?;
        draft.check_update().map_err(|missing| Refusal::for_update(&missing))?;
        for secret in &secrets {
            self.store.check(secret).map_err(|error| refuse(&error))?;
        }
        for component in &components {
            self.store.check_component(origin.namespace, component).map_err(|error| refuse(&error))?;
        }
        if !origin.dry_run {
            for component in &components {
                let ensured = self.store.ensure_component(origin.namespace, component).await;
                ensured.map_err(|error| refuse(&error))?;
            }
            for secret in &secrets {
                self.store.ensure(secret).await.map_err(|error| refuse(&error))?;
            }
        }
        Ok(secrets)
    }

    async fn name_secrets(
        &self,
        plan: DeliveryPlan,
        draft: &mut PodDraft<'_>,
        origin: &PodOrigin<'_>,
        reports: &mut Vec<RequestReport>,
    ) -> Result<(Vec<DeliveredSecret>, Option<NamingKey>), Refusal> {
        if !plan.has_secrets() {
            return Ok((Vec::new(), None));
        }
        let key = self.store.naming_key(origin.dry_run).await.map_err(|error| Refusal::for_delivery(&error))?;
        let (secrets, completed) = plan.finish(origin.namespace, &key);
        for answer in completed {
            apply(draft, reports, answer.request, &answer.edits)?;
        }
        Ok((secrets, Some(key)))
    }

    /// Adds to the pod the versions of its values, and whether it reports changes, so that a later
    /// check finds pods with old values.
    async fn annotate(
        &self,
        secrets: &[DeliveredSecret],
        key: Option<NamingKey>,
        reports_changes: bool,
        (draft, origin): (&mut PodDraft<'_>, &PodOrigin<'_>),
    ) -> Result<(), Refusal> {
        let key = match key {
            _ if !self.store.records_versions() => return Ok(()),
            Some(key) => key,
            None if reports_changes => self.store.sealing_key(origin.dry_run).await.map_err(|error| refuse(&error))?,
            None => return Ok(()),
        };
        let versions = PodVersions::of(secrets, &key).with_reports(reports_changes);
        let Some(text) = versions.to_annotation(origin.namespace, &key) else { return Ok(()) };
        draft.set_own_annotation(VERSIONS_ANNOTATION, text).map_err(|problem| Refusal::for_container(&problem))
    }
}

/// Adds the containers that fetch. Returns the components that the namespace needs, and whether the
/// pod reports changes of its values.
fn fetch_in_pod<'p>(
    pods: &'p PodFetching,
    fetches: &'p FetchPlan,
    draft: &mut PodDraft<'_>,
    reports: &mut Vec<RequestReport>,
) -> Result<(Vec<&'p ShippedComponent>, bool), Refusal> {
    fetches.check_references(pods.variables).map_err(|error| refuse(&error))?;
    for (request, edits) in fetches.request_edits(pods.variables) {
        apply(draft, reports, request, &edits)?;
    }
    let secrets: Vec<_> = reports.iter().map(|report| report.request.to_string()).collect();
    let planned = fetches.container_edits(pods, &secrets, draft.received());
    let FetchEdits { edits, reports_changes } = planned.map_err(|error| refuse(&error))?;
    let origin = format!("the init container {FETCH_CONTAINER}");
    draft.apply_all(&origin, &RequestOptions::default(), &edits).map_err(|problem| Refusal::for_container(&problem))?;
    Ok((fetches.shipped(pods), reports_changes))
}

fn refuse(error: &DeliveryError) -> Refusal {
    Refusal::for_delivery(error)
}

/// Applies edits of one request, or returns the refusal of the pod.
fn apply(
    draft: &mut PodDraft<'_>,
    reports: &mut Vec<RequestReport>,
    request: usize,
    edits: &[PodEdit],
) -> Result<(), Refusal> {
    let report = &mut reports[request];
    let Some(attempt) = report.attempts.last_mut() else { return Ok(()) };
    let source = format!("injector {} for {}", attempt.injector, report.annotation);
    let Err(problem) = draft.apply_all(&source, &report.options.clone(), edits) else { return Ok(()) };
    attempt.answer = problem;
    let refusal = Refusal::for_report(report);
    reports.truncate(request + 1);
    Err(refusal.expect("an answer that is not applied is refused"))
}

impl Default for ValueDelivery {
    /// Every value is text in the pod.
    fn default() -> Self {
        Self::new(Vec::new(), Arc::new(NoDelivery))
    }
}
