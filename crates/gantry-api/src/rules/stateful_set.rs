//! StatefulSet.

use gantry_json::{Value, json};

use super::common::{
    amount, amount_of, at_most_all, default, dns_1035, drop_status, items, keep_status, list, not_negative,
    object, one_of, restore, text,
};
use super::{persistent_volume_claim, replica_set, volume_warnings, workload};
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// What an update of the spec may change.
const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// The rules.
pub const RULES: Rules = Rules {
    default: |set| {
        let Some(set) = set.as_object_mut() else { return };
        let spec = object(set, "spec");
        replica_set::template_defaults(spec);
        default(spec, "revisionHistoryLimit", 10);
        default(spec, "podManagementPolicy", "OrderedReady");
        let strategy = object(spec, "updateStrategy");
        default(strategy, "type", "RollingUpdate");
        if strategy["type"] == "RollingUpdate" {
            let rolling = object(strategy, "rollingUpdate");
            default(rolling, "partition", 0);
            default(rolling, "maxUnavailable", 1);
        }
        let retention = object(spec, "persistentVolumeClaimRetentionPolicy");
        default(retention, "whenDeleted", "Retain");
        default(retention, "whenScaled", "Retain");
        for claim in items(spec, "volumeClaimTemplates") {
            default(claim, "kind", "PersistentVolumeClaim");
            default(claim, "apiVersion", "v1");
            persistent_volume_claim::set_defaults(claim);
        }
    },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |set| {
        let mut errors = Vec::new();
        validate(&Path::new("spec"), &set["spec"], &mut errors);
        errors
    },
    validate_update: |new, old| {
        let mut allowed = new["spec"].clone();
        for field in MUTABLE {
            restore(&mut allowed, &old["spec"], field);
        }
        if allowed == old["spec"] {
            return Vec::new();
        }
        vec![FieldError::forbidden(
            &Path::new("spec"),
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        )]
    },
    validate_status: |new, old, _| {
        workload::status(
            new,
            old,
            &["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"],
        )
    },
    warn: |new, old| {
        let mut warnings = workload::warnings(new, old);
        let spec = &new["spec"];
        if old.is_some_and(|old| old["spec"] == *spec) {
            return warnings;
        }
        for (at, claim) in list(spec, "volumeClaimTemplates").iter().enumerate() {
            let path = Path::new("spec").child("volumeClaimTemplates").index(at);
            volume_warnings::of_claim_spec(&path, &claim["spec"], &mut warnings);
        }
        warnings
    },
    ..Rules::NONE
};

fn validate(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let policy = text(spec, "podManagementPolicy");
    if !matches!(policy, "OrderedReady" | "Parallel") {
        let words = "must be 'OrderedReady' or 'Parallel'";
        errors.push(FieldError::invalid(&path.child("podManagementPolicy"), policy, words));
    }
    update_strategy(&path.child("updateStrategy"), &spec["updateStrategy"], errors);
    let at = path.child("persistentVolumeClaimRetentionPolicy");
    for key in ["whenDeleted", "whenScaled"] {
        let policy = text(&spec["persistentVolumeClaimRetentionPolicy"], key);
        one_of(&at.child(key), policy, &["Delete", "Retain"], errors);
    }
    for key in ["replicas", "minReadySeconds"] {
        not_negative(&path.child(key), &spec[key], errors);
    }
    not_negative(&path.child("ordinals").child("start"), &spec["ordinals"]["start"], errors);
    if !text(spec, "serviceName").is_empty() {
        dns_1035(&path.child("serviceName"), text(spec, "serviceName"), errors);
    }
    let at = path.child("selector");
    workload::selector(&at, &spec["selector"], "empty selector is invalid for statefulset", errors);
    for (at, claim) in list(spec, "volumeClaimTemplates").iter().enumerate() {
        let path = path.child("volumeClaimTemplates").index(at).child("spec");
        persistent_volume_claim::validate_spec(&path, &claim["spec"], errors);
    }
    let at = path.child("template");
    workload::selected(&at, &spec["selector"], &spec["template"], errors);
    workload::template(&at, &with_claims(spec), errors);
    workload::always_restarts(&at, &spec["template"], errors);
    if spec["template"]["spec"]["activeDeadlineSeconds"].is_i64() {
        errors.push(FieldError::forbidden(
            &at.child("spec").child("activeDeadlineSeconds"),
            "activeDeadlineSeconds in StatefulSet is not Supported",
        ));
    }
}

/// The template with the volumes that pods get from the claims.
fn with_claims(spec: &Value) -> Value {
    let mut template = spec["template"].clone();
    let claims = list(spec, "volumeClaimTemplates").iter().map(|claim| &claim["metadata"]["name"]);
    let claims: Vec<&Value> = claims.collect();
    if claims.is_empty() {
        return template;
    }
    let mut volumes = list(&template["spec"], "volumes").to_vec();
    volumes.retain(|volume| !claims.contains(&&volume["name"]));
    volumes.extend(
        claims.iter().map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}})),
    );
    template["spec"]["volumes"] = volumes.into();
    template
}

fn update_strategy(path: &Path, strategy: &Value, errors: &mut Vec<FieldError>) {
    let rolling = &strategy["rollingUpdate"];
    match text(strategy, "type") {
        "OnDelete" if rolling.is_object() => errors.push(FieldError::invalid(
            &path.child("rollingUpdate"),
            rolling.clone(),
            "only allowed for updateStrategy 'RollingUpdate'",
        )),
        "OnDelete" => {}
        "RollingUpdate" => {
            let path = path.child("rollingUpdate");
            not_negative(&path.child("partition"), &rolling["partition"], errors);
            let (at, value) = (path.child("maxUnavailable"), &rolling["maxUnavailable"]);
            if !value.is_null() {
                amount(&at, value, errors);
                if amount_of(value) == 0 {
                    errors.push(FieldError::invalid(&at, value.clone(), "cannot be 0"));
                }
                at_most_all(&at, value, errors);
            }
        }
        _ => {
            errors.push(FieldError::invalid(path, strategy.clone(), "must be 'RollingUpdate' or 'OnDelete'"))
        }
    }
}
