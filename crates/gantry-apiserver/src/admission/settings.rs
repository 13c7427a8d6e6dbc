//! How a server's plugins are chosen and configured: by name, and by an AdmissionConfiguration
//! (`apiserver.config.k8s.io/v1`) that holds or names a document for each plugin that takes one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantry_json::Value;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::plugins::Chosen;
use super::pod_security::Configuration as PodSecurity;
use super::resource_quota::Limits;
use crate::Error;
use crate::webhook::Credentials;

/// The names and versions of an AdmissionConfiguration.
const KINDS: [(&str, &str); 2] = [
    ("apiserver.config.k8s.io/v1", "AdmissionConfiguration"),
    ("apiserver.k8s.io/v1alpha1", "AdmissionConfiguration"),
];

/// How plugins are chosen and configured.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// An AdmissionConfiguration.
    pub configuration_file: Option<PathBuf>,
    /// Plugins that are on beside those that are on by default.
    pub enabled: Vec<String>,
    /// Plugins that are off although they are on by default.
    pub disabled: Vec<String>,
}

/// What settings amount to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Configuration {
    /// Which plugins are on.
    pub(super) chosen: Chosen,
    /// What namespaces are held to that say nothing, and who is held to nothing.
    pub(super) pod_security: PodSecurity,
    /// What may be used only where a quota speaks of it.
    pub(super) limits: Limits,
    /// How the server shows itself to webhooks that change objects, and to those that only look.
    pub webhooks: [Arc<Credentials>; 2],
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Document {
    plugins: Vec<Plugin>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Plugin {
    name: String,
    path: String,
    configuration: Value,
}

impl Settings {
    /// What the settings amount to.
    pub(crate) fn resolve(&self) -> Result<Configuration, Error> {
        let wrong = |why: String| Error::config("admission", why);
        let chosen = Chosen::new(&self.enabled, &self.disabled).map_err(wrong)?;
        let mut configuration = Configuration { chosen, ..Configuration::default() };
        let Some(file) = &self.configuration_file else { return Ok(configuration) };
        let shown = file.display();
        let unreadable = |why: String| {
            wrong(format!("unable to read admission control configuration from {shown}: {why}"))
        };
        let text = std::fs::read_to_string(file).map_err(|error| unreadable(error.to_string()))?;
        let document: Document = read(parse(&text).map_err(unreadable)?, &KINDS).map_err(unreadable)?;
        let directory = file.parent().unwrap_or(Path::new("/"));
        for plugin in document.plugins {
            let name = plugin.name.clone();
            configuration
                .take(plugin, directory)
                .map_err(|why| wrong(format!("{shown}: configuration of plugin {name:?}: {why}")))?;
        }
        Ok(configuration)
    }
}

impl Configuration {
    /// Takes over the configuration of one plugin; paths are below `directory`.
    fn take(&mut self, plugin: Plugin, directory: &Path) -> Result<(), String> {
        let document = match plugin.configuration {
            Value::Null if plugin.path.is_empty() => return Ok(()),
            Value::Null => {
                let path = directory.join(&plugin.path);
                let text = std::fs::read_to_string(&path);
                parse(&text.map_err(|error| format!("{}: {error}", path.display()))?)?
            }
            document => document,
        };
        match plugin.name.as_str() {
            "PodSecurity" => self.pod_security = PodSecurity::read(document)?,
            "ResourceQuota" => self.limits = Limits::read(document)?,
            "MutatingAdmissionWebhook" => self.webhooks[0] = Arc::new(webhook(document)?),
            "ValidatingAdmissionWebhook" => self.webhooks[1] = Arc::new(webhook(document)?),
            // As upstream does, nobody asks for what no plugin takes.
            _ => {}
        }
        Ok(())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Webhooks {
    kube_config_file: String,
}

/// The credentials in the kubeconfig that a WebhookAdmissionConfiguration names.
fn webhook(document: Value) -> Result<Credentials, String> {
    const KINDS: [(&str, &str); 2] = [
        ("apiserver.config.k8s.io/v1", "WebhookAdmissionConfiguration"),
        ("apiserver.config.k8s.io/v1alpha1", "WebhookAdmission"),
    ];
    let read: Webhooks = read(document, &KINDS)?;
    let file = Path::new(&read.kube_config_file);
    if read.kube_config_file.is_empty() {
        return Ok(Credentials::default());
    }
    if !file.is_absolute() {
        let field = gantry_api::field::Path::new("kubeConfigFile");
        let why = "must be an absolute file path";
        return Err(
            gantry_api::field::FieldError::invalid(&field, read.kube_config_file.as_str(), why).to_string()
        );
    }
    Credentials::from_kubeconfig(file).map_err(|error| error.to_string())
}

fn parse(text: &str) -> Result<Value, String> {
    serde_yaml_ng::from_str(text).map_err(|error| error.to_string())
}

/// A document of one of some versions and kinds.
pub(super) fn read<T: DeserializeOwned>(mut document: Value, kinds: &[(&str, &str)]) -> Result<T, String> {
    let mut take = |field: &str| {
        let value = document.as_object_mut().and_then(|fields| fields.remove(field));
        value.and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
    };
    let (version, kind) = (take("apiVersion"), take("kind"));
    if !kinds.contains(&(version.as_str(), kind.as_str())) {
        let (expected, name) = kinds.first().copied().unwrap_or_default();
        return Err(format!(
            "no kind {kind:?} is registered for version {version:?}: {name} of {expected} is expected"
        ));
    }
    gantry_json::from_value(document).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str, more: &[(&str, &str)]) -> Result<Configuration, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("admission.yaml");
        std::fs::write(&file, text).unwrap();
        for (name, text) in more {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let settings = Settings { configuration_file: Some(file), ..Settings::default() };
        settings.resolve().map_err(|error| error.to_string())
    }

    const HEAD: &str = "{apiVersion: apiserver.config.k8s.io/v1, kind: AdmissionConfiguration, plugins: ";

    #[test]
    fn documents_stand_inside_or_beside() {
        let inside = "[{name: PodSecurity, configuration: {kind: PodSecurityConfiguration, \
            apiVersion: pod-security.admission.config.k8s.io/v1, exemptions: {namespaces: [a]}}}]}";
        let read = resolve(&format!("{HEAD}{inside}"), &[]).unwrap();
        assert_eq!(read.pod_security.exemptions.namespaces, ["a"]);
        let beside =
            "[{name: PodSecurity, path: p.yaml}, {name: Unknown, path: none.yaml, configuration: {}}]}";
        let text = "{kind: PodSecurityConfiguration, apiVersion: pod-security.admission.config.k8s.io/v1beta1, \
            exemptions: {usernames: [u]}}";
        let read = resolve(&format!("{HEAD}{beside}"), &[("p.yaml", text)]).unwrap();
        assert_eq!(read.pod_security.exemptions.usernames, ["u"]);
    }

    #[test]
    fn what_is_none_is_told() {
        let check = |text: &str, expect: &str| {
            let error = resolve(text, &[]).unwrap_err();
            assert!(error.contains(expect), "{error}");
        };
        check("{apiVersion: v1, kind: Pod}", "no kind \"Pod\" is registered for version \"v1\"");
        check(&format!("{HEAD}[{{name: PodSecurity, path: none.yaml}}]}}"), "none.yaml: No such file");
        let kind = "{name: PodSecurity, configuration: {kind: Pod}}";
        check(&format!("{HEAD}[{kind}]}}"), "configuration of plugin \"PodSecurity\": no kind \"Pod\"");
        let webhook = "{name: ValidatingAdmissionWebhook, configuration: {kind: WebhookAdmissionConfiguration, \
            apiVersion: apiserver.config.k8s.io/v1, kubeConfigFile: k.yaml}}";
        check(
            &format!("{HEAD}[{webhook}]}}"),
            "kubeConfigFile: Invalid value: \"k.yaml\": must be an absolute file path",
        );
    }
}
