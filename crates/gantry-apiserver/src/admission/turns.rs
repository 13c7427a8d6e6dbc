//! When each plugin has its turn.

use super::{Operation, Step, resource_quota};
use crate::metrics::{AdmissionMeter, AdmissionMetrics};

/// The operations in which a plugin is asked at all, as it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turns {
    /// Where it may change the object.
    pub mutate: &'static [Operation],
    /// Where it may refuse it, when nobody changes it any more.
    pub validate: &'static [Operation],
}

impl Turns {
    /// What comes into being.
    pub const CREATES: &'static [Operation] = &[Operation::Create];
    /// What changes.
    pub const UPDATES: &'static [Operation] = &[Operation::Update];
    /// What is written.
    pub const WRITES: &'static [Operation] = &[Operation::Create, Operation::Update];
    /// What is written or goes.
    pub const CHANGES: &'static [Operation] = &[Operation::Create, Operation::Update, Operation::Delete];
    /// Everything.
    pub const ALL: &'static [Operation] = &Operation::ALL;

    /// A plugin that only changes objects.
    pub const fn mutating(operations: &'static [Operation]) -> Self {
        Self { mutate: operations, validate: &[] }
    }

    /// A plugin that only refuses them.
    pub const fn validating(operations: &'static [Operation]) -> Self {
        Self { mutate: &[], validate: operations }
    }

    /// A plugin that does both.
    pub const fn both(operations: &'static [Operation]) -> Self {
        Self { mutate: operations, validate: operations }
    }
}

/// One turn of a plugin.
pub(super) struct Turn {
    /// Its place in the chain.
    pub step: usize,
    pub meter: AdmissionMeter,
}

/// Who has a turn in an operation, in order.
pub(super) struct Round {
    pub turns: Vec<Turn>,
    /// What is counted of quotas, whose turn is the last.
    pub quotas: AdmissionMeter,
    /// What is counted of all turns together.
    pub together: AdmissionMeter,
}

/// Who has turns when, by operation.
pub(super) struct Rounds {
    mutating: Vec<Round>,
    validating: Vec<Round>,
}

impl Rounds {
    /// The rounds of a chain.
    pub fn of(chain: &[Step], metrics: &AdmissionMetrics) -> Self {
        let all = |mutate: bool| {
            let phase = if mutate { "admit" } else { "validate" };
            let round = |operation: &Operation| {
                let meter = |name| metrics.meter(name, operation.word(), phase);
                let has = |step: &Step| {
                    let turns = step.turns();
                    if mutate { turns.mutate } else { turns.validate }.contains(operation)
                };
                let asked = chain.iter().enumerate().filter(|(_, step)| has(step));
                let turns = asked.map(|(at, step)| Turn { step: at, meter: meter(Some(step.name())) });
                let quotas = meter(Some(resource_quota::NAME));
                Round { turns: turns.collect(), quotas, together: meter(None) }
            };
            Operation::ALL.iter().map(round).collect()
        };
        Self { mutating: all(true), validating: all(false) }
    }

    /// Who is asked in an operation, to change the object or to refuse it.
    pub fn round(&self, operation: Operation, mutate: bool) -> &Round {
        let rounds = if mutate { &self.mutating } else { &self.validating };
        &rounds[operation as usize]
    }
}
