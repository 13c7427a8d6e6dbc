//! How a machine becomes a node of a cluster, and stays one.
//!
//! Flow: the token names the cluster's authority by the hash of its certificate; the server must show
//! a certificate of that authority before it is sent anything. With the token the machine asks for a
//! client certificate as `system:node:NAME`; with that for the serving certificate of its own API. Both
//! are kept in a directory, used again at the next start, and renewed in time. Clients and servers made
//! from them follow a renewal without a restart.
//!
//! Guarantees: keys never leave the machine; a certificate and its key are replaced together. Assumes
//! that nobody else writes into the directory.

mod authority;
mod certificate;
mod connections;
mod files;
mod renewal;
mod request;
mod token;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use kube::Client;

use crate::pki::Pair;
pub use certificate::Certificate;
use files::Files;
pub use token::{Token, fingerprint};

/// How to join.
#[derive(Debug, Clone)]
pub struct Options<'a> {
    /// URL of an API server.
    pub server: &'a str,
    /// The token; not needed where the directory holds a certificate that is still good.
    pub token: Option<&'a str>,
    /// The node's name.
    pub node_name: &'a str,
    /// Where certificates and keys are kept.
    pub directory: &'a Path,
}

/// A machine's place in a cluster.
#[derive(Clone)]
pub struct Membership {
    server: String,
    node_name: String,
    authority: String,
    files: Files,
    client: Arc<Certificate>,
}

/// Joins the cluster, or finds that it was joined before.
pub async fn join(options: &Options<'_>) -> Result<Membership> {
    let files = Files::open(options.directory)?;
    let server = options.server.trim_end_matches('/').to_owned();
    if let Some(membership) = earlier(options, &server, &files)? {
        return Ok(membership);
    }
    let text = options.token.with_context(|| {
        format!(
            "{} holds no certificate of {} that is still good; a token is needed",
            files, options.node_name
        )
    })?;
    let token: Token = text.parse()?;
    let authority = match (token.authority, files.authority()?) {
        (Some(pin), _) => authority::discover(&server, pin).await?,
        (None, Some(authority)) => authority,
        (None, None) => bail!(
            "the token does not name the cluster's authority; use the whole token that `gantry token create` prints, \
             or put the authority's certificate into {files}/ca.crt"
        ),
    };
    let with_token =
        request::client(&server, &authority, request::Credentials::Token(&token.credentials())).await?;
    let pair = request::client_certificate(&with_token, options.node_name)
        .await
        .with_context(|| format!("joining {server} as {}", options.node_name))?;
    files.keep_authority(&authority)?;
    files.keep_client(&pair, &server, &authority)?;
    tracing::info!(node = options.node_name, server, "joined");
    Membership::new(options, server, authority, files, &pair)
}

/// What an earlier start left, where it is still good.
fn earlier(options: &Options<'_>, server: &str, files: &Files) -> Result<Option<Membership>> {
    let (Some(authority), Some(pair)) = (files.authority()?, files.client()?) else { return Ok(None) };
    let Ok(certificate) = Certificate::new(&pair) else { return Ok(None) };
    let facts = certificate.facts();
    let name = format!("system:node:{}", options.node_name);
    let pinned =
        options.token.and_then(|token| token.parse::<Token>().ok()).and_then(|token| token.authority);
    let same_cluster = pinned.is_none_or(|pin| fingerprint(&authority).is_ok_and(|found| found == pin));
    if facts.common_name != name || facts.not_after <= Timestamp::now() || !same_cluster {
        return Ok(None);
    }
    files.keep_client(&pair, server, &authority)?;
    Membership::new(options, server.to_owned(), authority, files.clone(), &pair).map(Some)
}

impl Membership {
    fn new(
        options: &Options<'_>,
        server: String,
        authority: String,
        files: Files,
        pair: &Pair,
    ) -> Result<Self> {
        let client = Arc::new(Certificate::new(pair)?);
        Ok(Self { server, node_name: options.node_name.to_owned(), authority, files, client })
    }

    /// A client that shows the node's certificate, whichever is current when it connects.
    pub async fn client(&self) -> Result<Client> {
        request::client(&self.server, &self.authority, request::Credentials::Certificate(self.client.clone()))
            .await
    }

    /// The certificate of the cluster's authority, PEM.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// A kubeconfig with the node's certificate, kept current.
    #[cfg(test)]
    pub fn kubeconfig(&self) -> std::path::PathBuf {
        self.files.kubeconfig()
    }

    /// The certificate of the node's API at `addresses`, from an earlier start or asked for now. The
    /// Node is made where it is missing, since only its own addresses are approved.
    pub async fn serving(&self, addresses: &[IpAddr]) -> Result<Arc<Certificate>> {
        let names = serving_names(&self.node_name, addresses);
        if let Some(pair) = self.files.serving()?
            && let Ok(certificate) = Certificate::new(&pair)
        {
            let facts = certificate.facts();
            let covers = names.iter().all(|name| facts.names.contains(name));
            if covers && facts.not_after > Timestamp::now() && facts.authority_signed(&self.authority) {
                return Ok(Arc::new(certificate));
            }
        }
        let client = self.client().await?;
        request::ensure_node(&client, &self.node_name, addresses).await?;
        let pair = request::serving_certificate(&client, &self.node_name, &names).await?;
        self.files.keep_serving(&pair)?;
        Ok(Arc::new(Certificate::new(&pair)?))
    }

    /// Renews the client certificate, and `serving` where there is one, whenever their time has come.
    /// Runs until it is dropped.
    pub async fn renew(&self, serving: Option<Arc<Certificate>>) {
        let own = renewal::keep(&self.client, async || {
            let pair = request::client_certificate(&self.client().await?, &self.node_name).await?;
            self.files.keep_client(&pair, &self.server, &self.authority)?;
            Ok(pair)
        });
        let of_server = async {
            let Some(serving) = &serving else { return };
            renewal::keep(serving, async || {
                let names = serving.facts().names.iter().cloned().collect();
                let pair =
                    request::serving_certificate(&self.client().await?, &self.node_name, &names).await?;
                self.files.keep_serving(&pair)?;
                Ok(pair)
            })
            .await;
        };
        tokio::join!(own, of_server);
    }
}

/// The names in the certificate of a node's API.
fn serving_names(node: &str, addresses: &[IpAddr]) -> BTreeSet<String> {
    addresses.iter().map(IpAddr::to_string).chain([node.to_owned()]).collect()
}

#[cfg(test)]
mod tests;
