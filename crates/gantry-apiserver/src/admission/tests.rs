//! The plugins together.

use gantry_store::Options;
use gantry_store::engine::MemoryEngine;
use serde_json::json;

use super::*;

async fn put(store: &Store, kind: &str, place: &str) {
    let (namespace, name) = place.split_once('/').unwrap_or(("", place));
    let object = json!({"metadata": {"namespace": namespace, "name": name}});
    store.create(&format!("/registry/{kind}/{place}"), object.to_string().into_bytes(), None).await.unwrap();
}

/// All plugins together, and the account that comes a moment late.
#[tokio::test]
async fn a_pod_in_a_new_namespace() {
    let store = Store::with_engine(MemoryEngine::default(), Options::default()).unwrap();
    let admission = Admission::new(Arc::new(Authorizer::new(&store)));
    let user = User::new("ada", []);
    let pod = json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"containers": [{}]}});
    let mut request = testing::request(Operation::Create, "pods", &user, pod, None);
    request.name = "";
    admission.wait_for_account(&request, &store).await;
    let mutate = |request: &mut Request<'_>, store: &Store| admission.mutate(request, &store.snapshot());
    let error = mutate(&mut request, &store).unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (404, "namespaces \"shop\" not found"));
    put(&store, "namespaces", "shop").await;
    let error = mutate(&mut request, &store).unwrap_err();
    assert!(error.message.starts_with("pods \"web\" is forbidden: error looking up service account"));
    tokio::join!(
        admission.wait_for_account(&request, &store),
        put(&store, "serviceaccounts", "shop/default")
    );
    mutate(&mut request, &store).unwrap();
    admission.validate(&request, &store.snapshot()).unwrap();
    let spec = &request.object["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["priority"], 0);
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!(spec["volumes"].as_array().unwrap().len(), 1);
}
