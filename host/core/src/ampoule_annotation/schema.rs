//! The JSON Schema of the list in the annotation, in `docs/src/secrets.schema.json`: generated from
//! [`SecretEntry`], with the bounds that the checks of the values have.
//!
//! An editor accepts what the webhook accepts, as far as the schema can state it: not the number of
//! secrets in templates, not lengths in bytes, and not numbers for `mode`, whose digits are lost.

use std::{path::Path, sync::LazyLock};

use proptest::{prelude::*, strategy::ValueTree as _};
use regex::Regex;
use serde_json::{Map, Value, json};

use super::{KEY, SecretEntry, check, read_requests};
use crate::annotations::MAX_REQUESTS;

static SCHEMA: LazyLock<Value> = LazyLock::new(schema);

/// A part of a path: any text but `.` and `..`.
const PART: &str = r"/(?:[^/:.\x00][^/:\x00]*|\.[^/:.\x00][^/:\x00]*|\.\.[^/:\x00]+)";
/// Text of a template without `{{`, before an action.
const TEXT: &str = r"(?:\{?[^{])*";

/// The bounds of the fields, which the types do not have.
fn bounds() -> Value {
    json!({
        "group": { "maxLength": super::MAX_VALUE },
        "env": { "minLength": 1, "maxLength": check::MAX_VARIABLE, "pattern": "^[ -<>-~]+$" },
        "path": { "maxLength": check::MAX_PATH, "pattern": "^/" },
        "mode": { "type": ["string", "integer"], "pattern": mode_pattern(), "minimum": 0o400, "maximum": 777 },
        "containers": { "minItems": 1, "uniqueItems": true },
        "injector": { "minLength": 1 },
        "fallback": { "enum": ["file", null] },
        "keys": { "enum": ["all", null] },
        "envPrefix": { "maxLength": check::MAX_VARIABLE, "pattern": "^([A-Za-z_.-][A-Za-z0-9_.-]*)?$" },
        "template": { "pattern": template_pattern() },
        "options": {
            "maxProperties": check::MAX_OPTIONS,
            "propertyNames": { "pattern": "^[A-Za-z0-9_.-]{1,64}$" },
            "additionalProperties": { "type": "string", "maxLength": check::MAX_OPTION },
        },
    })
}

/// The pattern of the modes that the reader accepts.
fn mode_pattern() -> String {
    let subsets = |of: u32| (0..=of).filter(move |mode| mode & !of == 0);
    let group = |group| {
        let others: String = subsets(group).map(|mode| mode.to_string()).collect();
        format!("{group}[{others}]")
    };
    let owner = |owner| format!("{owner}(?:{})", subsets(owner).map(group).collect::<Vec<_>>().join("|"));
    format!("^(?:0o)?0?(?:{})$", (4..=7).map(owner).collect::<Vec<_>>().join("|"))
}

