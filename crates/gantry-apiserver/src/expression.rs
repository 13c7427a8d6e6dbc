//! CEL expressions in the server's own configuration.

use std::sync::{Arc, LazyLock};

use gantry_cel::{Budget, Declared, Environment, Form, Program, Type, Variables};
use gantry_json::Value;

/// What an expression is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// The claims of a token, as `claims`.
    Claims,
    /// Whom they describe, as `user`.
    User,
    /// The spec of a SubjectAccessReview, as `request`.
    Request,
}

impl About {
    /// The variable that it stands under.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Claims => "claims",
            Self::User => "user",
            Self::Request => "request",
        }
    }

    fn environment(self) -> &'static Environment {
        static CLAIMS: LazyLock<Environment> =
            LazyLock::new(|| Environment::new().with("claims", Type::map(Type::String, Type::Dyn)));
        static USER: LazyLock<Environment> = LazyLock::new(|| {
            let review = ["authentication.k8s.io", "v1", "TokenReview"];
            Environment::new().with("user", field(review, &["status", "user"]))
        });
        static REQUEST: LazyLock<Environment> = LazyLock::new(|| {
            let review = ["authorization.k8s.io", "v1", "SubjectAccessReview"];
            Environment::new().with("request", field(review, &["spec"]))
        });
        match self {
            Self::Claims => &CLAIMS,
            Self::User => &USER,
            Self::Request => &REQUEST,
        }
    }
}

/// The type of a field of a built-in kind.
fn field([group, version, kind]: [&str; 3], path: &[&str]) -> Type {
    let mut declared = Declared::kind(group, version, kind);
    for name in path {
        declared = declared.and_then(|declared| match &declared.form {
            Form::Object(object) => object.field(name).map(|field| field.declared.clone()),
            _ => None,
        });
    }
    match declared.map(|declared| declared.form) {
        Some(Form::Object(object)) => Type::Object(Arc::new(object.as_in_json())),
        _ => Type::Dyn,
    }
}

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Expression {
    text: String,
    about: About,
    program: Program,
}

impl Expression {
    /// Compiles an expression, whose result is a boolean where `boolean` says so. The error is what is
    /// wrong with it.
    pub fn compile(text: &str, about: About, boolean: bool) -> Result<Self, String> {
        let environment = about.environment();
        let program =
            if boolean { environment.compile(text, &[Type::Bool]) } else { environment.compile_any(text) };
        let program = program.map_err(|error| error.to_string())?;
        Ok(Self { text: text.to_owned(), about, program })
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the expression reads `field` of its variable.
    pub fn selects(&self, field: &str) -> bool {
        self.program.selects(self.about.variable(), field)
    }

    /// Its value, where its variable stands for `value`.
    pub fn evaluate(&self, value: &Value, budget: &mut Budget) -> Result<Value, String> {
        let variables = Variables::new().with(self.about.variable(), gantry_cel::Value::json(value));
        let result = self.program.evaluate(&variables, budget);
        result.and_then(|value| value.to_json()).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::json;

    use super::*;

    fn check(text: &str, about: About, value: Value, expect: Result<Value, &str>) {
        let got = Expression::compile(text, about, false)
            .and_then(|expression| expression.evaluate(&value, &mut Budget::new(Budget::PER_REQUEST)));
        assert_eq!(got, expect.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn variables_have_their_types() {
        let claims = json!({"sub": "jane", "roles": ["a", "b"], "nested": {"deep": true}});
        check("'x:' + claims.sub", About::Claims, claims.clone(), Ok(json!("x:jane")));
        check("claims.roles.map(r, 'r:' + r)", About::Claims, claims.clone(), Ok(json!(["r:a", "r:b"])));
        check("claims.?nested.deep.orValue(false)", About::Claims, claims, Ok(json!(true)));
        check("claims.none", About::Claims, json!({}), Err("no such key: none"));
        let user = json!({"username": "jane", "groups": ["dev"], "uid": "", "extra": {}});
        check("user.groups.all(g, !g.startsWith('system:'))", About::User, user, Ok(json!(true)));
        let request = json!({"resourceAttributes": {"namespace": "shop", "verb": "get"}});
        let text = "has(request.resourceAttributes) && request.resourceAttributes.namespace == 'shop'";
        check(text, About::Request, request, Ok(json!(true)));
    }

    #[test]
    fn what_does_not_compile() {
        let wrong = |text: &str, about| Expression::compile(text, about, true).unwrap_err();
        assert_eq!(wrong("claims.sub", About::Claims), "must evaluate to bool");
        assert!(wrong("user.name == ''", About::User).contains("undefined field 'name'"));
        assert!(wrong("request.", About::Request).contains("Syntax error"));
        assert!(wrong("object == 1", About::Request).contains("undeclared reference to 'object'"));
    }

    #[test]
    fn fields_that_are_read() {
        let reads = |text: &str| Expression::compile(text, About::Claims, false).unwrap().selects("email");
        assert!(reads("claims.email") && reads("claims.?email.orValue('')") && reads("[claims.email]"));
        assert!(!reads("claims.email_verified") && !reads("claims.other.email"));
    }
}
