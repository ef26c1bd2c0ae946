//! The mistakes, each as edits of the shipped code, and the space in which it has to show.

use crate::patched::Edit;

pub(crate) struct Mistake {
    pub(crate) name: &'static str,
    pub(crate) space: &'static str,
    pub(crate) edits: &'static [Edit],
}

const fn session(from: &'static str, to: &'static str) -> Edit {
    Edit { file: "ownership/session.rs", from, to }
}

const fn peers(from: &'static str, to: &'static str) -> Edit {
    Edit { file: "ownership/peers.rs", from, to }
}

const fn shards(from: &'static str, to: &'static str) -> Edit {
    Edit { file: "ownership/shards.rs", from, to }
}

const fn link(from: &'static str, to: &'static str) -> Edit {
    Edit { file: "ownership/link.rs", from, to }
}

const fn gate(from: &'static str, to: &'static str) -> Edit {
    Edit { file: "ownership.rs", from, to }
}

pub(crate) const MISTAKES: [Mistake; 21] = [
    Mistake {
        name: "a session counts from the answer",
        space: "calm",
        edits: &[session("self.own.proven = sent;", "self.own.proven = now;")],
    },
    Mistake {
        name: "an unknown heartbeat counts as one that succeeded",
        space: "calm",
        edits: &[session(
            "Answer::Done(_) if sent.raw",
            "Answer::Done(_) | Answer::Unknown if sent.raw",
        )],
    },
    Mistake {
        name: "a heartbeat is answered and written nowhere, as with a native lease",
        space: "calm",
        edits: &[session(
            "writes: vec![Write::Put(Key::Beat(node), Value::Beat(self.own.beats))],",
            "writes: vec![Write::Put(Key::Node(node), Value::Member(self.own.member.clone()))],",
        )],
    },
    Mistake {
        name: "a heartbeat does not compare",
        space: "calm",
        edits: &[session(
            "            compares: vec![Compare::Created(Key::Node(node), created)],
            writes: vec![Write::Put(Key::Beat",
            "            compares: if created > 0 { Vec::new() } else { Vec::new() },
            writes: vec![Write::Put(Key::Beat",
        )],
    },
    Mistake {
        name: "an eviction does not compare",
        space: "calm",
        edits: &[peers(
            "                    Compare::Modified(Key::Beat(node), modified),
                    Compare::Beat(node, count),
",
            "",
        )],
    },
    Mistake {
        name: "an observer waits for half a session",
        space: "calm",
        edits: &[peers(
            "let session = self.config.timing.session;\n        now",
            "let session = self.config.timing.session / 2;\n        now",
        )],
    },
    Mistake {
        name: "who was cut off as well evicts others",
        space: "pairs",
        edits: &[peers(" && self.own.proven.awake_since(peer.since) >= session", "")],
    },
    Mistake {
        name: "a claim does not look whether the owner is gone",
        space: "calm",
        edits: &[
            shards("if has_owner || draining {", "if draining {"),
            shards("compares.push(Compare::Created(Key::Node(owner.node), 0));", "let _ = owner;"),
        ],
    },
    Mistake {
        name: "a claim keeps the epoch",
        space: "calm",
        edits: &[shards(
            "epoch: epoch.max(floor) + 1, owner",
            "epoch: epoch.max(floor + 1), owner",
        )],
    },
    Mistake {
        name: "a claim does not compare the record",
        space: "calm",
        edits: &[shards(
            "            compares.push(Compare::Modified(Key::Shard(shard), modified));\n",
            "            let _ = modified;\n",
        )],
    },
    Mistake {
        name: "messages are begun without a look at the clock",
        space: "calm",
        edits: &[gate("Some(epoch) if self.is_proven(now) => Gate", "Some(epoch) if true => Gate")],
    },
    Mistake {
        name: "outputs leave without a look at the clock",
        space: "calm",
        edits: &[gate("} else if self.is_proven(now) {", "} else if true {")],
    },
    Mistake {
        name: "what was begun is not waited for, and its output leaves after the transfer",
        space: "handover",
        edits: &[
            Edit {
                file: "exploration/acts.rs",
                from: "    if node.running.is_none() && node.held.is_none() {",
                to: "    if node.held.is_none() {",
            },
            shards(
                "Phase::Serving(epoch) | Phase::Draining(epoch, _) => Some(epoch),",
                "Phase::Serving(epoch) | Phase::Draining(epoch, _) | Phase::Offered(epoch, _)
            | Phase::Releasing(epoch, _) | Phase::Doubtful(epoch, _) if epoch > 0 => Some(epoch),
            Phase::Serving(_) | Phase::Draining(..) => None,",
            ),
        ],
    },
    Mistake {
        name: "an unknown transfer counts as none",
        space: "move",
        edits: &[shards(
            "                held.phase = Phase::Doubtful(epoch, to);
                commands.push(Command::List);",
            "                held.phase = Phase::Serving(epoch);
                commands.push(Command::List);",
        )],
    },
    Mistake {
        name: "a record that was known already opens the gate after a transfer was sent",
        space: "move",
        edits: &[shards("|(_, known)| known >= modified", "|(_, known)| known > modified")],
    },
    Mistake {
        name: "a transfer is sent before the gate has shut",
        space: "handover",
        edits: &[shards(
            "Phase::Serving(epoch) if self.own.over.is_none() => Some(epoch),",
            "Phase::Serving(epoch) | Phase::Releasing(epoch, _) if self.own.over.is_none() => {
                Some(epoch)
            }",
        )],
    },
    Mistake {
        name: "a node leaves before its gate has shut",
        space: "leave",
        edits: &[session(
            "if self.over.is_some() || self.leaving.is_some() {",
            "if self.over.is_some() {",
        )],
    },
    Mistake {
        name: "a node ends its session although what it sent is still taken",
        space: "farewell",
        edits: &[session("if is_taken || self.requests", "if self.requests")],
    },
    Mistake {
        name: "the session of the dead is ended although what they sent is still taken",
        space: "burial",
        edits: &[Edit {
            file: "ownership/proof.rs",
            from: "effects.saturating_sub(",
            to: "(effects - effects).saturating_sub(",
        }],
    },
    Mistake {
        name: "calls are taken for as long as the session is proven, though it may end before",
        space: "burial",
        edits: &[link(
            "now.elapsed_since(from) < by_any_clock(effects)",
            "now.elapsed_since(from) < by_any_clock(effects) || effects > 0",
        )],
    },
    Mistake {
        name: "a link once proven is good for ever",
        space: "frames",
        edits: &[link(
            "self.accepts(now) && self.proven.is_some_and(|(from, _)| is_fresh(from))",
            "self.proven.is_some_and(|(from, _)| is_fresh(from) || now.raw > 0)",
        )],
    },
];
