//! Service. Addresses and node ports are given by the API server's allocator.

use std::collections::HashSet;
use std::net::IpAddr;

use gantry_json::{Value, json};

use super::addresses;
use super::common::{
    default, dns_label, dns_subdomain, drop_status, items, keep_status, labels, legacy_cidr, legacy_ip, list,
    object, one_of, port, protocol, qualified_name, required_one_of, restore, sloppy_ip, text,
};
use super::probe::port_or_name;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The longest that a client is kept to its endpoint, in seconds.
const LONGEST_AFFINITY: i64 = 86400;
const ONLY_LOAD_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";
const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// The rules.
pub const RULES: Rules = Rules {
    default: set_defaults,
    prepare_create: |service| {
        drop_status(service);
        service["status"] = json!({"loadBalancer": {}});
    },
    prepare_update: |service, old| {
        keep_status(service, old);
        drop_dependent(&mut service["spec"], &old["spec"]);
    },
    validate,
    validate_update,
    validate_status: |service, _, _| {
        let mut errors = Vec::new();
        load_balancer_status(service, &mut errors);
        errors
    },
    selectable: |service| {
        vec![
            ("spec.clusterIP", text(&service["spec"], "clusterIP").into()),
            ("spec.type", text(&service["spec"], "type").into()),
        ]
    },
    warn: |service, _| warnings(service),
    ..Rules::NONE
};

