//! Differences between the desired and the stored registration: [`first_difference`].
//!
//! Values are compared in the form that the API server stores. We ignore fields we do not set and
//! webhooks we do not own. The keeper compares the `caBundle`, as a set of certificates.

use serde_json::{Map, Value};

use crate::ca_bundle::CaBundle;

/// Returns the first field that differs, if any.
pub(super) fn first_difference(wanted: &Value, found: &Value) -> Option<String> {
    for webhook in webhooks(wanted) {
        let name = name(webhook);
        let Some(found) = webhooks(found).iter().find(|found| self::name(found) == name) else {
            return Some(format!("webhooks[{name}]"));
        };
        let fields = webhook.as_object().into_iter().flatten();
        for (field, value) in fields {
            if normalized(field, value) != normalized(field, &found[field]) {
                return Some(format!("webhooks[{name}].{field}"));
            }
        }
    }
    None
}

/// Returns the `caBundle` of each of our webhooks in an object.
pub(super) fn ca_bundles(wanted: &Value, found: &Value) -> Vec<CaBundle> {
    own(wanted, found).map(ca_bundle).collect()
}

/// Returns the names of our webhooks in an object, in its order.
pub(super) fn own_webhooks<'a>(wanted: &'a Value, found: &'a Value) -> impl Iterator<Item = &'a str> {
    own(wanted, found).map(name)
}

/// Returns the object with our webhooks in the place of webhooks of the same name. Other webhooks
/// stay.
pub(super) fn replace_webhooks(wanted: &Value, mut found: Value) -> Value {
    let mut all: Vec<Value> = webhooks(wanted).to_vec();
    let foreign = webhooks(&found).iter().filter(|webhook| !contains(webhooks(wanted), webhook));
    all.extend(foreign.cloned());
    found["webhooks"] = Value::Array(all);
    found
}

/// Returns a field without the API server's defaults and without the `caBundle`.
fn normalized(field: &str, value: &Value) -> Value {
    let mut value = value.clone();
    match field {
        "clientConfig" => {
            value.as_object_mut().and_then(|config| config.remove("caBundle"));
        }
        "rules" => {
            for rule in value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
                remove_default_scope(rule);
            }
        }
        _ => {}
    }
    value
}

fn remove_default_scope(rule: &mut Map<String, Value>) {
    if rule.get("scope").is_some_and(|scope| scope == "*") {
        rule.remove("scope");
    }
}

fn own<'a>(wanted: &'a Value, found: &'a Value) -> impl Iterator<Item = &'a Value> {
    webhooks(found).iter().filter(|webhook| contains(webhooks(wanted), webhook))
}

/// Whether a list contains a webhook of the same name.
fn contains(webhooks: &[Value], webhook: &Value) -> bool {
    webhooks.iter().any(|other| name(other) == name(webhook))
}

fn webhooks(object: &Value) -> &[Value] {
    object["webhooks"].as_array().map_or(&[], Vec::as_slice)
}

fn name(webhook: &Value) -> &str {
    webhook["name"].as_str().unwrap_or_default()
}

fn ca_bundle(webhook: &Value) -> CaBundle {
    let text = webhook["clientConfig"]["caBundle"].as_str().unwrap_or_default();
    let pem = data_encoding::BASE64.decode(text.as_bytes()).ok().and_then(|pem| String::from_utf8(pem).ok());
    CaBundle::parse(&pem.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use ampoule_config::Config;

    use super::*;
    use crate::registration::document::{ReviewRoute, WebhookRegistration};

    fn wanted() -> Value {
        let config = Config::parse("", &["k8s"]).unwrap().registration;
        WebhookRegistration::new(config, ReviewRoute::Direct, None).document("ampoule")
    }

    /// Changes the stored document and compares the reported field.
    fn check(change: impl Fn(&mut Value), expected: Option<&str>) {
        let mut found = wanted();
        found["webhooks"][0]["rules"][0]["scope"] = json!("*");
        change(&mut found);
        assert_eq!(first_difference(&wanted(), &found).as_deref(), expected, "{found}");
    }

    #[test]
    fn additions_of_the_api_server_and_of_other_programs_are_ignored() {
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
    fn a_changed_field_is_named() {
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
    fn own_webhooks_are_replaced_and_foreign_ones_stay() {
        let found = json!({
            "metadata": { "name": "ampoule", "resourceVersion": "7" },
            "webhooks": [
                { "name": "theirs.example.org" },
                { "name": "secrets.ampoule.dev", "clientConfig": { "url": "x" } },
            ],
        });
        let replaced = replace_webhooks(&wanted(), found);
        let names: Vec<_> = webhooks(&replaced).iter().map(name).collect();
        assert_eq!(names, ["secrets.ampoule.dev", "people.ampoule.dev", "theirs.example.org"]);
        assert_eq!(replaced["metadata"]["resourceVersion"], "7");
        assert_eq!(first_difference(&wanted(), &replaced), None);
    }
}
