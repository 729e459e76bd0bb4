//! In what a registration is not as it should be: [`first`], compared as the API server stores it.
//!
//! The `caBundle` is compared as a set of certificates, elsewhere. Fields that are not said, and webhooks that are not ours, are others'.

use serde_json::{Map, Value};

use super::CaBundle;

/// The first field that differs; none if the object is as it should be.
pub(super) fn first(wanted: &Value, found: &Value) -> Option<String> {
    for webhook in webhooks(wanted) {
        let name = name(webhook);
        let Some(found) = webhooks(found).iter().find(|found| self::name(found) == name) else {
            return Some(format!("webhooks[{name}]"));
        };
        let fields = webhook.as_object().into_iter().flatten();
        for (field, value) in fields {
            if stored(field, value) != stored(field, &found[field]) {
                return Some(format!("webhooks[{name}].{field}"));
            }
        }
    }
    None
}

/// The `caBundle` of each of our webhooks in an object.
pub(super) fn bundles(wanted: &Value, found: &Value) -> Vec<CaBundle> {
    let ours = |webhook: &&Value| webhooks(wanted).iter().any(|wanted| name(wanted) == name(webhook));
    webhooks(found).iter().filter(ours).map(bundle).collect()
}

/// The object with our webhooks in the place of those of the same name; whoever else has one in it keeps it.
pub(super) fn put(wanted: &Value, mut found: Value) -> Value {
    let mut all: Vec<Value> = webhooks(wanted).to_vec();
    let others = webhooks(&found).iter().filter(|other| !all.iter().any(|ours| name(ours) == name(other)));
    let others: Vec<_> = others.cloned().collect();
    all.extend(others);
    found["webhooks"] = Value::Array(all);
    found
}

/// A field as two sides can be compared: without what the API server fills in, and without the `caBundle`.
fn stored(field: &str, value: &Value) -> Value {
    let mut value = value.clone();
    match field {
        "clientConfig" => {
            value.as_object_mut().and_then(|config| config.remove("caBundle"));
        }
        "rules" => {
            let every_scope = |rule: &Map<String, Value>| rule.get("scope").is_some_and(|scope| scope == "*");
            for rule in value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
                if every_scope(rule) {
                    rule.remove("scope");
                }
            }
        }
        _ => {}
    }
    value
}

fn webhooks(object: &Value) -> &[Value] {
    object["webhooks"].as_array().map_or(&[], Vec::as_slice)
}

fn name(webhook: &Value) -> &str {
    webhook["name"].as_str().unwrap_or_default()
}

fn bundle(webhook: &Value) -> CaBundle {
    let text = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
    let pem = data_encoding::BASE64.decode(text.as_bytes()).ok().and_then(|pem| String::from_utf8(pem).ok());
    CaBundle::parse(&pem.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::WebhookRegistration, *};
    use ampoule_config::Config;

    fn wanted() -> Value {
        let config = Config::parse("", &[]).unwrap().registration;
        WebhookRegistration::new(config, None).document("ampoule")
    }

    /// The document with a change, and the field that it should be noticed in.
    fn check(change: impl Fn(&mut Value), expected: Option<&str>) {
        let mut found = wanted();
        found["webhooks"][0]["rules"][0]["scope"] = json!("*");
        change(&mut found);
        assert_eq!(first(&wanted(), &found).as_deref(), expected, "{found}");
    }

    #[test]
    fn what_the_api_server_and_others_add_is_no_difference() {
        check(|_| {}, None);
        check(|found| found["metadata"]["labels"] = json!({ "a": "b" }), None);
        check(|found| found["webhooks"][0]["clientConfig"]["caBundle"] = json!("AA=="), None);
        check(|found| found["webhooks"][1]["matchConditions"] = json!([]), None);
        check(
            |found| found["webhooks"].as_array_mut().unwrap().insert(0, json!({ "name": "theirs.example.org" })),
            None,
        );
    }

    #[test]
    fn every_field_of_ours_that_was_changed_is_named() {
        let field = |field: &str| format!("webhooks[secrets.ampoule.dev].{field}");
        check(|found| found["webhooks"] = json!([]), Some("webhooks[secrets.ampoule.dev]"));
        check(|found| found["webhooks"][1]["name"] = json!("other.ampoule.dev"), Some("webhooks[people.ampoule.dev]"));
        check(|found| found["webhooks"][0]["failurePolicy"] = json!("Ignore"), Some(&field("failurePolicy")));
        check(|found| found["webhooks"][0]["rules"][0]["operations"] = json!(["UPDATE"]), Some(&field("rules")));
        check(|found| found["webhooks"][0]["rules"][0]["scope"] = json!("Cluster"), Some(&field("rules")));
        check(
            |found| found["webhooks"][0]["clientConfig"] = json!({ "url": "https://example.org/" }),
            Some(&field("clientConfig")),
        );
        check(
            |found| found["webhooks"][0]["objectSelector"]["matchLabels"]["further"] = json!("label"),
            Some(&field("objectSelector")),
        );
    }

    #[test]
    fn ours_are_put_in_place_and_others_stay() {
        let found = json!({
            "metadata": { "name": "ampoule", "resourceVersion": "7" },
            "webhooks": [{ "name": "theirs.example.org" }, { "name": "secrets.ampoule.dev", "clientConfig": { "url": "x" } }],
        });
        let put = put(&wanted(), found);
        let names: Vec<_> = webhooks(&put).iter().map(name).collect();
        assert_eq!(names, ["secrets.ampoule.dev", "people.ampoule.dev", "theirs.example.org"]);
        assert_eq!(put["metadata"]["resourceVersion"], "7");
        assert_eq!(first(&wanted(), &put), None);
    }
}
