//! A follower against a fake API server, which plays one response to each list and each watch.
//!
//! The client is real, and so are the connections that break.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{StatusCode, Uri},
    response::{IntoResponse as _, Response},
};
use futures_util::stream::{self, StreamExt as _};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

use super::*;

/// Time for the server to send what precedes a broken connection.
const FLUSH: Duration = Duration::from_millis(200);
/// Generous limit for a machine under load; the pauses in these tests add up to a few seconds.
const SOON: Duration = Duration::from_secs(60);

/// How the API server responds to one watch.
#[derive(Clone)]
enum WatchReply {
    /// Events, after which the connection stays open.
    Open(Vec<Value>),
    /// Events, after which the API server ends the watch.
    End(Vec<Value>),
    /// Events, after which the connection breaks.
    Break(Vec<Value>),
    /// No response: the connection breaks before.
    Close,
    /// No watch, but an error of this status.
    Error(u16),
}

/// A server with scripted responses, and the queries that it received.
struct FakeApiServer {
    api: Api<ConfigMap>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl FakeApiServer {
    /// Lists have the resourceVersions 10, 20, …, and one ConfigMap of the same name. The last
    /// watch reply repeats.
    async fn start(watches: Vec<WatchReply>) -> Self {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let received = Arc::clone(&requests);
        let router = Router::new().fallback(async move |uri: Uri| {
            let mut received = received.lock().unwrap();
            let query = uri.query().unwrap_or_default();
            let is_watch = query.contains("watch=true");
            let count = received.iter().filter(|entry: &&String| entry.starts_with("watch") == is_watch).count();
            if is_watch {
                let version = query.split('&').find_map(|pair| pair.strip_prefix("resourceVersion="));
                received.push(format!("watch {}", version.unwrap_or_default()));
                watch_response(watches[count.min(watches.len() - 1)].clone())
            } else {
                received.push("list".to_owned());
                list_response(10 * (count + 1))
            }
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
        Self { api: Api::namespaced(client, "ampoule"), requests }
    }

    fn follower(&self) -> ObjectFollower<ConfigMap> {
        let selector = ObjectSelector::Labels("ampoule.dev/injector=true".to_owned());
        let mut follower = ObjectFollower::new(self.api.clone(), selector);
        let first = Duration::from_millis(20);
        follower.backoff = Backoff::new(first, 50 * first);
        follower
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

fn object(name: &str, version: usize) -> Value {
    let metadata = json!({ "name": name, "resourceVersion": version.to_string() });
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata })
}

fn event(kind: &str, object: &Value) -> Value {
    json!({ "type": kind, "object": object })
}

fn status(code: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "message": "m", "reason": "r", "code": code,
    })
}

fn list_response(version: usize) -> Response {
    let items = [object(&format!("listed-{version}"), version)];
    let metadata = json!({ "resourceVersion": version.to_string() });
    let list = json!({ "apiVersion": "v1", "kind": "ConfigMapList", "metadata": metadata, "items": items });
    list.to_string().into_response()
}

fn watch_response(reply: WatchReply) -> Response {
    let lines = |events: Vec<Value>| {
        let lines = events.into_iter().map(|event| Ok(Bytes::from(format!("{event}\n"))));
        stream::iter(lines.collect::<Vec<Result<Bytes, std::io::Error>>>())
    };
    let body = match reply {
        WatchReply::Open(events) => Body::from_stream(lines(events).chain(stream::pending())),
        WatchReply::End(events) => Body::from_stream(lines(events)),
        WatchReply::Break(events) => {
            // hyper sends the head and the events while the body is pending.
            let broken = stream::once(async {
                sleep(FLUSH).await;
                Err(std::io::Error::other("connection lost"))
            });
            Body::from_stream(lines(events).chain(broken))
        }
        WatchReply::Close => {
            // hyper sends no head if the body fails at once.
            let failed = Err::<Bytes, _>(std::io::Error::other("connection lost"));
            Body::from_stream(stream::iter([failed]))
        }
        WatchReply::Error(code) => {
            let status_code = StatusCode::from_u16(code).unwrap();
            return (status_code, status(code).to_string()).into_response();
        }
    };
    body.into_response()
}

#[tokio::test]
async fn a_list_reads_pages_and_reduces_the_objects_after_each_page() {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let received = Arc::clone(&requests);
    let router = Router::new().fallback(async move |uri: Uri| {
        let query = uri.query().unwrap_or_default().to_owned();
        let next = if query.contains("continue=third") {
            Value::Null
        } else if query.contains("continue=second") {
            "third".into()
        } else {
            "second".into()
        };
        received.lock().unwrap().push(query);
        let items = [object("a", 1), object("b", 1)];
        let metadata = json!({ "resourceVersion": "7", "continue": next });
        json!({ "apiVersion": "v1", "kind": "ConfigMapList", "metadata": metadata, "items": items }).to_string()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let client = Client::try_from(Config::new(url.parse().unwrap())).unwrap();
    let api: Api<ConfigMap> = Api::namespaced(client, "ampoule");
    let follower = ObjectFollower::new(api, ObjectSelector::Labels("a=b".to_owned()));
    let (objects, version) = follower.with_trim(|objects| objects.truncate(3)).list().await.unwrap();
    assert_eq!((objects.len(), version.as_str()), (3, "7"));
    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|query| query.contains("limit=8")), "{requests:?}");
}

/// Follows until `count` changes are reported, and returns them and the requests.
async fn follow(watches: Vec<WatchReply>, count: usize) -> (Vec<String>, Vec<String>) {
    let server = FakeApiServer::start(watches).await;
    let follower = server.follower();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let (objects, version) = follower.list().await.unwrap();
    assert_eq!((objects.len(), version.as_str()), (1, "10"));
    let task = tokio::spawn(follower.run(version, move |change| {
        let text = match change {
            ObjectChange::Listed(objects) => format!("listed {}", objects[0].name_any()),
            ObjectChange::Applied(object) => format!("applied {}", object.name_any()),
            ObjectChange::Deleted(object) => format!("deleted {}", object.name_any()),
        };
        let _ = sender.send(text);
    }));
    let mut changes = Vec::new();
    while changes.len() < count {
        changes.push(timeout(SOON, receiver.recv()).await.expect("in time").unwrap());
    }
    task.abort();
    (changes, server.requests())
}

#[tokio::test]
async fn a_watch_that_ends_regularly_continues_at_its_last_version() {
    let bookmark =
        json!({ "metadata": { "resourceVersion": "13", "annotations": {} }, "kind": "ConfigMap", "apiVersion": "v1" });
    let first =
        vec![event("ADDED", &object("a", 11)), event("DELETED", &object("a", 12)), event("BOOKMARK", &bookmark)];
    let second = vec![event("MODIFIED", &object("b", 14))];
    let (changes, requests) = follow(vec![WatchReply::End(first), WatchReply::Open(second)], 3).await;
    assert_eq!(changes, ["applied a", "deleted a", "applied b"]);
    assert_eq!(requests, ["list", "watch 10", "watch 13"]);
}

#[tokio::test]
async fn after_a_broken_connection_a_new_watch_continues_at_the_last_version() {
    let broken = WatchReply::Break(vec![event("ADDED", &object("a", 11))]);
    let open = WatchReply::Open(vec![event("ADDED", &object("b", 21))]);
    let (changes, requests) = follow(vec![broken, open], 2).await;
    assert_eq!(changes, ["applied a", "applied b"]);
    assert_eq!(requests, ["list", "watch 10", "watch 11"]);
}

#[tokio::test]
async fn a_watch_that_cannot_start_or_fails_leads_to_a_list_and_a_new_watch() {
    let failed = WatchReply::Open(vec![event("ERROR", &status(500))]);
    let open = WatchReply::Open(vec![event("ADDED", &object("b", 31))]);
    let (changes, requests) = follow(vec![WatchReply::Close, failed, open], 3).await;
    assert_eq!(changes, ["listed listed-20", "listed listed-30", "applied b"]);
    assert_eq!(requests, ["list", "watch 10", "list", "watch 20", "list", "watch 30"]);
}

#[tokio::test]
async fn an_expired_version_leads_to_a_list_and_a_new_watch() {
    let expired = WatchReply::Open(vec![event("ERROR", &status(GONE))]);
    let open = WatchReply::Open(vec![event("ADDED", &object("b", 31))]);
    let (changes, requests) = follow(vec![expired, WatchReply::Error(GONE), open], 3).await;
    assert_eq!(changes, ["listed listed-20", "listed listed-30", "applied b"]);
    assert_eq!(requests, ["list", "watch 10", "list", "watch 20", "list", "watch 30"]);
}

#[tokio::test]
async fn a_watch_that_is_refused_is_replaced_by_lists() {
    let (changes, requests) = follow(vec![WatchReply::Error(403)], 2).await;
    assert_eq!(changes, ["listed listed-20", "listed listed-30"]);
    assert_eq!(requests[..4], ["list", "watch 10", "list", "watch 20"]);
}

#[tokio::test]
async fn changed_returns_for_another_version_and_for_a_watch_that_is_over() {
    let same = event("ADDED", &object("a", 10));
    let other = event("MODIFIED", &object("a", 11));
    for reply in [
        WatchReply::Open(vec![same.clone(), other]),
        WatchReply::Open(vec![event("DELETED", &object("a", 11))]),
        WatchReply::Open(vec![event("ERROR", &status(GONE))]),
        WatchReply::Error(GONE),
        WatchReply::End(vec![same.clone()]),
        WatchReply::Break(vec![same]),
    ] {
        let mut follower = FakeApiServer::start(vec![reply]).await.follower();
        timeout(SOON, follower.changed("10")).await.expect("in time").unwrap();
    }
    let mut follower = FakeApiServer::start(vec![WatchReply::Error(403)]).await.follower();
    let error = follower.changed("10").await.unwrap_err();
    assert_eq!(error.to_string(), "m (HTTP status 403)");
}
