"""A tour through the API with the Python client: typed calls, dynamic ones, watches, exec, custom resources."""

from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client.exceptions import ApiException
from kubernetes.stream import stream

NAMESPACE = "python"
LABELS = {"app": "tour"}

config.load_kube_config()
core, apps, batch = client.CoreV1Api(), client.AppsV1Api(), client.BatchV1Api()
rbac, custom = client.RbacAuthorizationV1Api(), client.CustomObjectsApi()
extensions = client.ApiextensionsV1Api()


def refused(status, call, *arguments, **named):
    """The error of a call that must fail with `status`."""
    try:
        call(*arguments, **named)
    except ApiException as error:
        assert error.status == status, error
        return error
    raise AssertionError(f"{call.__name__} should have failed with {status}")


def until(what, stream_of_events):
    """The first event's object for which `what` is true."""
    for event in stream_of_events:
        if what(event["object"]):
            return event["object"]
    raise AssertionError("the watch ended first")


def meta(name, **more):
    return client.V1ObjectMeta(name=name, **more)


assert client.VersionApi().get_code().git_version.startswith("v1.35.")
core.create_namespace(client.V1Namespace(metadata=meta(NAMESPACE)))

# Config maps: every verb.
wanted = client.V1ConfigMap(metadata=meta("c"), data={"a": "1"})
made = core.create_namespaced_config_map(NAMESPACE, wanted)
assert made.metadata.uid and made.metadata.creation_timestamp.tzinfo is not None
assert refused(409, core.create_namespaced_config_map, NAMESPACE, wanted).reason == "Conflict"
made.data["a"] = "2"
changed = core.replace_namespaced_config_map("c", NAMESPACE, made)
refused(409, core.replace_namespaced_config_map, "c", NAMESPACE, made)
changed = core.patch_namespaced_config_map("c", NAMESPACE, {"data": {"b": "3"}})
assert changed.data == {"a": "2", "b": "3"}
changed = core.patch_namespaced_config_map("c", NAMESPACE, [{"op": "remove", "path": "/data/a"}])
assert changed.data == {"b": "3"}
dry = core.patch_namespaced_config_map("c", NAMESPACE, {"data": {"b": "4"}}, dry_run="All")
assert dry.data == {"b": "4"} and core.read_namespaced_config_map("c", NAMESPACE).data == {"b": "3"}
for at in range(5):
    core.create_namespaced_config_map(NAMESPACE, client.V1ConfigMap(metadata=meta(f"page-{at}", labels=LABELS)))
first = core.list_namespaced_config_map(NAMESPACE, label_selector="app=tour", limit=2)
assert len(first.items) == 2 and first.metadata.remaining_item_count is None
names, more = [item.metadata.name for item in first.items], first.metadata._continue
while more:
    page = core.list_namespaced_config_map(NAMESPACE, label_selector="app=tour", limit=2, _continue=more)
    assert page.metadata.resource_version == first.metadata.resource_version
    names, more = names + [item.metadata.name for item in page.items], page.metadata._continue
assert names == [f"page-{at}" for at in range(5)], names
seen = watch.Watch().stream(
    core.list_namespaced_config_map, NAMESPACE, resource_version=first.metadata.resource_version, timeout_seconds=20
)
core.delete_collection_namespaced_config_map(NAMESPACE, label_selector="app=tour")
gone = {event["object"].metadata.name for event, _ in zip(seen, range(5)) if event["type"] == "DELETED"}
assert gone == set(names), gone
refused(404, core.read_namespaced_config_map, "page-0", NAMESPACE)
refused(422, core.create_namespaced_config_map, NAMESPACE, client.V1ConfigMap(metadata=meta("Not-A-Name")))

# A Deployment, its scale, its pods; what runs in them and what they say.
template = client.V1PodTemplateSpec(
    metadata=client.V1ObjectMeta(labels=LABELS),
    spec=client.V1PodSpec(
        termination_grace_period_seconds=0,
        containers=[
            client.V1Container(
                name="main", image="gantry.local/busybox:1", command=["sh", "-c", "echo up; sleep 1000"]
            )
        ],
    ),
)
spec = client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels=LABELS), template=template)
apps.create_namespaced_deployment(NAMESPACE, client.V1Deployment(metadata=meta("web"), spec=spec))
deployments = watch.Watch().stream(apps.list_namespaced_deployment, NAMESPACE, timeout_seconds=60)
until(lambda it: it.status.available_replicas == 2, deployments)
apps.patch_namespaced_deployment_scale("web", NAMESPACE, {"spec": {"replicas": 1}})
assert apps.read_namespaced_deployment_scale("web", NAMESPACE).spec.replicas == 1
deployments = watch.Watch().stream(apps.list_namespaced_deployment, NAMESPACE, timeout_seconds=60)
until(lambda it: it.status.replicas == 1 and it.status.available_replicas == 1, deployments)
pods = watch.Watch().stream(core.list_namespaced_pod, NAMESPACE, label_selector="app=tour", timeout_seconds=60)
running = lambda pod: pod.status.phase == "Running" and not pod.metadata.deletion_timestamp
pod = until(running, pods).metadata.name
assert core.read_namespaced_pod_log(pod, NAMESPACE) == "up\n"
run = lambda *words, **named: stream(
    core.connect_get_namespaced_pod_exec, pod, NAMESPACE, command=list(words), stdout=True, stderr=True, **named
)
assert run("echo", "hello") == "hello\n"
open_stream = run("cat", stdin=True, _preload_content=False)
open_stream.write_stdin("through\n")
assert open_stream.readline_stdout(timeout=10) == "through"
open_stream.close()
core.create_namespaced_pod_eviction(pod, NAMESPACE, client.V1Eviction(metadata=meta(pod, namespace=NAMESPACE)))

