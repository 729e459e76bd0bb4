//! Permissions over every kind of edit, reserved names, ceilings, and the whole message of a
//! refusal.
//!
//! Patterns are written as in the configuration.

use crate::{
    Annotation, AnnotationCollision, Csi, EnvSource, EnvVar, InitContainer, PodEdit, SecretRequest, SecretVolume,
    ServiceAccountToken, Volume, VolumeMount, VolumeSource,
};

use super::*;

const DIRECTORY: &str = "/etc/flyte/secrets";

fn variable(name: &str) -> PodEdit {
    PodEdit::SetEnv(EnvVar { name: name.to_owned(), source: EnvSource::Literal("x".to_owned()) })
}

fn volume(source: VolumeSource) -> PodEdit {
    PodEdit::AddVolume(Volume { name: "v".to_owned(), source })
}

fn json(text: &str) -> PodEdit {
    volume(VolumeSource::Json(text.to_owned()))
}

fn token(audience: Option<&str>) -> PodEdit {
    let audience = audience.map(str::to_owned);
    let token = ServiceAccountToken { audience, expiration_seconds: None, path: "token".to_owned() };
    volume(VolumeSource::ServiceAccountToken(token))
}

fn csi(driver: &str) -> PodEdit {
    let csi = Csi { driver: driver.to_owned(), read_only: true, attributes: Vec::new(), node_publish_secret: None };
    volume(VolumeSource::Csi(csi))
}

fn mount(path: &str) -> PodEdit {
    PodEdit::MountVolume(VolumeMount { volume: "v".to_owned(), path: path.to_owned(), read_only: true, sub_path: None })
}

fn init_container(image: &str) -> PodEdit {
    PodEdit::AddInitContainer(InitContainer {
        name: "init".to_owned(),
        image: image.to_owned(),
        command: Vec::new(),
        args: Vec::new(),
        // Its own variables need no permission.
        env: vec![EnvVar { name: "PATH".to_owned(), source: EnvSource::Literal("/bin".to_owned()) }],
        mounts: Vec::new(),
        resources: None,
        security_context: None,
        position: None,
        patches: Vec::new(),
    })
}

fn annotation(key: &str) -> PodEdit {
    let collision = AnnotationCollision::IfAbsent;
    PodEdit::SetAnnotation(Annotation { key: key.to_owned(), value: "x".to_owned(), collision })
}

fn secret() -> PodEdit {
    let source = SecretVolume { secret_name: "s".to_owned(), items: Vec::new(), optional: false };
    volume(VolumeSource::Secret(source))
}

fn memory() -> PodEdit {
    volume(VolumeSource::Memory { size_limit: None })
}

/// Returns the refused name; `""` if the edit is permitted.
fn refused(permissions: &EditPermissions, edit: PodEdit) -> String {
    // The volume of `mount`.
    check(permissions, &[edit], "v").err().map(|error| error.name).unwrap_or_default()
}

/// Checks an answer of a plugin that added a volume before.
fn check(permissions: &EditPermissions, edits: &[PodEdit], added: &str) -> Result<(), ForbiddenEdit> {
    let mut added = AddedVolumes([added.to_owned()].into());
    permissions.check(edits, &SecretRequest::default(), &mut added)
}

