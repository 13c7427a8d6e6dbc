//! Fetches images from registries.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use futures::{StreamExt, TryStreamExt};
use gantry_cri::v1::AuthConfig;
use oci_client::{
    Reference,
    client::{BlobResponse, Client, ClientConfig, ClientProtocol},
    errors::{DigestError, OciDistributionError, OciErrorCode},
    manifest::OciDescriptor,
    secrets::RegistryAuth,
};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncSeekExt, AsyncWriteExt};

use super::{ConfigFile, ImageRecord, ImageStore, full_name, is_digest, layer_name, layers::Turn};
use crate::error::{Result, RuntimeError};

/// How long a registry may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(30);
/// How long it may be silent in the middle of an answer.
const SILENCE: Duration = Duration::from_secs(60);
/// Layers of one image fetched at once.
const LAYERS: usize = 3;

impl ImageStore {
    /// Fetches `image` for this machine's platform and unpacks it. Layers that are here already are
    /// not fetched again, and those that several pulls need at once only by one of them; each asks the
    /// registry for the manifest with its own credentials.
    pub async fn pull(self: &Arc<Self>, image: &str, auth: Option<&AuthConfig>) -> Result<ImageRecord> {
        let reference: Reference =
            image.parse().map_err(|e| RuntimeError::Invalid(format!("image reference {image:?}: {e}")))?;
        let client = client(&reference);
        let auth = credentials(auth);
        let (manifest, digest, config, index) = client
            .pull_manifest_and_config_and_list_digest(&reference, &auth)
            .await
            .map_err(|e| failed(image, e))?;
        let diff_ids = gantry_json::from_str::<ConfigFile>(&config)
            .map_err(|e| RuntimeError::image(image, format_args!("config: {e}")))?
            .rootfs
            .diff_ids;
        if diff_ids.len() != manifest.layers.len() {
            let message = format!("{} layers, but {} diff IDs", manifest.layers.len(), diff_ids.len());
            return Err(RuntimeError::image(image, message));
        }
        // Held until the record is there, so that nobody takes the layers for garbage.
        let turns = self.pulled.claim(&diff_ids);
        let tmp = self.tmp_path();
        tokio::fs::create_dir_all(&tmp).await.map_err(RuntimeError::path("create", &tmp))?;
        let result = async {
            let files: Vec<PathBuf> = (0..diff_ids.len()).map(|index| tmp.join(index.to_string())).collect();
            let layers = manifest.layers.iter().zip(&diff_ids).zip(&turns).zip(&files);
            // Collected first: the closures borrow what a stream across an await may not.
            let fetches: Vec<_> = layers
                .map(|(((layer, diff_id), turn), file)| {
                    let fetch = Fetch { image, client: &client, reference: &reference, layer };
                    self.bring_layer(fetch, diff_id, turn, file)
                })
                .collect();
            futures::stream::iter(fetches).buffer_unordered(LAYERS).try_collect::<Vec<()>>().await?;
            // A name with a digest is not a tag's, even if it spells one too.
            let tag = reference.digest().is_none().then(|| full_name(image)).transpose()?;
            let digest = index.unwrap_or(digest);
            let name = format!("{}/{}@{digest}", reference.registry(), reference.repository());
            let (store, whole) = (self.clone(), image.to_owned());
            tokio::task::spawn_blocking(move || store.add(&whole, config.as_bytes(), &files, tag, [name]))
                .await
                .map_err(|e| RuntimeError::image(image, e))?
        }
        .await;
        let _ = tokio::fs::remove_dir_all(&tmp).await;
        result
    }

    /// Fetches and unpacks a layer unless it is here, which it also is when another pull has brought it
    /// in the meantime.
    async fn bring_layer(
        self: &Arc<Self>,
        fetch: Fetch<'_>,
        diff_id: &str,
        turn: &Turn,
        file: &Path,
    ) -> Result<()> {
        let _turn = turn.lock().await;
        if !is_digest(diff_id) || self.layers_dir().join(layer_name(diff_id)).is_dir() {
            return Ok(());
        }
        fetch.to(file).await?;
        let (store, image) = (self.clone(), fetch.image.to_owned());
        let (diff_id, path) = (diff_id.to_owned(), file.to_owned());
        let unpacked = tokio::task::spawn_blocking(move || {
            let _lock = store.changing.lock();
            store.ensure_layer(&image, &diff_id, &path)
        });
        unpacked.await.map_err(|e| RuntimeError::image(fetch.image, e))??;
        tokio::fs::remove_file(file).await.map_err(RuntimeError::path("remove", file))
    }
}

