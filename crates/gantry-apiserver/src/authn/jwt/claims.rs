//! What a token's claims say about its user.

use std::collections::BTreeMap;

use gantry_cel::Budget;
use gantry_json::{Map, Value, json};

use crate::User;
use crate::authn::configuration::{Mapping, Rule, Source};
use crate::expression::Expression;

type Claims = Map;

/// The user whom these claims describe; the error is why they describe none.
pub(super) fn user(mapping: &Mapping, claims: Claims) -> Result<User, String> {
    let whole = Value::Object(claims);
    let Value::Object(claims) = &whole else { return Err(String::new()) };
    let name = username(&mapping.username, claims, &whole)?;
    let groups = groups(&mapping.groups, claims, &whole)?;
    let uid = match &mapping.uid {
        Source::Nothing => String::new(),
        Source::Claim(claim, _) => text(claims, claim, || format!("oidc: parse uid claim {claim:?}"))?,
        Source::Expression(expression) => one_text(expression, &whole, "uid")?,
    };
    let mut extra = BTreeMap::new();
    if let Some(id) = claims.get("jti").and_then(Value::as_str).filter(|id| !id.is_empty()) {
        extra.insert("authentication.kubernetes.io/credential-id".to_owned(), vec![format!("JTI={id}")]);
    }
    for (key, expression) in &mapping.extra {
        let wrong =
            |error| format!("oidc: error evaluating extra claim expression: {}: {error}", expression.text());
        let values = several(evaluate(expression, &whole).map_err(wrong)?).map_err(wrong)?;
        if !values.is_empty() {
            extra.insert(key.clone(), values);
        }
    }
    for (claim, expect) in &mapping.required_claims {
        if !claims.contains_key(claim) {
            return Err(format!("oidc: required claim {claim} not present in ID token"));
        }
        let got = text(claims, claim, || format!("oidc: parse claim {claim}"))?;
        if got != *expect {
            let why = "value does not match";
            return Err(format!("oidc: required claim {claim} {why}. Got = {got}, want = {expect}"));
        }
    }
    hold(&mapping.claim_rules, &whole)
        .map_err(|error| format!("oidc: error evaluating claim validation expression: {error}"))?;
    let user = User { name, uid, groups, extra };
    if !mapping.user_rules.is_empty() {
        let info = json!({
            "username": user.name, "uid": user.uid, "groups": user.groups, "extra": user.extra,
        });
        hold(&mapping.user_rules, &info)
            .map_err(|error| format!("oidc: error evaluating user info validation rule: {error}"))?;
    }
    Ok(user)
}

fn username(source: &Source, claims: &Claims, whole: &Value) -> Result<String, String> {
    let (claim, prefix) = match source {
        Source::Expression(expression) => {
            let name = one_text(expression, whole, "username")?;
            let empty = "oidc: empty username via CEL expression is not allowed";
            return if name.is_empty() { Err(empty.to_owned()) } else { Ok(name) };
        }
        Source::Claim(claim, prefix) => (claim, prefix),
        Source::Nothing => return Err("oidc: no username claim".to_owned()),
    };
    let name = text(claims, claim, || format!("oidc: parse username claims {claim:?}"))?;
    if claim == "email"
        && let Some(verified) = claims.get("email_verified")
    {
        match verified {
            Value::Bool(true) => {}
            Value::Bool(false) => return Err("oidc: email not verified".to_owned()),
            _ => return Err("oidc: parse 'email_verified' claim: not a boolean".to_owned()),
        }
    }
    Ok(format!("{prefix}{name}"))
}

fn groups(source: &Source, claims: &Claims, whole: &Value) -> Result<Vec<String>, String> {
    match source {
        Source::Nothing => Ok(Vec::new()),
        Source::Claim(claim, prefix) => {
            let wrong = || format!("oidc: parse groups claim {claim:?}: not a string or a list of strings");
            let names: Vec<&str> = match claims.get(claim) {
                None => Vec::new(),
                Some(Value::String(one)) => vec![one],
                Some(Value::Array(more)) => {
                    more.iter().map(Value::as_str).collect::<Option<_>>().ok_or_else(wrong)?
                }
                Some(Value::Null) => Vec::new(),
                Some(_) => return Err(wrong()),
            };
            Ok(names.iter().map(|name| format!("{prefix}{name}")).collect())
        }
        Source::Expression(expression) => {
            let wrong = |error| format!("oidc: error evaluating group claim expression: {error}");
            several(evaluate(expression, whole).map_err(wrong)?).map_err(wrong)
        }
    }
}

fn text(claims: &Claims, claim: &str, named: impl Fn() -> String) -> Result<String, String> {
    match claims.get(claim) {
        None => Err(format!("{}: claim not present", named())),
        Some(Value::String(text)) => Ok(text.to_string()),
        Some(_) => Err(format!("{}: not a string", named())),
    }
}

fn one_text(expression: &Expression, whole: &Value, what: &str) -> Result<String, String> {
    let wrong = |error: &str| format!("oidc: error evaluating {what} claim expression: {error}");
    match evaluate(expression, whole) {
        Ok(Value::String(text)) => Ok(text.to_string()),
        Ok(_) => Err(wrong(&format!("{what} claim expression must return a string"))),
        Err(error) => Err(wrong(&error)),
    }
}

/// One text or several; empty ones do not count.
fn several(value: Value) -> Result<Vec<String>, String> {
    let wrong = || "expression must return a string or a list of strings".to_owned();
    let texts = match value {
        Value::Null => Vec::new(),
        Value::String(one) => vec![one.to_string()],
        Value::Array(more) => {
            let texts = more.iter().map(|each| each.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or_else(wrong)?
        }
        _ => return Err(wrong()),
    };
    Ok(texts.into_iter().filter(|text| !text.is_empty()).collect())
}

fn hold(rules: &[Rule], value: &Value) -> Result<(), String> {
    for rule in rules {
        match evaluate(&rule.expression, value)? {
            Value::Bool(true) => {}
            Value::Bool(false) => {
                let text = rule.expression.text();
                return Err(format!("validation expression '{text}' failed: {}", rule.message));
            }
            _ => return Err("validation expression must return a boolean".to_owned()),
        }
    }
    Ok(())
}

fn evaluate(expression: &Expression, value: &Value) -> Result<Value, String> {
    expression
        .evaluate(value, &mut Budget::new(Budget::PER_REQUEST))
        .map_err(|error| format!("expression '{}' resulted in error: {error}", expression.text()))
}

#[cfg(test)]
mod tests;
