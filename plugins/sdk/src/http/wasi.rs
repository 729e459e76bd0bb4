//! Sends a request over `wasi:http` and reads the complete answer.
//!
//! The interface is asynchronous, but a plugin has no other work, so this module blocks.

use wasip2::{
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, IncomingBody, IncomingResponse, Method as WasiMethod, OutgoingBody, OutgoingRequest,
            Scheme,
        },
    },
    io::streams::StreamError,
};

use super::{Error, Method, Request, Response, Target};

/// Maximum number of bytes for one `blocking-write-and-flush`.
const WRITE_SIZE: usize = 4096;

/// Number of bytes to read at once.
const READ_SIZE: u64 = 64 << 10;

pub(super) fn send(request: &Request, target: &Target<'_>) -> Result<Response, Error> {
    let Target { authority, path_with_query } = target;
    let unavailable = |what: &str| Error::Unavailable(format!("{authority}: {what}"));
    let outgoing = outgoing(request, authority, path_with_query)?;
    let body = request.body.as_ref().map(|_| outgoing.body().expect("a new request has given away no body"));
    let answer = outgoing_handler::handle(outgoing, None).map_err(|code| failure(authority, &code))?;
    if let Some((body, bytes)) = body.zip(request.body.as_ref()) {
        // A server may answer without reading the whole body.
        let _ = write(body, bytes);
    }
    answer.subscribe().block();
    let answer = answer.get().and_then(Result::ok).ok_or_else(|| unavailable("no answer"))?;
    let response = answer.map_err(|code| failure(authority, &code))?;
    let status = response.status();
    let headers = response.headers().entries();
    let body =
        read(&response).ok_or_else(|| unavailable("the answer ends early, or is larger than the host allows"))?;
    Ok(Response { status, headers, body })
}

fn outgoing(request: &Request, authority: &str, path_with_query: &str) -> Result<OutgoingRequest, Error> {
    let invalid = |what: &str| Error::Invalid(format!("{authority}: the {what} of the request is not valid"));
    let mut headers: Vec<_> =
        request.headers.iter().map(|(name, value)| (name.clone(), value.clone().into_bytes())).collect();
    if let Some(body) = &request.body {
        headers.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
    }
    let outgoing = OutgoingRequest::new(Fields::from_list(&headers).map_err(|_| invalid("headers"))?);
    let method = match request.method {
        Method::Get => WasiMethod::Get,
        Method::Post => WasiMethod::Post,
    };
    outgoing.set_method(&method).map_err(|()| invalid("method"))?;
    outgoing.set_scheme(Some(&Scheme::Https)).map_err(|()| invalid("scheme"))?;
    outgoing.set_authority(Some(authority)).map_err(|()| invalid("host"))?;
    outgoing.set_path_with_query(Some(path_with_query)).map_err(|()| invalid("path"))?;
    Ok(outgoing)
}

fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), StreamError> {
    let stream = body.write().expect("a new body has given away no stream");
    for part in bytes.chunks(WRITE_SIZE) {
        stream.blocking_write_and_flush(part)?;
    }
    drop(stream);
    // It fails if the body is incomplete; the answer then contains the reason.
    let _ = OutgoingBody::finish(body, None);
    Ok(())
}

/// Reads the complete body. Returns `None` if it is incomplete.
fn read(response: &IncomingResponse) -> Option<Vec<u8>> {
    let body: IncomingBody = response.consume().ok()?;
    let stream = body.stream().ok()?;
    let mut bytes = Vec::new();
    loop {
        match stream.blocking_read(READ_SIZE) {
            Ok(part) => bytes.extend(part),
            Err(StreamError::Closed) => return Some(bytes),
            Err(StreamError::LastOperationFailed(_)) => return None,
        }
    }
}

fn failure(authority: &str, code: &ErrorCode) -> Error {
    let because = |what: &str| format!("{authority}: {what}");
    match code {
        ErrorCode::HttpRequestDenied => Error::Denied(because("not in grants.http.hosts")),
        ErrorCode::DestinationIpProhibited => {
            Error::Denied(because("the name resolves to an address that plugins must not call"))
        }
        ErrorCode::DnsError(_) => Error::Unavailable(because("no address found")),
        ErrorCode::ConnectionRefused => Error::Unavailable(because("connection refused")),
        ErrorCode::ConnectionLimitReached => {
            Error::Unavailable(because("too many requests for one admission (limits.outboundCalls)"))
        }
        ErrorCode::TlsCertificateError => {
            Error::Unavailable(because("its certificate is not trusted (grants.http.caFile)"))
        }
        ErrorCode::HttpRequestBodySize(_) => Error::Unavailable(because("the request is larger than the host allows")),
        ErrorCode::InternalError(Some(reason)) => {
            let host = authority.split(':').next().unwrap_or_default();
            let text = if reason.contains(host) { reason.clone() } else { because(reason) };
            // A retry can help with a login. Other texts are about the configuration or the plugin.
            if reason.ends_with("does not answer") { Error::Unavailable(text) } else { Error::Denied(text) }
        }
        other => Error::Unavailable(because(describe(other))),
    }
}

/// Describes a failure for the pod's author, who does not know the names of `wasi:http`.
fn describe(code: &ErrorCode) -> &'static str {
    match code {
        ErrorCode::DnsTimeout => "the look-up of its name took too long",
        ErrorCode::DestinationNotFound | ErrorCode::DestinationUnavailable | ErrorCode::DestinationIpUnroutable => {
            "the host cannot be reached"
        }
        ErrorCode::ConnectionTimeout
        | ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => "the host did not answer in time",
        ErrorCode::ConnectionTerminated => "the host closed the connection",
        ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => "no TLS connection could be made",
        ErrorCode::HttpRequestMethodInvalid | ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestUriTooLong => {
            "the method or the URL of the request is not valid"
        }
        ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_)
        | ErrorCode::HttpRequestTrailerSectionSize(_)
        | ErrorCode::HttpRequestTrailerSize(_) => "the headers of the request are larger than the host allows",
        ErrorCode::HttpResponseIncomplete => "the answer ends early",
        ErrorCode::HttpResponseBodySize(_)
        | ErrorCode::HttpResponseHeaderSectionSize(_)
        | ErrorCode::HttpResponseHeaderSize(_)
        | ErrorCode::HttpResponseTrailerSectionSize(_)
        | ErrorCode::HttpResponseTrailerSize(_) => "the answer is larger than the host allows",
        ErrorCode::HttpProtocolError
        | ErrorCode::HttpResponseTransferCoding(_)
        | ErrorCode::HttpResponseContentCoding(_)
        | ErrorCode::HttpUpgradeFailed => "the answer is not valid HTTP",
        _ => "the request failed",
    }
}
