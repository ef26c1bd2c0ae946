//! One question to two members: the first answer that can be relied on counts.

use std::pin::pin;
use std::time::Duration;

use innkeeper_cluster::coordinator::CoordinatorError;

/// What one member answered.
pub(crate) enum Outcome<T> {
    /// This is the answer.
    Done(T),
    /// The comparisons did not hold: the answer, unless the same transaction may have been carried
    /// out by way of another member, and refused here for that reason.
    Refused(T),
    /// It was not done by way of this member, and will not be.
    NotDone(CoordinatorError),
    /// Nobody knows whether it was done by way of this member.
    Unknown(String),
}

/// Asks one member.
pub(crate) async fn alone<T>(
    within: Duration,
    one: impl Future<Output = Outcome<T>>,
) -> Result<T, CoordinatorError> {
    match tokio::time::timeout(within, one).await {
        Ok(outcome) => result(outcome, false),
        Err(_) => Err(late()),
    }
}

/// Asks one member, and another as well once the first has been silent for three sevenths of the
/// time or has failed. Says whether it was the second that answered.
pub(crate) async fn either<T>(
    within: Duration,
    one: impl Future<Output = Outcome<T>>,
    other: impl Future<Output = Outcome<T>>,
) -> (bool, Result<T, CoordinatorError>) {
    let mut deadline = pin!(tokio::time::sleep(within));
    let (mut one, mut other) = (pin!(one), pin!(other));
    // Whether the first may have done it, although it did not say so.
    let mut may_be_done = true;
    tokio::select! {
        biased;
        outcome = &mut one => match outcome {
            Outcome::Done(answer) | Outcome::Refused(answer) => return (false, Ok(answer)),
            Outcome::NotDone(_) => may_be_done = false,
            Outcome::Unknown(_) => {}
        },
        () = tokio::time::sleep(within * 3 / 7) => {
            return both(deadline, one, other).await;
        }
    }
    tokio::select! {
        biased;
        outcome = &mut other => (true, result(outcome, may_be_done)),
        () = &mut deadline => (false, Err(late())),
    }
}

/// Both are asked, and the first may still answer.
async fn both<T>(
    mut deadline: std::pin::Pin<&mut tokio::time::Sleep>,
    mut one: std::pin::Pin<&mut impl Future<Output = Outcome<T>>>,
    mut other: std::pin::Pin<&mut impl Future<Output = Outcome<T>>>,
) -> (bool, Result<T, CoordinatorError>) {
    tokio::select! {
        biased;
        outcome = &mut one => match outcome {
            Outcome::Done(answer) => (false, Ok(answer)),
            // The other may have done it meanwhile.
            Outcome::Refused(_) | Outcome::NotDone(_) | Outcome::Unknown(_) => tokio::select! {
                outcome = &mut other => (true, result(outcome, true)),
                () = &mut deadline => (false, Err(late())),
            },
        },
        outcome = &mut other => match outcome {
            Outcome::Done(answer) => (true, Ok(answer)),
            Outcome::Refused(_) | Outcome::NotDone(_) | Outcome::Unknown(_) => tokio::select! {
                outcome = &mut one => (false, result(outcome, true)),
                () = &mut deadline => (false, Err(late())),
            },
        },
        () = &mut deadline => (false, Err(late())),
    }
}

fn result<T>(outcome: Outcome<T>, may_be_done: bool) -> Result<T, CoordinatorError> {
    let doubt = |why: &str| Err(CoordinatorError::Unknown(why.to_owned()));
    match outcome {
        Outcome::Done(answer) => Ok(answer),
        Outcome::Refused(_) if may_be_done => doubt("refused, perhaps because it was done before"),
        Outcome::Refused(answer) => Ok(answer),
        Outcome::NotDone(_) if may_be_done => doubt("one member did not answer, one did not do it"),
        Outcome::NotDone(error) => Err(error),
        Outcome::Unknown(why) => Err(CoordinatorError::Unknown(why)),
    }
}

fn late() -> CoordinatorError {
    CoordinatorError::Unknown("no answer in time".to_owned())
}

#[allow(clippy::disallowed_methods)] // The clock stands still here.
#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_millis(700);

    async fn after(ms: u64, outcome: Outcome<u8>) -> Outcome<u8> {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        outcome
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_member_is_given_three_sevenths_of_the_time() {
        let began = tokio::time::Instant::now();
        let one = std::future::pending();
        let (by_second, answer) = either(WITHIN, one, after(10, Outcome::Done(2))).await;
        assert_eq!((by_second, answer), (true, Ok(2)));
        assert_eq!(began.elapsed().as_millis(), 310);
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_fails_at_once_costs_no_time() {
        let one = after(0, Outcome::NotDone(late()));
        let answer = either(WITHIN, one, after(1, Outcome::Refused(2))).await;
        assert_eq!(answer, (true, Ok(2)), "and a refusal by the other is one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_beside_a_try_that_may_have_succeeded_says_nothing() {
        let one = std::future::pending();
        let (_, answer) = either(WITHIN, one, after(1, Outcome::Refused(2))).await;
        assert!(matches!(answer, Err(CoordinatorError::Unknown(_))));
        let one = after(500, Outcome::Done(1));
        let answer = either(WITHIN, one, after(1, Outcome::Refused(2))).await;
        assert_eq!(answer, (false, Ok(1)), "the first is waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn two_silent_members_are_waited_for_until_the_deadline() {
        let (one, other) = (std::future::pending(), std::future::pending());
        let (_, answer) = either::<u8>(WITHIN, one, other).await;
        assert_eq!(answer, Err(late()));
    }
}
