//! Which authorizers are asked, in which order.

/// The authorizers that are asked, in order, until one has an opinion.
#[derive(Debug)]
pub struct Chain {
    /// Those asked.
    pub links: Vec<Link>,
}

/// One authorizer.
#[derive(Debug)]
pub enum Link {
    /// Allows everything.
    AlwaysAllow,
    /// Allows nothing.
    AlwaysDeny,
    /// Nodes and what belongs to them.
    Node,
    /// Roles and their bindings.
    Rbac,
}

impl Default for Chain {
    fn default() -> Self {
        Self { links: vec![Link::Node, Link::Rbac] }
    }
}

/// Why those asked so far have no opinion.
#[derive(Debug, Default)]
pub(super) struct Reasons(String);

impl Reasons {
    pub fn add(&mut self, reason: String) {
        if self.0.is_empty() {
            self.0 = reason;
        } else if !reason.is_empty() {
            self.0.push('\n');
            self.0.push_str(&reason);
        }
    }

    pub fn joined(self) -> String {
        self.0
    }
}
