//! Answers in the place of the hosts, for whoever tests a plugin: [`HttpAnswers`].
//!
//! A request gets here as it would get to its host: judged, and counted.

use std::future::ready;

use ::http::{Method, Request, Response, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use wasmtime_wasi_http::{Error, WasiBody};

use super::{
    budget::CountedBody,
    exchange::{Exchange, Io},
};

/// Answers HTTP requests in the place of the hosts that they are for.
pub trait HttpAnswers: Send + Sync {
    /// The answer to a request that is granted. None is an internal error to the plugin, which names the method and the path.
    fn answer(&self, method: &Method, uri: &Uri) -> Option<Response<Bytes>>;
}

// === impl Exchange ===

impl Exchange {
    /// Has it answered, without a connection.
    pub(super) async fn answer(
        self,
        answers: &dyn HttpAnswers,
        request: Request<WasiBody>,
    ) -> Result<(Response<WasiBody>, Io), Error> {
        let (head, body) = request.into_parts();
        CountedBody::request(body, self.budget.clone()).collect().await?;
        let missing = || Error::InternalError(Some(format!("nothing answers {} {}", head.method, head.uri.path())));
        let response = answers.answer(&head.method, &head.uri).ok_or_else(missing)?.map(|body| {
            let body = Full::new(body).map_err(|never| match never {}).boxed_unsync();
            CountedBody::response(body, self.budget).boxed_unsync()
        });
        Ok((response, Box::new(ready(Ok(())))))
    }
}
