//! Semantic versions.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Implementation, no_overload};
use crate::error::EvaluationError;
use crate::value::Value;

/// A version of semver.org, without its build metadata, which no comparison looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Semver {
    numbers: [u64; 3],
    pre: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Text(String),
}

pub(super) fn by_name(name: &str) -> Option<Implementation> {
    Some(match name {
        "semver" => |args| match read(args)? {
            Ok(version) => Ok(Value::Semver(Arc::new(version))),
            Err(why) => Err(EvaluationError::failed(why)),
        },
        "isSemver" => |args| Ok(Value::Bool(read(args)?.is_ok())),
        "major" => |args| number(args, 0),
        "minor" => |args| number(args, 1),
        "patch" => |args| number(args, 2),
        _ => return None,
    })
}

fn read(args: &[Value<'_>]) -> Result<Result<Semver, String>, EvaluationError> {
    match args {
        [Value::String(text)] => Ok(Semver::parse(text.as_str())),
        [Value::String(text), Value::Bool(normalize)] => {
            let text = text.as_str();
            Ok(if *normalize { Semver::parse(&normalized(text)) } else { Semver::parse(text) })
        }
        _ => Err(EvaluationError::no_overload()),
    }
}

fn number<'a>(args: &[Value<'a>], at: usize) -> Result<Value<'a>, EvaluationError> {
    match args {
        [Value::Semver(version)] => Ok(Value::Int(i64::try_from(version.numbers[at]).unwrap_or(i64::MAX))),
        _ => no_overload(),
    }
}

/// Without a `v` in front, with all three numbers, and these without leading zeros.
fn normalized(text: &str) -> String {
    let text = text.strip_prefix('v').unwrap_or(text);
    let end = text.find(['-', '+']).unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let mut parts: Vec<&str> = numbers
        .split('.')
        .map(|part| {
            let trimmed = part.trim_start_matches('0');
            if trimmed.is_empty() && !part.is_empty() { "0" } else { trimmed }
        })
        .collect();
    while parts.len() < 3 {
        parts.push("0");
    }
    format!("{}{rest}", parts.join("."))
}

impl Semver {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("Version string empty".into());
        }
        let (text, build) = text.split_once('+').map_or((text, None), |(text, build)| (text, Some(build)));
        let (numbers, pre) = text.split_once('-').map_or((text, None), |(text, pre)| (text, Some(pre)));
        let parts: Vec<&str> = numbers.split('.').collect();
        let [major, minor, patch] = parts[..] else {
            return Err("No Major.Minor.Patch elements found".into());
        };
        let number = |text: &str, which: &str| -> Result<u64, String> {
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(format!("Invalid character(s) found in {which} number {text:?}"));
            }
            if text.len() > 1 && text.starts_with('0') {
                return Err(format!("{which} number must not contain leading zeroes {text:?}"));
            }
            text.parse().map_err(|_| format!("{which} number out of range {text:?}"))
        };
        let numbers = [number(major, "major")?, number(minor, "minor")?, number(patch, "patch")?];
        let allowed = |part: &str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let mut parts = Vec::new();
        for part in pre.into_iter().flat_map(|pre| pre.split('.')) {
            if !allowed(part) {
                return Err(format!("Invalid character(s) found in prerelease {part:?}"));
            }
            parts.push(if part.bytes().all(|byte| byte.is_ascii_digit()) {
                Part::Number(number(part, "Numeric PreRelease version")?)
            } else {
                Part::Text(part.into())
            });
        }
        if !build.into_iter().flat_map(|build| build.split('.')).all(allowed) {
            return Err("Invalid character(s) found in build meta data".into());
        }
        Ok(Self { numbers, pre: parts })
    }

    /// How two versions compare: a pre-release comes before its release.
    pub(crate) fn cmp(&self, other: &Self) -> Ordering {
        self.numbers.cmp(&other.numbers).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.pre.cmp(&other.pre),
        })
    }
}
