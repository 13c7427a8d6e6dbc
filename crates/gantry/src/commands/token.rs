//! `gantry token`: makes, lists and deletes the tokens that machines join with. They are Secrets of
//! the type `bootstrap.kubernetes.io/token` in `kube-system`.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client};

use crate::config::{Config, lifetime};
use crate::join::Token;

const NAMESPACE: &str = "kube-system";
const KIND: &str = "bootstrap.kubernetes.io/token";

/// What to do with tokens.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token and print it.
    Create {
        /// How long it is good, such as 30m, 24h or 7d; 0 for ever.
        #[arg(long, default_value = "24h", value_parser = lifetime)]
        ttl: Duration,
        /// What it is for.
        #[arg(long, default_value = "")]
        description: String,
        /// Print the command that a machine joins with.
        #[arg(long)]
        print_join_command: bool,
    },
    /// Show tokens, without their secrets.
    List,
    /// Delete tokens.
    Delete {
        /// Tokens, or the part of a token before its dot.
        #[arg(required = true, value_name = "TOKEN")]
        tokens: Vec<String>,
    },
}

/// Carries it out on the cluster of this machine.
pub fn run(config: &Config, arguments: &Arguments) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(carry_out(config, arguments))
}

async fn carry_out(config: &Config, arguments: &Arguments) -> Result<()> {
    let path = config.kubeconfig();
    let kubeconfig = Kubeconfig::read_from(&path)
        .with_context(|| format!("reading {}; does a cluster run here?", path.display()))?;
    let settings = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    let client = Client::try_from(settings)?;
    match &arguments.verb {
        Verb::Create { ttl, description, print_join_command } => {
            let authority = config.pki_dir().join("ca.crt");
            let authority = std::fs::read_to_string(&authority)
                .with_context(|| format!("reading {}", authority.display()))?;
            let expires = (!ttl.is_zero()).then(|| Timestamp::now() + *ttl);
            let token = create(client, &authority, expires, description).await?;
            if *print_join_command {
                let (address, port) = (config.advertise_address, config.https_port);
                let server = std::net::SocketAddr::new(address, port);
                println!("gantry agent --server https://{server} --token {token}");
            } else {
                println!("{token}");
            }
        }
        Verb::List => list(client).await?,
        Verb::Delete { tokens } => delete(client, tokens).await?,
    }
    Ok(())
}

/// Makes a token for the cluster of `authority`, PEM.
pub async fn create(
    client: Client,
    authority: &str,
    expires: Option<Timestamp>,
    description: &str,
) -> Result<Token> {
    let token = Token::generate(authority)?;
    let mut data = BTreeMap::from([
        ("token-id".to_owned(), token.id.clone()),
        ("token-secret".to_owned(), token.secret.clone()),
        ("usage-bootstrap-authentication".to_owned(), "true".to_owned()),
    ]);
    if let Some(expires) = expires {
        let whole = Timestamp::from_second(expires.as_second())?;
        data.insert("expiration".to_owned(), whole.to_string());
    }
    if !description.is_empty() {
        data.insert("description".to_owned(), description.to_owned());
    }
    let mut secret = Secret { type_: Some(KIND.into()), string_data: Some(data), ..Default::default() };
    secret.metadata.name = Some(name(&token.id));
    let api = Api::<Secret>::namespaced(client, NAMESPACE);
    api.create(&PostParams::default(), &secret).await.context("making the token's Secret")?;
    Ok(token)
}

async fn list(client: Client) -> Result<()> {
    let api = Api::<Secret>::namespaced(client, NAMESPACE);
    let secrets = api.list(&ListParams::default().fields(&format!("type={KIND}"))).await?;
    println!("{:<10}{:<24}DESCRIPTION", "TOKEN", "EXPIRES");
    for secret in secrets {
        let data = secret.data.unwrap_or_default();
        let text = |key: &str| data.get(key).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        let expires = text("expiration").unwrap_or_else(|| "never".to_owned());
        let id = text("token-id").unwrap_or_default();
        println!("{id:<10}{expires:<24}{}", text("description").unwrap_or_default());
    }
    Ok(())
}

async fn delete(client: Client, tokens: &[String]) -> Result<()> {
    let api = Api::<Secret>::namespaced(client, NAMESPACE);
    for token in tokens {
        let id = id(token)?;
        api.delete(&name(id), &DeleteParams::default())
            .await
            .with_context(|| format!("deleting token {id}"))?;
        println!("token {id} deleted");
    }
    Ok(())
}

fn name(id: &str) -> String {
    format!("bootstrap-token-{id}")
}

/// The identifier in a token, or the identifier itself.
fn id(token: &str) -> Result<&str> {
    let bare = token.rsplit("::").next().unwrap_or_default();
    let id = bare.split('.').next().unwrap_or_default();
    if id.len() != 6 {
        bail!("{token:?} is neither a token nor the part of one before its dot");
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers() {
        for token in ["abcdef", "abcdef.0123456789abcdef", "K10ff::abcdef.0123456789abcdef"] {
            assert_eq!(id(token).ok(), Some("abcdef"));
        }
        assert!(id("abc").is_err());
    }
}
