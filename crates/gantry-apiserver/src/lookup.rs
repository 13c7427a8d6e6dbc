//! Reading single objects for authentication and admission.

use gantry_api::unmanaged;
use gantry_json::Value;
use gantry_store::Snapshot;
use memchr::memmem;

/// Objects as of some moment. `namespace` is empty for what is in none.
pub trait Lookup: Send + Sync {
    /// The object without its managed fields, parsed.
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Value>;

    /// Whether there is such an object.
    fn has(&self, group: &str, resource: &str, namespace: &str, name: &str) -> bool {
        self.get(group, resource, namespace, name).is_some()
    }

    /// As [`Lookup::get`], where the object is only wanted if it holds `json`, written without spaces. It
    /// may be given without.
    fn get_with(
        &self,
        group: &str,
        resource: &str,
        namespace: &str,
        name: &str,
        json: &str,
    ) -> Option<Value> {
        let _ = json;
        self.get(group, resource, namespace, name)
    }

    /// Every object of a namespace (of the whole cluster, when that is empty), likewise.
    fn list(&self, group: &str, resource: &str, namespace: &str) -> Vec<Value>;

    /// As [`Lookup::list`], where only objects are wanted that hold `json`, written without spaces. Others
    /// may be among them.
    fn list_with(&self, group: &str, resource: &str, namespace: &str, json: &str) -> Vec<Value> {
        let _ = json;
        self.list(group, resource, namespace)
    }
}

/// The key of an object, or with no name what those of all begin with.
fn key(group: &str, resource: &str, namespace: &str, name: &str) -> String {
    const ROOT: &str = "/registry/";
    let parts = [group, resource, namespace];
    let length = parts.iter().map(|part| part.len() + 1).sum::<usize>();
    let mut key = String::with_capacity(ROOT.len() + length + name.len());
    key.push_str(ROOT);
    for part in parts {
        if !part.is_empty() {
            key.push_str(part);
            key.push('/');
        }
    }
    key.push_str(name);
    key
}

impl Lookup for Snapshot {
    fn get(&self, group: &str, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.get_with(group, resource, namespace, name, "")
    }

    fn has(&self, group: &str, resource: &str, namespace: &str, name: &str) -> bool {
        Snapshot::get(self, &key(group, resource, namespace, name)).is_some()
    }

    fn get_with(
        &self,
        group: &str,
        resource: &str,
        namespace: &str,
        name: &str,
        json: &str,
    ) -> Option<Value> {
        let entry = Snapshot::get(self, &key(group, resource, namespace, name))?;
        let holds = json.is_empty() || memmem::find(&entry.value, json.as_bytes()).is_some();
        holds.then(|| unmanaged::from_slice(&entry.value).ok()).flatten()
    }

    fn list(&self, group: &str, resource: &str, namespace: &str) -> Vec<Value> {
        self.list_with(group, resource, namespace, "")
    }

    fn list_with(&self, group: &str, resource: &str, namespace: &str, json: &str) -> Vec<Value> {
        let prefix = key(group, resource, namespace, "");
        let finder = memmem::Finder::new(json);
        let found = self.range(&prefix, None).filter(|entry| finder.find(&entry.value).is_some());
        found.filter_map(|entry| unmanaged::from_slice(&entry.value).ok()).collect()
    }
}

/// A few objects under their resource, for tests.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Objects(pub(crate) Vec<(&'static str, Value)>);

#[cfg(test)]
impl Lookup for Objects {
    fn get(&self, _: &str, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        self.list("", resource, namespace).into_iter().find(|object| object["metadata"]["name"] == name)
    }

    fn list(&self, _: &str, resource: &str, namespace: &str) -> Vec<Value> {
        let here = |object: &Value| {
            namespace.is_empty() || object["metadata"]["namespace"].as_str().unwrap_or("") == namespace
        };
        let all = self.0.iter().filter(|(kind, object)| *kind == resource && here(object));
        all.map(|(_, object)| object.clone()).collect()
    }
}
