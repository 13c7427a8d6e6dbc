//! Host names, `/etc/hosts` and `resolv.conf` of a pod.

use gantry_cri::v1::DNSConfig;
use k8s_openapi::api::core::v1::Pod;

use crate::pod;

/// The pod's host name: `spec.hostname` or its name, cut to 63 characters.
pub fn hostname(pod: &Pod) -> String {
    let spec = pod::spec(pod);
    if let Some(name) = &spec.hostname_override {
        return name.clone();
    }
    let name = spec.hostname.as_deref().filter(|h| !h.is_empty()).unwrap_or(pod::name(pod));
    name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_string()
}

/// The pod's domain, when it has a subdomain.
pub fn domain(pod: &Pod, cluster_domain: &str) -> Option<String> {
    if pod::spec(pod).hostname_override.is_some() {
        return None;
    }
    let subdomain = pod::spec(pod).subdomain.as_deref().filter(|s| !s.is_empty())?;
    Some(format!("{subdomain}.{}.svc.{cluster_domain}", pod::namespace(pod)))
}

/// Contents of the pod's `/etc/hosts`.
pub fn hosts(pod: &Pod, ips: &[String], cluster_domain: &str, node_hosts: &str) -> String {
    let mut text = if pod::host_network(pod) {
        format!("# Kubernetes-managed hosts file (host network).\n{node_hosts}")
    } else {
        let mut text = String::from(
            "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
             fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
        );
        let name = hostname(pod);
        for ip in ips {
            match domain(pod, cluster_domain) {
                Some(domain) => text.push_str(&format!("{ip}\t{name}.{domain}\t{name}\n")),
                None => text.push_str(&format!("{ip}\t{name}\n")),
            }
        }
        text
    };
    let aliases = pod::spec(pod).host_aliases.iter().flatten();
    let lines: Vec<String> = aliases
        .map(|a| format!("{}\t{}\n", a.ip, a.hostnames.clone().unwrap_or_default().join("\t")))
        .collect();
    if !lines.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        text.push_str(&lines.concat());
    }
    text
}

/// Reads a `resolv.conf`.
pub fn parse_resolv_conf(text: &str) -> DNSConfig {
    let mut config = DNSConfig::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => config.servers.extend(words.next().map(String::from)),
            Some("search") => config.searches = words.map(String::from).collect(),
            Some("options") => config.options.extend(words.map(String::from)),
            _ => {}
        }
    }
    config
}

/// Name servers that a resolver asks at most.
const MAX_SERVERS: usize = 3;
/// Domains that a resolver searches at most, and how long they are together.
const MAX_SEARCHES: (usize, usize) = (32, 2048);

/// The pod's resolver settings by `dnsPolicy` and `dnsConfig`, and what of them had to be left out.
pub fn dns(
    pod: &Pod,
    cluster_dns: &[String],
    cluster_domain: &str,
    node: &DNSConfig,
) -> (DNSConfig, Vec<String>) {
    let spec = pod::spec(pod);
    let policy = match spec.dns_policy.as_deref().unwrap_or("ClusterFirst") {
        "ClusterFirst" if pod::host_network(pod) => "Default",
        "ClusterFirstWithHostNet" => "ClusterFirst",
        policy => policy,
    };
    let mut config = match policy {
        "None" => DNSConfig::default(),
        "ClusterFirst" if !cluster_dns.is_empty() => {
            let namespace = pod::namespace(pod);
            let mut searches = vec![
                format!("{namespace}.svc.{cluster_domain}"),
                format!("svc.{cluster_domain}"),
                cluster_domain.to_string(),
            ];
            searches.extend(node.searches.iter().cloned());
            DNSConfig { servers: cluster_dns.to_vec(), searches, options: vec!["ndots:5".into()] }
        }
        _ => node.clone(),
    };
    if let Some(own) = &spec.dns_config {
        config.servers.extend(own.nameservers.iter().flatten().cloned());
        config.searches.extend(own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            config.options.retain(|o| o.split(':').next() != Some(name));
            config.options.push(match option.value.as_deref().filter(|v| !v.is_empty()) {
                Some(value) => format!("{name}:{value}"),
                None => name.clone(),
            });
        }
    }
    let mut seen = std::collections::HashSet::new();
    config.servers.retain(|s| seen.insert(s.clone()));
    seen.clear();
    config.searches.retain(|s| seen.insert(s.clone()));
    let mut omitted = Vec::new();
    if config.servers.len() > MAX_SERVERS {
        config.servers.truncate(MAX_SERVERS);
        omitted.push(format!(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: {}",
            config.servers.join(" ")
        ));
    }
    let asked = config.searches.len();
    config.searches.truncate(MAX_SEARCHES.0);
    while config.searches.join(" ").len() > MAX_SEARCHES.1 {
        config.searches.pop();
    }
    if config.searches.len() < asked {
        omitted.push(format!(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: {}",
            config.searches.join(" ")
        ));
    }
    (config, omitted)
}

