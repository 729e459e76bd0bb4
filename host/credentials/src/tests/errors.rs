//! A failed login has a class for the plugin and a reason for the log, and neither contains
//! anything that a server or a file sent.

use std::{
    io,
    sync::{Arc, Mutex},
};

use ampoule_config::CredentialSource;

use super::*;

#[derive(Clone, Default)]
struct LogBuffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn login(server: &LoginServer) -> Result<Vec<String>, CredentialError> {
    let (_folder, secret) = file(&format!("{CANARY}-secret"));
    let config = CredentialConfig::OAuth2(OAuth2Credential {
        token_url: format!("{}/token", server.url),
        client_id: "c".to_owned(),
        client_secret: CredentialSource::File(secret),
        scopes: Vec::new(),
    });
    attach(config, &server.surroundings).await
}

#[tokio::test]
async fn no_text_of_a_server_or_a_file_reaches_the_log() {
    let lines = LogBuffer::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(move || writer.clone());
    // With one dispatcher only, a log line that another test's thread reaches first is off for all.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let _logging = tracing::subscriber::set_default(subscriber.with_ansi(false).without_time().finish());
    for (status, body, expected, reason) in [
        (
            401,
            r#"{"error":"invalid_client","error_description":"CANARY"}"#,
            CredentialError::Refused,
            "answered with status 401 (invalid_client)",
        ),
        (400, r#"{"error":"CANARY"}"#, CredentialError::Refused, "answered with status 400\n"),
        (403, "CANARY", CredentialError::Refused, "answered with status 403\n"),
        (404, "CANARY", CredentialError::Misconfigured, "answered with status 404\n"),
        (429, "CANARY", CredentialError::Unavailable, "answered with status 429\n"),
        (503, "CANARY", CredentialError::Unavailable, "answered with status 503\n"),
        (302, "CANARY", CredentialError::Refused, "answered with status 302\n"),
        (200, "CANARY", CredentialError::Unavailable, "has an unexpected format\n"),
        (
            200,
            r#"{"access_token":"CANARY","expires_in":["CANARY"]}"#,
            CredentialError::Unavailable,
            "has an unexpected format\n",
        ),
        (
            200,
            r#"{"access_token":"CANARY","token_type":"mac"}"#,
            CredentialError::Unavailable,
            "has an unexpected format\n",
        ),
        (200, r#"{"access_token":""}"#, CredentialError::Unavailable, "has an unexpected format\n"),
    ] {
        let body = body.replace("CANARY", CANARY);
        let server = LoginServer::start(move |_| (status, body.clone())).await;
        assert_eq!(login(&server).await, Err(expected), "{status}");
        let logged = String::from_utf8(std::mem::take(&mut *lines.0.lock().unwrap())).unwrap();
        assert!(logged.contains("the host cannot log in for a plugin") && logged.contains(reason), "{logged}");
        assert!(!logged.contains(CANARY), "{logged}");
    }
}

#[tokio::test]
async fn a_response_is_bounded_and_a_server_needs_a_trusted_certificate() {
    let large = LoginServer::start(|_| (200, "x".repeat(1 << 20))).await;
    assert_eq!(login(&large).await, Err(CredentialError::Unavailable));
    let (one, mut other) =
        (LoginServer::start(|_| token_reply("t")).await, LoginServer::start(|_| token_reply("t")).await);
    other.url.clone_from(&one.url);
    assert_eq!(login(&other).await, Err(CredentialError::Unavailable), "the certificate is not that of `other`");
    assert!(one.take().is_empty());
}
