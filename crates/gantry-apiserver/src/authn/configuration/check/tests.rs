//! The words for what a configuration may not say.

use super::*;

const FINE: &str = "{issuer: {url: 'https://id.example', audiences: [a]}, \
                    claimMappings: {username: {claim: sub, prefix: ''}}}";

fn check(rest: &str, expect: &str) {
    let text = format!("apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n{rest}");
    let own = ["https://own".to_owned()];
    let got = Configuration::read(&text).and_then(|read| read.mappings(&own));
    let got = got.map(|_| String::new()).unwrap_or_else(|error| error.to_string());
    assert_eq!(got, expect, "{rest}");
}

fn issuer(fields: &str, expect: &str) {
    let rest =
        format!("jwt: [{{issuer: {{{fields}}}, claimMappings: {{username: {{claim: sub, prefix: ''}}}}}}]");
    check(&rest, expect);
}

fn jwt(fields: &str, expect: &str) {
    check(&format!("jwt: [{{issuer: {{url: 'https://id.example', audiences: [a]}}, {fields}}}]"), expect);
}

#[test]
fn issuers() {
    check("jwt: []", "");
    check(&format!("jwt: [{FINE}]"), "");
    check(&format!("jwt: [{FINE}, {FINE}]"), "jwt[1].issuer.url: Duplicate value: \"https://id.example\"");
    issuer("audiences: [a]", "jwt[0].issuer.url: Required value");
    let url = |url: &str, why: &str| {
        let expect = format!("jwt[0].issuer.url: Invalid value: \"{url}\": {why}");
        issuer(&format!("url: '{url}', audiences: [a]"), &expect);
    };
    url("http://id.example", "URL scheme must be https");
    url("https://me:you@id.example", "URL must not contain a username or password");
    url("https://id.example?a=b", "URL must not contain a query");
    url("https://id.example#a", "URL must not contain a fragment");
    url("https://own", "URL must not overlap with disallowed issuers: [https://own]");
    issuer(
        "url: 'https://id.example', discoveryURL: 'https://id.example/', audiences: [a]",
        "jwt[0].issuer.discoveryURL: Invalid value: \"https://id.example/\": discoveryURL must be different from URL",
    );
    issuer(
        "url: 'https://id.example'",
        "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required",
    );
    issuer(
        "url: 'https://id.example', audiences: [a, '', a], audienceMatchPolicy: MatchAny",
        "[jwt[0].issuer.audiences[1]: Required value, jwt[0].issuer.audiences[2]: Duplicate value: \"a\"]",
    );
    issuer(
        "url: 'https://id.example', audiences: [a, b]",
        "jwt[0].issuer.audienceMatchPolicy: Invalid value: \"\": audienceMatchPolicy must be MatchAny for multiple \
         audiences",
    );
    issuer(
        "url: 'https://id.example', audiences: [a], certificateAuthority: none",
        "jwt[0].issuer.certificateAuthority: Invalid value: \"<omitted>\": data does not contain any valid RSA or \
         ECDSA certificates",
    );
}

#[test]
fn mappings() {
    jwt("", "jwt[0].claimMappings.username: Required value: claim or expression is required");
    jwt(
        "claimMappings: {username: {claim: sub}}",
        "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set. It can be \
         set to an empty string to disable prefixing",
    );
    jwt(
        "claimMappings: {username: {claim: sub, expression: claims.sub}}",
        "jwt[0].claimMappings.username: Invalid value: \"\": claim and expression can't both be set",
    );
    let extra = |key: &str, why: &str| {
        let rest = format!(
            "claimMappings: {{username: {{claim: sub, prefix: ''}}, extra: [{{key: {key}, valueExpression: ''}}]}}"
        );
        let path = "jwt[0].claimMappings.extra[0]";
        let expect = format!("[{path}.key: {why}, {path}.valueExpression: Required value]");
        jwt(&rest, &expect);
    };
    extra("foo", "Invalid value: \"foo\": must be a domain-prefixed path (such as \"acme.io/foo\")");
    extra("acme.io/Foo", "Invalid value: \"acme.io/Foo\": must be lowercase");
    for reserved in ["k8s.io/foo", "a.kubernetes.io/foo"] {
        let why = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
        extra(reserved, &format!("Invalid value: \"{reserved}\": {why}"));
    }
}

#[test]
fn rules() {
    let claims = |rules: &str, expect: &str| {
        let rest = format!(
            "claimMappings: {{username: {{claim: sub, prefix: ''}}}}, claimValidationRules: [{rules}]"
        );
        jwt(&rest, expect);
    };
    claims("{claim: hd, requiredValue: example.com}", "");
    claims("{}", "jwt[0].claimValidationRules[0]: Required value: claim or expression is required");
    claims(
        "{claim: hd, expression: 'true'}",
        "jwt[0].claimValidationRules[0]: Invalid value: \"hd\": claim and expression can't both be set",
    );
    claims(
        "{claim: hd, message: no}",
        "jwt[0].claimValidationRules[0].message: Invalid value: \"no\": may not be specified when claim is set",
    );
    claims("{claim: hd}, {claim: hd}", "jwt[0].claimValidationRules[1].claim: Duplicate value: \"hd\"");
    jwt(
        "claimMappings: {username: {claim: sub, prefix: ''}}, userValidationRules: [{message: no}]",
        "jwt[0].userValidationRules[0].expression: Required value",
    );
}

#[test]
fn anonymous() {
    check(
        "anonymous: {conditions: [{path: /livez}]}",
        "anonymous.conditions: Invalid value: [\"/livez\"]: enabled should be set to true when conditions are defined",
    );
    check("anonymous: {enabled: true, conditions: [{path: /livez}]}", "");
}
