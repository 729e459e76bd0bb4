//! The stores of the clouds run natively: names, requests, the walk through the scopes, and values.
//!
//! The names are vectors that Flyte 2.0.43 computes.

use std::{cell::RefCell, rc::Rc};

use ampoule_plugin_sdk::{
    SecretRequest,
    http::{Error, Request, Response},
    testing::{Harness, PodBuilder, answer_http, show, show_value},
};
use serde_json::{Value, json};

use super::*;
use crate::Embedded;

const KEY: &str = "my_secret";

const AZURE_NAMES: [&str; 3] = [
    "1-flyte-development-flytesnacks-NV4V643FMNZGK5A",
    "1-flyte-development--NV4V643FMNZGK5A",
    "1-flyte---NV4V643FMNZGK5A",
];

fn scopes() -> [Coordinates; 3] {
    let [organization, domain, project] = ["flyte", "development", "flytesnacks"].map(str::to_owned);
    Coordinates { organization, domain, project }.scopes()
}

fn aws() -> Value {
    json!({ "type": "AWS", "aws": { "region": "eu-central-1" } })
}

fn gcp() -> Value {
    json!({ "type": "GCP", "gcp": { "project": "shop" } })
}

fn azure() -> Value {
    json!({ "type": "Azure", "azure": { "vaultUrl": "https://shop.vault.azure.net" } })
}

fn harness(settings: &Value) -> Harness<Embedded> {
    let pod = PodBuilder::new("flyte").label("organization", "flyte").label("domain", "development");
    Harness::new().profile("flyte-v2").settings(settings).pod(pod.label("project", "flytesnacks"))
}

/// Injects the secret, and returns the text of the promise.
fn promise(settings: &Value) -> String {
    answer_http(|_| panic!("inject must not send a request"));
    let shown = show(&harness(settings).inject(&SecretRequest::new("", KEY).as_env_var()));
    shown.split_once(" = promise ").unwrap_or_else(|| panic!("{shown}")).1.to_owned()
}

/// Fetches the secret. The n-th scope has the n-th answer. Returns the value, and the number of
/// requests.
fn fetch<const N: usize>(settings: &Value, answers: [Response; N]) -> (String, usize) {
    let promise = promise(settings);
    let asked = Rc::new(RefCell::new(0));
    let counter = Rc::clone(&asked);
    answer_http(move |_| {
        let mut number = counter.borrow_mut();
        *number += 1;
        answers.get(*number - 1).cloned().ok_or_else(|| Error::Unavailable("one request too many".to_owned()))
    });
    let value = show_value(&harness(settings).fetch(&promise));
    let asked = *asked.borrow();
    (value, asked)
}

fn answer(status: u16, body: &Value) -> Response {
    Response::json_body(status, body)
}

/// An error of AWS.
fn aws_error(name: &str) -> Response {
    answer(400, &json!({ "__type": name, "Message": "hush" }))
}

fn aws_value(value: &str) -> Response {
    answer(200, &json!({ "SecretString": value, "VersionId": "v1" }))
}

fn azure_value(value: &str) -> Response {
    answer(200, &json!({ "value": value, "id": "https://shop.vault.azure.net/secrets/x/v1" }))
}

/// The requests that a store without the secret gets.
fn requests(settings: &Value, absent: &Response) -> Vec<Request> {
    let promise = promise(settings);
    let (seen, absent) = (Rc::new(RefCell::new(Vec::new())), absent.clone());
    let log = Rc::clone(&seen);
    answer_http(move |request| {
        log.borrow_mut().push(request.clone());
        Ok(absent.clone())
    });
    let missing = "not found: no secret \"my_secret\" in project flytesnacks and domain development, in domain \
                   development, or in organization flyte; create it with `flyte create secret my_secret`";
    assert_eq!(show_value(&harness(settings).fetch(&promise)), missing);
    seen.take()
}

#[test]
fn names_of_azure_are_those_of_flyte() {
    for (scope, expected) in scopes().iter().zip(AZURE_NAMES) {
        assert_eq!(azure_name(scope, KEY).as_deref(), Ok(expected));
    }
    let key = azure_name(&scopes()[0], "OPENAI_API_KEY");
    assert_eq!(key.as_deref(), Ok("1-flyte-development-flytesnacks-J5IEKTSBJFPUCUCJL5FUKWI"));
    let [organization, domain, project] = ["a0-b", "0", "-"].map(str::to_owned);
    let coded = azure_name(&Coordinates { organization, domain, project }, "");
    assert_eq!(coded.as_deref(), Ok("1-a0001b-00-01-"));
}

#[test]
fn each_scope_is_one_request_with_the_name_of_flyte() {
    let ids = scopes().map(|scope| secret_id(&scope, KEY));
    assert_eq!(ids[2], "u__org__flyte__domain____project____key__my_secret");

    let asked = requests(&aws(), &aws_error("ResourceNotFoundException"));
    let bodies = asked.iter().map(|request| serde_json::from_slice::<Value>(request.body.as_ref().unwrap()).unwrap());
    let expected = ids.clone().map(|id| json!({ "SecretId": id, "VersionStage": "AWSCURRENT" }));
    assert_eq!(bodies.collect::<Vec<_>>(), expected);

    let urls = |asked: Vec<Request>| asked.into_iter().map(|request| request.url).collect::<Vec<_>>();
    let asked = urls(requests(&gcp(), &answer(404, &json!({ "error": { "status": "NOT_FOUND" } }))));
    let secrets = "https://secretmanager.googleapis.com/v1/projects/shop/secrets";
    assert_eq!(asked, ids.map(|id| format!("{secrets}/{id}/versions/latest:access")));

    let asked = urls(requests(&azure(), &answer(404, &json!({ "error": { "code": "SecretNotFound" } }))));
    let secrets = "https://shop.vault.azure.net/secrets";
    assert_eq!(asked, AZURE_NAMES.map(|name| format!("{secrets}/{name}?api-version=7.4")));
}

