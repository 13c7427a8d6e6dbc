//! Earlier pod templates of a workload, kept as ControllerRevisions, to go back to.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use gantry_client::Informer;
use gantry_json::{Value, json};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::Selector;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::answer;
use crate::claim::{self, ClaimError, claims, controller_of, controller_reference};
use crate::deployment::template::{hash, same};
use crate::writes::{MANAGER, is_gone};

/// The label of pods with what they were made from.
pub(crate) const REVISION_LABEL: &str = "controller-revision-hash";
/// How many names are tried for a template.
const NAMES: i32 = 8;

/// The template that a revision keeps.
pub(crate) fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0.pointer("/spec/template")?.clone();
    template.as_object_mut()?.remove("$patch");
    PodTemplateSpec::deserialize(template).ok()
}

/// What a revision keeps: a patch that makes the workload's template this one.
fn data(template: &PodTemplateSpec) -> Value {
    let mut template = gantry_json::to_value(template).unwrap_or_default();
    template["$patch"] = "replace".into();
    json!({"spec": {"template": template}})
}

/// The revisions of `owner`, after those were adopted that `selector` selects and that nobody controls: left
/// behind by an earlier owner of that name. Where `releases`, those that it no longer selects are given up.
pub(crate) async fn revisions_of<O>(
    client: &Client,
    owner: &O,
    selector: &LabelSelector,
    revisions: &Informer<ControllerRevision>,
    releases: bool,
) -> Result<Vec<Arc<ControllerRevision>>, ClaimError>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let controlled = revisions.controlled_by(owner.meta().uid.as_deref().unwrap_or_default());
    // A selector that selects everything is never meant.
    let selector = Selector::try_from(selector.clone()).ok().filter(|selector| !selector.selects_all());
    let Some(selector) = selector else { return Ok(controlled) };
    let mut orphans = revisions.in_namespace(&owner.namespace().unwrap_or_default());
    orphans.retain(|revision| controller_of(&revision.metadata).is_none());
    let mut claims = claims(owner.meta(), &selector, controlled, orphans);
    if !releases {
        claims.owned.append(&mut claims.release);
    }
    claim::settle(client, owner, claims, None).await
}

/// The revision of `owner`'s present template, made where there is none, and put before all others where
/// it is an earlier one. `revisions` are those that `owner` controls; `label` is given the hash.
pub(crate) async fn settle<O>(
    client: &Client,
    owner: &O,
    template: &PodTemplateSpec,
    revisions: &[Arc<ControllerRevision>],
    label: &str,
) -> Result<Arc<ControllerRevision>, kube::Error>
where
    O: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Debug,
{
    let api: Api<ControllerRevision> =
        Api::namespaced(client.clone(), &owner.namespace().unwrap_or_default());
    let newest = revisions.iter().map(|revision| revision.revision).max().unwrap_or(0);
    let equal = |revision: &&Arc<ControllerRevision>| {
        self::template(revision).is_some_and(|kept| same(&kept, template))
    };
    if let Some(found) = revisions.iter().filter(equal).max_by_key(|revision| revision.revision) {
        if found.revision == newest {
            return Ok(found.clone());
        }
        let patch = Patch::Merge(json!({"revision": newest + 1}));
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..Default::default() };
        return api.patch(&found.name_any(), &params, &patch).await.map(Arc::new);
    }
    let params = PostParams { field_manager: Some(MANAGER.into()), ..Default::default() };
    for collisions in 0.. {
        let hash = hash(template, (collisions > 0).then_some(collisions));
        let mut labels: BTreeMap<String, String> =
            template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
        labels.insert(label.to_owned(), hash.clone());
        let revision = ControllerRevision {
            metadata: ObjectMeta {
                name: Some(format!("{}-{hash}", owner.name_any())),
                namespace: owner.namespace(),
                labels: Some(labels),
                owner_references: Some(vec![controller_reference(owner)]),
                ..Default::default()
            },
            data: Some(RawExtension(data(template).into())),
            revision: newest + 1,
        };
        match api.create(&params, &revision).await {
            Err(error) if answer::code(&error) == 409 && collisions < NAMES => {
                let there = api.get_opt(&revision.name_any()).await?;
                // One without a controller is adopted when the informer shows it.
                let own = |there: &ControllerRevision| {
                    let controller = controller_of(&there.metadata).map(|owner| owner.uid.clone());
                    let owned = controller.is_none() || controller == owner.uid();
                    owned && self::template(there).is_some_and(|kept| same(&kept, template))
                };
                if let Some(there) = there.filter(own) {
                    return Ok(Arc::new(there));
                }
            }
            outcome => return outcome.map(Arc::new),
        }
    }
    unreachable!("the last attempt returns")
}

/// Removes the oldest revisions beyond `limit` that no pod was made from and that `keeps` does not keep.
pub(crate) async fn trim(
    client: &Client,
    revisions: &[Arc<ControllerRevision>],
    limit: i32,
    keeps: impl Fn(&ControllerRevision) -> bool,
) -> Result<(), kube::Error> {
    let mut old: Vec<_> = revisions.iter().filter(|revision| !keeps(revision)).collect();
    old.sort_by_key(|revision| revision.revision);
    let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    for revision in old.into_iter().take(surplus) {
        let api: Api<ControllerRevision> =
            Api::namespaced(client.clone(), &revision.namespace().unwrap_or_default());
        match api.delete(&revision.name_any(), &DeleteParams::default()).await {
            Err(error) if !is_gone(&error) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_gives_its_template_back() {
        let template: PodTemplateSpec = gantry_json::from_value(json!({
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c"}]}}))
        .expect("a template");
        let revision = ControllerRevision {
            data: Some(RawExtension(data(&template).into())),
            ..ControllerRevision::default()
        };
        assert_eq!(
            revision.data.as_ref().and_then(|data| data.0["spec"]["template"]["$patch"].as_str()),
            Some("replace")
        );
        assert_eq!(super::template(&revision), Some(template));
    }
}
