//! What a record is looked up by, in few bytes.

use super::Content;
use super::name::Mark;
use crate::values::ids::VpsId;

/// What a record is looked up by in its chain, or by its VM.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum About {
    Nothing,
    /// The VM that was bought.
    Result(Mark),
    /// The VM whose size was changed.
    Resized(Mark),
    /// The VPS that was changed or overwritten.
    Drove(Mark),
    /// The object of an attempt that bought nothing.
    CameToNothing(Mark),
    // Nothing that this program writes.
    Both(Box<(Mark, Mark)>),
}

impl About {
    pub(super) fn of(content: &Content, ours: bool) -> Self {
        let result = content.result.as_ref().filter(|_| ours).map(result_mark);
        let nothing = content.state.came_to_nothing();
        let subject = nothing.then(|| subject_mark(&content.kind, &content.namespace, &content.object));
        let drove = content.drives.as_ref().filter(|_| ours && !content.is_backup);
        let drove = drove.map(result_mark);
        let resized = content.resized.as_ref().filter(|_| ours).map(result_mark);
        match (result, subject) {
            (None, None) if content.state.frees_the_name() => Self::Nothing,
            (None, None) => match (resized, drove) {
                (Some(vm), _) => Self::Resized(vm),
                (None, Some(vps)) => Self::Drove(vps),
                (None, None) => Self::Nothing,
            },
            (Some(result), None) => Self::Result(result),
            (None, Some(subject)) => Self::CameToNothing(subject),
            (Some(result), Some(subject)) => Self::Both(Box::new((result, subject))),
        }
    }

    pub(super) fn result(&self) -> Option<Mark> {
        match self {
            Self::Result(result) => Some(*result),
            Self::Both(both) => Some(both.0),
            Self::Nothing | Self::Resized(_) | Self::Drove(_) | Self::CameToNothing(_) => None,
        }
    }

    pub(super) fn resized(&self) -> Option<Mark> {
        match self {
            Self::Resized(vm) => Some(*vm),
            Self::Nothing | Self::Result(_) | Self::Drove(_) | Self::CameToNothing(_) | Self::Both(_) => None,
        }
    }

    /// The VPS that was changed or overwritten, or may have been.
    pub(super) fn drove(&self) -> Option<Mark> {
        match self {
            Self::Resized(vps) | Self::Drove(vps) => Some(*vps),
            Self::Nothing | Self::Result(_) | Self::CameToNothing(_) | Self::Both(_) => None,
        }
    }

    pub(super) fn came_to_nothing_for(&self) -> Option<Mark> {
        match self {
            Self::CameToNothing(subject) => Some(*subject),
            Self::Both(both) => Some(both.1),
            Self::Nothing | Self::Result(_) | Self::Resized(_) | Self::Drove(_) => None,
        }
    }
}

pub(super) fn subject_mark(kind: &str, namespace: &str, name: &str) -> Mark {
    Mark::of("subject", &[kind, namespace, name])
}

pub(super) fn secret_mark(namespace: &str, name: &str) -> Mark {
    Mark::of("secret", &[namespace, name])
}

pub(super) fn result_mark(vps: &VpsId) -> Mark {
    Mark::of("result", &[vps.as_str()])
}
