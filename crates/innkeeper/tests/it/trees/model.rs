//! What supervisors have to do, written down once more: plain recursion over a tree, no runtime.

use innkeeper::{AutoShutdown, Restart, Strategy};

/// What a leaf was seen to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// `init` began.
    Begin(usize),
    /// `init` failed, as it was told to.
    Fail(usize),
    /// The state was dropped.
    End(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Of a leaf; a supervisor has one too, to be named by.
    pub(crate) number: usize,
    pub(crate) restart: Restart,
    pub(crate) significant: bool,
    pub(crate) below: Option<Below>,
    /// Whether it runs, as far as its supervisor knows.
    pub(crate) runs: bool,
    /// A temporary one that has ended: not known, until its supervisor begins again.
    pub(crate) forgotten: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Below {
    pub(crate) strategy: Strategy,
    pub(crate) auto: AutoShutdown,
    pub(crate) max: u32,
    used: u32,
    pub(crate) children: Vec<Node>,
}

impl Below {
    pub(crate) fn new(
        (strategy, auto, max): (Strategy, AutoShutdown, u32),
        children: Vec<Node>,
    ) -> Below {
        Below { strategy, auto, max, used: 0, children }
    }
}

/// What is left to do for the supervisor above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Nothing,
    /// The supervisor has ended, with all its children: too many restarts, or shut down by them.
    Ended,
}

/// The world of the model: how often each leaf still fails to start, and what is seen.
#[derive(Default)]
pub(crate) struct Model {
    pub(crate) fails: Vec<u32>,
    pub(crate) seen: Vec<Seen>,
}

impl Model {
    /// Starts a node and all below it. `false`: it failed, and nothing of it is left.
    pub(crate) fn begin(&mut self, node: &mut Node) -> bool {
        if let Some(below) = &mut node.below {
            below.used = 0;
            below.children.iter_mut().for_each(|child| child.forgotten = false);
            for index in 0..below.children.len() {
                let child = &mut below.children[index];
                if !self.begin(child) {
                    child.forgotten = child.restart == Restart::Temporary;
                    self.end_all(below);
                    return false;
                }
            }
        } else {
            self.seen.push(Seen::Begin(node.number));
            if self.fails[node.number] > 0 {
                self.fails[node.number] -= 1;
                self.seen.push(Seen::Fail(node.number));
                return false;
            }
        }
        node.runs = true;
        true
    }

    /// Ends a node and all below it, the last one first.
    pub(crate) fn end(&mut self, node: &mut Node) {
        if !std::mem::take(&mut node.runs) {
            return;
        }
        match &mut node.below {
            Some(below) => self.end_all(below),
            None => self.seen.push(Seen::End(node.number)),
        }
        node.forgotten = node.restart == Restart::Temporary;
    }

    fn end_all(&mut self, below: &mut Below) {
        for child in below.children.iter_mut().rev() {
            self.end(child);
        }
    }

    /// The node at `path` below `node` ends by itself, with a crash or in order.
    pub(crate) fn exit(&mut self, node: &mut Node, path: &[usize], crash: bool) -> After {
        let Some(below) = &mut node.below else { unreachable!("a path leads through supervisors") };
        let (index, rest) = (path[0], &path[1..]);
        let child = &mut below.children[index];
        let crash = if rest.is_empty() {
            match &mut child.below {
                Some(below) => self.end_all(below),
                None => self.seen.push(Seen::End(child.number)),
            }
            crash
        } else {
            match self.exit(child, rest, crash) {
                After::Nothing => return After::Nothing,
                // A supervisor ends with `Shutdown`.
                After::Ended => false,
            }
        };
        let after = self.left(below, index, crash);
        node.runs &= after == After::Nothing;
        after
    }

    /// A child has ended by itself.
    fn left(&mut self, below: &mut Below, index: usize, crash: bool) -> After {
        let child = &mut below.children[index];
        child.runs = false;
        let again = match child.restart {
            Restart::Permanent => true,
            Restart::Transient => crash,
            Restart::Temporary => false,
        };
        if again {
            return self.restart(below, vec![index]);
        }
        child.forgotten = child.restart == Restart::Temporary;
        let last = !below.children.iter().any(|child| child.significant && child.runs);
        let shuts_down = below.children[index].significant
            && match below.auto {
                AutoShutdown::Never => false,
                AutoShutdown::AnySignificant => true,
                AutoShutdown::AllSignificant => last,
            };
        if shuts_down {
            self.end_all(below);
            return After::Ended;
        }
        After::Nothing
    }

    /// The last of those that `wait` has to be restarted; all of them are due.
    fn restart(&mut self, below: &mut Below, mut wait: Vec<usize>) -> After {
        loop {
            if below.used == below.max {
                self.end_all(below);
                return After::Ended;
            }
            below.used += 1;
            let ended = wait[wait.len() - 1];
            let from = match below.strategy {
                Strategy::OneForOne => below.children.len(),
                Strategy::OneForAll => 0,
                Strategy::RestForOne => ended,
            };
            for index in (from..below.children.len()).rev() {
                if below.children[index].runs {
                    self.end(&mut below.children[index]);
                    if !below.children[index].forgotten {
                        wait.push(index);
                    }
                }
            }
            wait.sort_unstable();
            let failed = loop {
                if wait.is_empty() {
                    return After::Nothing;
                }
                let next = wait.remove(0);
                if !self.begin(&mut below.children[next]) {
                    break next;
                }
            };
            wait.push(failed);
        }
    }
}
