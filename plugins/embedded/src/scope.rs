//! Scopes of secrets, and their names in Flyte 2.
//!
//! Flyte's names are not unique if a part contains `__`, so such parts are refused.

use ampoule_plugin_sdk::{
    InjectionError::{self, Denied, InvalidRequest, NotFound},
    prelude::*,
};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The labels of a pod that state its scope, in the order in which a missing one is reported.
const LABELS: [&str; 3] = ["organization", "project", "domain"];

/// An organization, and a domain and project of it. A broader scope has empty parts.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
pub(crate) struct Coordinates {
    pub(crate) organization: String,
    pub(crate) domain: String,
    pub(crate) project: String,
}

// === impl Coordinates ===

impl Coordinates {
    /// Reads the labels of a pod.
    pub(crate) fn of(pod: &Pod) -> Result<Self, InjectionError> {
        let [organization, project, domain] = LABELS.map(|label| pod.label(label).unwrap_or_default());
        for (label, value) in LABELS.into_iter().zip([&organization, &project, &domain]) {
            if value.is_empty() {
                let reason = format!("secret read requirements not met due to empty {label} field in the pod labels");
                return Err(InvalidRequest(reason));
            }
            if value.contains("__") {
                let reason = format!("the label {label} of the pod contains `__`, so its secrets have no unique name");
                return Err(InvalidRequest(reason));
            }
        }
        Ok(Self { organization, domain, project })
    }

    /// The scopes in which a secret is searched: project and domain, domain, organization.
    pub(crate) fn scopes(&self) -> [Self; 3] {
        let scope = |domain: &str, project: &str| Self {
            organization: self.organization.clone(),
            domain: domain.to_owned(),
            project: project.to_owned(),
        };
        [scope(&self.domain, &self.project), scope(&self.domain, ""), scope("", "")]
    }
}

/// Asks each scope in turn until one has the secret, and returns its identifier there with the
/// result.
///
/// A denied scope does not end the search: rights are often given by the start of a name, so a
/// store denies narrower names that do not exist. If no scope has the secret, the denial is the
/// reason.
pub(crate) fn walk<T>(
    of: &Coordinates,
    key: &str,
    ask: impl Fn(&Coordinates, &str) -> Result<Option<T>, InjectionError>,
) -> Result<(String, T), InjectionError> {
    let (mut denied, mut first_reason) = (Vec::new(), None);
    for scope in of.scopes() {
        let id = secret_id(&scope, key);
        match ask(&scope, &id) {
            Ok(Some(found)) => return Ok((id, found)),
            Ok(None) => {}
            Err(Denied(reason)) => {
                denied.push(id);
                first_reason.get_or_insert(reason);
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(reason) = first_reason {
        return Err(Denied(format!("access is denied to {} ({reason})", denied.join(", "))));
    }
    Err(not_found(of, key))
}

/// The error for a secret that no scope has.
pub(crate) fn not_found(of: &Coordinates, key: &str) -> InjectionError {
    let Coordinates { organization, domain, project } = of;
    NotFound(format!(
        "no secret {key:?} in project {project} and domain {domain}, in domain {domain}, or in organization \
         {organization}; create it with `flyte create secret {key}`"
    ))
}

/// Flyte's identifier of a secret.
pub(crate) fn secret_id(scope: &Coordinates, key: &str) -> String {
    let Coordinates { organization, domain, project } = scope;
    format!("u__org__{organization}__domain__{domain}__project__{project}__key__{key}")
}

/// The name of the Kubernetes Secret for an identifier. The identifier is the key in it.
pub(crate) fn secret_name(id: &str) -> String {
    format!("{:x}", md5::compute(id))
}

/// The name of the image pull secret that Flyte's backend creates for a secret.
pub(crate) fn pull_secret_name(scope: &Coordinates, key: &str) -> String {
    let Coordinates { organization, domain, project } = scope;
    let digest = Sha256::digest(format!("{organization}:{domain}:{project}:{key}"));
    format!("img-pull-{}", &HEXLOWER.encode(&digest)[..16])
}
