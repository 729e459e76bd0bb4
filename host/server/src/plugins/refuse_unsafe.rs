//! [`refuse_unsafe`]: plugins of ConfigMaps that a webhook with unauthenticated clients must not
//! have.

use ampoule_components::ListedInjector;
use ampoule_config::{Config, components_remedy, values_remedy};

/// Rejects plugins of ConfigMaps with a grant that can read values, or whose component would be
/// written for anyone. The check of the configuration rejects all others.
pub(super) fn refuse_unsafe(injectors: &mut [ListedInjector], config: &Config) {
    for injector in injectors {
        let Ok(own) = &injector.config else { continue };
        let problem = match own.first_that_reads() {
            Some(grant) => Some(format!("grants.{grant} {}", values_remedy())),
            None if own.delivers_component(&config.delivery.pod) => Some(format!("delivery: {}", components_remedy())),
            None => None,
        };
        if let Some(problem) = problem {
            injector.config = Err(anyhow::anyhow!("injector {}: {problem}", injector.name));
        }
    }
}
