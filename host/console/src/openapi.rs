//! The OpenAPI 3.1 document of the API. The schemas are generated from the types of the answers.
//!
//! A test compares the document with the routes and with the committed copy in the book.

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use crate::{
    dry_run::DryRunView,
    refusal::RefusalBody,
    views::{CallerView, DecisionsView, DifferencesView, OverviewView, PluginView, PolicyView},
};

/// The path of the document.
pub(crate) const PATH: &str = "/api/v1/openapi.json";

/// One operation of the API.
struct Operation {
    method: &'static str,
    path: &'static str,
    summary: &'static str,
    /// What the API server must allow the caller.
    permission: &'static str,
    parameters: &'static [Parameter],
    answer: fn(&mut SchemaGenerator) -> Schema,
}

/// A parameter of the query.
struct Parameter {
    name: &'static str,
    kind: &'static str,
    required: bool,
    description: &'static str,
}

const PROCESS: &str = "get mutatingwebhookconfigurations.admissionregistration.k8s.io";

const PODS: &str = "get pods in the namespace, or in all namespaces without the parameter";

/// The parameters of a page of entries.
const ENTRIES: [Parameter; 3] = [
    Parameter {
        name: "namespace",
        kind: "string",
        required: false,
        description: "The namespace of the pods; without it, all namespaces.",
    },
    Parameter {
        name: "after",
        kind: "integer",
        required: false,
        description: "Only entries with a greater number: `last` of an earlier answer.",
    },
    Parameter {
        name: "limit",
        kind: "integer",
        required: false,
        description: "Maximum number of entries, at most 500. The default is 100. The newest ones are kept.",
    },
];

const OPERATIONS: [Operation; 8] = [
    Operation {
        method: "get",
        path: "/api/v1/me",
        summary: "The caller, and what the console may show to it",
        permission: "none",
        parameters: &[],
        answer: schema::<CallerView>,
    },
    Operation {
        method: "get",
        path: "/api/v1/overview",
        summary: "The state of the replica",
        permission: PROCESS,
        parameters: &[],
        answer: schema::<OverviewView>,
    },
    Operation {
        method: "get",
        path: "/api/v1/plugins",
        summary: "The plugins with their grants, limits and figures",
        permission: PROCESS,
        parameters: &[],
        answer: schema::<Vec<PluginView>>,
    },
    Operation {
        method: "get",
        path: "/api/v1/decisions",
        summary: "The last decisions of the replica, the oldest first",
        permission: PODS,
        parameters: &ENTRIES,
        answer: schema::<DecisionsView>,
    },
    Operation {
        method: "get",
        path: "/api/v1/differences",
        summary: "What shadow rules and shadow injectors would have done differently for pods, the oldest first",
        permission: PODS,
        parameters: &ENTRIES,
        answer: schema::<DifferencesView>,
    },
    Operation {
        method: "get",
        path: "/api/v1/configuration",
        summary: "The configuration in effect, without the settings of plugins",
        permission: PROCESS,
        parameters: &[],
        answer: schema::<Map<String, Value>>,
    },
    Operation {
        method: "get",
        path: "/api/v1/policy",
        summary: "The policy rules and the shadow injectors, with their counters",
        permission: PROCESS,
        parameters: &[],
        answer: schema::<PolicyView>,
    },
    Operation {
        method: "post",
        path: "/api/v1/dry-run",
        summary: "What the webhook would do with a pod of the caller; nothing is written",
        permission: "create pods in the namespace",
        parameters: &[
            Parameter {
                name: "namespace",
                kind: "string",
                required: true,
                description: "The namespace in which the pod would be created.",
            },
            Parameter {
                name: "apiServer",
                kind: "boolean",
                required: false,
                description: "Whether the API server is asked as well, by `dryRun=All` with the caller's token.",
            },
        ],
        answer: schema::<DryRunView>,
    },
];

/// The statuses of refusals.
const REFUSALS: [(&str, &str); 8] = [
    ("400", "A parameter or the pod is not valid"),
    ("401", "The request has no token, or the API server refuses it"),
    ("403", "The API server does not allow the action"),
    ("413", "The pod is too large"),
    ("415", "The body is neither JSON nor YAML"),
    ("429", "Too many requests at once"),
    ("502", "The API server gives no usable answer"),
    ("504", "The time for the request is over"),
];

/// The OpenAPI document.
#[must_use]
pub fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths = Map::new();
    for operation in &OPERATIONS {
        paths.insert(operation.path.to_owned(), json!({ operation.method: operation.describe(&mut generator) }));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Ampoule console",
            "version": "v1",
            "description": "Plugins, decisions and dry runs of the webhook. Every request has the caller's own token of \
                            the Kubernetes API, and the API server decides what the caller may see.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "A token of the Kubernetes API" },
            },
            "schemas": generator.take_definitions(true),
        },
    })
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

fn json_content(schema: &Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

// === impl Operation ===

impl Operation {
    fn describe(&self, generator: &mut SchemaGenerator) -> Value {
        let answer = (self.answer)(generator);
        let mut responses = Map::new();
        responses.insert(
            "200".to_owned(),
            json!({ "description": "The answer", "content": json_content(answer.as_value()) }),
        );
        for (status, description) in REFUSALS {
            let refusal = generator.subschema_for::<RefusalBody>();
            let response = json!({ "description": description, "content": json_content(refusal.as_value()) });
            responses.insert(status.to_owned(), response);
        }
        let mut operation = json!({
            "summary": self.summary,
            "description": format!("Permission: {}.", self.permission),
            "parameters": self.parameters.iter().map(Parameter::describe).collect::<Vec<_>>(),
            "responses": responses,
        });
        if self.method == "post" {
            let pod = json!({ "schema": { "type": "object", "description": "A Kubernetes Pod" } });
            let content = json!({ "application/json": pod, "application/yaml": pod });
            operation["requestBody"] = json!({ "required": true, "content": content });
        }
        operation
    }
}

// === impl Parameter ===

impl Parameter {
    fn describe(&self) -> Value {
        json!({
            "name": self.name,
            "in": "query",
            "required": self.required,
            "description": self.description,
            "schema": { "type": self.kind },
        })
    }
}
