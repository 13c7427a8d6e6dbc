//! Aggregation: other servers that answer for a group and version, as APIServices say. A request for one
//! passes this server's authentication and authorization first and is then sent on, with a certificate and
//! headers by which the other server knows who asks.

mod availability;
pub(crate) mod documents;
pub(crate) mod follow;
pub(crate) mod forward;
pub(crate) mod headers;
pub(crate) mod registration;
mod service;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gantry_store::Store;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use parking_lot::Mutex;

use crate::Error;
use crate::authz::feed::Feed;
use crate::body::Body;
use crate::request::RequestInfo;
use crate::server::certificate::Shown;
use crate::tls::{self, Trust};
use documents::{Described, Said};
use forward::Transport;
use registration::Definitions;
use service::{ApiService, ApiServices, Remote};

/// The label of APIServices that the server keeps itself.
pub(crate) const MANAGED: &str = "kube-aggregator.kubernetes.io/automanaged";

/// Everything about other servers behind this one.
pub(crate) struct Aggregation {
    services: Feed<ApiServices>,
    definitions: Feed<Definitions>,
    identity: Option<Arc<Shown>>,
    transports: Mutex<BTreeMap<String, (Remote, Arc<Transport>)>>,
    /// What other servers say of their versions.
    described: ArcSwap<Described>,
    /// For questions whether a server is there.
    asking: Client<HttpsConnector<HttpConnector>, Body>,
}

impl Aggregation {
    /// The server shows itself to others as `identity`.
    pub fn new(store: &Store, identity: Option<Arc<Shown>>) -> Result<Self, Error> {
        let asking = forward::pool(tls::client(Trust::Anybody, identity.clone())?, None);
        Ok(Self {
            services: Feed::new(store),
            definitions: Feed::new(store),
            identity,
            transports: Mutex::default(),
            described: ArcSwap::default(),
            asking,
        })
    }

    /// The APIService of what a request asks for, where somebody else answers for it.
    pub fn route(&self, info: &RequestInfo) -> Option<Arc<ApiService>> {
        if info.is_resource {
            return self.services.read(|services| services.remote(&info.group, &info.version).cloned());
        }
        let mut segments = info.path.split('/').filter(|segment| !segment.is_empty()).peekable();
        let documents = segments.next_if_eq(&"openapi").is_some();
        if documents && segments.next() != Some("v3") {
            return None;
        }
        let group = match segments.next()? {
            "apis" => segments.next()?,
            "api" => "",
            _ => return None,
        };
        let version = segments.next()?;
        // A document that its server does not have is made here.
        if documents && self.described.load().converted(group, version).is_some() {
            return None;
        }
        self.services.read(|services| services.remote(group, version).cloned())
    }

    /// All APIServices.
    fn services(&self) -> Vec<Arc<ApiService>> {
        self.services.read(|services| services.all.values().cloned().collect())
    }

    /// What other servers say of their versions.
    pub fn described(&self) -> Arc<Described> {
        self.described.load_full()
    }

    /// Takes in which APIServices there are, and what the server of one said.
    fn describe(&self, new: Option<(&str, Said)>) {
        let services = self.services();
        self.described.rcu(|described| match described.next(&services, new.clone()) {
            Some(next) => Arc::new(next),
            None => described.clone(),
        });
    }

    fn with_services<T>(&self, read: impl FnOnce(&ApiServices) -> T) -> T {
        self.services.read(read)
    }

    /// Connections to the server that answers for the APIService `name`.
    fn transport(&self, name: &str, remote: &Remote) -> Result<Arc<Transport>, String> {
        let mut transports = self.transports.lock();
        if let Some((to, transport)) = transports.get(name)
            && to == remote
        {
            return Ok(transport.clone());
        }
        let transport = Arc::new(Transport::new(remote, self.identity.clone())?);
        transports.insert(name.to_owned(), (remote.clone(), transport.clone()));
        Ok(transport)
    }

    /// Closes connections to servers that no longer answer for anything.
    fn forget_others(&self, services: &[Arc<ApiService>]) {
        self.transports.lock().retain(|name, (remote, _)| {
            services.iter().any(|each| each.name == *name && each.remote.as_ref() == Some(remote))
        });
    }

    /// Shows other servers another certificate from now on.
    pub fn replace_identity(&self, next: &crate::Identity) -> Result<(), Error> {
        let Some(identity) = &self.identity else { return Ok(()) };
        identity.replace(next)?;
        // Open connections have shown the old one.
        self.transports.lock().clear();
        Ok(())
    }
}
