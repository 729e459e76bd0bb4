//! Decodes annotations that Flyte's own code wrote, and encodes the same requests.
//!
//! The tests of each layer are in its module: `base32`, `token`, `literal` and `text_format`.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::request::MountRequirement;

/// Values written by Flyte, each with its request.
fn vectors() -> Vec<(&'static str, SecretRequest)> {
    let user_secret = |mount| SecretRequest {
        group: "user-info".to_owned(),
        key: "user_secret".to_owned(),
        mount,
        ..SecretRequest::default()
    };
    let my_secret = SecretRequest {
        key: "my_secret".to_owned(),
        mount: MountRequirement::EnvVar,
        env_var: Some("MY_SECRET".to_owned()),
        ..SecretRequest::default()
    };
    vec![
        ("", SecretRequest::default()),
        ("m4zg54lqhiqce4ltmvzc11lomzxsectlmv3tuibcovzwk3s6onswg3tfoqrau", user_secret(MountRequirement::Any)),
        (
            concat!(
                "m4zg54lqhiqce4ltmvzc11lomzxsectlmv3tuibcovzwk3s6onswg3tfoqrau",
                "2lpovxhix2smvyxk1lsmvwwk2tuhiqektswl4lecuqk",
            ),
            user_secret(MountRequirement::EnvVar),
        ),
        (
            concat!(
                "m4zg54lqhiqce4ltmvzc11lomzxsectlmv3tuibcovzwk3s6onswg3tfoqrau",
                "2lpovxhix2smvyxk1lsmvwwk2tuhiqemskmiufa",
            ),
            user_secret(MountRequirement::File),
        ),
        (
            concat!(
                "nnsxsoraejwxsx2tmvrxezlueifg122vnz1f53tfof1ws3tfnvsw34b1ebcu3",
                "vs6kzavectfnz2f54tboi4caisnlfpvgrkdkjcviiqk",
            ),
            my_secret,
        ),
    ]
}

fn read(annotations: Value) -> Result<Vec<RequestedSecret>, AnnotationError> {
    let Value::Object(annotations) = annotations else { panic!("annotations must be an object") };
    read_requests(&annotations)
}

#[track_caller]
fn check_error(annotations: Value, expected: &str) {
    assert_eq!(read(annotations).unwrap_err().to_string(), expected);
}

#[test]
fn decodes_the_values_of_flyte() {
    for (value, request) in vectors() {
        let annotation = "flyte.secrets/s0".to_owned();
        assert_eq!(read(json!({ "flyte.secrets/s0": value })), Ok(vec![RequestedSecret::new(annotation, request)]));
    }
}

#[test]
fn encodes_the_values_of_flyte() {
    for (value, request) in vectors() {
        assert_eq!(request.to_flyte_annotation(), value);
    }
}

#[test]
fn orders_requests_by_number_and_then_by_key() {
    let keys = [
        "flyte.secrets/s",
        "flyte.secrets/something",
        "flyte.secrets/s10",
        "flyte.secrets/s-1",
        "flyte.secrets/s2",
        "flyte.secrets/s1",
        "flyte.secrets/s99999999999999999999999999",
        "flyte.secrets/s01",
        "flyte.secrets/s00",
        "flyte.secrets/s0",
        "flyte.secrets/s3x",
        "flyte.secrets/s٣",
        "flyte.secrets/s88888888888888888888888888",
    ];
    let annotations: Map<_, _> = keys.iter().map(|key| ((*key).to_owned(), json!(""))).collect();
    let order: Vec<_> =
        read_requests(&annotations).unwrap().into_iter().map(|requested| requested.annotation).collect();
    assert_eq!(
        order,
        [
            "flyte.secrets/s0",
            "flyte.secrets/s00",
            "flyte.secrets/s01",
            "flyte.secrets/s1",
            "flyte.secrets/s2",
            "flyte.secrets/s10",
            "flyte.secrets/s88888888888888888888888888",
            "flyte.secrets/s99999999999999999999999999",
            "flyte.secrets/s",
            "flyte.secrets/s-1",
            "flyte.secrets/s3x",
            "flyte.secrets/something",
            "flyte.secrets/s٣",
        ]
    );
}

