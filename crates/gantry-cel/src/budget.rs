//! What evaluation may cost, in upstream's units.

use std::time::Instant;

/// What may still be spent on a request's expressions.
#[derive(Debug, Clone)]
pub struct Budget {
    remaining: u64,
    per_call: u64,
    deadline: Option<Instant>,
}

impl Budget {
    /// What one evaluation may cost.
    pub const PER_CALL: u64 = 1_000_000;
    /// What the expressions of one request may cost.
    pub const PER_REQUEST: u64 = 10_000_000;
    /// What the match conditions of a request may cost.
    pub const MATCH_CONDITIONS: u64 = 2_500_000;

    /// A budget of `total` units.
    pub fn new(total: u64) -> Self {
        Self { remaining: total, per_call: Self::PER_CALL, deadline: None }
    }

    /// With another limit on one evaluation.
    #[must_use]
    pub fn with_per_call(mut self, limit: u64) -> Self {
        self.per_call = limit;
        self
    }

    /// With a time after which evaluation gives up.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// What is left.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    pub(crate) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    pub(crate) fn take(&mut self, cost: u64) {
        self.remaining = self.remaining.saturating_sub(cost);
    }
}

/// What one evaluation has cost so far.
pub(crate) struct Meter {
    cost: u64,
    limit: u64,
    exhausted: bool,
}

impl Meter {
    pub fn new(budget: &Budget) -> Self {
        let limit = budget.per_call.min(budget.remaining);
        Self { cost: 0, limit, exhausted: budget.remaining < budget.per_call }
    }

    pub fn cost(&self) -> u64 {
        self.cost
    }

    /// Takes back what was charged.
    pub fn refund(&mut self, cost: u64) {
        self.cost = self.cost.saturating_sub(cost);
    }

    /// Adds `cost`: whether that is still allowed.
    pub fn charge(&mut self, cost: u64) -> Result<(), crate::error::EvaluationError> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost <= self.limit {
            return Ok(());
        }
        Err(if self.exhausted {
            crate::error::EvaluationError::BudgetExhausted
        } else {
            crate::error::EvaluationError::CostLimit
        })
    }
}
