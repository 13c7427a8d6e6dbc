//! Costs as upstream's own tests have them, told before and counted while rules run.

use gantry_api::custom::rules::{Compiler as _, Instance};

use super::*;
use crate::custom::RuleCompiler;

fn objects(fields: Json) -> Json {
    json!({"type": "object", "properties": fields})
}

/// A schema with fields `val1`, `val2` and so on.
fn fields(kinds: &[Json]) -> Json {
    let named = kinds.iter().enumerate().map(|(at, kind)| (format!("val{}", at + 1), kind.clone()));
    objects(Json::Object(named.collect()))
}

fn estimated(schema: &Json, rules: &[(&str, u64)]) {
    let declared = crate::custom::declared_of_schema(schema, true).expect("a type");
    let environment = Environment::new().with_declared("self", Arc::new(declared));
    for (rule, cost) in rules {
        let program =
            environment.compile(rule, &[Type::Bool]).unwrap_or_else(|error| panic!("{rule}: {error}"));
        assert_eq!(environment.estimate(&program).max, *cost, "{rule}");
    }
}

fn counted(schema: &Json, object: &Json, rules: &[(&str, u64)]) {
    for (rule, cost) in rules {
        let mut schema = schema.clone();
        schema["x-kubernetes-validations"] = json!([{"rule": rule}]);
        let program = RuleCompiler.compile(&schema, true).expect(rule);
        let mut budget = 10_000_000;
        let verdicts = program.evaluate(Instance { this: object, old: None }, &[0], &mut budget);
        assert_eq!(verdicts, [gantry_api::custom::rules::Verdict::Holds], "{rule}");
        assert_eq!(10_000_000 - budget, *cost, "{rule}");
    }
}

fn of(kind: &str) -> Json {
    json!({"type": kind})
}

fn string(format: &str) -> Json {
    json!({"type": "string", "format": format})
}

fn list(items: Json) -> Json {
    json!({"type": "array", "items": items})
}

fn list_map() -> Json {
    objects(json!({"listMap": {
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
        "items": objects(json!({"k": of("string"), "v": of("string"), "v2": of("string")})),
    }}))
}

#[test]
fn told_for_scalars() {
    let integers = fields(&[of("integer"), of("integer")]);
    estimated(
        &integers,
        &[("self.val1 == self.val2", 4), ("type(self.val1) == int", 4), ("self.val1 + 1 == 5 + 1", 5)],
    );
    let mixed = fields(&[of("integer"), of("number"), of("number")]);
    estimated(
        &mixed,
        &[
            ("double(self.val1) < self.val2", 6),
            ("double(5) < 10.0", 2),
            ("double(self.val1) < 10.0", 4),
            ("self.val2 == 1.0", 2),
        ],
    );
    let strings = fields(&[of("string"), of("string")]);
    estimated(
        &strings,
        &[
            ("self.val1.startsWith('Rook')", 3),
            ("!self.val1.startsWith('knight')", 4),
            ("self.val1.matches('^[^0-9]*$')", 943_721),
            ("!self.val1.matches('^[0-9]*$')", 629_149),
            ("type(self.val1) == string", 4),
            ("size(self.val1) == 12", 4),
            ("self.val1.charAt(3) == 'k'", 4),
            ("self.val1.indexOf('o') == 1", 314_576),
            ("self.val1.replace(' ', 'x') == 'Rookxtakesx'", 629_150),
            ("self.val1.split(' ') == ['Rook', 'takes', 'x']", 629_159),
            ("self.val1.substring(5) == 'takes x'", 314_576),
            ("self.val1.substring(4, 10).trim() == 'takes'", 629_149),
            ("self.val1.upperAscii() == 'ROOK TAKES X'", 314_577),
            ("self.val1.lowerAscii() == self.val1.lowerAscii()", 943_723),
        ],
    );
    let times = fields(&[
        string("duration"),
        string("duration"),
        string("date"),
        string("date-time"),
        string("byte"),
        string("byte"),
    ]);
    estimated(
        &times,
        &[
            (
                "self.val1 == self.val2 && self.val1 == duration('1h2m3s4ms') && self.val2 == duration('1h2m3s4ms')",
                16,
            ),
            ("self.val1 == duration('1h2m') + duration('3s4ms')", 6),
            ("self.val3.getDate() == 16", 4),
            ("self.val4.getDate('01:00') == 18", 4),
            ("self.val5 == self.val6", 314_577),
            ("self.val5 == b'AB'", 3),
            ("size(self.val5) == 2", 4),
        ],
    );
    let chosen = objects(json!({"enumStr": {"type": "string", "enum": ["Pending", "Available", "Bound"]}}));
    estimated(&chosen, &[("self.enumStr == 'Pending'", 3), ("self.enumStr in ['Pending', 'Available']", 14)]);
}

