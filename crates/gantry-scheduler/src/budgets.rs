//! Disruption budgets: how many of the pods that they select may be ended. Preemption keeps to them
//! where it can.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::policy::v1::PodDisruptionBudget;

use crate::pod::PodInfo;
use crate::requirement::Selector;

/// One budget.
#[derive(Debug)]
pub struct Budget {
    selector: Selector,
    allowed: i64,
    /// Pods that are counted in `allowed` already.
    disrupted: BTreeSet<String>,
}

impl Budget {
    /// What `budget` says.
    pub fn new(budget: &PodDisruptionBudget) -> Self {
        let status = budget.status.as_ref();
        Self {
            selector: Selector::new(budget.spec.as_ref().and_then(|spec| spec.selector.as_ref())),
            allowed: status.map_or(0, |status| status.disruptions_allowed.into()),
            disrupted: status
                .and_then(|status| status.disrupted_pods.as_ref())
                .into_iter()
                .flat_map(|pods| pods.keys().cloned())
                .collect(),
        }
    }

    /// Whether `pod` counts. To preemption a selector without conditions selects nothing, and pods
    /// without labels are nobody's (upstream's rules).
    fn selects(&self, pod: &PodInfo) -> bool {
        !pod.labels.is_empty() && !self.selector.is_everything() && self.selector.matches(&pod.labels)
    }
}

/// All budgets, by namespace and name.
#[derive(Debug, Default)]
pub struct Budgets(HashMap<String, BTreeMap<String, Budget>>);

impl Budgets {
    /// Takes over a new or changed budget; without one, it is gone.
    pub fn set(&mut self, namespace: &str, name: &str, budget: Option<Budget>) {
        match budget {
            Some(budget) => {
                self.0.entry(namespace.to_owned()).or_default().insert(name.to_owned(), budget);
            }
            None => {
                if let Some(budgets) = self.0.get_mut(namespace) {
                    budgets.remove(name);
                }
            }
        }
    }

    /// For each of `pods`, whether ending it, after those before it, goes beyond a budget.
    pub fn overrun(&self, pods: &[Arc<PodInfo>]) -> Vec<bool> {
        let mut spent: HashMap<(&str, &str), i64> = HashMap::new();
        let mut overrun = vec![false; pods.len()];
        for (pod, overrun) in pods.iter().zip(&mut overrun) {
            for (name, budget) in self.0.get(&pod.namespace).into_iter().flatten() {
                if budget.selects(pod) && !budget.disrupted.contains(&*pod.name) {
                    let spent = spent.entry((&pod.namespace, name)).or_default();
                    *spent += 1;
                    *overrun |= *spent > budget.allowed;
                }
            }
        }
        overrun
    }
}

#[cfg(test)]
mod tests {
    use gantry_json::{Value, json};

    use super::*;
    use crate::watched::Pod;

    fn pod(name: &str, labels: Value) -> Arc<PodInfo> {
        let pod = json!({"metadata": {"name": name, "namespace": "ns", "uid": name, "labels": labels}});
        Arc::new(PodInfo::new(&gantry_json::from_value::<Pod>(pod).expect("a pod")))
    }

    fn check(selector: Value, allowed: i32, disrupted: &[&str], expect: [bool; 4]) {
        let disrupted: BTreeMap<_, _> = disrupted.iter().map(|name| (name, "2030-01-01T00:00:00Z")).collect();
        let budget = json!({"metadata": {}, "spec": {"selector": selector},
            "status": {"disruptionsAllowed": allowed, "disruptedPods": disrupted,
                "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0}});
        let budget = gantry_json::from_value(budget).expect("a budget");
        let mut budgets = Budgets::default();
        budgets.set("other", "b", Some(Budget::new(&PodDisruptionBudget::default())));
        budgets.set("ns", "b", Some(Budget::new(&budget)));
        let web = json!({"app": "web"});
        let pods = [
            pod("a", web.clone()),
            pod("b", web.clone()),
            pod("c", json!({"app": "db"})),
            pod("d", json!({})),
        ];
        assert_eq!(budgets.overrun(&pods), expect);
        budgets.set("ns", "b", None);
        assert_eq!(budgets.overrun(&pods), [false; 4]);
    }

    #[test]
    fn budgets_are_spent_in_order() {
        let web = json!({"matchLabels": {"app": "web"}});
        check(web.clone(), 0, &[], [true, true, false, false]);
        check(web.clone(), 1, &[], [false, true, false, false]);
        check(web.clone(), 2, &[], [false; 4]);
        check(web, 1, &["a"], [false; 4]);
        check(json!({}), 0, &[], [false; 4]);
        check(Value::Null, 0, &[], [false; 4]);
    }
}
