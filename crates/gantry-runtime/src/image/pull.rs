//! Fetches images from registries.

use std::path::PathBuf;

use gantry_cri::v1::AuthConfig;
use oci_client::{
    Reference,
    client::{Client, ClientConfig, ClientProtocol},
    secrets::RegistryAuth,
};

use super::{ImageRecord, ImageStore};
use crate::error::{Result, RuntimeError};

impl ImageStore {
    /// Fetches `image` for this machine's platform and unpacks it.
    pub async fn pull(
        self: &std::sync::Arc<Self>,
        image: &str,
        auth: Option<&AuthConfig>,
    ) -> Result<ImageRecord> {
        let reference: Reference =
            image.parse().map_err(|e| RuntimeError::Invalid(format!("image reference {image:?}: {e}")))?;
        // Several parts of the process may want to be first; any provider will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let local = reference.resolve_registry().to_owned();
        let host = local.split(':').next().unwrap_or_default();
        let protocol = if matches!(host, "localhost" | "127.0.0.1") {
            ClientProtocol::HttpsExcept(vec![local.clone()])
        } else {
            ClientProtocol::Https
        };
        let client = Client::new(ClientConfig { protocol, ..Default::default() });
        let auth = credentials(auth);
        let failed = |e: oci_client::errors::OciDistributionError| RuntimeError::image(image, e);
        let (manifest, digest, config) =
            client.pull_manifest_and_config(&reference, &auth).await.map_err(failed)?;
        let tmp = self.tmp_path();
        tokio::fs::create_dir_all(&tmp).await.map_err(RuntimeError::path("create", &tmp))?;
        let result = async {
            let mut files: Vec<PathBuf> = Vec::new();
            for (index, layer) in manifest.layers.iter().enumerate() {
                let path = tmp.join(index.to_string());
                let file =
                    tokio::fs::File::create(&path).await.map_err(RuntimeError::path("create", &path))?;
                let mut file = tokio::io::BufWriter::new(file);
                client.pull_blob(&reference, layer, &mut file).await.map_err(failed)?;
                tokio::io::AsyncWriteExt::shutdown(&mut file)
                    .await
                    .map_err(RuntimeError::path("write", &path))?;
                files.push(path);
            }
            let tags = reference.tag().map(|_| {
                format!(
                    "{}/{}:{}",
                    reference.registry(),
                    reference.repository(),
                    reference.tag().unwrap_or("latest")
                )
            });
            let name = format!("{}/{}@{digest}", reference.registry(), reference.repository());
            let (store, image) = (self.clone(), image.to_owned());
            tokio::task::spawn_blocking(move || store.add(&image, config.as_bytes(), &files, tags, [name]))
                .await
                .map_err(|e| RuntimeError::image(&local, e))?
        }
        .await;
        let _ = tokio::fs::remove_dir_all(&tmp).await;
        result
    }
}

fn credentials(auth: Option<&AuthConfig>) -> RegistryAuth {
    use base64::Engine;
    let Some(auth) = auth else { return RegistryAuth::Anonymous };
    if !auth.registry_token.is_empty() {
        return RegistryAuth::Bearer(auth.registry_token.clone());
    }
    if !auth.username.is_empty() {
        return RegistryAuth::Basic(auth.username.clone(), auth.password.clone());
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(auth.auth.trim_end_matches('\0'));
    match decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
        Some(pair) if !pair.is_empty() => {
            let (user, password) = pair.split_once(':').unwrap_or((&pair, ""));
            RegistryAuth::Basic(user.to_owned(), password.trim_end_matches('\0').to_owned())
        }
        _ => RegistryAuth::Anonymous,
    }
}
