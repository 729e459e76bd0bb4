//! What a guest can use and reach. By default it reaches nothing.
//!
//! | module | task |
//! | --- | --- |
//! | [`limits`] | every bound that a guest can exceed |
//! | [`grants`] | the grants of one plugin |
//! | [`services`] | the parts of the host that plugins reach through grants |
//! | [`context`] | one plugin as the host sees it: name, limits, grants, services |
//! | [`budgets`] | what the instances of a plugin share during one admission |
//! | [`answer`] | the answer to one request, as the guest builds it |
//! | [`builders`] | volumes and init containers that a guest builds |
//! | [`facts`] | what a guest learned from the host |
//! | [`fetch`] | the answer to one promise |
//! | [`cache`] | what a plugin keeps between admissions |
//! | [`store`] | the state of one instance, and the bounds that wasmtime enforces on it |
//! | [`ticker`] | interrupts guests that compute |
//! | [`wasi`] | WASI 0.2 |
//! | [`guest_http`] | HTTP requests of guests |
//! | [`outbound`] | granted hosts, name resolution and budgets |
//! | [`secrets`] | reads Kubernetes Secrets for guests |
//! | [`log`] | log lines of guests |
//! | [`output`] | what guests write to their standard output and error |

pub(crate) mod answer;
pub(crate) mod budgets;
pub(crate) mod builders;
pub(crate) mod cache;
pub(crate) mod context;
pub(crate) mod facts;
pub(crate) mod fetch;
pub(crate) mod grants;
pub(crate) mod guest_http;
pub(crate) mod limits;
pub(crate) mod log;
pub(crate) mod outbound;
pub(crate) mod output;
pub(crate) mod secrets;
pub(crate) mod services;
pub(crate) mod store;
pub(crate) mod ticker;
pub(crate) mod wasi;
