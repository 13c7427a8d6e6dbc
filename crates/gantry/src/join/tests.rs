//! Joining a real API server whose controllers run.

use std::os::unix::fs::PermissionsExt;

use gantry_apiserver::User;
use gantry_client::Informers;
use gantry_controllers::PrivateKey;
use gantry_testing::TestServer;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use kube::Api;
use kube::api::PostParams;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::commands::token;

async fn cluster() -> Result<(TestServer, tokio_util::sync::DropGuard)> {
    let server = TestServer::start().await?;
    let mut config = gantry_controllers::Config::new(server.authority.certificate(), "10.42.0.0/16".parse()?);
    config.ca_key = Some(PrivateKey(server.authority.key()));
    let shutdown = CancellationToken::new();
    let manager = server.client_as(User::new("system:kube-controller-manager", []));
    let informers = Informers::new(manager, shutdown.clone());
    let api = server.server.clone();
    let client = move |account: &str| {
        let user =
            User::new(format!("system:serviceaccount:kube-system:{account}"), ["system:serviceaccounts"]);
        Client::new(api.client_service(user), "default")
    };
    tokio::spawn(gantry_controllers::run(client, informers, config, shutdown.clone()));
    Ok((server, shutdown.drop_guard()))
}

async fn who(client: Client) -> Result<String> {
    let answer = Api::all(client).create(&PostParams::default(), &SelfSubjectReview::default()).await?;
    Ok(answer.status.and_then(|status| status.user_info?.username).unwrap_or_default())
}

#[tokio::test]
async fn a_machine_joins_once_and_serves_with_a_certificate_of_the_cluster() -> Result<()> {
    let (server, _controllers) = cluster().await?;
    let directory = tempfile::tempdir()?;
    let authority = server.authority.certificate();
    let token = token::create(server.client(), &authority, None, "test").await?.to_string();
    let mut options =
        Options { server: &server.url, token: Some(&token), node_name: "n1", directory: directory.path() };
    let membership = join(&options).await?;
    assert_eq!(who(membership.client().await?).await?, "system:node:n1");
    assert_eq!(membership.authority().trim(), authority.trim());
    for file in ["client.pem", "kubeconfig.yaml"] {
        let mode = std::fs::metadata(directory.path().join(file))?.permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let kubeconfig = kube::config::Kubeconfig::read_from(membership.kubeconfig())?;
    let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await?;
    assert_eq!(who(Client::try_from(config)?).await?, "system:node:n1");

    let addresses = ["192.0.2.7".parse()?];
    let serving = membership.serving(&addresses).await?;
    let names: Vec<String> = serving.facts().names.iter().cloned().collect();
    assert_eq!(names, ["192.0.2.7", "n1"]);
    assert!(serving.facts().authority_signed(&authority));

    options.token = None;
    let again = join(&options).await?;
    assert_eq!(again.client.pair().certificate, membership.client.pair().certificate);
    assert_eq!(again.serving(&addresses).await?.pair().certificate, serving.pair().certificate);
    options.node_name = "n2";
    let error = join(&options).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.ends_with("holds no certificate of n2 that is still good; a token is needed"), "{error}");
    Ok(())
}

#[tokio::test]
async fn wrong_tokens_and_other_clusters_are_refused() -> Result<()> {
    let (server, _controllers) = cluster().await?;
    let authority = server.authority.certificate();
    let check = async |token: String, expect: &str| -> Result<()> {
        let directory = tempfile::tempdir()?;
        let options = Options {
            server: &server.url,
            token: Some(&token),
            node_name: "n1",
            directory: directory.path(),
        };
        let error = join(&options).await.err().map(|error| format!("{error:#}")).unwrap_or_default();
        assert!(error.contains(expect), "{error}");
        Ok(())
    };
    let unknown = Token::generate(&authority)?;
    check(unknown.to_string(), "Unauthorized").await?;
    let other = TestServer::start().await?;
    let foreign = Token { authority: Some(fingerprint(&other.authority.certificate())?), ..unknown.clone() };
    check(foreign.to_string(), "does not prove to belong to the token's cluster").await?;
    let bare = Token { authority: None, ..unknown };
    check(bare.to_string(), "the token does not name the cluster's authority").await?;
    Ok(())
}
