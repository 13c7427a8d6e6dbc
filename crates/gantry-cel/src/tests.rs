//! Expressions and what comes of them.

use std::sync::Arc;

use gantry_json::{Value as Json, json};

use super::*;

mod costs;
mod errors;
mod estimates;
mod patches;
mod properties;
mod rules;
mod stored;

fn environment() -> Environment {
    Environment::new().with("self", Type::Dyn).with("object", Type::Dyn)
}

/// What `text` comes to over `self`, as JSON, or why it does not.
fn evaluate(text: &str, this: &Json) -> Result<Json, String> {
    let program = environment().compile_any(text).map_err(|error| error.to_string())?;
    let variables = Variables::new().with("self", Value::json(this));
    let mut budget = Budget::new(Budget::PER_REQUEST);
    let value = program.evaluate(&variables, &mut budget).map_err(|error| error.to_string())?;
    value.to_json().map_err(|error| error.to_string())
}

/// Each of these is true.
fn hold(texts: &[&str]) {
    let this = json!({
        "a": 1, "name": "web-1", "list": [3, 1, 2], "labels": {"app": "web", "tier": "front"},
        "items": [{"n": 1}, {"n": 2}, {"m": 3}], "big": 18_446_744_073_709_551_615u64, "half": 0.5, "none": null,
    });
    for text in texts {
        assert_eq!(evaluate(text, &this), Ok(Json::Bool(true)), "{text}");
    }
}

#[test]
fn operators() {
    hold(&[
        "1 + 2 * 3 == 7 && -(-3) == 3 && 7 % 4 == 3 && 7 / 2 == 3",
        "1u + 2u == 3u && 1.5 + 1.0 == 2.5 && 'a' + 'b' == 'ab' && b'a' + b'b' == b'ab'",
        "1 < 2 && 2u >= 2u && 1.0 < 1.5 && 'a' < 'b' && b'a' < b'b' && false < true",
        "1 == 1 && dyn(1) == dyn(1.0) && dyn(1) == dyn(1u) && dyn('1') != dyn(1)",
        "dyn(1) < 1.5 && dyn(2u) > 1 && dyn(1.5) < 2u",
        "[1, 2] + [3] == [1, 2, 3] && 2 in [1, 2] && 'a' in {'a': 1} && !(3 in [1])",
        "{'a': 1}['a'] == 1 && {'a': 1}.a == 1 && [1, 2][1] == 2 && {1: 'x'}[1] == 'x'",
        "(true ? 1 : 2) == 1 && (false || true) && !(true && false)",
        "(1 / 0 == 1) || true",
        "!((1 / 0 == 1) && false)",
        "self.a == 1 && self.list[0] == 3 && self.labels['app'] == 'web' && self.half == 0.5",
        "has(self.a) && !has(self.b) && has(self.labels.app) && has(self.none) && self.none == null",
        "type(1) == int && type('') == string && type([]) == list && type({}) == map && type(type(1)) == type",
        "self.big == 18446744073709551615u",
        "r'\\d' == '\\\\d' && '\\u00e9' == 'é' && size('é') == 1 && size(b'é') == 2",
        "'''a\nb''' == 'a\\nb' && 0x10 == 16 && 1e3 == 1000.0",
    ]);
}

#[test]
fn comprehensions() {
    hold(&[
        "self.list.all(x, x > 0) && self.list.exists(x, x == 3) && self.list.exists_one(x, x > 2)",
        "self.list.map(x, x * 2) == [6, 2, 4] && self.list.map(x, x > 1, x) == [3, 2]",
        "self.list.filter(x, x < 3) == [1, 2] && self.labels.all(k, k.size() > 2)",
        "self.items.exists(i, i.n == 2) && !self.items.exists(i, has(i.n) && i.n == 5)",
        "self.items.all(i, has(i.n) || has(i.m))",
        "[[1, 2], [3]].map(l, l.map(x, x + 1)) == [[2, 3], [4]]",
        "[1, 2].all(i, v, i < v) && {'a': 1}.exists(k, v, k == 'a' && v == 1) && [5].existsOne(i, v, v == 5)",
        "[1, 2].transformList(i, v, i + v) == [1, 3] && [1, 2].transformList(i, v, i > 0, v) == [2]",
        "{'a': 1}.transformMap(k, v, v + 1) == {'a': 2} && [4].transformMap(i, v, v) == {0: 4}",
        "{'a': 'b'}.transformMapEntry(k, v, {v: k}) == {'b': 'a'}",
    ]);
}

