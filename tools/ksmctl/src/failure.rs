// SPDX-License-Identifier: GPL-2.0

//! What a person is told when something does not work.

use std::fmt;

/// What happened, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub struct Failure {
    what: String,
    remedy: Option<String>,
}

impl Failure {
    /// Something happened; the text says all there is to it.
    pub fn new(what: impl Into<String>) -> Self {
        let what = what.into();
        Self { what, remedy: None }
    }

    /// What can be done.
    pub fn remedy(self, remedy: impl Into<String>) -> Self {
        let remedy = Some(remedy.into());
        Self { remedy, ..self }
    }

    /// What it means for the whole: `meaning: what happened`.
    pub fn means(self, meaning: &str) -> Self {
        let what = format!("{meaning}: {}", self.what);
        Self { what, ..self }
    }

    /// With what came of undoing what had been done before.
    pub fn after_undoing(self, undone: Outcome) -> Self {
        match undone {
            Ok(()) => self,
            Err(second) => self.and_then(second),
        }
    }

    /// Something went wrong again while this failure was dealt with.
    pub fn and_then(self, second: Failure) -> Self {
        let what = format!("{}\nksmctl: then: {}", self.what, second.what);
        let remedy = second.remedy.or(self.remedy);
        Self { what, remedy }
    }
}

/// Two things that were both to be done whatever came of the other.
pub fn both(first: Outcome, second: Outcome) -> Outcome {
    let (first, second) = match (first, second) {
        (Err(first), Err(second)) => (first, second),
        (first, second) => return first.and(second),
    };
    let remedies = [first.remedy, second.remedy];
    let remedies: Vec<_> = remedies.into_iter().flatten().collect();
    Err(Failure {
        what: format!("{}\nksmctl: then: {}", first.what, second.what),
        remedy: (!remedies.is_empty()).then(|| remedies.join("\nksmctl: ")),
    })
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ksmctl: {}", self.what)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\nksmctl: {remedy}"),
            None => Ok(()),
        }
    }
}

/// What a command prints, or why it failed.
pub type Outcome<T = ()> = Result<T, Failure>;
