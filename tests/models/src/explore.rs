// SPDX-License-Identifier: GPL-2.0

//! Running a model to its end.

use std::{fmt::Debug, hash::Hash, time::Instant};

use stateright::{Checker, Expectation, HasDiscoveries, Model, Path, Property};

/// States after which a model is given up as too large for a test: it would need minutes and gigabytes.
const MOST_STATES: usize = 8_000_000;

/// A protocol: states, and steps between them.
pub(crate) trait Protocol: Sized + Send + Sync + 'static {
    type State: Clone + Debug + Hash + PartialEq + Send + Sync;
    type Step: Copy + Debug + PartialEq + Send + Sync + 'static;

    fn start(&self) -> Self::State;

    /// All steps there are.
    fn steps(&self) -> Vec<Self::Step>;

    /// Takes a step; `None` if it cannot be taken here.
    fn step(&self, state: &mut Self::State, step: Self::Step) -> Option<()>;

    /// What always holds, and what must be seen to happen, or the model shows nothing.
    fn rules() -> Vec<Property<Checked<Self>>>;
}

/// A protocol as stateright wants it.
pub(crate) struct Checked<P>(pub(crate) P);

impl<P: Protocol> Model for Checked<P> {
    type State = P::State;
    type Action = P::Step;

    fn init_states(&self) -> Vec<P::State> {
        vec![self.0.start()]
    }

    fn actions(&self, _state: &P::State, actions: &mut Vec<P::Step>) {
        actions.extend(self.0.steps());
    }

    fn next_state(&self, last: &P::State, action: P::Step) -> Option<P::State> {
        let mut state = last.clone();
        self.0.step(&mut state, action)?;
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        P::rules()
    }
}

/// How a violation comes about.
fn story<P: Protocol>(path: Path<P::State, P::Step>) -> String {
    let steps = path.into_vec();
    let last = steps.last().map(|(state, _)| format!("{state:?}"));
    let mut lines: Vec<String> = steps
        .into_iter()
        .filter_map(|(_, step)| step)
        .map(|step| format!("  {step:?}"))
        .collect();
    lines.extend(last);
    lines.join("\n")
}

fn explore<P: Protocol>(protocol: P, finish: HasDiscoveries) -> impl Checker<Checked<P>> {
    Checked(protocol)
        .checker()
        .threads(2)
        .finish_when(finish)
        .target_state_count(MOST_STATES)
        .spawn_bfs()
        .join()
}

/// Explores the protocol as it is: nothing may be violated, and everything that is to be seen must be.
#[track_caller]
pub(crate) fn holds<P: Protocol>(name: &str, protocol: P) {
    let begun = Instant::now();
    let checker = explore(protocol, HasDiscoveries::AnyFailures);
    let states = checker.unique_state_count();
    println!("{name}: {states} states, {:.1?}", begun.elapsed());
    let mut found = checker.discoveries();
    for rule in P::rules() {
        match (rule.expectation, found.remove(rule.name)) {
            (Expectation::Always, Some(path)) => {
                panic!("{name}: not so: {}\n{}", rule.name, story::<P>(path))
            }
            (Expectation::Sometimes, None) => panic!("{name}: never seen: {}", rule.name),
            _ => {}
        }
    }
    assert!(
        checker.state_count() < MOST_STATES,
        "{name}: given up after {states} states"
    );
}

/// Explores the protocol with a rule left out: `expected` must be found violated.
#[track_caller]
pub(crate) fn is_violated<P: Protocol>(name: &str, protocol: P, expected: &'static str) {
    let wanted = HasDiscoveries::AnyOf([expected].into());
    let checker = explore(protocol, wanted);
    let mut found = checker.discoveries();
    let broken: Vec<&str> = P::rules()
        .iter()
        .filter(|rule| rule.expectation == Expectation::Always)
        .map(|rule| rule.name)
        .filter(|rule| found.contains_key(rule))
        .collect();
    assert!(
        broken.contains(&expected),
        "{name}: `{expected}` was to be found violated, in {} states only {broken:?} was",
        checker.unique_state_count(),
    );
    if let Some(path) = found.remove(expected) {
        println!("{name}: {expected}\n{}", story::<P>(path));
    }
}
