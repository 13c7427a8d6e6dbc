//! An API server in memory, to be tried by hand: `cargo run -p gantry-testing --example serve FILE`
//! writes an administrator's kubeconfig to FILE and serves until it is interrupted.

use anyhow::{Context, Result};
use gantry_testing::TestServer;

#[tokio::main]
async fn main() -> Result<()> {
    let file = std::env::args().nth(1).context("name the file that the kubeconfig goes to")?;
    let server = TestServer::start().await?;
    let directory = std::path::absolute(&file)?;
    for (end, pem) in [
        ("ca", server.authority.certificate()),
        ("crt", server.admin.certificate.clone()),
        ("key", server.admin.key.clone()),
    ] {
        std::fs::write(directory.with_extension(end), pem)?;
    }
    let path = |end: &str| directory.with_extension(end).display().to_string();
    let config = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: test\ncontexts: [{{name: test, context: {{cluster: test, user: \
         admin}}}}]\nclusters: [{{name: test, cluster: {{server: {:?}, certificate-authority: {:?}}}}}]\nusers: [{{name: \
         admin, user: {{client-certificate: {:?}, client-key: {:?}}}}}]\n",
        server.url,
        path("ca"),
        path("crt"),
        path("key")
    );
    std::fs::write(&file, config)?;
    println!("{} serves; use it with: export KUBECONFIG={file}", server.url);
    tokio::signal::ctrl_c().await?;
    Ok(())
}
