//! ServiceAccount: every pod runs as an account of its namespace and finds the account's token, the
//! cluster's CA and its namespace's name where clients look for them.

use gantry_api::rules::common::list;
use gantry_api::status::ApiError;
use gantry_json::{Key, Value, json};

use super::{Operation, Plugin, Request, Turns, text};
use crate::Lookup;

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// By this annotation an account insists that its pods name no Secrets but those that it lists.
const INSISTS: &str = "kubernetes.io/enforce-mountable-secrets";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// A little over an hour: tells the issuer that the token is for such a volume.
const TOKEN_SECONDS: u32 = 3607;

pub(super) struct ServiceAccount;

impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn turns(&self) -> Turns {
        Turns { mutate: Turns::CREATES, validate: Turns::WRITES }
    }

    fn mutate(&self, request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        if !request.is("pods", "") || request.operation != Operation::Create {
            return Ok(());
        }
        if is_mirror(&request.object) {
            return mirror(request);
        }
        let mut name = request.text("/spec/serviceAccountName").to_owned();
        if name.is_empty() {
            name = "default".to_owned();
        }
        let namespace = request.namespace;
        if !objects.has("", "serviceaccounts", namespace, &name) {
            return Err(request.forbidden(format!(
                "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
            )));
        }
        let of_account = |field: &str| {
            let account = objects.get_with("", "serviceaccounts", namespace, &name, field);
            account.map(|mut account| account[field].take()).unwrap_or_default()
        };
        let spec = &mut request.object["spec"];
        spec["serviceAccountName"] = json!(name);
        spec["serviceAccount"] = json!(name);
        let automount = spec["automountServiceAccountToken"]
            .as_bool()
            .or_else(|| of_account("automountServiceAccountToken").as_bool())
            .unwrap_or(true);
        if automount {
            mount(spec);
        }
        if list(spec, "imagePullSecrets").is_empty() {
            let secrets = of_account("imagePullSecrets");
            if secrets.as_array().is_some_and(|secrets| !secrets.is_empty()) {
                spec["imagePullSecrets"] = secrets;
            }
        }
        Ok(())
    }

    /// An account can insist that its pods name no Secrets but those that it lists.
    fn validate(&self, request: &Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        let create = request.is("pods", "") && request.operation == Operation::Create;
        let added = request.is("pods", "ephemeralcontainers") && request.operation == Operation::Update;
        let mirrors = is_mirror(&request.object);
        if !(create || added) || mirrors {
            return Ok(());
        }
        let name = request.text("/spec/serviceAccountName");
        let account =
            objects.get_with("", "serviceaccounts", request.namespace, name, INSISTS).unwrap_or_default();
        let insists = account["metadata"]["annotations"][INSISTS] == "true";
        match insists.then(|| unlisted_secret(&request.object["spec"], &account)).flatten() {
            Some(why) => Err(request.forbidden(why)),
            None => Ok(()),
        }
    }
}

/// Whether a pod is the API's picture of one that its node runs by itself.
fn is_mirror(pod: &Value) -> bool {
    !pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_null()
}

/// A mirror pod shows what a node runs by itself: it has no account and no secrets.
fn mirror(request: &Request<'_>) -> Result<(), ApiError> {
    if !request.text("/spec/serviceAccountName").is_empty() {
        return Err(request.forbidden("a mirror pod may not reference service accounts"));
    }
    let spec = &request.object["spec"];
    if references_secrets(spec) {
        return Err(request.forbidden("a mirror pod may not reference secrets"));
    }
    for volume in list(spec, "volumes") {
        let mut sources = list(&volume["projected"], "sources").iter();
        if sources.any(|source| source.get("serviceAccountToken").is_some()) {
            return Err(request.forbidden("a mirror pod may not use ServiceAccountToken volume projections"));
        }
    }
    Ok(())
}

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Whether a pod names a Secret anywhere.
fn references_secrets(spec: &Value) -> bool {
    let mut containers = CONTAINERS.iter().flat_map(|field| list(spec, field));
    let of_container = |container: &Value| {
        let mut single = list(container, "env").iter().map(|each| &each["valueFrom"]["secretKeyRef"]);
        let mut whole = list(container, "envFrom").iter().map(|each| &each["secretRef"]);
        single.any(Value::is_object) || whole.any(Value::is_object)
    };
    let of_volume = |volume: &Value| {
        let mut sources = volume.as_object().into_iter().flatten();
        let of_source = |(kind, source): (&Key, &Value)| match kind.as_str() {
            "secret" | "azureFile" => true,
            "projected" => list(source, "sources").iter().any(|each| each["secret"].is_object()),
            _ => source["secretRef"].is_object() || source["nodePublishSecretRef"].is_object(),
        };
        sources.any(of_source)
    };
    !list(spec, "imagePullSecrets").is_empty()
        || containers.any(of_container)
        || list(spec, "volumes").iter().any(of_volume)
}

