//! What the server tells of itself to those who may ask: fairness, its command line.
//!
//! Profiles are not among it: they are taken from outside, with the system's own tools.

use std::num::IntErrorKind;

use gantry_api::status::ApiError;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::body::Body;
use crate::request::Query;
use crate::{ApiServer, respond, rest};

const INDEX: &str = "<html>\n<head>\n<title>/debug/pprof/</title>\n</head>\n<body>\n/debug/pprof/\n<br>\n\
    <table>\n<tr><td></td><td><a href='cmdline'>cmdline</a></td></tr>\n</table>\n</body>\n</html>\n";

/// Answers `/debug/PATH`.
pub(super) fn serve(server: &ApiServer, path: &[&str], query: &Query) -> Result<Response<Body>, ApiError> {
    match path {
        ["pprof"] => {
            let mut response = respond::text(StatusCode::OK, INDEX);
            let html = HeaderValue::from_static("text/html; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, html);
            Ok(response)
        }
        ["pprof", "cmdline"] => {
            let arguments: Vec<String> =
                std::env::args_os().map(|each| each.to_string_lossy().into_owned()).collect();
            Ok(respond::text(StatusCode::OK, arguments.join("\0")))
        }
        ["api_priority_and_fairness", what] => {
            let fairness = server.fairness.as_ref().ok_or_else(ApiError::no_such_resource)?;
            let text = match *what {
                "dump_priority_levels" => fairness.dump_levels(),
                "dump_queues" => fairness.dump_queues(),
                "dump_requests" => fairness.dump_requests(query.flag("includeRequestDetails")),
                _ => return Err(ApiError::no_such_resource()),
            };
            Ok(respond::text(StatusCode::OK, text))
        }
        ["flags"] if server.config.verbosity.is_some() => Ok(respond::text(StatusCode::OK, "v\n")),
        _ => Err(ApiError::no_such_resource()),
    }
}

/// Answers `/debug/flags/v`: a PUT of a number says how much is logged from now on.
pub(super) async fn verbosity(
    server: &ApiServer,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let Some(verbosity) = &server.config.verbosity else { return Err(ApiError::no_such_resource()) };
    if *request.method() != Method::PUT {
        return Ok(respond::text(StatusCode::NOT_ACCEPTABLE, "unsupported http method"));
    }
    let body = rest::read_body(request.into_body()).await?;
    let given = String::from_utf8_lossy(&body);
    let refused = |why: &str| {
        let why =
            format!("failed set klog.logging.verbosity {given}: strconv.ParseInt: parsing {given:?}: {why}");
        Ok(respond::text(StatusCode::BAD_REQUEST, why))
    };
    match given.parse::<i32>() {
        Ok(level) => {
            verbosity(level);
            let done = format!("successfully set klog.logging.verbosity to {given}");
            Ok(respond::text(StatusCode::OK, done))
        }
        Err(error) => match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => refused("value out of range"),
            _ => refused("invalid syntax"),
        },
    }
}
