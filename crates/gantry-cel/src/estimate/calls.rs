//! What calls cost at least and at most, and how large their results may be.

use super::Range;
use super::walk::Walk;
use crate::ast::{Call, Expr, Literal, Node};
use crate::cost::{CHARACTER, CHECK, COMPARED, LIST, OBJECT, PATTERN};
use crate::types::{Opaque, Type};

/// The most characters of a scalar's text: an IPv6 network's, 39 digits and colons with its length.
const LONGEST_SCALAR: u64 = 43;

/// What a character costs that is held against a named format: a pattern of 128 characters.
const NAMED_FORMAT: u64 = 32;
/// The most characters of a named format's name.
const LONGEST_FORMAT: u64 = 64;

type Estimate = (Range, Option<Range>);

/// A call by one of its overloads.
pub(super) fn estimate(
    walk: &mut Walk<'_>,
    node: &Node,
    call: &Call,
    overload: &str,
    costs: &[Range],
) -> Estimate {
    let args = costs.iter().fold(Range::ZERO, |sum, cost| sum.plus(*cost));
    if let Some((cost, size)) = library(walk, call, overload) {
        return (cost.plus(args), size);
    }
    standard(walk, node, call, overload, costs, args)
}

/// Kubernetes' libraries and those of strings and sets.
fn library(walk: &mut Walk<'_>, call: &Call, overload: &str) -> Option<Estimate> {
    let nominal = Some((Range::exactly(1), None));
    let target = call.target.as_ref();
    let mut size_of = |node: Option<&Node>| node.map_or(Range::UNKNOWN, |node| walk.size_or_unknown(node));
    let only = |cost: Range| Some((cost, None));
    match &*call.name {
        "check" => only(Range::exactly(CHECK)),
        "serviceAccount" | "path" | "group" | "resource" | "subresource" | "namespace" | "name"
        | "allowed" | "reason" | "error" | "errored" => nominal,
        "fieldSelector" | "labelSelector" => only(selector(size_of(call.args.first()))),
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => {
            let target = target?;
            let size = size_of(Some(target));
            let Type::List(item) = &target.kind else { return only(size.scaled(CHARACTER)) };
            let mut each = Range::exactly(1);
            if matches!(**item, Type::String | Type::Bytes) {
                each = each.plus(item_size(walk, target).scaled(CHARACTER));
            }
            only(size.times(each))
        }
        "url" | "jsonpatch.escapeKey" => {
            let size = size_of(call.args.first());
            Some((size.scaled(CHARACTER), Some(size)))
        }
        // Upstream tells what parsing costs for calls on a target alone, and these have none.
        "isIP" | "isCIDR" | "cidr" | "quantity" | "isQuantity" | "semver" | "isSemver" | "ip"
        | "ip.isCanonical" => nominal,
        "lowerAscii" | "upperAscii" | "substring" | "trim" => {
            let size = size_of(target);
            Some((size.scaled(CHARACTER), Some(size)))
        }
        "replace" if call.args.len() >= 2 => {
            let (size, from, to) = (size_of(target), size_of(call.args.first()), size_of(call.args.get(1)));
            Some((size.scaled(2.0 * CHARACTER), Some(replaced(size, from, to))))
        }
        "split" => {
            let size = size_of(target);
            // A negative limit is none.
            let most = match call.args.get(1).map(|limit| &limit.expr) {
                Some(Expr::Literal(Literal::Int(limit))) => u64::try_from(*limit).unwrap_or(u64::MAX),
                _ => size.max,
            };
            Some((size.scaled(2.0 * CHARACTER), Some(Range { min: 0, max: most })))
        }
        "join" => {
            let target = target?;
            let list = size_of(Some(target));
            let mut size = list.times(item_size(walk, target));
            if let Some(separator) = call.args.first() {
                let between = Range { min: list.min.saturating_sub(1), max: list.max.saturating_sub(1) };
                size = size.plus(walk.size_or_unknown(separator).times(between));
            }
            Some((size.scaled(CHARACTER), Some(size)))
        }
        "find" | "findAll" => {
            let size = size_of(target);
            let text = size.plus(Range::exactly(1)).scaled(CHARACTER);
            let pattern = size_of(call.args.first()).scaled(PATTERN);
            Some((text.times(pattern), Some(Range { min: 0, max: size.max })))
        }
        "validate" => only(size_of(call.args.first()).scaled(CHARACTER).times(Range::exactly(NAMED_FORMAT))),
        "masked"
        | "prefixLength"
        | "family"
        | "isUnspecified"
        | "isLoopback"
        | "isLinkLocalMulticast"
        | "isLinkLocalUnicast"
        | "isGlobalUnicast"
        | "sign"
        | "asInteger"
        | "isInteger"
        | "asApproximateFloat"
        | "isGreaterThan"
        | "isLessThan"
        | "compareTo"
        | "add"
        | "sub"
        | "major"
        | "minor"
        | "patch"
        | "getScheme"
        | "getHostname"
        | "getHost"
        | "getPort"
        | "getEscapedPath"
        | "getQuery" => nominal,
        "containsIP" | "containsCIDR" => {
            let address = Range { min: 4, max: 16 };
            let mut cost = address.plus(address).scaled(CHARACTER);
            if &*call.name == "containsCIDR" {
                cost = cost.plus(address.scaled(CHARACTER)).plus(Range::exactly(1));
            }
            if overload.ends_with("_string") {
                cost = cost.plus(size_of(call.args.first()).scaled(CHARACTER));
            }
            only(cost)
        }
        "slice" => {
            let size = size_of(target);
            let start = call.args.first().and_then(number).unwrap_or(0);
            let end = call.args.get(1).and_then(number).unwrap_or(size.max);
            made(1.0, Range::exactly(end.checked_sub(start).unwrap_or(u64::MAX)))
        }
        "reverse" => made(1.0, size_of(target)),
        "lists.range" => {
            let size = call.args.first().and_then(number).unwrap_or(u64::MAX);
            made(1.0, Range::exactly(size))
        }
        "flatten" => {
            let depth = call.args.first().map_or(1, |depth| number(depth).unwrap_or(u64::MAX));
            made(depth as f64, size_of(target))
        }
        "distinct" => {
            let size = size_of(target);
            made(COMPARED, size.times(size))
        }
        "sort" | "@sortByAssociatedKeys" => {
            let size = size_of(if &*call.name == "sort" { target } else { call.args.first() });
            let texts = overload.starts_with("list_string_") || overload.starts_with("list_bytes_");
            made(COMPARED + if texts { CHARACTER } else { 0.0 }, size.times(size))
        }
        "_==_" => {
            let (left, right) = (call.args.first()?, call.args.get(1)?);
            let Type::Opaque(kind) = &left.kind else { return None };
            if left.kind != right.kind {
                return None;
            }
            match kind {
                Opaque::Format => only(Range { min: 1, max: LONGEST_FORMAT }.scaled(CHARACTER)),
                Opaque::Url => {
                    let most = walk.size(right).map_or(1, |size| size.max);
                    only(Range { min: 1, max: most }.scaled(CHARACTER))
                }
                _ => nominal,
            }
        }
        "sets.contains" | "sets.intersects" | "sets.equivalent" => {
            let factor = if &*call.name == "sets.equivalent" { 2 } else { 1 };
            let product = size_of(call.args.first()).times(size_of(call.args.get(1)));
            only(product.times(Range::exactly(factor)).plus(Range::exactly(1)))
        }
        _ => None,
    }
}

