//! The API server with the rights of a caller: [`CallerClients`] creates a client for each request.
//!
//! A client has the token of the caller and no credential of this process. The API server
//! authenticates and authorizes; this process does not look into the token.

use ampoule_core::RequestUser;
use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, UserInfo},
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
};
use kube::{
    Api, Client, Config,
    api::{PostParams, Request},
    config::AuthInfo,
};
use secrecy::SecretString;
use serde_json::Value;

use crate::client::{ClusterError, infer_config};

/// Creates clients with the tokens of callers.
#[derive(Clone)]
pub struct CallerClients {
    /// The address of the API server and its CA, without a credential.
    config: Config,
}

/// The API server with the rights of one caller.
pub struct CallerClient(Client);

/// An action that a caller wants to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AskedAction<'a> {
    /// The verb, such as `get`.
    pub verb: &'a str,
    /// The API group; empty for the core group.
    pub group: &'a str,
    /// The resource, such as `pods`.
    pub resource: &'a str,
    /// The namespace; `None` for all namespaces, or for a cluster-scoped resource.
    pub namespace: Option<&'a str>,
}

// === impl CallerClients ===

impl CallerClients {
    /// Reads where the API server is, as [`crate::Cluster::connect`] does. The credentials of this
    /// process are dropped. It sends no request.
    ///
    /// # Errors
    ///
    /// The configuration is missing or not valid.
    pub async fn infer() -> Result<Self, ClusterError> {
        Ok(Self { config: without_credentials(infer_config().await?) })
    }

    /// Creates a client with this token. It has connections of its own.
    ///
    /// # Errors
    ///
    /// The client cannot be created.
    pub fn with_token(&self, token: SecretString) -> Result<CallerClient, ClusterError> {
        let mut config = self.config.clone();
        config.auth_info = AuthInfo { token: Some(token), ..AuthInfo::default() };
        Ok(CallerClient(Client::try_from(config)?))
    }
}

/// Removes everything that identifies this process, and the retries of the client.
fn without_credentials(mut config: Config) -> Config {
    config.auth_info = AuthInfo::default();
    config.headers.clear();
    config.default_retry = false;
    config
}

// === impl CallerClient ===

impl CallerClient {
    /// Asks the API server for the user of the token. `None` if it does not name the user: before
    /// Kubernetes 1.28, or if the caller may not ask.
    ///
    /// # Errors
    ///
    /// The API server refuses the token, or does not respond.
    pub async fn user(&self) -> Result<Option<RequestUser>, ClusterError> {
        let reviews: Api<SelfSubjectReview> = Api::all(self.0.clone());
        match reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await {
            Ok(review) => Ok(review.status.and_then(|status| status.user_info).map(to_request_user)),
            // RBAC refuses a resource that does not exist.
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the API server whether the caller may do something.
    ///
    /// # Errors
    ///
    /// The API server refuses the token, or does not respond.
    pub async fn may(&self, action: &AskedAction<'_>) -> Result<bool, ClusterError> {
        let attributes = ResourceAttributes {
            verb: Some(action.verb.to_owned()),
            group: Some(action.group.to_owned()),
            resource: Some(action.resource.to_owned()),
            namespace: action.namespace.map(str::to_owned),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        let reviews: Api<SelfSubjectAccessReview> = Api::all(self.0.clone());
        let review = reviews.create(&PostParams::default(), &review).await?;
        Ok(review.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
    }

    /// Creates a pod as a dry run (`dryRun=All`), and returns the pod that would be stored.
    ///
    /// # Errors
    ///
    /// The API server or an admission plugin refuses the pod.
    pub async fn dry_run_pod(&self, namespace: &str, pod: &Value) -> Result<Value, ClusterError> {
        let body = serde_json::to_vec(pod).map_err(kube::Error::SerdeError)?;
        let params = PostParams { dry_run: true, ..PostParams::default() };
        let path = format!("/api/v1/namespaces/{namespace}/pods");
        let request = Request::new(path).create(&params, body).map_err(kube::Error::BuildRequest)?;
        Ok(self.0.request(request).await?)
    }
}

fn to_request_user(user: UserInfo) -> RequestUser {
    RequestUser {
        username: user.username.unwrap_or_default(),
        uid: user.uid.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default().into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_credentials_of_the_process_are_dropped() {
        let mut config = Config::new("https://127.0.0.1:1/".parse().unwrap());
        config.auth_info = AuthInfo {
            token: Some("own-token".to_owned().into()),
            token_file: Some("/own-token".to_owned()),
            username: Some("own-name".to_owned()),
            client_certificate: Some("/own-certificate".to_owned()),
            impersonate: Some("own-name".to_owned()),
            ..AuthInfo::default()
        };
        config.headers.push(("impersonate-user".parse().unwrap(), "own-name".parse().unwrap()));
        let left = without_credentials(config);
        let AuthInfo { token, token_file, username, client_certificate, impersonate, .. } = left.auth_info;
        assert!(token.is_none() && token_file.is_none() && username.is_none() && impersonate.is_none());
        assert!(client_certificate.is_none() && left.headers.is_empty() && !left.default_retry);
    }
}
