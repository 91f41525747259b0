//! What one worker knows of the classes: what it makes of each, and which of those that fit it may claim from now.
//! In: judgements, what is to be left out for now. Out: the classes to claim from, as a claim names them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a worker makes of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// It can run these jobs.
    Fits {
        /// The service that they ask for, if they name one.
        service: Option<Arc<str>>,
    },
    /// It cannot.
    Misfit,
    /// The class was made without a job field that this worker must know: its jobs are to be indexed again.
    Incomplete,
}

/// Services that a worker leaves out for now, because their engines have no place for a further job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// These.
    pub services: BTreeSet<String>,
    /// Jobs, too, that any engine may take.
    pub unnamed: bool,
}

impl LeftOut {
    /// Whether anything is left out.
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && !self.unnamed
    }

    fn has(&self, service: Option<&str>) -> bool {
        service.map_or(self.unnamed, |service| self.services.contains(service))
    }
}

/// What a worker knows of the classes.
#[derive(Default)]
pub(super) struct Picture {
    /// The version of the classes that it shows.
    pub version: String,
    verdicts: BTreeMap<String, bool>,
    /// The classes that fit, and the service of each.
    fitting: BTreeMap<String, Option<Arc<str>>>,
    left_out: LeftOut,
    /// Those that fit and are not left out.
    open: BTreeSet<String>,
    packed: String,
    /// Classes made without a job field that this worker must know. Jobs that come back still land in them.
    pub incomplete: BTreeSet<String>,
}

impl Picture {
    /// Forgets every judgement.
    pub fn forget(&mut self) {
        let left_out = std::mem::take(&mut self.left_out);
        *self = Self { left_out, ..Self::default() };
    }

    /// The classes to claim from.
    pub fn open(&self) -> &BTreeSet<String> {
        &self.open
    }

    /// The same as a claim names them.
    pub fn packed(&self) -> &str {
        &self.packed
    }

    /// The service of a class that fits; `None`: it is not known to.
    pub fn service_of(&self, class: &str) -> Option<Option<&str>> {
        self.fitting.get(class).map(Option::as_deref)
    }

    /// Whether anything is left out.
    pub fn leaves_out(&self) -> bool {
        !self.left_out.is_empty()
    }

    /// Leaves out these and no others.
    pub fn leave_out(&mut self, left_out: LeftOut) {
        if self.left_out != left_out {
            self.left_out = left_out;
            let Self { fitting, left_out, .. } = self;
            let open = fitting.iter().filter(|(_, service)| !left_out.has(service.as_deref()));
            self.open = open.map(|(class, _)| class.clone()).collect();
            self.pack();
        }
    }

    /// Knows these and no others.
    pub fn retain(&mut self, present: &BTreeSet<&str>) {
        self.verdicts.retain(|class, _| present.contains(class.as_str()));
        self.fitting.retain(|class, _| present.contains(class.as_str()));
        self.open.retain(|class| present.contains(class.as_str()));
        self.incomplete.retain(|class| present.contains(class.as_str()));
        self.pack();
    }

    /// Whether the class has been judged.
    pub fn knows(&self, class: &str) -> bool {
        self.verdicts.contains_key(class)
    }

    /// Hears of a class.
    pub fn learn(&mut self, class: &str, judgement: Judgement) {
        let fits = matches!(judgement, Judgement::Fits { .. });
        if self.verdicts.insert(class.to_owned(), fits) == Some(fits) {
            return;
        }
        match judgement {
            Judgement::Fits { service } => {
                if !self.left_out.has(service.as_deref()) {
                    self.open.insert(class.to_owned());
                }
                self.fitting.insert(class.to_owned(), service);
            }
            Judgement::Misfit | Judgement::Incomplete => {
                self.fitting.remove(class);
                self.open.remove(class);
            }
        }
        self.pack();
    }

    fn pack(&mut self) {
        self.packed = self.open.iter().map(String::as_str).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(service: Option<&str>) -> Judgement {
        Judgement::Fits { service: service.map(Arc::from) }
    }

    fn out(services: &[&str], unnamed: bool) -> LeftOut {
        LeftOut { services: services.iter().map(ToString::to_string).collect(), unnamed }
    }

    #[test]
    fn classes_of_a_service_that_is_left_out_are_known_and_not_claimed_from() {
        let mut picture = Picture::default();
        picture.learn("a", fits(Some("full")));
        picture.learn("b", fits(Some("other")));
        picture.learn("c", fits(None));
        picture.learn("d", Judgement::Misfit);
        assert_eq!(picture.packed(), "abc");
        picture.leave_out(out(&["full"], false));
        assert_eq!((picture.packed(), picture.leaves_out()), ("bc", true));
        picture.learn("e", fits(Some("full")));
        picture.learn("f", fits(Some("other")));
        assert_eq!(picture.packed(), "bcf", "what is born meanwhile is left out, too");
        picture.leave_out(out(&["full", "other"], true));
        assert_eq!(picture.packed(), "", "no engine at all has a place");
        picture.retain(&BTreeSet::from(["b", "c", "e"]));
        picture.leave_out(out(&["other"], false));
        assert_eq!((picture.packed(), picture.service_of("e")), ("ce", Some(Some("full"))));
        picture.learn("e", Judgement::Misfit);
        picture.leave_out(LeftOut::default());
        assert_eq!((picture.packed(), picture.leaves_out(), picture.service_of("e")), ("bc", false, None));
    }

    #[test]
    fn who_forgets_what_fits_still_knows_what_is_full() {
        let mut picture = Picture::default();
        picture.leave_out(out(&["full"], false));
        picture.forget();
        picture.learn("a", fits(Some("full")));
        assert_eq!((picture.packed(), picture.knows("a")), ("", true));
    }
}
