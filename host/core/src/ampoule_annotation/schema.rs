//! The JSON Schema of the list in the annotation, in `docs/src/secrets.schema.json`: generated from
//! [`SecretEntry`], with the bounds that the checks of the values have.
//!
//! The tables of both readers are the same, so that an editor accepts what the webhook accepts.

use std::path::Path;

use serde_json::{Value, json};

use super::{KEY, SecretEntry, check, read_requests};
use crate::annotations::MAX_REQUESTS;

/// The bounds of the fields, which the types do not have.
fn bounds() -> Value {
    json!({
        "group": { "maxLength": super::MAX_VALUE },
        "key": { "minLength": 1 },
        "env": { "minLength": 1, "maxLength": check::MAX_VARIABLE, "pattern": "^[ -<>-~]+$" },
        "path": { "maxLength": check::MAX_PATH, "pattern": "^/" },
        "mode": { "type": ["string", "integer", "null"], "pattern": "^(0o)?0?[4-7][0-7]{2}$" },
        "containers": { "minItems": 1, "uniqueItems": true },
        "injector": { "minLength": 1 },
        "fallback": { "enum": ["file", null] },
        "keys": { "enum": ["all", null] },
        "envPrefix": { "maxLength": check::MAX_VARIABLE, "pattern": "^([A-Za-z_.-][A-Za-z0-9_.-]*)?$" },
        "template": { "minLength": 1 },
        "options": {
            "maxProperties": check::MAX_OPTIONS,
            "additionalProperties": { "type": "string", "maxLength": check::MAX_OPTION },
        },
    })
}

/// Returns the schema of the list.
fn schema() -> Value {
    let mut entry = schemars::schema_for!(SecretEntry).to_value();
    let description = entry["description"].take();
    let fields = bounds();
    for (field, bounds) in fields.as_object().into_iter().flatten() {
        let property = entry["properties"][field].as_object_mut().expect("the field exists");
        property.extend(bounds.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())));
    }
    for property in entry["properties"].as_object_mut().into_iter().flatten().filter_map(|(_, p)| p.as_object_mut()) {
        property.remove("default");
    }
    json!({
        "$schema": entry["$schema"],
        "title": format!("The annotation {KEY}"),
        "type": "array",
        "maxItems": MAX_REQUESTS,
        "items": {
            "description": description,
            "type": "object",
            "properties": entry["properties"],
            "anyOf": [
                { "required": ["group", "key"] },
                { "required": ["group", "keys"] },
                { "required": ["template", "path"] },
            ],
            "additionalProperties": false,
        },
    })
}

/// Compares the file with the schema, or writes it if `cargo xtask bless` runs the test.
#[test]
fn the_committed_schema_is_generated_from_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/src/secrets.schema.json");
    let expected = serde_json::to_string_pretty(&schema()).unwrap() + "\n";
    if std::env::var_os("INSTA_UPDATE").is_some_and(|mode| mode == "always") {
        std::fs::write(&path, expected).unwrap();
        return;
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == expected, "the file differs from its generated text; run `cargo xtask bless`");
}

/// Whether the schema of the list accepts a value. Covers the keywords that the schema has.
fn accepts(schema: &Value, value: &Value) -> bool {
    let holds = |keyword: &str, argument: &Value| match keyword {
        "$schema" | "title" | "description" => true,
        "type" => match argument {
            Value::Array(names) => names.iter().any(|name| has_type(value, name)),
            name => has_type(value, name),
        },
        "properties" => value
            .as_object()
            .into_iter()
            .flatten()
            .all(|(key, value)| argument.get(key).is_none_or(|property| accepts(property, value))),
        "anyOf" => argument.as_array().unwrap().iter().any(|option| accepts(option, value)),
        "maxProperties" => value.as_object().is_none_or(|fields| fields.len() as u64 <= argument.as_u64().unwrap()),
        "additionalProperties" if argument.is_object() => {
            value.as_object().into_iter().flatten().all(|(_, value)| accepts(argument, value))
        }
        "additionalProperties" => {
            value.as_object().into_iter().flatten().all(|(key, _)| schema["properties"].get(key).is_some())
        }
        "required" => argument.as_array().unwrap().iter().all(|key| value.get(key.as_str().unwrap()).is_some()),
        "items" => value.as_array().into_iter().flatten().all(|item| accepts(argument, item)),
        "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= argument.as_u64().unwrap()),
        "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= argument.as_u64().unwrap()),
        "uniqueItems" => value.as_array().is_none_or(|items| (1..items.len()).all(|i| !items[..i].contains(&items[i]))),
        "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= argument.as_u64().unwrap()),
        "maxLength" => value.as_str().is_none_or(|text| text.len() as u64 <= argument.as_u64().unwrap()),
        "enum" => argument.as_array().unwrap().contains(value),
        "pattern" => value.as_str().is_none_or(|text| matches(argument.as_str().unwrap(), text)),
        keyword => panic!("the test does not know {keyword}"),
    };
    schema.as_object().into_iter().flatten().all(|(keyword, argument)| holds(keyword, argument))
}

