//! Ends the session of a program that is known to be dead.

use std::time::Duration;

use crate::clock::Clock;
use crate::codec::Prefix;
use crate::coordinator::{Coordinator, CoordinatorError};
use crate::home::Home;
use crate::limits;
use crate::ownership::proof::Death;
use crate::ownership::record::{Key, NodeId, Revision, Session};
use crate::ownership::timing::EFFECTS;

/// Ends the session of the program that used this directory before, if it is known to be dead: for
/// a parent that has waited for its child (`waitpid`), so that others can have its shards before it
/// is started again. Answers with the session, if it was this that ended it.
///
/// Takes half a second ([`EFFECTS`]) from when the directory was taken, in which others may still
/// take what its processes asked of theirs. That the directory could be taken is the proof; a
/// parent gives it back, by dropping it, before it starts the child again.
///
/// # Errors
/// As [`Coordinator::commit`]: if it is not known whether the session was ended, do it again.
///
/// # Cancel safety
/// Dropped, it is not known whether the session was ended.
pub async fn bury(
    coordinator: &dyn Coordinator,
    clock: &dyn Clock,
    home: &Home,
) -> Result<Option<Session>, CoordinatorError> {
    let mut ended = None;
    for past in home.dead() {
        let prefix = Prefix::new(&past.cluster);
        let Some(death) = death(coordinator, &prefix, home, past.node).await? else { continue };
        if end(coordinator, clock, &prefix, &death).await? {
            ended = Some(death.session());
        }
    }
    Ok(ended)
}

/// The death of that start of a program, if the directory proves it and its session is there.
pub(crate) async fn death(
    coordinator: &dyn Coordinator,
    prefix: &Prefix,
    home: &Home,
    node: NodeId,
) -> Result<Option<Death>, CoordinatorError> {
    let dead = home.dead();
    let dead = dead.iter().find(|it| it.node == node && Prefix::new(&it.cluster) == *prefix);
    let Some(past) = dead else { return Ok(None) };
    let created = session(coordinator, prefix, node).await?;
    // The one that was written down; or the only one that it can have made.
    let created = created.filter(|created| past.created.is_none_or(|it| it == *created));
    Ok(created.map(|created| Death::new(Session { node, created }, home.since())))
}

/// When the session of that start of a program was made, if it is there.
pub(crate) async fn session(
    coordinator: &dyn Coordinator,
    prefix: &Prefix,
    node: NodeId,
) -> Result<Option<Revision>, CoordinatorError> {
    let key = prefix.key(Key::Node(node));
    let listing = coordinator.list(key.clone(), limits::JOIN_WAIT).await?;
    Ok(listing.entries.iter().find(|entry| entry.key == key).map(|entry| entry.created))
}

/// Waits until nothing of the dead is taken any more.
pub(crate) async fn settle(clock: &dyn Clock, death: &Death) {
    let left = || death.wait(EFFECTS.as_nanos() as u64, clock.now());
    // The runtime's clock may be ahead of the one that counts.
    while left() > 0 {
        tokio::time::sleep(Duration::from_nanos(left())).await;
    }
}

/// Ends a session; whether it was there.
pub(crate) async fn end(
    coordinator: &dyn Coordinator,
    clock: &dyn Clock,
    prefix: &Prefix,
    death: &Death,
) -> Result<bool, CoordinatorError> {
    settle(clock, death).await;
    let burial = prefix.transaction(&death.burial());
    Ok(coordinator.commit(burial, limits::JOIN_WAIT).await?.done)
}