#[test]
fn ordinary_permissions_allow_secrets_below_the_mount_directory() {
    let ordinary = EditPermissions::ordinary(DIRECTORY);
    for (edit, name) in [
        (variable("TOKEN"), ""),
        (secret(), ""),
        (memory(), ""),
        (mount("/etc/flyte/secrets"), ""),
        (mount("/etc/flyte/secrets/group"), ""),
        (mount("/etc/flyte/secrets-too"), "/etc/flyte/secrets-too"),
        (mount("/app"), "/app"),
        (init_container("evil:1"), "evil:1"),
        (annotation("sidecar.istio.io/inject"), "sidecar.istio.io/inject"),
        (PodEdit::AddImagePullSecret("pull".to_owned()), "pull"),
        (token(Some("vault")), "serviceAccountToken/vault"),
        (token(None), "serviceAccountToken/"),
        (csi("secrets-store.csi.k8s.io"), "csi/secrets-store.csi.k8s.io"),
        (json(r#"{"hostPath":{"path":"/"}}"#), "hostPath"),
        (json(r#"{"secret":{},"projected":{}}"#), "projected"),
        (json(r#"{"csi":{"driver":"x"}}"#), "csi/x"),
    ] {
        assert_eq!(refused(&ordinary, edit.clone()), name, "{edit:?}");
    }
}

#[test]
fn a_pattern_does_not_cover_a_reserved_name() {
    let mut all = EditPermissions::default();
    for kind in EditKind::ALL {
        all.set(kind, vec![NamePattern::new("*")]);
    }
    let table = [
        (EditKind::Variables, variable("LD_PRELOAD"), "LD_PRELOAD"),
        (EditKind::Variables, variable("https_proxy"), "https_proxy"),
        (
            EditKind::Mounts,
            mount("/var/run/secrets/kubernetes.io/serviceaccount"),
            "/var/run/secrets/kubernetes.io/serviceaccount",
        ),
        (EditKind::Mounts, mount("//run/./secrets/"), "//run/./secrets/"),
        (EditKind::Mounts, mount("/"), "/"),
        (EditKind::Mounts, mount("/proc/1"), "/proc/1"),
        (EditKind::Volumes, json(r#"{"hostPath":{"path":"/"}}"#), "hostPath"),
    ];
    for (kind, edit, name) in table {
        assert_eq!(refused(&all, edit.clone()), name);
        let mut exact = all.clone();
        exact.set(kind, vec![NamePattern::new(name)]);
        assert_eq!(refused(&exact, edit), "", "the exact name is permitted: {name}");
    }
    for edit in [variable("LDAP"), variable("MY_PATH"), mount("/run/secrets/mine"), token(None), init_container("x")] {
        assert_eq!(refused(&all, edit), "");
    }
}

#[test]
fn a_variable_that_the_pod_requests_by_name_is_not_reserved() {
    let request = SecretRequest { env_var: Some("NODE_OPTIONS".to_owned()), ..SecretRequest::default() };
    let ordinary = EditPermissions::ordinary(DIRECTORY);
    let check = |permissions: &EditPermissions, name| {
        permissions.check(&[variable(name)], &request, &mut AddedVolumes::default())
    };
    assert_eq!(check(&ordinary, "NODE_OPTIONS"), Ok(()));
    assert!(check(&ordinary, "NODE_PATH").is_err());
    assert!(check(&EditPermissions::default(), "NODE_OPTIONS").is_err(), "a forbidden kind");
}

#[test]
fn an_empty_list_forbids_the_kind_and_the_message_names_it() {
    let none = EditPermissions::default();
    let line_break = "x\ny".to_owned();
    for (edit, message) in [
        (
            variable("A"),
            "the plugin answered with the variable \"A\", which its permissions do not cover (edits.variables)",
        ),
        (
            secret(),
            "the plugin answered with a volume of the kind \"secret\", which its permissions do not cover (edits.volumes)",
        ),
        (mount("/a"), "the plugin answered with a mount at \"/a\", which its permissions do not cover (edits.mounts)"),
        (
            init_container("a/b:1"),
            "the plugin answered with an init container of the image \"a/b:1\", which its permissions do not cover (edits.images)",
        ),
        (
            annotation("k"),
            "the plugin answered with the annotation \"k\", which its permissions do not cover (edits.annotations)",
        ),
        (
            PodEdit::AddImagePullSecret(line_break),
            "the plugin answered with the image pull secret \"x\\ny\", which its permissions do not cover (edits.imagePullSecrets)",
        ),
    ] {
        let error = check(&none, &[edit], "v").unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_plugin_mounts_the_volumes_that_it_added_and_those_that_its_permissions_name() {
    let own = PodEdit::AddVolume(Volume { name: "own".to_owned(), source: VolumeSource::Memory { size_limit: None } });
    let mount = |volume: &str| {
        let (path, sub_path) = (format!("{DIRECTORY}/x"), None);
        VolumeMount { volume: volume.to_owned(), path, read_only: true, sub_path }
    };
    let mounting = |volume: &str| PodEdit::MountVolume(mount(volume));
    let in_container = |volume: &str| {
        let PodEdit::AddInitContainer(mut container) = init_container("good:1") else { panic!("an init container") };
        container.mounts.push(mount(volume));
        PodEdit::AddInitContainer(container)
    };
    let permissions = |names: &[&str]| {
        let mut permissions = EditPermissions::ordinary(DIRECTORY);
        permissions.set(EditKind::Images, vec![NamePattern::new("*")]);
        permissions.set(EditKind::PodVolumes, names.iter().map(|name| NamePattern::new(name)).collect());
        permissions
    };
    let token = "kube-api-access-x7k2p";
    for (names, edits, expected) in [
        (&[][..], vec![mounting("own"), own.clone()], ""),
        (&[], vec![in_container("own"), own.clone()], ""),
        (&[], vec![mounting("earlier"), in_container("earlier")], ""),
        (&[], vec![own.clone(), mounting("theirs")], "theirs"),
        (&[], vec![own.clone(), in_container("theirs")], "theirs"),
        (&["shared"], vec![mounting("shared"), in_container("shared")], ""),
        (&["shared"], vec![mounting("theirs")], "theirs"),
        (&["*"], vec![mounting("theirs")], ""),
        (&["*", "kube-api-access-*"], vec![mounting(token)], token),
        (&[token], vec![mounting(token)], ""),
    ] {
        let result = check(&permissions(names), &edits, "earlier");
        assert_eq!(result.err().map(|error| error.name).unwrap_or_default(), expected, "{names:?}: {edits:?}");
    }
    let error = check(&permissions(&[]), &[mounting("theirs")], "own").unwrap_err().to_string();
    let expected = "the plugin answered with a mount of the pod's volume \"theirs\", which its permissions do not cover \
                    (edits.podVolumes)";
    assert_eq!(error, expected);
}

#[test]
fn the_intersection_of_two_permissions_permits_what_both_do() {
    let list = |patterns: &[&str]| {
        let mut permissions = EditPermissions::default();
        permissions.set(EditKind::Images, patterns.iter().map(|pattern| NamePattern::new(pattern)).collect());
        permissions
    };
    for (one, other, both) in [
        (&["*"][..], &["a/*", "b:1"][..], &["a/*", "b:1"][..]),
        (&["a/*"], &["a/b/*", "c/*"], &["a/b/*"]),
        (&["a/x"], &["a/*"], &["a/x"]),
        (&["a/*"], &["a/*"], &["a/*"]),
        (&["a"], &["b"], &[]),
        (&["a*"], &[], &[]),
    ] {
        let (one, other, both) = (list(one), list(other), list(both));
        assert_eq!(one.intersection(&other).names(EditKind::Images), both.names(EditKind::Images));
        assert_eq!(other.intersection(&one).names(EditKind::Images), both.names(EditKind::Images));
        let beyond = one.first_beyond(EditKind::Images, &other);
        assert_eq!(beyond.is_none(), one.names(EditKind::Images) == both.names(EditKind::Images), "{beyond:?}");
    }
}
