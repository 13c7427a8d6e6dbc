//! Nothing that anyone may write ends the process or runs without end.

use proptest::prelude::*;

use super::*;

/// Pieces that expressions are made of, so that many random texts are well-formed.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "1",
        "-9223372036854775808",
        "2u",
        "1.5",
        "'a'",
        "b'x'",
        "true",
        "null",
        "self",
        "self.list",
        "self.map",
        "[]",
        "{}",
        "[1, 2]",
        "'2024-01-01T00:00:00Z'",
        "'10.0.0.0/8'",
        "'1Gi'",
        "optional.none()",
        "int",
        "self.?x",
        "'%s %d %.3f'",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 24, 3, |inner| {
        let functions: Vec<(&str, bool, usize)> = crate::function::Functions::all()
            .iter()
            .flat_map(|function| {
                function.overloads.iter().map(move |it| (function.name, it.member, it.params.len()))
            })
            .filter(|each| each.0.starts_with(|c: char| c.is_ascii_alphabetic()) && !each.0.contains('@'))
            .collect();
        let function = (prop::sample::select(functions), prop::collection::vec(inner.clone(), 4));
        prop_oneof![
            (
                inner.clone(),
                prop::sample::select(vec!["+", "-", "*", "/", "%", "==", "<", "in", "&&", "||"]),
                inner.clone()
            )
                .prop_map(|(a, operator, b)| format!("({a} {operator} {b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("dyn({a})[dyn({b})]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("dyn({a}).map(x, {b} == x)")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("dyn({a}).optMap(x, [x, {b}])")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("dyn({a}).transformMap(k, v, [k, {b}])")),
            function.prop_map(|((name, member, count), args)| {
                let args: Vec<_> = args.iter().take(count).map(|arg| format!("dyn({arg})")).collect();
                match args.split_first() {
                    Some((target, rest)) if member => format!("{target}.{name}({})", rest.join(", ")),
                    _ => format!("{name}({})", args.join(", ")),
                }
            }),
        ]
    })
}

fn run(text: &str) {
    let this = json!({"list": [1, "a", null, 1.5, [2], {"b": 3}], "map": {"a": 1, "b": "c"}, "x": -1});
    if let Err(error) = evaluate(text, &this) {
        assert!(!error.contains("internal error"), "{text}: {error}");
    }
}

proptest! {
    #[test]
    fn arbitrary_text(text in "\\PC{0,60}") {
        run(&text);
    }

    #[test]
    fn arbitrary_tokens(tokens in prop::collection::vec(prop::sample::select(vec![
        "(", ")", "[", "]", "{", "}", "?", ":", ",", ".", "+", "-", "!", "&&", "||", "==", "<", "in", "x", "1", "1.5",
        "'a'", "\"", "'''", "b'", "r\"", "has(", ".all(", ".?", "[?", "self", "`", "\\", "//", "\n", "0x", "1u", "é",
    ]), 0..40)) {
        run(&tokens.concat());
        run(&tokens.join(" "));
    }

    #[test]
    fn arbitrary_expressions(text in expressions()) {
        run(&text);
    }

    #[test]
    fn names_are_spelled_back(name in "[a-z]([a-z./-]|_[a-z]|__){0,8}") {
        if let Some(spelled) = escape(&name) {
            prop_assert_eq!(unescape(&spelled), Some(name));
        }
    }
}
