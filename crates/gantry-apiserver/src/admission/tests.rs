//! The plugins together.

use gantry_api::features::FeatureGates;
use gantry_json::json;
use gantry_store::Options;
use gantry_store::engine::MemoryEngine;

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
    let authorizer = Arc::new(Authorizer::new(&store));
    let caller = webhooks::Caller {
        authorizer: authorizer.clone(),
        webhooks: Arc::new(crate::webhook::Webhooks::new(&store)),
        metrics: Arc::new(crate::metrics::Metrics::new(&crate::Version::default())),
        credentials: Default::default(),
    };
    let features = FeatureGates::default();
    let admission =
        Admission::new(&Configuration::default(), authorizer, &store, Arc::new(caller), &features);
    let user = User::new("ada", []);
    let pod = json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": {"containers": [{}]}});
    let mut request = testing::request(Operation::Create, "pods", &user, pod, None);
    request.name = "";
    admission.wait_for_account("shop", &request.object, &store).await;
    let error = admission.mutate(&mut request, &store).await.unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (404, "namespaces \"shop\" not found"));
    put(&store, "namespaces", "shop").await;
    let error = admission.mutate(&mut request, &store).await.unwrap_err();
    assert!(error.message.starts_with("pods \"web\" is forbidden: error looking up service account"));
    tokio::join!(
        admission.wait_for_account("shop", &request.object, &store),
        put(&store, "serviceaccounts", "shop/default")
    );
    admission.mutate(&mut request, &store).await.unwrap();
    admission.validate(&mut request, &store).await.unwrap();
    let spec = &request.object["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["priority"], 0);
    assert_eq!(spec["tolerations"].as_array().unwrap().len(), 2);
    assert_eq!(spec["volumes"].as_array().unwrap().len(), 1);
}

/// Notes in an annotation how often it was run, and wants to be run again.
struct Counting;

#[async_trait]
impl WaitingPlugin for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    fn turns(&self) -> Turns {
        Turns::mutating(Turns::CREATES)
    }

    fn concerns(&self, request: &Request<'_>) -> bool {
        request.is("pods", "")
    }

    async fn mutate(&self, request: &mut Request<'_>, store: &Store) -> Result<(), ApiError> {
        tokio::task::yield_now().await;
        let count = request.object["count"].as_u64().unwrap_or(0) + 1;
        request.object["count"] = count.into();
        put(store, "counts", &count.to_string()).await;
        request.run_again();
        Ok(())
    }
}

/// Sees what was written before it.
struct Seeing;

impl Plugin for Seeing {
    fn name(&self) -> &'static str {
        "Seeing"
    }

    fn turns(&self) -> Turns {
        Turns::mutating(Turns::CREATES)
    }

    fn mutate(&self, request: &mut Request<'_>, objects: &dyn crate::Lookup) -> Result<(), ApiError> {
        request.object["seen"] = objects.list("", "counts", "").len().into();
        Ok(())
    }
}

#[tokio::test]
async fn a_plugin_that_waits_and_wants_another_round() {
    let store = Store::with_engine(MemoryEngine::default(), Options::default()).unwrap();
    let counting: Box<dyn WaitingPlugin> = Box::new(Counting);
    let metrics = AdmissionMetrics::new(&mut Default::default());
    let admission = Admission::of(vec![counting.into(), Seeing.into()], None, &metrics);
    let user = User::new("ada", []);
    let mut request = testing::request(Operation::Create, "pods", &user, json!({}), None);
    admission.mutate(&mut request, &store).await.unwrap();
    assert_eq!(request.object, json!({"count": 2, "seen": 2}));
    let mut other = testing::request(Operation::Create, "secrets", &user, json!({}), None);
    admission.mutate(&mut other, &store).await.unwrap();
    assert_eq!(other.object, json!({"seen": 2}));
}
