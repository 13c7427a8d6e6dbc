//! `gantry image`: this node's images, through the socket of the running node.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use gantry_cri::client::Client;
use gantry_cri::v1::{
    AuthConfig, ImageSpec, ImageStatusRequest, ListImagesRequest, PullImageRequest, RemoveImageRequest,
};
use gantry_cri::{ImageArchive, ImageService, ImportRequest};

use crate::config::Config;

/// What to do with images.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add the images of archives (docker or OCI layout, plain or compressed).
    Import {
        /// The archives.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// Pull images from their registry.
    Pull {
        /// Their names.
        #[arg(required = true)]
        images: Vec<String>,
        /// `USER:PASSWORD` for the registry.
        #[arg(long, env = "GANTRY_REGISTRY_CREDENTIALS", hide_env_values = true)]
        credentials: Option<String>,
    },
    /// List images.
    #[command(visible_alias = "ls")]
    List,
    /// Remove images.
    #[command(visible_alias = "rm")]
    Remove {
        /// Their names or ids.
        #[arg(required = true)]
        images: Vec<String>,
    },
}

/// Carries the action out.
pub fn run(config: &Config, arguments: &Arguments) -> Result<()> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(act(config, &arguments.action))
}

async fn act(config: &Config, action: &Action) -> Result<()> {
    let socket = config.runtime_socket();
    if !socket.exists() {
        bail!("no node runs here ({} is missing); start one with gantry up", socket.display());
    }
    let node = Client::connect(&socket)?;
    match action {
        Action::Import { archives } => {
            for archive in archives {
                let path = std::path::absolute(archive)?;
                let path = path.to_str().context("the archive's path is not UTF-8")?.to_owned();
                let imported = node.import(ImportRequest { path }).await;
                for image in imported.with_context(|| format!("importing {}", archive.display()))?.images {
                    println!("{image}");
                }
            }
        }
        Action::Pull { images, credentials } => {
            let auth = credentials.as_deref().map(parse).transpose()?;
            for image in images {
                let request =
                    PullImageRequest { image: Some(named(image)), auth: auth.clone(), ..Default::default() };
                let pulled = node.pull_image(request).await.with_context(|| format!("pulling {image}"))?;
                println!("{}", pulled.image_ref);
            }
        }
        Action::List => list(&node).await?,
        Action::Remove { images } => {
            for image in images {
                let status =
                    node.image_status(ImageStatusRequest { image: Some(named(image)), verbose: false });
                if status.await?.image.is_none() {
                    bail!("image {image} is not there");
                }
                let removed = node.remove_image(RemoveImageRequest { image: Some(named(image)) }).await;
                removed.with_context(|| format!("removing {image}"))?;
            }
        }
    }
    Ok(())
}

async fn list(node: &Client) -> Result<()> {
    let images = node.list_images(ListImagesRequest::default()).await?.images;
    println!("{:<56}{:<16}SIZE", "IMAGE", "ID");
    for image in images {
        let id = image.id.trim_start_matches("sha256:");
        let id = id.get(..12).unwrap_or(id);
        let names = if image.repo_tags.is_empty() { vec!["<none>".to_owned()] } else { image.repo_tags };
        for name in names {
            println!("{name:<56}{id:<16}{:.1} MiB", image.size as f64 / f64::from(1 << 20));
        }
    }
    Ok(())
}

fn named(image: &str) -> ImageSpec {
    ImageSpec { image: image.to_owned(), ..Default::default() }
}

fn parse(credentials: &str) -> Result<AuthConfig> {
    let (username, password) =
        credentials.split_once(':').context("--credentials: expected USER:PASSWORD")?;
    Ok(AuthConfig { username: username.to_owned(), password: password.to_owned(), ..Default::default() })
}
