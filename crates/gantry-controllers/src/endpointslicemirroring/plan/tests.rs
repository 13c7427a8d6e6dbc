//! Mirrors of Endpoints objects, and how they follow them.

use gantry_json::{Value, json};

use super::*;

fn endpoints(metadata: Value, subsets: Value) -> Endpoints {
    let mut object =
        json!({"metadata": {"name": "db", "namespace": "shop", "uid": "e1"}, "subsets": subsets});
    object["metadata"].as_object_mut().unwrap().extend(metadata.as_object().unwrap().clone());
    gantry_json::from_value(object).expect("Endpoints")
}

/// The slices after `plan` was carried out.
fn carried_out(plan: Plan, slices: &[Arc<EndpointSlice>]) -> Vec<Arc<EndpointSlice>> {
    let mut after: Vec<_> = slices
        .iter()
        .filter(|slice| !plan.delete.iter().any(|gone| Arc::ptr_eq(gone, slice)))
        .cloned()
        .collect();
    for updated in plan.update {
        let at = after.iter().position(|slice| slice.metadata.name == updated.metadata.name);
        match at {
            Some(at) => after[at] = Arc::new(updated),
            None => after.push(Arc::new(updated)),
        }
    }
    for (number, mut new) in plan.create.into_iter().enumerate() {
        new.metadata.name = Some(format!("db-{}{number}", after.len()));
        after.push(Arc::new(new));
    }
    after
}

fn brief(slices: &[Arc<EndpointSlice>]) -> Vec<String> {
    let mut all: Vec<_> = slices
        .iter()
        .map(|slice| {
            let ports: Vec<_> = slice.ports.iter().flatten().filter_map(|port| port.port).collect();
            let endpoints = slice.endpoints.iter().map(|each| {
                let ready = each.conditions.as_ref().and_then(|conditions| conditions.ready);
                format!("{}{}", each.addresses[0], if ready == Some(true) { "" } else { "!" })
            });
            format!("{} {ports:?} {}", slice.address_type, endpoints.collect::<Vec<_>>().join(","))
        })
        .collect();
    all.sort();
    all
}

#[test]
fn slices_follow_the_subsets() {
    let ports = |number: i32| json!([{"port": number, "protocol": "TCP"}]);
    let mut slices = Vec::new();
    let mut check = |subsets: Value, expect: &[&str], written: (usize, usize, usize)| {
        let object = endpoints(json!({}), subsets);
        let planned = plan(&object, &slices);
        assert_eq!((planned.create.len(), planned.update.len(), planned.delete.len()), written);
        slices = carried_out(planned, &slices);
        assert_eq!(brief(&slices), expect);
        assert_eq!(plan(&object, &slices), Plan::default(), "looking again changes nothing");
    };
    check(json!([]), &[], (0, 0, 0));
    let one = json!([{"addresses": [{"ip": "192.0.2.2"}], "notReadyAddresses": [{"ip": "192.0.2.1"}], "ports": ports(80)}]);
    check(one.clone(), &["IPv4 [80] 192.0.2.1!,192.0.2.2"], (1, 0, 0));
    check(
        json!([{"addresses": [{"ip": "192.0.2.2"}], "ports": ports(80)}]),
        &["IPv4 [80] 192.0.2.2"],
        (0, 1, 0),
    );
    // Other ports take the slice over.
    check(
        json!([{"addresses": [{"ip": "192.0.2.2"}], "ports": ports(81)}]),
        &["IPv4 [81] 192.0.2.2"],
        (0, 1, 0),
    );
    let both = json!([
        {"addresses": [{"ip": "192.0.2.2"}, {"ip": "2001:db8::1"}], "ports": ports(81)},
        {"addresses": [{"ip": "192.0.2.3"}], "ports": ports(82)},
    ]);
    check(both, &["IPv4 [81] 192.0.2.2", "IPv4 [82] 192.0.2.3", "IPv6 [81] 2001:db8::1"], (2, 0, 0));
    check(one, &["IPv4 [80] 192.0.2.1!,192.0.2.2"], (0, 1, 2));
    check(json!([]), &[], (0, 0, 1));
}

#[test]
fn labels_and_annotations_are_mirrored() {
    let subsets = json!([{"addresses": [{"ip": "192.0.2.2", "hostname": "h", "nodeName": "n"}]}]);
    let metadata = json!({
        "labels": {"team": "a"},
        "annotations": {"note": "x", TRIGGER_TIME: "2026-01-01T00:00:00Z", LAST_APPLIED: "{}"},
    });
    let slices = carried_out(plan(&endpoints(metadata, subsets.clone()), &[]), &[]);
    let metadata = gantry_json::to_value(&slices[0].metadata).expect("JSON");
    assert_eq!(metadata["labels"], json!({"team": "a", SERVICE_NAME: "db", MANAGED_BY: CONTROLLER}));
    assert_eq!(metadata["annotations"], json!({"note": "x"}));
    assert_eq!(metadata["ownerReferences"][0]["kind"], "Endpoints");
    assert_eq!(
        (&slices[0].endpoints[0].hostname, &slices[0].endpoints[0].node_name),
        (&Some("h".into()), &Some("n".into()))
    );
    let relabelled = plan(&endpoints(json!({"labels": {"team": "b"}}), subsets), &slices);
    let update = &relabelled.update[0].metadata;
    assert_eq!(update.labels.as_ref().expect("some")["team"], "b");
    assert_eq!((&update.annotations, &update.name), (&None, &slices[0].metadata.name));
}

#[test]
fn too_many_and_wrong_addresses_are_left_out() {
    let many: Vec<_> = (0..1100).map(|n| json!({"ip": format!("192.0.{}.{}", n / 250, n % 250)})).collect();
    let wrong = json!([{"addresses": [{"ip": "x"}, {"ip": "192.0.2.1"}, {"ip": "192.0.2.1"}]}]);
    let planned = plan(&endpoints(json!({}), json!([{"addresses": many}])), &[]);
    assert_eq!((planned.create.len(), planned.create[0].endpoints.len()), (1, MOST));
    assert_eq!((planned.invalid, planned.skipped), (0, 100));
    let planned = plan(&endpoints(json!({}), wrong), &[]);
    assert_eq!((planned.create[0].endpoints.len(), planned.invalid, planned.skipped), (1, 1, 1));
}

#[test]
fn what_is_not_mirrored() {
    let check = |metadata: Value, selector: Value, expect: bool| {
        let service = json!({"metadata": {"name": "db"}, "spec": {"selector": selector}});
        let service: Service = gantry_json::from_value(service).expect("a Service");
        assert_eq!(
            is_mirrored(&endpoints(metadata.clone(), json!([])), &service),
            expect,
            "{metadata} {selector}"
        );
    };
    check(json!({}), Value::Null, true);
    check(json!({}), json!({}), true);
    check(json!({}), json!({"app": "db"}), false);
    check(json!({"labels": {SKIP: "true"}}), Value::Null, false);
    check(json!({"labels": {SKIP: "false"}}), Value::Null, true);
    check(json!({"annotations": {LOCK: "{}"}}), Value::Null, false);
}
