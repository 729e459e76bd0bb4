//! [`ApiServer`]: the API server with the rights of a caller, one client per request.
//!
//! The process implements it with [`CallerClients`]; tests have an implementation of their own.

use ampoule_cluster::{
    ClusterError,
    caller::{AskedAction, CallerClient, CallerClients},
};
use ampoule_core::RequestUser;
use async_trait::async_trait;
use serde_json::Value;

use crate::caller::CallerToken;

/// Creates a client for each request.
pub trait ApiServer: Send + Sync {
    /// Returns the API server with the rights of this caller.
    ///
    /// # Errors
    ///
    /// No client can be created.
    fn act_as(&self, token: CallerToken) -> Result<Box<dyn CallerApi>, ClusterError>;
}

/// The API server with the rights of one caller.
#[async_trait]
pub trait CallerApi: Send + Sync {
    /// Returns the user of the token; `None` if the API server is too old to name it.
    async fn user(&self) -> Result<Option<RequestUser>, ClusterError>;

    /// Returns whether the caller may do something.
    async fn may(&self, action: &AskedAction<'_>) -> Result<bool, ClusterError>;

    /// Creates a pod as a dry run, and returns the pod that would be stored.
    async fn dry_run_pod(&self, namespace: &str, pod: &Value) -> Result<Value, ClusterError>;
}

impl ApiServer for CallerClients {
    fn act_as(&self, token: CallerToken) -> Result<Box<dyn CallerApi>, ClusterError> {
        Ok(Box::new(self.with_token(token.into_secret())?))
    }
}

#[async_trait]
impl CallerApi for CallerClient {
    async fn user(&self) -> Result<Option<RequestUser>, ClusterError> {
        Self::user(self).await
    }

    async fn may(&self, action: &AskedAction<'_>) -> Result<bool, ClusterError> {
        Self::may(self, action).await
    }

    async fn dry_run_pod(&self, namespace: &str, pod: &Value) -> Result<Value, ClusterError> {
        Self::dry_run_pod(self, namespace, pod).await
    }
}
