//! The pure part of Ampoule: what a pod asks for, what injectors answer, and the patch that comes of it.
//!
//! Nothing here does I/O, reads a clock, or knows wasmtime, tokio or a Kubernetes client. The way of one admission:
//! [`RequestedSecret::from_annotations`] → [`PodMutator::mutate`] → [`Mutation`] with its minimal JSON patch.

mod destination;
mod diff;
mod edit;
mod excerpt;
mod flyte;
mod injector;
mod limits;
mod mutator;
mod outcome;
mod people;
mod pod;
mod profile;
mod request;
mod secret_name;

pub use self::{
    destination::{Destination, prohibited_address},
    diff::diff,
    edit::{
        Annotation, AnnotationCollision, Csi, EnvSource, EnvVar, InitContainer, InitContainerPosition, KeyToPath,
        PodEdit, Resources, SecretKeyRef, SecretValue, SecretVolume, SecurityContext, ServiceAccountToken, Volume,
        VolumeMount, VolumeSource,
    },
    injector::{FailureKind, Injection, InjectionError, InjectorFailure, InjectorSession, SecretInjector},
    limits::Limits,
    mutator::{Admitted, Answer, Asked, Attempt, Mutation, OnFailure, PodMutator, Refusal, RefusalCode, RequestReport},
    outcome::AdmissionOutcome,
    people::SecretEntry,
    pod::{ContainerKind, ContainerView, Pod, PodError, PodView},
    profile::{Conventions, EnvPlacement, Profile},
    request::{AnnotationError, MountRequirement, RequestedSecret, SecretRequest, TRIGGER_LABELS},
    secret_name::SecretName,
};
