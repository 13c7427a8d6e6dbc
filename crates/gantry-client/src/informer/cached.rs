//! What an informer keeps of an object.

use std::fmt::Debug;

use kube::Resource;
use serde::de::DeserializeOwned;

use crate::Meta;

/// A kind as an informer keeps it. Kinds themselves are kept whole but for `managedFields`; a
/// component that holds many objects defines a leaner type and keeps only what it reads.
pub trait Cached: Sized + Send + Sync + 'static {
    /// The kind that is watched.
    type Object: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static;

    /// Which objects are watched, as a field selector; all where `None`.
    const FIELDS: Option<&'static str> = None;

    /// What to keep of `object`.
    fn from_object(object: Self::Object) -> Self;

    /// The metadata, of which at least the name, the namespace, the owner references and the
    /// resource version are kept.
    fn meta(&self) -> &dyn Meta;
}

impl<K> Cached for K
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    type Object = K;

    fn from_object(mut object: K) -> K {
        object.meta_mut().managed_fields = None;
        object
    }

    fn meta(&self) -> &dyn Meta {
        Resource::meta(self)
    }
}
