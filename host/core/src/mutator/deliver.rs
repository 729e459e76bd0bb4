//! Delivers the values of an admission after all injectors have answered: names the Secrets,
//! applies the edits that refer to them, and writes them.

use std::sync::Arc;

use super::{PodOrigin, Refusal, RequestReport, pod_draft::PodDraft};
use crate::delivery::{DeliveredSecret, Delivery, DeliveryError, DeliveryPlan, DeliveryStore, NoDelivery};

/// How the values of the injectors reach pods.
pub(super) struct ValueDelivery {
    /// The modes, in the order of the injectors.
    modes: Vec<Delivery>,
    store: Arc<dyn DeliveryStore>,
}

// === impl ValueDelivery ===

impl ValueDelivery {
    pub(super) fn new(modes: Vec<Delivery>, store: Arc<dyn DeliveryStore>) -> Self {
        Self { modes, store }
    }

    /// The mode of the injector at this position.
    pub(super) fn mode(&self, position: usize) -> Delivery {
        self.modes.get(position).copied().unwrap_or(Delivery::Inline)
    }

    /// Delivers the values of a plan, and returns the Secrets. A dry run writes nothing.
    pub(super) async fn deliver(
        &self,
        plan: DeliveryPlan,
        draft: &mut PodDraft<'_>,
        origin: &PodOrigin<'_>,
        reports: &mut Vec<RequestReport>,
    ) -> Result<Vec<DeliveredSecret>, Refusal> {
        if plan.is_empty() {
            return Ok(Vec::new());
        }
        let refuse = |error: DeliveryError| Refusal::for_delivery(&error);
        let key = self.store.naming_key().await.map_err(refuse)?;
        let (secrets, completed) = plan.finish(origin.namespace, &key);
        for answer in completed {
            let report = &mut reports[answer.request];
            let Some(attempt) = report.attempts.last_mut() else { continue };
            let source = format!("injector {} for {}", attempt.injector, report.annotation);
            if let Err(problem) = draft.apply_all(&source, &answer.edits) {
                attempt.answer = problem;
                let refusal = Refusal::for_report(report);
                reports.truncate(answer.request + 1);
                return Err(refusal.expect("an answer that is not applied is refused"));
            }
        }
        if !origin.dry_run {
            for secret in &secrets {
                self.store.ensure(secret).await.map_err(refuse)?;
            }
        }
        Ok(secrets)
    }
}

impl Default for ValueDelivery {
    /// Every value is text in the pod.
    fn default() -> Self {
        Self::new(Vec::new(), Arc::new(NoDelivery))
    }
}