#[test]
fn optionals() {
    hold(&[
        "self.?a.orValue(5) == 1 && self.?b.orValue(5) == 5 && self.?b.c.d.orValue('x') == 'x'",
        "!self.?b.hasValue() && self.?labels.app == optional.of('web') && self.list[?7] == optional.none()",
        "self.labels[?'app'].value() == 'web' && optional.of(1).or(optional.of(2)).value() == 1",
        "self.?a.optMap(x, x + 1) == optional.of(2) && self.?b.optMap(x, x + 1) == optional.none()",
        "self.?a.optFlatMap(x, optional.of(x)).value() == 1 && optional.ofNonZeroValue('') == optional.none()",
        "[?self.?a, ?self.?b] == [1] && {?'a': self.?a, ?'b': self.?b} == {'a': 1}",
        "self.?items[0].?n.orValue(0) == 1",
    ]);
}

#[test]
fn standard_library() {
    hold(&[
        "'abc'.contains('b') && 'abc'.startsWith('a') && 'abc'.endsWith('c') && 'abc'.matches('^a.c$')",
        "matches('x1', '[0-9]') && size([1]) == 1 && {'a': 1}.size() == 1",
        "int('5') == 5 && int(2.9) == 2 && uint(3) == 3u && double('1.5') == 1.5 && string(5) == '5'",
        "string(1.0) == '1' && string(true) == 'true' && bool('true') && bytes('a') == b'a' && string(b'a') == 'a'",
        "timestamp('2024-02-03T04:05:06Z').getFullYear() == 2024 && timestamp('2024-02-03T04:05:06Z').getMonth() == 1",
        "timestamp('2024-02-03T04:05:06Z').getHours('-02:00') == 2 && timestamp('2024-02-03T04:05:06Z').getDayOfWeek() == 6",
        "timestamp('2024-02-03T04:05:06Z').getHours('Europe/Berlin') == 5",
        "timestamp('2024-02-03T04:05:06Z') + duration('1h') == timestamp('2024-02-03T05:05:06Z')",
        "duration('1h30m').getMinutes() == 90 && duration('90s') > duration('1m') && string(duration('90s')) == '90s'",
        "timestamp('1970-01-01T00:00:10Z') - timestamp('1970-01-01T00:00:00Z') == duration('10s')",
        "int(timestamp('1970-01-01T00:00:10Z')) == 10 && string(timestamp(10)) == '1970-01-01T00:00:10Z'",
    ]);
}