/// What a pod names of Secrets that its account, which insists on it, does not list.
fn unlisted_secret(spec: &Value, account: &Value) -> Option<String> {
    let name = text(account, "/metadata/name");
    let listed = |field: &str, secret: &str| list(account, field).iter().any(|each| each["name"] == secret);
    for volume in list(spec, "volumes") {
        let secret = text(volume, "/secret/secretName");
        if volume["secret"].is_object() && !listed("secrets", secret) {
            return Some(format!(
                "volume with secret.secretName={secret:?} is not allowed because service account {name} \
                 does not reference that secret"
            ));
        }
    }
    for (field, what) in CONTAINERS.iter().zip(["init container", "container", "ephemeral container"]) {
        for container in list(spec, field) {
            for variable in list(container, "env") {
                let secret = text(variable, "/valueFrom/secretKeyRef/name");
                if variable["valueFrom"]["secretKeyRef"].is_object() && !listed("secrets", secret) {
                    return Some(format!(
                        "{what} {} with envVar {} referencing secret.secretName={secret:?} is not allowed because \
                         service account {name} does not reference that secret",
                        text(container, "/name"),
                        text(variable, "/name"),
                    ));
                }
            }
        }
    }
    for (at, pull) in list(spec, "imagePullSecrets").iter().enumerate() {
        let secret = text(pull, "/name");
        if !listed("imagePullSecrets", secret) {
            return Some(format!(
                "imagePullSecrets[{at}].name={secret:?} is not allowed because service account {name} does not \
                 reference that imagePullSecret"
            ));
        }
    }
    None
}

/// Adds the volume, and its mount to every container that has nothing at that path.
fn mount(spec: &mut Value) {
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    let existing = volumes.map(|volume| text(volume, "/name")).find(|name| name.starts_with(VOLUME_PREFIX));
    let known = existing.map(str::to_owned);
    let name = known.clone().unwrap_or_else(|| format!("{VOLUME_PREFIX}{}", suffix(rand::random())));
    let mut mounted = false;
    for list in ["initContainers", "containers"] {
        for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let mounts = container["volumeMounts"].as_array().into_iter().flatten();
            if mounts.into_iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                continue;
            }
            push(container, "volumeMounts", json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
            mounted = true;
        }
    }
    if mounted && known.is_none() {
        push(spec, "volumes", volume(&name));
    }
}

fn push(object: &mut Value, field: &str, item: Value) {
    match object[field].as_array_mut() {
        Some(list) => list.push(item),
        None => object[field] = Value::Array(vec![item]),
    }
}

fn volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [
                    {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}},
                ]}},
            ],
        },
    })
}