fn set_defaults(service: &mut Value) {
    let Some(service) = service.as_object_mut() else { return };
    service.entry("status").or_insert_with(|| json!({"loadBalancer": {}}));
    let spec = object(service, "spec");
    default(spec, "type", "ClusterIP");
    default(spec, "sessionAffinity", "None");
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
    match spec.get("sessionAffinity").and_then(Value::as_str) {
        Some("ClientIP") => {
            let client = object(object(spec, "sessionAffinityConfig"), "clientIP");
            default(client, "timeoutSeconds", 10800);
        }
        Some("None") => drop(spec.remove("sessionAffinityConfig")),
        _ => {}
    }
    let outside = spec.get("externalIPs").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && outside) {
        default(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
    }
    if kind != "ExternalName" {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    for port in items(spec, "ports") {
        default(port, "protocol", "TCP");
        let unset = port.get("targetPort").is_none_or(|target| *target == 0 || *target == "");
        if let Some(number) = port.get("port").cloned().filter(|_| unset) {
            port.insert("targetPort".into(), number);
        }
    }
    if kind == "LoadBalancer" {
        for ingress in items(object(object(service, "status"), "loadBalancer"), "ingress") {
            if ingress.get("ip").is_some_and(|ip| *ip != "") {
                default(ingress, "ipMode", "VIP");
            }
        }
    }
}

/// Whether clients outside the cluster reach it.
fn is_reached_from_outside(spec: &Value) -> bool {
    match text(spec, "type") {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !list(spec, "externalIPs").is_empty(),
        _ => false,
    }
}

/// Whether load balancers ask which nodes have endpoints of it.
fn needs_health_check(spec: &Value) -> bool {
    text(spec, "type") == "LoadBalancer" && text(spec, "externalTrafficPolicy") == "Local"
}

/// Drops what the Service no longer can have and the client left as it was.
fn drop_dependent(spec: &mut Value, before: &Value) {
    for (field, needs) in [
        ("healthCheckNodePort", needs_health_check as fn(&Value) -> bool),
        ("externalTrafficPolicy", is_reached_from_outside),
    ] {
        if needs(before) && !needs(spec) && spec[field] == before[field] {
            restore(spec, &Value::Null, field);
        }
    }
}

/// Whether it has no address of its own on purpose.
fn is_headless(spec: &Value) -> bool {
    match list(spec, "clusterIPs") {
        [] => text(spec, "clusterIP") == "None",
        [only] => only == "None",
        _ => false,
    }
}

fn validate(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (path, spec) = (Path::new("spec"), &service["spec"]);
    let annotations = &service["metadata"]["annotations"];
    let notes = Path::new("metadata").child("annotations");
    if let (Some(mode), Some(hints)) = (annotations[MODE].as_str(), annotations[HINTS].as_str())
        && mode != hints
    {
        let words = format!("must match annotations[{HINTS}] when both are specified");
        errors.push(FieldError::invalid(&notes.key(MODE), mode, words));
    }
    let (kind, headless) = (text(spec, "type"), is_headless(spec));
    let ports = list(spec, "ports");
    if ports.is_empty() && kind != "ExternalName" && !headless {
        errors.push(FieldError::required(&path.child("ports"), ""));
    }
    match kind {
        "NodePort" | "LoadBalancer" if headless => errors.push(FieldError::invalid(
            &path.child("clusterIPs").index(0),
            "None",
            format!("may not be set to 'None' for {kind} services"),
        )),
        "ExternalName" => external_name(&path, spec, &mut errors),
        _ => {}
    }
    for (at, each) in ports.iter().enumerate() {
        service_port(&path.child("ports").index(at), each, &ports[..at], ports.len() > 1, &mut errors);
    }
    labels(&path.child("selector"), &spec["selector"], &mut errors);
    affinity(&path, spec, &mut errors);
    if kind != "ExternalName" {
        cluster_ips(&path, spec, headless, &mut errors);
    }
    for (at, address) in list(spec, "externalIPs").iter().filter_map(Value::as_str).enumerate() {
        let (path, before) = (path.child("externalIPs").index(at), errors.len());
        legacy_ip(&path, address, &mut errors);
        if errors.len() == before {
            addresses::not_special(&path, address, &mut errors);
        }
    }
    let kinds = ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
    required_one_of(&path.child("type"), kind, &kinds, &mut errors);
    port_numbers(&path.child("ports"), kind, ports, &mut errors);
    source_ranges(&path, &notes, service, &mut errors);
    load_balancer(&path, spec, &mut errors);
    traffic(&path, spec, &mut errors);
    errors
}

fn external_name(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let words = "may not be set for ExternalName services";
    for field in ["clusterIPs", "ipFamilies"].into_iter().filter(|field| !list(spec, field).is_empty()) {
        errors.push(FieldError::forbidden(&path.child(field), words));
    }
    if !spec["ipFamilyPolicy"].is_null() {
        errors.push(FieldError::forbidden(&path.child("ipFamilyPolicy"), words));
    }
    let name = text(spec, "externalName");
    match name.strip_suffix('.').unwrap_or(name) {
        "" => errors.push(FieldError::required(&path.child("externalName"), "")),
        name => dns_subdomain(&path.child("externalName"), name, errors),
    }
}

fn service_port(path: &Path, each: &Value, before: &[Value], named: bool, errors: &mut Vec<FieldError>) {
    match text(each, "name") {
        "" if named => errors.push(FieldError::required(&path.child("name"), "")),
        "" => {}
        name => {
            dns_label(&path.child("name"), name, errors);
            if before.iter().any(|other| text(other, "name") == name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
        }
    }
    port(&path.child("port"), &each["port"], errors);
    protocol(&path.child("protocol"), text(each, "protocol"), errors);
    port_or_name(&path.child("targetPort"), &each["targetPort"], errors);
    if let Some(name) = each["appProtocol"].as_str() {
        qualified_name(&path.child("appProtocol"), name, errors);
    }
}

fn affinity(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let (kind, config) = (text(spec, "sessionAffinity"), &spec["sessionAffinityConfig"]);
    required_one_of(&path.child("sessionAffinity"), kind, &["ClientIP", "None"], errors);
    let path = path.child("sessionAffinityConfig");
    match kind {
        "None" if config.is_object() => {
            let words = "must not be set when session affinity is None";
            errors.push(FieldError::forbidden(&path, words));
        }
        "ClientIP" => {
            let needed = "when session affinity type is ClientIP";
            let (client, timeout) = (path.child("clientIP"), &config["clientIP"]["timeoutSeconds"]);
            let at = client.child("timeoutSeconds");
            match timeout.as_i64() {
                _ if !config.is_object() => errors.push(FieldError::required(&path, needed)),
                _ if !config["clientIP"].is_object() => errors.push(FieldError::required(&client, needed)),
                None => errors.push(FieldError::required(&at, needed)),
                Some(seconds) if !(1..=LONGEST_AFFINITY).contains(&seconds) => {
                    let words = format!("must be greater than 0 and less than {LONGEST_AFFINITY}");
                    errors.push(FieldError::invalid(&at, seconds, words));
                }
                Some(_) => {}
            }
        }
        _ => {}
    }
}

fn cluster_ips(path: &Path, spec: &Value, headless: bool, errors: &mut Vec<FieldError>) {
    let (at, given) = (path.child("clusterIPs"), list(spec, "clusterIPs"));
    let families = list(spec, "ipFamilies");
    let (first, shown) = (text(spec, "clusterIP"), || Value::Array(given.to_vec()));
    // Where there are none yet, the allocator gives them.
    if let Some(other) = given.first().filter(|other| *other != first) {
        let words = match (first, other) {
            ("", _) => "must be empty when `clusterIP` is not specified",
            _ => "first value must match `clusterIP`",
        };
        errors.push(FieldError::invalid(&at, shown(), words));
    }
    for (index, family) in families.iter().enumerate() {
        let path = path.child("ipFamilies").index(index);
        one_of(&path, family.as_str().unwrap_or_default(), &["IPv4", "IPv6"], errors);
        if families[..index].contains(family) {
            errors.push(FieldError::duplicate(&path, family.clone()));
        }
    }
    if let Some(policy) = spec["ipFamilyPolicy"].as_str() {
        let known = ["PreferDualStack", "RequireDualStack", "SingleStack"];
        one_of(&path.child("ipFamilyPolicy"), policy, &known, errors);
    }
    let before = errors.len();
    for (index, address) in given.iter().filter_map(Value::as_str).enumerate() {
        if index == 0 && address == "None" {
            if given.len() > 1 {
                let words = "'None' must be the first and only value";
                errors.push(FieldError::invalid(&at, shown(), words));
            }
            continue;
        }
        legacy_ip(&at.index(index), address, errors);
    }
    let wrong = errors.len() > before;
    if given.len() > 2 {
        errors.push(FieldError::invalid(&at, shown(), "may only hold up to 2 values"));
    }
    if wrong {
        return;
    }
    let parsed: Vec<IpAddr> = given.iter().filter_map(|each| sloppy_ip(each.as_str()?)).collect();
    let both = parsed.iter().any(IpAddr::is_ipv4) && parsed.iter().any(IpAddr::is_ipv6);
    if given.len() > 1 && !both {
        let words = "may specify no more than one IP for each IP family";
        errors.push(FieldError::invalid(&at, shown(), words));
    }
    if headless {
        return;
    }
    for (index, (address, family)) in parsed.iter().zip(families).enumerate() {
        let expected = match family.as_str() {
            Some("IPv4") if address.is_ipv6() => "an IPv4",
            Some("IPv6") if address.is_ipv4() => "an IPv6",
            _ => continue,
        };
        let words = format!("expected {expected} value as indicated by `ipFamilies[{index}]`");
        errors.push(FieldError::invalid(&at.index(index), given[index].clone(), words));
    }
}

fn port_numbers(path: &Path, kind: &str, ports: &[Value], errors: &mut Vec<FieldError>) {
    let node_port = |port: &Value| port["nodePort"].as_i64().filter(|number| *number != 0);
    if kind == "ClusterIP" {
        for (at, _) in ports.iter().enumerate().filter(|(_, port)| node_port(port).is_some()) {
            let words = "may not be used when `type` is 'ClusterIP'";
            errors.push(FieldError::forbidden(&path.index(at).child("nodePort"), words));
        }
    }
    let mut seen = HashSet::new();
    for (at, port) in ports.iter().enumerate() {
        if let Some(number) = node_port(port)
            && !seen.insert((text(port, "protocol"), number))
        {
            errors.push(FieldError::duplicate(&path.index(at).child("nodePort"), number));
        }
    }
    let mut seen = HashSet::new();
    for (at, port) in ports.iter().enumerate() {
        let (protocol, number) = (text(port, "protocol"), port["port"].as_i64());
        if !seen.insert((protocol, number)) {
            errors
                .push(FieldError::duplicate(&path.index(at), json!({"port": number, "protocol": protocol})));
        }
    }
}

fn source_ranges(path: &Path, notes: &Path, service: &Value, errors: &mut Vec<FieldError>) {
    let spec = &service["spec"];
    let balanced = text(spec, "type") == "LoadBalancer";
    let ranges = list(spec, "loadBalancerSourceRanges");
    let note = service["metadata"]["annotations"][SOURCE_RANGES].as_str();
    // The field begins with a capital in upstream's paths.
    let at = match (ranges.is_empty(), note) {
        (false, _) => path.child("LoadBalancerSourceRanges"),
        (true, Some(_)) => notes.key(SOURCE_RANGES),
        (true, None) => return,
    };
    if !balanced {
        errors.push(FieldError::forbidden(&at, ONLY_LOAD_BALANCERS));
    }
    for (index, range) in ranges.iter().filter_map(Value::as_str).enumerate() {
        legacy_cidr(&at.index(index), range.trim(), errors);
    }
    if let Some(note) = note.filter(|note| ranges.is_empty() && !note.trim().is_empty()) {
        note.split(',').for_each(|range| legacy_cidr(&at, range.trim(), errors));
    }
}

fn load_balancer(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let balanced = text(spec, "type") == "LoadBalancer";
    let allocates = &spec["allocateLoadBalancerNodePorts"];
    if !allocates.is_null() && !balanced {
        let at = path.child("allocateLoadBalancerNodePorts");
        errors.push(FieldError::forbidden(&at, ONLY_LOAD_BALANCERS));
    }
    if balanced && allocates.is_null() {
        errors.push(FieldError::required(&Path::new("allocateLoadBalancerNodePorts"), ""));
    }
    let at = path.child("loadBalancerClass");
    match spec["loadBalancerClass"].as_str() {
        Some(class) if balanced => qualified_name(&at, class, errors),
        Some(_) => errors.push(FieldError::forbidden(&at, ONLY_LOAD_BALANCERS)),
        None => {}
    }
}

fn traffic(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let (at, policy) = (path.child("externalTrafficPolicy"), text(spec, "externalTrafficPolicy"));
    if is_reached_from_outside(spec) {
        required_one_of(&at, policy, &["Cluster", "Local"], errors);
    } else if !policy.is_empty() {
        let words = "may only be set for externally-accessible services";
        errors.push(FieldError::invalid(&at, policy, words));
    }
    let (at, number) = (path.child("healthCheckNodePort"), &spec["healthCheckNodePort"]);
    // Where it is needed and not given, the allocator gives it.
    if number.as_i64().is_some_and(|number| number != 0) {
        match needs_health_check(spec) {
            true => port(&at, number, errors),
            false => {
                let words =
                    "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
                errors.push(FieldError::invalid(&at, number.clone(), words));
            }
        }
    }
    let at = path.child("internalTrafficPolicy");
    match spec["internalTrafficPolicy"].as_str() {
        Some(policy) => one_of(&at, policy, &["Cluster", "Local"], errors),
        None if matches!(text(spec, "type"), "NodePort" | "LoadBalancer" | "ClusterIP") => {
            errors.push(FieldError::required(&at, ""));
        }
        None => {}
    }
    if let Some(distribution) = spec["trafficDistribution"].as_str() {
        let known = ["PreferClose", "PreferSameNode", "PreferSameZone"];
        one_of(&path.child("trafficDistribution"), distribution, &known, errors);
    }
}

fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let (spec, before) = (&new["spec"], &old["spec"]);
    let external = [spec, before].iter().any(|spec| text(spec, "type") == "ExternalName");
    let (headless, was_headless) = (is_headless(spec), is_headless(before));
    if !(external || headless && was_headless) {
        kept(spec, before, "clusterIPs", "clusterIP", &mut errors);
    }
    if !(external || headless || was_headless) {
        kept(spec, before, "ipFamilies", "ipFamily", &mut errors);
    }
    let both = |test: fn(&Value) -> bool| [spec, before].into_iter().all(test);
    let (class, path) = ("loadBalancerClass", Path::new("spec"));
    if both(|spec| text(spec, "type") == "LoadBalancer") && spec[class] != before[class] {
        let words = "may not change once set";
        errors.push(FieldError::invalid(&path.child(class), spec[class].clone(), words));
    }
    let number = "healthCheckNodePort";
    if both(needs_health_check) && spec[number] != before[number] {
        errors.push(FieldError::forbidden(&path.child(number), "field is immutable"));
    }
    errors
}

/// Checks that what was given in a list was not changed; a second one may come and go.
fn kept(spec: &Value, before: &Value, field: &str, one: &str, errors: &mut Vec<FieldError>) {
    let path = Path::new("spec").child(field);
    let (new, old) = (list(spec, field), list(before, field));
    let shown = || Value::Array(new.to_vec());
    if new.is_empty() && !old.is_empty() {
        let detail = format!("primary {one} can not be unset");
        errors.push(FieldError::invalid(&path.index(0), shown(), detail));
    }
    for (at, _) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new != old) {
        errors.push(FieldError::invalid(&path.index(at), shown(), "may not change once set"));
    }
    let policy = &spec["ipFamilyPolicy"];
    if new.len() == 1 && old.len() == 2 && policy != "SingleStack" {
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        let path = Path::new("spec").child("ipFamilyPolicy");
        errors.push(FieldError::invalid(&path, policy.clone(), detail));
    }
}

