//! Pods that do not receive their secrets: the exact API error that their authors read, and the
//! code that Flyte evaluates.
//!
//! One of the plugins hangs: its own pods are refused, all others are served.

use ampoule_core::MountRequirement::{Any, EnvVar, File};
use ampoule_tests::{Ampoule, ApiServer, Namespace, asking};
use anyhow::{Context, Result};

use crate::support::{Guests, K8S, config, registered, request, v1};

/// Short, because the tests wait for it; long enough that an unoptimised process starts a guest
/// within it.
const SHORT: &str = "{ deadlineMillis: 300, queueWaitMillis: 5000 }";

/// Creates a pod with this annotation, and expects the refusal.
async fn check(namespace: &Namespace, annotation: &str, code: u16, reason: &str, message: &str) -> Result<()> {
    let refusal = namespace.try_create_pod(&asking("refused", [annotation])).await?;
    let refusal = refusal.err().with_context(|| format!("created, and not refused with {message}"))?;
    let text = refusal.by("secrets").with_context(|| format!("not from the webhook: {refusal}"))?;
    assert_eq!((refusal.code, refusal.reason.as_str(), text), (code, reason, message));
    assert!(!namespace.has_pod("refused").await?);
    Ok(())
}

#[tokio::test]
async fn a_missing_secret_is_refused_with_the_reason_of_every_plugin() -> Result<()> {
    let guests = Guests::write(&["echo"])?;
    let injectors = [K8S, &guests.injector("echo", "{}", "{ deadlineMillis: 5000 }")].concat();
    let (namespace, _ampoule) = registered("nobody", &config("flyte-v1", &injectors)).await?;
    let asked = request("not-found", "", EnvVar, "");
    check(
        &namespace,
        &asked,
        400,
        "BadRequest",
        "secret not-found/ (annotation flyte.secrets/s0, mount env-var) could not be injected: k8s: invalid request: k8s \
         Secrets Webhook require both key and group to be set. Secret: [not-found/]; echo: not found: echo answers so for \
         not-found/",
    )
    .await
}

