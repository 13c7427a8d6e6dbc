//! Pods as a Job makes them.

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Container, EnvVar, EnvVarSource, ObjectFieldSelector, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::TRACKING;
use super::retries::{Counts, FAILURES, IGNORED};
use crate::claim::controller_reference;

/// The annotation and label with a pod's number.
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const INDEX_VARIABLE: &str = "JOB_COMPLETION_INDEX";
/// The longest name before the random part.
const LONGEST_BASE: usize = 58;

/// A pod from the template of `job`, controlled by it and tracked; with a number where the job's pods
/// have one, and with the number's failures where they are limited.
pub(super) fn pod(job: &Job, index: Option<u32>, failures: Option<Counts>) -> Pod {
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    let mut finalizers = meta.finalizers.unwrap_or_default();
    finalizers.push(TRACKING.to_owned());
    let (mut labels, mut annotations) = (meta.labels, meta.annotations);
    let mut spec = template.spec.unwrap_or_default();
    let mut base = job.name_any();
    if let Some(index) = index {
        labels.get_or_insert_default().insert(INDEX.into(), index.to_string());
        annotations.get_or_insert_default().insert(INDEX.into(), index.to_string());
        spec.hostname = Some(format!("{base}-{index}"));
        base = format!("{base}-{index}");
        if let Some((counted, ignored)) = failures {
            let annotations = annotations.get_or_insert_default();
            annotations.insert(FAILURES.into(), counted.to_string());
            if ignored > 0 {
                annotations.insert(IGNORED.into(), ignored.to_string());
            }
        }
        let all = spec.init_containers.iter_mut().flatten().chain(&mut spec.containers);
        all.for_each(number);
    }
    base.truncate(base.floor_char_boundary(LONGEST_BASE - 1));
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{base}-")),
            namespace: job.namespace(),
            labels,
            annotations,
            finalizers: Some(finalizers),
            owner_references: Some(vec![controller_reference(job)]),
            ..Default::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// Tells a container its pod's number.
fn number(container: &mut Container) {
    let variables = container.env.get_or_insert_default();
    if variables.iter().any(|variable| variable.name == INDEX_VARIABLE) {
        return;
    }
    let field = ObjectFieldSelector { field_path: format!("metadata.labels['{INDEX}']"), api_version: None };
    variables.push(EnvVar {
        name: INDEX_VARIABLE.into(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..Default::default() }),
    });
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    #[test]
    fn a_pod_is_the_template_with_what_it_is_tracked_and_numbered_by() {
        let job: Job = gantry_json::from_value(json!({
            "metadata": {"name": "sum", "namespace": "n", "uid": "u"},
            "spec": {"template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "env": [{"name": "X", "value": "y"}]}]},
            }},
        }))
        .expect("a Job");
        let plain = gantry_json::to_value(pod(&job, None, None)).expect("JSON");
        assert_eq!(plain["metadata"]["generateName"], "sum-");
        assert_eq!(plain["metadata"]["finalizers"], json!(["batch.kubernetes.io/job-tracking"]));
        assert_eq!(plain["metadata"]["ownerReferences"][0]["kind"], "Job");
        assert_eq!(plain["spec"]["hostname"], json!(null));
        let third = gantry_json::to_value(pod(&job, Some(3), None)).expect("JSON");
        assert_eq!(third["metadata"]["generateName"], "sum-3-");
        assert_eq!(
            third["metadata"]["labels"],
            json!({"a": "b", "batch.kubernetes.io/job-completion-index": "3"})
        );
        assert_eq!(
            third["metadata"]["annotations"],
            json!({"batch.kubernetes.io/job-completion-index": "3"})
        );
        assert_eq!(third["spec"]["hostname"], "sum-3");
        let variable = &third["spec"]["containers"][0]["env"][1];
        assert_eq!(variable["name"], "JOB_COMPLETION_INDEX");
        let path = "metadata.labels['batch.kubernetes.io/job-completion-index']";
        assert_eq!(variable["valueFrom"]["fieldRef"]["fieldPath"], path);
        let again = pod(&job, Some(3), Some((2, 0)));
        assert_eq!(again.annotations()["batch.kubernetes.io/job-index-failure-count"], "2");
    }
}