/// What a call costs that makes a list of this size, in so many steps for each item.
fn made(steps: f64, size: Range) -> Option<Estimate> {
    Some((size.scaled(steps).plus(Range::exactly(1 + LIST)), Some(size)))
}

/// What reading a selector of this length costs: each requirement, of two characters or more, has a
/// list of values.
fn selector(length: Range) -> Range {
    let requirements = length.scaled(0.5).scaled((LIST + OBJECT) as f64);
    Range::exactly(LIST).plus(length.scaled(CHARACTER)).plus(requirements)
}

/// How large the items of a list may be.
fn item_size(walk: &Walk<'_>, list: &Node) -> Range {
    let mut path = walk.path(list);
    if path.is_empty() {
        return Range::UNKNOWN;
    }
    path.push("@items".into());
    let most = walk.declared(&path).map(|declared| declared.max);
    Range { min: 0, max: most.unwrap_or(u64::MAX) }
}

/// A whole number that is written in the expression; none is below zero.
fn number(node: &Node) -> Option<u64> {
    match &node.expr {
        Expr::Literal(Literal::Int(number)) => Some(u64::try_from(*number).unwrap_or_default()),
        _ => None,
    }
}

/// How long a text may be with `from` replaced by `to`.
fn replaced(size: Range, from: Range, to: Range) -> Range {
    let ratio = |size: u64, by: u64| (size as f64 / by as f64).ceil() as u64;
    let (most, kept) = if from.min == 0 {
        (size.max.saturating_add(1), size.max)
    } else if to.max <= from.min {
        (0, size.max)
    } else {
        (ratio(size.max, from.min), 0)
    };
    let (least, kept_least) = if from.max == 0 {
        (size.min.saturating_add(1), size.min)
    } else if from.max <= to.min {
        (0, size.min)
    } else {
        (ratio(size.min, from.max), 0)
    };
    Range { min: least, max: most }.times(to).plus(Range { min: kept_least, max: kept })
}

