//! What an AuthenticationConfiguration may say, in upstream's words, and what it amounts to.

use std::collections::{BTreeMap, HashSet};

use gantry_api::field::{FieldError, Path};
use gantry_api::rules::common;

use super::{
    ClaimMappings, ClaimValidationRule, Configuration, ConfigurationError, ExtraMapping, Issuer,
    JwtConfiguration, PrefixedClaimOrExpression, UserValidationRule,
};
use crate::expression::{About, Expression};
use crate::server::listener;

/// What an issuer's tokens say about their user.
#[derive(Debug)]
pub(in crate::authn) struct Mapping {
    pub username: Source,
    pub groups: Source,
    pub uid: Source,
    pub extra: Vec<(String, Expression)>,
    pub required_claims: BTreeMap<String, String>,
    pub claim_rules: Vec<Rule>,
    pub user_rules: Vec<Rule>,
}

/// Where a part of a user comes from.
#[derive(Debug)]
pub(in crate::authn) enum Source {
    /// Nowhere.
    Nothing,
    /// A claim, with a prefix.
    Claim(String, String),
    /// An expression over all claims.
    Expression(Expression),
}

/// What must be true, and what is said where it is not.
#[derive(Debug)]
pub(in crate::authn) struct Rule {
    pub expression: Expression,
    pub message: String,
}

impl Configuration {
    /// What its issuers' tokens say, in its order. `own` are the issuers of the server itself, which it cannot
    /// name.
    pub fn mappings(&self, own: &[String]) -> Result<Vec<Mapping>, ConfigurationError> {
        let root = Path::new("jwt");
        let mut errors = Vec::new();
        if self.jwt.len() > 64 {
            errors.push(FieldError::too_many(&root, self.jwt.len(), 64));
            return Err(ConfigurationError::Invalid(errors));
        }
        let (mut issuers, mut discoveries) = (HashSet::new(), HashSet::new());
        let mut mappings = Vec::new();
        for (at, each) in self.jwt.iter().enumerate() {
            let path = root.index(at);
            mappings.push(each.check(&path, own, &mut errors));
            let (issuer, path) = (&each.issuer, path.child("issuer"));
            if !issuers.insert(&issuer.url) {
                errors.push(FieldError::duplicate(&path.child("url"), &*issuer.url));
            }
            if !issuer.discovery_url.is_empty() && !discoveries.insert(&issuer.discovery_url) {
                errors.push(FieldError::duplicate(&path.child("discoveryURL"), &*issuer.discovery_url));
            }
        }
        if let Some(anonymous) = &self.anonymous
            && !anonymous.enabled
            && !anonymous.conditions.is_empty()
        {
            let paths: Vec<&str> = anonymous.conditions.iter().map(|each| &*each.path).collect();
            let path = Path::new("anonymous").child("conditions");
            let why = "enabled should be set to true when conditions are defined";
            errors.push(FieldError::invalid(&path, paths, why));
        }
        if errors.is_empty() { Ok(mappings) } else { Err(ConfigurationError::Invalid(errors)) }
    }
}

impl JwtConfiguration {
    fn check(&self, path: &Path, own: &[String], errors: &mut Vec<FieldError>) -> Mapping {
        self.issuer.check(&path.child("issuer"), own, errors);
        let (required_claims, claim_rules) =
            claim_rules(&self.claim_validation_rules, &path.child("claimValidationRules"), errors);
        let at = path.child("claimMappings");
        let mut mapping = self.claim_mappings.check(&at, errors);
        let is_verified = |expression: &Expression| expression.selects("email_verified");
        if let Source::Expression(username) = &mapping.username
            && username.selects("email")
            && !is_verified(username)
            && !mapping.extra.iter().any(|(_, expression)| is_verified(expression))
            && !claim_rules.iter().any(|rule| is_verified(&rule.expression))
        {
            let why = "claims.email_verified must be used in claimMappings.username.expression or \
                       claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when \
                       claims.email is used in claimMappings.username.expression";
            let path = at.child("username").child("expression");
            errors.push(FieldError::invalid(&path, username.text(), why));
        }
        mapping.required_claims = required_claims;
        mapping.claim_rules = claim_rules;
        mapping.user_rules =
            user_rules(&self.user_validation_rules, &path.child("userValidationRules"), errors);
        mapping
    }
}

