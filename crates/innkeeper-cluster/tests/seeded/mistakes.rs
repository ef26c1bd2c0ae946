//! The mistakes, each as edits of the shipped code, and a seed that shows it.

use crate::patched::Edit;

pub(crate) struct Mistake {
    pub(crate) name: &'static str,
    pub(crate) seed: u64,
    pub(crate) edits: &'static [Edit],
}

const fn orders(from: &'static str, to: &'static str) -> Edit {
    Edit { file: "cluster/orders.rs", from, to }
}

pub(crate) const MISTAKES: [Mistake; 5] = [
    Mistake {
        name: "a shard goes although what it takes along has not arrived",
        seed: 2,
        edits: &[orders(
            "            sent.map_err(|why| why.to_string())?;\n",
            "            let _ = sent;\n",
        )],
    },
    Mistake {
        name: "what came along for another epoch is used",
        seed: 0,
        edits: &[
            orders(
                "arrived.filter(|arrived| arrived.epoch == under.epoch)",
                "arrived.filter(|_| true)",
            ),
            orders("take_if(|arriving| arriving.epoch <= epoch)", "take_if(|_| false)"),
        ],
    },
    Mistake {
        name: "what was sent along before a claim is used after it",
        seed: 0,
        edits: &[orders("take_if(|arriving| arriving.epoch <= epoch)", "take_if(|_| false)")],
    },
    Mistake {
        name: "what was packed is used here as well once it is with the next owner",
        seed: 1,
        edits: &[
            orders(
                "Command::Commit { shard, .. } => {
                    self.run(async move { inner.forget(shard).await });",
                "Command::Commit { .. } => {",
            ),
            orders("own.filter(|own| under.epoch - own.epoch <= 1)", "own.filter(|_| true)"),
        ],
    },
    Mistake {
        name: "casts that waited are not taken out of what they came in",
        seed: 0,
        edits: &[orders(
            "handed.take(scope, key).map(|bag| bag.casts)",
            "handed.bag(scope, key).map(|bag| bag.casts.clone())",
        )],
    },
];
