//! A stand-in for the API server, as far as the console asks it: it knows one token, whose user may
//! do everything.
//!
//! It speaks plain HTTP on a free port of the loopback interface, and answers one request per
//! connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use anyhow::Result;
use serde_json::{Value, json};

/// The token of the demo's user.
pub(super) const TOKEN: &str = "demo";
/// Bytes of the largest body.
const MAX_BODY: u64 = 4 << 20;

/// A request, as far as the answer depends on it.
struct Asked {
    path: String,
    authorization: String,
    body: Value,
}

/// Starts the server, which runs until the process ends.
pub(super) fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || respond(&stream));
        }
    });
    Ok(address)
}

/// A file for `KUBECONFIG` with this server and no user.
pub(super) fn kubeconfig(address: SocketAddr) -> String {
    format!(
        "apiVersion: v1
kind: Config
clusters: [{{ name: demo, cluster: {{ server: 'http://{address}' }} }}]
users: []
contexts: [{{ name: demo, context: {{ cluster: demo, user: '' }} }}]
current-context: demo
"
    )
}

/// Answers one request. A client that sends none gets no answer.
fn respond(stream: &TcpStream) {
    let Ok(asked) = read(stream) else { return };
    let (status, body) = answer(&asked);
    let body = body.to_string();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let mut stream = stream;
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes()));
}

fn read(stream: &TcpStream) -> Result<Asked> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let (mut authorization, mut length) = (String::new(), 0);
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim().is_empty() {
            break;
        }
        match line.split_once(':').map(|(name, value)| (name.to_ascii_lowercase(), value.trim())) {
            Some((name, value)) if name == "authorization" => value.clone_into(&mut authorization),
            Some((name, value)) if name == "content-length" => length = value.parse()?,
            _ => {}
        }
    }
    let mut body = Vec::new();
    reader.take(MAX_BODY.min(length)).read_to_end(&mut body)?;
    Ok(Asked { path, authorization, body: serde_json::from_slice(&body).unwrap_or_default() })
}

/// The status line and the object of an answer.
fn answer(asked: &Asked) -> (&'static str, Value) {
    let status = |code: u16, message: &str| json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message });
    if asked.authorization != format!("Bearer {TOKEN}") {
        return ("401 Unauthorized", status(401, "Unauthorized: the token of the demo is \"demo\""));
    }
    let mut object = asked.body.clone();
    match asked.path.split('?').next().unwrap_or_default() {
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" => object["status"] = json!({ "allowed": true }),
        "/apis/authentication.k8s.io/v1/selfsubjectreviews" => {
            object["status"] = json!({ "userInfo": { "username": "demo", "groups": ["system:authenticated"] } });
        }
        path if path.starts_with("/api/v1/namespaces/") && path.ends_with("/pods") => {}
        _ => return ("404 Not Found", status(404, "the demo has no such resource")),
    }
    ("201 Created", object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_token_of_the_demo_may_do_everything() {
        let access = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        for (path, authorization, expected) in [
            (access, "Bearer demo", "201 Created"),
            ("/apis/authentication.k8s.io/v1/selfsubjectreviews", "Bearer demo", "201 Created"),
            ("/api/v1/namespaces/a/pods?dryRun=All", "Bearer demo", "201 Created"),
            ("/api/v1/secrets", "Bearer demo", "404 Not Found"),
            (access, "Bearer other", "401 Unauthorized"),
            (access, "", "401 Unauthorized"),
        ] {
            let asked = Asked { path: path.to_owned(), authorization: authorization.to_owned(), body: json!({}) };
            assert_eq!(answer(&asked).0, expected, "{path} {authorization}");
        }
    }

    #[test]
    fn a_request_over_http_gets_its_answer() {
        let mut stream = TcpStream::connect(start().unwrap()).unwrap();
        let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let request = format!("POST {path} HTTP/1.1\r\nAuthorization: Bearer demo\r\nContent-Length: 2\r\n\r\n{{}}");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 201 Created\r\n") && answer.contains("\"username\":\"demo\""), "{answer}");
    }
}
