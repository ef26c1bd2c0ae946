//! Decides whether a process that is about to wait would wait for itself.
//!
//! Each process that waits, or is waited for by a process, has a node; a wait is an edge. The edge
//! is drawn before the search for a cycle, so that of two processes that are about to wait for each
//! other at least one sees it.

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::error::Cycle;
use crate::limits;
use crate::node::Node;
use crate::seam::{Mutex, thread_local};

/// Whom one process waits for.
pub(crate) struct WaitNode {
    name: String,
    waits_for: Mutex<Vec<Arc<WaitNode>>>,
}

impl WaitNode {
    pub(crate) fn new(name: String) -> Arc<WaitNode> {
        Arc::new(WaitNode { name, waits_for: Mutex::new(Vec::new()) })
    }
}

impl fmt::Debug for WaitNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not whom it waits for: in a cycle that would not end.
        f.debug_tuple("WaitNode").field(&self.name).finish()
    }
}

/// A wait of one process for another, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Wait {
    who: Arc<WaitNode>,
    on: Arc<WaitNode>,
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waits_for = self.who.waits_for.lock();
        if let Some(at) = waits_for.iter().position(|node| Arc::ptr_eq(node, &self.on)) {
            waits_for.swap_remove(at);
        }
    }
}

thread_local! {
    /// The process whose callback this thread is polling.
    // Not `const`: the schedule explorer's has no such form.
    #[allow(clippy::missing_const_for_thread_local)]
    static CURRENT: Cell<Option<Arc<dyn Node>>> = Cell::new(None);
}

/// The process whose callback this thread is polling.
pub(crate) fn current() -> Option<Arc<dyn Node>> {
    CURRENT.with(|current| {
        let process = current.take();
        current.set(process.clone());
        process
    })
}

/// Notes that the running process, if any, waits for `target`.
///
/// # Errors
/// [`Cycle`] if `target` waits for the running process, directly or through others.
#[inline]
pub(crate) fn wait_for(target: &dyn Node) -> Result<Option<Box<Wait>>, Cycle> {
    match current() {
        // Most callers are none.
        None => Ok(None),
        Some(current) => waits_for(&*current, target).map(Some),
    }
}

#[cold]
fn waits_for(current: &dyn Node, target: &dyn Node) -> Result<Box<Wait>, Cycle> {
    let (who, on) = (current.wait_node(), target.wait_node());
    who.waits_for.lock().push(on.clone());
    let wait = Wait { who, on };
    match path(&wait.on, &wait.who) {
        None => Ok(Box::new(wait)),
        Some(path) => {
            let names = std::iter::once(&wait.who).chain(&path).map(|node| node.name.clone());
            Err(Cycle { chain: names.collect() })
        }
    }
}

/// The nodes on a way along waits from `from` to `to`, both included.
fn path(from: &Arc<WaitNode>, to: &Arc<WaitNode>) -> Option<Vec<Arc<WaitNode>>> {
    let mut seen: Vec<(Arc<WaitNode>, usize)> = vec![(from.clone(), 0)];
    let mut at = 0;
    while at < seen.len() {
        let node = seen[at].0.clone();
        if Arc::ptr_eq(&node, to) {
            return Some(trace(&seen, at));
        }
        let next: Vec<_> = node.waits_for.lock().clone();
        for node in next {
            let known = seen.iter().any(|(other, _)| Arc::ptr_eq(other, &node));
            // Past the bound the search gives up; the waits have deadlines.
            if !known && seen.len() < limits::WAIT_CHAIN_MAX {
                seen.push((node, at));
            }
        }
        at += 1;
    }
    None
}

fn trace(seen: &[(Arc<WaitNode>, usize)], mut at: usize) -> Vec<Arc<WaitNode>> {
    let mut way = vec![seen[at].0.clone()];
    while at != 0 {
        at = seen[at].1;
        way.push(seen[at].0.clone());
    }
    way.reverse();
    way
}

pin_project_lite::pin_project! {
    /// Polls a future as the given process, so that what it waits for is known to be its wait.
    pub(crate) struct As<F> {
        process: Option<Arc<dyn Node>>,
        #[pin]
        future: F,
    }
}

impl<F> As<F> {
    pub(crate) fn new(process: Arc<dyn Node>, future: F) -> Self {
        As { process: Some(process), future }
    }
}

/// Puts the process back when a poll is over, also by a panic.
struct Restore<'a> {
    process: &'a mut Option<Arc<dyn Node>>,
}

impl Drop for Restore<'_> {
    fn drop(&mut self) {
        swap(self.process);
    }
}

fn swap(process: &mut Option<Arc<dyn Node>>) {
    CURRENT.with(|current| *process = current.replace(process.take()));
}

impl<F: Future> Future for As<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        swap(this.process);
        let _restore = Restore { process: this.process };
        this.future.poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(who: &Arc<WaitNode>, on: &Arc<WaitNode>) {
        who.waits_for.lock().push(on.clone());
    }

    #[test]
    fn a_way_through_others_is_found_and_named() {
        let [a, b, c] = ["a", "b", "c"].map(|name| WaitNode::new(name.into()));
        waits(&a, &b);
        waits(&b, &c);
        let names: Vec<_> = path(&a, &c).unwrap().iter().map(|node| node.name.clone()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert!(path(&c, &a).is_none());
        // Untie the nodes: a cycle of Arcs would never be freed.
        waits(&c, &a);
        assert!(path(&b, &a).is_some());
        c.waits_for.lock().clear();
    }

    #[test]
    fn a_wait_that_is_over_leaves_no_edge() {
        let [a, b] = ["a", "b"].map(|name| WaitNode::new(name.into()));
        waits(&a, &b);
        drop(Wait { who: a.clone(), on: b.clone() });
        assert!(a.waits_for.lock().is_empty());
    }

    #[test]
    fn a_search_gives_up_at_its_bound() {
        let nodes: Vec<_> =
            (0..limits::WAIT_CHAIN_MAX + 10).map(|n| WaitNode::new(n.to_string())).collect();
        for pair in nodes.windows(2) {
            waits(&pair[0], &pair[1]);
        }
        assert!(path(&nodes[0], &nodes[limits::WAIT_CHAIN_MAX - 1]).is_some());
        assert!(path(&nodes[0], &nodes[limits::WAIT_CHAIN_MAX + 5]).is_none());
    }
}