/// The host name that a pod shows, which may be with its domain; an error when it is longer than the kernel can
/// keep.
pub fn shown_hostname(pod: &Pod, cluster_domain: &str) -> Result<String, String> {
    let name = hostname(pod);
    let full = match domain(pod, cluster_domain) {
        Some(domain) if pod::spec(pod).set_hostname_as_fqdn == Some(true) => format!("{name}.{domain}"),
        _ => return Ok(name),
    };
    if full.len() > HOSTNAME_LIMIT {
        return Err(format!(
            "Failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long \
             ({HOSTNAME_LIMIT} characters is the max, {} characters requested)",
            full.len()
        ));
    }
    Ok(full)
}

/// Characters of a host name that the kernel keeps.
const HOSTNAME_LIMIT: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_json::json;

    fn pod(spec: gantry_json::Value) -> Pod {
        gantry_json::from_value(json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec})).unwrap()
    }

    #[test]
    fn resolver_by_policy() {
        let node = parse_resolv_conf("nameserver 1.1.1.1\nsearch corp\noptions edns0\n");
        let cluster = ["10.43.0.10".to_string()];
        let make = |spec| dns(&pod(spec), &cluster, "cluster.local", &node).0;
        let first = make(json!({"containers": []}));
        assert_eq!(first.servers, ["10.43.0.10"]);
        assert_eq!(first.searches, ["n.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp"]);
        assert_eq!(first.options, ["ndots:5"]);
        assert_eq!(make(json!({"containers": [], "dnsPolicy": "Default"})), node);
        assert_eq!(make(json!({"containers": [], "hostNetwork": true})), node);
        let none = make(json!({"containers": [], "dnsPolicy": "None",
            "dnsConfig": {"nameservers": ["9.9.9.9"], "options": [{"name": "ndots", "value": "2"}]}}));
        assert_eq!((none.servers, none.options), (vec!["9.9.9.9".to_string()], vec!["ndots:2".to_string()]));
    }

    #[test]
    fn hosts_have_name_domain_and_aliases() {
        let pod = pod(json!({"containers": [], "hostname": "h", "subdomain": "s",
            "hostAliases": [{"ip": "1.2.3.4", "hostnames": ["a", "b"]}]}));
        let text = hosts(&pod, &["10.42.0.3".into()], "cluster.local", "");
        assert!(text.contains("10.42.0.3\th.s.n.svc.cluster.local\th\n"));
        assert!(text.ends_with("\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"));
    }
    #[test]
    fn resolvers_have_limits() {
        let pod = pod(json!({"containers": [], "dnsPolicy": "None", "dnsConfig": {
            "nameservers": ["1.1.1.1", "2.2.2.2", "3.3.3.3", "4.4.4.4"],
            "searches": [format!("{}.a", "x".repeat(1500)), "b", "c".repeat(600)]}}));
        let (config, omitted) = dns(&pod, &[], "cluster.local", &DNSConfig::default());
        assert_eq!((config.servers.len(), config.searches.len()), (3, 2));
        assert!(
            omitted[0].ends_with("the applied nameserver line is: 1.1.1.1 2.2.2.2 3.3.3.3"),
            "{omitted:?}"
        );
        assert!(omitted[1].starts_with("Search Line limits were exceeded"), "{omitted:?}");
    }

    #[test]
    fn full_host_names_have_a_limit() {
        let make = |length: usize| {
            pod(json!({"containers": [], "hostname": "h".repeat(length),
            "subdomain": "s", "setHostnameAsFQDN": true}))
        };
        // Another 22 characters: `.s.n.svc.cluster.local`.
        assert_eq!(shown_hostname(&make(42), "cluster.local").unwrap().len(), 64);
        let error = shown_hostname(&make(43), "cluster.local").unwrap_err();
        assert!(
            error.ends_with("is too long (64 characters is the max, 65 characters requested)"),
            "{error}"
        );
    }
}
