//! What other servers say of the versions that they answer for: their part of discovery and of OpenAPI.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::discovery::{self, Remote as Discovered};
use gantry_json::Value;
use http::header::{ACCEPT, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Limited};

use super::forward::chain;
use super::headers;
use super::service::{ApiService, Remote};
use crate::body::Body;
use crate::{ApiServer, User, service_endpoints};

/// How long a document may take to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// The largest document that is read.
const LARGEST: usize = 16 << 20;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
    application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// A document as it was last read.
#[derive(Debug, Clone, Default, PartialEq)]
struct Kept {
    tag: Option<HeaderValue>,
    value: Arc<Value>,
}

/// What one server said of one version.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Said {
    /// Its resources; `None`: it never said.
    resources: Option<Vec<Value>>,
    /// Whether it did not say so lately.
    stale: bool,
    v2: Kept,
    /// The URL of its OpenAPI v3 document.
    v3: Option<String>,
}

/// What all of them said.
#[derive(Debug, Default)]
pub(crate) struct Described {
    /// Changes with every change.
    pub generation: u64,
    /// For discovery.
    pub discovered: Vec<Discovered>,
    said: BTreeMap<String, (String, String, Said)>,
}

impl Described {
    /// The version 2 documents, each with its group and version.
    pub fn openapi_v2(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        let said = self.said.values().filter(|(_, _, said)| said.v2.value.is_object());
        said.map(|(group, version, said)| (group.as_str(), version.as_str(), &*said.v2.value))
    }

    /// The version 2 document of a group and version whose server has none of version 3, which is made
    /// from it.
    pub fn converted(&self, group: &str, version: &str) -> Option<&Value> {
        let (_, _, said) = self.said.get(&format!("{version}.{group}"))?;
        let document = &*said.v2.value;
        let says = document["paths"].as_object().is_some_and(|paths| !paths.is_empty());
        (said.v3.is_none() && says).then_some(document)
    }

    /// The paths of the version 3 documents that are made from documents of version 2.
    pub fn conversions(&self) -> impl Iterator<Item = (String, &Value)> {
        self.said.values().filter_map(|(group, version, _)| {
            Some((format!("apis/{group}/{version}"), self.converted(group, version)?))
        })
    }

    /// The path and URL of each version 3 document that other servers have.
    pub fn openapi_v3(&self) -> impl Iterator<Item = (String, &str)> {
        self.said.values().filter_map(|(group, version, said)| {
            Some((format!("apis/{group}/{version}"), said.v3.as_deref()?))
        })
    }

    /// The same, of these APIServices and with what one of them said; `None`: nothing is another.
    pub(super) fn next(&self, services: &[Arc<ApiService>], new: Option<(&str, Said)>) -> Option<Self> {
        let mut said = BTreeMap::new();
        let mut discovered = Vec::new();
        for service in services.iter().filter(|service| service.remote.is_some()) {
            let known = self.said.get(&service.name).map(|(_, _, said)| said.clone());
            let own = match &new {
                Some((name, new)) if *name == service.name => new.clone(),
                _ => known.unwrap_or(Said { stale: true, ..Said::default() }),
            };
            discovered.push(Discovered {
                group: service.group.clone(),
                version: service.version.clone(),
                priority: service.priority,
                resources: own.resources.clone().unwrap_or_default(),
                stale: own.stale || !service.available,
            });
            said.insert(service.name.clone(), (service.group.clone(), service.version.clone(), own));
        }
        if said == self.said && discovered == self.discovered {
            return None;
        }
        Some(Self { generation: self.generation + 1, discovered, said })
    }

    /// What the server of an APIService said last.
    pub(super) fn of(&self, name: &str) -> Said {
        self.said.get(name).map(|(_, _, said)| said.clone()).unwrap_or_default()
    }
}

/// Asks the server of `service` for its documents; what it does not say now is as it was, and stale.
pub(super) async fn ask(server: &ApiServer, service: &ApiService, remote: &Remote, last: Said) -> Said {
    let resources = resources(server, service, remote);
    let (resources, v2, v3) = tokio::join!(
        resources,
        version_2(server, service, remote, &last.v2),
        version_3(server, service, remote)
    );
    let said = |what: &str, why: &String| {
        tracing::debug!(
            apiservice = service.name,
            what,
            error = why,
            "not told by the server of an APIService"
        );
    };
    resources.as_ref().err().into_iter().for_each(|why| said("discovery", why));
    v2.as_ref().err().into_iter().for_each(|why| said("OpenAPI v2", why));
    v3.as_ref().err().into_iter().for_each(|why| said("OpenAPI v3", why));
    Said {
        stale: resources.is_err(),
        resources: resources.ok().or(last.resources),
        v2: v2.unwrap_or(last.v2),
        v3: v3.unwrap_or(last.v3),
    }
}

