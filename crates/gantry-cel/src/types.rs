//! The types of expressions, how they are written, and which stand for which.

use std::fmt;
use std::sync::Arc;

use crate::declared::ObjectType;

/// The type of an expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    /// Known only when evaluated.
    Dyn,
    /// Something is wrong with the expression; errors that follow from that are not shown.
    Error,
    /// `null`.
    Null,
    /// True or false.
    Bool,
    /// A signed integer.
    Int,
    /// An unsigned integer.
    Uint,
    /// A floating-point number.
    Double,
    /// Text.
    String,
    /// Bytes.
    Bytes,
    /// A point in time.
    Timestamp,
    /// A length of time.
    Duration,
    /// A list.
    List(Arc<Type>),
    /// A map: the types of keys and of values.
    Map(Arc<(Type, Type)>),
    /// A value or none.
    Optional(Arc<Type>),
    /// A type itself.
    Type(Arc<Type>),
    /// An object of declared fields.
    Object(Arc<ObjectType>),
    /// A type that only functions look into.
    Opaque(Opaque),
    /// The parameter of a function's signature.
    Param(u32),
}

/// A type of the Kubernetes libraries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Opaque {
    /// A URL.
    Url,
    /// A quantity.
    Quantity,
    /// An IP address.
    Ip,
    /// A block of IP addresses.
    Cidr,
    /// A semantic version.
    Semver,
    /// A named format of texts.
    Format,
    /// What asks for authorization.
    Authorizer,
    /// A check of a path.
    PathCheck,
    /// A check of a group.
    GroupCheck,
    /// A check of a resource.
    ResourceCheck,
    /// What an authorization check has found.
    Decision,
}

impl Opaque {
    /// All of them, with their short names in signatures and upstream's names.
    const ALL: [(Self, &'static str, &'static str); 11] = [
        (Self::Url, "url", "kubernetes.URL"),
        (Self::Quantity, "quantity", "kubernetes.Quantity"),
        (Self::Ip, "ip", "net.IP"),
        (Self::Cidr, "cidr", "net.CIDR"),
        (Self::Semver, "semver", "kubernetes.Semver"),
        (Self::Format, "format", "kubernetes.NamedFormat"),
        (Self::Authorizer, "authorizer", "kubernetes.authorization.Authorizer"),
        (Self::PathCheck, "pathcheck", "kubernetes.authorization.PathCheck"),
        (Self::GroupCheck, "groupcheck", "kubernetes.authorization.GroupCheck"),
        (Self::ResourceCheck, "resourcecheck", "kubernetes.authorization.ResourceCheck"),
        (Self::Decision, "decision", "kubernetes.authorization.Decision"),
    ];

    /// Upstream's name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|each| each.0 == self).map_or("", |each| each.2)
    }

    /// The type of that name in signatures.
    pub(crate) fn by_short_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|each| each.1 == name).map(|each| each.0)
    }
}

impl Type {
    /// A list of such items.
    pub fn list(item: Self) -> Self {
        Self::List(Arc::new(item))
    }

    /// A map.
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new((key, value)))
    }

    /// An optional value.
    pub fn optional(value: Self) -> Self {
        Self::Optional(Arc::new(value))
    }

    /// Whether any type may stand for it.
    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// The type without the optional around it.
    pub(crate) fn unwrapped(&self) -> (&Self, bool) {
        match self {
            Self::Optional(inner) => (inner, true),
            other => (other, false),
        }
    }

    /// The type that a name of the language stands for.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "bool" => Self::Bool,
            "int" => Self::Int,
            "uint" => Self::Uint,
            "double" => Self::Double,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "null_type" => Self::Null,
            "dyn" => Self::Dyn,
            "list" => Self::list(Self::Dyn),
            "map" => Self::map(Self::Dyn, Self::Dyn),
            "type" => Self::Type(Arc::new(Self::Dyn)),
            "timestamp" | "google.protobuf.Timestamp" => Self::Timestamp,
            "duration" | "google.protobuf.Duration" => Self::Duration,
            "optional_type" => Self::optional(Self::Dyn),
            _ => return Opaque::ALL.iter().find(|each| each.2 == name).map(|each| Self::Opaque(each.0)),
        })
    }

    /// The name that values of the type give for themselves, such as `list`.
    pub(crate) fn runtime_name(&self) -> String {
        match self {
            Self::List(_) => "list".into(),
            Self::Map(_) => "map".into(),
            Self::Optional(_) => "optional_type".into(),
            Self::Type(_) => "type".into(),
            Self::Null => "null_type".into(),
            Self::Timestamp => "google.protobuf.Timestamp".into(),
            Self::Duration => "google.protobuf.Duration".into(),
            other => other.to_string(),
        }
    }
}

impl Type {
    /// The name of the type itself, as upstream prints it outside of the checker's messages.
    pub(crate) fn declared_name(&self) -> String {
        match self {
            Self::Null => "null_type".into(),
            Self::Timestamp => "google.protobuf.Timestamp".into(),
            Self::Duration => "google.protobuf.Duration".into(),
            Self::List(item) => format!("list({})", item.declared_name()),
            Self::Map(types) => format!("map({}, {})", types.0.declared_name(), types.1.declared_name()),
            Self::Optional(inner) => format!("optional_type({})", inner.declared_name()),
            Self::Type(inner) => format!("type({})", inner.declared_name()),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dyn => "dyn",
            Self::Error => "!error!",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            Self::List(item) => return write!(f, "list({item})"),
            Self::Map(types) => return write!(f, "map({}, {})", types.0, types.1),
            Self::Optional(inner) => return write!(f, "optional_type({inner})"),
            Self::Type(inner) => return write!(f, "type({inner})"),
            Self::Object(object) => object.name(),
            Self::Opaque(opaque) => opaque.name(),
            Self::Param(at) => return write!(f, "_var{at}"),
        })
    }
}

