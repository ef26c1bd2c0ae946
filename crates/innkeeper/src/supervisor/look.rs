//! What can be seen of a supervision tree: plain data, a page at a time.
//!
//! Looking asks nobody: it takes short locks only, so it works while a child is stuck in `init`,
//! and no process notices.

use std::sync::Arc;

use crate::child_spec::Restart;
use crate::limits;
use crate::observe::ProcessInfo;
use crate::registry::slot::State;
use crate::supervisor::child::{Child, Pending};
use crate::supervisor::closing::Container;
use crate::supervisor::line::Strategy;

/// What a child is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A process.
    Process,
    /// A [`Supervisor`](crate::Supervisor).
    Supervisor(Strategy),
    /// A [`DynamicSupervisor`](crate::DynamicSupervisor).
    DynamicSupervisor,
    /// A [`Keyed`](crate::Keyed). Its keys are listed by [`Keyed::page`](crate::Keyed::page).
    Keyed,
}

impl Kind {
    /// A short stable word for screens.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Process => "process",
            Kind::Supervisor(_) => "supervisor",
            Kind::DynamicSupervisor => "dynamic_supervisor",
            Kind::Keyed => "keyed",
        }
    }
}

/// One child of a supervisor, and what it has below it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TreeNode {
    /// Its place: greater than those of the siblings that were started before it, never used again,
    /// and the same over all restarts. 0 for the supervisor that was asked.
    pub place: u64,
    /// Its id.
    pub id: String,
    /// What it is.
    pub kind: Kind,
    /// When it is started again.
    pub restart: Restart,
    /// Whether its end may be that of its supervisor.
    pub significant: bool,
    /// Its process; `None` if it is known and does not run.
    pub process: Option<ProcessInfo>,
    /// How many children it has, in whatever state, and not only those of this page.
    pub count: usize,
    /// The children of this page, in the order of their start.
    pub children: Vec<TreeNode>,
    /// After which place the next page of children begins; `None` if there is none.
    pub next: Option<u64>,
}

/// Which children to show of each supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreePage {
    /// The places on the way from the supervisor that is asked down to the one to show; empty for
    /// itself.
    pub path: Vec<u64>,
    /// Of that one, only the children after this place.
    pub after: u64,
    /// How many children of each supervisor, at most [`limits::PAGE_MAX`].
    pub limit: usize,
    /// How many levels below the one to show, at most [`limits::TREE_DEPTH_MAX`].
    pub depth: usize,
}

impl Default for TreePage {
    /// The first hundred children of each supervisor, of all levels.
    fn default() -> Self {
        TreePage { path: Vec::new(), after: 0, limit: 100, depth: limits::TREE_DEPTH_MAX }
    }
}

/// How many children a supervisor has (OTP's `count_children/1`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChildCount {
    /// Known, in whatever state (OTP's `specs`).
    pub known: usize,
    /// Handling messages now: not those that start, wait for a restart, end or do not run.
    pub active: usize,
    /// Those of the known that have children themselves.
    pub supervisors: usize,
    /// All other known ones (OTP's `workers`).
    pub processes: usize,
}

impl ChildCount {
    pub(crate) fn add(&mut self, child: &dyn Child) {
        self.known += 1;
        let state = child.info().and_then(|info| info.state);
        self.active += usize::from(state == Some(State::Live));
        match child.container() {
            Some(_) => self.supervisors += 1,
            None => self.processes += 1,
        }
    }
}

/// Shows what `root` has below it, as `page` says; `None` if there is nothing at its path.
pub(crate) async fn look(
    root: Arc<dyn Container>,
    mut node: TreeNode,
    page: &TreePage,
) -> Option<TreeNode> {
    let mut container = Some(root);
    for at in &page.path {
        let child = container?.child(*at)?;
        node = describe(&*child);
        container = child.container();
    }
    let depth = page.depth.min(limits::TREE_DEPTH_MAX);
    Some(below(node, container, page.after, page.limit.min(limits::PAGE_MAX), depth).await)
}

/// Boxed: a tree has any number of levels.
fn below(
    mut node: TreeNode,
    container: Option<Arc<dyn Container>>,
    after: u64,
    limit: usize,
    depth: usize,
) -> Pending<TreeNode> {
    Box::pin(async move {
        let Some(container) = container.filter(|_| depth > 0) else {
            return node;
        };
        let (children, more) = container.page(after, limit).await;
        node.next = children.last().filter(|_| more).map(|child| child.number());
        for child in children {
            let inner = child.container();
            node.children.push(below(describe(&*child), inner, 0, limit, depth - 1).await);
        }
        node
    })
}

fn describe(child: &dyn Child) -> TreeNode {
    let container = child.container();
    TreeNode {
        place: child.number(),
        id: child.id().to_owned(),
        kind: container.as_ref().map_or(Kind::Process, |container| container.kind()),
        restart: child.spec().restart,
        significant: child.spec().significant,
        process: child.info(),
        count: container.map_or(0, |container| container.len()),
        children: Vec::new(),
        next: None,
    }
}

/// What is shown of the supervisor that is asked itself.
pub(crate) fn top(id: String, container: &dyn Container, process: Option<ProcessInfo>) -> TreeNode {
    TreeNode {
        place: 0,
        id,
        kind: container.kind(),
        restart: Restart::Permanent,
        significant: false,
        process,
        count: container.len(),
        children: Vec::new(),
        next: None,
    }
}