#[test]
fn told_for_lists_and_maps() {
    estimated(
        &fields(&[list(of("integer")), list(of("integer"))]),
        &[
            ("1 in self.val1", 1_572_865),
            ("self.val2[0] in self.val1", 1_572_868),
            ("self.val1 + self.val2 == [1, 2, 3, 1, 2, 3]", 16),
            ("self.val1 + [4, 5] == [1, 2, 3, 4, 5]", 24),
            ("!has(self.val1)", 2),
            ("self.val1.all(k, size(self.val1) > 0)", 11_010_044),
            ("self.val1.exists_one(k, self.val1 == [2])", 23_592_949),
            ("!self.val1.exists_one(k, size(self.val1) > 0)", 9_437_183),
            ("size(self.val1.filter(k, size(self.val1) > 1)) == 1", 26_738_686),
            ("self.val1.all(e, e > 0)", 7_864_318),
            ("self.val1.exists(e, e > 2)", 9_437_181),
            ("self.val1.exists_one(e, e > 4)", 6_291_456),
            ("!self.val1.exists_one(e, e == 2)", 4_718_594),
            ("size(self.val1.filter(e, e%2 == 0)) == 3", 25_165_823),
        ],
    );
    estimated(
        &objects(json!({"val": {"type": "object", "additionalProperties": {"type": "integer"}}})),
        &[
            ("!('a' in self.val)", 4),
            ("has(self.val.b)", 2),
            ("self.val.all(k, self.val[k] > 0)", 3_595_115),
            ("self.val.exists_one(k, self.val[k] == 2)", 2_696_338),
            ("size(self.val) == 2", 4),
            ("size(self.val.filter(k, self.val[k] > 1)) == 1", 8_089_017),
        ],
    );
    estimated(
        &list_map(),
        &[
            ("has(self.listMap[0].v)", 3),
            ("self.listMap.all(m, m.k.startsWith('a'))", 6_291_453),
            ("self.listMap.all(m, !has(m.v2) || m.v2 == 'z')", 8_388_603),
            ("self.listMap.exists_one(m, m.k == 'a3')", 5_242_879),
            ("size(self.listMap.filter(m, m.k == 'a1')) == 1", 16_777_215),
            ("self.listMap.exists(m, m.k == 'a1' && m.v == 'b1')", 10_485_753),
            ("self.listMap.map(m, m.v).exists(v, v == 'b1')", 19_922_939),
            ("self.listMap.map(m, has(m.v2) && m.v2 == 'z', m.v2).size() == 1", 18_874_365),
            ("self.listMap.filter(m, has(m.v2) && m.v2 == 'z').map(m, m.v2).size() == 1", 32_505_851),
        ],
    );
}

#[test]
fn counted_for_scalars() {
    let schema = fields(&[
        of("string"),
        of("string"),
        string("duration"),
        of("integer"),
        string("date-time"),
        of("string"),
    ]);
    let object = json!({
        "val1": "Rook takes 👑", "val2": "Rook takes 👑", "val3": "1h2m3s4ms", "val4": 10,
        "val5": "2011-08-18T19:03:37.01+01:00", "val6": "2011-08-18T18:03:37.01Z",
    });
    counted(
        &schema,
        &object,
        &[
            ("self.val1 == self.val2 && self.val1 == 'Rook takes 👑' && self.val2 == 'Rook takes 👑'", 14),
            ("self.val1.startsWith('Rook')", 4),
            ("!self.val1.startsWith('knight')", 5),
            ("self.val1.matches('^[^0-9]*$')", 8),
            ("size(self.val1) == 12", 4),
            ("self.val1.indexOf('o') == 1", 4),
            ("self.val1.replace(' ', 'x') == 'Rookxtakesx👑'", 7),
            ("self.val1.split(' ') == ['Rook', 'takes', '👑']", 6),
            ("self.val1.substring(4, 10).trim() == 'takes'", 6),
            ("self.val1.lowerAscii() == self.val1.lowerAscii()", 10),
            ("'%o %o %o'.format([7, 8, 9]) == '7 10 11'", 2),
            (
                "'%d %s %f %s %s'.format([1, 'abc', 1.0, duration('1m'), timestamp('2000-01-01T00:00:00.000Z')]) == '1 abc 1.000000 60s 2000-01-01T00:00:00Z'",
                6,
            ),
            ("'%e'.format([3.14]) == '3.140000\\u202f×\\u202f10⁰⁰'", 3),
            ("self.val3 == duration('1h2m') + duration('3s4ms')", 4),
            ("double(5) < 10.0", 1),
            ("double(self.val4) < 11.0", 4),
            ("string(self.val5) == self.val6", 8),
        ],
    );
}

