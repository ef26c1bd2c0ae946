//! Who is in a room, in the shape of `Phoenix.Presence`: a user may be there several times.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

/// One connection of a user to a room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Meta {
    /// Tells this connection from the user's others.
    pub(crate) phx_ref: String,
    /// Since when, in RFC 3339.
    pub(crate) online_at: String,
}

/// A user's connections.
#[derive(Debug, Default, Serialize)]
struct Metas {
    metas: Vec<Meta>,
}

/// Users and their connections: the payload of `presence_state`.
#[derive(Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Users(BTreeMap<Arc<str>, Metas>);

/// What has changed: the payload of `presence_diff`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Diff {
    joins: Users,
    leaves: Users,
}

impl Users {
    pub(crate) fn add(&mut self, user: &Arc<str>, meta: Meta) {
        self.0.entry(user.clone()).or_default().metas.push(meta);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Each with their connections, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[Meta])> {
        self.0.iter().map(|(user, metas)| (&**user, &*metas.metas))
    }

    pub(crate) fn remove(&mut self, user: &Arc<str>, phx_ref: &str) -> Option<Meta> {
        let metas = &mut self.0.get_mut(user)?.metas;
        let at = metas.iter().position(|meta| meta.phx_ref == phx_ref)?;
        let meta = metas.swap_remove(at);
        if metas.is_empty() {
            self.0.remove(user);
        }
        Some(meta)
    }
}

impl Diff {
    pub(crate) fn is_empty(&self) -> bool {
        self.joins.0.is_empty() && self.leaves.0.is_empty()
    }

    pub(crate) fn joined(&mut self, user: &Arc<str>, meta: Meta) {
        self.joins.add(user, meta);
    }

    pub(crate) fn left(&mut self, user: &Arc<str>, meta: Meta) {
        // Also one that has just joined: somebody may have been sent it in a `presence_state`.
        self.leaves.add(user, meta);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta(phx_ref: &str) -> Meta {
        Meta { phx_ref: phx_ref.to_owned(), online_at: "now".to_owned() }
    }

    #[test]
    fn a_user_stays_until_the_last_connection_goes() {
        let (mut users, ann) = (Users::default(), Arc::from("ann"));
        users.add(&ann, meta("1"));
        users.add(&ann, meta("2"));
        assert_eq!(users.remove(&ann, "1"), Some(meta("1")));
        let left = serde_json::to_string(&users).unwrap();
        assert_eq!(left, r#"{"ann":{"metas":[{"phx_ref":"2","online_at":"now"}]}}"#);
        assert_eq!(users.remove(&ann, "1"), None);
        users.remove(&ann, "2");
        assert_eq!(serde_json::to_string(&users).unwrap(), "{}");
    }

    #[test]
    fn who_came_and_went_between_two_diffs_is_in_both_parts() {
        let (mut diff, ann) = (Diff::default(), Arc::from("ann"));
        assert!(diff.is_empty());
        diff.joined(&ann, meta("1"));
        diff.left(&ann, meta("1"));
        let text = serde_json::to_string(&diff).unwrap();
        let metas = r#"{"ann":{"metas":[{"phx_ref":"1","online_at":"now"}]}}"#;
        assert_eq!(text, format!(r#"{{"joins":{metas},"leaves":{metas}}}"#));
    }
}
