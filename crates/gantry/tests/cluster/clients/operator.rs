//! An operator written with kube-rs: a controller with a finalizer for a kind of its own.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use gantry_json::{Value, json};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::finalizer::{Event, finalizer};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Client, Config, Resource, ResourceExt};

use crate::cluster::Cluster;

const GROUP: &str = "garden.example.com";
const FINALIZER: &str = "garden.example.com/cleanup";

fn definition() -> CustomResourceDefinition {
    let properties = json!({
        "spec": {"type": "object", "required": ["seeds"], "properties": {"seeds": {"type": "integer", "minimum": 0}}},
        "status": {"type": "object", "properties": {"planted": {"type": "integer"}}},
    });
    gantry_json::from_value(json!({
        "metadata": {"name": format!("beds.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"plural": "beds", "singular": "bed", "kind": "Bed"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
            }],
        },
    }))
    .expect("a definition")
}

fn kind() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1", "Bed"), "beds")
}

fn bed(name: &str, seeds: i64) -> DynamicObject {
    DynamicObject::new(name, &kind()).data(json!({"spec": {"seeds": seeds}}).into())
}

/// What the controller does with one bed: a config map that it owns, and the bed's status; at the end of
/// the bed, a config map that outlives it.
async fn tend(
    bed: Arc<DynamicObject>,
    client: Arc<Client>,
) -> Result<Action, kube::runtime::finalizer::Error<kube::Error>> {
    let namespace = bed.namespace().unwrap_or_default();
    let beds = Api::namespaced_with((*client).clone(), &namespace, &kind());
    let maps: Api<ConfigMap> = Api::namespaced((*client).clone(), &namespace);
    finalizer(&beds.clone(), FINALIZER, bed, |event| async move {
        let manager = PatchParams::apply("gardener").force();
        match event {
            Event::Apply(bed) => {
                let (name, seeds) = (bed.name_any(), bed.data["spec"]["seeds"].clone());
                let map = ConfigMap {
                    metadata: ObjectMeta {
                        name: Some(name.clone()),
                        owner_references: bed.controller_owner_ref(&kind()).map(|owner| vec![owner]),
                        ..ObjectMeta::default()
                    },
                    data: Some([("seeds".to_owned(), seeds.to_string())].into()),
                    ..ConfigMap::default()
                };
                maps.patch(&name, &manager, &Patch::Apply(&map)).await?;
                let status =
                    json!({"apiVersion": format!("{GROUP}/v1"), "kind": "Bed", "status": {"planted": seeds}});
                beds.patch_status(&name, &manager, &Patch::Apply(&status)).await?;
            }
            Event::Cleanup(bed) => {
                let name = format!("{}-was-here", bed.name_any());
                let map = ConfigMap {
                    metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
                    ..ConfigMap::default()
                };
                maps.patch(&name, &manager, &Patch::Apply(&map)).await?;
            }
        }
        Ok(Action::await_change())
    })
    .await
}

/// The first object of `api` for which `wanted` is true.
async fn until<K>(api: Api<K>, wanted: impl Fn(&K) -> bool + Sync) -> K
where
    K: Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    let mut found = watcher(api, watcher::Config::default().streaming_lists())
        .applied_objects()
        .try_filter(|object| std::future::ready(wanted(object)))
        .boxed();
    let found = tokio::time::timeout(Duration::from_secs(30), found.try_next()).await.expect("in time");
    found.expect("watched").expect("there is one")
}

async fn tour(kubeconfig: Kubeconfig) {
    let config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("read");
    let client = Client::try_from(config).expect("a client");
    let space = Namespace {
        metadata: ObjectMeta { name: Some("garden".into()), ..ObjectMeta::default() },
        ..Namespace::default()
    };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.create(&PostParams::default(), &space).await.expect("created");
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &definition()).await.expect("created");
    let name = format!("beds.{GROUP}");
    await_condition(definitions.clone(), &name, conditions::is_crd_established()).await.expect("established");

    let beds: Api<DynamicObject> = Api::namespaced_with(client.clone(), "garden", &kind());
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), "garden");
    let everywhere = Api::all_with(client.clone(), &kind());
    let controller = Controller::new_with(everywhere, watcher::Config::default(), kind())
        .owns(Api::<ConfigMap>::all(client.clone()), watcher::Config::default())
        .run(tend, |_, _, _| Action::requeue(Duration::from_secs(1)), Arc::new(client.clone()))
        .for_each(|_| std::future::ready(()));
    let controller = tokio::spawn(controller);

    // It acts on what is made and changed, and puts right what others break.
    beds.create(&PostParams::default(), &bed("roses", 3)).await.expect("created");
    let planted = |bed: &DynamicObject| bed.data["status"]["planted"].clone();
    let map = until(maps.clone(), |map| map.name_any() == "roses").await;
    assert_eq!(map.data.expect("data")["seeds"], "3");
    beds.patch("roses", &PatchParams::default(), &Patch::Merge(json!({"spec": {"seeds": 5}})))
        .await
        .expect("patched");
    tokio::time::timeout(
        Duration::from_secs(30),
        await_condition(beds.clone(), "roses", |bed: Option<&DynamicObject>| {
            bed.is_some_and(|bed| planted(bed) == 5)
        }),
    )
    .await
    .expect("in time")
    .expect("planted");
    let before = maps.get("roses").await.expect("there").uid();
    maps.delete("roses", &DeleteParams::default()).await.expect("deleted");
    until(maps.clone(), |map| map.name_any() == "roses" && map.uid() != before).await;

    // What is wrong is refused with its reason.
    let refused = beds.create(&PostParams::default(), &bed("weeds", -1)).await.expect_err("refused");
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    let mut stale = beds.get("roses").await.expect("there");
    assert_eq!(stale.finalizers(), [FINALIZER]);
    stale.meta_mut().resource_version = Some("1".into());
    let refused = beds.replace("roses", &PostParams::default(), &stale).await.expect_err("refused");
    let kube::Error::Api(status) = refused else { panic!("{refused}") };
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));

    // At the end the finalizer has its say, and what the bed owned goes with it.
    beds.delete("roses", &DeleteParams::default()).await.expect("deleted");
    until(maps.clone(), |map| map.name_any() == "roses-was-here").await;
    let gone = async {
        await_condition(beds.clone(), "roses", |bed: Option<&DynamicObject>| bed.is_none())
            .await
            .expect("gone");
        await_condition(maps.clone(), "roses", |map: Option<&ConfigMap>| map.is_none()).await.expect("gone");
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("in time");
    let found = kube::discovery::group(&client, GROUP).await.expect("discovered");
    assert_eq!(found.recommended_kind("Bed").map(|(kind, _)| kind.plural), Some("beds".to_owned()));
    let listed = beds.list_metadata(&ListParams::default()).await.expect("listed");
    assert_eq!(listed.items.len(), 0);
    controller.abort();
    definitions.delete(&name, &DeleteParams::default()).await.expect("deleted");
}

#[test]
fn an_operator_of_kube_rs() {
    let cluster = Cluster::start("operator");
    let text = cluster.kubectl(&["config", "view", "--raw", "-o", "json"]);
    let kubeconfig: Value = gantry_json::from_str(&text).expect("a kubeconfig");
    let kubeconfig: Kubeconfig = gantry_json::from_value(kubeconfig).expect("a kubeconfig");
    cluster.within(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(tour(kubeconfig));
    });
}
