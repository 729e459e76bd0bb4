//! Documents of registries: those that other programs push, with `null` for an absent field or an
//! index for several platforms, and those in the cache.

use ampoule_tests::Registry;
use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::{Desk, component, config, digest, guest, insecure, sha256};

#[tokio::test]
async fn a_manifest_with_null_and_an_index_of_one_component_can_be_pulled() -> Result<()> {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let (registry, desk) = (Registry::open().await?, Desk::new()?);
    let host = registry.host();
    let pull =
        |tag: &str| desk.check(&config(&insecure(&registry), &component(&format!("oci:{host}/team/echo:{tag}"))));
    let mut entries = Vec::new();
    for (tag, guest, platform) in [
        ("wasm", guest(), json!({ "os": "wasip2", "architecture": "wasm" })),
        ("linux", ampoule_test_guests::guest("counter"), json!({ "os": "linux", "architecture": "amd64" })),
    ] {
        let pushed = desk.push(&format!("{host}/team/echo:{tag}"), guest, &["--insecure", &host])?;
        let pushed = digest(pushed.map_err(anyhow::Error::msg)?.trim_end())?.to_owned();
        let size = registry.manifest("team/echo", tag).await?.to_string().len();
        entries.push(json!({ "mediaType": MANIFEST, "digest": pushed, "size": size, "platform": platform }));
    }
    let mut manifest = registry.manifest("team/echo", "wasm").await?;
    manifest["annotations"] = Value::Null;
    manifest["layers"][0]["annotations"] = Value::Null;
    registry.put_manifest("team/echo", "null", MANIFEST, &manifest).await?;
    let loaded = pull("null")?.map_err(anyhow::Error::msg)?;
    assert!(loaded.contains(&sha256(guest())), "{loaded}");

    let index = |entries: &[Value]| json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": entries });
    registry.put_manifest("team/echo", "multi", INDEX, &index(&entries)).await?;
    let loaded = pull("multi")?.map_err(anyhow::Error::msg)?;
    assert!(loaded.contains(&sha256(guest())), "{loaded}");
    entries[0]["platform"] = Value::Null;
    registry.put_manifest("team/echo", "unclear", INDEX, &index(&entries)).await?;
    let refused = pull("unclear")?.unwrap_err();
    let (wasm, linux) = (&entries[0]["digest"], &entries[1]["digest"]);
    let expected = format!(
        "the manifest is an index of several manifests, and not exactly one is for WebAssembly; name one by its \
         digest (@sha256:…): {}, {} (linux/amd64)\n",
        wasm.as_str().context("a digest")?,
        linux.as_str().context("a digest")?
    );
    assert!(refused.ends_with(&expected), "{refused}");
    Ok(())
}

#[tokio::test]
async fn a_pinned_plugin_in_the_cache_needs_no_registry() -> Result<()> {
    let (registry, desk) = (Registry::open().await?, Desk::new()?);
    let host = registry.host();
    let pushed = desk.push(&format!("{host}/team/echo:1"), guest(), &["--insecure", &host])?;
    let pinned = pushed.map_err(anyhow::Error::msg)?.trim_end().to_owned();
    let head = format!("{}\nengine: {{ cacheDirectory: \"{}\" }}", insecure(&registry), desk.path("cache").display());
    let pull = |source: &str| desk.check(&config(&head, &component(source)));
    let by_tag = format!("oci:{host}/team/echo:1");
    assert!(pull(&pinned)?.is_ok() && pull(&by_tag)?.is_ok());
    drop(registry);
    assert!(pull(&pinned)?.is_ok());
    let refused = pull(&by_tag)?.unwrap_err();
    assert!(
        refused.starts_with(&format!("error: injector mine: {by_tag}: the request to {host} failed: ")),
        "{refused}"
    );
    Ok(())
}