/// Five characters of the alphabet that generated names use.
fn suffix(mut random: u64) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut next = || {
        let letter = ALPHABET[(random % ALPHABET.len() as u64) as usize];
        random /= ALPHABET.len() as u64;
        char::from(letter)
    };
    (0..5).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{admit, request};
    use super::*;
    use crate::User;
    use crate::lookup::Objects;

    fn accounts() -> Objects {
        let account = |name: &str, more: Value| {
            let mut account = json!({"metadata": {"namespace": "shop", "name": name}});
            account.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            ("serviceaccounts", account)
        };
        Objects(vec![
            account("default", json!({"imagePullSecrets": [{"name": "pull"}]})),
            account("quiet", json!({"automountServiceAccountToken": false})),
        ])
    }

    fn run(spec: Value) -> Result<Value, String> {
        let user = User::new("ada", []);
        let pod = json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": spec});
        admit(&ServiceAccount, request(Operation::Create, "pods", &user, pod, None), &accounts())
            .map(|mut pod| pod["spec"].take())
    }

    #[test]
    fn mounts_the_token_in_every_container() {
        let own = json!([{"name": "own", "mountPath": MOUNT_PATH}]);
        let spec = run(json!({
            "initContainers": [{"name": "i"}],
            "containers": [{"name": "a"}, {"name": "b", "volumeMounts": own}],
        }))
        .unwrap();
        assert_eq!(spec["serviceAccountName"], "default");
        assert_eq!(spec["serviceAccount"], "default");
        assert_eq!(spec["imagePullSecrets"], json!([{"name": "pull"}]));
        let name = spec["volumes"][0]["name"].as_str().unwrap();
        assert_eq!(name.len(), VOLUME_PREFIX.len() + 5);
        assert_eq!(spec["volumes"][0], volume(name));
        let mount = json!([{"name": name, "readOnly": true, "mountPath": MOUNT_PATH}]);
        assert_eq!(spec["containers"][0]["volumeMounts"], mount);
        assert_eq!(spec["initContainers"][0]["volumeMounts"], mount);
        assert_eq!(spec["containers"][1]["volumeMounts"], own);
    }

    #[test]
    fn mounts_nothing_where_not_wanted() {
        let check = |spec: Value| {
            let spec = run(spec).unwrap();
            assert!(spec.get("volumes").is_none(), "{spec}");
            assert!(spec["containers"][0].get("volumeMounts").is_none(), "{spec}");
        };
        check(json!({"containers": [{"name": "a"}], "automountServiceAccountToken": false}));
        check(json!({"containers": [{"name": "a"}], "serviceAccountName": "quiet"}));
        let spec =
            json!({"containers": [{}], "serviceAccountName": "quiet", "automountServiceAccountToken": true});
        assert!(run(spec).unwrap().get("volumes").is_some(), "the pod's word counts");
    }

    #[test]
    fn keeps_a_volume_that_is_there() {
        let spec = json!({"containers": [{}], "volumes": [{"name": "kube-api-access-abcde"}]});
        let spec = run(spec).unwrap();
        assert_eq!(spec["volumes"].as_array().unwrap().len(), 1);
        assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], "kube-api-access-abcde");
    }

    #[test]
    fn mirror_pods_name_no_secrets() {
        let check = |spec: Value, expect: bool| {
            let user = User::new("n", []);
            let metadata = json!({"name": "m", "namespace": "shop", "annotations": {"kubernetes.io/config.mirror": "x"}});
            let pod = json!({"metadata": metadata, "spec": spec});
            let request = request(Operation::Create, "pods", &user, pod, None);
            assert_eq!(admit(&ServiceAccount, request, &accounts()).is_ok(), expect, "{spec}");
        };
        check(json!({"containers": [{}], "volumes": [{"name": "v", "hostPath": {}}]}), true);
        check(json!({"containers": [{}], "volumes": [{"name": "v", "secret": {}}]}), false);
        check(json!({"containers": [{}], "volumes": [{"name": "v", "rbd": {"secretRef": {}}}]}), false);
        check(json!({"containers": [{"env": [{"valueFrom": {"secretKeyRef": {}}}]}]}), false);
        check(json!({"containers": [{}], "imagePullSecrets": [{"name": "p"}]}), false);
        let token = json!({"projected": {"sources": [{"serviceAccountToken": {}}]}});
        check(json!({"containers": [{}], "volumes": [token]}), false);
        check(json!({"containers": [{}], "serviceAccountName": "default"}), false);
    }

    #[test]
    fn an_account_may_insist_on_its_secrets() {
        let account = json!({"metadata": {"namespace": "shop", "name": "strict",
            "annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}}, "secrets": [{"name": "mine"}]});
        let objects = Objects(vec![("serviceaccounts", account)]);
        let check = |more: Value, expect: Result<(), &str>| {
            let user = User::new("ada", []);
            let mut spec = json!({"serviceAccountName": "strict", "automountServiceAccountToken": false,
                "containers": [{"name": "c"}]});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let pod = json!({"metadata": {"namespace": "shop", "name": "web"}, "spec": spec});
            let got = admit(&ServiceAccount, request(Operation::Create, "pods", &user, pod, None), &objects);
            let expect = expect.map_err(|why| format!("pods \"web\" is forbidden: {why}"));
            assert_eq!(got.map(drop), expect);
        };
        let volume = |name: &str| json!({"volumes": [{"name": "v", "secret": {"secretName": name}}]});
        check(volume("mine"), Ok(()));
        let why = "volume with secret.secretName=\"other\" is not allowed because service account strict does not \
                   reference that secret";
        check(volume("other"), Err(why));
        let why = "imagePullSecrets[0].name=\"p\" is not allowed because service account strict does not reference \
                   that imagePullSecret";
        check(json!({"imagePullSecrets": [{"name": "p"}]}), Err(why));
    }

    #[test]
    fn an_account_must_exist() {
        let expect = "pods \"web\" is forbidden: error looking up service account shop/nobody: \
                      serviceaccount \"nobody\" not found";
        assert_eq!(run(json!({"serviceAccountName": "nobody"})), Err(expect.to_owned()));
    }
}