/// The pattern of a template with a secret.
fn template_pattern() -> String {
    let quoted = |count| format!(r#""(?:[^"\\]|\\["\\]){count}""#);
    let secret = format!(r"\{{\{{\s*secret\s+{}\s+{}\s*\}}\}}", quoted("*"), quoted("+"));
    let action = format!(r"(?:{secret}|\{{\{{\s*{}\s*\}}\}})", quoted("*"));
    format!(r"^(?:{TEXT}{action})*{TEXT}{secret}(?:{TEXT}{action})*{TEXT}\{{?$")
}

/// Holds if the entry has the field, with another value than null.
fn has(field: &str) -> Value {
    json!({ "required": [field], "properties": { field: { "not": { "type": "null" } } } })
}

fn is_file() -> Value {
    json!({ "anyOf": [{ "required": ["file"], "properties": { "file": { "const": true } } }, has("path")] })
}

/// Which fields an entry has together.
fn combinations() -> Value {
    let (absent, empty) = (json!({ "type": "null" }), json!({ "enum": ["", null] }));
    let with_template = json!({
        "required": ["path"],
        "properties": {
            "path": { "type": "string", "pattern": format!("^(?:{PART})+{PART}$") },
            "group": absent, "keys": absent, "envPrefix": absent, "optional": absent, "fallback": absent,
            "key": empty, "version": empty, "options": { "maxProperties": 0 },
        },
    });
    let with_keys = json!({
        "properties": {
            "key": empty, "env": absent, "fallback": absent,
            "group": { "minLength": 1 },
            "path": { "pattern": format!("^(?:{PART})+/*$") },
        },
        "if": is_file(),
        "then": { "properties": { "envPrefix": absent } },
    });
    let in_folder = json!({ "required": ["path"], "properties": { "path": { "type": "string", "pattern": "/$" } } });
    let key_as_file = format!("^{}(?:{PART})*$", &PART[1..]);
    let without_group = json!({ "properties": { "group": { "const": "" } } });
    let with_key = json!({
        "required": ["key"],
        "properties": {
            "key": { "type": "string", "minLength": 1 },
            "envPrefix": absent,
            "path": { "pattern": format!("^(?:{PART})+(?:{PART}|/)$") },
        },
        "allOf": [
            { "if": in_folder, "then": { "properties": { "key": { "pattern": key_as_file } } } },
            {
                "if": { "not": { "anyOf": [is_file(), has("env")] } },
                "then": {
                    "if": without_group,
                    "then": { "properties": { "key": { "pattern": "^[A-Za-z_-][A-Za-z0-9_-]*$" } } },
                    "else": {
                        "properties": {
                            "group": { "pattern": "^[A-Za-z_-][A-Za-z0-9_-]*$" },
                            "key": { "pattern": "^[A-Za-z0-9_-]+$" },
                        },
                    },
                },
            },
        ],
    });
    let without_template = json!({
        "required": ["group"],
        "properties": { "group": { "type": "string" } },
        "if": has("keys"), "then": with_keys, "else": with_key,
    });
    json!([
        { "if": has("template"), "then": with_template, "else": without_template },
        {
            "if": is_file(),
            "then": { "properties": { "fallback": absent } },
            "else": { "properties": { "mode": absent } },
        },
    ])
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
        let types = match property.remove("type") {
            Some(Value::Array(types)) => types,
            Some(one) => vec![one],
            None => panic!("a field has no type"),
        };
        let null = json!("null");
        let is_nullable = types.contains(&null);
        property.insert("type".to_owned(), types.into_iter().chain((!is_nullable).then_some(null)).collect());
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
            "allOf": combinations(),
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

/// The keywords of JSON Schema that [`accepts`] knows.
const KEYWORDS: &str = "$schema title description if then else not allOf anyOf const enum type properties required \
                        maxProperties propertyNames additionalProperties items minItems maxItems uniqueItems minLength \
                        maxLength minimum maximum pattern";

/// Whether the schema of the list accepts a value.
fn accepts(schema: &Value, value: &Value) -> bool {
    for keyword in schema.as_object().into_iter().flatten().map(|(keyword, _)| keyword) {
        assert!(KEYWORDS.split_whitespace().any(|known| known == keyword), "the test does not know {keyword}");
    }
    let holds = |keyword: &str, argument: &Value| match keyword {
        "$schema" | "title" | "description" | "then" | "else" => true,
        "if" => {
            let branch = if accepts(argument, value) { "then" } else { "else" };
            schema.get(branch).is_none_or(|branch| accepts(branch, value))
        }
        "not" => !accepts(argument, value),
        "allOf" => argument.as_array().unwrap().iter().all(|all| accepts(all, value)),
        "anyOf" => argument.as_array().unwrap().iter().any(|option| accepts(option, value)),
        "const" => argument == value,
        "enum" => argument.as_array().unwrap().contains(value),
        "type" => match argument {
            Value::Array(names) => names.iter().any(|name| has_type(value, name)),
            name => has_type(value, name),
        },
        _ if value.is_object() => accepts_fields(schema, (keyword, argument), value.as_object().unwrap()),
        _ if value.is_array() => accepts_items((keyword, argument), value.as_array().unwrap()),
        "minLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 >= argument.as_u64().unwrap()),
        "maxLength" => value.as_str().is_none_or(|text| text.chars().count() as u64 <= argument.as_u64().unwrap()),
        "minimum" => value.as_u64().is_none_or(|number| number >= argument.as_u64().unwrap()),
        "maximum" => value.as_u64().is_none_or(|number| number <= argument.as_u64().unwrap()),
        "pattern" => value.as_str().is_none_or(|text| Regex::new(argument.as_str().unwrap()).unwrap().is_match(text)),
        _ => true,
    };
    schema.as_object().into_iter().flatten().all(|(keyword, argument)| holds(keyword, argument))
}

fn accepts_fields(schema: &Value, (keyword, argument): (&str, &Value), fields: &Map<String, Value>) -> bool {
    match keyword {
        "properties" => {
            fields.iter().all(|(key, value)| argument.get(key).is_none_or(|property| accepts(property, value)))
        }
        "required" => argument.as_array().unwrap().iter().all(|key| fields.contains_key(key.as_str().unwrap())),
        "maxProperties" => fields.len() as u64 <= argument.as_u64().unwrap(),
        "propertyNames" => fields.keys().all(|key| accepts(argument, &json!(key))),
        "additionalProperties" if argument.is_object() => fields.values().all(|value| accepts(argument, value)),
        "additionalProperties" => fields.keys().all(|key| schema["properties"].get(key).is_some()),
        _ => true,
    }
}

fn accepts_items((keyword, argument): (&str, &Value), items: &[Value]) -> bool {
    match keyword {
        "items" => items.iter().all(|item| accepts(argument, item)),
        "minItems" => items.len() as u64 >= argument.as_u64().unwrap(),
        "maxItems" => items.len() as u64 <= argument.as_u64().unwrap(),
        "uniqueItems" => (1..items.len()).all(|i| !items[..i].contains(&items[i])),
        _ => true,
    }
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

fn reader_accepts(list: &str) -> bool {
    read_requests(json!({ KEY: list }).as_object().unwrap()).is_ok()
}

/// Entries that both readers accept.
const VALID: &[&str] = &[
    "{ group: db, key: password }",
    "{ group: \"\", key: password, env: A }",
    "{ group: db, key: password, version: \"7\", env: TF_VAR_db_password, optional: true }",
    "{ group: db, key: password, file: true, mode: \"0400\" }",
    "{ group: db, key: password, path: /etc/db/, mode: \"440\", containers: [a, b], injector: k8s }",
    "{ group: db, key: password, fallback: file }",
    "{ group: db, key: password, env: null }",
    "{ group: db, keys: all, envPrefix: DB_ }",
    "{ group: db, keys: all, path: /etc/db, options: { region: eu } }",
    "{ path: /etc/app/dsn, template: '{{ secret \"db\" \"password\" }}' }",
    "{ group: null, key: null, path: /etc/app/dsn, template: '{{\"{{\"}}{{secret \"\" \"k\"}} { }}' }",
    "{ group: db, key: '', keys: all, version: null, options: null, file: null, optional: false }",
    "{ group: db, keys: all, path: /etc/db// }",
    "{ group: '', key: -password, containers: [a] }",
    "{ group: db, key: '1' }",
    "{ group: '1db', key: password, env: A }",
    "{ group: db, key: tls.crt, file: true }",
    "{ group: db, key: a/b, path: /etc/ }",
    "{ group: db, key: .., path: /etc/a }",
    "{ group: db, key: password, path: /a/..b }",
    "{ group: db, key: password, file: true, mode: \"0o640\" }",
    "{ path: /etc/app/dsn, template: '{{ secret \"db\" \"k\" }}', options: {} }",
    "{ path: /etc/app/dsn, template: '{{ secret \"db\" \"k\" }}', env: DSN, mode: \"400\" }",
];

/// Entries that both readers refuse.
const INVALID: &[&str] = &[
    "{ group: db, key: 1, env: A }",
    "{ group: '1db', key: password }",
    "{ group: '', key: 1db }",
    "{ group: db, key: tls.crt }",
    "{ group: db, key: /b, path: /etc/ }",
    "{ group: db, key: .., path: /etc/ }",
    "{ group: db, key: password, path: /password }",
    "{ group: db, key: password, path: /a/../b }",
    "{ group: db, key: password, path: /a/. }",
    "{ group: db, key: password, path: /a//b }",
    "{ group: db, key: password, path: '/a:b/c' }",
    "{ group: db, key: password, mode: \"0400\" }",
    "{ group: db, key: password, file: false, mode: \"0400\" }",
    "{ group: db, key: password, file: true, mode: \"0466\" }",
    "{ group: db, key: password, file: true, fallback: file }",
    "{ group: db, key: password, envPrefix: A }",
    "{ group: db, keys: all, envPrefix: A, path: /etc/db }",
    "{ group: db, keys: all, env: A }",
    "{ group: db, keys: all, key: password }",
    "{ group: db, keys: all, fallback: file }",
    "{ group: '', keys: all }",
    "{ keys: all }",
    "{ group: db, keys: [a, b] }",
    "{ group: db, key: password, options: { 'a b': c } }",
    "{ path: /etc/app/, template: '{{ secret \"db\" \"password\" }}' }",
    "{ path: /etc/app/dsn, template: 'no secret' }",
    "{ path: /etc/app/dsn, template: '{{ secret \"db\" }}' }",
    "{ path: /etc/app/dsn, template: '{{{ secret \"db\" \"k\" }}' }",
    "{ path: /etc/app/dsn, template: '{{ secret \"db\" \"k\" }}', optional: true }",
    "{ path: /etc/app/dsn, template: '{{ secret \"db\" \"k\" }}', group: db }",
    "{ group: db, keys: some }",
    "{ group: db, keys: all, envPrefix: A= }",
    "{ group: db, key: password, options: { region: 1 } }",
    "{ template: '{{ secret \"db\" \"password\" }}' }",
    "{ key: password }",
    "{ group: db }",
    "{ group: db, key: \"\" }",
    "{ group: db, key: password, name: A }",
    "{ group: db, key: password, env: \"\" }",
    "{ group: db, key: password, env: A=B }",
    "{ group: db, key: password, version: 7 }",
    "{ group: db, key: password, file: \"yes\" }",
    "{ group: db, key: password, path: etc/db }",
    "{ group: db, key: password, path: /a/b, mode: \"0800\" }",
    "{ group: db, key: password, path: /a/b, mode: \"07777\" }",
    "{ group: db, key: password, containers: [] }",
    "{ group: db, key: password, containers: [a, a] }",
    "{ group: db, key: password, injector: \"\" }",
    "{ group: db, key: password, fallback: env }",
    "[]",
];

#[test]
fn an_editor_accepts_what_the_webhook_accepts() {
    let schema = schema();
    let valid = VALID.iter().map(|entry| (entry, true));
    for (entry, expected) in valid.chain(INVALID.iter().map(|entry| (entry, false))) {
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

/// Values for each field, with ones that are refused alone or together with other fields.
fn any_entry() -> impl Strategy<Value = Value> {
    let template = "{{ secret \"db\" \"k\" }}";
    let fields = json!({
        "group": [null, "", "db", "1db", "a.b"],
        "key": [null, "", "k", "1k", "tls.crt", "a/b", ".."],
        "keys": [null, "all", "some"],
        "version": [null, "", "7"],
        "env": [null, "A", "a.b", "A=B"],
        "envPrefix": [null, "", "DB_", "1"],
        "file": [null, true, false],
        "path": [null, "/etc/a", "/etc/", "/a", "/etc//", "a", ""],
        "mode": [null, "0400", "407", "x"],
        "template": [null, template, "", "text"],
        "optional": [null, true, false],
        "containers": [null, [], ["a"], ["a", "a"]],
        "injector": [null, "", "k8s"],
        "options": [null, {}, { "a": "b" }, { "": "b" }],
        "fallback": [null, "file", "env"],
    });
    // Most fields of most entries are absent: otherwise hardly an entry is valid.
    let choices = fields.as_object().unwrap().clone().into_iter().map(|(field, values)| {
        let values = values.as_array().unwrap().clone();
        let value = prop_oneof![3 => Just(None), 1 => proptest::sample::select(values).prop_map(Some)];
        let often = ["group", "key", "path"].contains(&field.as_str());
        let value = if often { prop_oneof![1 => value.boxed(), 3 => common(&field)].boxed() } else { value.boxed() };
        value.prop_map(move |value| value.map(|value| (field.clone(), value)))
    });
    choices.collect::<Vec<_>>().prop_map(|fields| Value::Object(fields.into_iter().flatten().collect()))
}

/// A value of a field that most entries have.
fn common(field: &str) -> BoxedStrategy<Option<Value>> {
    let values = match field {
        "group" => vec![Some(json!("db")), Some(json!(""))],
        "key" => vec![Some(json!("k")), Some(json!("k")), None],
        _ => vec![Some(json!("/etc/app/a")), Some(json!("/etc/app/")), None, None],
    };
    proptest::sample::select(values).boxed()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn an_editor_and_the_webhook_agree_on_every_combination_of_fields(entry in any_entry()) {
        let list = json!([entry]);
        let is_read = reader_accepts(&list.to_string());
        prop_assert_eq!(accepts(&SCHEMA, &list), is_read, "{}", list);
    }
}

#[test]
fn the_combinations_are_valid_and_invalid_ones() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut valid = 0;
    for _ in 0..1000 {
        let entry = any_entry().new_tree(&mut runner).unwrap().current();
        valid += usize::from(accepts(&SCHEMA, &json!([entry])));
    }
    assert!((100..900).contains(&valid), "{valid} of 1000 entries are valid");
}
