//! Logins to Microsoft Entra: a client assertion for a workload identity, and the instance metadata
//! service for a managed identity.

use ampoule_config::AzureCredential;

use super::*;

fn azure(metadata_endpoint: Option<&str>, client_id: Option<&str>) -> CredentialConfig {
    CredentialConfig::Azure(AzureCredential {
        scope: "https://vault.azure.net/.default".to_owned(),
        client_id: client_id.map(ToOwned::to_owned),
        tenant_id: None,
        authority_host: None,
        metadata_endpoint: metadata_endpoint.map(ToOwned::to_owned),
    })
}

#[tokio::test]
async fn a_workload_identity_sends_a_client_assertion() {
    let server = LoginServer::start(|_| token_reply("t0ken")).await;
    let (_folder, path) = file("eyJ.jwt");
    let authority = format!("{}/", server.url);
    let variables = [
        ("AZURE_FEDERATED_TOKEN_FILE", path.to_str().unwrap()),
        ("AZURE_CLIENT_ID", "client"),
        ("AZURE_TENANT_ID", "tenant"),
        ("AZURE_AUTHORITY_HOST", &authority),
    ];
    for (configured, client) in [(None, "client"), (Some("other"), "other")] {
        let sent = attach(azure(None, configured), &server.surroundings(&variables)).await;
        assert_eq!(sent, Ok(vec!["authorization: Bearer t0ken".to_owned()]));
        let [login] = &server.take()[..] else { panic!("one login") };
        assert_eq!(login.line(), "POST /tenant/oauth2/v2.0/token");
        let expected = [
            ("client_id", client),
            ("scope", "https://vault.azure.net/.default"),
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", "eyJ.jwt"),
        ];
        assert_eq!(login.form(), pairs(&expected));
    }
    let CredentialConfig::Azure(config) = azure(None, None) else { unreachable!() };
    let with_host = AzureCredential { authority_host: Some(server.url.clone()), ..config };
    let elsewhere = [&variables[..3], &[("AZURE_AUTHORITY_HOST", "https://127.0.0.1:1")]].concat();
    let sent = attach(CredentialConfig::Azure(with_host), &server.surroundings(&elsewhere)).await;
    assert_eq!((sent, server.take().len()), (Ok(vec!["authorization: Bearer t0ken".to_owned()]), 1));
    let sent = attach(azure(None, None), &server.surroundings(&variables[..2])).await;
    assert_eq!(sent, Err(CredentialError::Misconfigured), "without a tenant");
    let plain = [&variables[..3], &[("AZURE_AUTHORITY_HOST", "http://127.0.0.1")]].concat();
    let sent = attach(azure(None, None), &server.surroundings(&plain)).await;
    assert_eq!(sent, Err(CredentialError::Misconfigured), "without TLS");
    assert!(server.take().is_empty());
}

#[tokio::test]
async fn a_managed_identity_asks_the_metadata_service_for_a_resource() {
    // This service sends the lifetime as text.
    let reply = r#"{"access_token":"t0ken","expires_in":"86399","resource":"r","token_type":"Bearer"}"#;
    let server = LoginServer::start(move |_| (200, reply.to_owned())).await;
    let path = "GET /metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net";
    for (client, expected) in [(None, path.to_owned()), (Some("c"), format!("{path}&client_id=c"))] {
        let sent = attach(azure(Some(&server.url), client), &server.surroundings).await;
        assert_eq!(sent, Ok(vec!["authorization: Bearer t0ken".to_owned()]));
        let [login] = &server.take()[..] else { panic!("one login") };
        assert_eq!((login.line(), login.header("metadata")), (expected, Some("true")));
    }
}
