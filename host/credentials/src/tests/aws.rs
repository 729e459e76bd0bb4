//! AWS: each source of an identity with every field of its requests, and signatures that are equal
//! to those of AWS's published test suite.

use std::time::{Duration, UNIX_EPOCH};

use ampoule_config::AwsCredential;
use serde_json::json;

use super::*;
use crate::aws::{
    Keys,
    signer::{SignedRequest, sign},
};

const ROLE: &str = "arn:aws:iam::123456789012:role/ampoule";
const KEYS: &str = "<AccessKeyId>ASIATEMP</AccessKeyId><SecretAccessKey>s3cret/+</SecretAccessKey>\
                    <SessionToken>sess10n==</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration>";

fn aws(url: &str, role: Option<&str>) -> CredentialConfig {
    CredentialConfig::AwsSigV4(AwsCredential {
        service: "secretsmanager".to_owned(),
        region: "eu-central-1".to_owned(),
        role_arn: role.map(ToOwned::to_owned),
        sts_endpoint: Some(url.to_owned()),
        metadata_endpoint: Some(url.to_owned()),
    })
}

fn metadata_keys() -> String {
    json!({ "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "ASIATEMP", "SecretAccessKey": "s3cret",
            "Token": "sess10n==", "Expiration": "2999-01-01T00:00:00Z" })
    .to_string()
}

/// Checks that a request is signed with the temporary keys.
fn assert_signed(sent: &Result<Vec<String>, CredentialError>, key_id: &str, has_session: bool) {
    let sent = sent.as_ref().unwrap();
    let header = |name: &str| sent.iter().find_map(|line| line.strip_prefix(&format!("{name}: ")));
    let authorization = header("authorization").unwrap();
    assert!(authorization.starts_with(&format!("AWS4-HMAC-SHA256 Credential={key_id}/")), "{authorization}");
    assert!(authorization.contains("/eu-central-1/secretsmanager/aws4_request, SignedHeaders=host;x-amz-date"));
    assert!(header("x-amz-date").is_some());
    assert_eq!(header("x-amz-security-token"), has_session.then_some("sess10n=="));
}

#[tokio::test]
async fn a_web_identity_assumes_the_role_without_a_signature() {
    let xml = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><Credentials>{KEYS}</Credentials></AssumeRoleWithWebIdentityResult>\
         </AssumeRoleWithWebIdentityResponse>"
    );
    let server = LoginServer::start(move |_| (200, xml.clone())).await;
    let (_folder, path) = file("eyJ.jwt\n");
    let variables = [
        ("AWS_WEB_IDENTITY_TOKEN_FILE", path.to_str().unwrap()),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/eks"),
        // The web identity takes precedence.
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("AWS_SECRET_ACCESS_KEY", "s"),
    ];
    for (configured, role) in [(None, "arn:aws:iam::1:role/eks"), (Some(ROLE), ROLE)] {
        let sent = attach(aws(&server.url, configured), &server.surroundings(&variables)).await;
        assert_signed(&sent, "ASIATEMP", true);
        let [login] = &server.take()[..] else { panic!("one login") };
        assert_eq!((login.line().as_str(), login.header("authorization")), ("POST /", None));
        let expected = [
            ("Action", "AssumeRoleWithWebIdentity"),
            ("Version", "2011-06-15"),
            ("RoleArn", role),
            ("RoleSessionName", "ampoule"),
            ("WebIdentityToken", "eyJ.jwt"),
        ];
        assert_eq!(login.form(), pairs(&expected));
    }
    let sent = attach(aws(&server.url, None), &server.surroundings(&variables[..1])).await;
    assert_eq!(sent, Err(CredentialError::Misconfigured), "without a role");
}

#[tokio::test]
async fn keys_of_variables_sign_or_assume_a_role() {
    let server = LoginServer::start(|_| (200, format!("<r><Credentials>{KEYS}</Credentials></r>"))).await;
    let variables = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "s")];
    let sent = attach(aws(&server.url, None), &server.surroundings(&variables)).await;
    assert_signed(&sent, "AKIA", false);
    assert!(server.take().is_empty());
    let session = [&variables[..], &[("AWS_SESSION_TOKEN", "sess10n==")]].concat();
    assert_signed(&attach(aws(&server.url, None), &server.surroundings(&session)).await, "AKIA", true);
    let sent = attach(aws(&server.url, Some(ROLE)), &server.surroundings(&variables)).await;
    assert_signed(&sent, "ASIATEMP", true);
    let [login] = &server.take()[..] else { panic!("one login") };
    let expected =
        [("Action", "AssumeRole"), ("Version", "2011-06-15"), ("RoleArn", ROLE), ("RoleSessionName", "ampoule")];
    assert_eq!(login.form(), pairs(&expected));
    let authorization = login.header("authorization").unwrap();
    assert!(authorization.starts_with("AWS4-HMAC-SHA256 Credential=AKIA/"), "{authorization}");
    assert!(authorization.contains("/eu-central-1/sts/aws4_request"), "{authorization}");
}