#[test]
fn a_missing_or_denied_scope_leads_to_a_broader_one_and_another_error_ends_the_search() {
    let [project, domain, _] = scopes().map(|scope| secret_id(&scope, KEY));
    let absent = || aws_error("ResourceNotFoundException");
    let denied = || aws_error("AccessDeniedException");
    for (answers, expected, asked) in [
        ([absent(), absent(), aws_value("of the organization")], "value of the organization, version v1".to_owned(), 3),
        ([aws_value("of the project"), denied(), denied()], "value of the project, version v1".to_owned(), 1),
        ([denied(), aws_value("of the domain"), denied()], "value of the domain, version v1".to_owned(), 2),
        (
            [denied(), denied(), absent()],
            format!(
                "denied: access is denied to {project}, {domain} (AWS denies access to secret {project}@AWSCURRENT)"
            ),
            3,
        ),
        (
            [denied(), aws_error("ThrottlingException"), absent()],
            "unavailable: AWS Secrets Manager is overloaded or has failed".to_owned(),
            2,
        ),
        (
            [aws_error("InvalidRequestException"), aws_value("x"), absent()],
            format!("not found: secret {project}@AWSCURRENT is marked for deletion, or has no value"),
            1,
        ),
        (
            [aws_value(""), aws_value("x"), absent()],
            format!("invalid: secret {project} read as empty from the secret manager"),
            1,
        ),
    ] {
        assert_eq!(fetch(&aws(), answers), (expected, asked));
    }
    let disabled =
        answer(403, &json!({ "error": { "code": "Forbidden", "innererror": { "code": "SecretDisabled" } } }));
    let name = AZURE_NAMES[0];
    let expected = format!("not found: secret {name} is disabled in Azure Key Vault");
    assert_eq!(fetch(&azure(), [disabled]), (expected, 1));
    let destroyed = answer(400, &json!({ "error": { "status": "FAILED_PRECONDITION" } }));
    let expected = format!("not found: the version of secret {project} is disabled or destroyed");
    assert_eq!(fetch(&gcp(), [destroyed]), (expected, 1));
    assert_eq!(
        fetch(&gcp(), [answer(503, &json!("hush"))]),
        ("unavailable: Google Secret Manager answers with status 503".to_owned(), 1)
    );
}

#[test]
fn values_are_text_or_bytes_and_only_google_has_empty_ones() {
    let binary = answer(200, &json!({ "SecretBinary": "AAH/", "VersionId": "v1" }));
    assert_eq!(fetch(&aws(), [binary]), ("value \0\u{1}\u{fffd}, version v1".to_owned(), 1));
    let payload =
        |payload: Value| answer(200, &json!({ "name": "projects/1/secrets/x/versions/7", "payload": payload }));
    for (document, expected) in [
        (json!({ "data": "aHVzaA==" }), "value hush, version 7"),
        (json!({}), "value , version 7"),
        (
            Value::Null,
            "internal: the answer for secret u__org__flyte__domain__development__project__flytesnacks__key__my_secret has no valid value",
        ),
    ] {
        assert_eq!(fetch(&gcp(), [payload(document)]), (expected.to_owned(), 1));
    }
}

#[test]
fn values_of_azure_are_in_the_envelope_of_flyte() {
    let invalid = format!(
        "invalid: secret {} of Azure Key Vault is not in the form of Flyte: {{\"type\": \"STRING\", \"value\": …}}; \
         create it with `flyte create secret`",
        AZURE_NAMES[0]
    );
    for (value, expected) in [
        (r#"{"type":"STRING","value":"hush"}"#, "value hush, version v1"),
        (r#"{"value":"aHVzaA==","type":"BINARY","more":1}"#, "value hush, version v1"),
        (r#"{"type":"STRING","value":""}"#, "value , version v1"),
        ("hush", &invalid),
        (r#"{"value":"hush"}"#, &invalid),
        (r#"{"type":"string","value":"hush"}"#, &invalid),
        (r#"{"type":"BINARY","value":"hush!"}"#, &invalid),
    ] {
        assert_eq!(fetch(&azure(), [azure_value(value)]), (expected.to_owned(), 1), "{value}");
    }
}

#[test]
fn a_name_that_the_store_cannot_have_is_rejected_without_a_request() {
    answer_http(|_| panic!("inject must not send a request"));
    for (settings, key, expected) in [
        (
            azure(),
            "k".repeat(60),
            format!(
                "invalid: the name of secret {:?} in Azure Key Vault would have 128 characters; it may have 127, so use a \
                 shorter key",
                "k".repeat(60)
            ),
        ),
        (
            gcp(),
            "a/b".to_owned(),
            "invalid: \"u__org__flyte__domain__development__project__flytesnacks__key__a/b\" is not a valid name of a \
             secret [u__org__flyte__domain__development__project__flytesnacks__key__a/b]"
                .to_owned(),
        ),
    ] {
        assert_eq!(show(&harness(&settings).inject(&SecretRequest::new("", key))), expected);
    }
}
