//! The pure part of Ampoule: secret requests, injector answers, pod edits and the JSON patch.
//!
//! Nothing here performs I/O, reads a clock, or depends on wasmtime, tokio or a Kubernetes client.
//! An admission runs through [`RequestedSecret::from_annotations`] → [`PodMutator::mutate`] →
//! [`Mutation`], which holds a minimal JSON patch.

mod ampoule_annotation;
mod annotations;
mod cluster_secrets;
mod delivery;
mod destination;
mod diff;
mod edit;
mod edit_permissions;
mod flyte;
mod generated_name;
mod grant;
mod host_credential;
mod injector;
mod limits;
mod memory;
mod mutator;
mod object_name;
mod observer;
mod outcome;
mod pod;
mod policy;
mod profile;
mod reference_syntax;
mod references;
mod request;
mod secret_name;
mod template;
pub mod text;

pub use self::{
    ampoule_annotation::SecretEntry,
    annotations::TRIGGER_LABELS,
    cluster_secrets::{ClusterSecrets, ClusterSecretsError, NoCluster, TokenRequestError},
    delivery::{
        ChangeReport, ComponentVolume, CurrentValue, CurrentValues, DeliveredKind, DeliveredSecret, Delivery,
        DeliveryError, DeliveryStore, FetchDocument, FetchInjector, FetchRecipe, FetchToken, FetchedFile, FetchedPart,
        FetchedTemplate, FetchedVariable, IMAGE_COMPONENTS, NamingKey, NoDelivery, PodFetching, PodVersions, PromiseOf,
        PromisedValue, REPLACED_UNTIL_ANNOTATION, RESTARTED_FOR_ANNOTATION, ROLLOUT_ANNOTATION, SHIPPED_DIRECTORY,
        ShippedComponent, TOKENS_DIRECTORY, VARIABLES_PATH, VARIABLES_VOLUME, VERSIONS_ANNOTATION, VariableDelivery,
    },
    destination::{Destination, prohibited_address},
    diff::diff,
    edit::container_patch::ContainerPatch,
    edit::{
        Annotation, AnnotationCollision, Csi, EditChange, EditDifference, EnvFromSecret, EnvSource, EnvVar,
        FETCH_CONTAINER, FETCH_VARIABLE, FieldsError, FileKeyRef, FileSource, InitContainer, KeyToPath, PodEdit,
        REFRESH_CONTAINER, Resources, SecretFile, SecretKeyRef, SecretValue, SecretVolume, SecurityContext,
        ServiceAccountToken, ValueSource, Volume, VolumeMount, VolumeSource,
    },
    edit_permissions::{AddedVolumes, EditKind, EditPermissions, ForbiddenEdit, NamePattern},
    generated_name::GeneratedName,
    grant::Grant,
    host_credential::{CredentialError, CredentialHeader, HostCredential, OutgoingRequest},
    injector::{FailureKind, Injection, InjectionError, InjectorFailure, InjectorSession, SecretInjector, Unavailable},
    limits::{Limits, PodLimits},
    memory::{AdmissionMemory, UnlimitedMemory},
    mutator::{
        Admitted, Attempt, InjectorAnswer, Mutation, OnFailure, PendingMutation, PodMutator, PodOrigin, Refusal,
        RefusalCode, RequestReport, ShadowComparison, ShadowInjector, ShadowResult, ShadowRun,
    },
    object_name::{is_dns_label, is_object_name},
    observer::{Call, CallObserver, CallOutcome, PluginObserver, Unobserved, ValueOrigin},
    outcome::AdmissionOutcome,
    pod::{ContainerKind, ContainerView, LazyPodView, Pod, PodError, PodView},
    policy::{
        InjectorFacts, PolicyAction, PolicyFinding, PolicyRule, PolicySession, RequestPolicy, RequestUser, Requester,
    },
    profile::{Conventions, EnvPlacement, InitContainerPosition, InjectedNames, Profile},
    reference_syntax::ReferenceSyntax,
    request::{
        AllKeys, AnnotationError, ContainerScope, MountRequirement, PartOfTemplate, REFERENCES_ANNOTATION,
        RequestOptions, RequestedSecret, SecretRequest, shown_place,
    },
    secret_name::{LabelledSecrets, SecretName},
    template::{FileTemplate, TemplateContent, TemplatePart, TemplateTooLarge},
};
