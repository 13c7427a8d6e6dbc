//! Load balancers learn whether a node has endpoints.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use gantry_client::Change;
use gantry_json::{Value, from_value, json};
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};

use super::support::on_host;
use crate::{
    nft::Family,
    proxy::{Place, health::HealthServers, index::Index},
};

/// The first line of the answer at a port.
async fn ask(port: u16) -> std::io::Result<String> {
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer.lines().next().unwrap_or_default().to_owned())
    });
    asked.await.unwrap()
}

fn endpoints(index: &mut Index, conditions: Value) {
    let slice: EndpointSlice = from_value(json!({
        "metadata": {
            "namespace": "default", "name": "web-1", "labels": {"kubernetes.io/service-name": "web"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.42.0.1"], "nodeName": "here", "conditions": conditions}],
    }))
    .unwrap();
    index.slice(Change::Applied { old: None, new: Arc::new(slice) });
}

fn service(index: &mut Index, port: u16) {
    let service: Service = from_value(json!({
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.43.0.5",
            "externalTrafficPolicy": "Local", "healthCheckNodePort": port,
        },
    }))
    .unwrap();
    index.service(Change::Applied { old: None, new: Arc::new(service) });
}

#[test]
fn answers_follow_services_and_endpoints() {
    on_host(async |_| {
        let place = Place { node: "here".into(), ..Place::default() };
        let (mut index, mut servers) = (Index::default(), HealthServers::default());
        let mut follow = |index: &mut Index| {
            index.take_changed(&place, &[Family::Ipv4]);
            servers.follow(index.checks());
        };
        service(&mut index, 32000);
        follow(&mut index);
        assert_eq!(ask(32000).await.unwrap(), "HTTP/1.1 503 Service Unavailable");
        endpoints(&mut index, json!({"ready": true}));
        follow(&mut index);
        assert_eq!(ask(32000).await.unwrap(), "HTTP/1.1 200 OK");
        endpoints(&mut index, json!({"ready": false, "serving": true, "terminating": true}));
        service(&mut index, 32001);
        follow(&mut index);
        assert_eq!(ask(32001).await.unwrap(), "HTTP/1.1 503 Service Unavailable");
        // The old port is closed as soon as the task has ended.
        tokio::task::yield_now().await;
        assert!(ask(32000).await.is_err());
    });
}
