//! DELETE of a collection: each selected object as by its own deletion. The answer lists them as
//! they were.

use gantry_api::status::ApiError;
use http::{Request, Response};

use super::delete::{DeleteOptions, delete};
use super::filter::Filter;
use super::options::ListOptions;
use super::preparation::meta_text;
use super::{Context, list};
use crate::body::Body;
use crate::request::RequestInfo;

pub(super) async fn serve(
    context: &mut Context<'_>,
    request: Request<Body>,
) -> Result<Response<Body>, ApiError> {
    let (parts, content) = request.into_parts();
    let options = DeleteOptions::read(context, &parts.headers, content).await?;
    let wanted = ListOptions::parse(context.query, false)?;
    let filter = Filter::parse(context.kind, context.query, "")?;
    let page = list::page(context.server, context.kind, context.namespace(), &wanted, &filter).await?;
    for object in page.entries.iter().filter_map(|entry| list::value(context.kind, entry)) {
        let info = RequestInfo {
            name: meta_text(&object, "name").into(),
            namespace: meta_text(&object, "namespace").into(),
            ..context.info.clone()
        };
        let mut each = Context { info: &info, warnings: Vec::new(), ..*context };
        match delete(&mut each, &info.name, &options).await {
            Ok(_) => {}
            // Someone else was faster, which is what was asked for.
            Err(error) if error.code == 404 => {}
            Err(error) => return Err(error),
        }
        context.warnings.append(&mut each.warnings);
    }
    list::respond(context, page)
}
