//! ServiceAccount: every pod runs as an account of its namespace and finds the account's token, the
//! cluster's CA and its namespace's name where clients look for them.

use gantry_api::status::ApiError;
use serde_json::{Value, json};

use super::{Operation, Plugin, Request, text};
use crate::Lookup;

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const VOLUME_PREFIX: &str = "kube-api-access-";
/// A little over an hour: tells the issuer that the token is for such a volume.
const TOKEN_SECONDS: u32 = 3607;

pub(super) struct ServiceAccount;

impl Plugin for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn mutate(&self, request: &mut Request<'_>, objects: &dyn Lookup) -> Result<(), ApiError> {
        if !request.is("pods", "") || request.operation != Operation::Create {
            return Ok(());
        }
        if request.object.pointer("/metadata/annotations/kubernetes.io~1config.mirror").is_some() {
            return mirror(request);
        }
        let mut name = request.text("/spec/serviceAccountName").to_owned();
        if name.is_empty() {
            name = "default".to_owned();
        }
        let namespace = request.namespace;
        let account = objects.get("", "serviceaccounts", namespace, &name).ok_or_else(|| {
            request.forbidden(format!(
                "error looking up service account {namespace}/{name}: serviceaccount {name:?} not found"
            ))
        })?;
        let spec = &mut request.object["spec"];
        spec["serviceAccountName"] = json!(name);
        spec["serviceAccount"] = json!(name);
        let automount = spec["automountServiceAccountToken"]
            .as_bool()
            .or_else(|| account["automountServiceAccountToken"].as_bool())
            .unwrap_or(true);
        if automount {
            mount(spec);
        }
        let pull_secrets = account["imagePullSecrets"].as_array().filter(|secrets| !secrets.is_empty());
        if let Some(secrets) = pull_secrets
            && spec["imagePullSecrets"].as_array().is_none_or(Vec::is_empty)
        {
            spec["imagePullSecrets"] = json!(secrets);
        }
        Ok(())
    }
}

/// A mirror pod shows what a node runs by itself: it has no account and no secrets.
fn mirror(request: &Request<'_>) -> Result<(), ApiError> {
    if !request.text("/spec/serviceAccountName").is_empty() {
        return Err(request.forbidden("a mirror pod may not reference service accounts"));
    }
    let volumes = request.object.pointer("/spec/volumes").and_then(Value::as_array);
    for volume in volumes.into_iter().flatten() {
        let sources = volume.pointer("/projected/sources").and_then(Value::as_array).into_iter().flatten();
        let mut sources = sources.filter(|source| source.get("serviceAccountToken").is_some());
        if volume.get("secret").is_some() {
            return Err(request.forbidden("a mirror pod may not reference secrets"));
        }
        if sources.next().is_some() {
            return Err(request.forbidden("a mirror pod may not use ServiceAccountToken volume projections"));
        }
    }
    Ok(())
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
        None => object[field] = json!([item]),
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
    fn an_account_must_exist() {
        let expect = "pods \"web\" is forbidden: error looking up service account shop/nobody: \
                      serviceaccount \"nobody\" not found";
        assert_eq!(run(json!({"serviceAccountName": "nobody"})), Err(expect.to_owned()));
    }
}
