// A tour through the API with the JavaScript client: typed calls, patches, a watch and an informer,
// exec, logs, custom resources.

import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import * as k8s from '@kubernetes/client-node';

const namespace = 'javascript';
const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const apps = config.makeApiClient(k8s.AppsV1Api);
const custom = config.makeApiClient(k8s.CustomObjectsApi);
const extensions = config.makeApiClient(k8s.ApiextensionsV1Api);
const objects = k8s.KubernetesObjectApi.makeApiClient(config);

/** The error of a call that must fail with `code`. */
async function refused(code, call) {
  try {
    await call();
  } catch (error) {
    assert.equal(error.code, code, error.message);
    return JSON.parse(error.body);
  }
  assert.fail(`should have failed with ${code}`);
}

/** The first object of a watch for which `wanted` is true. */
function until(path, query, wanted) {
  return new Promise((resolve, reject) => {
    const watch = new k8s.Watch(config);
    let request;
    const seen = (type, object) => {
      if (!wanted(object, type)) return;
      resolve(object);
      request.then((controller) => controller.abort());
    };
    request = watch.watch(path, query, seen, (error) => reject(error ?? new Error('the watch ended first')));
  });
}

const patched = (type) => k8s.setHeaderOptions('Content-Type', type);

const version = await config.makeApiClient(k8s.VersionApi).getCode();
assert.match(version.gitVersion, /^v1\.35\./);
await core.createNamespace({ body: { metadata: { name: namespace } } });

// Config maps, with an informer that follows them.
const listed = () => core.listNamespacedConfigMap({ namespace });
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, listed);
const followed = { add: new Map(), update: new Map(), delete: new Map() };
const waiting = [];
for (const kind of Object.keys(followed)) {
  informer.on(kind, (object) => {
    followed[kind].set(object.metadata.name, object);
    waiting.filter((each) => each.kind === kind && each.name === object.metadata.name).forEach((each) => each.seen(object));
  });
}
/** The object that the informer tells of. */
const told = (kind, name) => new Promise((seen) => {
  if (followed[kind].has(name)) seen(followed[kind].get(name));
  else waiting.push({ kind, name, seen });
});
await informer.start();
const made = await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'c' }, data: { a: '1' } } });
assert.ok(made.metadata.creationTimestamp instanceof Date);
assert.equal((await told('add', 'c')).data.a, '1');
const taken = await refused(409, () => core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'c' } } }));
assert.equal(taken.reason, 'AlreadyExists');
await core.replaceNamespacedConfigMap({ namespace, name: 'c', body: { ...made, data: { a: '2' } } });
assert.equal((await told('update', 'c')).data.a, '2');
const stale = await refused(409, () => core.replaceNamespacedConfigMap({ namespace, name: 'c', body: made }));
assert.equal(stale.reason, 'Conflict');
const one = { namespace, name: 'c' };
let map = await core.patchNamespacedConfigMap({ ...one, body: { data: { b: '3' } } }, patched(k8s.PatchStrategy.MergePatch));
assert.deepEqual(map.data, { a: '2', b: '3' });
const remove = [{ op: 'remove', path: '/data/a' }];
map = await core.patchNamespacedConfigMap({ ...one, body: remove }, patched(k8s.PatchStrategy.JsonPatch));
assert.deepEqual(map.data, { b: '3' });
const applied = { apiVersion: 'v1', kind: 'ConfigMap', metadata: one, data: { c: '4' } };
map = await objects.patch(applied, undefined, undefined, 'tour', true, k8s.PatchStrategy.ServerSideApply);
assert.deepEqual(map.data, { b: '3', c: '4' });
assert.ok(map.metadata.managedFields.some((each) => each.manager === 'tour' && each.operation === 'Apply'));
await core.deleteNamespacedConfigMap(one);
await told('delete', 'c');
await informer.stop();
const invalid = await refused(422, () => core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'A_B' } } }));
assert.equal(invalid.details.causes[0].field, 'metadata.name');

// A Deployment and what runs in it.
const labels = { app: 'tour' };
const containers = [{ name: 'main', image: 'gantry.local/busybox:1', command: ['sh', '-c', 'echo up; sleep 1000'] }];
const template = { metadata: { labels }, spec: { terminationGracePeriodSeconds: 0, containers } };
const body = { metadata: { name: 'web' }, spec: { replicas: 1, selector: { matchLabels: labels }, template } };
await apps.createNamespacedDeployment({ namespace, body });
await until(`/apis/apps/v1/namespaces/${namespace}/deployments`, {}, (it) => it.status?.availableReplicas === 1);
const { items } = await core.listNamespacedPod({ namespace, labelSelector: 'app=tour' });
const pod = items[0].metadata.name;
assert.equal(await core.readNamespacedPodLog({ namespace, name: pod }), 'up\n');
const output = new PassThrough();
const text = [];
output.on('data', (chunk) => text.push(chunk.toString()));
const status = await new Promise((resolve, reject) => {
  const words = ['sh', '-c', 'cat; exit 3'];
  const input = new PassThrough();
  input.end('through\n');
  new k8s.Exec(config).exec(namespace, pod, 'main', words, output, process.stderr, input, false, resolve).catch(reject);
});
assert.equal(text.join(''), 'through\n');
assert.equal(status.reason, 'NonZeroExitCode');

// A custom resource.
const group = 'voyage.example.com';
const spec = {
  type: 'object',
  properties: { spec: { type: 'object', properties: { place: { type: 'string', _enum: ['sea', 'hill'] } } } },
};
await extensions.createCustomResourceDefinition({
  body: {
    metadata: { name: `trips.${group}` },
    spec: {
      group,
      scope: 'Namespaced',
      names: { plural: 'trips', kind: 'Trip' },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: spec } }],
    },
  },
});
const established = (crd) => crd.status?.conditions?.some((each) => each.type === 'Established' && each.status === 'True');
await until('/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {}, established);
const trips = { group, version: 'v1', namespace, plural: 'trips' };
const trip = (name, place) => ({ apiVersion: `${group}/v1`, kind: 'Trip', metadata: { name }, spec: { place } });
await custom.createNamespacedCustomObject({ ...trips, body: trip('t', 'sea') });
const nowhere = await refused(422, () => custom.createNamespacedCustomObject({ ...trips, body: trip('u', 'moon') }));
assert.match(nowhere.message, /spec.place: Unsupported value: "moon": supported values: "sea", "hill"/);
const all = await custom.listNamespacedCustomObject(trips);
assert.deepEqual(all.items.map((each) => [each.metadata.name, each.spec.place]), [['t', 'sea']]);
await extensions.deleteCustomResourceDefinition({ name: `trips.${group}` });
await core.deleteNamespace({ name: namespace });
await until('/api/v1/namespaces', { fieldSelector: `metadata.name=${namespace}` }, (_, type) => type === 'DELETED');
console.log('the tour is over');
process.exit(0);
