//! Objects as components watch them: without their managed fields.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::{Deserialize, Deserializer};

/// An object that is read without its managed fields, for watches: reading them takes as long as
/// reading everything else.
#[derive(Debug, Clone)]
pub struct Unmanaged<K>(pub K);

impl<'de, K: Deserialize<'de>> Deserialize<'de> for Unmanaged<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        gantry_api::unmanaged::deserialize(deserializer).map(Self)
    }
}

impl<K: Resource> Resource for Unmanaged<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(types: &K::DynamicType) -> Cow<'_, str> {
        K::kind(types)
    }

    fn group(types: &K::DynamicType) -> Cow<'_, str> {
        K::group(types)
    }

    fn version(types: &K::DynamicType) -> Cow<'_, str> {
        K::version(types)
    }

    fn api_version(types: &K::DynamicType) -> Cow<'_, str> {
        K::api_version(types)
    }

    fn plural(types: &K::DynamicType) -> Cow<'_, str> {
        K::plural(types)
    }

    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.meta_mut()
    }
}