/// The language's own functions.
fn standard(
    walk: &mut Walk<'_>,
    node: &Node,
    call: &Call,
    overload: &str,
    costs: &[Range],
    args: Range,
) -> Estimate {
    let mut size_of = |at: usize| call.args.get(at).map_or(Range::UNKNOWN, |arg| walk.size_or_unknown(arg));
    match overload {
        "string_format" => {
            let size = call.target.as_ref().map_or(Range::UNKNOWN, |target| walk.size_or_unknown(target));
            (size.scaled(CHARACTER).plus(args), None)
        }
        "string_to_bytes" => {
            let size = size_of(0);
            let result = Range { min: size.min, max: size.max.saturating_mul(4) };
            (size.scaled(CHARACTER).plus(args), Some(result))
        }
        "bytes_to_string" => {
            let size = size_of(0);
            (size.scaled(CHARACTER).plus(args), Some(Range { min: size.min / 4, max: size.max }))
        }
        // The text of a scalar is short: a message may name the number that is wrong.
        "bool_to_string"
        | "int64_to_string"
        | "uint64_to_string"
        | "double_to_string"
        | "timestamp_to_string"
        | "duration_to_string"
        | "ip_to_string"
        | "cidr_to_string" => (Range::exactly(1).plus(args), Some(Range { min: 1, max: LONGEST_SCALAR })),
        "strings_quote" => {
            let size = size_of(0);
            let result =
                Range { min: size.min.saturating_add(2), max: size.max.saturating_mul(2).saturating_add(2) };
            (size.scaled(CHARACTER).plus(args), Some(result))
        }
        "starts_with_string" | "ends_with_string" => (size_of(0).scaled(CHARACTER).plus(args), None),
        "in_list" => (size_of(1).plus(args), None),
        "matches_string" => {
            let text = call.target.as_ref().map_or(Range::UNKNOWN, |target| walk.size_or_unknown(target));
            let pattern = call.args.first().map_or(Range::UNKNOWN, |arg| walk.size_or_unknown(arg));
            let cost = text.plus(Range::exactly(1)).scaled(CHARACTER).times(pattern.scaled(PATTERN));
            (cost.plus(args), None)
        }
        "contains_string" => {
            let text = call.target.as_ref().map_or(Range::UNKNOWN, |target| walk.size_or_unknown(target));
            let part = call.args.first().map_or(Range::UNKNOWN, |arg| walk.size_or_unknown(arg));
            (text.scaled(CHARACTER).times(part.scaled(CHARACTER)).plus(args), None)
        }
        "logical_or" | "logical_and" => match costs {
            [left, right] => (Range { min: left.min, max: left.plus(*right).max }, None),
            _ => (args, None),
        },
        "conditional" => {
            let size = size_of(1).or(size_of(2));
            let [condition, yes, no] = costs else { return (args, None) };
            if let [_, a, b] = &*call.args {
                let entries = walk.common_entries(a, b);
                walk.set_entries(node, entries);
            }
            (condition.plus(yes.or(*no)), Some(size))
        }
        "add_string" | "add_bytes" | "add_list" => {
            let size = size_of(0).plus(size_of(1));
            if let [a, b] = &*call.args {
                let entries = walk.common_entries(a, b);
                walk.set_entries(node, entries);
            }
            let cost = if overload == "add_list" { Range::exactly(1) } else { size.scaled(CHARACTER) };
            (cost.plus(args), Some(size))
        }
        "equals"
        | "not_equals"
        | "less_string"
        | "greater_string"
        | "less_equals_string"
        | "greater_equals_string"
        | "less_bytes"
        | "greater_bytes"
        | "less_equals_bytes"
        | "greater_equals_bytes" => {
            let max = size_of(0).max.min(size_of(1).max);
            let size = Range { min: u64::from(max > 0), max };
            (size.scaled(CHARACTER).plus(args), None)
        }
        _ => (Range::exactly(1).plus(args), None),
    }
}
