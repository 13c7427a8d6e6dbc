//! What is chosen of what a client accepts.

use super::*;

fn shape(accept: &str) -> Option<(Shape, &'static str)> {
    form(accept, |_, _| true).map(|form| (form.shape, form.meta))
}

fn check(accept: &str, expect: Option<Shape>) {
    assert_eq!(shape(accept).map(|(shape, _)| shape), expect, "{accept}");
}

#[test]
fn the_best_accepted_encoding_is_chosen() {
    let check = |accept, expect| {
        assert_eq!(form(accept, |_, _| true).map(|form| form.encoding), expect, "{accept}");
    };
    check("application/vnd.kubernetes.protobuf,application/json", Some(Encoding::Protobuf));
    check("application/vnd.kubernetes.protobuf;q=0.5,application/json", Some(Encoding::Json));
    check("application/vnd.kubernetes.protobuf;stream=watch", Some(Encoding::Protobuf));
    check("application/json;stream=log,application/yaml", Some(Encoding::Yaml));
    check("application/yaml", Some(Encoding::Yaml));
    check("application/yaml;stream=watch,application/json", Some(Encoding::Json));
    check("*/*, application/yaml", Some(Encoding::Yaml));
    check("*;q=0.3, application/*;q=0.3, application/yaml;q=0.2", Some(Encoding::Json));
    check("application/json;sv=v2, application/vnd.kubernetes.protobuf;sv=v1", Some(Encoding::Protobuf));
    check("application/json;q=0", Some(Encoding::Json));
    for nothing in ["application/cbor", "text/html", ",", " ", "application", "application/json/x", "text/*"]
    {
        check(nothing, None);
    }
}

#[test]
fn the_best_accepted_shape_is_chosen() {
    let metadata = |list| Some(Shape::Metadata { list });
    check("application/json", Some(Shape::Object));
    check("*/*", Some(Shape::Object));
    check("", Some(Shape::Object));
    check("application/vnd.kubernetes.protobuf", Some(Shape::Object));
    check("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", None);
    check("application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", metadata(false));
    check("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Some(Shape::Table));
    check("application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io", metadata(true));
    check("application/json;q=0.5, application/json;as=Table;v=v1;g=meta.k8s.io;q=0.9", Some(Shape::Table));
    for nothing in ["as=Table", "as=Table;v=v2;g=meta.k8s.io", "v=v1", "as=Chair;v=v1;g=meta.k8s.io"] {
        check(&format!("application/json;{nothing}"), None);
    }
}

#[test]
fn shapes_have_two_versions() {
    for meta in META {
        let (group, version) = meta.split_once('/').unwrap_or_default();
        let accept = format!("application/json;as=Table;v={version};g={group},application/json");
        assert_eq!(shape(&accept), Some((Shape::Table, meta)));
    }
}

#[test]
fn discovery_is_one_document_where_that_is_accepted_first() {
    let check = |accept: &str, expect| {
        let headers = HeaderMap::from_iter([(
            ACCEPT,
            accept.replace("IN-ONE", "g=apidiscovery.k8s.io").parse().unwrap(),
        )]);
        assert_eq!(accepts_aggregated_discovery(&headers), expect, "{accept}");
    };
    check("application/json;IN-ONE;v=v2;as=APIGroupDiscoveryList,application/json", true);
    check("application/json;IN-ONE;v=v2beta1;as=APIGroupDiscoveryList,application/json", false);
    check("application/json;IN-ONE;v=v2beta1;as=APIGroupDiscoveryList", false);
    check(
        "application/json;IN-ONE;v=v2beta1;as=APIGroupDiscoveryList,application/json;IN-ONE;v=v2;as=APIGroupDiscoveryList",
        true,
    );
    check("application/json,application/json;IN-ONE;v=v2;as=APIGroupDiscoveryList", false);
    check("application/json;q=0.5,application/json;IN-ONE;v=v2;as=APIGroupDiscoveryList", true);
    check("application/json;g=other;v=v2;as=APIGroupDiscoveryList", false);
    check("", false);
}
