//! End-to-end tests: the real binary as a process behind a real API server.
//!
//! Every test has its own namespace and process; the API server is shared. `cargo xtask test`
//! installs the programs that the tests need.

#[path = "attack/attack.rs"]
mod attack;
#[path = "e2e/audit.rs"]
mod audit;
#[path = "e2e/authors.rs"]
mod authors;
#[path = "e2e/calls.rs"]
mod calls;
#[path = "e2e/certificates.rs"]
mod certificates;
#[path = "e2e/clients.rs"]
mod clients;
#[path = "e2e/cluster.rs"]
mod cluster;
#[path = "e2e/compiling.rs"]
mod compiling;
#[path = "e2e/console.rs"]
mod console;
#[path = "e2e/credentials.rs"]
mod credentials;
#[path = "e2e/delivery.rs"]
mod delivery;
#[path = "e2e/deploy.rs"]
mod deploy;
#[path = "e2e/embedded.rs"]
mod embedded;
#[path = "e2e/export_policy.rs"]
mod export_policy;
#[path = "e2e/fields.rs"]
mod fields;
#[path = "e2e/flyte.rs"]
mod flyte;
#[path = "e2e/global.rs"]
mod global;
#[path = "e2e/grants.rs"]
mod grants;
#[path = "e2e/harness.rs"]
mod harness;
#[path = "e2e/hot_reload.rs"]
mod hot_reload;
#[path = "e2e/inject.rs"]
mod inject;
#[path = "e2e/invalidation.rs"]
mod invalidation;
#[path = "e2e/lifecycle.rs"]
mod lifecycle;
#[path = "e2e/load.rs"]
mod load;
#[path = "e2e/many_pods.rs"]
mod many_pods;
#[path = "e2e/observe.rs"]
mod observe;
#[path = "e2e/outage.rs"]
mod outage;
#[path = "e2e/overload.rs"]
mod overload;
#[path = "e2e/people.rs"]
mod people;
#[path = "e2e/plain.rs"]
mod plain;
#[path = "e2e/pod_fetch.rs"]
mod pod_fetch;
#[path = "e2e/policy.rs"]
mod policy;
#[path = "e2e/ports.rs"]
mod ports;
#[path = "e2e/privacy.rs"]
mod privacy;
#[path = "e2e/projects.rs"]
mod projects;
#[path = "e2e/proxies.rs"]
mod proxies;
#[path = "e2e/references.rs"]
mod references;
#[path = "e2e/refuse.rs"]
mod refuse;
#[path = "e2e/registration.rs"]
mod registration;
#[path = "e2e/registration_object.rs"]
mod registration_object;
#[path = "e2e/release.rs"]
mod release;
#[path = "e2e/reload.rs"]
mod reload;
#[path = "e2e/rights.rs"]
mod rights;
#[path = "e2e/rotation.rs"]
mod rotation;
#[path = "e2e/sdks.rs"]
mod sdks;
#[path = "e2e/shapes.rs"]
mod shapes;
#[path = "e2e/sources.rs"]
mod sources;
#[path = "e2e/store_faults.rs"]
mod store_faults;
#[path = "e2e/stores.rs"]
mod stores;
#[path = "e2e/support.rs"]
mod support;
#[path = "e2e/token_request.rs"]
mod token_request;
#[path = "e2e/traces.rs"]
mod traces;
#[path = "e2e/value_cache.rs"]
mod value_cache;
#[path = "e2e/zero_loss.rs"]
mod zero_loss;
