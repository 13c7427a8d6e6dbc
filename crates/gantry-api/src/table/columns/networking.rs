//! The columns of what leads traffic to pods.

use gantry_json::{Value, json};
use k8s_openapi::api::networking;

use super::super::about::{field, words};
use super::workloads::selector;
use super::{AGE, Column, NAME, column, joined, list, named, text};

pub(super) const INGRESS: &[Column] = &[
    NAME,
    column("Class", "string", 0, words("The IngressClass that the ingress belongs to."), |object, _| {
        let annotated = &object["metadata"]["annotations"]["kubernetes.io/ingress.class"];
        let class = &object["spec"]["ingressClassName"];
        text(if class.is_string() { class } else { annotated }, "<none>")
    }),
    column("Hosts", "string", 0, words("The hosts that rules are for."), |object, _| json!(hosts(object))),
    column("Address", "string", 0, words("Where the load balancer takes requests."), |object, _| {
        let addresses = list(&object["status"]["loadBalancer"]["ingress"])
            .filter_map(|each| each["ip"].as_str().or(each["hostname"].as_str()));
        json!(addresses.collect::<Vec<_>>().join(","))
    }),
    column("Ports", "string", 0, words("The ports that are open."), |object, _| {
        json!(if list(&object["spec"]["tls"]).next().is_some() { "80, 443" } else { "80" })
    }),
    AGE,
];

/// The first three hosts, and how many more there are.
fn hosts(ingress: &Value) -> String {
    let all: Vec<&str> = list(&ingress["spec"]["rules"])
        .filter_map(|rule| rule["host"].as_str())
        .filter(|host| !host.is_empty())
        .collect();
    match all.len() {
        0 => "*".to_owned(),
        1..=3 => all.join(","),
        count => format!("{} + {} more...", all[..3].join(","), count - 3),
    }
}

pub(super) const INGRESS_CLASS: &[Column] = &[
    NAME,
    column("Controller", "string", 0, words("The controller of the class."), |object, _| {
        text(&object["spec"]["controller"], "")
    }),
    column("Parameters", "string", 0, words("The object with further parameters."), |object, _| {
        let parameters = &object["spec"]["parameters"];
        if !parameters.is_object() {
            return json!("<none>");
        }
        let group = parameters["apiGroup"].as_str().map(|group| format!(".{group}")).unwrap_or_default();
        json!(format!("{}{group}/{}", named(parameters, "kind"), named(parameters, "name")))
    }),
    AGE,
];

pub(super) const NETWORK_POLICY: &[Column] = &[
    NAME,
    column(
        "Pod-Selector",
        "string",
        0,
        field::<networking::v1::NetworkPolicySpec>("podSelector"),
        |object, _| selector(&object["spec"]["podSelector"]),
    ),
    AGE,
];

/// Upstream shows no age.
pub(super) const IP_ADDRESS: &[Column] = &[
    NAME,
    column("ParentRef", "string", 0, field::<networking::v1::IPAddressSpec>("parentRef"), |object, _| {
        let parent = &object["spec"]["parentRef"];
        let parts = ["group", "resource", "namespace", "name"].map(|key| named(parent, key));
        let mut shown = parts[1].clone();
        if !parts[0].is_empty() {
            shown = format!("{shown}.{}", parts[0]);
        }
        for part in parts[2..].iter().filter(|part| !part.is_empty()) {
            shown = format!("{shown}/{part}");
        }
        json!(shown)
    }),
];

pub(super) const SERVICE_CIDR: &[Column] = &[
    NAME,
    column("CIDRs", "string", 0, field::<networking::v1::ServiceCIDRSpec>("cidrs"), |object, _| {
        joined(list(&object["spec"]["cidrs"]).filter_map(|each| each.as_str().map(str::to_owned)))
    }),
    AGE,
];
