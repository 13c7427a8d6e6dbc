//! Debian's docker-registry, which `hack/packages.sh` fetches: pushing to it and pulling from it.

use std::{
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use gantry_cri::v1::AuthConfig;
use gantry_json::json;
use oci_client::{
    Reference,
    client::{Client, ClientConfig, ClientProtocol, Config, ImageLayer},
    secrets::RegistryAuth,
};

use crate::{
    pulling::pull,
    registry::digest,
    support::{Node, container, sandbox, within},
};

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// `jane` with the password `s3cret`.
const USERS: &str = "jane:$2b$04$abcdefghijklmnopqrstuuLZYjhNQAOdpbzt4WxWlUHjv1wsyH5DG\n";

/// A registry process, ended with the test.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn start(dir: &Path) -> (Process, String) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/docker-registry");
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("users"), USERS).unwrap();
    // A port that was free a moment ago.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let config = json!({
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": dir.join("data")}},
        "http": {"addr": address},
        "auth": {"htpasswd": {"realm": "test", "path": dir.join("users")}},
    });
    let path = dir.join("config.yml");
    std::fs::write(&path, config.to_string()).unwrap();
    let child = Command::new(&program)
        .arg("serve")
        .arg(&path)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}: run hack/packages.sh", program.display()));
    let process = Process(child);
    within(async {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            tick.tick().await;
        }
    })
    .await;
    (process, address)
}

#[tokio::test(flavor = "multi_thread")]
async fn images_come_from_debians_registry() {
    Node::with(async |node| {
        let (_registry, address) = start(&node.dir.path().join("registry")).await;
        let (config, layers) = crate::pulling::demo("from Debian's registry");
        let name = format!("{address}/team/app:v1");
        let reference: Reference = name.parse().unwrap();
        // The runtime's first pull would do this; any provider will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let protocol = ClientProtocol::HttpsExcept(vec![address.clone()]);
        let client = Client::new(ClientConfig { protocol, ..Default::default() });
        let auth = RegistryAuth::Basic("jane".into(), "s3cret".into());
        let pushed: Vec<ImageLayer> =
            layers.iter().map(|layer| ImageLayer::new(layer.clone(), LAYER.into(), None)).collect();
        let config = gantry_json::to_vec(&config).unwrap();
        let id = digest(&config);
        within(client.push(&reference, &pushed, Config::oci_v1(config, None), &auth, None)).await.unwrap();

        let error = pull(node, &name, None).await.unwrap_err();
        assert!(error.message.to_lowercase().contains("auth"), "{error}");
        let auth = AuthConfig { username: "jane".into(), password: "s3cret".into(), ..Default::default() };
        assert_eq!(pull(node, &name, Some(auth)).await.unwrap(), id);
        let pod = node.run(sandbox("debian")).await;
        let mut config = container("main", "cat /pulled");
        config.image = Some(gantry_cri::v1::ImageSpec { image: name, ..Default::default() });
        let container = node.create(&pod, config).await;
        node.start(&container).await;
        let ended = node.exited(&container).await;
        let log = std::fs::read_to_string(&ended.log_path).unwrap();
        assert!(ended.exit_code == 0 && log.contains("from Debian's registry"), "{log}");
    })
    .await;
}
