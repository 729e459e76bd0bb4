//! The ValidatingAdmissionPolicy of the chart, evaluated with a table of changes.
//!
//! An API server with this kind (1.30) is not available to the tests, so a CEL interpreter
//! evaluates the expressions with the objects that an API server would pass to them.

use std::collections::BTreeMap;

use ampoule_tests::Renderers;
use anyhow::{Context as _, Result};
use cel::{Context, Program, Value as Cel};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use serde_json::{Value, json};

use super::{check_kept, find};

/// A change of the stored object, and the denials that it causes.
type Change = (&'static str, fn(&mut Value), &'static [&'static str]);

const SERVED: [&str; 2] = ["--api-versions", "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"];
const ACCOUNT: &str = "system:serviceaccount:hooks:hook-ampoule";

const OBJECT: &str = "the service account of Ampoule may not create or delete this object";
const FIELDS: &str = "the service account of Ampoule may change only the caBundle of this object";
const METADATA: &str = "the service account of Ampoule may not change metadata";
const WEBHOOKS: &str = "the service account of Ampoule may not add, remove or move a webhook";
const WEBHOOK: &str = "the service account of Ampoule may not change a webhook except clientConfig.caBundle";
const CLIENT: &str = "the service account of Ampoule may not change clientConfig except caBundle";
const SPEC: &str = "the service account of Ampoule may not change spec except caBundle";

/// The policy of the chart.
struct Policy(Value);

/// A request to the API server.
struct Request<'a> {
    user: &'a str,
    operation: &'a str,
    object: Value,
    old: Value,
}

fn render(values: &[&str]) -> Result<Vec<Value>> {
    Renderers::find()?.helm("hook", "hooks", values)
}

// === impl Policy ===

impl Policy {
    fn of_the_chart() -> Result<Self> {
        let objects = render(&SERVED)?;
        Ok(Self(find(&objects, "ValidatingAdmissionPolicy/hooks-hook-ampoule")?["spec"].clone()))
    }

    /// The messages of the failed validations. An expression that cannot be evaluated denies the
    /// request, as with `failurePolicy: Fail`.
    fn denials(&self, request: &Request<'_>) -> Result<Vec<String>> {
        let mut context = Context::default();
        let attributes = json!({ "operation": request.operation, "userInfo": { "username": request.user } });
        context.add_variable("request", attributes)?;
        context.add_variable("object", &request.object)?;
        context.add_variable("oldObject", &request.old)?;
        for condition in list(&self.0["matchConditions"]) {
            if evaluate(&condition["expression"], &context)? != Cel::Bool(true) {
                return Ok(Vec::new());
            }
        }
        let mut variables = BTreeMap::new();
        for variable in list(&self.0["variables"]) {
            context.add_variable("variables", &variables)?;
            // The API server evaluates a variable when an expression uses it, so a variable of an
            // object that does not exist is no error.
            if let Ok(value) = evaluate(&variable["expression"], &context) {
                variables.insert(text(&variable["name"])?.to_owned(), to_json(&value)?);
            }
        }
        context.add_variable("variables", &variables)?;
        let mut denials = Vec::new();
        for validation in list(&self.0["validations"]) {
            match evaluate(&validation["expression"], &context) {
                Ok(Cel::Bool(true)) => {}
                Ok(Cel::Bool(false)) => denials.push(text(&validation["message"])?.to_owned()),
                other => denials.push(format!("{other:?}")),
            }
        }
        Ok(denials)
    }

    /// Applies each change to the object and compares the denials of the update.
    fn check(&self, stored: &Value, changes: &[Change]) -> Result<()> {
        for (name, change, expected) in changes {
            let mut object = stored.clone();
            change(&mut object);
            let request = Request { user: ACCOUNT, operation: "UPDATE", object, old: stored.clone() };
            assert_eq!(self.denials(&request)?, *expected, "{name}");
            let admin = Request { user: "admin", ..request };
            assert_eq!(self.denials(&admin)?, [""; 0], "{name}, by an admin");
        }
        Ok(())
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().context("a text")
}

fn evaluate(expression: &Value, context: &Context<'_, '_>) -> Result<Cel> {
    let expression = text(expression)?;
    let program = Program::compile(expression).with_context(|| expression.to_owned())?;
    Ok(program.execute(context)?)
}

/// Converts a value of CEL that came from JSON.
fn to_json(value: &Cel) -> Result<Value> {
    Ok(match value {
        Cel::Map(map) => {
            let entries = map.map.iter().map(|(key, value)| Ok((key.to_string(), to_json(value)?)));
            Value::Object(entries.collect::<Result<_>>()?)
        }
        Cel::List(items) => Value::Array(items.iter().map(to_json).collect::<Result<_>>()?),
        Cel::String(text) => json!(**text),
        Cel::Int(number) => json!(number),
        Cel::UInt(number) => json!(number),
        Cel::Bool(value) => json!(value),
        Cel::Null => Value::Null,
        other => anyhow::bail!("{other:?} is not JSON"),
    })
}

/// The chart's registration as an API server stores it.
fn registration() -> Result<Value> {
    let objects = render(&[])?;
    let mut object = find(&objects, "MutatingWebhookConfiguration/hook-ampoule")?.clone();
    let metadata = &mut object["metadata"];
    metadata["uid"] = json!("5b2d0f1e-0000-4000-8000-000000000000");
    metadata["resourceVersion"] = json!("7");
    metadata["generation"] = json!(1);
    metadata["creationTimestamp"] = Value::Null;
    metadata["managedFields"] = json!([{ "manager": "helm", "operation": "Apply" }]);
    for webhook in object["webhooks"].as_array_mut().context("webhooks")? {
        webhook["rules"][0]["scope"] = json!("*");
        webhook["clientConfig"]["caBundle"] = json!("AA==");
    }
    Ok(object)
}

#[test]
fn the_service_account_may_change_only_the_ca_bundle_of_the_registration() -> Result<()> {
    let mut without_bundle = registration()?;
    without_bundle["webhooks"][0]["clientConfig"].as_object_mut().context("an object")?.remove("caBundle");
    let permitted: &[Change] = &[
        ("no change", |_| {}, &[]),
        ("a new caBundle", |o| o["webhooks"][0]["clientConfig"]["caBundle"] = json!("AQ=="), &[]),
        ("a caBundle that becomes empty", |o| o["webhooks"][1]["clientConfig"]["caBundle"] = json!(""), &[]),
        (
            "the fields that the API server changes with every update",
            |o| {
                o["metadata"]["managedFields"] = json!([]);
                o["metadata"]["resourceVersion"] = json!("8");
                o["metadata"]["generation"] = json!(2);
            },
            &[],
        ),
    ];
    Policy::of_the_chart()?.check(&registration()?, permitted)?;
    Policy::of_the_chart()?.check(&without_bundle, permitted)
}

#[test]
fn every_other_change_of_the_registration_is_denied() -> Result<()> {
    let stored = registration()?;
    Policy::of_the_chart()?.check(&stored, OBJECT_CHANGES)?;
    Policy::of_the_chart()?.check(&stored, WEBHOOK_CHANGES)?;
    Policy::of_the_chart()?.check(&stored, CLIENT_CHANGES)
}

const OBJECT_CHANGES: &[Change] = &[
    ("a label", |o| o["metadata"]["labels"]["a"] = json!("b"), &[METADATA]),
    ("no labels", |o| drop(remove(&mut o["metadata"], "labels")), &[METADATA]),
    ("an annotation", |o| o["metadata"]["annotations"] = json!({ "a": "b" }), &[METADATA]),
    ("a finalizer", |o| o["metadata"]["finalizers"] = json!(["a.example.org/b"]), &[METADATA]),
    ("an owner", |o| o["metadata"]["ownerReferences"] = json!([{ "name": "a" }]), &[METADATA]),
    ("another uid", |o| o["metadata"]["uid"] = json!("a"), &[METADATA]),
    ("an unknown field", |o| o["later"] = json!("a"), &[FIELDS]),
    ("another kind", |o| o["kind"] = json!("ValidatingWebhookConfiguration"), &[FIELDS]),
    ("a removed field", |o| drop(remove(o, "kind")), &[FIELDS]),
    (
        "a further webhook",
        |o| {
            let mut webhook = o["webhooks"][0].clone();
            webhook["name"] = json!("theirs.example.org");
            webhooks(o).push(webhook);
        },
        &[WEBHOOKS, WEBHOOK, CLIENT],
    ),
    ("a removed webhook", |o| drop(webhooks(o).pop()), &[WEBHOOKS]),
    ("no webhooks", |o| drop(remove(o, "webhooks")), &[FIELDS, WEBHOOKS]),
    ("webhooks in another order", |o| webhooks(o).swap(0, 1), &[WEBHOOKS]),
    ("another name of a webhook", |o| o["webhooks"][0]["name"] = json!("a.example.org"), &[WEBHOOKS, WEBHOOK, CLIENT]),
];

fn webhooks(object: &mut Value) -> &mut Vec<Value> {
    object["webhooks"].as_array_mut().expect("the object of this test has webhooks")
}

const WEBHOOK_CHANGES: &[Change] = &[
    (
        "rules for every object",
        |o| {
            o["webhooks"][0]["rules"][0] =
                json!({ "operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"] });
        },
        &[WEBHOOK],
    ),
    ("another operation", |o| o["webhooks"][1]["rules"][0]["operations"] = json!(["CREATE", "UPDATE"]), &[WEBHOOK]),
    ("another scope", |o| o["webhooks"][1]["rules"][0]["scope"] = json!("Namespaced"), &[WEBHOOK]),
    ("an object selector without a label", |o| o["webhooks"][0]["objectSelector"] = json!({}), &[WEBHOOK]),
    ("a namespace selector for all", |o| o["webhooks"][0]["namespaceSelector"] = json!({}), &[WEBHOOK]),
    ("no namespace selector", |o| drop(remove(&mut o["webhooks"][0], "namespaceSelector")), &[WEBHOOK]),
    ("another failure policy", |o| o["webhooks"][0]["failurePolicy"] = json!("Ignore"), &[WEBHOOK]),
    ("another match policy", |o| o["webhooks"][0]["matchPolicy"] = json!("Exact"), &[WEBHOOK]),
    ("another reinvocation policy", |o| o["webhooks"][0]["reinvocationPolicy"] = json!("Never"), &[WEBHOOK]),
    ("other side effects", |o| o["webhooks"][0]["sideEffects"] = json!("None"), &[WEBHOOK]),
    ("another timeout", |o| o["webhooks"][0]["timeoutSeconds"] = json!(1), &[WEBHOOK]),
    ("another review version", |o| o["webhooks"][0]["admissionReviewVersions"] = json!(["v1"]), &[WEBHOOK]),
    (
        "a match condition",
        |o| o["webhooks"][0]["matchConditions"] = json!([{ "name": "a", "expression": "false" }]),
        &[WEBHOOK],
    ),
    ("a field of a later version", |o| o["webhooks"][0]["later"] = json!(true), &[WEBHOOK]),
];

const CLIENT_CHANGES: &[Change] = &[
    (
        "a URL instead of the Service",
        |o| o["webhooks"][0]["clientConfig"] = json!({ "url": "https://example.org/", "caBundle": "AQ==" }),
        &[CLIENT],
    ),
    ("a URL beside the Service", |o| o["webhooks"][0]["clientConfig"]["url"] = json!("https://a/"), &[CLIENT]),
    ("another Service", |o| o["webhooks"][0]["clientConfig"]["service"]["name"] = json!("theirs"), &[CLIENT]),
    ("another namespace", |o| o["webhooks"][1]["clientConfig"]["service"]["namespace"] = json!("a"), &[CLIENT]),
    ("another path", |o| o["webhooks"][1]["clientConfig"]["service"]["path"] = json!("/a"), &[CLIENT]),
    ("another port", |o| o["webhooks"][1]["clientConfig"]["service"]["port"] = json!(1), &[CLIENT]),
];

#[test]
fn the_service_account_may_change_only_the_ca_bundle_of_the_api_service() -> Result<()> {
    let objects = render(&[&SERVED[..], &["--set", "clients.mode=requestHeader"]].concat())?;
    let stored = find(&objects, "APIService/v1.admission.ampoule.dev")?;
    Policy::of_the_chart()?.check(
        stored,
        &[
            ("a caBundle", |o| o["spec"]["caBundle"] = json!("AA=="), &[]),
            ("another Service", |o| o["spec"]["service"]["namespace"] = json!("theirs"), &[SPEC]),
            ("no Service", |o| drop(remove(&mut o["spec"], "service")), &[SPEC]),
            ("another priority", |o| o["spec"]["versionPriority"] = json!(1), &[SPEC]),
            ("no verification", |o| o["spec"]["insecureSkipTLSVerify"] = json!(true), &[SPEC]),
            ("no spec", |o| drop(remove(o, "spec")), &[FIELDS, SPEC]),
            ("a status", |o| o["status"] = json!({ "conditions": [] }), &[FIELDS]),
            ("a label", |o| o["metadata"]["labels"]["a"] = json!("b"), &[METADATA]),
        ],
    )
}

#[test]
fn the_service_account_may_not_create_or_delete() -> Result<()> {
    let policy = Policy::of_the_chart()?;
    for (operation, object, old) in [("CREATE", registration()?, Value::Null), ("DELETE", Value::Null, registration()?)]
    {
        let request = Request { user: ACCOUNT, operation, object, old };
        assert_eq!(policy.denials(&request)?, [OBJECT], "{operation}");
        let neighbour = Request { user: "system:serviceaccount:hooks:hook-ampoule-uninstall", ..request };
        assert_eq!(policy.denials(&neighbour)?, [""; 0], "{operation}, by another account");
    }
    Ok(())
}

#[test]
fn the_policy_exists_only_if_the_process_writes_the_ca_bundle_and_the_api_server_has_the_kind() -> Result<()> {
    let kind = "ValidatingAdmissionPolicy/hooks-hook-ampoule";
    let binding = "ValidatingAdmissionPolicyBinding/hooks-hook-ampoule";
    let table: &[(&[&str], bool, bool)] = &[
        (&[], true, true),
        (&[], false, false),
        (&["admissionPolicy.enabled=true"], false, true),
        (&["admissionPolicy.enabled=false"], true, false),
        (&["config.registration.create=true"], true, false),
        (&["config.registration.enabled=false"], true, false),
        (&["certificates.mode=cert-manager"], true, false),
        (&["clients.mode=requestHeader"], true, true),
        (&["flyte.enabled=true"], true, false),
    ];
    for (values, served, expected) in table {
        let mut words: Vec<_> = values.iter().flat_map(|value| ["--set", value]).collect();
        words.extend(SERVED.iter().filter(|_| *served));
        let objects = render(&words)?;
        assert_eq!(find(&objects, kind).is_ok(), *expected, "{values:?}, {served}");
        assert_eq!(find(&objects, binding).is_ok(), *expected, "{values:?}, {served}");
    }
    Ok(())
}

#[test]
fn kubernetes_types_have_every_field_of_the_policy_and_its_binding() -> Result<()> {
    let objects = render(&SERVED)?;
    let sent = find(&objects, "ValidatingAdmissionPolicy/hooks-hook-ampoule")?;
    let typed: ValidatingAdmissionPolicy = serde_json::from_value(sent.clone())?;
    check_kept(sent, &serde_json::to_value(typed)?, "policy");
    let sent = find(&objects, "ValidatingAdmissionPolicyBinding/hooks-hook-ampoule")?;
    let typed: ValidatingAdmissionPolicyBinding = serde_json::from_value(sent.clone())?;
    check_kept(sent, &serde_json::to_value(typed)?, "binding");
    Ok(())
}

fn remove(object: &mut Value, key: &str) -> Option<Value> {
    object.as_object_mut()?.remove(key)
}
