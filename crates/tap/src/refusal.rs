//! What the tap says itself, where it has nothing to hand on.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, PROXY_AUTHENTICATE};
use hyper::{Response, StatusCode};

use crate::body::AnswerBody;

/// The tunnel stands.
pub(crate) fn connected() -> Response<AnswerBody> {
    Response::new(Empty::new().map_err(|never| match never {}).boxed_unsync())
}

/// No credentials, or wrong ones: it is not told which. The connection ends.
pub(crate) fn no_credentials() -> Response<AnswerBody> {
    let message = "the credentials of the proxy are missing or wrong";
    let mut answer = closing(
        StatusCode::PROXY_AUTHENTICATION_REQUIRED,
        "authentication_error",
        message,
    );
    let basic = HeaderValue::from_static("Basic realm=\"clsess\"");
    answer.headers_mut().insert(PROXY_AUTHENTICATE, basic);
    answer
}

/// A path without a secret, or with a wrong one. The connection ends.
pub(crate) fn nothing_here() -> Response<AnswerBody> {
    closing(
        StatusCode::NOT_FOUND,
        "not_found_error",
        "there is nothing here",
    )
}

/// A request that only a proxy for plain http could pass on. The connection ends.
pub(crate) fn no_plain_http() -> Response<AnswerBody> {
    let message = "only CONNECT is done by this proxy: unset HTTP_PROXY, it is for HTTPS_PROXY";
    closing(
        StatusCode::METHOD_NOT_ALLOWED,
        "invalid_request_error",
        message,
    )
}

/// There are as many connections as can be, and as many wait. The connection ends.
pub(crate) fn too_many() -> Response<AnswerBody> {
    let message = "too many connections at once";
    closing(StatusCode::SERVICE_UNAVAILABLE, "overloaded_error", message)
}

/// The upstream gave no answer.
pub(crate) fn no_answer(why: &str) -> Response<AnswerBody> {
    saying(StatusCode::BAD_GATEWAY, "api_error", why)
}

fn closing(status: StatusCode, kind: &str, message: &str) -> Response<AnswerBody> {
    let mut answer = saying(status, kind, message);
    let close = HeaderValue::from_static("close");
    answer.headers_mut().insert(CONNECTION, close);
    answer
}

/// An error as the API's own are.
fn saying(status: StatusCode, kind: &str, message: &str) -> Response<AnswerBody> {
    let message = format!("clsess tap: {message}");
    let error = serde_json::json!({"type": "error", "error": {"type": kind, "message": message}});
    let body = Full::new(Bytes::from(error.to_string()));
    let mut answer = Response::new(body.map_err(|never| match never {}).boxed_unsync());
    *answer.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}