#[tokio::test]
async fn an_annotation_that_cannot_be_read_is_refused_with_its_name() -> Result<()> {
    let (namespace, _ampoule) = registered("annotations", &v1()).await?;
    let cases = [
        ("ab0d", "annotation flyte.secrets/s0: illegal base32 data at input byte 2"),
        // `foo: 1` in base32.
        ("mzxw5orage", "annotation flyte.secrets/s0: line 1.0: unknown field name \"foo\" in core.Secret"),
    ];
    for (annotation, message) in cases {
        check(&namespace, annotation, 400, "BadRequest", message).await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_code_tells_whether_a_retry_helps() -> Result<()> {
    let guests = Guests::write(&["echo", "trap"])?;
    let injectors = [
        guests.injector("echo", "{}", "{ deadlineMillis: 5000 }"),
        guests.injector("trap", "{}", "{ deadlineMillis: 5000 }"),
    ];
    let (namespace, _ampoule) = registered("codes", &config("flyte-v1", &injectors.concat())).await?;
    let head =
        |group: &str| format!("secret {group}/key (annotation flyte.secrets/s0, mount any) could not be injected: ");
    let trap = "trap: plugin trap 1.0.0 trapped: wasm `unreachable` instruction executed";
    let cases = [
        // A denial ends the search: the second plugin is not called.
        ("denied", 403, "Forbidden", "echo: denied: echo answers so for denied/key".to_owned()),
        (
            "unavailable",
            503,
            "ServiceUnavailable",
            format!("echo: unavailable: echo answers so for unavailable/key; {trap}"),
        ),
        ("not-found", 500, "InternalError", format!("echo: not found: echo answers so for not-found/key; {trap}")),
    ];
    for (group, code, reason, message) in cases {
        let message = head(group) + &message;
        check(&namespace, &request(group, "key", Any, ""), code, reason, &message).await?;
    }
    Ok(())
}

#[tokio::test]
async fn one_unavailable_secret_refuses_the_whole_pod() -> Result<()> {
    let (namespace, _ampoule) = registered("whole", &v1()).await?;
    let pod = asking("refused", [request("group", "key", File, ""), request("group", "../key", File, "")]);
    let refusal = namespace.try_create_pod(&pod).await?.expect_err("a refusal");
    assert_eq!(
        refusal.by("secrets"),
        Some(
            "secret group/../key (annotation flyte.secrets/s1, mount file) could not be injected: k8s: invalid request: key \
             \"../key\" cannot name a file: leave out `/`, `:` and leading `..`"
        )
    );
    assert!(!namespace.has_pod("refused").await?);
    Ok(())
}

#[tokio::test]
async fn an_endless_plugin_refuses_only_its_own_pods() -> Result<()> {
    let guests = Guests::write(&["endless_loop"])?;
    let injectors = [K8S, &guests.injector("endless_loop", "{}", SHORT)].concat();
    let (namespace, ampoule) = registered("endless", &config("flyte-v1", &injectors)).await?;
    // The built-in injector does not serve a request without a key, so the endless guest is called:
    // four concurrent requests exceed the number of processors.
    let hopeless: Vec<_> = (0..4)
        .map(|i| {
            let (namespace, pod) =
                (namespace.clone(), asking(&format!("hopeless-{i}"), [request("group", "", Any, "")]));
            tokio::spawn(async move { namespace.try_create_pod(&pod).await })
        })
        .collect();
    for i in 0..20 {
        let created =
            namespace.create_pod(&asking(&format!("good-{i}"), [request("group", "key", EnvVar, "")])).await?;
        assert_eq!(created["spec"]["containers"][0]["env"][0]["name"], "_FSEC_GROUP_KEY");
    }
    for refused in hopeless {
        let refusal = refused.await??.expect_err("a refusal");
        assert_eq!((refusal.code, refusal.reason.as_str()), (503, "ServiceUnavailable"));
        assert_eq!(
            refusal.by("secrets"),
            Some(
                "secret group/ (annotation flyte.secrets/s0, mount any) could not be injected: k8s: invalid request: k8s \
                 Secrets Webhook require both key and group to be set. Secret: [group/]; endless-loop: plugin endless-loop \
                 1.0.0 exceeded its deadline of 300 ms (injectors[].limits.deadlineMillis)"
            )
        );
    }
    let metrics = ampoule.admin("/metrics").await?.text();
    let line = "ampoule_plugin_traps_total{plugin=\"endless-loop\",kind=\"deadline\"} 4\n";
    assert!(metrics.contains(line), "{metrics}");
    Ok(())
}

#[tokio::test]
async fn an_endless_plugin_that_is_called_first_only_delays_the_next() -> Result<()> {
    let guests = Guests::write(&["endless_loop"])?;
    let injectors = [&guests.injector("endless_loop", "{}", SHORT), K8S].concat();
    let (namespace, _ampoule) = registered("endless-first", &config("flyte-v1", &injectors)).await?;
    let created = namespace.create_pod(&asking("task", [request("group", "key", EnvVar, "")])).await?;
    assert_eq!(created["spec"]["containers"][0]["env"][0]["name"], "_FSEC_GROUP_KEY");
    Ok(())
}

#[tokio::test]
async fn an_unreachable_webhook_refuses_every_labelled_pod() -> Result<()> {
    let namespace = ApiServer::shared().await?.namespace("gone").await?;
    let ampoule = Ampoule::start(&v1()).await?;
    namespace.register(&ampoule).await?;
    ampoule.stop().await?.ensure_clean()?;
    let refusal = namespace.try_create_pod(&asking("task", [request("group", "key", EnvVar, "")])).await?;
    let refusal = refusal.expect_err("failurePolicy is Fail");
    assert_eq!((refusal.code, refusal.by("secrets")), (500, None), "{refusal}");
    Ok(())
}
