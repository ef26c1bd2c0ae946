//! What happened, by kind: so that a run in which nothing happened proves nothing.

use std::fmt::Debug;

/// Counts of many runs.
pub(crate) trait Sum: Default + Debug {
    fn add(&mut self, other: &Self);

    /// What never occurred.
    fn missing(&self) -> Vec<&'static str>;
}

/// How a start of a program ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    Crashed,
    FailedJoin,
    Left,
    Evicted,
}

/// Counts of these kinds, besides how programs ended.
macro_rules! counts {
    ($($name:ident),* $(,)?) => {
        $crate::world::counts::counts! {
            @all $($name,)* crashed, failed_joins, left, evicted
        }
    };
    (@all $($name:ident),*) => {
        /// What happened, by kind.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Counts {
            $(pub(crate) $name: u64,)*
        }

        impl Counts {
            pub(crate) fn ended(&mut self, end: $crate::world::counts::End) {
                use $crate::world::counts::End;
                match end {
                    End::Crashed => self.crashed += 1,
                    End::FailedJoin => self.failed_joins += 1,
                    End::Left => self.left += 1,
                    End::Evicted => self.evicted += 1,
                }
            }
        }

        impl $crate::world::counts::Sum for Counts {
            fn add(&mut self, other: &Counts) {
                $(self.$name += other.$name;)*
            }

            fn missing(&self) -> Vec<&'static str> {
                let all = [$((stringify!($name), self.$name)),*];
                all.into_iter().filter(|(_, count)| *count == 0).map(|(name, _)| name).collect()
            }
        }
    };
}

pub(crate) use counts;