#[tokio::test]
async fn pod_identity_asks_the_agent_with_the_token_of_its_file() {
    let server = LoginServer::start(|_| (200, metadata_keys())).await;
    let (_folder, path) = file("agent-t0ken");
    let uri = format!("{}/v1/credentials", server.url);
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path.to_str().unwrap()),
    ];
    let sent = attach(aws(&server.url, None), &server.surroundings(&variables)).await;
    assert_signed(&sent, "ASIATEMP", true);
    let [login] = &server.take()[..] else { panic!("one login") };
    assert_eq!((login.line().as_str(), login.header("authorization")), ("GET /v1/credentials", Some("agent-t0ken")));
    let elsewhere = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://192.0.2.1/v1/credentials")];
    let sent = attach(aws(&server.url, None), &server.surroundings(&elsewhere)).await;
    assert_eq!(sent, Err(CredentialError::Misconfigured), "plain HTTP goes to an agent only");
}

#[tokio::test]
async fn an_instance_is_asked_with_a_session() {
    let server = LoginServer::start(|request| match request.uri.path() {
        "/latest/api/token" => (200, "s3ssion".to_owned()),
        "/latest/meta-data/iam/security-credentials/" => (200, "node-role".to_owned()),
        _ => (200, metadata_keys()),
    })
    .await;
    assert_signed(&attach(aws(&server.url, None), &server.surroundings).await, "ASIATEMP", true);
    let received = server.take();
    let lines: Vec<_> = received.iter().map(|request| request.line()).collect();
    assert_eq!(
        lines,
        [
            "PUT /latest/api/token",
            "GET /latest/meta-data/iam/security-credentials/",
            "GET /latest/meta-data/iam/security-credentials/node-role",
        ]
    );
    assert_eq!(received[0].header("x-aws-ec2-metadata-token-ttl-seconds"), Some("60"));
    assert!(received[1..].iter().all(|request| request.header("x-aws-ec2-metadata-token") == Some("s3ssion")));
}

#[test]
fn signatures_equal_those_of_the_published_test_suite() {
    let keys = |token: Option<&str>| {
        let secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        Keys::new("AKIDEXAMPLE", secret, token.map(ToOwned::to_owned), None, "test")
    };
    let session = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
    // 2015-08-30T12:36:00Z
    let time = UNIX_EPOCH + Duration::from_secs(1_440_938_160);
    let my_header: &[_] = &["value4", "value1", "value3", "value2"].map(|value| ("my-header1", value.as_bytes()));
    for (name, method, path, headers, token, signed, signature) in [
        (
            "get-vanilla",
            "GET",
            "/",
            &[][..],
            None,
            "host;x-amz-date",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "get-vanilla-with-session-token",
            "GET",
            "/",
            &[],
            Some(session),
            "host;x-amz-date;x-amz-security-token",
            "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
        ),
        (
            "get-header-value-order",
            "GET",
            "/",
            my_header,
            None,
            "host;my-header1;x-amz-date",
            "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
        ),
        (
            "get-slashes-normalized",
            "GET",
            "//example//",
            &[],
            None,
            "host;x-amz-date",
            "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
        ),
        (
            "get-vanilla-query-order-key-case",
            "GET",
            "/?Param2=value2&Param1=value1",
            &[],
            None,
            "host;x-amz-date",
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
    ] {
        let mut all = vec![("host", &b"example.amazonaws.com"[..])];
        all.extend(headers);
        let request = SignedRequest {
            method,
            authority: "example.amazonaws.com",
            path_and_query: path,
            headers: &all,
            body: b"",
        };
        let sent = sign(&request, &keys(token), "service", "us-east-1", time).unwrap();
        let header = |name: &str| {
            let header = sent.iter().find(|header| header.name == name);
            header.map(|header| header.value.expose_secret().to_owned())
        };
        let scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request";
        let expected = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature={signature}");
        assert_eq!(header("authorization"), Some(expected), "{name}");
        assert_eq!(header("x-amz-date").as_deref(), Some("20150830T123600Z"), "{name}");
        assert_eq!(header("x-amz-security-token").as_deref(), token, "{name}");
    }
}