#[test]
fn strings_lists_sets() {
    hold(&[
        "'hello'.charAt(1) == 'e' && 'hello'.indexOf('l') == 2 && 'hello'.lastIndexOf('l') == 3 && 'x'.charAt(1) == ''",
        "'hello'.indexOf('l', 3) == 3 && 'hello'.lastIndexOf('l', 2) == 2 && 'hello'.indexOf('z') == -1",
        "'AbC'.lowerAscii() == 'abc' && 'AbC'.upperAscii() == 'ABC' && ' x '.trim() == 'x'",
        "'aaa'.replace('a', 'b') == 'bbb' && 'aaa'.replace('a', 'b', 2) == 'bba'",
        "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'ab'.split('') == ['a', 'b']",
        "'a,b'.split(',', 0) == [] && 'héllo'.substring(1) == 'éllo' && 'héllo'.substring(1, 3) == 'él'",
        "['a', 'b'].join('-') == 'a-b' && ['a', 'b'].join() == 'ab' && strings.quote('a\"b') == '\"a\\\\\"b\"'",
        "'%s is %d and %.2f, %x %X %b %o %%'.format(['a', 1, 1.234, 255, 255, 5, 8]) == 'a is 1 and 1.23, ff FF 101 10 %'",
        "'%s'.format([[dyn(1), 'a', {'k': null}]]) == '[1, a, {k: null}]' && '%e'.format([1052.0]) == '1.052000\\u202f×\\u202f10⁰³' && '%.1f'.format([12345.67]) == '12,345.7'",
        "sets.contains([1, 2, 3], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && sets.intersects([1], [1, 2]) && !sets.intersects([1], [2])",
        "[1, 2].isSorted() && ![2, 1].isSorted() && [1, 2].sum() == 3 && [1, 5, 2].max() == 5 && [3, 1].min() == 1",
        "[1, 2, 1].indexOf(1) == 0 && [1, 2, 1].lastIndexOf(1) == 2 && [1].indexOf(9) == -1 && ['b', 'a'].min() == 'a'",
        "[1, 2, 3].slice(1, 3) == [2, 3] && [[1], [2, 3]].flatten() == [1, 2, 3] && [1, 2, 1].distinct() == [1, 2]",
        "dyn([dyn(1), [dyn(2), [3]]]).flatten(2) == [1, 2, 3] && lists.range(3) == [0, 1, 2] && [1, 2].reverse() == [2, 1]",
        "[3, 1, 2].sort() == [1, 2, 3] && self.items.filter(i, has(i.n)).sortBy(i, -i.n)[0].n == 2",
        "['b', 'a'].sortBy(x, x) == ['a', 'b'] && ['bb', 'a'].map(x, x.size()).sort() == [1, 2]",
        "'abc 123'.find('[0-9]+') == '123' && 'a1 b2'.findAll('[0-9]') == ['1', '2'] && '123'.findAll('[0-9]', 2) == ['1', '2']",
    ]);
}

#[test]
fn kubernetes_library() {
    hold(&[
        "url('https://a:80/b/c?x=1&x=2&y=%20').getHost() == 'a:80' && url('https://a:80/').getPort() == '80'",
        "url('https://[::1]:80/').getHostname() == '::1' && url('/x y').getEscapedPath() == '/x%20y' && url('HTTP://a').getScheme() == 'http'",
        "url('https://a/?x=1&x=2').getQuery() == {'x': ['1', '2']} && isURL('/abc') && !isURL('../x') && !isURL('http://a:b')",
        "quantity('1.5Gi').isGreaterThan(quantity('1Gi')) && quantity('100m').compareTo(quantity('0.1')) == 0",
        "quantity('1k').asInteger() == 1000 && quantity('1').add(1).sub(quantity('3')).sign() == -1 && !isQuantity('x')",
        "quantity('500m').asApproximateFloat() == 0.5 && quantity('1k') == quantity('1000') && !quantity('0.5').isInteger()",
        "ip('10.0.0.1').family() == 4 && ip('::1').isLoopback() && isIP('1.2.3.4') && !isIP('1.2.3.256') && !isIP('::ffff:1.2.3.4')",
        "ip.isCanonical('2001:db8::abcd') && !ip.isCanonical('2001:DB8::ABCD') && ip('224.0.0.1').isLinkLocalMulticast()",
        "ip('8.8.8.8').isGlobalUnicast() && !ip('127.0.0.1').isGlobalUnicast() && string(ip('1.2.3.4')) == '1.2.3.4'",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsIP(ip('10.1.2.3')) && isCIDR('10.0.0.0/8')",
        "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !cidr('10.0.0.0/16').containsCIDR(cidr('10.0.0.0/8'))",
        "cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8') && cidr('10.0.0.0/8').prefixLength() == 8 && cidr('10.1.2.3/8').ip() == ip('10.1.2.3')",
        "!format.dns1123Label().validate('a').hasValue() && format.named('dns1123Label').value().validate('A').hasValue()",
        "!format.named('x').hasValue() && !format.uuid().validate('123e4567-e89b-12d3-a456-426614174000').hasValue()",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('1.0.0-a').isLessThan(semver('1.0.0')) && !isSemver('v1.0')",
        "isSemver('v1.0', true) && semver('v01.2', true).minor() == 2 && semver('1.2.3').compareTo(semver('1.2.3')) == 0",
    ]);
}

