//! What expressions ask of authorization.
//!
//! An expression is evaluated in one go, but who decides may be somebody else's server. So a question whose
//! answer is not in memory is noted and the evaluation's outcome dropped; when the answer is there the
//! expression is evaluated anew. It asks one question at a time, in its own order, and none that its
//! outcome does not depend on. How often it may ask is bounded by what expressions may cost.

use std::collections::HashMap;
use std::sync::Arc;

use gantry_cel::{AuthorizerAttributes, AuthorizerDecision};
use parking_lot::Mutex;

use crate::authz::{Authorizer, Decision};
use crate::{Attributes, User};

/// The questions of one request's expressions, with the answers.
pub(super) struct Questions {
    authorizer: Arc<Authorizer>,
    user: Arc<User>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    answers: HashMap<AuthorizerAttributes, AuthorizerDecision>,
    /// What has to be asked before an evaluation counts.
    open: Option<AuthorizerAttributes>,
}

impl Questions {
    /// Those about what `user` may do.
    pub fn new(authorizer: &Arc<Authorizer>, user: &User) -> Arc<Self> {
        Arc::new(Self {
            authorizer: authorizer.clone(),
            user: Arc::new(user.clone()),
            known: Mutex::default(),
        })
    }

    /// What `evaluate` gives when everything that it asks is answered.
    pub async fn settle<T>(&self, evaluate: impl Fn() -> T) -> T {
        loop {
            let outcome = evaluate();
            let Some(asked) = self.known.lock().open.take() else { return outcome };
            drop(outcome);
            let answer = answer(self.authorizer.authorize(&self.attributes(&asked)).await);
            self.known.lock().answers.insert(asked, answer);
        }
    }

    fn attributes(&self, asked: &AuthorizerAttributes) -> Attributes {
        let user = match &asked.service_account {
            None => self.user.clone(),
            Some((namespace, name)) => {
                let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
                Arc::new(User::new(format!("system:serviceaccount:{namespace}:{name}"), groups))
            }
        };
        match &asked.path {
            Some(path) => Attributes {
                user,
                verb: asked.verb.as_str().into(),
                path: path.as_str().into(),
                ..Attributes::default()
            },
            None => Attributes {
                user,
                verb: asked.verb.as_str().into(),
                group: asked.group.as_str().into(),
                version: "*".into(),
                resource: asked.resource.as_str().into(),
                subresource: asked.subresource.as_str().into(),
                namespace: asked.namespace.as_str().into(),
                name: asked.name.as_str().into(),
                is_resource: true,
                field_selector: asked.field_selector.as_str().into(),
                label_selector: asked.label_selector.as_str().into(),
                ..Attributes::default()
            },
        }
    }
}

impl gantry_cel::Authorizer for Questions {
    fn authorize(&self, asked: &AuthorizerAttributes) -> AuthorizerDecision {
        let mut known = self.known.lock();
        if let Some(answer) = known.answers.get(asked) {
            return answer.clone();
        }
        if known.open.is_none() {
            if let Some(decision) = self.authorizer.authorize_from_memory(&self.attributes(asked)) {
                let answer = answer(decision);
                known.answers.insert(asked.clone(), answer.clone());
                return answer;
            }
            known.open = Some(asked.clone());
        }
        // What comes of this is dropped.
        AuthorizerDecision::default()
    }
}

fn answer(decision: Decision) -> AuthorizerDecision {
    let error = match &decision {
        Decision::Failed { error, .. } => Some(error.clone()),
        _ => None,
    };
    AuthorizerDecision { allowed: decision.is_allowed(), reason: decision.reason().to_owned(), error }
}
