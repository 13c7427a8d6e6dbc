//! The functions of the language and of its libraries: names, overloads and their signatures.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::types::{Opaque, Substitution, Type};

/// A function's place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FunctionId(pub usize);

/// A function.
#[derive(Debug)]
pub(crate) struct Function {
    /// Its name.
    pub name: &'static str,
    /// What it may be called with.
    pub overloads: Vec<Overload>,
}

/// One signature.
#[derive(Debug)]
pub(crate) struct Overload {
    /// Upstream's name for it.
    pub id: &'static str,
    /// Whether the first parameter is what the function is called on.
    pub member: bool,
    /// The parameters.
    pub params: Vec<Type>,
    /// The result.
    pub result: Type,
}

/// All functions.
pub(crate) struct Functions {
    functions: Vec<Function>,
    by_name: HashMap<&'static str, FunctionId>,
}

impl Functions {
    /// The functions of Kubernetes v1.35.
    pub fn all() -> &'static Self {
        static ALL: LazyLock<Functions> = LazyLock::new(|| read(include_str!("function/table.txt")));
        &ALL
    }

    /// The function of that name.
    pub fn by_name(&self, name: &str) -> Option<FunctionId> {
        self.by_name.get(name).copied()
    }

    /// A function.
    pub fn get(&self, id: FunctionId) -> &Function {
        &self.functions[id.0]
    }

    /// All functions in order.
    pub fn iter(&self) -> impl Iterator<Item = &Function> {
        self.functions.iter()
    }
}

/// Reads the table: a line for each overload with the function's name, the overload's, the
/// parameters (that of a member's target in front of a dot) and the result.
fn read(text: &'static str) -> Functions {
    let mut all = Functions { functions: Vec::new(), by_name: HashMap::new() };
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let Some((name, rest)) = line.split_once(' ') else { continue };
        let Some((id, rest)) = rest.split_once(' ') else { continue };
        let mut reader = Reader { rest };
        let overload = reader.overload(id);
        let at = *all.by_name.entry(name).or_insert_with(|| {
            all.functions.push(Function { name, overloads: Vec::new() });
            FunctionId(all.functions.len() - 1)
        });
        all.functions[at.0].overloads.push(overload);
    }
    all
}

struct Reader {
    rest: &'static str,
}

impl Reader {
    fn skip(&mut self, text: &str) -> bool {
        let found = self.rest.trim_start().strip_prefix(text);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn overload(&mut self, id: &'static str) -> Overload {
        let mut params = Vec::new();
        let member = !self.rest.starts_with('(');
        if member {
            params.push(self.kind());
            self.skip(".");
        }
        self.skip("(");
        while !self.skip(")") && !self.rest.is_empty() {
            params.push(self.kind());
            self.skip(",");
        }
        Overload { id, member, params, result: self.kind() }
    }

    fn kind(&mut self) -> Type {
        self.rest = self.rest.trim_start();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        let mut inner = || {
            self.skip("<");
            let kind = self.kind();
            self.skip(">");
            kind
        };
        match word {
            "list" => Type::list(inner()),
            "optional" => Type::optional(inner()),
            "type" => Type::Type(inner().into()),
            "map" => {
                self.skip("<");
                let key = self.kind();
                self.skip(",");
                let value = self.kind();
                self.skip(">");
                Type::map(key, value)
            }
            "A" => Type::Param(0),
            "B" => Type::Param(1),
            "null" => Type::Null,
            word => Opaque::by_short_name(word)
                .map(Type::Opaque)
                .or_else(|| Type::by_name(word))
                .unwrap_or(Type::Error),
        }
    }
}

impl Overload {
    /// Parameters and result with fresh type parameters.
    pub fn instance(&self, substitution: &mut Substitution) -> (Vec<Type>, Type) {
        let fresh = [substitution.fresh(), substitution.fresh()];
        let params = self.params.iter().map(|kind| rename(kind, &fresh)).collect();
        (params, rename(&self.result, &fresh))
    }
}

fn rename(kind: &Type, fresh: &[Type; 2]) -> Type {
    match kind {
        Type::Param(at) => fresh[*at as usize].clone(),
        Type::List(item) => Type::list(rename(item, fresh)),
        Type::Map(types) => Type::map(rename(&types.0, fresh), rename(&types.1, fresh)),
        Type::Optional(inner) => Type::optional(rename(inner, fresh)),
        Type::Type(inner) => Type::Type(rename(inner, fresh).into()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_well_formed() {
        fn check(kind: &Type, line: &str) {
            match kind {
                Type::Error => panic!("an unknown type in {line}"),
                Type::List(inner) | Type::Optional(inner) | Type::Type(inner) => check(inner, line),
                Type::Map(types) => {
                    check(&types.0, line);
                    check(&types.1, line);
                }
                _ => {}
            }
        }
        for function in Functions::all().iter() {
            for overload in &function.overloads {
                overload.params.iter().chain([&overload.result]).for_each(|kind| check(kind, overload.id));
            }
        }
    }
}