/// An answer, with its whole body.
struct Answer {
    code: StatusCode,
    headers: HeaderMap,
    body: bytes::Bytes,
}

impl Answer {
    fn json(&self) -> Result<Value, String> {
        gantry_json::from_slice(&self.body).map_err(|error| error.to_string())
    }
}

async fn get(
    server: &ApiServer,
    service: &ApiService,
    remote: &Remote,
    path: &str,
    more: &[(http::HeaderName, HeaderValue)],
) -> Result<Answer, String> {
    let transport = server.aggregation.transport(&service.name, remote)?;
    let endpoint = {
        let objects = server.store.snapshot();
        service_endpoints::resolve(&objects, &remote.namespace, &remote.name, remote.port)
    };
    let endpoint = endpoint.map_err(|error| error.to_string())?.swap_remove(0);
    let mut request = Request::new(Body::Empty);
    let url = format!("https://{}{path}", endpoint.authority());
    *request.uri_mut() = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let mut aggregator = User::new("system:kube-aggregator", []);
    aggregator.groups = vec!["system:masters".to_owned()];
    headers::identify(request.headers_mut(), &aggregator).map_err(|error| error.to_string())?;
    request.headers_mut().extend(more.iter().cloned());
    let answer = async {
        let answer = transport.request(request).await.map_err(|error| chain(&error))?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST).collect().await.map_err(|error| error.to_string())?;
        Ok(Answer { code: parts.status, headers: parts.headers, body: body.to_bytes() })
    };
    tokio::time::timeout(PATIENCE, answer).await.map_err(|_| format!("{url}: no answer in time"))?
}

async fn resources(server: &ApiServer, service: &ApiService, remote: &Remote) -> Result<Vec<Value>, String> {
    let (group, version) = (service.group.as_str(), service.version.as_str());
    let accept = [(ACCEPT, HeaderValue::from_static(AGGREGATED))];
    let answer = get(server, service, remote, "/apis", &accept).await?;
    let content_type = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    if answer.code == StatusCode::OK
        && content_type.is_some_and(|each| each.contains("APIGroupDiscoveryList"))
    {
        let list = answer.json()?;
        let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let groups = items(&list["items"]).into_iter().filter(|each| each["metadata"]["name"] == group);
        let mut versions = groups.flat_map(|group| items(&group["versions"]));
        // A version that it does not have is there all the same, without resources.
        return Ok(versions
            .find(|each| each["version"] == version)
            .map_or(Vec::new(), |each| items(&each["resources"])));
    }
    let accept = [(ACCEPT, HeaderValue::from_static("application/json"))];
    let answer = get(server, service, remote, &service.path(), &accept).await?;
    match answer.code {
        StatusCode::OK => Ok(discovery::resources_of(&answer.json()?, group, version)),
        code => Err(format!("discovery: {code}")),
    }
}

async fn version_2(
    server: &ApiServer,
    service: &ApiService,
    remote: &Remote,
    last: &Kept,
) -> Result<Kept, String> {
    let mut asked = vec![(ACCEPT, HeaderValue::from_static("application/json"))];
    asked.extend(last.tag.iter().map(|tag| (IF_NONE_MATCH, tag.clone())));
    let answer = get(server, service, remote, "/openapi/v2", &asked).await?;
    match answer.code {
        StatusCode::OK => Ok(Kept {
            tag: answer.headers.get(ETAG).cloned(),
            value: Arc::new(own_part(answer.json()?, service)),
        }),
        StatusCode::NOT_MODIFIED => Ok(last.clone()),
        StatusCode::NOT_FOUND => Ok(Kept::default()),
        code => Err(code.to_string()),
    }
}

/// The document without the paths of others.
fn own_part(mut document: Value, service: &ApiService) -> Value {
    let own = service.path();
    if let Some(paths) = document["paths"].as_object_mut() {
        paths.retain(|path, _| {
            path.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
    }
    document
}

async fn version_3(
    server: &ApiServer,
    service: &ApiService,
    remote: &Remote,
) -> Result<Option<String>, String> {
    let accept = [(ACCEPT, HeaderValue::from_static("application/json"))];
    let answer = get(server, service, remote, "/openapi/v3", &accept).await?;
    match answer.code {
        StatusCode::OK => {
            let path = service.path();
            let index = answer.json()?;
            let url = index["paths"][path.trim_start_matches('/')]["serverRelativeURL"].as_str();
            let own = format!("/openapi/v3{path}");
            // A URL that leads elsewhere is not for others to give.
            let is_own = |url: &&str| {
                url.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with('?'))
            };
            Ok(url.filter(is_own).map(str::to_owned))
        }
        StatusCode::NOT_FOUND => Ok(None),
        code => Err(code.to_string()),
    }
}