impl Issuer {
    fn check(&self, path: &Path, own: &[String], errors: &mut Vec<FieldError>) {
        let at = path.child("url");
        if self.url.is_empty() {
            errors.push(FieldError::required(&at, ""));
        } else {
            check_url(&at, &self.url, own, errors);
        }
        if !self.discovery_url.is_empty() {
            let at = path.child("discoveryURL");
            if !self.url.is_empty()
                && self.url.trim_end_matches('/') == self.discovery_url.trim_end_matches('/')
            {
                let why = "discoveryURL must be different from URL";
                errors.push(FieldError::invalid(&at, &*self.discovery_url, why));
            }
            check_url(&at, &self.discovery_url, &[], errors);
        }
        self.check_audiences(path, errors);
        let authority = &self.certificate_authority;
        if !authority.is_empty() {
            let why = match listener::roots(authority) {
                Err(error) => Some(error.to_string()),
                Ok(roots) if roots.is_empty() => {
                    Some("data does not contain any valid RSA or ECDSA certificates".to_owned())
                }
                Ok(_) => None,
            };
            if let Some(why) = why {
                errors.push(FieldError::invalid(&path.child("certificateAuthority"), "<omitted>", why));
            }
        }
        let egress = &*self.egress_selector_type;
        if !matches!(egress, "" | "controlplane" | "cluster") {
            let why = "egress selector must be either controlplane or cluster";
            errors.push(FieldError::invalid(&path.child("egressSelectorType"), egress, why));
        }
    }

    fn check_audiences(&self, path: &Path, errors: &mut Vec<FieldError>) {
        let (at, policy_at) = (path.child("audiences"), path.child("audienceMatchPolicy"));
        if self.audiences.is_empty() {
            errors.push(FieldError::required(&at, format!("at least one {at} is required")));
            return;
        }
        let mut seen = HashSet::new();
        for (index, audience) in self.audiences.iter().enumerate() {
            if audience.is_empty() {
                errors.push(FieldError::required(&at.index(index), ""));
            }
            if !seen.insert(audience) {
                errors.push(FieldError::duplicate(&at.index(index), &**audience));
            }
        }
        let policy = &*self.audience_match_policy;
        if self.audiences.len() > 1 && policy != "MatchAny" {
            let why = "audienceMatchPolicy must be MatchAny for multiple audiences";
            errors.push(FieldError::invalid(&policy_at, policy, why));
        } else if !matches!(policy, "" | "MatchAny") {
            let why = "audienceMatchPolicy must be empty or MatchAny for single audience";
            errors.push(FieldError::invalid(&policy_at, policy, why));
        }
    }
}