/// Checks where a load balancer says that it listens.
fn load_balancer_status(service: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::new("status").child("loadBalancer").child("ingress");
    let ingress = list(&service["status"]["loadBalancer"], "ingress");
    if !ingress.is_empty() && text(&service["spec"], "type") != "LoadBalancer" {
        let words = "may only be used when `spec.type` is 'LoadBalancer'";
        return errors.push(FieldError::forbidden(&path, words));
    }
    for (at, each) in ingress.iter().enumerate() {
        let (path, ip, host) = (path.index(at), text(each, "ip"), text(each, "hostname"));
        if !ip.is_empty() {
            legacy_ip(&path.child("ip"), ip, errors);
        }
        let mode = path.child("ipMode");
        match each["ipMode"].as_str() {
            None if !ip.is_empty() => {
                errors.push(FieldError::required(&mode, "must be specified when `ip` is set"));
            }
            None => {}
            Some(_) if ip.is_empty() => {
                errors.push(FieldError::forbidden(&mode, "may not be specified when `ip` is not set"));
            }
            Some(value) => one_of(&mode, value, &["Proxy", "VIP"], errors),
        }
        if !host.is_empty() {
            dns_subdomain(&path.child("hostname"), host, errors);
            if sloppy_ip(host).is_some() {
                let words = "must be a DNS name, not an IP address";
                errors.push(FieldError::invalid(&path.child("hostname"), host, words));
            }
        }
    }
}