/// A layer to be fetched.
struct Fetch<'a> {
    image: &'a str,
    client: &'a Client,
    reference: &'a Reference,
    layer: &'a OciDescriptor,
}

impl Fetch<'_> {
    /// Fetches to a file. When the connection breaks, it is resumed for as long as that brings more.
    async fn to(&self, path: &Path) -> Result<()> {
        let mut file = tokio::fs::File::create(path).await.map_err(RuntimeError::path("create", path))?;
        let (mut hash, mut length) = (Sha256::new(), 0);
        loop {
            let from = length;
            match self.part(&mut file, path, &mut hash, &mut length).await? {
                None => break,
                Some(error) if length > from => {
                    tracing::debug!(
                        image = self.image,
                        digest = self.layer.digest,
                        length,
                        error,
                        "resuming"
                    );
                }
                Some(error) => return Err(RuntimeError::image(self.image, error)),
            }
        }
        let digest = super::digest_text(&hash.finalize());
        if digest != self.layer.digest {
            let message = format!("layer with digest {} came with digest {digest}", self.layer.digest);
            return Err(RuntimeError::image(self.image, message));
        }
        file.flush().await.map_err(RuntimeError::path("write", path))
    }

    /// Appends what one request brings; the text tells how the connection broke.
    async fn part(
        &self,
        file: &mut tokio::fs::File,
        path: &Path,
        hash: &mut Sha256,
        length: &mut u64,
    ) -> Result<Option<String>> {
        let broken = |e| failed(self.image, e);
        let mut stream = if *length == 0 {
            self.client.pull_blob_stream(self.reference, self.layer).await.map_err(broken)?
        } else {
            let partial = self.client.pull_blob_stream_partial(self.reference, self.layer, *length, None);
            match partial.await.map_err(broken)? {
                BlobResponse::Partial(stream) => stream,
                // The registry starts again at the first byte.
                BlobResponse::Full(stream) => {
                    file.set_len(0).await.map_err(RuntimeError::path("truncate", path))?;
                    file.rewind().await.map_err(RuntimeError::path("rewind", path))?;
                    (*hash, *length) = (Sha256::new(), 0);
                    stream
                }
            }
        };
        while let Some(bytes) = stream.next().await {
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(error) if error.get_ref().is_some_and(|e| e.is::<DigestError>()) => {
                    return Err(RuntimeError::image(self.image, error));
                }
                Err(error) => return Ok(Some(chain(&error))),
            };
            hash.update(&bytes);
            *length += bytes.len() as u64;
            file.write_all(&bytes).await.map_err(RuntimeError::path("write", path))?;
        }
        Ok(None)
    }
}

/// Registries are spoken to by TLS, but for those on this machine.
fn client(reference: &Reference) -> Client {
    // Several parts of the process may want to be first; any provider will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let registry = reference.resolve_registry().to_owned();
    let host = registry.split(':').next().unwrap_or_default();
    let protocol = if matches!(host, "localhost" | "127.0.0.1") {
        ClientProtocol::HttpsExcept(vec![registry])
    } else {
        ClientProtocol::Https
    };
    Client::new(ClientConfig {
        protocol,
        connect_timeout: Some(CONNECT),
        read_timeout: Some(SILENCE),
        ..Default::default()
    })
}

/// An image that its registry does not know is told apart, since clients match on that.
fn failed(image: &str, error: OciDistributionError) -> RuntimeError {
    let unknown = match &error {
        OciDistributionError::RegistryError { envelope, .. } => envelope.errors.iter().any(|error| {
            use OciErrorCode::{ManifestUnknown, NameUnknown, NotFound};
            matches!(error.code, ManifestUnknown | NameUnknown | NotFound)
        }),
        OciDistributionError::ServerError { code, .. } => *code == 404,
        OciDistributionError::ImageManifestNotFoundError(_) => true,
        _ => false,
    };
    if unknown {
        let name = full_name(image).unwrap_or_else(|_| image.to_owned());
        return RuntimeError::NotFound(format!("failed to resolve reference {name:?}: {name}:"));
    }
    RuntimeError::image(image, chain(&error))
}

/// An error with its sources: the reason of a failed connection stands there.
fn chain(error: &dyn std::error::Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message = format!("{message}: {text}");
        }
        source = cause.source();
    }
    message
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