/// What the parameters of signatures stand for, found while checking.
#[derive(Debug, Clone, Default)]
pub(crate) struct Substitution {
    bound: Vec<Option<Type>>,
}

impl Substitution {
    /// A parameter that stands for nothing yet.
    pub fn fresh(&mut self) -> Type {
        self.bound.push(None);
        Type::Param(self.bound.len() as u32 - 1)
    }

    /// How many parameters there are, to return to.
    pub fn mark(&self) -> Self {
        self.clone()
    }

    fn find(&self, at: u32) -> Option<&Type> {
        self.bound.get(at as usize)?.as_ref()
    }

    /// `kind` with every parameter replaced by what it stands for, or by `dyn`.
    pub fn resolve(&self, kind: &Type) -> Type {
        self.replace(kind, true)
    }

    /// `kind` with the parameters replaced that stand for something.
    pub fn apply(&self, kind: &Type) -> Type {
        self.replace(kind, false)
    }

    fn replace(&self, kind: &Type, fully: bool) -> Type {
        match kind {
            Type::Param(at) => match self.find(*at) {
                Some(bound) => self.replace(bound, fully),
                None if fully => Type::Dyn,
                None => kind.clone(),
            },
            Type::List(item) => Type::list(self.replace(item, fully)),
            Type::Map(types) => Type::map(self.replace(&types.0, fully), self.replace(&types.1, fully)),
            Type::Optional(inner) => Type::optional(self.replace(inner, fully)),
            Type::Type(inner) => Type::Type(Arc::new(self.replace(inner, fully))),
            other => other.clone(),
        }
    }

    /// Whether parameter `at` occurs in `kind`.
    fn occurs(&self, at: u32, kind: &Type) -> bool {
        match kind {
            Type::Param(other) if *other == at => true,
            Type::Param(other) => self.find(*other).is_some_and(|bound| self.occurs(at, bound)),
            Type::List(inner) | Type::Optional(inner) | Type::Type(inner) => self.occurs(at, inner),
            Type::Map(types) => self.occurs(at, &types.0) || self.occurs(at, &types.1),
            _ => false,
        }
    }

    /// Tries to let parameter `at` stand for `kind`: whether it may, and whether it stood for
    /// something before.
    fn bind(&mut self, kind: &Type, at: u32) -> (bool, bool) {
        if *kind == Type::Param(at) {
            return (true, true);
        }
        if let Some(bound) = self.find(at).cloned() {
            if !self.assignable(kind, &bound) {
                return (false, true);
            }
            let general = if is_general(kind, &bound) { kind.clone() } else { bound };
            if !self.occurs(at, &general) {
                self.bound[at as usize] = Some(general);
            }
            return (true, true);
        }
        if self.occurs(at, kind) {
            return (false, false);
        }
        self.bound[at as usize] = Some(kind.clone());
        (true, false)
    }

    /// Whether a value of type `from` may stand where `to` is expected.
    pub fn assignable(&mut self, from: &Type, to: &Type) -> bool {
        if let Type::Param(at) = to {
            let (valid, bound) = self.bind(from, *at);
            if valid || bound {
                return valid;
            }
        }
        if let Type::Param(at) = from {
            return self.bind(to, *at).0;
        }
        if from.is_dyn() || to.is_dyn() {
            return true;
        }
        let nullable = |kind: &Type| {
            matches!(
                kind,
                Type::Null
                    | Type::Object(_)
                    | Type::Timestamp
                    | Type::Duration
                    | Type::Optional(_)
                    | Type::Opaque(_)
            )
        };
        match (from, to) {
            (Type::Null, other) | (other, Type::Null) => nullable(other),
            (Type::List(from), Type::List(to)) | (Type::Optional(from), Type::Optional(to)) => {
                self.assignable(from, to)
            }
            (Type::Map(from), Type::Map(to)) => {
                self.assignable(&from.0, &to.0) && self.assignable(&from.1, &to.1)
            }
            (Type::Type(_), Type::Type(_)) => true,
            (from, to) => from == to,
        }
    }

    /// The type that stands for both, as of the items of a list.
    pub fn join(&mut self, a: Type, b: &Type) -> Option<Type> {
        let before = self.mark();
        if self.assignable(b, &a) {
            return Some(if is_general(&a, b) { a } else { b.clone() });
        }
        *self = before;
        None
    }
}

/// Whether `a` is as general as `b` or more so.
fn is_general(a: &Type, b: &Type) -> bool {
    if a.is_dyn() || matches!(a, Type::Param(_)) {
        return true;
    }
    match (a, b) {
        (_, Type::Dyn | Type::Error | Type::Param(_)) => false,
        (Type::Null, _) => false,
        (_, Type::Null) => true,
        (Type::List(a), Type::List(b)) | (Type::Optional(a), Type::Optional(b)) => is_general(a, b),
        (Type::Map(a), Type::Map(b)) => is_general(&a.0, &b.0) && is_general(&a.1, &b.1),
        (Type::Type(_), Type::Type(_)) => true,
        (a, b) => a == b,
    }
}