#[test]
fn counted_for_lists_and_maps() {
    let schema = objects(json!({
        "val": {"type": "object", "additionalProperties": {"type": "integer"}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": of("string")},
        "other": {"type": "array", "x-kubernetes-list-type": "set", "items": of("string")},
        "numbers": list(of("integer")),
    }));
    let object = json!({
        "val": {"b": 1, "d": 2}, "set": ["a", "b", "c"], "other": ["a", "c", "b"], "numbers": [1, 2, 3],
    });
    counted(
        &schema,
        &object,
        &[
            ("!('a' in self.val)", 4),
            ("self.val.all(k, self.val[k] > 0)", 17),
            ("self.val.exists_one(k, self.val[k] == 2)", 14),
            ("!self.val.exists_one(k, self.val[k] > 0)", 17),
            ("size(self.val.filter(k, self.val[k] > 1)) == 1", 26),
            ("self.set == ['c', 'b', 'a']", 3),
            ("self.set == self.other", 5),
            ("self.other[0] in self.set", 8),
            ("self.set + self.other == ['a', 'b', 'c']", 6),
            ("self.set + ['c', 'd'] == ['a', 'b', 'c', 'd']", 4),
            ("sets.contains(self.set, ['a'])", 6),
            ("sets.equivalent(self.set, ['a', 'b', 'c'])", 21),
            ("self.numbers + self.numbers == [1, 2, 3, 1, 2, 3]", 6),
        ],
    );
    let object = json!({"listMap": [
        {"k": "a1", "v": "b1"}, {"k": "a2", "v": "b2"}, {"k": "a3", "v": "b3", "v2": "z"},
    ]});
    counted(
        &list_map(),
        &object,
        &[
            ("has(self.listMap[0].v)", 3),
            ("self.listMap.all(m, m.k.startsWith('a'))", 21),
            ("self.listMap.all(m, !has(m.v2) || m.v2 == 'z')", 21),
            ("self.listMap.exists(m, m.k.endsWith('1'))", 13),
            ("self.listMap.exists_one(m, m.k == 'a3')", 15),
            ("!self.listMap.all(m, m.k.endsWith('1'))", 18),
            ("!self.listMap.exists(m, m.v == 'x')", 25),
            ("!self.listMap.exists_one(m, m.k.startsWith('a'))", 20),
            ("size(self.listMap.filter(m, m.k == 'a1')) == 1", 27),
            ("self.listMap.map(m, m.v).exists(v, v == 'b1')", 55),
            ("self.listMap.exists_one(m, has(m.v2) && m.v2 == 'z')", 12),
            ("self.listMap.filter(m, has(m.v2) && m.v2 == 'z').size() == 1", 24),
            ("self.listMap.map(m, has(m.v2) && m.v2 == 'z', m.v2).size() == 1", 25),
            ("self.listMap.filter(m, has(m.v2) && m.v2 == 'z').map(m, m.v2).size() == 1", 39),
        ],
    );
}

#[test]
fn told_for_the_kubernetes_libraries() {
    // A character may have four bytes.
    let strings = fields(&[of("string"), json!({"type": "string", "maxLength": 20}), list(of("integer"))]);
    estimated(
        &strings,
        &[
            // What has no target costs one step, however long the text is.
            ("isIP(self.val1)", 3),
            ("isCIDR(self.val1)", 3),
            ("isQuantity(self.val1)", 3),
            ("isSemver(self.val1)", 3),
            ("ip(self.val1) == ip('::1')", 5),
            ("quantity(self.val1) == quantity('1')", 5),
            ("semver(self.val1) == semver('1.0.0')", 5),
            ("format.dns1123Label() == format.uuid()", 9),
            ("url(self.val2) == url('https://a')", 12),
            ("format.uuid().validate(self.val2).hasValue()", 260),
            ("self.val2.split(',', 3).all(x, true)", 28),
            ("self.val3.slice(1, 4).reverse().size() == 3", 32),
            ("lists.range(5) == [0]", 27),
            ("[3, 1].sort() == [1, 3]", 40),
            ("['b', 'a'].sort().size() == 2", 32),
            ("[1, 1, 2].distinct().size() == 2", 41),
            ("[[1], [2]].flatten().size() == 2", 45),
            ("sets.equivalent([1, 2], [2, 1])", 29),
        ],
    );
}

#[test]
fn counted_for_lists() {
    let schema = fields(&[list(of("integer"))]);
    let object = json!({"val1": [3, 1, 2]});
    counted(
        &schema,
        &object,
        &[
            ("self.val1.slice(0, 2).size() == 2", 17),
            ("self.val1.reverse().size() == 3", 18),
            ("self.val1.sort().size() == 3", 33),
            ("self.val1.distinct().size() == 3", 33),
            ("lists.range(4).size() == 4", 17),
            // A list of literals is made before.
            ("['b', 'a'].sort().size() == 2", 21),
            ("ip('::1') == ip('::1')", 3),
        ],
    );
}