fn warnings(service: &Value) -> Vec<String> {
    let mut warnings = Vec::new();
    let (path, spec) = (Path::new("spec"), &service["spec"]);
    if !service["metadata"]["annotations"][HINTS].is_null() {
        warnings.push(format!("annotation {HINTS} is deprecated, please use {MODE} instead"));
    }
    if is_headless(spec) {
        for (field, used) in [
            ("loadBalancerIP", !text(spec, "loadBalancerIP").is_empty()),
            ("externalIPs", !list(spec, "externalIPs").is_empty()),
            ("SessionAffinity", text(spec, "sessionAffinity") != "None"),
        ] {
            if used {
                warnings.push(format!("spec.{field} is ignored for headless services"));
            }
        }
    }
    for field in ["clusterIPs", "externalIPs"] {
        for (at, address) in list(spec, field).iter().filter_map(Value::as_str).enumerate() {
            addresses::of_ip(&path.child(field).index(at), address, &mut warnings);
        }
    }
    if !text(spec, "loadBalancerIP").is_empty() {
        addresses::of_ip(&path.child("loadBalancerIP"), text(spec, "loadBalancerIP"), &mut warnings);
    }
    for (at, range) in list(spec, "loadBalancerSourceRanges").iter().filter_map(Value::as_str).enumerate() {
        addresses::of_cidr(&path.child("loadBalancerSourceRanges").index(at), range, &mut warnings);
    }
    warnings
}