#[test]
fn ignores_every_other_annotation() {
    let others = json!({
        "flyte.secrets/": "!",
        "flyte.secrets/t0": "!",
        "Flyte.secrets/s0": "!",
        "x.flyte.secrets/s0": 1,
        "flyte.secrets": null,
    });
    assert_eq!(read(others), Ok(Vec::new()));
    assert_eq!(read(json!({})), Ok(Vec::new()));
}

#[test]
fn refuses_an_annotation_that_is_not_a_string() {
    check_error(json!({ "flyte.secrets/s0": null }), "annotation flyte.secrets/s0: must be a string, not null");
    check_error(json!({ "flyte.secrets/s0": true }), "annotation flyte.secrets/s0: must be a string, not a boolean");
    check_error(json!({ "flyte.secrets/s0": 7 }), "annotation flyte.secrets/s0: must be a string, not a number");
    check_error(json!({ "flyte.secrets/s0": ["a"] }), "annotation flyte.secrets/s0: must be a string, not a list");
    check_error(json!({ "flyte.secrets/sx": {} }), "annotation flyte.secrets/sx: must be a string, not an object");
}

#[test]
fn reports_the_first_invalid_annotation_in_order() {
    check_error(
        json!({ "flyte.secrets/s10": "!", "flyte.secrets/s2": "mf=", "flyte.secrets/s1": "" }),
        "annotation flyte.secrets/s2: illegal base32 data at input byte 2",
    );
}

#[test]
fn reports_the_error_in_the_text() {
    let unknown = base32::encode(b"foo: \"a\"");
    check_error(
        json!({ "flyte.secrets/s0": unknown }),
        r#"annotation flyte.secrets/s0: line 1.0: unknown field name "foo" in core.Secret"#,
    );
    let number = base32::encode(b"key: 'a'\nmount_requirement: 9\n");
    check_error(
        json!({ "flyte.secrets/s0": number }),
        "annotation flyte.secrets/s0: unrecognized mount requirement [9] for secret [a]",
    );
    // A fixture of Flyte in the alphabet of RFC 4648 decodes to a different text.
    check_error(
        json!({ "flyte.secrets/s0": "nnsxsorcnv4v623fperca" }),
        r#"annotation flyte.secrets/s0: field "key" of core.Secret is not valid UTF-8"#,
    );
}

fn any_mount() -> impl Strategy<Value = MountRequirement> {
    prop::sample::select(vec![MountRequirement::Any, MountRequirement::EnvVar, MountRequirement::File])
}

/// Generates the keys of distinct requests, in any order.
fn any_keys() -> impl Strategy<Value = Vec<String>> {
    let keys = prop::collection::hash_set("flyte.secrets/s(0?[0-9]{0,2}|[a-c])", 0..12);
    keys.prop_map(Vec::from_iter)
}

/// Reads empty requests with these keys.
fn read_keys(keys: &[String]) -> Vec<RequestedSecret> {
    let annotations = keys.iter().map(|key| (key.clone(), json!(""))).collect();
    read_requests(&annotations).unwrap()
}

proptest! {
    #[test]
    fn decodes_its_own_output(
        (group, group_version, key) in any::<(String, String, String)>(),
        mount in any_mount(),
        env_var in prop::option::of("(?s).+"),
    ) {
        let request = SecretRequest { group, group_version, key, mount, env_var, ..SecretRequest::default() };
        let read = read(json!({ "flyte.secrets/s0": request.to_flyte_annotation() })).unwrap();
        prop_assert_eq!(&read[0].request, &request);
        prop_assert_eq!(read.len(), 1);
    }

    #[test]
    fn never_panics(suffixes in prop::collection::vec("[0-9a-z]{0,3}", 0..5), value: String) {
        let keys = suffixes.iter().map(|suffix| format!("{KEY_PREFIX}{suffix}"));
        let annotations: Map<_, _> = keys.map(|key| (key, json!(value))).collect();
        if let Ok(read) = read_requests(&annotations) {
            prop_assert_eq!(read.len(), annotations.len());
        }
    }

    #[test]
    fn the_order_of_requests_is_independent_of_the_order_of_annotations(mut keys in any_keys()) {
        let before = read_keys(&keys);
        keys.sort();
        prop_assert_eq!(before, read_keys(&keys));
    }
}