fn has_type(value: &Value, name: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        name => panic!("the test does not know {name}"),
    }
}

/// The patterns of [`bounds`].
fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        "^/" => text.starts_with('/'),
        "^([A-Za-z_.-][A-Za-z0-9_.-]*)?$" => {
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
                && !text.starts_with(|first: char| first.is_ascii_digit())
        }
        "^[ -<>-~]+$" => !text.is_empty() && text.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'='),
        "^(0o)?0?[4-7][0-7]{2}$" => {
            let octal = text.strip_prefix("0o").unwrap_or(text);
            let octal = if octal.len() == 4 { octal.strip_prefix('0').unwrap_or("") } else { octal };
            octal.len() == 3 && octal.bytes().all(|b| (b'0'..=b'7').contains(&b)) && octal.as_bytes()[0] >= b'4'
        }
        pattern => panic!("the test does not know {pattern}"),
    }
}

fn reader_accepts(list: &str) -> bool {
    read_requests(json!({ KEY: list }).as_object().unwrap()).is_ok()
}

#[test]
fn an_editor_accepts_what_the_webhook_accepts() {
    let schema = schema();
    for (entry, expected) in [
        ("{ group: db, key: password }", true),
        ("{ group: \"\", key: password, env: A }", true),
        ("{ group: db, key: password, version: \"7\", env: TF_VAR_db_password, optional: true }", true),
        ("{ group: db, key: password, file: true, mode: \"0400\" }", true),
        ("{ group: db, key: password, path: /etc/db/, mode: \"440\", containers: [a, b], injector: k8s }", true),
        ("{ group: db, key: password, fallback: file }", true),
        ("{ group: db, key: password, env: null }", true),
        ("{ group: db, keys: all, envPrefix: DB_ }", true),
        ("{ group: db, keys: all, path: /etc/db, options: { region: eu } }", true),
        ("{ path: /etc/app/dsn, template: '{{ secret \"db\" \"password\" }}' }", true),
        ("{ group: db, keys: some }", false),
        ("{ group: db, keys: all, envPrefix: A= }", false),
        ("{ group: db, key: password, options: { region: 1 } }", false),
        ("{ template: '{{ secret \"db\" \"password\" }}' }", false),
        ("{ key: password }", false),
        ("{ group: db }", false),
        ("{ group: db, key: \"\" }", false),
        ("{ group: db, key: password, name: A }", false),
        ("{ group: db, key: password, env: \"\" }", false),
        ("{ group: db, key: password, env: A=B }", false),
        ("{ group: db, key: password, version: 7 }", false),
        ("{ group: db, key: password, file: \"yes\" }", false),
        ("{ group: db, key: password, path: etc/db }", false),
        ("{ group: db, key: password, path: /a/b, mode: \"0800\" }", false),
        ("{ group: db, key: password, path: /a/b, mode: \"07777\" }", false),
        ("{ group: db, key: password, containers: [] }", false),
        ("{ group: db, key: password, containers: [a, a] }", false),
        ("{ group: db, key: password, injector: \"\" }", false),
        ("{ group: db, key: password, fallback: env }", false),
        ("[]", false),
    ] {
        let list = format!("[{entry}]");
        let value: Value = serde_saphyr::from_str(&list).unwrap();
        assert_eq!((accepts(&schema, &value), reader_accepts(&list)), (expected, expected), "{entry}");
    }
    let many = |count| format!("[{}]", vec!["{ group: g, key: k, env: A }"; count].join(","));
    for count in [MAX_REQUESTS, MAX_REQUESTS + 1] {
        let value: Value = serde_saphyr::from_str(&many(count)).unwrap();
        assert_eq!(accepts(&schema, &value), count == MAX_REQUESTS, "{count}");
    }
}
