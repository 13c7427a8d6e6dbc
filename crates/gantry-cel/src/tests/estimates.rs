//! Costs told before an expression runs.

use super::*;

fn sized(form: Form, max: u64) -> Declared {
    Declared { form, max }
}

fn field(json: &str, declared: Declared) -> Field {
    Field { json: json.into(), declared, required: false, has_default: false }
}

#[test]
fn estimates_follow_the_schema() {
    let list = |item, max| sized(Form::List(Box::new(item), ListForm::Atomic), max);
    let object = ObjectType::new(
        "self",
        [
            field("n", Declared::new(Form::Int)),
            field("s", sized(Form::String, 100)),
            field("long", Declared::new(Form::String)),
            field("list", list(Declared::new(Form::Int), 10)),
            field("names", list(sized(Form::String, 40), 10)),
            field("map", sized(Form::Map(Box::new(sized(Form::String, 20))), 5)),
        ],
    );
    let environment =
        Environment::new().with_declared("self", Arc::new(Declared::new(Form::Object(Arc::new(object)))));
    for (text, max) in [
        ("true", 0),
        ("self.n == 1", 3),
        ("self.s == 'abc'", 3),
        ("self.s == self.s", 2 + 2 + 10),
        ("has(self.s)", 1),
        ("self.s.contains('0123456789')", 2 + 10),
        ("self.s.matches('[a-z]+')", 2 + 11 * 2),
        ("self.list.all(x, x > 0)", 2 + 1 + 10 * (2 + 3)),
        ("self.names.all(x, x == 'abcdefghijklmnopqrst')", 2 + 1 + 10 * (2 + 1 + 1 + 2)),
        (
            "self.names.exists(x, self.names.exists(y, x == y))",
            2 + 1 + 10 * (3 + 1 + (2 + 1 + 10 * (3 + 1 + 2 + 4))),
        ),
        ("self.map.all(k, self.map[k] == 'x')", 2 + 1 + 5 * (2 + 1 + (2 + 1 + 1) + 1)),
        ("self.n > 0 && self.s.startsWith('a')", 3 + 3),
        ("self.names[0].size() > 3", 4 + 1),
        ("self.list.sum() > 3", 2 + 10 + 1),
        ("self.names.map(x, x + 'ab').all(y, y != '')", 2 + 10 + 10 * 18 + 1 + 1 + 10 * 4),
    ] {
        let program =
            environment.compile(text, &[Type::Bool]).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(environment.estimate(&program).max, max, "{text}");
    }
    let program = environment.compile("self.long.matches(self.long)", &[Type::Bool]).expect("well-formed");
    assert_eq!(environment.estimate(&program).max, u64::MAX);
}
