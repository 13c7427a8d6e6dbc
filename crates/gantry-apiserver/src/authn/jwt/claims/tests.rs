//! Claims and the users that they are mapped to.

use super::*;
use crate::expression::About;

fn mapping() -> Mapping {
    let claim = |claim: &str, prefix: &str| Source::Claim(claim.to_owned(), prefix.to_owned());
    let (extra, claim_rules, user_rules) = Default::default();
    Mapping {
        username: claim("email", "oidc:"),
        groups: claim("groups", "team:"),
        uid: claim("sub", ""),
        extra,
        required_claims: BTreeMap::from([("hd".to_owned(), "example.com".to_owned())]),
        claim_rules,
        user_rules,
    }
}

fn check(change: Value, expect: Result<(&str, &[&str]), &str>) {
    let mut claims =
        json!({"email": "jane@example.com", "sub": "1", "groups": ["a", "b"], "hd": "example.com"});
    for (key, value) in change.as_object().unwrap() {
        claims[key] = value.clone();
        if value == "gone" {
            claims.as_object_mut().unwrap().remove(key);
        }
    }
    let Value::Object(claims) = claims else { unreachable!() };
    let got = user(&mapping(), claims);
    let got = got.as_ref().map(|user| (&*user.name, user.groups.iter().map(|g| &**g).collect::<Vec<_>>()));
    let expect = expect.map(|(name, groups)| (name, groups.to_vec())).map_err(str::to_owned);
    assert_eq!(got.map_err(Clone::clone), expect, "{change}");
}

#[test]
fn claims_make_a_user() {
    let jane = "oidc:jane@example.com";
    check(json!({}), Ok((jane, &["team:a", "team:b"])));
    check(json!({"groups": "one"}), Ok((jane, &["team:one"])));
    check(json!({"groups": "gone"}), Ok((jane, &[])));
    check(json!({"email_verified": true}), Ok((jane, &["team:a", "team:b"])));
}

#[test]
fn a_tokens_identifier_is_told() {
    let claims = json!({"email": "a", "sub": "1", "hd": "example.com", "jti": "t-1"});
    let Value::Object(claims) = claims else { unreachable!() };
    let user = user(&mapping(), claims).unwrap();
    assert_eq!(user.extra["authentication.kubernetes.io/credential-id"], ["JTI=t-1"]);
}

#[test]
fn an_expression_makes_no_empty_name() {
    let name = Expression::compile("claims.?nick.orValue('')", About::Claims, false).unwrap();
    let mapping = Mapping { username: Source::Expression(name), ..mapping() };
    let claims = |nick: &str| {
        let claims = json!({"nick": nick, "sub": "1", "hd": "example.com"});
        claims.as_object().unwrap().clone()
    };
    assert_eq!(user(&mapping, claims("jane")).unwrap().name, "jane");
    let empty = "oidc: empty username via CEL expression is not allowed";
    assert_eq!(user(&mapping, claims("")).unwrap_err(), empty);
}

#[test]
fn claims_that_make_none() {
    check(json!({"email": "gone"}), Err("oidc: parse username claims \"email\": claim not present"));
    check(json!({"email_verified": false}), Err("oidc: email not verified"));
    check(json!({"sub": 1}), Err("oidc: parse uid claim \"sub\": not a string"));
    check(
        json!({"groups": [1]}),
        Err("oidc: parse groups claim \"groups\": not a string or a list of strings"),
    );
    check(json!({"hd": "gone"}), Err("oidc: required claim hd not present in ID token"));
    check(
        json!({"hd": "other"}),
        Err("oidc: required claim hd value does not match. Got = other, want = example.com"),
    );
}
