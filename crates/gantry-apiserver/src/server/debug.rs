//! What the server tells of itself to those who may ask: fairness, its command line.
//!
//! Profiles are not among it: they are taken from outside, with the system's own tools.

use gantry_api::status::ApiError;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};

use crate::body::Body;
use crate::request::Query;
use crate::{ApiServer, respond};

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
        _ => Err(ApiError::no_such_resource()),
    }
}