# A Job to its end, with what it leaves behind.
job_pod = client.V1PodTemplateSpec(
    spec=client.V1PodSpec(
        restart_policy="Never",
        containers=[client.V1Container(name="main", image="gantry.local/busybox:1", command=["true"])],
    )
)
batch.create_namespaced_job(NAMESPACE, client.V1Job(metadata=meta("once"), spec=client.V1JobSpec(template=job_pod)))
until(lambda it: it.status.succeeded == 1, watch.Watch().stream(batch.list_namespaced_job, NAMESPACE, timeout_seconds=60))
batch.delete_namespaced_job("once", NAMESPACE, propagation_policy="Foreground")

# Rights, asked and given.
core.create_namespaced_service_account(NAMESPACE, client.V1ServiceAccount(metadata=meta("worker")))
rule = client.V1PolicyRule(api_groups=[""], resources=["configmaps"], verbs=["get"])
rbac.create_namespaced_role(NAMESPACE, client.V1Role(metadata=meta("reads"), rules=[rule]))
rbac.create_namespaced_role_binding(
    NAMESPACE,
    client.V1RoleBinding(
        metadata=meta("worker-reads"),
        role_ref=client.V1RoleRef(api_group="rbac.authorization.k8s.io", kind="Role", name="reads"),
        subjects=[client.RbacV1Subject(kind="ServiceAccount", name="worker", namespace=NAMESPACE)],
    ),
)
token = core.create_namespaced_service_account_token(
    "worker", NAMESPACE, client.AuthenticationV1TokenRequest(spec=client.V1TokenRequestSpec(audiences=[]))
).status.token
settings = client.Configuration.get_default_copy()
settings.cert_file = settings.key_file = None
settings.api_key = {"authorization": f"Bearer {token}"}
worker = client.CoreV1Api(client.ApiClient(settings))
assert worker.read_namespaced_config_map("c", NAMESPACE).data == {"b": "3"}
assert refused(403, worker.list_namespaced_config_map, NAMESPACE).reason == "Forbidden"

# A custom resource: its definition, an object, its status, a watch.
group, version, plural = "tour.example.com", "v1", "visits"
schema = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["place"],
            "properties": {"place": {"type": "string"}, "days": {"type": "integer", "default": 1, "minimum": 1}},
        },
        "status": {"type": "object", "properties": {"done": {"type": "boolean"}}},
    },
}
definition = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": f"{plural}.{group}"},
    "spec": {
        "group": group,
        "scope": "Namespaced",
        "names": {"plural": plural, "singular": "visit", "kind": "Visit"},
        "versions": [
            {
                "name": version,
                "served": True,
                "storage": True,
                "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}},
            }
        ],
    },
}
extensions.create_custom_resource_definition(definition)
established = lambda crd: any(each.type == "Established" and each.status == "True" for each in crd.status.conditions or [])
until(established, watch.Watch().stream(extensions.list_custom_resource_definition, timeout_seconds=20))
visit = {"apiVersion": f"{group}/{version}", "kind": "Visit", "metadata": {"name": "v"}, "spec": {"place": "sea"}}
place = (group, version, NAMESPACE, plural)
made = custom.create_namespaced_custom_object(*place, visit)
assert made["spec"] == {"place": "sea", "days": 1}, made
bad = {**visit, "metadata": {"name": "w"}, "spec": {"days": 0}}
error = refused(422, custom.create_namespaced_custom_object, *place, bad)
assert "spec.place: Required value" in error.body and "spec.days: Invalid value: 0" in error.body, error.body
custom.patch_namespaced_custom_object_status(*place, "v", {"status": {"done": True}, "spec": {"place": "lake"}})
read = custom.get_namespaced_custom_object(*place, "v")
assert read["status"] == {"done": True} and read["spec"]["place"] == "sea", read

# The dynamic client finds it by discovery; the utility creates from plain manifests.
found = dynamic.DynamicClient(client.ApiClient())
visits = found.resources.get(api_version=f"{group}/{version}", kind="Visit")
assert [item.metadata.name for item in visits.get(namespace=NAMESPACE).items] == ["v"]
applied = visits.server_side_apply(
    body={**visit, "metadata": {"name": "v"}, "spec": {"place": "hill"}},
    name="v", namespace=NAMESPACE, field_manager="tour", force_conflicts=True,
)
assert applied.spec.place == "hill"
service = {
    "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": NAMESPACE},
    "spec": {"selector": LABELS, "ports": [{"port": 80}]},
}
utils.create_from_dict(client.ApiClient(), service)
assert core.read_namespaced_service("web", NAMESPACE).spec.cluster_ip
extensions.delete_custom_resource_definition(definition["metadata"]["name"])
core.delete_namespace(NAMESPACE)
namespaces = watch.Watch().stream(core.list_namespace, field_selector=f"metadata.name={NAMESPACE}", timeout_seconds=60)
assert any(event["type"] == "DELETED" for event in namespaces)
print("the tour is over")
