//! The token of the webhook's service account, in the hands of an attacker.
//!
//! The API server applies RBAC to the roles of the chart.

use ampoule_tests::ApiServer;
use anyhow::Result;
use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration,
    core::v1::{Pod, Secret},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::release::{Release, render};

/// Number 8: the account could create any object, and patch its own one to `*/*`.
#[tokio::test]
async fn the_service_account_can_only_read_and_patch_its_own_object() -> Result<()> {
    let (name, other) = ("own-object", "foreign-object");
    let server = ApiServer::shared().await?;
    let release = Release::install(render(name, &[])?, name, None).await?;
    let admin = release.namespace.cluster_wide::<MutatingWebhookConfiguration>();
    let mut foreign = admin.get(name).await?;
    foreign.metadata = kube::api::ObjectMeta { name: Some(other.to_owned()), ..Default::default() };
    admin.create(&PostParams::default(), &foreign).await?;

    let token = release.token("Deployment").await?;
    let own = Api::<MutatingWebhookConfiguration>::all(server.client_of(&token)?);
    let (post, patch, delete) = (PostParams::default(), PatchParams::default(), DeleteParams::default());
    let everything = json!({ "webhooks": [{ "name": "secrets.ampoule.dev", "rules": [
        { "operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"] }
    ] }] });
    let everything = Patch::Strategic(everything);
    let mut third = foreign.clone();
    third.metadata.name = Some("third-object".to_owned());
    let stored = own.get(name).await?;
    let applied = Patch::Apply(serde_json::to_value(&third)?);
    let apply = PatchParams::apply("ampoule").force();
    let selected = ListParams::default().fields(&format!("metadata.name={name}"));
    for (what, result) in [
        ("create an object", own.create(&post, &third).await.map(drop)),
        ("apply a new object", own.patch("third-object", &apply, &applied).await.map(drop)),
        ("read another object", own.get(other).await.map(drop)),
        ("patch another object", own.patch(other, &patch, &everything).await.map(drop)),
        ("delete another object", own.delete(other, &delete).await.map(drop)),
        ("delete its own object", own.delete(name, &delete).await.map(drop)),
        ("replace its own object", own.replace(name, &post, &stored).await.map(drop)),
        ("list its own object", own.list(&selected).await.map(drop)),
        ("list all objects", own.list(&ListParams::default()).await.map(drop)),
    ] {
        let code = match &result {
            Err(kube::Error::Api(status)) => status.code,
            other => anyhow::bail!("{what}: {other:?}"),
        };
        assert_eq!(code, 403, "{what}");
    }
    // RBAC permits it: only the ValidatingAdmissionPolicy denies it, and this API server has none.
    // deploy/README.md states this.
    let patched = serde_json::to_value(own.patch(name, &patch, &everything).await?)?;
    assert_eq!(patched["webhooks"][0]["rules"][0]["resources"], json!(["*/*"]));
    admin.delete(name, &delete).await?;
    admin.delete(other, &delete).await?;
    Ok(())
}

/// Secrets with values need rights that RBAC cannot restrict to them. `delivery.namespaces` is the
/// bound.
#[tokio::test]
async fn an_account_that_delivers_values_reaches_only_the_secrets_of_the_listed_namespaces() -> Result<()> {
    let name = "listed-namespaces";
    let server = ApiServer::shared().await?;
    let values = [
        "clients.acceptValuesToAnyone=true",
        "config.globalSecrets.enabled=true",
        "config.delivery.namespaces[0]=listed-namespaces-pods",
    ];
    let release = Release::install(render(name, &values)?, name, None).await?;
    server.namespace("listed-namespaces-other").await?;
    let client = server.client_of(&release.token("Deployment").await?)?;
    let secrets = |namespace: &str| Api::<Secret>::namespaced(client.clone(), namespace);
    let pods = |namespace: &str| Api::<Pod>::namespaced(client.clone(), namespace);
    let (post, patch, delete) = (PostParams::default(), PatchParams::default(), DeleteParams::default());
    let (list, renewed) = (ListParams::default(), Patch::Merge(json!({ "metadata": { "annotations": { "a": "b" } } })));
    let secret: Secret = serde_json::from_value(json!({ "metadata": { "name": "any" } }))?;

    let [listed, other] = ["listed-namespaces-pods", "listed-namespaces-other"];
    secrets(listed).create(&post, &secret).await?;
    secrets(listed).patch("any", &patch, &renewed).await?;
    // The security model states it: `list` reads every Secret of the namespace.
    assert_eq!(secrets(listed).list(&list).await?.items.len(), 1);
    assert_eq!(pods(listed).list(&list).await?.items.len(), 0);
    for (what, result) in [
        ("get a Secret by its name", secrets(listed).get("any").await.map(drop)),
        ("replace a Secret", secrets(listed).replace("any", &post, &secret).await.map(drop)),
        ("create a Secret elsewhere", secrets(other).create(&post, &secret).await.map(drop)),
        ("patch a Secret elsewhere", secrets(other).patch("any", &patch, &renewed).await.map(drop)),
        ("list the Secrets elsewhere", secrets(other).list(&list).await.map(drop)),
        ("delete a Secret elsewhere", secrets(other).delete("any", &delete).await.map(drop)),
        ("list all Secrets", Api::<Secret>::all(client.clone()).list(&list).await.map(drop)),
        ("list its own namespace", secrets(name).list(&list).await.map(drop)),
        ("list the pods elsewhere", pods(other).list(&list).await.map(drop)),
        ("create a pod", pods(listed).create(&post, &Pod::default()).await.map(drop)),
    ] {
        let code = match &result {
            Err(kube::Error::Api(status)) => status.code,
            other => anyhow::bail!("{what}: {other:?}"),
        };
        assert_eq!(code, 403, "{what}");
    }
    secrets(listed).delete("any", &delete).await?;
    Ok(())
}
