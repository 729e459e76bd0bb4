//! The test harness itself: its programs start, and missing ones are reported, without a webhook.
//!
//! If these tests fail, the results of the other tests in this binary mean nothing.

use ampoule_tests::{ApiServer, asking, pod};
use anyhow::Result;
use serde_json::json;

#[tokio::test]
async fn a_pod_on_an_api_server_without_a_webhook_is_unchanged() -> Result<()> {
    let namespace = ApiServer::shared().await?.namespace("no-webhook").await?;
    let asks = asking("asks", ["m4zg54lqhiqce4ltmvzc11lomzxsectlmv3tuibcovzwk3s6onswg3tfoqrau"]);
    let created = namespace.create_pod(&asks).await?;
    assert_eq!(created["metadata"]["annotations"], asks["metadata"]["annotations"]);
    assert_eq!(created["spec"]["containers"][0]["env"], json!(null));
    assert_eq!(created["spec"]["volumes"], json!(null));
    Ok(())
}

#[tokio::test]
async fn a_pod_that_the_api_server_refuses_is_reported_with_its_status() -> Result<()> {
    let namespace = ApiServer::shared().await?.namespace("refused").await?;
    let mut wrong = pod("wrong");
    wrong["spec"]["containers"] = json!([]);
    let refusal = namespace.try_create_pod(&wrong).await?.unwrap_err();
    assert_eq!((refusal.code, refusal.reason.as_str()), (422, "Invalid"));
    assert_eq!(refusal.by("secrets"), None);
    assert!(!namespace.has_pod("wrong").await?);
    Ok(())
}