#[test]
fn failures() {
    let this = json!({"a": 1, "list": [1], "text": "x", "none": null});
    for (text, expected) in [
        ("self.b == 1", "no such key: b"),
        ("self.none.x == 1", "no such key: x"),
        ("self.list[3] == 1", "index out of bounds: 3"),
        ("{'a': 1}['b'] == 1", "no such key: b"),
        ("1 / (self.a - 1) == 1", "division by zero"),
        ("1 % (self.a - 1) == 1", "modulus by zero"),
        ("9223372036854775807 + self.a == 1", "integer overflow"),
        ("self.a + self.text == 1", "no such overload"),
        ("object == 1", "no such attribute(s): object"),
        ("optional.none().value()", "optional.none() dereference"),
        ("int('x') == 1", "type conversion error from 'string' to 'int'"),
        ("{'a': 1, 'a': 2} == {}", "Failed with repeated key: a"),
        ("self.a ? true : false", "no such overload"),
        (
            "quantity('x') == quantity('1')",
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ] {
        assert_eq!(evaluate(text, &this), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn cost_is_upstreams() {
    let this = json!({"a": 1, "s": "0123456789012345678901234567890123456789", "list": [1, 2, 3], "map": {"k": {"v": 1}}});
    for (text, expected) in [
        ("true", 0),
        ("self", 1),
        ("self.a", 2),
        ("self.map.k.v", 4),
        ("has(self.map.k)", 2),
        ("self.a == 1", 3),
        ("self.s == self.s", 8),
        ("self.s.contains('0123456789')", 6),
        ("self.s.matches('[0-9]+')", 12),
        ("[1, 2, 3]", 0),
        ("[self]", 11),
        ("{'a': self}", 31),
        ("self.s in ['a', 'b']", 2),
        ("self.a > 0 ? self.a : 0", 4),
        ("self.a in self.list", 7),
        // A round of `all`: condition 2, step 3; the range 2, the result 1.
        ("self.list.all(x, x > 0)", 18),
        ("self.list.map(x, x)", 2 + 3 * 13 + 1),
        ("self.list[0]", 3),
        ("true ? self.a : 0", 1),
        ("self.s.split('0')", 10),
        ("self.s.size() > 3", 4),
    ] {
        let program = environment().compile_any(text).expect(text);
        let variables = Variables::new().with("self", Value::json(&this));
        let mut budget = Budget::new(1_000);
        program.evaluate(&variables, &mut budget).expect(text);
        assert_eq!(1_000 - budget.remaining(), expected, "{text}");
    }
}

#[test]
fn budgets_end_evaluation() {
    let this = json!((0..2_000).collect::<Vec<_>>());
    let program =
        environment().compile_any("self.all(x, self.all(y, x >= 0 || y >= 0))").expect("well-formed");
    let variables = Variables::new().with("self", Value::json(&this));
    let mut budget = Budget::new(Budget::PER_REQUEST).with_per_call(50_000);
    let error = program.evaluate(&variables, &mut budget).expect_err("too much");
    assert_eq!(error, EvaluationError::CostLimit);
    assert!(budget.remaining() <= Budget::PER_REQUEST - 50_000);
    let mut budget = Budget::new(100);
    let error = program.evaluate(&variables, &mut budget).expect_err("too much");
    assert_eq!((error, budget.remaining()), (EvaluationError::BudgetExhausted, 0));
    let mut budget = Budget::new(Budget::PER_REQUEST).with_deadline(std::time::Instant::now());
    let error = program.evaluate(&variables, &mut budget).expect_err("too late");
    assert_eq!(error, EvaluationError::Interrupted);
}

#[test]
fn composed_variables_are_found_once() {
    let base = environment();
    let mut composition = Composition::new();
    composition.add(&base, "doubled", "self.a * 2").expect("well-formed");
    composition.add(&base, "broken", "variables.doubled / 0").expect("well-formed");
    composition.add(&base, "more", "variables.doubled + 1").expect("well-formed");
    let environment = composition.environment(&base);
    let this = json!({"a": 2});
    let variables = Variables::new().with("self", Value::json(&this)).with_composition(&composition);
    let mut session = Session::new(&variables);
    let run = |text: &str| environment.compile_any(text).expect(text);
    let (once, twice) = (run("variables.more"), run("variables.more + variables.doubled"));
    let mut budget = Budget::new(100);
    assert_eq!(session.evaluate(&once, &mut budget).expect("a value").to_json(), Ok(json!(5)));
    let spent = 100 - budget.remaining();
    assert_eq!(session.evaluate(&twice, &mut budget).expect("a value").to_json(), Ok(json!(9)));
    assert_eq!((spent, 100 - budget.remaining()), (2 + 3 + 3, 8 + 5));
    let broken = run("variables.broken == 1");
    assert_eq!(
        session.evaluate(&broken, &mut budget).expect_err("broken").to_string(),
        "composited variable \"broken\" fails to evaluate: division by zero"
    );
    let error = environment.compile_any("variables.other").expect_err("undefined");
    assert!(error.to_string().contains("undefined field 'other'"), "{error}");
}

#[test]
fn data_is_read_by_its_schema() {
    let field = |json: &str, form: Form| Field {
        json: json.into(),
        declared: Declared::new(form),
        required: false,
        has_default: false,
    };
    let key = ObjectType::new("item", [field("k", Form::String), field("v", Form::Int)]);
    let item = Declared::new(Form::Object(Arc::new(key)));
    let object = ObjectType::new(
        "root",
        [
            field("when", Form::Timestamp),
            field("for", Form::Duration),
            field("data", Form::Bytes),
            field("ratio", Form::Double),
            field("port", Form::IntOrString),
            field("with-dash", Form::String),
            field("set", Form::List(Box::new(Declared::new(Form::Int)), ListForm::Set)),
            field("map", Form::List(Box::new(item), ListForm::Map(vec!["k".into()]))),
            field("any", Form::Map(Box::new(Declared::new(Form::Double)))),
        ],
    );
    let declared = Arc::new(Declared::new(Form::Object(Arc::new(object))));
    let environment = Environment::new().with_declared("self", Arc::clone(&declared));
    let this = json!({
        "when": "2024-01-02T03:04:05Z", "for": "1h", "data": "aGk=", "ratio": 2, "port": 80, "with-dash": "x",
        "set": [1, 2], "map": [{"k": "a", "v": 1}, {"k": "b", "v": 2}], "any": {"x": 1},
    });
    for text in [
        "self.when.getFullYear() == 2024 && self.__for__ == duration('3600s') && self.data == b'hi'",
        "self.ratio == 2.0 && type(self.ratio) == double && self.port == 80 && self.with__dash__dash == 'x'",
        "self.set == self.set && self.set + [2, 3] == [1, 2, 3] && self.any.x == 1.0",
        "self.map + self.map == self.map && (self.map + self.map).size() == 2 && self.map[0].v == 1",
    ] {
        let program =
            environment.compile(text, &[Type::Bool]).unwrap_or_else(|error| panic!("{text}: {error}"));
        let variables = Variables::new().with("self", Value::declared(&this, &declared).expect("readable"));
        let value = program.evaluate(&variables, &mut Budget::new(1_000)).expect(text);
        assert_eq!(value.as_bool(), Some(true), "{text}");
    }
}

#[test]
fn authorization_is_asked_for() {
    struct Allows;
    impl Authorizer for Allows {
        fn authorize(&self, attributes: &AuthorizerAttributes) -> AuthorizerDecision {
            let allowed =
                attributes.verb == "get" && attributes.resource == "pods" && attributes.namespace == "a";
            AuthorizerDecision { allowed, reason: attributes.name.clone(), error: None }
        }
    }
    let environment = Environment::new().with("authorizer", Type::Opaque(Opaque::Authorizer));
    let variables = Variables::new().with("authorizer", Value::authorizer(Arc::new(Allows)));
    for (text, expected) in [
        ("authorizer.group('').resource('pods').namespace('a').check('get').allowed()", true),
        ("authorizer.group('').resource('pods').namespace('b').check('get').allowed()", false),
        ("authorizer.group('').resource('pods').name('n').check('get').reason() == 'n'", true),
        ("authorizer.path('/healthz').check('get').errored()", false),
    ] {
        let program = environment.compile(text, &[Type::Bool]).expect(text);
        let mut budget = Budget::new(Budget::PER_REQUEST);
        let value = program.evaluate(&variables, &mut budget).expect(text);
        assert_eq!(value.as_bool(), Some(expected), "{text}");
        assert!(budget.remaining() <= Budget::PER_REQUEST - 350_000);
    }
}
