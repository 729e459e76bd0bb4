//! Shared by the tests that need more than one crate: a real Kubernetes API server, the real
//! `ampoule` binary, and a client that controls every byte that it sends.
//!
//! Every wait has a limit, and every started program ends with the test process, however that
//! process ends.

mod ampoule;
mod browser;
mod collector;
mod eventually;
pub mod figures;
mod haproxy;
mod http;
mod kube;
mod kubelet;
mod large;
mod load;
mod mounted;
pub mod network;
mod node;
mod pods;
mod process;
mod programs;
mod prometheus;
mod registry;
mod renderers;
mod report;
mod review;
pub mod tls_front;

pub use self::{
    ampoule::{Ampoule, Exit, binary},
    browser::Browser,
    collector::{Collector, Span},
    eventually::eventually,
    haproxy::Haproxy,
    http::{Answer, Connection, Trust},
    kube::{ApiServer, Namespace, Refusal, Registration, free_ports},
    kubelet::{Container, Image},
    large::enlarge,
    load::{Creation, SteadyLoad},
    mounted::Mounted,
    node::{EndedContainer, Node, NodeImage, RunningPod, System, fetch_program, parse_variables},
    pods::{annotation, asking, pod, requests},
    process::Process,
    prometheus::{Prometheus, Series, promtool},
    registry::{Registry, Signer},
    renderers::{Renderers, axe, languages, moto, sdks, typos},
    review::{Response, Review},
};
