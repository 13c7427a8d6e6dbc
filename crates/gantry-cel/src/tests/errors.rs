//! What is wrong with texts, in upstream's words.

use super::*;

fn refused(text: &str) -> String {
    let pod = Declared::kind("", "v1", "Pod").expect("Pod");
    let environment = environment().with_declared("pod", Arc::new(pod));
    environment
        .compile(text, &[Type::Bool])
        .map(|_| "accepted".to_owned())
        .unwrap_or_else(|error| error.to_string())
}

#[test]
fn messages() {
    for (text, expected) in [
        (
            "x == 1",
            "compilation failed: ERROR: <input>:1:1: undeclared reference to 'x' (in container '')\n | x == 1\n | ^",
        ),
        (
            "1 + 'a' == 2",
            "compilation failed: ERROR: <input>:1:3: found no matching overload for '_+_' applied to '(int, string)'\n | 1 + 'a' == 2\n | ..^",
        ),
        (
            "pod.spek == 1",
            "compilation failed: ERROR: <input>:1:4: undefined field 'spek'\n | pod.spek == 1\n | ...^",
        ),
        (
            "pod.spec.nodeName.x == 1",
            "compilation failed: ERROR: <input>:1:18: type 'string' does not support field selection\n | pod.spec.nodeName.x == 1\n | .................^",
        ),
        ("1 + 1", "must evaluate to bool"),
        ("self.a", "must evaluate to bool"),
        (
            "pod.spec.containers.all(c, c.name == 1)",
            "compilation failed: ERROR: <input>:1:35: found no matching overload for '_==_' applied to '(string, int)'\n | pod.spec.containers.all(c, c.name == 1)\n | ..................................^",
        ),
        (
            "'é' == ü",
            "compilation failed: ERROR: <input>:1:8: Syntax error: token recognition error at: 'ü'\n | 'é' == ü\n | .......^\nERROR: <input>:1:9: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | 'é' == ü\n | ........^",
        ),
        (
            "true &&\n  foo(1)",
            "compilation failed: ERROR: <input>:2:6: undeclared reference to 'foo' (in container '')\n |   foo(1)\n | .....^",
        ),
        (
            "'a'.startsWith(1)",
            "compilation failed: ERROR: <input>:1:15: found no matching overload for 'startsWith' applied to 'string.(int)'\n | 'a'.startsWith(1)\n | ..............^",
        ),
        (
            "1.all(x, true)",
            "compilation failed: ERROR: <input>:1:1: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)\n | 1.all(x, true)\n | ^",
        ),
        (
            "[1, 'a'] == [1]",
            "compilation failed: ERROR: <input>:1:5: expected type 'int' but found 'string'\n | [1, 'a'] == [1]\n | ....^",
        ),
        (
            "'a'.matches('(')",
            "compilation failed: ERROR: <input>:1:13: invalid matches argument\n | 'a'.matches('(')\n | ............^",
        ),
        ("pod.metadata.name == 'x' && pod.spec.containers[0].image.size() > 3", "accepted"),
        ("pod.metadata.creationTimestamp > timestamp('2024-01-01T00:00:00Z')", "accepted"),
        ("object.spec.replicas > 3", "accepted"),
        (
            "has(pod.spec.x)",
            "compilation failed: ERROR: <input>:1:4: undefined field 'x'\n | has(pod.spec.x)\n | ...^",
        ),
        (
            "",
            "compilation failed: ERROR: <input>:1:1: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | \n | ^",
        ),
    ] {
        assert_eq!(refused(text), expected, "{text}");
    }
}

#[test]
fn texts_that_are_too_much() {
    let nested = format!("{}1{} == 1", "(".repeat(600), ")".repeat(600));
    assert!(refused(&nested).contains("expression recursion limit exceeded: 250"));
    let long = format!("{}true", "true || ".repeat(20_000));
    assert!(refused(&long).contains("expression code point size exceeds limit: size: 160004, limit 100000"));
    let wide = format!("{}1 == 1", "1 + ".repeat(15_000));
    assert!(refused(&wide).contains("too many operators"));
    let deep = format!("{}1 > 1", "1 + ".repeat(5_000));
    assert!(refused(&deep).contains("expression nests too deeply: limit 2000"));
    let deep = format!("{}1 > 1", "1 + ".repeat(1_900));
    let program = environment().compile(&deep, &[Type::Bool]).expect("deep but allowed");
    let value = program.evaluate(&Variables::new(), &mut Budget::new(Budget::PER_REQUEST)).expect("a value");
    assert_eq!(value.as_bool(), Some(true));
}

#[test]
fn a_small_stack_is_enough() {
    let work = || {
        for text in [
            format!("{}1{} > 0", "(1 + ".repeat(45), ")".repeat(45)),
            format!("{}true{}", "[1].all(x, ".repeat(12), ")".repeat(12)),
            format!("{}1 > 1", "1 + ".repeat(500)),
        ] {
            let program = environment().compile(&text, &[Type::Bool]).expect("well-formed");
            let value = program.evaluate(&Variables::new(), &mut Budget::new(Budget::PER_REQUEST));
            assert_eq!(value.expect("a value").as_bool(), Some(true));
        }
    };
    let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(work).expect("a thread");
    thread.join().expect("no panic");
}