fn check_url(path: &Path, url: &str, own: &[String], errors: &mut Vec<FieldError>) {
    let mut wrong = |why: String| errors.push(FieldError::invalid(path, url, why));
    if own.iter().any(|each| each == url) {
        wrong(format!("URL must not overlap with disallowed issuers: [{}]", own.join(" ")));
    }
    let (rest, fragment) = url.split_once('#').unwrap_or((url, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once("://").unwrap_or(("", rest));
    if scheme != "https" {
        wrong("URL scheme must be https".to_owned());
    }
    if rest.split('/').next().unwrap_or_default().contains('@') {
        wrong("URL must not contain a username or password".to_owned());
    }
    if !query.is_empty() {
        wrong("URL must not contain a query".to_owned());
    }
    if !fragment.is_empty() {
        wrong("URL must not contain a fragment".to_owned());
    }
}

fn claim_rules(
    rules: &[ClaimValidationRule],
    path: &Path,
    errors: &mut Vec<FieldError>,
) -> (BTreeMap<String, String>, Vec<Rule>) {
    let (mut claims, mut compiled) = (BTreeMap::new(), Vec::new());
    let mut seen = HashSet::new();
    for (at, rule) in rules.iter().enumerate() {
        let path = path.index(at);
        match (&*rule.claim, &*rule.expression) {
            ("", "") => errors.push(FieldError::required(&path, "claim or expression is required")),
            (claim, "") => {
                if !rule.message.is_empty() {
                    let why = "may not be specified when claim is set";
                    errors.push(FieldError::invalid(&path.child("message"), &*rule.message, why));
                }
                if claims.insert(claim.to_owned(), rule.required_value.clone()).is_some() {
                    errors.push(FieldError::duplicate(&path.child("claim"), claim));
                }
            }
            ("", expression) => {
                if !rule.required_value.is_empty() {
                    let why = "may not be specified when expression is set";
                    let path = path.child("requiredValue");
                    errors.push(FieldError::invalid(&path, &*rule.required_value, why));
                }
                let path = path.child("expression");
                if !seen.insert(expression) {
                    errors.push(FieldError::duplicate(&path, expression));
                } else if let Some(expression) = compile(&path, expression, About::Claims, true, errors) {
                    compiled.push(Rule { expression, message: rule.message.clone() });
                }
            }
            (claim, _) => {
                errors.push(FieldError::invalid(&path, claim, "claim and expression can't both be set"));
            }
        }
    }
    (claims, compiled)
}

fn user_rules(rules: &[UserValidationRule], path: &Path, errors: &mut Vec<FieldError>) -> Vec<Rule> {
    let mut compiled = Vec::new();
    let mut seen = HashSet::new();
    for (at, rule) in rules.iter().enumerate() {
        let path = path.index(at).child("expression");
        let text = &*rule.expression;
        if text.is_empty() {
            errors.push(FieldError::required(&path, ""));
        } else if !seen.insert(text) {
            errors.push(FieldError::duplicate(&path, text));
        } else if let Some(expression) = compile(&path, text, About::User, true, errors) {
            compiled.push(Rule { expression, message: rule.message.clone() });
        }
    }
    compiled
}

fn compile(
    path: &Path,
    text: &str,
    about: About,
    boolean: bool,
    errors: &mut Vec<FieldError>,
) -> Option<Expression> {
    let compiled = Expression::compile(text, about, boolean);
    compiled.map_err(|why| errors.push(FieldError::invalid(path, text, why))).ok()
}

impl ClaimMappings {
    fn check(&self, path: &Path, errors: &mut Vec<FieldError>) -> Mapping {
        let username = self.username.check(&path.child("username"), true, errors);
        let groups = self.groups.check(&path.child("groups"), false, errors);
        let at = path.child("uid");
        let uid = match (&*self.uid.claim, &*self.uid.expression) {
            ("", "") => Source::Nothing,
            (claim, "") => Source::Claim(claim.to_owned(), String::new()),
            ("", text) => compile(&at.child("expression"), text, About::Claims, false, errors)
                .map_or(Source::Nothing, Source::Expression),
            _ => {
                errors.push(FieldError::invalid(&at, "", "claim and expression can't both be set"));
                Source::Nothing
            }
        };
        let mut extra = Vec::new();
        let mut seen = HashSet::new();
        for (at, mapping) in self.extra.iter().enumerate() {
            let path = path.child("extra").index(at);
            if let Some(expression) = mapping.check(&path, !seen.insert(&*mapping.key), errors) {
                extra.push((mapping.key.clone(), expression));
            }
        }
        let (required_claims, claim_rules, user_rules) = Default::default();
        Mapping { username, groups, uid, extra, required_claims, claim_rules, user_rules }
    }
}

impl PrefixedClaimOrExpression {
    fn check(&self, path: &Path, needed: bool, errors: &mut Vec<FieldError>) -> Source {
        match (&*self.claim, &*self.expression) {
            ("", "") if needed => {
                errors.push(FieldError::required(path, "claim or expression is required"));
            }
            ("", "") => {}
            ("", text) => {
                if let Some(prefix) = &self.prefix {
                    let why = "may not be specified when expression is set";
                    errors.push(FieldError::invalid(&path.child("prefix"), &**prefix, why));
                }
                let compiled = compile(&path.child("expression"), text, About::Claims, false, errors);
                return compiled.map_or(Source::Nothing, Source::Expression);
            }
            (claim, "") => {
                if let Some(prefix) = &self.prefix {
                    return Source::Claim(claim.to_owned(), prefix.clone());
                }
                let why = "prefix is required when claim is set. It can be set to an empty string to disable \
                           prefixing";
                errors.push(FieldError::required(&path.child("prefix"), why));
            }
            _ => errors.push(FieldError::invalid(path, "", "claim and expression can't both be set")),
        }
        Source::Nothing
    }
}

impl ExtraMapping {
    fn check(&self, path: &Path, again: bool, errors: &mut Vec<FieldError>) -> Option<Expression> {
        let at = path.child("key");
        let key = &*self.key;
        domain_prefixed(&at, key, errors);
        let mut wrong = |why: &str| errors.push(FieldError::invalid(&at, key, why));
        if key != key.to_lowercase() {
            wrong("must be lowercase");
        }
        let domain = key.split_once('/').map_or("", |(domain, _)| domain);
        let reserved =
            |own: &str| domain.strip_suffix(own).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'));
        if reserved("kubernetes.io") || reserved("k8s.io") {
            wrong("k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
        }
        if again {
            errors.push(FieldError::duplicate(&at, key));
            return None;
        }
        let at = path.child("valueExpression");
        if self.value_expression.is_empty() {
            errors.push(FieldError::required(&at, ""));
            return None;
        }
        compile(&at, &self.value_expression, About::Claims, false, errors)
    }
}

fn domain_prefixed(path: &Path, key: &str, errors: &mut Vec<FieldError>) {
    if key.is_empty() {
        return errors.push(FieldError::required(path, ""));
    }
    match key.split_once('/').filter(|(domain, rest)| !domain.is_empty() && !rest.is_empty()) {
        None => {
            let why = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            errors.push(FieldError::invalid(path, key, why));
        }
        Some((domain, _)) => common::dns_subdomain(path, domain, errors),
    }
}

#[cfg(test)]
mod tests;
